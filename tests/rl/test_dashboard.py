"""TensorBoard's pages, read back with TensorBoard's own reader."""

import io
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from torch.utils.tensorboard import SummaryWriter

from clrl import records
from clrl.evaluation.human_scores import references
from clrl.rl.dashboard import Dashboard, forgetting_of_games
from clrl.summary import summarise

from ..synthetic_run import GAMES, description, synthetic_run

CONFIG = {
    "seed": "3",
    "agent.learning_rate": "0.0005",
    "agent.double_q": "true",
    "games": '["freeway", "road_runner"]',
    "method.name": "ewc",
    "name": "null",
}
GUARD = records.Guard(
    agent_steps=500, visit=0, game="freeway", guard="frozen_agent", message="thaw it."
)
PLASTICITY = records.Plasticity(
    agent_steps=30_000,
    stage=1,
    game="freeway",
    label=0,
    dormant_fraction=0.25,
    effective_rank=17,
    weight_norm=3.5,
)


def play(dashboard: Dashboard, record: records.Record, steps: int = 30) -> None:
    """A game is seen being scored; frame ``t`` of column ``c`` is all ``10 c + t``."""
    if isinstance(record, records.Evaluation):
        column = GAMES.index(record.game)
        for t in range(steps):
            seen = np.full((2, 8, 6), 10 * column + t, np.uint8)
            seen[1] = 255  # another copy of the game
            dashboard.clip(seen)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> EventAccumulator:
    """A run of three games, each visited twice, as TensorBoard reads it."""
    folder = tmp_path_factory.mktemp("tensorboard")
    writer = SummaryWriter(str(folder))
    ticks = itertools.count(0, 2)  # each look at the clock takes two seconds
    dashboard = Dashboard(writer, description(), CONFIG, clock=lambda: next(ticks))
    for record in [PLASTICITY, GUARD, *synthetic_run()]:
        play(dashboard, record)
        dashboard(record)
    dashboard.close()
    writer.close()
    assert [path.is_file() for path in folder.iterdir()] == [True]  # no other run
    sizes = {"scalars": 0, "images": 0, "tensors": 0}
    return EventAccumulator(str(folder), size_guidance=sizes).Reload()


def scalars(shown: EventAccumulator, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in shown.Scalars(tag)]


def test_every_game_has_its_score_raw_and_human_normalised_after_each_stage(
    shown: EventAccumulator,
) -> None:
    for game in GAMES:
        means = {
            r.agent_steps: float(np.mean(r.returns))
            for r in synthetic_run()
            if isinstance(r, records.Evaluation) and r.game == game
        }
        assert len(means) == 7
        random, human = references()[game]
        assert dict(scalars(shown, f"score/{game}")) == pytest.approx(means, rel=1e-5)
        assert dict(scalars(shown, f"human_normalised/{game}")) == pytest.approx(
            {step: (mean - random) / (human - random) for step, mean in means.items()},
            rel=1e-5,
            abs=1e-7,
        )


def test_transfer_after_the_last_stage_is_that_of_the_summary(
    shown: EventAccumulator,
) -> None:
    summary = summarise(synthetic_run(), description())
    for name in ("acc", "bwt", "fwt", "forgetting", "total_clipped"):
        step, value = scalars(shown, f"transfer/{name}")[-1]
        assert step == 180_000
        assert value == pytest.approx(getattr(summary, name), rel=1e-5)
    # Before two stages nothing can have been transferred back.
    assert scalars(shown, "transfer/bwt")[0][0] == 60_000


def test_the_forgetting_of_games_is_that_of_the_summary_game_by_game(
    shown: EventAccumulator,
) -> None:
    summary = summarise(synthetic_run(), description())
    human = np.array(summary.human_normalised)
    drops = forgetting_of_games(summary)
    for column, game in enumerate(GAMES[:2]):
        best = max(human[stage, column] for stage in range(1, 6))
        assert drops[game] == pytest.approx(best - human[6, column])
        assert scalars(shown, f"forgetting/{game}")[-1][1] == pytest.approx(
            drops[game], rel=1e-5
        )
    assert np.isnan(drops[GAMES[2]])  # the game played last
    assert np.mean([drops[game] for game in GAMES[:2]]) == pytest.approx(
        summary.forgetting
    )


def test_the_rate_counts_only_the_time_between_records_of_training(
    shown: EventAccumulator,
) -> None:
    rates = scalars(shown, "time/agent_steps_per_second")
    assert len(rates) == 6 * 40
    assert {rate for _, rate in rates} == {30_000 / 40 / 2}


def test_plasticity_is_shown(shown: EventAccumulator) -> None:
    assert scalars(shown, "plasticity/dormant_fraction") == [(30_000, 0.25)]
    assert scalars(shown, "plasticity/effective_rank") == [(30_000, 17)]
    assert scalars(shown, "plasticity/weight_norm") == [(30_000, 3.5)]


def test_events_tell_visits_switches_and_alarms(shown: EventAccumulator) -> None:
    events = [
        (event.step, event.tensor_proto.string_val[0].decode())
        for event in shown.Tensors("events/text_summary")
    ]
    assert (0, "visit 1 starts: freeway") in events
    assert (30_000, "visit 2 starts: road_runner") in events
    assert (30_064, "label 0 → 1") in events
    assert (500, "**frozen_agent**: thaw it.") in events
    assert len(events) == 6 + 5 + 1


def picture(shown: EventAccumulator, tag: str, index: int) -> Image.Image:
    return Image.open(io.BytesIO(shown.Images(tag)[index].encoded_image_string))


@pytest.mark.parametrize("tag", ["transfer_matrix", "task_timeline"])
def test_matrix_and_timeline_are_drawn_after_each_stage(
    shown: EventAccumulator, tag: str
) -> None:
    images = shown.Images(tag)
    assert [image.step for image in images] == [30_000 * stage for stage in range(7)]
    assert len({image.encoded_image_string for image in images}) == 7
    assert len(np.unique(np.asarray(picture(shown, tag, -1)))) > 20


def test_the_game_just_played_is_shown_moving_and_in_the_end_every_game(
    shown: EventAccumulator,
) -> None:
    for column, game in enumerate(GAMES):
        tag = f"play/{game}"
        own = [30_000 * (column + 1), 30_000 * (column + 4)]
        at_end = [] if own[-1] == 180_000 else [180_000]
        assert [image.step for image in shown.Images(tag)] == own + at_end
        film = picture(shown, tag, 0)
        assert (film.format, film.size) == ("GIF", (12, 16))
        values = []
        for frame in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(frame)
            values.append(int(np.asarray(film.convert("L"))[0, 0]))
        assert values == [10 * column + t for t in range(0, 30, 2)]


def test_the_layout_groups_tags_that_exist(shown: EventAccumulator) -> None:
    (event,) = shown.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == [
        "games: return in training, score without learning",
        "forgetting",
        "penalty",
        "recognition",
    ]
    by_recorder = {
        *(f"return/{game}" for game in GAMES),
        "train/loss",
        "train/penalty",
        "train/penalty_gradient_ratio",
        "recognition/true_task",
        "posterior/task_0",
        "exploration_rate/task_0",
    }
    tags = {*shown.Tags()["scalars"], *by_recorder}
    for category in layout.category:
        for chart in category.chart:
            for pattern in chart.multiline.tag:
                known = any(re.match(pattern, tag) for tag in tags)
                assert known or pattern == f"forgetting/{GAMES[-1]}", pattern


def test_hyper_parameters_stand_in_this_run_with_its_final_metrics(
    shown: EventAccumulator,
) -> None:
    def plugin(tag: str) -> plugin_data_pb2.HParamsPluginData:
        content = shown.SummaryMetadata(tag).plugin_data.content
        return plugin_data_pb2.HParamsPluginData.FromString(content)

    given = plugin("_hparams_/session_start_info").session_start_info.hparams
    assert given["seed"].number_value == 3
    assert given["agent.learning_rate"].number_value == 0.0005
    assert given["agent.double_q"].string_value == "true"
    assert given["method.name"].string_value == "ewc"
    assert given["name"].string_value == "null"
    metrics = plugin("_hparams_/experiment").experiment.metric_infos
    named = {info.name.tag for info in metrics}
    assert {"transfer/bwt", "transfer/acc", "score/freeway"} <= named
    assert named <= set(shown.Tags()["scalars"])


def test_games_that_are_not_images_have_no_clip(tmp_path: Path) -> None:
    writer = SummaryWriter(str(tmp_path))
    dashboard = Dashboard(writer, description(GAMES[:1]), {})
    observe: Callable[[np.ndarray], None] = dashboard.clip
    for record in synthetic_run(GAMES[:1], rounds=1, episodes_per_visit=1):
        observe(np.zeros((2, 4), np.float32))
        dashboard(record)
    dashboard.close()
    writer.close()
    images = EventAccumulator(str(tmp_path)).Reload().Tags()["images"]
    assert set(images) == {"transfer_matrix", "task_timeline"}
