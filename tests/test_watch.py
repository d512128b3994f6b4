"""Videos of saved agents, from real games."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image

from clrl.cli import main
from clrl.errors import CheckpointError, ConfigError
from clrl.progress import SilentListener
from clrl.rl.atari import ACTION_NAMES, PROTOCOLS, AtariGame, AtariProtocol
from clrl.rl.play import play
from clrl.run.agent import make_agent, save
from clrl.run.sequence import make_sequence
from clrl.run_directory import RunDirectory
from clrl.watch import watch

from .run.test_games import TINY
from .run_files import new_directory


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run with an agent, though one that has learnt nothing."""
    directory = new_directory(tmp_path_factory.mktemp("runs"), TINY)
    torch.manual_seed(0)
    sequence = make_sequence(TINY)
    save(make_agent(TINY, sequence), directory)
    sequence.close()
    return directory


def film(directory: RunDirectory, game: str | None, output: Path | None) -> list[Path]:
    return watch(
        directory,
        game,
        output,
        episodes=2,
        max_seconds=1.0,
        listener=SilentListener(),
    )


def decoded(path: Path) -> tuple[np.ndarray, str]:
    """The frames of a video [T, 432, 640, 3], and what ffmpeg says about it.

    imageio's own reader leaves pipes open, about which Python warns.
    """
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path)]
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run([*ffmpeg, *raw], capture_output=True, check=True)
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, 432, 640, 3)
    return frames, done.stderr.decode()


def test_every_game_is_filmed_with_a_filmstrip(saved: RunDirectory) -> None:
    paths = film(saved, None, None)
    assert paths == [saved.videos / "pong.mp4", saved.videos / "breakout.mp4"]
    for path in paths:
        frames, said = decoded(path)
        assert len(frames) == 2 * 15  # two episodes of a second
        assert "h264" in said
        assert "15 fps" in said
        assert frames[:, 6:426, 8:328].std() > 5  # not blank
        with Image.open(path.with_suffix(".png")) as strip:
            assert strip.size == (8 * 164 - 4, 210 + 18)


def test_the_command_line_films_one_game_into_a_file(
    saved: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "mine.mp4"
    arguments = ["--game", "breakout", "--output", str(path), "--seconds", "1"]
    assert main(["watch", str(saved.path), *arguments]) == 0
    assert "mine.mp4" in capsys.readouterr().out.replace("\n", "")
    assert path.is_file()
    assert path.with_suffix(".png").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game", "pogn"], "did you mean pong"),
        (["--output", "all.mp4"], "one output file is for one game, got 2 games"),
        (["--game", "pong", "--output", "pong.avi"], "must end in .mp4, got pong.avi"),
        (["--episodes", "0"], "--episodes must be at least 1, got 0"),
        (["--seconds", "nan"], "--seconds must be at least 1, got nan"),
    ],
)
def test_a_wrong_request_is_refused(
    saved: RunDirectory,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["watch", str(saved.path), *arguments]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


def test_a_run_without_an_agent_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found no manifest"):
        film(new_directory(tmp_path, TINY), None, None)
    with pytest.raises(ConfigError, match="unknown run"):
        RunDirectory.open(tmp_path / "none")


@pytest.mark.parametrize("rules", PROTOCOLS.values(), ids=list(PROTOCOLS))
def test_what_is_shown_is_what_is_played(rules: AtariProtocol) -> None:
    """Lost lives end no episode, and scores are those of the actions shown."""
    sequence = make_sequence(TINY)
    agent = make_agent(TINY, sequence)
    sequence.close()
    played = AtariGame("breakout", 1, rules, frame_size=42)
    shown = AtariGame("breakout", 1, rules, full_colour=True)
    moments = list(
        play(
            agent,
            played,
            shown,
            episodes=2,
            max_episode_steps=2_000,
            exploration_eps=1.0,
            seed=3,
        )
    )
    starts = [i for i, moment in enumerate(moments) if moment.step == 0]
    assert len(starts) == 2
    ends = [moments[starts[1] - 1], moments[-1]]
    assert max(end.score for end in ends) > 0
    assert all(len(m.q_values) == len(ACTION_NAMES) for m in moments)
    assert {m.action for m in moments} == set(range(18))

    # The same actions in a game of its own give the same scores.
    twin = AtariGame("breakout", 1, rules, frame_size=84)
    twin.reset(3)
    total = 0.0
    for moment in moments[: starts[1] - 1]:
        assert moment.score == total
        twin.send(np.array([moment.action]))
        total += float(twin.receive().rewards[0])
    assert ends[0].score == total
    for game in (played, shown, twin):
        game.close()
