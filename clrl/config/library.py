"""Config files: those that come with clrl, and any as flat text.

Imports nothing heavy.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from clrl.errors import unknown_name

_PACKAGE = Path(__file__).parents[1]
# A wheel carries the configs inside the package; a checkout has them beside it.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def config_files() -> dict[str, Path]:
    """The files by name, such as ``atari/quickstart``."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), _FOLDERS[0])
    return {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*.yaml"))
    }


def find_config(name: str) -> Path:
    """The file that ``name`` means.

    Args:
        name: A path, or a name of ``config_files`` with or without its folder; with
            ``configs/`` before it and ``.yaml`` behind it too, so that a line that
            works in a checkout works everywhere.

    Raises:
        ConfigError: There is no such file; the nearest names are given.
    """
    path = Path(name)
    if path.is_file():
        return path
    files = config_files()
    short = name.removeprefix("configs/").removesuffix(".yaml")
    # Where two folders have a file of the same name, the first folder's is meant.
    by_stem = {path.stem: path for path in reversed(files.values())}
    found = files.get(short) or by_stem.get(short)
    if found is None:
        raise unknown_name("config", name, files)
    return found


def leaves(
    values: Mapping[Any, object], prefix: str = ""
) -> Iterator[tuple[str, object]]:
    """The values that are no mappings, by their dotted keys such as ``agent.gamma``."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def flat(values: Mapping[Any, object]) -> Iterator[tuple[str, str]]:
    """Dotted keys and values as text: ``agent.gamma`` and ``0.99``; lists as JSON."""
    for key, value in leaves(values):
        yield key, value if isinstance(value, str) else json.dumps(value, default=str)
