"""Fakes: games whose frames can all be told apart, scripted labels, fixed batches."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from jaxtyping import Integer, Shaped
from torch import Tensor

from clrl.continual.learner import Method
from clrl.continual.methods import Domain, MethodConfig
from clrl.continual.network import ContinualNetwork
from clrl.continual.state import Stateless
from clrl.progress import SilentListener, Status
from clrl.recognition.protocol import TaskRecogniser
from clrl.recognition.recognisers import RecogniserConfig
from clrl.rl.game import GameStep, GymnasiumGame
from clrl.types import B, Parameters, TaskId

STACK = 4


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a ``FakeGame`` behaves.

    Attributes:
        padding: What comes before the first frame: zeros (ALE), or the frame itself.
        ends: Chance that a step ends the game.
        truncations: Chance that it meets the time limit.
        life_losses: Chance that it reports the end while the game plays on.
        frame_size: Height and width of the frames.
        n_actions: Number of actions, none of which matters.
        reward: Of every step; None: one that can be told apart.
    """

    padding: Literal["zeros", "first"] = "zeros"
    ends: float = 0.0
    truncations: float = 0.0
    life_losses: float = 0.0
    frame_size: int = 5
    n_actions: int = 3
    reward: float | None = None


class FakeGame:
    """Stacks of four frames, each with its own number in its first pixels."""

    def __init__(
        self, name: str, num_envs: int, rules: Rules, numbers: Iterator[int]
    ) -> None:
        self.name = name
        self.is_closed = False
        self._num_envs = num_envs
        self._rules = rules
        self._numbers = numbers
        self._rng = np.random.default_rng(0)
        self._stacks = np.zeros((num_envs, *self.observation_space.shape), np.uint8)

    @property
    def observation_space(self) -> spaces.Box:
        size = self._rules.frame_size
        return spaces.Box(0, 255, (STACK, size, size), np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(self._rules.n_actions)

    def reset(self, seed: int) -> Shaped[np.ndarray, "N ..."]:
        self._rng = np.random.default_rng(seed)
        for i in range(self._num_envs):
            self._begin(i)
        return self._stacks.copy()

    def send(self, actions: Integer[np.ndarray, "N"]) -> None:
        assert not self.is_closed

    def receive(self) -> GameStep:
        rules, n = self._rules, self._num_envs
        u = self._rng.random((3, n))
        over, truncated = u[0] < rules.ends, u[1] < rules.truncations
        terminated = over | (u[2] < rules.life_losses)
        # As in ALE, rows of games that go on hold whatever was there.
        final = np.full_like(self._stacks, 77)
        rewards = np.zeros(n, np.float32)
        for i in range(n):
            number = next(self._numbers)
            rewards[i] = number if rules.reward is None else rules.reward
            self._stacks[i] = np.roll(self._stacks[i], -1, axis=0)
            self._stacks[i, -1] = self._frame(number)
            if over[i] or truncated[i]:
                final[i] = self._stacks[i]
                self._begin(i)
        return GameStep(
            self._stacks.copy(), rewards, terminated, truncated, over | truncated, final
        )

    def close(self) -> None:
        self.is_closed = True

    def _begin(self, i: int) -> None:
        first = self._frame(next(self._numbers))
        self._stacks[i] = first if self._rules.padding == "first" else 0
        self._stacks[i, -1] = first

    def _frame(self, number: int) -> np.ndarray:
        frame = np.zeros(self._stacks.shape[2:], np.uint8)
        frame.flat[:4] = np.frombuffer(np.uint32(number).tobytes(), np.uint8)
        return frame


class FakeGames:
    """Makes fake games; keeps them, and numbers their frames throughout from 1."""

    def __init__(self, rules: Rules) -> None:
        self.made: list[FakeGame] = []
        self._rules = rules
        self._numbers = itertools.count(1)

    def __call__(self, name: str, num_envs: int) -> FakeGame:
        self.made.append(FakeGame(name, num_envs, self._rules, self._numbers))
        return self.made[-1]


class CountingGame:
    """Environment ``i`` plays ``lengths[i]`` steps an episode, with reward 1 each."""

    def __init__(self, lengths: Sequence[int], loses_lives: bool = False) -> None:
        self._lengths = np.array(lengths)
        self._loses_lives = loses_lives
        self._steps = np.zeros_like(self._lengths)

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 100, (2,), np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def reset(self, seed: int) -> Shaped[np.ndarray, "N ..."]:
        self._steps[:] = 0
        return self._observations()

    def send(self, actions: Integer[np.ndarray, "N"]) -> None:
        pass

    def receive(self) -> GameStep:
        self._steps += 1
        final = self._observations()
        over = self._steps == self._lengths
        self._steps[over] = 0
        return GameStep(
            self._observations(),
            np.ones(len(over), np.float32),
            over | self._loses_lives,
            np.zeros_like(over),
            over,
            final,
        )

    def close(self) -> None:
        pass

    def _observations(self) -> np.ndarray:
        return np.stack([self._steps, self._lengths], axis=1).astype(np.float32)


class ScriptedLabeller:
    """Says the labels it was given, then the last one for ever."""

    def __init__(self, labels: Sequence[TaskId], at_evaluation: TaskId) -> None:
        self._labels = labels
        self._at_evaluation = at_evaluation
        self._calls = 0

    @property
    def contexts(self) -> int:
        return max(self._labels) + 1

    def observe(self, observation: Shaped[np.ndarray, "N *observation"]) -> TaskId:
        label = self._labels[min(self._calls, len(self._labels) - 1)]
        self._calls += 1
        return label

    def recognise(self, observations: Shaped[np.ndarray, "T N *observation"]) -> TaskId:
        return self._at_evaluation

    def state_dict(self) -> dict[str, np.ndarray]:
        return {"calls": np.array(self._calls)}

    def load_state_dict(self, state: dict[str, np.ndarray]) -> None:
        self._calls = int(state["calls"])


@dataclass(frozen=True, kw_only=True)
class ScriptedLabels(RecogniserConfig):
    """Labels of the steps, the first for the first observations."""

    labels: tuple[TaskId, ...] = (0,)
    at_evaluation: TaskId = 0

    def build(self, current_task: Callable[[], TaskId]) -> TaskRecogniser:
        return ScriptedLabeller(self.labels, self.at_evaluation)


class TapedConsolidation(Stateless, Generic[B]):
    """Writes down which task was left, and draws three batches of it."""

    def __init__(self, tape: list[tuple[TaskId, list[B]]]) -> None:
        self._tape = tape

    def before_update(self, parameters: Parameters) -> None:
        pass

    def after_update(self, parameters: Parameters) -> None:
        pass

    def leave(
        self, network: ContinualNetwork, task: TaskId, batches: Iterable[B]
    ) -> dict[str, Tensor]:
        self._tape.append((task, list(itertools.islice(batches, 3))))
        return {"left": torch.tensor(float(task))}


@dataclass(frozen=True, kw_only=True)
class Taped(MethodConfig):
    """Fine-tuning that writes down when tasks are left."""

    tape: list[tuple[TaskId, list[Any]]] = field(default_factory=list)

    def build(self, domain: Domain[B]) -> Method[B]:
        return Method(consolidation=TapedConsolidation(self.tape))


class FixedBatches:
    """A replay memory that serves the same batches in the same order to whoever asks.

    It stands in for the memory of one task, and for the memories of all.
    """

    added = 1_000_000

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = iter(batches)

    def __getitem__(self, task: TaskId) -> "FixedBatches":
        return self

    def sample(self, size: int, rng: object = None, env: object = None) -> Any:
        return next(self._batches)


class Remembering(SilentListener):
    """Keeps the last status, and all messages."""

    def __init__(self) -> None:
        self.last: Status | None = None
        self.messages: list[str] = []

    def status(self, status: Status) -> None:
        self.last = status

    def message(self, message: str) -> None:
        self.messages.append(message)


class InterruptingListener(SilentListener):
    """Presses Ctrl-C after some steps."""

    def __init__(self, after: int) -> None:
        self._left = after

    def status(self, status: Status) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt


class HeavyCartPole(CartPoleEnv):
    """A cart-pole on a heavier planet, whose force acts the other way round."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)
        self.gravity = 15.0
        self.force_mag = -15.0


gymnasium.register(
    "HeavyCartPole-v0",
    entry_point=HeavyCartPole,  # type: ignore[arg-type]
    max_episode_steps=500,
)


def cart_pole(name: str, num_envs: int) -> GymnasiumGame:
    """A registered environment by its name, as ``GameSequence`` makes its games."""
    return GymnasiumGame(name, num_envs)


CART_POLES = ("CartPole-v1", "HeavyCartPole-v0")


def parameters_of(network: torch.nn.Module) -> list[Tensor]:
    """Copies of all parameters."""
    return [p.detach().clone() for p in network.parameters()]
