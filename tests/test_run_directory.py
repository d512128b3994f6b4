import json
import subprocess
from pathlib import Path

import pytest

from clrl.errors import ConfigError
from clrl.run_directory import RunDirectory, git_revision, run_stem


def test_a_new_name_makes_a_directory(tmp_path: Path) -> None:
    assert RunDirectory.create(tmp_path / "runs", "mine").path.is_dir()


def test_an_empty_directory_may_exist(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    RunDirectory.create(tmp_path, "mine")


def test_a_directory_with_anything_in_it_is_refused_and_untouched(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("data")
    with pytest.raises(ConfigError, match="--name"):
        RunDirectory.create(tmp_path, "mine")
    assert (tmp_path / "mine" / "precious").read_text() == "data"


def test_numbered_directories_are_always_fresh(tmp_path: Path) -> None:
    names = [RunDirectory.create_numbered(tmp_path, "ewc").path.name for _ in range(3)]
    assert names == ["ewc-1", "ewc-2", "ewc-3"]


def test_a_missing_run_is_reported_with_the_nearest_one(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "ewc-pong")
    run.config.write_text("games: [pong]")
    with pytest.raises(ConfigError, match=r"did you mean .*ewc-pong"):
        RunDirectory.open(tmp_path / "ewc-png")
    assert RunDirectory.open(tmp_path / "ewc-pong") == run


def test_a_name_says_what_was_run() -> None:
    assert run_stem("ewc", "flat_fmn", ["pong"], 3) == "ewc-flat_fmn-pong-seed3"
    many = ["a", "b", "c", "d"]
    assert run_stem("my.pkg.Mine", "oracle", many, 0) == "Mine-oracle-4_games-seed0"


def test_provenance_names_versions_roms_and_the_command(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path, "mine")
    run.write_provenance(
        protocol="nature", rom_md5s={"pong": "abc"}, command=["clrl", "train"]
    )
    content = json.loads(run.provenance.read_text())
    assert content["command"] == ["clrl", "train"]
    assert content["rom_md5s"] == {"pong": "abc"}
    assert content["packages"]["torch"]


def test_there_is_no_revision_outside_of_a_checkout(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None


def test_the_revision_of_somebody_elses_repository_is_not_ours(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "clrl"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    assert git_revision(package) is None
