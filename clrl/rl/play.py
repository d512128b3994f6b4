"""A trained agent at play, as videos."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import imageio
import numpy as np

from clrl.errors import ClrlError
from clrl.report.film import Filmstrip, FrameDrawer, Moment
from clrl.rl.dqn import ContinualDQN
from clrl.rl.game import VectorGame


def play(
    agent: ContinualDQN,
    game: VectorGame,
    screen: VectorGame,
    *,
    episodes: int,
    max_episode_steps: int,
    exploration_eps: float,
    seed: int,
) -> Iterator[Moment]:
    """Plays under the agent's current label, and tells each decision.

    The game runs twice: as the agent sees it, and in colour, with the same seed and
    actions. Both are deterministic, sticky actions included, so they stay in step.

    Args:
        agent: Does not learn.
        game: One copy, as the agent sees it.
        screen: One copy of the same game, whose observations are [1, H, W, 3].
        episodes: To be played; a lost life does not end one.
        max_episode_steps: After which an episode is cut off.
        exploration_eps: Probability of a random action.
        seed: Of the emulators and of exploration.

    Yields:
        A moment for each decision, and one more where an episode ends by itself.

    Raises:
        ClrlError: The two copies of the game fell out of step.
    """
    rng = np.random.default_rng(seed)
    for episode in range(episodes):
        observations = game.reset(seed + episode)
        screens = screen.reset(seed + episode)
        score = 0.0
        for step in range(max_episode_steps):
            q_values = agent.q_values(observations)[0]
            actions = agent.act(observations, exploration_eps, rng)
            moment = Moment(
                screens[0, -1], q_values, int(actions[0]), agent.task, score, step
            )
            yield moment
            game.send(actions)
            screen.send(actions)
            after, shown = game.receive(), screen.receive()
            _require_in_step(after.rewards, shown.rewards)
            score += float(after.rewards[0])
            observations, screens = after.observations, shown.observations
            if after.new_episode[0]:
                last_screen = shown.final_observations[0, -1]
                yield moment._replace(screen=last_screen, score=score, step=step + 1)
                break


def write_video(
    moments: Iterator[Moment],
    path: Path,
    *,
    game: str,
    action_names: Sequence[str],
    frames_per_second: float,
) -> Path:
    """Writes moments as an MP4, and a filmstrip of them as a PNG beside it.

    Args:
        moments: At least one.
        path: Of the video; its directory is made if it is missing.
        game: Its name.
        action_names: A name for each action.
        frames_per_second: Moments for each second of the video.

    Returns:
        The filmstrip's path: that of the video with the suffix ``.png``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    drawer, strip = FrameDrawer(game, action_names), Filmstrip()
    with closing(
        imageio.get_writer(
            path,
            format="FFMPEG",
            fps=frames_per_second,
            codec="libx264",
            quality=None,  # or it would override -crf
            # A report embeds videos: small, and browsers start before the file's end.
            output_params=["-crf", "30", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )
    ) as video:
        for moment in moments:
            video.append_data(drawer(moment))
            strip.add(moment)
    filmstrip = path.with_suffix(".png")
    strip.picture().save(filmstrip)
    return filmstrip


def _require_in_step(played: np.ndarray, shown: np.ndarray) -> None:
    if not np.array_equal(played, shown):
        raise ClrlError(
            f"the game on show must give the rewards of the game played, got {shown} "
            f"for {played}; report this together with the run's config."
        )
