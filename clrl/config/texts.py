"""Config files and command lines as one thing: ``{"agent.gamma": "0.99", ...}``."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import yaml

from clrl.config.library import flat
from clrl.errors import ConfigError

Texts: TypeAlias = dict[str, str]
"""Values as text, by dotted key."""

CHOSEN_SECTIONS = ("method", "recogniser", "stream")
"""Sections whose fields depend on the name they give."""

NAMED_SECTIONS = (*CHOSEN_SECTIONS, "network")
"""Sections for which a name alone may stand."""


def read_yaml(path: Path) -> object:
    """What a config file holds, whatever that is.

    Raises:
        ConfigError: The file cannot be read, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"cannot read the config {path}: {reason}") from None


def digest_of(texts: Mapping[str, str]) -> str:
    """Twelve hexadecimal digits that stand for these values, in whatever order."""
    text = json.dumps(dict(texts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def texts_of_file(path: Path) -> Texts:
    """The values in a YAML file.

    Raises:
        ConfigError: The file cannot be read, or is no mapping.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(
            f"the config {path} must be a mapping of keys to values, got "
            f"{type(content).__name__}; start with `games: [pong]`."
        )
    return _normal(dict(flat(content)))


def texts_of_arguments(arguments: Sequence[str]) -> Texts:
    """The values of a command line such as ``["--seed", "3", "--agent.gamma=0.9"]``.

    Raises:
        ConfigError: Something is neither a key nor a key's value.
    """
    texts: Texts = {}
    rest = iter(arguments)
    for argument in rest:
        if not argument.startswith("--"):
            raise ConfigError(
                f"expected --key value, got {argument!r}; write --key before it."
            )
        key, equals, text = argument.removeprefix("--").partition("=")
        value = text if equals else next(rest, None)
        if value is None or (not equals and value.startswith("--")):
            raise ConfigError(
                f"--{key} expects a value, got none; write --{key} VALUE."
            )
        texts[key.replace("-", "_")] = value
    return _normal(texts)


def _normal(texts: Texts) -> Texts:
    """The same values with every shorthand written out."""
    for section in NAMED_SECTIONS:
        if section in texts:
            texts[f"{section}.name"] = texts.pop(section)
    return texts


def merged(file: Texts, overrides: Texts) -> Texts:
    """The values of a file, where they are not overridden.

    A section whose name is overridden by another one loses the fields that the file
    gives to its own.
    """
    for section in CHOSEN_SECTIONS:
        name = f"{section}.name"
        if name in overrides and overrides[name] != file.get(name):
            file = {k: v for k, v in file.items() if not k.startswith(f"{section}.")}
    return file | overrides
