"""Atari games in any of their modes and difficulties, through ale-py's Gymnasium env.

The native vector environment (``atari``) is faster, and plays the default mode only.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import ale_py
import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation
from jaxtyping import Int64
from stable_baselines3.common.atari_wrappers import FireResetEnv

from clrl.errors import ConfigError
from clrl.rl.atari import AtariGame, AtariProtocol, rom_path
from clrl.rl.game import GameStep, GymnasiumGame, VectorGame

AnyEnv: TypeAlias = gymnasium.Env[Any, Any]

_OPTIONS = ("mode", "difficulty")


class GameSpec(NamedTuple):
    """A game as a config names it, such as ``freeway:mode=3:difficulty=1``.

    Attributes:
        game: ROM name.
        mode: The cartridge's number of the variant; None: its default.
        difficulty: Of the switch; None: its default.
    """

    game: str
    mode: int | None = None
    difficulty: int | None = None

    @classmethod
    def parse(cls, text: str) -> "GameSpec":
        """Reads a game's name with or without mode and difficulty.

        Raises:
            ConfigError: If what follows the name is neither.
        """
        game, *options = text.split(":")
        values: dict[str, int] = {}
        for option in options:
            key, _, value = option.partition("=")
            if key not in _OPTIONS or key in values or not value.isdecimal():
                raise ConfigError(
                    f"a game is a name, perhaps with :mode=NUMBER and "
                    f":difficulty=NUMBER, got {text!r}; change {option!r}."
                )
            values[key] = int(value)
        return cls(game, **values)

    @property
    def is_default(self) -> bool:
        """Whether the game is played as it comes."""
        return self.mode is None and self.difficulty is None


def check_specs(texts: Iterable[str]) -> None:
    """Checks games as a config names them.

    Raises:
        ConfigError: No such game, or it has no such mode or difficulty.
    """
    for text in texts:
        spec = GameSpec.parse(text)
        rom_path(spec.game)
        if spec.is_default:
            continue
        for key, known in zip(
            _OPTIONS, _modes_and_difficulties(spec.game), strict=True
        ):
            came = getattr(spec, key)
            if came is not None and came not in known:
                raise ConfigError(
                    f"{spec.game} has no {key} {came}; it has "
                    f"{', '.join(map(str, known))}."
                )


def make_atari_game(
    text: str, num_envs: int, protocol: AtariProtocol, frame_size: int
) -> VectorGame:
    """A game as a config names it.

    Raises:
        ConfigError: As for ``check_specs``.
    """
    check_specs([text])
    spec = GameSpec.parse(text)
    if spec.is_default:
        return AtariGame(spec.game, num_envs, protocol, frame_size=frame_size)
    return AtariModeGame(spec, num_envs, protocol, frame_size)


class AtariModeGame(GymnasiumGame):
    """A mode of an Atari game under the rules of ``AtariGame``.

    Args:
        spec: Game, mode and difficulty.
        num_envs: Number of parallel copies, all in this thread.
        protocol: The rules.
        frame_size: Height and width of the frames, in pixels.
    """

    def __init__(
        self, spec: GameSpec, num_envs: int, protocol: AtariProtocol, frame_size: int
    ) -> None:
        self._protocol = protocol

        def preprocessed(env: AnyEnv) -> gymnasium.Wrapper[Any, Any, Any, Any]:
            grey: AnyEnv = AtariPreprocessing(
                env,
                noop_max=protocol.noop_max,
                frame_skip=protocol.frame_skip,
                screen_size=frame_size,
            )
            started = FireResetEnv(grey) if protocol.fire_reset else grey
            return FrameStackObservation(started, 4, padding_type="zero")

        options = {"mode": spec.mode, "difficulty": spec.difficulty}
        gymnasium.register_envs(ale_py)
        super().__init__(
            f"ALE/{spec.game.title().replace('_', '')}-v5",
            num_envs,
            wrappers=[preprocessed],
            frameskip=1,  # the wrapper skips frames
            repeat_action_probability=protocol.repeat_action_probability,
            max_num_frames_per_episode=protocol.max_episode_frames,
            full_action_space=True,
            **{key: value for key, value in options.items() if value is not None},
        )

    def receive(self) -> GameStep:
        """Steps every copy; a lost life is reported where the protocol says so."""
        before = self._lives()
        step = super().receive()
        if not self._protocol.life_loss_terminates:
            return step
        is_lost = ~step.new_episode & (self._lives() < before)
        return step._replace(terminated=step.terminated | is_lost)

    def _lives(self) -> Int64[np.ndarray, "N"]:
        assert isinstance(self._env, SyncVectorEnv)
        emulators = self._env.get_attr("ale")
        return np.array([emulator.lives() for emulator in emulators], np.int64)


@cache
def _modes_and_difficulties(game: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What the game can be set to, as the emulator tells."""
    emulator = ale_py.ALEInterface()
    emulator.loadROM(rom_path(game))
    modes = tuple(sorted(emulator.getAvailableModes()))
    return modes, tuple(sorted(emulator.getAvailableDifficulties()))
