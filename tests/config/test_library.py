from pathlib import Path

import pytest

from clrl.config.library import config_files, find_config
from clrl.errors import ConfigError


def test_the_configs_that_come_along_are_found_by_every_spelling() -> None:
    path = config_files()["atari/quickstart"]
    for name in (
        "atari/quickstart",
        "quickstart",
        "configs/atari/quickstart.yaml",
        str(path),
    ):
        assert find_config(name).samefile(path)


def test_a_name_without_its_folder_is_the_first_folders() -> None:
    files = config_files()
    assert find_config("quickstart") == files["atari/quickstart"]
    assert find_config("mnist/quickstart") == files["mnist/quickstart"]


def test_a_file_of_the_users_own_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("quickstart").write_text("games: [pong]")
    assert find_config("quickstart") == Path("quickstart")


def test_an_unknown_config_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="did you mean atari/quickstart"):
        find_config("atari/quickstrat")


def test_every_config_that_comes_along_says_what_it_is_in_its_first_line() -> None:
    for path in config_files().values():
        assert path.read_text(encoding="utf-8").startswith("# ")
