"""Replay memories that store each emulator frame once: one ring per inferred task."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, Integer, Shaped
from torch import Tensor

from clrl.errors import MemoryBudgetError
from clrl.rl.frames import frame_store, on_device
from clrl.rl.replay_budget import ReplayBudget
from clrl.types import TaskId

MAX_ACTIONS = 256
"""An action is kept in one byte."""

_GROWTH_ROWS = 256  # rows a lane asks its budget for at a time
_ROUNDS = 5  # of draws, before all rows are looked at
_FACTS_BYTES = 8  # of a row besides its frame: action, reward, two flags and age


class ReplayBatch(NamedTuple):
    """Transitions drawn from a replay memory.

    Attributes:
        observations: As the environment emitted them.
        actions: Taken in ``observations``.
        rewards: As the learner saw them.
        next_observations: What followed; the true last observation where an episode
            ended.
        terminated: Nothing followed for the learner; False where an episode was
            truncated.
        task: The inferred task whose memory the transitions come from.
    """

    observations: Shaped[Tensor, "B ..."]
    actions: Int64[Tensor, "B"]
    rewards: Float32[Tensor, "B"]
    next_observations: Shaped[Tensor, "B ..."]
    terminated: Bool[Tensor, "B"]
    task: Int64[Tensor, "B"]


def example_bytes(observation_shape: tuple[int, ...], itemsize: int) -> int:
    """What one transition of a ``ReplayBatch`` takes, both its observations whole."""
    action, reward, terminated, task = 8, 4, 1, 8
    observations = 2 * itemsize * int(np.prod(observation_shape))
    return observations + action + reward + terminated + task


class ReplayMemory:
    """The transitions of one task; the oldest are overwritten first.

    Each environment writes into a lane of its own. A row holds the newest frame of an
    observation and what was done there; the stack is gathered from the rows before it
    and the next observation from the row after it:

        row          r-3   r-2   r-1    r    r+1
        observation   [------- stack -------]
        next                [------- stack -------]

    ``age`` counts the frames of a row's own episode stored before it, so frames older
    than the episode come back as the zeros the environment emitted. The last frame of
    an episode takes a row that is never sampled. Memory is touched only as it fills; a
    ring whose budget is used up wraps early instead of growing. Compressed frames take
    what they take: where later ones take more, the oldest are dropped to make room.
    """

    def __init__(
        self,
        capacity: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[np.generic],
        *,
        task: TaskId,
        num_envs: int,
        budget: ReplayBudget,
        n_stack: int = 1,
        frames: str = "raw",
        device: torch.device | str = "cpu",
    ) -> None:
        """An empty memory.

        Args:
            capacity: Transitions, over all environments.
            observation_shape: Of one environment; ``n_stack`` first if frames are
                stacked.
            observation_dtype: Of the observations.
            task: The label that batches carry.
            num_envs: Environments that write in parallel.
            budget: Bytes, shared with other memories.
            n_stack: Frames in an observation, oldest first; 1 if it is stored whole.
            frames: How frames are kept, see ``clrl.rl.frames.FRAME_STORES``.
            device: Where batches are put.

        Raises:
            ValueError: The shape does not begin with ``n_stack``, or the capacity is
                too small for a single transition in each lane.
            MemoryBudgetError: Not even the first block fits into the budget.
            ConfigError: No frame store has this name, or its package is missing.
        """
        if n_stack > 1 and observation_shape[0] != n_stack:
            raise ValueError(
                f"stacked observations must have shape ({n_stack}, ...), got "
                f"{observation_shape}; pass n_stack=1 to store them whole."
            )
        rows = -(-capacity // num_envs)
        if rows < n_stack + 2:
            raise ValueError(
                f"a replay memory for {num_envs} environments with stacks of {n_stack} "
                f"needs a capacity of at least {num_envs * (n_stack + 2)} transitions, "
                f"got {capacity}."
            )
        frame_shape = observation_shape if n_stack == 1 else observation_shape[1:]
        self.task = task
        self.added = 0
        self._n_stack = n_stack
        self._num_envs = num_envs
        self._device = torch.device(device)
        self._budget = budget
        self._rows = rows
        self._frames = frame_store(frames)(
            num_envs, rows, frame_shape, observation_dtype, self._device
        )
        self._row_bytes = self._frames.row_bytes + _FACTS_BYTES
        self._actions = np.zeros((num_envs, rows), np.uint8)
        self._rewards = np.zeros((num_envs, rows), np.float32)
        self._terminated = np.zeros((num_envs, rows), bool)
        self._valid = np.zeros((num_envs, rows), bool)
        self._age = np.zeros((num_envs, rows), np.uint8)
        # Of each lane, counted from the first row ever written.
        self._written = np.zeros(num_envs, np.int64)
        self._oldest = np.zeros(num_envs, np.int64)
        self._is_open = np.zeros(num_envs, bool)  # the newest row awaits its action
        self._granted_rows = 0
        self._granted_content_bytes = 0
        if self._frames.is_reserved_at_once:
            self._rows = min(rows, budget.left_bytes // self._block_bytes(1))
        if self._rows >= min(_GROWTH_ROWS, rows):
            self._grow()
        if self._granted_rows == 0:
            raise MemoryBudgetError(
                f"the replay memory of task {task} needs at least "
                f"{self._block_bytes(min(_GROWTH_ROWS, rows)) / 2**20:.1f} MiB, but "
                f"{budget.left_bytes / 2**20:.1f} MiB of "
                f"{budget.budget_bytes / 2**20:.1f} MiB are left; raise the budget or "
                "lower buffer_size."
            )

    @property
    def bytes_per_transition(self) -> float:
        """Bytes of one row: its frame, action, reward, two flags and age.

        Of compressed frames, which differ, the mean over those that are stored.
        """
        stored = int((self._written - self._oldest).sum())
        return self._row_bytes + self._frames.content_bytes / max(stored, 1)

    @property
    def granted_bytes(self) -> int:
        """Bytes that the budget has granted to this memory."""
        return self._block_bytes(self._granted_rows) + self._granted_content_bytes

    @property
    def size(self) -> int:
        """Transitions that are stored now."""
        return int(self._valid.sum())

    def add(  # noqa: PLR0917 - a transition's parts, in their usual order
        self,
        observations: Shaped[np.ndarray, "N ..."],
        actions: Integer[np.ndarray, "N"],
        rewards: Float32[np.ndarray, "N"],
        next_observations: Shaped[np.ndarray, "N ..."],
        terminated: Bool[np.ndarray, "N"],
        episode_over: Bool[np.ndarray, "N"],
    ) -> None:
        """Stores one transition of each environment.

        Args:
            observations: Where the actions were taken.
            actions: At most 255.
            rewards: As the learner sees them.
            next_observations: What followed, before any reset.
            terminated: Nothing follows for the learner.
            episode_over: The next call continues from another observation.

        Raises:
            ValueError: Stacks that do not continue each other.
        """
        lanes = np.arange(self._num_envs)
        before, after = self._stacks(observations), self._stacks(next_observations)
        if self._n_stack > 1 and not np.array_equal(before[:, 1:], after[:, :-1]):
            raise ValueError(
                f"expected stacks of {self._n_stack} frames, each shifted by one frame "
                "from the observation before, got others; pass n_stack=1 to store "
                "observations whole."
            )
        for lane in np.flatnonzero(~self._is_open):
            self._begin(int(lane), before[lane])
        row = (self._written - 1) % self._rows
        self._actions[lanes, row] = actions
        self._rewards[lanes, row] = rewards
        self._terminated[lanes, row] = terminated
        self._valid[lanes, row] = True
        self._append(lanes, after[:, -1], np.minimum(self._age[lanes, row], 254) + 1)
        self._is_open[:] = ~episode_over
        self.added += self._num_envs

    def interrupt(self) -> None:
        """The next transitions do not continue the stored ones (another task came)."""
        self._is_open[:] = False

    def sample(self, size: int, rng: np.random.Generator) -> ReplayBatch:
        """``size`` transitions, each drawn uniformly from all stored, with replacement.

        Raises:
            ValueError: The memory holds no transition that can be returned.
        """
        lane, row = self._draw(size, rng)
        offsets = np.arange(1 - self._n_stack, 2)  # [-3 .. 1] for stacks of four
        rows = (row[:, None] + offsets) % self._rows  # [B, S+1]
        age = self._age[lane, row].astype(np.int64)
        shown = self._frames.read(lane, rows, shown=offsets >= -age[:, None])
        return ReplayBatch(
            observations=self._observations(shown[:, :-1]),
            actions=self._tensor(self._actions[lane, row].astype(np.int64)),
            rewards=self._tensor(self._rewards[lane, row]),
            next_observations=self._observations(shown[:, 1:]),
            terminated=self._tensor(self._terminated[lane, row]),
            task=torch.full((size,), self.task, device=self._device),
        )

    def _tensor(self, array: Shaped[np.ndarray, "B"]) -> Shaped[Tensor, "B"]:
        return on_device(array, self._device)

    def _observations(
        self, frames: Shaped[Tensor, "B S ..."]
    ) -> Shaped[Tensor, "B ..."]:
        """``frames`` as observations.

        The frames of a stack lie side by side for each pixel, as channels-last
        convolutions read them: this copy is the only one on the way there.
        """
        if self._n_stack == 1:
            return frames[:, 0].contiguous()
        return torch.stack(frames.unbind(1), dim=-1).movedim(-1, 1)

    def _stacks(
        self, observations: Shaped[np.ndarray, "N ..."]
    ) -> Shaped[np.ndarray, "N S ..."]:
        return observations[:, None] if self._n_stack == 1 else observations

    def _begin(self, lane: int, stack: Shaped[np.ndarray, "S ..."]) -> None:
        """Writes the frames of a first observation, leaving out the zeros before it."""
        shown = [bool(frame.any()) for frame in stack]
        shown[-1] = True
        first = shown.index(True)
        for age, frame in enumerate(stack[first:]):
            self._append(np.array([lane]), frame[None], np.array([age]))

    def _append(
        self,
        lanes: Int64[np.ndarray, "N"],
        frames: Shaped[np.ndarray, "N ..."],
        age: Integer[np.ndarray, "N"],
    ) -> None:
        if self._written.max() >= self._granted_rows < self._rows:
            self._grow()
        row = self._written[lanes] % self._rows
        self._frames.write(lanes, row, frames)
        self._valid[lanes, row] = False
        self._age[lanes, row] = age
        self._written[lanes] += 1
        self._oldest = np.maximum(self._oldest, self._written - self._rows)
        self._pay_for_content()

    def _block_bytes(self, rows: int) -> int:
        return rows * self._num_envs * self._row_bytes

    def _grow(self) -> None:
        """Asks for another block; if there is none, the ring wraps where it is."""
        block = self._rows - self._granted_rows
        if not self._frames.is_reserved_at_once:
            block = min(_GROWTH_ROWS, block)
        if self._budget.grant(self._block_bytes(block)):
            self._granted_rows += block
            self._frames.reserve(self._granted_rows)
        elif self._granted_rows:
            self._rows = self._granted_rows

    def _pay_for_content(self) -> None:
        """Asks for what the frames take; if it is too much, drops the oldest.

        Raises:
            MemoryBudgetError: Nothing is left to be dropped.
        """
        while not self._budget.grant(
            self._frames.content_bytes - self._granted_content_bytes
        ):
            self._rows = self._granted_rows
            lane = int(np.argmax(self._written - self._oldest))
            if self._written[lane] - self._oldest[lane] <= self._n_stack + 1:
                raise MemoryBudgetError(
                    f"the replay memory of task {self.task} needs room for a few "
                    f"frames, but {self._budget.left_bytes / 2**20:.1f} MiB of "
                    f"{self._budget.budget_bytes / 2**20:.1f} MiB are left; raise the "
                    "budget or lower buffer_size."
                )
            row = int(self._oldest[lane] % self._rows)
            self._frames.forget(lane, row)
            self._valid[lane, row] = False
            self._oldest[lane] += 1
        self._granted_content_bytes = self._frames.content_bytes

    def _draw(
        self, size: int, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, "B"], Int64[np.ndarray, "B"]]:
        """Lanes and rows, uniform over all complete transitions, by rejection."""
        stored = np.minimum(self._written, self._rows)
        ends = np.cumsum(stored)
        if ends[-1] == 0:
            return self._draw_exactly(size, rng)
        # Few rows are episode ends: one round of spares is nearly always enough, but
        # not where many compressed frames have been dropped.
        lane, row = np.empty((2, 0), dtype=np.int64)
        for _ in range(_ROUNDS):
            draws = rng.integers(ends[-1], size=size + size // 4 + 8)
            lanes = np.searchsorted(ends, draws, side="right")
            rows = draws - (ends - stored)[lanes]
            keep = self._is_complete(lanes, rows)
            lane = np.concatenate([lane, lanes[keep]])
            row = np.concatenate([row, rows[keep]])
            if len(lane) >= size:
                return lane[:size], row[:size]
        return self._draw_exactly(size, rng)

    def _draw_exactly(
        self, size: int, rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, "B"], Int64[np.ndarray, "B"]]:
        lane, row = np.nonzero(self._valid)
        keep = self._is_complete(lane, row)
        lane, row = lane[keep], row[keep]
        if len(lane) == 0:
            raise ValueError(
                f"cannot sample from the replay memory of task {self.task}: it holds "
                "no complete transition yet; collect more steps first."
            )
        index = rng.integers(len(lane), size=size)
        return lane[index], row[index]

    def _is_complete(
        self, lane: Int64[np.ndarray, "M"], row: Int64[np.ndarray, "M"]
    ) -> Bool[np.ndarray, "M"]:
        """The row holds a transition whose whole stack has not been overwritten."""
        since_written = (self._written[lane] - 1 - row) % self._rows
        since_oldest = self._written[lane] - 1 - since_written - self._oldest[lane]
        history = np.minimum(self._age[lane, row], self._n_stack - 1)
        keep: np.ndarray = self._valid[lane, row] & (since_oldest >= history)
        return keep


class ReplayMemories:
    """One replay memory for each inferred task, made when the task first appears."""

    def __init__(
        self,
        capacity: int,
        observation_shape: tuple[int, ...],
        observation_dtype: np.dtype[np.generic],
        *,
        num_envs: int,
        budget: ReplayBudget,
        n_stack: int = 1,
        frames: str = "raw",
        device: torch.device | str = "cpu",
    ) -> None:
        """No memories yet; see ``ReplayMemory`` for the arguments."""
        self.capacity = capacity
        self.budget = budget
        self.n_stack = n_stack
        self._observation_shape = observation_shape
        self._observation_dtype = observation_dtype
        self._num_envs = num_envs
        self._frames = frames
        self._device = device
        self._memories: dict[TaskId, ReplayMemory] = {}

    def __getitem__(self, task: TaskId) -> ReplayMemory:
        """The memory of ``task``, made now if it is new."""
        if task not in self._memories:
            self._memories[task] = ReplayMemory(
                self.capacity,
                self._observation_shape,
                self._observation_dtype,
                task=task,
                num_envs=self._num_envs,
                budget=self.budget,
                n_stack=self.n_stack,
                frames=self._frames,
                device=self._device,
            )
        return self._memories[task]

    @property
    def tasks(self) -> tuple[TaskId, ...]:
        """The tasks that have a memory."""
        return tuple(self._memories)
