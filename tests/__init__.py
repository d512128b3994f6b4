"""Tests of clrl; the tree mirrors the package."""

from beartype import BeartypeConf, beartype

# Annotations are checked while tests run, as mypy reads them: an int is a float too.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
