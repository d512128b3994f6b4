import gc
import subprocess
import sys

import clrl.config.config_file  # noqa: F401 - what is imported once stays
from clrl.commands.imports import importing

FIRST_IMPORTS = """
import gc
from clrl.commands.imports import importing
for fails in (False, True):
    try:
        with importing():
            assert not gc.isenabled()
            if fails:
                raise RuntimeError
            kept = [[] for _ in range(100_000)]
    except RuntimeError:
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000
assert not any(thing is kept for thing in gc.get_objects())
"""


def test_what_first_imports_make_is_not_searched_for_garbage() -> None:
    subprocess.run([sys.executable, "-c", FIRST_IMPORTS], check=True)


def test_later_imports_are_left_to_the_collector() -> None:
    frozen = gc.get_freeze_count()
    with importing():
        assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
