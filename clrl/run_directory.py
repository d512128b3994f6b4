"""Where the files of a run are.

runs/<name>/
    config.yaml       the resolved config, which reads back into an equal one
    provenance.json   revision, versions, ROMs, protocol, command line
    records.jsonl     what happened, see clrl.records
    tensorboard/      event files
    checkpoint/       the agent
    summary.json      the results as numbers, see clrl.summary
    scores.png        the results as a picture
    report.html       all of it as one page, see clrl.report.page
    perturbation/     scores with noise on the weights, where clrl perturb was run
    videos/           the agent at play, <game>.mp4 and <game>.png, where they were made
    stopped.txt       why the run ended early, if it did
"""

import itertools
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from clrl.errors import ConfigError, unknown_name

_PACKAGES = ("clrl", "ale-py", "gymnasium", "numpy", "stable-baselines3", "torch")
_GAMES_IN_A_NAME = 3


@dataclass(frozen=True)
class RunDirectory:
    """The paths of one run.

    Attributes:
        path: The directory itself, absolute.
    """

    path: Path

    @classmethod
    def create(cls, runs_dir: Path, name: str) -> "RunDirectory":
        """A new directory called ``name``; an empty one may exist already.

        Raises:
            ConfigError: A run of that name exists.
        """
        path = runs_dir.resolve() / name
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ConfigError(
                f"a new run needs an empty directory, got {path}, which is not empty; "
                "choose another with --name, or leave --name out for a fresh one."
            )
        path.mkdir(parents=True, exist_ok=True)
        return cls(path)

    @classmethod
    def create_numbered(cls, runs_dir: Path, stem: str) -> "RunDirectory":
        """A new directory ``stem-1``, or with the first number that is free."""
        runs_dir.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            path = runs_dir.resolve() / f"{stem}-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            break
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """The directory of a run that was started.

        Raises:
            ConfigError: There is no run at ``path``; the nearest ones are named.
        """
        if not (path / "config.yaml").is_file():
            runs = [str(config.parent) for config in path.parent.glob("*/config.yaml")]
            raise unknown_name("run", str(path), runs)
        return cls(path.resolve())

    def discard(self) -> None:
        """Removes the directory of a run that failed before it began."""
        shutil.rmtree(self.path)

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    @property
    def provenance(self) -> Path:
        """What the run was made with."""
        return self.path / "provenance.json"

    @property
    def records(self) -> Path:
        """What happened."""
        return self.path / "records.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Directory of event files."""
        return self.path / "tensorboard"

    @property
    def checkpoint(self) -> Path:
        """Directory of the agent."""
        return self.path / "checkpoint"

    @property
    def summary(self) -> Path:
        """The results as numbers."""
        return self.path / "summary.json"

    @property
    def picture(self) -> Path:
        """The results as a picture."""
        return self.path / "scores.png"

    @property
    def report(self) -> Path:
        """All of the run as one page."""
        return self.path / "report.html"

    @property
    def videos(self) -> Path:
        """Directory of videos and filmstrips of the agent at play."""
        return self.path / "videos"

    @property
    def perturbation(self) -> Path:
        """Directory of the weight-perturbation test."""
        return self.path / "perturbation"

    @property
    def stopped(self) -> Path:
        """Why the run ended early, in words; missing where it did not."""
        return self.path / "stopped.txt"

    def write_provenance(
        self,
        *,
        protocol: str,
        command: Sequence[str],
        rom_md5s: Mapping[str, str] = MappingProxyType({}),
        data_md5s: Mapping[str, str] = MappingProxyType({}),
        device: str = "cpu",
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        """Writes down what would be needed to make the same run again.

        Args:
            protocol: The rules of the environment, in words.
            command: The command line.
            rom_md5s: Hash of each game's ROM.
            data_md5s: Hash of each file of a data set.
            device: Of the network, and which GPU that is.
            precision: Arithmetic of the network in updates.
            threads: CPU threads of torch.
        """
        content = {
            "command": list(command),
            "git_revision": git_revision(Path(__file__).parent),
            "python": sys.version.split()[0],
            "packages": {package: _version(package) for package in _PACKAGES},
            "platform": platform.platform(),
            "protocol": protocol,
            "rom_md5s": dict(rom_md5s),
            "data_md5s": dict(data_md5s),
            "device": device,
            "precision": precision,
            "threads": threads,
        }
        self.provenance.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


def run_stem(method: str, recogniser: str, games: Sequence[str], seed: int) -> str:
    """A name for a run, such as ``ewc-flat_fmn-pong+breakout-seed3``.

    Import paths are cut to their last part, and more than three games to their number.
    """
    shown = "+".join(games) if len(games) <= _GAMES_IN_A_NAME else f"{len(games)}_games"
    parts = (method.rpartition(".")[2], recogniser.rpartition(".")[2], shown)
    return "-".join((*parts, f"seed{seed}"))


def git_revision(folder: Path) -> str | None:
    """The commit of the checkout that ``folder`` is part of, None outside of one.

    ``+changes`` is appended where tracked files differ from the commit.
    """
    try:
        # An installed package may lie inside the repository of somebody's project.
        _git(folder, "ls-files", "--error-unmatch", "__init__.py")
        return _git(folder, "describe", "--always", "--abbrev=40", "--dirty=+changes")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=10,
    )
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
