"""``clrl recognise`` on real games and on minibatches of digits."""

import json
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clrl import records
from clrl.cli import main
from clrl.config import config_file
from clrl.config.games import RunConfig, SequenceConfig
from clrl.config.library import find_config
from clrl.progress import SilentListener
from clrl.recognise.games import recognise, recognise_each
from clrl.recognition.recognisers import RECOGNISERS
from clrl.rl.dqn import ContinualDQN
from clrl.run_directory import RunDirectory

SHORT = ["--sequence.visit_steps", "160", "--sequence.num_envs", "4"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("recogniser", ["flat_fmn", "fmn"])
def test_the_games_of_a_config_are_told_apart(recogniser: str) -> None:
    config = config_file.read_game_config(
        find_config("atari/smoke"), [*SHORT, "--recogniser", recogniser]
    )
    stream = recognise(config, None, SilentListener())
    assert stream.games == ("pong", "breakout")
    assert stream.total_steps == 4 * 160
    assert stream.truth.starts.tolist() == [0, 160, 320, 480]
    measures = stream.measures()
    assert measures.contexts == 2
    assert measures.false_switches == 0
    assert 0 < measures.median_delay_steps < 100
    assert stream.screens.shape == (2, 42, 42)
    assert stream.posterior.shape == (len(stream.posterior_steps), 3)
    assert stream.milliseconds_per_step() > 0


def test_the_oracle_is_always_right() -> None:
    config = RunConfig(
        games=("pong", "boxing"),
        sequence=SequenceConfig(visit_steps=40, num_envs=2, frame_size=42),
        recogniser=RECOGNISERS["oracle"](),
    )
    stream = recognise(config, None, SilentListener())
    assert stream.measures().adjusted_rand_index == 1
    assert stream.measures().max_delay_steps == 0
    assert len(stream.screens) == 0
    assert stream.posterior[-1].tolist() == [0, 1, 0]


def test_the_same_seed_gives_the_same_labels() -> None:
    config = config_file.read_game_config(
        find_config("atari/smoke"), [*SHORT, "--sequence.visits_per_game", "1"]
    )
    first, second = (recognise(config, None, SilentListener()) for _ in range(2))
    assert first.labels.starts.tolist() == second.labels.starts.tolist()
    assert first.posterior.tolist() == second.posterior.tolist()


def test_the_command_leaves_pictures_and_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["recognise", "atari/smoke", *SHORT]) == 0
    assert "adjusted Rand index" in capsys.readouterr().out
    (folder,) = Path("runs").iterdir()
    assert folder.name == "recognise-flat_fmn-pong+breakout-seed0-1"
    names = {path.name for path in folder.iterdir()}
    files = {"recognition.json", "recognition.png", "contexts.png"}
    assert names == files | {"tensorboard"}
    written = json.loads((folder / "recognition.json").read_text())
    assert written["agent_steps"] == 4 * 160


def test_tensorboard_holds_the_course_the_measures_and_pictures() -> None:
    assert main(["recognise", "atari/smoke", *SHORT]) == 0
    (folder,) = Path("runs").iterdir()
    written = json.loads((folder / "recognition.json").read_text())
    events = events_of(folder)
    for tag, timeline in (("true_task", "true_tasks"), ("label", "labels")):
        stretches = zip(*written[timeline].values(), strict=True)
        expected = {s: v for s, v in stretches if s in steps_of(events, tag)}
        points = {p.step: p.value for p in events.Scalars(f"recognition/{tag}")}
        assert len(expected) > 1
        assert all(points[step] == value for step, value in expected.items())
    posteriors = [
        [point.value for point in events.Scalars(f"posterior/{name}")]
        for name in ("task_0", "task_1", "unknown")
    ]
    assert np.sum(posteriors, axis=0) == pytest.approx(1)
    delays = [p.value for p in events.Scalars("recognition/delay_steps")]
    assert [p.step for p in events.Scalars("recognition/delay_steps")] == [
        160,
        320,
        480,
    ]
    assert np.median(delays) == written["measures"]["median_delay_steps"]
    frames = [p.value for p in events.Scalars("recognition/delay_frames")]
    assert frames == [4 * delay for delay in delays]
    (ari,) = events.Scalars("measure/adjusted_rand_index")
    assert ari.value == pytest.approx(written["measures"]["adjusted_rand_index"])
    pictures = set(events.Tags()["images"])
    assert pictures == {"over_time", "contexts", "context/0", "context/1"}


def events_of(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0})
    events.Reload()
    return events


def steps_of(events: EventAccumulator, tag: str) -> set[int]:
    return {point.step for point in events.Scalars(f"recognition/{tag}")}


DIGITS = ["--dataset", "digits", "--stream.tasks", "3", "--training.order", "random"]


@pytest.mark.parametrize("recogniser", ["flat_fmn", "fmn"])
def test_the_tasks_of_a_supervised_config_are_told_apart(
    recogniser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*DIGITS, "--training.examples_per_task=50", "--recogniser", recogniser]
    visits = ["--training.visits_per_task", "2", "--training.passes", "2"]
    assert main(["recognise", "mnist/gem_inferred", *overrides, *visits]) == 0
    assert "examples under a wrong label" in capsys.readouterr().out
    (folder,) = Path("runs").iterdir()
    assert folder.name == f"recognise-{recogniser}-digits_permutations-seed0-1"
    written = json.loads((folder / "recognition.json").read_text())
    assert written["examples"] == 3 * 2 * 2 * 50
    assert written["policy"] == "digits"
    assert written["measures"]["adjusted_rand_index"] == 1
    assert written["measures"]["contexts"] == 3
    assert written["measures"]["max_delay_steps"] == 0
    shown = written["steps_by_game_and_label"]
    assert sorted(max(row) for row in shown.values()) == [200, 200, 200]
    events = events_of(folder)
    assert "context/2" in events.Tags()["images"]
    assert {p.value for p in events.Scalars("recognition/label")} == {0, 1, 2}


def test_training_labels_the_examples_as_recognising_does() -> None:
    overrides = [*DIGITS, "--training.examples_per_task=40", "--training.batch_size=8"]
    assert main(["recognise", "mnist/gem_inferred", *overrides]) == 0
    assert main(["train", "mnist/gem_inferred", *overrides, "--name=mine"]) == 0
    (result,) = Path("runs").glob("recognise-*/recognition.json")
    labels = json.loads(result.read_text())["labels"]
    trained = records.read_records(RunDirectory.open(Path("runs/mine")).records)
    changes = [r for r in trained if isinstance(r, records.Label)]
    assert [c.agent_steps for c in changes] == labels["starts"]
    assert [c.label for c in changes] == labels["values"]


def test_nobody_plays_a_supervised_stream(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["recognise", "mnist/gem_inferred", *DIGITS, "--agent", "runs/mine"]
    assert main(arguments) == 2
    assert "--agent is for games" in capsys.readouterr().err


def test_several_recognisers_see_the_same_play() -> None:
    both = [
        config_file.read_game_config(
            find_config("atari/smoke"), ["--recogniser", name, *SHORT]
        )
        for name in ("flat_fmn", "oracle")
    ]
    flat, oracle = recognise_each(both, None, SilentListener())
    alone = recognise(both[0], None, SilentListener())
    assert flat.labels.starts.tolist() == alone.labels.starts.tolist()
    assert flat.recogniser == "flat_fmn"
    assert oracle.labels.starts.tolist() == oracle.truth.starts.tolist()


def test_modes_and_noise_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    modes = ["--games", "space_invaders,space_invaders:mode=8"]
    noise = ["--sequence.pixel_noise", "0.05"]
    assert main(["recognise", "atari/smoke", *SHORT, *modes, *noise]) == 0
    (written,) = Path("runs").glob("*/recognition.json")
    assert set(json.loads(written.read_text())["steps_by_game_and_label"]) == {
        *("space_invaders", "space_invaders:mode=8")
    }
    wrong = ["--games", "freeway:mode=8"]
    assert main(["recognise", "atari/smoke", *SHORT, *wrong]) == 2
    assert "freeway has no mode 8" in capsys.readouterr().err


def test_an_unknown_agent_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recognise", "atari/smoke", "--agent", "runs/none"]) == 2
    assert "unknown run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trained_agent_can_play() -> None:
    assert main(["train", "atari/smoke", "--name", "mine"]) == 0
    assert main(["recognise", "atari/smoke", *SHORT, "--agent", "runs/mine"]) == 0
    (result,) = Path("runs").glob("recognise-*/recognition.json")
    assert json.loads(result.read_text())["policy"] == "mine"


@pytest.mark.slow
def test_an_agent_that_was_told_its_games_plays_each_as_it_learnt_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In whatever order they come now."""
    told = ["--name", "told", "--recogniser", "oracle"]
    assert main(["train", "atari/smoke", *SHORT, *told]) == 0
    played: list[int] = []
    set_task = ContinualDQN.set_task

    def note(agent: ContinualDQN, task: int) -> None:
        played.append(task)
        set_task(agent, task)

    monkeypatch.setattr(ContinualDQN, "set_task", note)
    agent = ["--agent", "runs/told"]
    once = ["--sequence.visits_per_game", "1"]
    turned = ["--games", "breakout,pong"]
    assert main(["recognise", "atari/smoke", *SHORT, *once, *turned, *agent]) == 0
    # pong is task 0, breakout task 1.
    assert sorted(set(played), key=played.index) == [1, 0]
    other = ["--games", "breakout,boxing"]
    assert main(["recognise", "atari/smoke", *SHORT, *once, *other, *agent]) == 2
    assert "unknown game 'boxing'" in capsys.readouterr().err
