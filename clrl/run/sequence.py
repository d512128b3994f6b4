"""The games that a config names: in which order, and how they are made."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path

from clrl.config.games import RunConfig
from clrl.rl.atari import PROTOCOLS, rom_path
from clrl.rl.atari_modes import GameSpec, make_atari_game
from clrl.rl.evaluate import Evaluator, Spectator, nobody
from clrl.rl.game import MakeGame, VectorGame
from clrl.rl.game_sequence import GameSequence, Visit, fixed_visits, random_visits
from clrl.rl.pixel_noise import NoisyGame
from clrl.seeding import generator_of, stream_number


def make_visits(config: RunConfig) -> list[Visit]:
    """The visits that the config describes."""
    sequence = config.sequence
    if sequence.order == "fixed":
        return fixed_visits(
            config.games, sequence.visits_per_game, sequence.visit_steps
        )
    rng = generator_of(config.seed, "order")
    return random_visits(
        config.games, sequence.visits_per_game, sequence.visit_steps, rng
    )


def make_sequence(config: RunConfig) -> GameSequence:
    """The games to train on; the first one is started."""
    protocol = PROTOCOLS[config.sequence.protocol]
    return GameSequence(
        make_visits(config),
        game_maker(config),
        num_envs=config.sequence.num_envs,
        seed=config.seed,
        clip_rewards=protocol.clip_rewards,
    )


def make_evaluator(
    config: RunConfig, episodes: int, spectator: Spectator = nobody
) -> Evaluator:
    """Plays the games in the order of their true tasks."""
    visits = make_visits(config)
    return Evaluator(
        games=tuple(dict.fromkeys(visit.game for visit in visits)),
        make_game=game_maker(config, config.evaluation.max_episode_steps),
        episodes=episodes,
        exploration_eps=config.evaluation.exploration_eps,
        seed=config.seed + stream_number("evaluation"),
        spectator=spectator,
    )


def game_maker(config: RunConfig, max_episode_steps: int | None = None) -> MakeGame:
    """Makes games as the config has them, with another time limit if one is given."""
    protocol = PROTOCOLS[config.sequence.protocol]
    if max_episode_steps is not None:
        protocol = dataclasses.replace(
            protocol, max_episode_frames=max_episode_steps * protocol.frame_skip
        )
    frame_size, noise = config.sequence.frame_size, config.sequence.pixel_noise

    def make(game: str, num_envs: int) -> VectorGame:
        made = make_atari_game(game, num_envs, protocol, frame_size)
        return NoisyGame(made, noise) if noise else made

    return make


def rom_md5s(config: RunConfig) -> Mapping[str, str]:
    """MD5 of each game's ROM, by which emulators know them."""
    return {
        game: hashlib.md5(
            Path(rom_path(GameSpec.parse(game).game)).read_bytes(),
            usedforsecurity=False,
        ).hexdigest()
        for game in config.games
    }
