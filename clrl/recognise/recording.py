"""What a recogniser says about a stream, written down beside the truth."""

import time

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from clrl.evaluation.recognition import Timeline
from clrl.recognition.protocol import ScreenRecogniser, TaskRecogniser
from clrl.report.recognition import RecognisedStream

POSTERIOR_SAMPLES = 2_000
"""The posterior is looked at about this often in the whole stream."""


class Recording:
    """Asks a recogniser, and writes down what it says and how long it takes.

    Args:
        recogniser: Learns from what it is shown.
        total_steps: Of the stream: agent steps, or examples.
    """

    def __init__(self, recogniser: TaskRecogniser, total_steps: int) -> None:
        self.label = 0
        self._recogniser = recogniser
        self._total_steps = total_steps
        self._interval = max(1, total_steps // POSTERIOR_SAMPLES)
        self._truth, self._labels = _Changes(), _Changes()
        self._seconds = 0.0
        self._posterior_steps: list[int] = []
        self._posteriors: list[np.ndarray] = []

    def observe(
        self, observation: Shaped[np.ndarray, "N ..."], steps: int, task: int
    ) -> None:
        """Shows what is seen after ``steps`` steps, when ``task`` is true."""
        started = time.perf_counter()
        self.label = self._recogniser.observe(observation)
        self._seconds += time.perf_counter() - started
        self._truth.add(steps, task)
        self._labels.add(steps, self.label)
        if steps >= len(self._posteriors) * self._interval:
            self._posterior_steps.append(steps)
            self._posteriors.append(_posterior(self._recogniser, self.label))

    def stream(
        self,
        *,
        tasks: tuple[str, ...],
        recogniser: str,
        source: str,
        step_name: str,
        frames_per_step: int,
    ) -> RecognisedStream:
        """All of it; the arguments are described there."""
        return RecognisedStream(
            games=tasks,
            recogniser=recogniser,
            policy=source,
            truth=self._truth.timeline(),
            labels=self._labels.timeline(),
            total_steps=self._total_steps,
            step_name=step_name,
            frames_per_step=frames_per_step,
            recognition_seconds=self._seconds,
            posterior_steps=np.array(self._posterior_steps, np.int64),
            posterior=_padded(self._posteriors),
            screens=_screens(self._recogniser),
        )


class _Changes:
    """A timeline in the making."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._values: list[int] = []

    def add(self, steps: int, value: int) -> None:
        if not self._values or self._values[-1] != value:
            self._starts.append(steps)
            self._values.append(value)

    def timeline(self) -> Timeline:
        starts: Int64[np.ndarray, H] = np.array(self._starts, np.int64)
        return Timeline(starts, np.array(self._values, np.int64))


def _posterior(recogniser: TaskRecogniser, label: int) -> np.ndarray:
    """Of each context; a recogniser without one is certain of its label."""
    if isinstance(recogniser, ScreenRecogniser):
        return recogniser.posterior
    return np.asarray(np.eye(recogniser.contexts + 1)[label])


def _padded(posteriors: list[np.ndarray]) -> Float64[np.ndarray, "L C"]:
    """One row each; contexts that were not there yet had no probability."""
    contexts = max(len(posterior) for posterior in posteriors)
    padded = np.zeros((len(posteriors), contexts))
    for row, posterior in zip(padded, posteriors, strict=True):
        row[: len(posterior) - 1] = posterior[:-1]
        row[-1] = posterior[-1]
    return padded


def _screens(recogniser: TaskRecogniser) -> Shaped[np.ndarray, "C H W"]:
    if isinstance(recogniser, ScreenRecogniser):
        return recogniser.expected_screens()
    return np.zeros((0, 1, 1))
