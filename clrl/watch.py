"""Films the agent of a run at play."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from clrl.config import config_file
from clrl.config.games import check_games
from clrl.errors import ConfigError
from clrl.progress import Listener
from clrl.rl.atari import ACTION_NAMES, PROTOCOLS, AtariGame
from clrl.rl.evaluate import under_label
from clrl.rl.play import play, write_video
from clrl.run.agent import saved_agent
from clrl.run.sequence import game_maker, make_evaluator
from clrl.run_directory import RunDirectory

EMULATOR_FRAMES_PER_SECOND = 60
"""At which people play."""


def watch(
    directory: RunDirectory,
    game: str | None,
    output: Path | None,
    *,
    episodes: int,
    max_seconds: float,
    listener: Listener,
) -> list[Path]:
    """Films the saved agent of a run at play, under the task its recogniser infers.

    Args:
        directory: Of the run.
        game: One of its games; by default each of them.
        output: Of the video, ``.mp4``; by default ``videos/<game>.mp4`` in the run's
            directory. A filmstrip is written beside each, ``.png``.
        episodes: Of each game.
        max_seconds: Of play, after which an episode is cut off.
        listener: Is told each video.

    Returns:
        The videos.

    Raises:
        ConfigError: The run has no such game, or the output fits no video.
        CheckpointError: There is no checkpoint, or it was altered.
    """
    config = config_file.read_game_config(directory.config)
    games = config.games if game is None else (game,)
    check_games(games, config.games)
    _check_output(output, games)
    protocol = PROTOCOLS[config.sequence.protocol]
    decisions_per_second = EMULATOR_FRAMES_PER_SECOND / protocol.frame_skip
    paths = []
    with saved_agent(config, directory) as (agent, _):
        evaluator = make_evaluator(config, episodes=1)
        for name in games:
            path = output or directory.videos / f"{name}.mp4"
            label = evaluator.infer_label(agent, name)
            with (
                closing(game_maker(config)(name, 1)) as played,
                closing(AtariGame(name, 1, protocol, full_colour=True)) as shown,
                under_label(agent, label),
            ):
                moments = play(
                    agent,
                    played,
                    shown,
                    episodes=episodes,
                    max_episode_steps=max(1, int(max_seconds * decisions_per_second)),
                    exploration_eps=config.evaluation.exploration_eps,
                    seed=evaluator.seed,
                )
                write_video(
                    moments,
                    path,
                    game=name,
                    action_names=ACTION_NAMES,
                    frames_per_second=decisions_per_second,
                )
            listener.message(f"{name}: {path}")
            paths.append(path)
    return paths


def _check_output(output: Path | None, games: Sequence[str]) -> None:
    if output is None:
        return
    if len(games) > 1:
        raise ConfigError(
            f"one output file is for one game, got {len(games)} games; name one with "
            "--game, or leave --output out for a file of each."
        )
    if output.suffix != ".mp4":
        raise ConfigError(
            f"a video's file name must end in .mp4, got {output}; rename it."
        )
