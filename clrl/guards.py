"""What tells, while a run goes on, that something about it looks wrong.

A guard reads the run's records as they are written and says in one line what is wrong
and what to do, once each time it comes up. Guards hold no other state, so that the same
records always raise the same alarms, live or read from a file.

    inactive_penalty         the penalty is zero, or too small to protect anything
    penalty_gradient_ratio   the penalty drowns the task, or is drowned by it
    stiff_penalty            curvature times learning rate is above 2
    frozen_agent             a game was visited and nothing was learnt
    exploding_q_values       Q-values beyond any possible return
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from statistics import median
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from clrl import records
from clrl.records import Record
from clrl.summary_visits import standard_error

ACTIVE_SHARE = 1e-6
"""A penalty that is never a larger share of the task loss protects nothing."""

GRADIENT_RATIOS = (1e-4, 10.0)
"""Between these the penalty's and the task's gradient are in balance."""

LARGEST_STEP = 2.0
"""Curvature times learning rate above which gradient descent on a quadratic grows."""

PATIENCE_RECORDS = 10
"""Records of training over which a penalty may be inactive before its visit ends."""

RATIO_RECORDS = 5
"""Records of training whose median gradient ratio counts; a single batch is noisy."""

BETTER_STANDARD_ERRORS = 2
"""Fewer than a summary asks before it calls a game learnt: in doubt, no alarm."""

MIN_EPISODES = 16
"""Below this many episodes in a visit, whether anything was learnt is not judged: the
first ones of parallel environments end together, and were played while exploring."""


@runtime_checkable
class Check(Protocol):
    """One thing that can go wrong."""

    name: ClassVar[str]

    def __call__(self, record: Record) -> Iterator[str]:
        """Takes the next record of the run; what is wrong, if it has just come up."""
        ...


class Guards:
    """Several checks on the same run."""

    def __init__(self, checks: Sequence[Check]) -> None:
        """Guards a run from its first record on."""
        self._checks = tuple(checks)
        self._visit = records.Visit(agent_steps=0, visit=0, game="")

    def __call__(self, record: Record) -> list[records.Guard]:
        """Takes the next record of the run; the alarms it raises."""
        if isinstance(record, records.Visit):
            self._visit = record
        return [
            records.Guard(
                agent_steps=record.agent_steps,
                visit=self._visit.visit,
                game=self._visit.game,
                guard=check.name,
                message=message,
            )
            for check in self._checks
            for message in check(record)
        ]


def standard_guards(
    *, learning_rate: float, optimizer: str, gamma: float, reward_bound: float
) -> Guards:
    """All guards of this module.

    Args:
        learning_rate: Of the optimiser.
        optimizer: Its name.
        gamma: Discount of one agent step.
        reward_bound: No reward that the learner sees is larger; may be infinite.
    """
    bound = math.inf if gamma == 1 else reward_bound / (1 - gamma)
    return Guards(
        (
            InactivePenalty(),
            PenaltyGradientRatio(),
            StiffPenalty(learning_rate, optimizer),
            FrozenAgent(),
            ExplodingQValues(bound),
        )
    )


class _Onset:
    """True when something starts to be wrong, False while it goes on."""

    def __init__(self) -> None:
        self._was_wrong = False

    def __call__(self, is_wrong: bool) -> bool:
        starts = is_wrong and not self._was_wrong
        self._was_wrong = is_wrong
        return starts


class _Protected:
    """Which tasks a quadratic penalty holds."""

    def __init__(self) -> None:
        self._tasks: set[int] = set()

    def follow(self, record: records.Consolidation) -> None:
        """Takes down a task that was consolidated into a penalty."""
        if "curvature_max" in record.metrics:
            self._tasks.add(record.task)

    def besides(self, label: int) -> bool:
        """Whether tasks other than ``label`` are held; its own penalty may be off."""
        return bool(self._tasks - {label})


class InactivePenalty:
    """The penalty stays at or below 1e-6 of the task loss where it ought to act.

    It ought to in every task but one that alone was consolidated so far. Judged after
    10 records of training in a row, and at each visit's end.
    """

    name: ClassVar[str] = "inactive_penalty"

    def __init__(self) -> None:
        """Nothing has been consolidated."""
        self._protected = _Protected()
        self._quiet_records = 0
        self._largest = 0.0
        self._starts = _Onset()

    def __call__(self, record: Record) -> Iterator[str]:
        """Says if the penalty has been inactive for long enough."""
        if isinstance(record, records.Consolidation):
            self._protected.follow(record)
        elif isinstance(record, records.Train):
            self._take(record)
            if self._quiet_records >= PATIENCE_RECORDS:
                yield from self._judge()
        elif _ends_visit(record) and self._quiet_records:
            yield from self._judge()

    def _take(self, train: records.Train) -> None:
        if not self._protected.besides(train.label):
            return
        if train.penalty > ACTIVE_SHARE * train.loss:
            self._quiet_records, self._largest = 0, 0.0
            self._starts(False)
        else:
            self._quiet_records += 1
            self._largest = max(self._largest, train.penalty)

    def _judge(self) -> Iterator[str]:
        if self._starts(True):
            size = f"at most {self._largest:.2g}" if self._largest else "exactly zero"
            yield (
                f"the penalty has been {size} since a task was left, no more than "
                f"{ACTIVE_SHARE:g} of the task loss: earlier tasks are not protected; "
                "raise the method's strength."
            )


class PenaltyGradientRatio:
    """The penalty's gradient is far larger or far smaller than the task's.

    Judged by the median ratio of the last 5 records of training in tasks in which a
    penalty ought to act. A ratio of 0 is left to ``InactivePenalty``.
    """

    name: ClassVar[str] = "penalty_gradient_ratio"

    def __init__(self) -> None:
        """Nothing has been consolidated."""
        self._protected = _Protected()
        self._ratios: deque[float] = deque(maxlen=RATIO_RECORDS)
        self._drowns, self._drowned = _Onset(), _Onset()

    def __call__(self, record: Record) -> Iterator[str]:
        """Says if the ratio leaves its range."""
        if isinstance(record, records.Consolidation):
            self._protected.follow(record)
        elif isinstance(record, records.Train) and self._protected.besides(
            record.label
        ):
            yield from self._judge(record.penalty_gradient_ratio)

    def _judge(self, ratio: float | None) -> Iterator[str]:
        if ratio is None:
            return
        self._ratios.append(ratio)
        if len(self._ratios) < RATIO_RECORDS:
            return
        low, high = GRADIENT_RATIOS
        middle = median(self._ratios)
        said = f"the penalty's gradient is {middle:.2g} times the task's"
        if self._drowns(middle > high):
            yield (
                f"{said}, above {high:g}: the agent is held where it is and can "
                "hardly learn; lower the method's strength or the learning rate."
            )
        if self._drowned(0 < middle < low):
            yield (
                f"{said}, below {low:g}: earlier tasks are hardly protected; raise the "
                "method's strength."
            )


class StiffPenalty:
    """The penalty's largest curvature times the learning rate is above 2.

    Gradient descent on the penalty alone then overshoots further at every step.
    Optimisers that divide by the size of the gradient (Adam, RMSprop) do not diverge:
    the parameters that matter most jitter about their anchors by about the learning
    rate, which ``PenaltyGradientRatio`` sees if it does harm.
    """

    name: ClassVar[str] = "stiff_penalty"

    def __init__(self, learning_rate: float, optimizer: str) -> None:
        """Compares with ``learning_rate``; ``optimizer`` is named in the message."""
        self._learning_rate = learning_rate
        self._optimizer = optimizer
        self._starts = _Onset()

    def __call__(self, record: Record) -> Iterator[str]:
        """Says if a consolidation makes the penalty too stiff."""
        if not isinstance(record, records.Consolidation):
            return
        curvature = record.metrics.get("curvature_max", 0.0)
        step = curvature * self._learning_rate
        if self._starts(step > LARGEST_STEP):
            yield (
                f"the penalty's largest curvature {curvature:.3g} times the learning "
                f"rate {self._learning_rate:g} is {step:.3g}, above {LARGEST_STEP:g}: "
                "gradient descent on it diverges, and an optimiser that rescales "
                f"gradients jitters (here {self._optimizer}); if returns suffer, lower "
                f"the method's strength {step / LARGEST_STEP:.2g}-fold."
            )


class FrozenAgent:
    """A visit's last third is no better than random play, nor than the visit's start.

    "Better" is by 2 combined standard errors of the mean return. An agent that comes
    back to a game it plays well, and gains nothing, is not frozen. Where no random
    policy was played, nothing is said.
    """

    name: ClassVar[str] = "frozen_agent"

    def __init__(self) -> None:
        """No game has been visited."""
        self._random: dict[str, Sequence[float]] = {}
        self._returns: defaultdict[int, list[float]] = defaultdict(list)
        self._visit = records.Visit(agent_steps=0, visit=0, game="")

    def __call__(self, record: Record) -> Iterator[str]:
        """Says at a visit's end if nothing was learnt in it."""
        if isinstance(record, records.RandomPolicy):
            self._random[record.game] = record.returns
        elif isinstance(record, records.Visit):
            self._visit = record
        elif isinstance(record, records.Episode):
            self._returns[record.visit].append(record.return_)
        elif _ends_visit(record):
            yield from self._judge(self._returns.pop(self._visit.visit, []))

    def _judge(self, returns: list[float]) -> Iterator[str]:
        random = self._random.get(self._visit.game, ())
        if len(returns) < MIN_EPISODES or not random:
            return
        third = len(returns) // 3
        start, end = returns[:third], returns[-third:]
        if not (_is_better(end, random) or _is_better(end, start)):
            yield (
                f"no learning to be seen in visit {self._visit.visit + 1} "
                f"({self._visit.game}): its last {third} episodes return "
                f"{np.mean(end):.4g}, its first {np.mean(start):.4g}, random play "
                f"{np.mean(random):.4g}; give the visit more steps or let exploration "
                "end sooner, or lower the strength of a penalty that holds the agent."
            )


class ExplodingQValues:
    """A Q-value is larger than any discounted return can be.

    Args:
        bound: The largest reward over ``1 - gamma``.
    """

    name: ClassVar[str] = "exploding_q_values"

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._starts = _Onset()

    def __call__(self, record: Record) -> Iterator[str]:
        """Says if a Q-value passes the bound."""
        if not isinstance(record, records.Train) or record.q_abs_max is None:
            return
        if self._starts(record.q_abs_max > self._bound):
            yield (
                f"|Q| has reached {record.q_abs_max:.4g}, but no discounted return is "
                f"above {self._bound:.4g}: values feed on their own errors; lower the "
                "learning rate, or raise target_update_interval."
            )


def _ends_visit(record: Record) -> bool:
    return isinstance(record, records.Evaluation) and record.stage > 0


def _is_better(returns: Sequence[float], others: Sequence[float]) -> bool:
    """Whether the mean is higher by 2 combined standard errors."""
    errors = (standard_error(returns), standard_error(others))
    combined = math.hypot(*(error or 0.0 for error in errors))
    gain = float(np.mean(returns) - np.mean(others))
    return gain > 0 and gain >= BETTER_STANDARD_ERRORS * combined
