"""Finding, fetching and verifying the original files of data sets."""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pooch

from clrl.errors import DataError

DATA_DIR_VARIABLE = "CLRL_DATA_DIR"
"""Environment variable that names the data directory."""


class DataFile(NamedTuple):
    """A file as its authors published it.

    Attributes:
        name: Without the ending of a compressed copy.
        md5: Of the content, unpacked where ``name`` is.
        urls: Mirrors, tried in order; a url that ends in ``.gz`` beyond ``name`` gives
            a compressed copy.
    """

    name: str
    md5: str
    urls: Sequence[str]

    @property
    def is_archive(self) -> bool:
        """Whether the file was published compressed, and is read so."""
        return self.name.endswith(".gz")


def read_data_file(file: DataFile, dataset: str, data_dir: Path | None) -> bytes:
    """The verified content of a file, from the data directory or else from a mirror.

    Args:
        file: What is looked for, as it is or, unless it is an archive, with ``.gz``
            behind its name.
        dataset: A folder of this name in the data directory is looked into as well.
        data_dir: None: ``CLRL_DATA_DIR``, and where that is not set the cache of
            downloads.

    Raises:
        DataError: The file is missing, was altered, or cannot be fetched.
    """
    folder = data_dir or _environment_dir()
    if folder is None:
        return _fetched(file)
    names = [file.name, *([] if file.is_archive else [f"{file.name}.gz"])]
    candidates = [
        place / name for place in (folder, folder / dataset) for name in names
    ]
    for path in candidates:
        if path.is_file():
            return _verified(path, file)
    raise DataError(
        f"expected {' or '.join(names)} in {folder} or {folder / dataset}, "
        f"found none; put it there, choose another folder with --data-dir or "
        f"{DATA_DIR_VARIABLE}, or set neither to download it."
    )


def _environment_dir() -> Path | None:
    folder = os.environ.get(DATA_DIR_VARIABLE)
    return Path(folder) if folder else None


def _verified(path: Path, file: DataFile) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".gz" and not file.is_archive:
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(
                f"{path} must be a whole gzip file, got: {error}; replace it."
            ) from error
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != file.md5:
        raise DataError(
            f"the content of {path} must have the MD5 {file.md5}, got {md5}: it was "
            "altered or cut off; replace it by the original."
        )
    return content


def _fetched(file: DataFile) -> bytes:
    complaints: list[str] = []
    for content in _downloads(file, complaints):
        return content
    raise DataError(
        f"{file.name} is not here and no mirror gives it ({'; '.join(complaints)}); "
        f"put it into a folder and name that with --data-dir or {DATA_DIR_VARIABLE}."
    )


def _downloads(file: DataFile, complaints: list[str]) -> Iterator[bytes]:
    """Verified content from each mirror that has it; adds what the others said."""
    cache = Path(pooch.os_cache("clrl"))
    for url in file.urls:
        name = url.rpartition("/")[2]
        try:
            # Verified here, unpacked: mirrors compress the same file differently.
            pooch.retrieve(url, known_hash=None, fname=name, path=cache)
            yield _verified(cache / name, file)
        except DataError as error:
            (cache / name).unlink()
            complaints.append(str(error))
        except (OSError, ValueError) as error:
            complaints.append(f"{url}: {error}")
