"""Every knob of a supervised run, as frozen dataclasses.

Each field says its unit and where its default comes from. An *example* is one image
with its label; the examples of a run are counted each time they are shown.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clrl.checks import check_at_least, check_positive, check_share
from clrl.config.any_domain import CommonConfig
from clrl.continual.methods import (
    EWC,
    MAS,
    METHODS,
    LocalMAS,
    ModeIMM,
    OnlineEWC,
)
from clrl.continual.task_layers import TaskLayers
from clrl.errors import ConfigError, unknown_name
from clrl.recognition.image_recognisers import ImageRecogniserConfig
from clrl.recognition.recognisers import OracleRecogniser, ScreenRecogniserConfig
from clrl.records import Labelling
from clrl.summary import Measure
from clrl.supervised.data import DATASETS
from clrl.supervised.network import Initialisation
from clrl.supervised.objective import STATISTICS
from clrl.supervised.streams import STREAMS, StreamConfig

WITHOUT_LABELS = (EWC, OnlineEWC, MAS, LocalMAS, ModeIMM)
"""Methods whose importance can be taken of images alone."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a learner is trained on each task."""

    examples_per_task: int | None = None
    """Training examples of each task, drawn once; null: all (1000 in Lopez-Paz and
    Ranzato, 2017)."""

    passes: int = 1
    """Times that a visit shows each example, at most; also called epochs (20 in
    Kirkpatrick et al., 2017, table S1; 1 in Lopez-Paz and Ranzato, 2017)."""

    patience_passes: int | None = None
    """A visit ends when the mean accuracy on ``validation_examples`` of all tasks met
    has not risen for more than so many passes, and the weights of its best pass come
    back (Kirkpatrick et al., 2017, SI, figure 3B: 5 checks, at an interval that is not
    given); null: after ``passes``. For learners that are told the task."""

    validation_examples: int = 5_000
    """With ``patience_passes``: so many of the data set's last training examples, of
    whatever class, are not trained on; our choice, not given in Kirkpatrick et al.
    (2017)."""

    visits_per_task: int = 1
    """Visits to each task in the whole run (1 in all papers)."""

    order: Literal["fixed", "random"] = "fixed"
    """``fixed``: the tasks by their numbers, then again. ``random``: rounds of all
    tasks, each in an order drawn from the seed."""

    batch_size: int = 32
    """Examples of a minibatch; our choice, not given in Kirkpatrick et al. (2017)."""

    learning_rate: float = 1e-3
    """Of the optimiser; constant (Kirkpatrick et al., 2017, table S1)."""

    optimizer: Literal["sgd", "adam"] = "sgd"
    """``sgd`` (Kirkpatrick et al., 2017), or ``adam`` (Zenke et al., 2017). Its state
    is kept from task to task."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Arithmetic of the network for the objective of updates, those that ``mbpa`` makes
    for a prediction included; evaluation, importance and ``lwf``'s distillation are in
    float32. ``auto`` tries both before training and takes bfloat16 where it is faster
    and its rounding small beside the noise of a minibatch; what it takes may then
    differ from machine to machine."""

    momentum: float = 0.0
    """Of sgd, 0 to 1; our choice, not given in Kirkpatrick et al. (2017)."""

    max_grad_norm: float | None = None
    """2-norm to which larger gradients are scaled down; null: never."""

    memory_examples: int = 10_000
    """Examples kept of each inferred task: those that its importance is averaged over,
    a uniform sample where there are more. Kept for the whole run, should the task
    return; our choice."""

    importance_from: Literal["training", "test"] = "training"
    """``training``: the importance of a task is taken of its training examples.
    ``test``: of its test images, without their labels (Aljundi et al., 2018: what
    matters for the data that will be met)."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        if self.examples_per_task is not None:
            check_at_least("training.examples_per_task", self.examples_per_task, 1)
        check_at_least("training.passes", self.passes, 1)
        if self.patience_passes is not None:
            check_at_least("training.patience_passes", self.patience_passes, 0)
            check_at_least("training.passes", self.passes, 2)
        check_at_least("training.validation_examples", self.validation_examples, 1)
        check_at_least("training.visits_per_task", self.visits_per_task, 1)
        check_at_least("training.batch_size", self.batch_size, 1)
        check_positive("training.learning_rate", self.learning_rate)
        check_share("training.momentum", self.momentum)
        check_at_least("training.memory_examples", self.memory_examples, 1)
        if self.optimizer == "adam" and self.momentum:
            raise ConfigError(
                f"training.momentum is sgd's, got {self.momentum} with adam; leave it "
                "at 0 or choose sgd."
            )
        if self.max_grad_norm is not None:
            check_positive("training.max_grad_norm", self.max_grad_norm)


@dataclass(frozen=True, kw_only=True)
class MLPConfig(TaskLayers):
    """The classifier: linear layers with ReLUs between them."""

    hidden: tuple[int, ...] = (400, 400)
    """Width of each hidden layer (Kirkpatrick et al., 2017, table S1, figure A); on the
    command line with commas."""

    input_dropout: float = 0.0
    """Probability that a pixel is zeroed in training (0.2 in Kirkpatrick et al., 2017,
    table S1, figure B)."""

    hidden_dropout: float = 0.0
    """Probability that a hidden unit is zeroed in training (0.5, ibid.)."""

    initialisation: Initialisation = "fan_in"
    """``fan_in``: weights and biases uniform in ±1/√fan_in, PyTorch's own. ``xavier``:
    weights uniform in ±√(6/(fan_in + fan_out)), biases 0 (Lopez-Paz and Ranzato,
    2017)."""

    max_tasks: int = 32
    """Tasks that there are own layers for; one more ends the run with an error."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        super().__post_init__()
        for width in self.hidden:
            check_at_least("network.hidden", width, 1)
        check_share("network.input_dropout", self.input_dropout)
        check_share("network.hidden_dropout", self.hidden_dropout)
        check_at_least("network.max_tasks", self.max_tasks, 1)


@dataclass(frozen=True, kw_only=True)
class SupervisedRunConfig(CommonConfig):
    """One run: a classifier, a method and a recogniser on tasks from one data set."""

    dataset: str = "digits"
    """What the tasks are made from, as ``clrl list datasets`` shows it."""

    data_dir: Path | None = None
    """Folder of the data set's files; null: the environment variable CLRL_DATA_DIR, or
    else a cache of downloads."""

    stream: StreamConfig = field(default_factory=STREAMS["permutations"])
    """How tasks are made from the data set."""

    training: TrainingConfig = field(default_factory=TrainingConfig)
    """How a learner is trained on each task."""

    test_examples: int | None = None
    """Test examples of each task that accuracies are over, drawn once; null: all."""

    also_under: tuple[Labelling, ...] = ()
    """Labels besides the inferred one under which every task is scored again:
    ``true_label`` (that of most of its training) and ``no_label`` (all classes may be
    answered; not where tasks own layers)."""

    held_out_examples: int | None = None
    """To tune with: so many of the last training examples are not trained on but scored
    in place of the test set; null: the test set is scored."""

    network: MLPConfig = field(default_factory=MLPConfig)
    """The classifier."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is unknown, out of range or impossible."""
        super().__post_init__()
        if self.test_examples is not None:
            check_at_least("test_examples", self.test_examples, 1)
        if self.held_out_examples is not None:
            check_at_least("held_out_examples", self.held_out_examples, 1)
        if self.dataset not in DATASETS:
            raise unknown_name("data set", self.dataset, DATASETS)
        tasks = len(self.task_names)
        self.method.check_tasks(tasks)
        is_told = isinstance(self.recogniser, OracleRecogniser)
        if self.stream.told_tasks and not is_told:
            raise ConfigError(
                "the tasks of this stream can only be solved by a learner that is told "
                "which one it is in, got another recogniser; set recogniser to oracle, "
                "or stream.scenario to domain or class."
            )
        if isinstance(self.recogniser, ScreenRecogniserConfig):
            raise ConfigError(
                "the recogniser models the screens of games, got the images of "
                f"{self.dataset}; take one of clrl.recognition.image_recognisers."
            )
        self.method.check_network(
            shares_layers=self.network.shares_layers(len(self.network.hidden) + 1),
            has_hidden_layers=bool(self.network.hidden),
        )
        self._check_stopping(is_told)
        self._check_importance_needs_no_labels(is_told)
        if "no_label" in self.also_under:
            self.network.refuse_no_label("also_under")
        self._check_contexts_have_room()
        if is_told and self.network.owns_layers and tasks > self.network.max_tasks:
            raise ConfigError(
                f"network.max_tasks must be at least {tasks}, the number of tasks, got "
                f"{self.network.max_tasks}; raise it."
            )

    def _check_contexts_have_room(self) -> None:
        recogniser, network = self.recogniser, self.network
        if not (isinstance(recogniser, ImageRecogniserConfig) and network.owns_layers):
            return
        if recogniser.max_contexts > network.max_tasks:
            raise ConfigError(
                "recogniser.max_contexts must be at most network.max_tasks, for each "
                f"context owns layers, got {recogniser.max_contexts} and "
                f"{network.max_tasks}; lower the one or raise the other."
            )

    def _check_stopping(self, is_told: bool) -> None:
        if self.training.patience_passes is None:
            return
        if not is_told:
            raise ConfigError(
                "training.patience_passes scores all tasks met so far after each pass, "
                "got a recogniser that is not told them; set recogniser to oracle, or "
                "leave training.patience_passes out."
            )
        if self.stream.turns_within_visits:
            raise ConfigError(
                "training.patience_passes would end a visit before all of it has been "
                "shown, got a stream that turns within visits; leave one of them out."
            )

    def _check_importance_needs_no_labels(self, is_told: bool) -> None:
        if self.training.importance_from == "training":
            return
        if not isinstance(self.method, WITHOUT_LABELS):
            names = [n for n, cls in METHODS.items() if issubclass(cls, WITHOUT_LABELS)]
            raise ConfigError(
                "training.importance_from test is for methods that take an importance "
                f"without labels, got another; use one of {', '.join(names)}."
            )
        chosen = str(getattr(self.method, "importance", None))
        if chosen in STATISTICS and STATISTICS[chosen].needs_labels:
            raise ConfigError(
                "training.importance_from test takes an importance without labels, got "
                f"method.importance {chosen}; choose one whose labels come from the "
                "model."
            )
        if not is_told:
            raise ConfigError(
                "training.importance_from test needs to know which task's test images "
                "are meant, got a recogniser that is not told; use the oracle."
            )

    @property
    def task_names(self) -> tuple[str, ...]:
        """The tasks of the stream.

        Raises:
            ConfigError: The data set cannot be divided as the stream asks.
        """
        return self.stream.task_names(self.dataset, DATASETS[self.dataset].classes)

    @property
    def subject(self) -> tuple[str, ...]:
        """Data set and stream."""
        names = [name for name, cls in STREAMS.items() if isinstance(self.stream, cls)]
        return ("_".join((self.dataset, *names)),)

    @property
    def rules(self) -> str:
        """Data set, stream and its number of tasks."""
        return f"{self.subject[0]}, {len(self.task_names)} tasks"

    @property
    def measure(self) -> Measure:
        """Accuracy."""
        return "accuracy"
