"""Atari games through ale-py's native vector environment, under a named protocol."""

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ale_py import Action, roms
from ale_py.vector_env import AtariVectorEnv
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from jaxtyping import Integer, Shaped

from clrl.errors import unknown_name
from clrl.rl.game import GameStep


@dataclass(frozen=True, kw_only=True)
class AtariProtocol:
    """The rules that make scores comparable.

    Attributes:
        name: As configs and reports give it.
        repeat_action_probability: Chance that the emulator repeats the previous action
            instead ("sticky actions").
        life_loss_terminates: A lost life ends the episode for the learner, while the
            game plays on.
        noop_max: Episodes start after up to this many no-ops.
        fire_reset: FIRE is pressed after each reset.
        clip_rewards: The learner sees the sign of each reward.
        frame_skip: Emulator frames per action; the last two are max-pooled.
        max_episode_frames: Episodes are truncated after this many emulator frames.
    """

    name: str
    repeat_action_probability: float
    life_loss_terminates: bool
    noop_max: int
    fire_reset: bool
    clip_rewards: bool = True
    frame_skip: int = 4
    max_episode_frames: int = 108_000

    def __str__(self) -> str:
        """One line for logs and reports."""
        lives = (
            "a lost life ends the learner's episode"
            if self.life_loss_terminates
            else "lives do not matter"
        )
        return (
            f"{self.name}: sticky actions {self.repeat_action_probability:g}, {lives}, "
            f"{self.noop_max} no-ops, {'FIRE at reset, ' if self.fire_reset else ''}"
            f"frame skip {self.frame_skip}, full set of 18 actions, "
            f"rewards {'clipped to their sign' if self.clip_rewards else 'as they are'}"
        )


PROTOCOLS = {
    # Mnih et al. (2015), Methods, as Stable-Baselines3's Atari wrapper plays it.
    "nature": AtariProtocol(
        name="nature",
        repeat_action_probability=0.0,
        life_loss_terminates=True,
        noop_max=30,
        fire_reset=True,
    ),
    # Machado et al. (2018), section 5.
    "machado": AtariProtocol(
        name="machado",
        repeat_action_probability=0.25,
        life_loss_terminates=False,
        noop_max=0,
        fire_reset=False,
    ),
}


ACTION_NAMES = tuple(
    name.lower() for name in Action.__members__ if name != "MAX_NUM_ACTIONS"
)
"""All 18 actions of the console, in the order of their numbers."""

SCREEN_SIZE = (210, 160)
"""Height and width of the console's picture, in pixels."""

_UNPLAYABLE = {
    # ale-py's vector environment waits for ever on some of the 18 actions.
    "lost_luggage",
    "skiing",
    # The emulator knows them with two players only, and ends the process.
    "combat",
    "joust",
    "maze_craze",
    "warlords",
}


@cache
def game_names() -> tuple[str, ...]:
    """The games that ship with ale-py and can be played with 18 actions, sorted."""
    return tuple(sorted(set(roms.get_all_rom_ids()) - _UNPLAYABLE))


def rom_path(game: str) -> str:
    """Where the ROM of ``game`` lies.

    Raises:
        ConfigError: No such game; the nearest names are listed.
    """
    if game not in game_names():
        raise unknown_name("game", game, game_names())
    return str(roms.get_rom_path(game))


class AtariGame:
    """Parallel copies of one Atari game: 18 actions, stacks of four grey frames."""

    def __init__(
        self,
        game: str,
        num_envs: int,
        protocol: AtariProtocol,
        *,
        frame_size: int = 84,
        full_colour: bool = False,
    ) -> None:
        """Starts the emulators.

        Args:
            game: ROM name, such as ``space_invaders``.
            num_envs: Number of parallel copies.
            protocol: The rules.
            frame_size: Height and width of the frames, in pixels.
            full_colour: For people instead of agents: observations are the screen in
                colour [1, 210, 160, 3], whatever ``frame_size``. The play is the same.

        Raises:
            ConfigError: No such game.
        """
        rom_path(game)
        height, width = SCREEN_SIZE if full_colour else (frame_size, frame_size)
        self._env = AtariVectorEnv(
            game,
            num_envs,
            # ALE's default counts the host's cores, not those this process may use.
            num_threads=min(num_envs, len(os.sched_getaffinity(0))),
            max_num_frames_per_episode=protocol.max_episode_frames,
            repeat_action_probability=protocol.repeat_action_probability,
            full_action_space=True,
            autoreset_mode=AutoresetMode.SAME_STEP,
            img_height=height,
            img_width=width,
            grayscale=not full_colour,
            stack_num=1 if full_colour else 4,
            frameskip=protocol.frame_skip,
            noop_max=protocol.noop_max,
            # episodic_life would restart the whole game; this one plays on.
            life_loss_info=protocol.life_loss_terminates,
            reward_clipping=False,
            use_fire_reset=protocol.fire_reset,
        )
        self._episode_frames = np.zeros(num_envs, dtype=np.int64)

    @property
    def observation_space(self) -> spaces.Box:
        """Stacks of frames, newest last: uint8 [4, H, W]."""
        space = self._env.single_observation_space
        assert isinstance(space, spaces.Box)
        return space

    @property
    def action_space(self) -> spaces.Discrete:
        """All 18 actions of the console, in every game."""
        space = self._env.single_action_space
        assert isinstance(space, spaces.Discrete)
        return space

    def reset(self, seed: int) -> Shaped[np.ndarray, "N ..."]:
        """Starts an episode in every copy; copy ``i`` is seeded with ``seed + i``."""
        observations, info = self._env.reset(seed=seed)
        self._episode_frames = info["episode_frame_number"]
        return np.asarray(observations)

    def send(self, actions: Integer[np.ndarray, "N"]) -> None:
        """Starts one step in the emulators' threads."""
        self._env.send(actions)

    def receive(self) -> GameStep:
        """Waits for the emulators."""
        step: tuple[Any, Any, Any, Any, dict[str, Any]] = self._env.recv()
        observations, rewards, terminated, truncated, info = step
        # A life lost also reports terminated, so that a game over is told by a frame
        # count that falls. It need not fall after a time limit shorter than the no-ops.
        new_episode = truncated | (info["episode_frame_number"] < self._episode_frames)
        self._episode_frames = info["episode_frame_number"]
        return GameStep(
            observations,
            rewards.astype(np.float32),
            terminated,
            truncated,
            new_episode,
            info.get("final_obs", observations),
        )

    def close(self) -> None:
        """Ends the emulators' threads, which ale-py's own ``close`` leaves running."""
        self._env.close()
        vars(self._env).pop("ale", None)  # it may be closed again
