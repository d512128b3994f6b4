"""Whole runs, tiny ones, in this process."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clrl import records
from clrl.checkpoint import read_checkpoint
from clrl.config.games import (
    AgentConfig,
    EvaluationConfig,
    NetworkConfig,
    RunConfig,
    SequenceConfig,
)
from clrl.continual.methods import EWC, GEM
from clrl.errors import CheckpointError, DivergenceError, MemoryBudgetError
from clrl.progress import Listener, SilentListener
from clrl.recognition.recognisers import (
    FlatForgetMeNotRecogniser,
    OneTaskRecogniser,
    OracleRecogniser,
)
from clrl.rl.replay import ReplayMemory, example_bytes
from clrl.rl.replay_budget import ReplayBudget
from clrl.run import games as run
from clrl.run.agent import check_memory
from clrl.run.sequence import make_visits
from clrl.run_directory import RunDirectory

from ..fakes import InterruptingListener, Remembering
from ..run_files import new_directory, recorded

VISIT_STEPS = 400

TINY = RunConfig(
    games=("pong", "breakout"),
    seed=4,
    sequence=SequenceConfig(
        visit_steps=VISIT_STEPS, visits_per_game=1, num_envs=2, frame_size=42
    ),
    agent=AgentConfig(
        learning_starts=64,
        buffer_size=400,
        batch_size=8,
        train_freq=8,
        target_update_interval=100,
        exploration_steps=100,
        exploration_final_eps=0.6,  # presses FIRE now and then, so that games end
        replay_gib=0.1,
    ),
    network=NetworkConfig(name="small", max_tasks=3),
    method=EWC(importance_batches=2),
    recogniser=OracleRecogniser(),
    evaluation=EvaluationConfig(
        episodes=2, max_episode_steps=20, random_policy_episodes=2
    ),
    device="cpu",
    threads=1,
)


def changed(**changes: Any) -> RunConfig:
    return dataclasses.replace(TINY, **changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, RunDirectory]:
    """The same config trained twice."""
    parent = tmp_path_factory.mktemp("runs")
    first, second = (new_directory(parent, TINY, name) for name in ("first", "second"))
    listener = Remembering()
    run.train(TINY, first, listener)
    run.train(TINY, second, SilentListener())
    assert listener.last is not None
    assert listener.last.agent_steps == listener.last.total_agent_steps
    return first, second


def test_records_tell_what_happened_in_order(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, _ = runs
    total = 2 * VISIT_STEPS
    assert [
        (v.agent_steps, v.visit, v.game) for v in recorded(first, records.Visit)
    ] == [(0, 0, "pong"), (VISIT_STEPS, 1, "breakout")]
    assert [(x.agent_steps, x.label) for x in recorded(first, records.Label)] == [
        (0, 0),
        (VISIT_STEPS, 1),
    ]
    (left,) = recorded(first, records.Consolidation)
    assert (left.agent_steps, left.task) == (VISIT_STEPS, 0)
    metrics = left.metrics
    assert metrics["importance_trace"] >= metrics["importance_max"] > 0

    evaluations = recorded(first, records.Evaluation)
    assert [(e.agent_steps, e.stage, e.game, e.label) for e in evaluations] == [
        (stage * VISIT_STEPS, stage, game, label)
        for stage in range(3)
        for label, game in enumerate(TINY.games)
    ]
    assert {len(e.returns) for e in evaluations} == {2}
    assert [r.game for r in recorded(first, records.RandomPolicy)] == list(TINY.games)

    training = recorded(first, records.Train)
    assert [(t.agent_steps, t.game, t.label) for t in training] == [
        (VISIT_STEPS, "pong", 0),
        (total, "breakout", 1),
    ]
    assert training[0].penalty == 0
    assert training[1].penalty > 0
    assert training[0].penalty_gradient_ratio == 0
    assert training[1].penalty_gradient_ratio > 0
    assert all(abs(t.q_mean) <= t.q_abs_max for t in training)
    episodes = recorded(first, records.Episode)
    assert episodes
    assert all(0 < e.agent_steps <= total for e in episodes)
    learnt = recorded(first, records.Plasticity)
    assert [(p.stage, p.game, p.label) for p in learnt] == [
        (1, "pong", 0),
        (2, "breakout", 1),
    ]
    assert all(0 <= p.dormant_fraction < 1 for p in learnt)
    assert all(0 < p.effective_rank <= 256 for p in learnt)
    assert all(p.weight_norm > 0 for p in learnt)
    steps = [record.agent_steps for record in records.read_records(first.records)]
    assert max(steps) == total
    assert min(steps) == 0


def test_the_same_config_and_seed_give_identical_weights_and_records(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, second = runs
    assert first.records.read_bytes() == second.records.read_bytes()
    ours, theirs = (read_checkpoint(directory.checkpoint) for directory in runs)
    assert ours.keys() == theirs.keys() == {"policy", "continual"}
    for part, tensors in ours.items():
        assert tensors.keys() == theirs[part].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, theirs[part][name]), name


def test_an_alarm_is_shown_and_recorded(tmp_path: Path) -> None:
    config = changed(
        method=EWC(strength=0.0, importance_batches=2),
        sequence=dataclasses.replace(TINY.sequence, visit_steps=120),
        evaluation=EvaluationConfig(
            episodes=1, max_episode_steps=5, random_policy_episodes=0
        ),
    )
    directory, listener = new_directory(tmp_path, config), Remembering()
    run.train(config, directory, listener)
    (alarm,) = (
        alarm
        for alarm in recorded(directory, records.Guard)
        if alarm.guard == "inactive_penalty"
    )
    assert (alarm.agent_steps, alarm.visit) == (240, 1)
    assert alarm.game == "breakout"
    assert f"inactive_penalty: {alarm.message}" in listener.messages


def test_another_seed_gives_other_weights(
    runs: tuple[RunDirectory, RunDirectory], tmp_path: Path
) -> None:
    config = changed(
        seed=5, sequence=dataclasses.replace(TINY.sequence, visit_steps=100)
    )
    other = new_directory(tmp_path, config)
    run.train(config, other, SilentListener())
    ours, theirs = (
        read_checkpoint(directory.checkpoint)["policy"]
        for directory in (runs[0], other)
    )
    name = "q_net.layers.0.weight"
    assert not torch.equal(ours[name], theirs[name])


def test_tensorboard_has_returns_losses_scores_and_labels(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    events = EventAccumulator(str(runs[0].tensorboard)).Reload()
    assert set(events.Tags()["scalars"]) >= {
        "score/pong",
        "score/breakout",
        "return/breakout",
        "train/loss",
        "train/penalty",
        "train/gradient_norm",
        "recognition/true_task",
        "recognition/label",
        "recognition/contexts",
        "exploration_rate/task_0",
        "exploration_rate/task_1",
        "consolidation/importance_trace",
        "replay_bytes/task_0",
        "replay_bytes/task_1",
        "train/penalty_gradient_ratio",
        "plasticity/dormant_fraction",
        "transfer/acc",
        "time/agent_steps_per_second",
    }
    assert set(events.Tags()["images"]) == {
        "transfer_matrix",
        "task_timeline",
        "play/pong",
        "play/breakout",
    }
    (granted,) = {event.value for event in events.Scalars("replay_bytes/task_0")}
    assert granted == 400 * (42 * 42 + 8)
    assert [(e.step, e.value) for e in events.Scalars("recognition/true_task")] == [
        (VISIT_STEPS, 0.0),
        (2 * VISIT_STEPS, 1.0),
    ]
    assert [event.step for event in events.Scalars("score/pong")] == [
        0,
        VISIT_STEPS,
        2 * VISIT_STEPS,
    ]


def test_tensorboard_holds_the_posterior_of_the_recogniser(tmp_path: Path) -> None:
    config = changed(recogniser=FlatForgetMeNotRecogniser())
    directory = new_directory(tmp_path, config)
    run.train(config, directory, SilentListener())
    events = EventAccumulator(str(directory.tensorboard)).Reload()
    tags = [t for t in events.Tags()["scalars"] if t.startswith("posterior/")]
    assert {"posterior/task_0", "posterior/task_1", "posterior/unknown"} <= set(tags)
    last = {
        tag: events.Scalars(tag)[-1].value
        for tag in sorted(tags)
        if events.Scalars(tag)[-1].step == 2 * VISIT_STEPS
    }
    assert sum(last.values()) == pytest.approx(1.0)
    saved = read_checkpoint(directory.checkpoint)["continual"]
    expected = saved["recogniser.log_posterior"].exp().tolist()
    assert list(last.values()) == pytest.approx(expected, rel=1e-6, abs=1e-30)
    # Of two games that look so unlike, the one that is played is certain.
    assert max(last.values()) > 0.99


def test_tensorboard_holds_no_posterior_of_an_oracle(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    tags = EventAccumulator(str(runs[0].tensorboard)).Reload().Tags()["scalars"]
    assert not [tag for tag in tags if tag.startswith("posterior/")]


def test_provenance_names_the_protocol_and_the_roms(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    provenance = json.loads(runs[0].provenance.read_text())
    assert provenance["protocol"].startswith("nature: ")
    # MD5 by which ale-py knows the game.
    assert provenance["rom_md5s"]["breakout"] == "f34f08e5eb96e500e851a80be3277a56"


def test_a_precision_is_chosen_before_the_run_and_written_down(tmp_path: Path) -> None:
    agent = dataclasses.replace(TINY.agent, precision="auto")
    directory, listener = new_directory(tmp_path, TINY), Remembering()
    run.train(changed(agent=agent), directory, listener)
    (chosen,) = (
        message.split()[1].rstrip(":")
        for message in listener.messages
        if message.startswith("precision ")
    )
    provenance = json.loads(directory.provenance.read_text())
    assert provenance["precision"] == chosen
    assert provenance["device"] == "cpu"
    run.evaluate(directory, 1, SilentListener())


def test_threads_are_chosen_before_the_run_and_written_down(tmp_path: Path) -> None:
    config = changed(threads="auto")
    directory, listener = new_directory(tmp_path, config), Remembering()
    before = torch.get_num_threads()
    run.train(config, directory, listener)
    torch.set_num_threads(before)
    (chosen,) = (
        int(message.split()[1].rstrip(":"))
        for message in listener.messages
        if message.startswith("threads ")
    )
    assert json.loads(directory.provenance.read_text())["threads"] == chosen


@pytest.mark.parametrize(
    "changes",
    [{"replay_frames": "lz4"}, {"replay_frames": "device"}, {"capture": True}],
    ids=str,
)
def test_how_frames_are_kept_and_updates_started_changes_no_record(
    runs: tuple[RunDirectory, RunDirectory], tmp_path: Path, changes: dict[str, Any]
) -> None:
    config = changed(agent=dataclasses.replace(TINY.agent, **changes))
    directory = new_directory(tmp_path, config)
    run.train(config, directory, SilentListener())
    assert directory.records.read_bytes() == runs[0].records.read_bytes()


def test_overlapped_runs_learn_something_else(
    runs: tuple[RunDirectory, RunDirectory], tmp_path: Path
) -> None:
    config = changed(agent=dataclasses.replace(TINY.agent, overlap=True))
    directory = new_directory(tmp_path, config)
    run.train(config, directory, SilentListener())
    losses = [r.loss for r in recorded(directory, records.Train)]
    exact = [r.loss for r in recorded(runs[0], records.Train)]
    assert len(losses) == len(exact) > 0
    assert losses != exact


def test_a_saved_agent_scores_what_it_scored_in_the_end(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    last = [r for r in recorded(runs[0], records.Evaluation) if r.stage == 2]
    assert run.evaluate(runs[0], None, SilentListener()) == last


def test_games_are_also_scored_under_the_true_label_and_under_none(
    tmp_path: Path, runs: tuple[RunDirectory, RunDirectory]
) -> None:
    wanted: tuple[records.Labelling, ...] = ("true_label", "no_label")
    evaluation = dataclasses.replace(TINY.evaluation, also_under=wanted)
    # Everything is task 0, so that breakout's true label is its inferred one too.
    config = changed(evaluation=evaluation, recogniser=OneTaskRecogniser())
    directory = new_directory(tmp_path, config)
    run.train(config, directory, SilentListener())
    inferred = recorded(directory, records.Evaluation)
    again = recorded(directory, records.Relabelled)
    true = [r for r in again if r.labelling == "true_label"]
    none = [r for r in again if r.labelling == "no_label"]
    seen = [(1, "pong"), (2, "pong"), (2, "breakout")]
    assert [(r.stage, r.game) for r in true] == seen
    assert [(r.label, r.returns) for r in true] == [
        (e.label, e.returns) for e in inferred if (e.stage, e.game) in seen
    ]
    assert [(r.stage, r.game) for r in none] == [(e.stage, e.game) for e in inferred]
    assert {r.label for r in none} == {None}
    # Gains and biases that nobody has trained yet change nothing.
    assert [r.returns for r in none[:2]] == [e.returns for e in inferred[:2]]

    run_again = [
        r
        for r in records.read_records(directory.records)
        if isinstance(r, records.Evaluation | records.Relabelled) and r.stage == 2
    ]
    assert run.evaluate(directory, None, SilentListener()) == run_again
    assert len(run.evaluate(directory, None, SilentListener(), also_under=[])) == 2

    events = EventAccumulator(str(directory.tensorboard))
    events.Reload()
    for labelling, group in (("true_label", true), ("no_label", none)):
        points = events.Scalars(f"score_{labelling}/pong")
        expected = [np.mean(r.returns) for r in group if r.game == "pong"]
        assert [p.value for p in points] == pytest.approx(expected)

    plain = [type(r).kind for r in records.read_records(runs[0].records)]
    assert "relabelled" not in plain  # nothing of it by default


def test_a_saved_agent_can_play_more_episodes(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    scores = run.evaluate(runs[0], 3, SilentListener())
    assert [len(score.returns) for score in scores] == [3, 3]


def test_a_run_without_a_checkpoint_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found no manifest"):
        run.evaluate(new_directory(tmp_path, TINY), None, SilentListener())


def test_ctrl_c_saves_the_agent_and_goes_on_up(tmp_path: Path) -> None:
    directory = new_directory(tmp_path, TINY)
    listener: Listener = InterruptingListener(after=40)
    with pytest.raises(KeyboardInterrupt):
        run.train(TINY, directory, listener)
    facts: Mapping[str, int] = json.loads(
        (directory.checkpoint / "manifest.json").read_text()
    )["facts"]
    assert facts["agent_steps"] == 2 * 41
    assert facts["updates"] > 0
    assert len(run.evaluate(directory, 1, SilentListener())) == 2
    assert recorded(directory, records.Evaluation)


def test_a_full_disk_does_not_lose_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    directory = new_directory(tmp_path, TINY)
    monkeypatch.setattr(records.RecordWriter, "write", full)
    with pytest.raises(OSError, match="No space left"):
        run.train(TINY, directory, SilentListener())
    assert (directory.checkpoint / "manifest.json").exists()


def test_divergence_leaves_records_but_no_checkpoint(tmp_path: Path) -> None:
    config = changed(agent=dataclasses.replace(TINY.agent, learning_rate=1e30))
    directory = new_directory(tmp_path, config)
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        run.train(config, directory, SilentListener())
    assert not directory.checkpoint.exists()
    assert len(recorded(directory, records.Evaluation)) == 2


@pytest.mark.parametrize(
    ("replay_gib", "buffer_size"),
    [(0.1, 100_000), (10.0**9, 10**12)],
    ids=["more than allowed", "more than there is"],
)
def test_a_sequence_that_does_not_fit_into_memory_is_refused_before_it_starts(
    tmp_path: Path, replay_gib: float, buffer_size: int
) -> None:
    agent = dataclasses.replace(
        TINY.agent, replay_gib=replay_gib, buffer_size=buffer_size
    )
    config = changed(agent=agent)
    directory = new_directory(tmp_path, config)
    with pytest.raises(MemoryBudgetError, match=r"2 games of [\d,]+ transitions"):
        run.train(config, directory, SilentListener())
    assert list(directory.path.iterdir()) == [directory.config]


def test_what_a_method_keeps_of_each_game_must_fit_before_any_work() -> None:
    size = TINY.sequence.frame_size
    stacks = np.zeros((1, 4, size, size), np.uint8)
    memory = ReplayMemory(
        40,
        stacks[0].shape,
        stacks.dtype,
        task=0,
        num_envs=1,
        budget=ReplayBudget(2**20),
        n_stack=4,
    )
    action, reward, no = np.zeros(1, int), np.zeros(1, np.float32), np.zeros(1, bool)
    memory.add(stacks, action, reward, stacks, no, no)
    batch = memory.sample(1, np.random.default_rng(0))
    each = sum(column.nbytes for column in batch)
    assert each == example_bytes(stacks[0].shape, 1)
    for share, fits in ((1.001, True), (0.999, False)):
        gib = share * 2 * 256 * each / 2**30
        config = changed(method=GEM(memory_gib=gib))
        if fits:
            check_memory(config)
        else:
            with pytest.raises(MemoryBudgetError, match="2 tasks of 256 examples"):
                check_memory(config)


def test_a_memory_that_just_fits_is_allowed() -> None:
    needed = 2 * 400 * (42 * 42 + 8)
    for share, fits in ((1.001, True), (0.999, False)):
        agent = dataclasses.replace(TINY.agent, replay_gib=share * needed / 2**30)
        if fits:
            check_memory(changed(agent=agent))
        else:
            with pytest.raises(MemoryBudgetError):
                check_memory(changed(agent=agent))


def test_compressed_memories_are_taken_for_two_sevenths_of_raw_ones() -> None:
    needed = 2 * 400 * (42 * 42 * 2 // 7 + 8)
    for share, fits in ((1.001, True), (0.999, False)):
        agent = dataclasses.replace(
            TINY.agent, replay_frames="lz4", replay_gib=share * needed / 2**30
        )
        if fits:
            check_memory(changed(agent=agent))
        else:
            with pytest.raises(MemoryBudgetError):
                check_memory(changed(agent=agent))


def test_visits_follow_the_config() -> None:
    assert [v.game for v in make_visits(TINY)] == ["pong", "breakout"]
    random = changed(
        sequence=dataclasses.replace(TINY.sequence, order="random", visits_per_game=3)
    )
    visits = make_visits(random)
    assert visits == make_visits(random)
    assert sorted(v.game for v in visits) == ["breakout"] * 3 + ["pong"] * 3
