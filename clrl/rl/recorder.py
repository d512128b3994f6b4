"""Writes down what happens in training, and has all games scored after each visit."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback

from clrl import records
from clrl.guards import Guards
from clrl.progress import Listener, Status
from clrl.recognition.protocol import ScreenRecogniser, TaskRecogniser
from clrl.records import Labelling
from clrl.relabelling import (
    TrueLabels,
    label_in_words,
    relabelled,
    relabellings,
)
from clrl.rl.dashboard import Dashboard
from clrl.rl.dqn import ContinualDQN
from clrl.rl.evaluate import Evaluator, GameScore
from clrl.rl.game_sequence import GameSequence
from clrl.rl.probe import NOT_MEASURED, plasticity, probe
from clrl.types import TaskId

_RETURNS_IN_A_MEAN = 20


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How often a recorder writes.

    Attributes:
        record_interval: Agent steps between records of kind ``train``, and between
            points in TensorBoard.
        random_policy_episodes: Episodes of each game played at random before training.
        also_under: Other labels than the inferred one to score each game under.
    """

    record_interval: int = 1_000
    random_policy_episodes: int = 10
    also_under: Sequence[Labelling] = ()


class Recorder(BaseCallback):
    """Turns training into records, TensorBoard points and status lines.

    It reads the true game from the sequence; the agent never does.
    """

    model: ContinualDQN

    def __init__(
        self,
        *,
        sequence: GameSequence,
        evaluator: Evaluator,
        write: Callable[[Sequence[records.Record]], None],
        listener: Listener,
        guards: Guards,
        dashboard: Dashboard,
        schedule: Schedule,
    ) -> None:
        """A recorder for one call of ``learn`` over the whole sequence."""
        super().__init__()
        self._sequence = sequence
        self._evaluator = evaluator
        self._write_records = write
        self._listener = listener
        self._guards = guards
        self._dashboard = dashboard
        self._schedule = schedule
        self._visit = sequence.visit_index
        self._label = -1
        self._consolidations = 0
        self._next_record = schedule.record_interval
        self._last_return: float | None = None
        self._true_labels = TrueLabels()
        self._returns = {
            game: deque[float](maxlen=_RETURNS_IN_A_MEAN) for game in sequence.games
        }

    @property
    def _game(self) -> str:
        return self._sequence.visits[self._visit].game

    def _on_training_start(self) -> None:
        episodes = self._schedule.random_policy_episodes
        for game in self._sequence.games if episodes else ():
            returns = self._evaluator.random_returns(game, episodes)
            self._write(records.RandomPolicy(agent_steps=0, game=game, returns=returns))
        self._evaluate(stage=0)
        self._start_visit()
        self._follow_label(agent_steps=0)

    def _on_step(self) -> bool:
        before_step = self.num_timesteps - self._sequence.num_envs
        self._follow_label(before_step)
        self._record_episodes()
        if self._sequence.visit_index != self._visit:
            self._end_visit()
            self._visit = self._sequence.visit_index
            self._start_visit()
        elif self.num_timesteps >= self._next_record:
            self._record_training()
        self._listener.status(
            Status(
                game=self._game,
                visit=self._visit,
                visits=len(self._sequence.visits),
                agent_steps=self.num_timesteps,
                total_agent_steps=self._sequence.total_steps,
                label=self.model.task,
                exploration_rate=self.model.exploration_rate,
                last_return=self._last_return,
            )
        )
        return True

    def _on_training_end(self) -> None:
        self._follow_label(self.num_timesteps)
        self._end_visit()

    def _start_visit(self) -> None:
        self._write(
            records.Visit(
                agent_steps=self.num_timesteps, visit=self._visit, game=self._game
            )
        )

    def _end_visit(self) -> None:
        self._record_training()
        self._record_plasticity(stage=self._visit + 1)
        self._evaluate(stage=self._visit + 1)

    def _follow_label(self, agent_steps: int) -> None:
        """Notices what changed since the last step: the label, and what was left."""
        for left in self.model.consolidations[self._consolidations :]:
            self._write(
                records.Consolidation(
                    agent_steps=agent_steps,
                    task=left.task,
                    metrics=dict(left.metrics),
                )
            )
        self._consolidations = len(self.model.consolidations)
        if self.model.task != self._label:
            self._label = self.model.task
            self._write(records.Label(agent_steps=agent_steps, label=self._label))

    def _record_episodes(self) -> None:
        for info in self.locals["infos"]:
            if "episode" not in info:
                continue
            self._last_return = info["episode"]["r"]
            self._returns[self._game].append(info["episode"]["r"])
            self._write(
                records.Episode(
                    agent_steps=self.num_timesteps,
                    visit=self._visit,
                    game=self._game,
                    label=self.model.task,
                    return_=info["episode"]["r"],
                    length_steps=info["episode"]["l"],
                )
            )

    def _record_training(self) -> None:
        self._next_record = self.num_timesteps + self._schedule.record_interval
        self.model.read_updates()
        means = self.model.update_means.drain()
        if means:
            self._write(self._train_record(means))
        logger = self.model.logger
        for game, returns in self._returns.items():
            if returns:
                logger.record(f"return/{game}", float(np.mean(returns)))
        logger.record("recognition/true_task", self._sequence.games.index(self._game))
        logger.record("recognition/label", self.model.task)
        logger.record("recognition/contexts", self.model.recogniser.contexts)
        for name, probability in posterior_by_name(self.model.recogniser).items():
            logger.record(f"posterior/{name}", probability)
        for task in self.model.memories.tasks:
            logger.record(
                f"exploration_rate/task_{task}", self.model.exploration_rate_of(task)
            )
            logger.record(
                f"replay_bytes/task_{task}", self.model.memories[task].granted_bytes
            )
        logger.dump(self.num_timesteps)

    def _record_plasticity(self, stage: int) -> None:
        agent = self.model
        if agent.memories[agent.task].size:
            measured = plasticity(agent)
            self._write(
                records.Plasticity(
                    agent_steps=self.num_timesteps,
                    stage=stage,
                    game=self._game,
                    label=agent.task,
                    **measured._asdict(),
                )
            )

    def _train_record(self, means: Mapping[str, float]) -> records.Train:
        agent = self.model
        is_learning = agent.memories[agent.task].added > agent.learning_starts
        measured = (
            probe(agent, has_penalty=means["penalty"] > 0)
            if is_learning
            else NOT_MEASURED
        )
        return records.Train(
            agent_steps=self.num_timesteps,
            visit=self._visit,
            game=self._game,
            label=agent.task,
            exploration_rate=agent.exploration_rate,
            loss=means["loss"],
            penalty=means["penalty"],
            gradient_norm=means["gradient_norm"],
            **measured._asdict(),
        )

    def _write(self, record: records.Record) -> None:
        """Writes ``record``, and the alarms it raises, which are also shown."""
        self._write_records([record])
        self._true_labels.add(record)
        self._dashboard(record)
        for alarm in self._guards(record):
            self._write_records([alarm])
            self._dashboard(alarm)
            self._listener.message(f"{alarm.guard}: {alarm.message}")

    def _evaluate(self, stage: int) -> None:
        also_under = self._schedule.also_under
        true_labels = (
            self._true_labels.at(self.num_timesteps, self._sequence.games)
            if also_under
            else {}
        )
        for record in evaluations(
            self._evaluator,
            self.model,
            self.num_timesteps,
            stage,
            also_under,
            true_labels,
        ):
            # First, as what the dashboard shows of it takes a second to draw.
            self._listener.message(f"stage {stage}: {describe(record)}")
            self._write(record)


def posterior_by_name(recogniser: TaskRecogniser) -> dict[str, float]:
    """The probability of each inferred task, and that the task is unknown.

    Empty for a recogniser that does not infer.
    """
    if not isinstance(recogniser, ScreenRecogniser):
        return {}
    *known, unknown = recogniser.posterior.tolist()
    names = (f"task_{task}" for task in range(len(known)))
    return {**dict(zip(names, known, strict=True)), "unknown": unknown}


def evaluations(  # noqa: PLR0917 - what and when, then how
    evaluator: Evaluator,
    agent: ContinualDQN,
    agent_steps: int,
    stage: int,
    also_under: Sequence[Labelling],
    true_labels: Mapping[str, TaskId],
) -> Iterator[records.Evaluation | records.Relabelled]:
    """The score of each game as a record, and again under other labels.

    A label that is the inferred one is not played under again.

    Args:
        evaluator: Plays.
        agent: Learns nothing.
        agent_steps: Of training so far.
        stage: As the records count.
        also_under: Which labels besides the inferred one.
        true_labels: Of the games that were trained on.
    """
    for score in evaluator.scores(agent):
        yield _record(score, agent_steps, stage)
        for labelling, label in relabellings(also_under, score.game, true_labels):
            again = score
            if label != score.label:
                again = evaluator.score(agent, score.game, under=label)
            yield relabelled(_record(again, agent_steps, stage), labelling)


def describe(record: records.Evaluation | records.Relabelled) -> str:
    """The score of one game on one line."""
    return (
        f"{record.game} {np.mean(record.returns):.1f} "
        f"(mean of {len(record.returns)} episodes, {label_in_words(record)})"
    )


def _record(score: GameScore, agent_steps: int, stage: int) -> records.Evaluation:
    return records.Evaluation(
        agent_steps=agent_steps,
        stage=stage,
        game=score.game,
        label=score.label,
        returns=score.returns,
    )
