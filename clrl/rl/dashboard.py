"""A run in TensorBoard: one continuous page over all visits.

What training gives at each interval (losses, returns, exploration rates, …) is logged
by the recorder. This is what follows from the run's records: scores and transfer after
each stage, pictures, events as text, alarms, and how the page is laid out.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped
from tensorboard.compat.proto.summary_pb2 import Summary as SummaryProto
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from clrl import records
from clrl.evaluation import transfer_matrix
from clrl.evaluation.human_scores import normalised
from clrl.history import history_of
from clrl.records import Record
from clrl.report.film import gif
from clrl.rl.clip import Clip
from clrl.summary import RunDescription, Summary, is_summarisable, summarise_history

_STAGE_KINDS = (records.Visit, records.Label, records.Evaluation, records.RandomPolicy)
_IMAGE_DIMENSIONS = 3
_MILLISECONDS_PER_STEP = 1000 * 4 / 60  # four emulator frames


class Dashboard:
    """Shows what records say, as they are written.

    Its ``clip`` is to watch the games while they are scored. After each stage, that of
    the game just visited is shown, and in the end the last one of every game.

    Args:
        writer: Of the run's event file; the caller closes it.
        description: Of the run's config.
        hyper_parameters: Values as text, by dotted key.
        clock: Seconds, for the rate of training.
    """

    def __init__(
        self,
        writer: SummaryWriter,
        description: RunDescription,
        hyper_parameters: Mapping[str, str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._writer = writer
        self._description = description
        self._hyper_parameters = hyper_parameters
        self._clock = clock
        self.clip = Clip()
        self._clips: dict[str, Shaped[np.ndarray, "T ..."]] = {}
        self._kept: list[Record] = []
        self._last_step = 0
        self._visited = ""
        self._last_label: int | None = None
        self._timed_from = (clock(), 0)
        self._final: dict[str, float] = {}
        self._add_layout()

    def __call__(self, record: Record) -> None:
        """Shows the next record of the run."""
        if isinstance(record, _STAGE_KINDS):
            self._kept.append(record)
        self._last_step = record.agent_steps
        match record:
            case records.Visit():
                self._event(record, f"visit {record.visit + 1} starts: {record.game}")
                self._visited = record.game
                self._timed_from = (self._clock(), record.agent_steps)
            case records.Label():
                self._show_label(record)
            case records.Train():
                self._show_training(record)
            case records.Evaluation() | records.Relabelled():
                self._show_score(record)
            case records.Plasticity():
                self._show_plasticity(record)
            case records.Guard():
                self._event(record, f"**{record.guard}**: {record.message}")

    def close(self) -> None:
        """Adds the last clips, and the hyper-parameters with the final metrics.

        They go into this run. ``SummaryWriter.add_hparams`` would make another one.
        """
        for game, frames in self._clips.items():
            self._show_clip(game, frames)
        values = {k: _hyper_parameter(v) for k, v in self._hyper_parameters.items()}
        for part in hparams(values, self._final):  # type: ignore[no-untyped-call]
            self._add(part, None)
        self._writer.flush()

    def _show_clip(self, game: str, frames: Shaped[np.ndarray, "T ..."]) -> None:
        """An animation at twice the speed of play; nothing if these are not images."""
        if frames.ndim != _IMAGE_DIMENSIONS or frames.dtype != np.uint8:
            return
        enlarge = 2
        picture = SummaryProto.Image(
            height=frames.shape[1] * enlarge,
            width=frames.shape[2] * enlarge,
            colorspace=3,
            encoded_image_string=gif(
                frames,
                milliseconds=round(_MILLISECONDS_PER_STEP * Clip.EVERY / 2),
                enlarge=enlarge,
            ),
        )
        # SummaryWriter.add_video needs a package that cannot be installed beside ours.
        self._add(
            SummaryProto(value=[SummaryProto.Value(tag=f"play/{game}", image=picture)]),
            self._last_step,
        )

    def _show_label(self, record: records.Label) -> None:
        self._scalar("recognition/label", record.label, record)
        if self._last_label is not None:
            self._event(record, f"label {self._last_label} → {record.label}")
        self._last_label = record.label

    def _show_training(self, record: records.Train) -> None:
        for name in ("penalty_gradient_ratio", "q_mean", "q_abs_max"):
            self._scalar(f"train/{name}", getattr(record, name), record)
        before, first_step = self._timed_from
        now = self._clock()
        if now > before and record.agent_steps > first_step:
            rate = (record.agent_steps - first_step) / (now - before)
            self._scalar("time/agent_steps_per_second", rate, record)
        self._timed_from = (now, record.agent_steps)

    def _show_plasticity(self, record: records.Plasticity) -> None:
        for name in ("dormant_fraction", "effective_rank", "weight_norm"):
            self._scalar(f"plasticity/{name}", getattr(record, name), record)

    def _show_score(self, record: records.Evaluation | records.Relabelled) -> None:
        mean = float(np.mean(record.returns))
        if isinstance(record, records.Relabelled):
            self._final_scalar(f"score_{record.labelling}/{record.game}", mean, record)
            return
        human = normalised(record.game, mean)
        self._final_scalar(f"score/{record.game}", mean, record)
        self._final_scalar(f"human_normalised/{record.game}", human, record)
        self._clips[record.game] = self.clip.take()
        if record.game == self._visited:
            self._show_clip(record.game, self._clips.pop(record.game))
        if record.game == self._description.games[-1]:
            self._show_stage(record)

    def _show_stage(self, record: records.Evaluation) -> None:
        history = history_of(self._kept)
        if not is_summarisable(history.events, self._description.games):
            return
        summary = summarise_history(history, self._description)
        for name in ("acc", "bwt", "fwt", "forgetting", "total_clipped"):
            self._final_scalar(f"transfer/{name}", getattr(summary, name), record)
        for game, drop in forgetting_of_games(summary).items():
            self._final_scalar(f"forgetting/{game}", drop, record)
        # Matplotlib takes half a second, which nobody need wait for before training.
        from clrl.report.score_matrix import draw_matrix, draw_timeline  # noqa: PLC0415

        for tag, figure in (
            ("transfer_matrix", draw_matrix(summary)),
            ("task_timeline", draw_timeline(history, summary)),
        ):
            self._writer.add_figure(tag, figure, record.agent_steps, close=False)
        self._writer.flush()

    def _scalar(self, tag: str, value: float | None, record: Record) -> None:
        if value is not None and math.isfinite(value):
            self._writer.add_scalar(tag, value, record.agent_steps)

    def _final_scalar(self, tag: str, value: float, record: Record) -> None:
        """A scalar whose last value says how the run went."""
        self._scalar(tag, value, record)
        if math.isfinite(value):
            self._final[tag] = value

    def _event(self, record: Record, text: str) -> None:
        self._writer.add_text("events", text, record.agent_steps)

    def _add(self, summary: Any, agent_steps: int | None) -> None:
        file_writer = self._writer._get_file_writer()  # type: ignore[no-untyped-call]
        file_writer.add_summary(summary, agent_steps)

    def _add_layout(self) -> None:
        """The page "Custom scalars": what to look at first, grouped."""
        games = self._description.games
        self._writer.add_custom_scalars(
            {
                "games: return in training, score without learning": {
                    game: ["Multiline", [f"return/{game}", f"score/{game}"]]
                    for game in games
                },
                "forgetting": {
                    "of each game": ["Multiline", [f"forgetting/{g}" for g in games]],
                    "transfer": ["Multiline", [r"transfer/(acc|bwt|fwt|forgetting)"]],
                },
                "penalty": {
                    "loss and penalty": ["Multiline", [r"train/(loss|penalty)$"]],
                    "gradient of penalty over gradient of task": [
                        "Multiline",
                        ["train/penalty_gradient_ratio"],
                    ],
                },
                "recognition": {
                    "true task and label": [
                        "Multiline",
                        [r"recognition/(true_task|label)"],
                    ],
                    "posterior of each task": ["Multiline", [r"posterior/.*"]],
                    "exploration rate of each task": [
                        "Multiline",
                        [r"exploration_rate/.*"],
                    ],
                },
            }
        )


def forgetting_of_games(summary: Summary) -> dict[str, float]:
    """``transfer_matrix.forgetting`` of each game by itself; NaN where undefined."""
    human = np.array(summary.human_normalised)
    trained = [summary.tasks.index(v.game) for v in summary.visits][: len(human) - 1]
    drops = {}
    for column, game in enumerate(summary.tasks):
        alone = np.full_like(human, math.nan)  # games without a score do not count
        alone[:, column] = human[:, column]
        drops[game] = transfer_matrix.forgetting(alone, trained)
    return drops


def _hyper_parameter(text: str) -> str | float:
    """The value as TensorBoard sorts and filters it: numbers as numbers."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else text
