"""Whole supervised runs, tiny ones, in this process."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from clrl import records
from clrl.checkpoint import read_checkpoint
from clrl.config.config_file import describe
from clrl.config.supervised import MLPConfig, SupervisedRunConfig, TrainingConfig
from clrl.continual.methods import EWC, METHODS
from clrl.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergenceError,
    MemoryBudgetError,
)
from clrl.progress import SilentListener
from clrl.recognition.image_recognisers import FlatImageRecogniser
from clrl.recognition.recognisers import (
    FlatForgetMeNotRecogniser,
    OneTaskRecogniser,
    OracleRecogniser,
)
from clrl.report.page import write_report
from clrl.run import supervised as run_supervised
from clrl.run_directory import RunDirectory
from clrl.summary import summarise
from clrl.supervised.streams import Permutations, Plain, Rotations, Split, StreamConfig

from ..fakes import InterruptingListener, Remembering, ScriptedLabels
from ..run_files import new_directory, recorded

EXAMPLES = 60

TINY = SupervisedRunConfig(
    seed=4,
    dataset="digits",
    stream=Permutations(tasks=2),
    training=TrainingConfig(
        examples_per_task=EXAMPLES, passes=2, batch_size=10, learning_rate=0.1
    ),
    network=MLPConfig(hidden=(20,)),
    method=EWC(strength=5.0, importance_batches=2),
    recogniser=OracleRecogniser(),
    device="cpu",
    threads=1,
)
TASKS = ("permutation_1", "permutation_2")


def changed(**changes: Any) -> SupervisedRunConfig:
    return dataclasses.replace(TINY, **changes)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDirectory, RunDirectory]:
    """The same config trained twice."""
    parent = tmp_path_factory.mktemp("runs")
    first, second = (new_directory(parent, TINY, name) for name in ("first", "second"))
    for directory in (first, second):
        run_supervised.train(TINY, directory, SilentListener())
    return first, second


def test_records_tell_what_happened_in_order(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, _ = runs
    visit = 2 * EXAMPLES
    visits = [(v.agent_steps, v.game) for v in recorded(first, records.Visit)]
    assert visits == [(0, TASKS[0]), (visit, TASKS[1])]
    labels = [(x.agent_steps, x.label) for x in recorded(first, records.Label)]
    assert labels == [(0, 0), (visit, 1)]
    left = [(c.agent_steps, c.task) for c in recorded(first, records.Consolidation)]
    assert left == [(visit, 0), (2 * visit, 1)]
    tests = [(e.stage, e.game) for e in recorded(first, records.Evaluation)]
    assert tests == [(stage, task) for stage in range(3) for task in TASKS]
    training = recorded(first, records.Train)
    assert [(t.agent_steps, t.label) for t in training] == [(visit, 0), (2 * visit, 1)]
    assert training[0].penalty == 0.0
    assert training[1].penalty > 0.0


def test_threads_are_chosen_before_the_run_and_written_down(tmp_path: Path) -> None:
    config = changed(threads="auto")
    directory, told = new_directory(tmp_path, config), Remembering()
    before = torch.get_num_threads()
    run_supervised.train(config, directory, told)
    torch.set_num_threads(before)
    (line,) = (m for m in told.messages if m.startswith("threads "))
    chosen = json.loads(directory.provenance.read_text())["threads"]
    assert line.startswith(f"threads {chosen}: ")


def test_a_precision_is_chosen_before_the_run_and_written_down(tmp_path: Path) -> None:
    training = dataclasses.replace(TINY.training, precision="auto")
    config = changed(training=training)
    directory, told = new_directory(tmp_path, config), Remembering()
    run_supervised.train(config, directory, told)
    (line,) = (m for m in told.messages if m.startswith("precision "))
    chosen = json.loads(directory.provenance.read_text())["precision"]
    assert line.startswith(f"precision {chosen}: ")


def test_bfloat16_learns_other_weights_than_float32(tmp_path: Path) -> None:
    weights = []
    for precision in ("float32", "bfloat16"):
        training = dataclasses.replace(TINY.training, precision=precision)
        config = changed(training=training)
        directory = new_directory(tmp_path, config, precision)
        run_supervised.train(config, directory, SilentListener())
        weights.append(read_checkpoint(directory.checkpoint)["network"])
    for name, plain in weights[0].items():
        assert weights[1][name].dtype == torch.float32
        assert not torch.equal(weights[1][name], plain), name
        torch.testing.assert_close(weights[1][name], plain, rtol=0, atol=0.05)


def test_one_minibatch_alone_cannot_choose_a_precision(tmp_path: Path) -> None:
    training = dataclasses.replace(TINY.training, precision="auto", batch_size=1000)
    config = changed(training=training)
    with pytest.raises(ConfigError, match=r"training\.precision auto .* only one"):
        run_supervised.train(config, new_directory(tmp_path, config), SilentListener())


def test_the_same_run_twice_writes_the_same_records(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, second = runs
    assert first.records.read_bytes() == second.records.read_bytes()


def test_the_summary_measures_transfer_on_accuracies(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    run = records.read_records(runs[0].records)
    summary = summarise(run, describe(TINY))
    scores = summary.scores
    assert summary.measure == "accuracy"
    assert summary.tasks == TASKS
    assert summary.stages == ("before", "permutation_1 #1", "permutation_2 #1")
    assert summary.acc == pytest.approx((scores[2][0] + scores[2][1]) / 2)
    assert summary.bwt == pytest.approx(scores[2][0] - scores[1][0])
    assert summary.fwt == pytest.approx(scores[1][1] - scores[0][1])
    assert all(math.isnan(x) for row in summary.human_normalised for x in row)
    assert math.isnan(summary.total_clipped)
    assert (summary.recognition.ari, summary.recognition.delay_steps) == (1.0, 0.0)
    assert summary.agent_steps == 4 * EXAMPLES


def test_tensorboard_holds_the_same_scores_and_the_training(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, _ = runs
    events = EventAccumulator(str(first.tensorboard))
    events.Reload()
    for task in TASKS:
        points = [(p.step, p.value) for p in events.Scalars(f"score/{task}")]
        tests = [e for e in recorded(first, records.Evaluation) if e.game == task]
        assert points == [(e.agent_steps, pytest.approx(e.returns[0])) for e in tests]
    tags = set(events.Tags()["scalars"])
    assert {"train/loss", "train/penalty", "recognition/label"} <= tags
    assert {"recognition/true_task", "consolidation/importance_trace"} <= tags


def test_provenance_names_the_data(tmp_path: Path) -> None:
    directory = new_directory(tmp_path, TINY)
    run_supervised.train(TINY, directory, SilentListener())
    content = json.loads(directory.provenance.read_text())
    assert content["protocol"] == "digits_permutations, 2 tasks"
    assert content["data_md5s"] == {}


def test_a_saved_classifier_scores_as_it_did_at_the_end(
    runs: tuple[RunDirectory, RunDirectory],
) -> None:
    first, _ = runs
    last = [e for e in recorded(first, records.Evaluation) if e.stage == 2]
    assert run_supervised.evaluate(first, None, SilentListener()) == last


def test_tasks_are_also_scored_under_the_true_label_and_under_none(
    tmp_path: Path,
) -> None:
    config = changed(
        also_under=("true_label", "no_label"), recogniser=FlatImageRecogniser()
    )
    directory = new_directory(tmp_path, config)
    run_supervised.train(config, directory, SilentListener())
    inferred = recorded(directory, records.Evaluation)
    again = recorded(directory, records.Relabelled)
    seen = [(1, TASKS[0]), (2, TASKS[0]), (2, TASKS[1])]
    true = [r for r in again if r.labelling == "true_label"]
    assert [(r.stage, r.game, r.label) for r in true] == [
        (*stage_and_task, label)
        for stage_and_task, label in zip(seen, (0, 0, 1), strict=True)
    ]
    none = [r for r in again if r.labelling == "no_label"]
    # No task owns anything here, so that labels make no difference.
    assert [r.returns for r in none] == [e.returns for e in inferred]
    last = [
        r
        for r in records.read_records(directory.records)
        if isinstance(r, records.Evaluation | records.Relabelled) and r.stage == 2
    ]
    assert run_supervised.evaluate(directory, None, SilentListener()) == last
    summary = summarise(records.read_records(directory.records), describe(config))
    assert math.isnan(summary.relabelled["true_label"][0][0])
    assert summary.acc_relabelled["no_label"] == summary.acc
    events = EventAccumulator(str(directory.tensorboard))
    events.Reload()
    assert len(events.Scalars(f"score_no_label/{TASKS[0]}")) == 3
    page = write_report(directory.path).read_text()
    section = page[page.index('id="relabelled"') :]
    assert f"{summary.relabelled['true_label'][-1][0]:.3f}" in section


def test_a_wrong_label_costs_what_the_true_one_shows(tmp_path: Path) -> None:
    # Twelve minibatches of each task; at evaluation everything is taken for task 1.
    labels = ScriptedLabels(labels=(0,) * 12 + (1,) * 12, at_evaluation=1)
    network = MLPConfig(hidden=(20,), task_head=True, max_tasks=2)
    config = changed(also_under=("true_label",), network=network, recogniser=labels)
    told = dataclasses.replace(config, recogniser=OracleRecogniser())
    for name, each in (("inferred", config), ("told", told)):
        run_supervised.train(
            each, new_directory(tmp_path, each, name), SilentListener()
        )
    inferred, told_run = (RunDirectory.open(tmp_path / n) for n in ("inferred", "told"))
    true = recorded(inferred, records.Relabelled)
    assert [(r.stage, r.label) for r in true] == [(1, 0), (2, 0), (2, 1)]
    told_scores = {
        (e.stage, e.game): e.returns for e in recorded(told_run, records.Evaluation)
    }
    assert [r.returns for r in true] == [told_scores[r.stage, r.game] for r in true]
    (wrong,) = [
        e
        for e in recorded(inferred, records.Evaluation)
        if (e.stage, e.game) == (2, TASKS[0])
    ]
    assert wrong.returns < true[1].returns


def test_without_a_label_there_is_no_network_of_layers_that_tasks_own() -> None:
    with pytest.raises(ConfigError, match="no_label in also_under"):
        changed(also_under=("no_label",), network=MLPConfig(task_head=True))


def test_more_contexts_than_layers_are_refused_before_any_work() -> None:
    network = MLPConfig(task_head=True, max_tasks=20)
    with pytest.raises(ConfigError, match=r"max_contexts must be at most .* 32 and 20"):
        changed(network=network, recogniser=FlatImageRecogniser())
    changed(network=network, recogniser=FlatImageRecogniser(max_contexts=20))


def test_episodes_are_refused(runs: tuple[RunDirectory, RunDirectory]) -> None:
    with pytest.raises(ConfigError, match="--episodes is for games"):
        run_supervised.evaluate(runs[0], 3, SilentListener())


def test_an_interrupted_run_keeps_its_classifier(tmp_path: Path) -> None:
    directory = new_directory(tmp_path, TINY)
    with pytest.raises(KeyboardInterrupt):
        run_supervised.train(TINY, directory, InterruptingListener(after=15))
    assert "network" in read_checkpoint(directory.checkpoint)
    assert len(recorded(directory, records.Visit)) == 2


def test_a_run_that_diverges_writes_no_checkpoint(tmp_path: Path) -> None:
    training = dataclasses.replace(TINY.training, learning_rate=1e30)
    config = changed(training=training)
    directory = new_directory(tmp_path, config)
    with pytest.raises(DivergenceError):
        run_supervised.train(config, directory, SilentListener())
    with pytest.raises(CheckpointError):
        read_checkpoint(directory.checkpoint)


@pytest.mark.parametrize(
    ("stream", "changes"),
    [
        (Rotations(tasks=2), {}),
        (Rotations(tasks=2, turning=True), {}),
        (Split(tasks=2), {"network": MLPConfig(hidden=(20,), task_head=True)}),
        (Split(tasks=2), {}),
        (Split(tasks=2, scenario="domain"), {"recogniser": OneTaskRecogniser()}),
        (Split(tasks=2, scenario="class"), {}),
        (Permutations(tasks=2), {"network": MLPConfig(hidden=(20,), task_input=True)}),
    ],
)
def test_every_stream_is_trained_and_scored(
    tmp_path: Path, stream: StreamConfig, changes: dict[str, Any]
) -> None:
    config = changed(stream=stream, **changes)
    directory = new_directory(tmp_path, config)
    run_supervised.train(config, directory, SilentListener())
    run = records.read_records(directory.records)
    summary = summarise(run, describe(config))
    assert len(summary.scores) == 3
    # Something was learnt in each visit: better than before it.
    assert summary.scores[1][0] > summary.scores[0][0]
    assert summary.scores[2][1] > summary.scores[1][1]


def test_tasks_that_must_be_told_need_the_oracle() -> None:
    with pytest.raises(ConfigError, match="set recogniser to oracle"):
        changed(stream=Split(), recogniser=OneTaskRecogniser())


def test_a_recogniser_of_screens_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="models the screens of games"):
        changed(recogniser=FlatForgetMeNotRecogniser())


def test_too_few_layers_for_the_tasks_are_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match=r"network\.max_tasks must be at least 2"):
        changed(network=MLPConfig(task_head=True, max_tasks=1))
    with pytest.raises(ConfigError, match="needs layers that tasks own"):
        MLPConfig(task_layers_copied=True)


def test_a_memory_smaller_than_the_tasks_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="at least 2, an example of each task, got 1"):
        changed(method=METHODS["er"](examples=1))  # type: ignore[call-arg]


def test_memories_that_cannot_hold_all_tasks_are_refused_before_any_work(
    tmp_path: Path,
) -> None:
    config = changed(method=METHODS["gem"](memory_gib=1e-5))  # type: ignore[call-arg]
    directory = new_directory(tmp_path, config)
    with pytest.raises(MemoryBudgetError, match="2 tasks of 256 examples of 80 bytes"):
        run_supervised.train(config, directory, SilentListener())
    assert list(directory.path.iterdir()) == [directory.config]


def test_an_importance_of_test_images_is_for_told_methods_that_need_no_labels() -> None:
    of_test = dataclasses.replace(TINY.training, importance_from="test")
    changed(training=of_test, method=METHODS["mas"]())
    with pytest.raises(ConfigError, match=r"without labels.*mas_local"):
        changed(training=of_test, method=METHODS["er"]())
    empirical = METHODS["ewc"](importance="log_likelihood_empirical")  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="labels come from the model"):
        changed(training=of_test, method=empirical)
    with pytest.raises(ConfigError, match="not told; use the oracle"):
        changed(
            training=of_test, method=METHODS["mas"](), recogniser=OneTaskRecogniser()
        )


def test_a_split_that_does_not_divide_is_refused_before_any_work() -> None:
    with pytest.raises(ConfigError, match="divide the 10 classes"):
        changed(stream=Split(tasks=3))


def test_missing_data_are_reported(tmp_path: Path) -> None:
    config = changed(dataset="mnist", data_dir=tmp_path)
    with pytest.raises(DataError, match=f"in {tmp_path}"):
        run_supervised.train(config, new_directory(tmp_path, TINY), SilentListener())


@pytest.mark.parametrize(
    "change",
    [
        {"examples_per_task": 0},
        {"passes": 0},
        {"visits_per_task": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"momentum": 1.5},
        {"max_grad_norm": 0.0},
        {"memory_examples": 0},
        {"patience_passes": -1},
        {"validation_examples": 0},
    ],
)
def test_training_out_of_range_is_refused_by_the_name_of_its_key(
    change: dict[str, Any],
) -> None:
    (key,) = change
    with pytest.raises(ConfigError, match=rf"training\.{key}"):
        TrainingConfig(**change)


def test_a_run_to_tune_with_is_scored_on_some_examples_that_were_held_out() -> None:
    whole = run_supervised.make_trainer(changed(stream=Plain())).stream
    part = run_supervised.make_trainer(
        changed(stream=Plain(), held_out_examples=40, test_examples=10)
    ).stream
    scored = {image.numpy().tobytes() for image in part.test(0).images}
    held_out = {image.numpy().tobytes() for image in whole.dataset.train.images[-40:]}
    assert len(part.test(0).labels) == 10
    assert scored <= held_out
    assert len(part.dataset.train.labels) == len(whole.dataset.train.labels) - 40


def training(**changes: Any) -> TrainingConfig:
    return dataclasses.replace(TINY.training, **changes)


def test_a_run_that_may_stop_early_ends_visits_by_examples_that_were_held_out(
    tmp_path: Path,
) -> None:
    config = changed(
        training=training(passes=50, patience_passes=1, validation_examples=100)
    )
    directory = new_directory(tmp_path, config)
    run_supervised.train(config, directory, SilentListener())
    visits = recorded(directory, records.Visit)
    assert 0 < visits[1].agent_steps < 50 * EXAMPLES
    stream = run_supervised.make_trainer(config).stream
    whole = run_supervised.make_trainer(TINY).stream.dataset
    assert torch.equal(stream.dataset.train.images, whole.train.images[:-100])
    assert torch.equal(stream.dataset.test.images, whole.test.images)
    validation = run_supervised.make_validation(config, whole)
    for task in range(2):
        seen = {image.numpy().tobytes() for image in validation.test(task).images}
        of_task = stream.tasks[task].transform(
            whole.train.images[-100:], torch.zeros(100)
        )
        assert seen == {image.numpy().tobytes() for image in of_task}
    again = run_supervised.evaluate(directory, None, SilentListener())
    last = [e for e in recorded(directory, records.Evaluation) if e.stage == 2]
    assert again == last  # as many examples, the same accuracies


def test_too_many_examples_to_validate_on_are_refused() -> None:
    config = changed(training=training(patience_passes=1, validation_examples=5_000))
    with pytest.raises(ConfigError, match=r"training\.validation_examples must be"):
        run_supervised.make_trainer(config)


def test_a_learner_that_is_not_told_the_tasks_cannot_stop_early() -> None:
    with pytest.raises(ConfigError, match=r"patience_passes.*oracle"):
        changed(recogniser=OneTaskRecogniser(), training=training(patience_passes=1))


@pytest.mark.parametrize("key", ["held_out_examples", "test_examples"])
def test_no_examples_to_score_on_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"{key} must be at least 1"):
        changed(**{key: 0})
