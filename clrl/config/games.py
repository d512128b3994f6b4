"""Every knob of a run on Atari games, as frozen dataclasses.

Each field says its unit and where its default comes from. A *step* is one decision of
the agent in one environment (four emulator frames); steps are summed over environments,
so 8 environments that act once make 8 steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from clrl.checks import check_at_least, check_positive, check_share
from clrl.config.any_domain import CommonConfig
from clrl.continual.task_layers import TaskLayers
from clrl.errors import ConfigError, unknown_name
from clrl.recognition.recognisers import ScreenRecogniserConfig
from clrl.records import Labelling
from clrl.rl.network import ARCHITECTURES
from clrl.summary import Measure


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """Which games are played when, and how a game looks to the agent."""

    visit_steps: int = 250_000
    """Agent steps of one visit to a game, summed over environments. Kirkpatrick et al.
    (2017) do not give theirs."""

    visits_per_game: int = 2
    """Visits to each game in the whole sequence (1 or more)."""

    order: Literal["fixed", "random"] = "fixed"
    """``fixed``: the games as listed, then again. ``random``: drawn from the seed, no
    game twice in a row where that is possible (Kirkpatrick et al., 2017, SI)."""

    protocol: Literal["nature", "machado"] = "nature"
    """``nature``: no sticky actions, a lost life ends an episode for learning (Mnih et
    al., 2015). ``machado``: sticky actions with probability 0.25, lives ignored
    (Machado et al., 2018)."""

    num_envs: int = 8
    """Copies of the current game that are played side by side."""

    frame_size: Literal[42, 84] = 84
    """Height and width of an observation in pixels (84: Mnih et al., 2015)."""

    pixel_noise: float = 0.0
    """Probability, for each pixel of each frame, of showing a uniformly random grey
    level instead (0 to 1): a test of recognition and play."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_at_least("sequence.visits_per_game", self.visits_per_game, 1)
        check_at_least("sequence.num_envs", self.num_envs, 1)
        check_at_least("sequence.visit_steps", self.visit_steps, self.num_envs)
        check_share("sequence.pixel_noise", self.pixel_noise)


@dataclass(frozen=True, kw_only=True)
class AgentConfig:
    """The DQN agent, with Stable-Baselines3's names where it has one."""

    learning_rate: float = 1e-4
    """Of the optimiser; constant (SB3 default)."""

    optimizer: Literal["adam", "rmsprop"] = "adam"
    """``adam`` (SB3 default), or ``rmsprop``: centred, decay 0.95, no momentum (Mnih et
    al., 2015)."""

    optimizer_eps: float = 1e-8
    """Added in the optimiser's denominator: to the root by adam, under it by rmsprop
    (torch default; 0.01 for rmsprop in Mnih et al., 2015)."""

    buffer_size: int = 50_000
    """Transitions kept for each inferred task (Kirkpatrick et al., 2017, table S2)."""

    learning_starts: int = 1_000
    """Agent steps stored for the current task before updates on it start."""

    batch_size: int = 32
    """Transitions of a minibatch (SB3 default)."""

    gamma: float = 0.99
    """Discount of one agent step, 0 to 1 (SB3 default)."""

    train_freq: int = 4
    """Agent steps, summed over environments, for each round of ``gradient_steps`` (SB3
    default; unlike in SB3, which counts vector steps, the number of environments does
    not change how many updates a step pays for)."""

    gradient_steps: int = 1
    """Updates in each round (SB3 default)."""

    target_update_interval: int = 10_000
    """Agent steps between updates of the target network (SB3 default)."""

    tau: float = 1.0
    """Share of the online network in each update of the target network, 0 to 1 (1: a
    copy; SB3 default)."""

    exploration_initial_eps: float = 1.0
    """Probability of a random action at the start of a task (SB3 default)."""

    exploration_final_eps: float = 0.01
    """Probability of a random action after the decay (Kirkpatrick et al., 2017, table
    S2)."""

    exploration_steps: int = 100_000
    """Agent steps in a task, after ``learning_starts``, over which its own epsilon
    falls linearly from its initial to its final value; 1 until then."""

    double_q: bool = True
    """Whether the online network chooses the action of the target (van Hasselt et al.,
    2016)."""

    max_grad_norm: float = 10.0
    """2-norm to which larger gradients are scaled down (SB3 default)."""

    consolidation_starts: int = 0
    """Agent steps of experience in a task before it is consolidated when it is left
    (5,000,000 in Kirkpatrick et al., 2017, table S2)."""

    replay_gib: float = 4.0
    """GiB of memory that all replay memories may take together."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Arithmetic of the networks in updates; acting, evaluation and importance are in
    float32, but for ``mbpa``'s adaptation; on NVIDIA GPUs since Ampere torch takes
    float32's convolutions in TF32 (``torch.backends.cudnn.allow_tf32``). ``auto``
    tries both before training and takes bfloat16 where it is faster and its rounding
    small beside the noise of a minibatch; what it takes may then differ from machine
    to machine."""

    replay_frames: Literal["auto", "raw", "lz4", "device"] = "auto"
    """How replay memories keep frames; no result depends on it while ``replay_gib`` has
    room for all memories: ``device`` takes a memory's room whole when its task comes,
    the others as it fills. ``raw``: 7,056 bytes
    each. ``lz4``: compressed, 300 to 2,000 bytes; needs ``pip install 'clrl[lz4]'``.
    ``device``: raw, in the memory of the GPU. ``auto``: ``device`` on a GPU, else
    ``raw``."""

    overlap: bool = False
    """Whether updates are made while the emulators play. Each action is then chosen
    before the updates that the step before paid for, unlike in SB3."""

    capture: bool | None = None
    """Whether acting and updates are recorded as CUDA graphs, which changes no result;
    null: on a GPU. Methods that work in Python at each step run without."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_positive("agent.learning_rate", self.learning_rate)
        check_positive("agent.max_grad_norm", self.max_grad_norm)
        check_positive("agent.replay_gib", self.replay_gib)
        check_share("agent.gamma", self.gamma)
        check_share("agent.tau", self.tau)
        check_share("agent.exploration_initial_eps", self.exploration_initial_eps)
        check_share("agent.exploration_final_eps", self.exploration_final_eps)
        check_at_least("agent.optimizer_eps", self.optimizer_eps, 0)
        check_at_least("agent.learning_starts", self.learning_starts, 0)
        check_at_least("agent.batch_size", self.batch_size, 1)
        check_at_least("agent.train_freq", self.train_freq, 1)
        check_at_least("agent.gradient_steps", self.gradient_steps, 1)
        check_at_least("agent.exploration_steps", self.exploration_steps, 0)
        check_at_least("agent.consolidation_starts", self.consolidation_starts, 0)
        check_at_least("agent.target_update_interval", self.target_update_interval, 1)
        check_at_least("agent.buffer_size", self.buffer_size, self.batch_size)
        if self.learning_starts > self.buffer_size:
            raise ConfigError(
                "agent.learning_starts must be at most agent.buffer_size, got "
                f"{self.learning_starts} > {self.buffer_size}; lower the first or "
                "raise the second."
            )


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(TaskLayers):
    """The Q-network."""

    name: str = "nature"
    """``nature`` (Mnih et al., 2015), ``kirkpatrick2017`` (their larger one), ``small``
    (for 42x42 frames and quick runs), or the import path of a class of yours."""

    task_gains: bool = True
    """Whether each task owns gains and biases in each layer (Kirkpatrick et al., 2017,
    SI)."""

    input_dropout: float = 0.0
    """Probability that a pixel of a frame is zeroed in updates (0.2 in Kirkpatrick et
    al., 2017, table S1, figure B; not for games)."""

    hidden_dropout: float = 0.0
    """Probability that an output of a hidden layer is zeroed in updates (0.5, ibid.;
    not for games)."""

    max_tasks: int = 32
    """Tasks the network has gains, biases and own layers for; one more ends the run
    with an error. Keep a recogniser's ``max_contexts`` at or below it."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is unknown or out of range."""
        super().__post_init__()
        check_share("network.input_dropout", self.input_dropout)
        check_share("network.hidden_dropout", self.hidden_dropout)
        check_at_least("network.max_tasks", self.max_tasks, 1)
        if self.name not in ARCHITECTURES and "." not in self.name:
            raise unknown_name("network", self.name, ARCHITECTURES)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How every game is scored before training and after each visit."""

    episodes: int = 5
    """Episodes played of each game."""

    exploration_eps: float = 0.05
    """Probability of a random action while scoring (Mnih et al., 2015)."""

    max_episode_steps: int | None = None
    """Agent steps after which an episode is cut off; null: 27,000 (108,000 frames, half
    an hour of play, the emulator's own limit)."""

    random_policy_episodes: int = 10
    """Episodes of each game that a uniformly random policy plays, once, for
    comparison."""

    also_under: tuple[Labelling, ...] = ()
    """Labels besides the inferred one under which every game is scored again:
    ``true_label`` (that of most of its training) and ``no_label`` (without gains and
    biases). Each takes as long as scoring does."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        check_at_least("evaluation.episodes", self.episodes, 1)
        check_share("evaluation.exploration_eps", self.exploration_eps)
        check_at_least(
            "evaluation.random_policy_episodes", self.random_policy_episodes, 0
        )
        if self.max_episode_steps is not None:
            check_at_least("evaluation.max_episode_steps", self.max_episode_steps, 1)


@dataclass(frozen=True, kw_only=True)
class RunConfig(CommonConfig):
    """One run: an agent, a method and a recogniser on a sequence of games."""

    games: tuple[str, ...]
    """ROM names, as ``clrl list games`` shows them, perhaps with a mode or difficulty:
    ``freeway:mode=3:difficulty=1``; on the command line with commas."""

    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    """Which games are played when."""

    agent: AgentConfig = field(default_factory=AgentConfig)
    """The DQN agent."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The Q-network."""

    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """How games are scored."""

    def __post_init__(self) -> None:
        """Raises ConfigError where a value is out of range."""
        super().__post_init__()
        if not self.games:
            raise ConfigError("games must name at least one game, got none.")
        repeated = sorted({g for g in self.games if self.games.count(g) > 1})
        if repeated:
            raise ConfigError(
                f"games must differ, got {', '.join(repeated)} more than once; use "
                "sequence.visits_per_game to let games return."
            )
        self.method.check_tasks(len(self.games))
        architecture = ARCHITECTURES.get(self.network.name)
        if architecture is not None:  # a class of the user's may have any layers
            self.method.check_network(
                shares_layers=self.network.shares_layers(architecture.layers),
                has_hidden_layers=architecture.layers > 1,
            )
        self._check_visits_are_long_enough()
        if "no_label" in self.evaluation.also_under:
            self.network.refuse_no_label("evaluation.also_under")

    def _check_visits_are_long_enough(self) -> None:
        recogniser = self.recogniser
        if not isinstance(recogniser, ScreenRecogniserConfig):
            return
        steps_of_each = self.sequence.visit_steps // self.sequence.num_envs
        if recogniser.min_visit_steps > steps_of_each:
            raise ConfigError(
                "recogniser.min_visit_steps must be at most the steps of each "
                f"environment in a visit, {steps_of_each}, or games that return are "
                f"taken for one; got {recogniser.min_visit_steps}: lower it, or raise "
                "sequence.visit_steps."
            )

    @property
    def task_names(self) -> tuple[str, ...]:
        """The games."""
        return self.games

    @property
    def subject(self) -> tuple[str, ...]:
        """The games."""
        return self.games

    @property
    def rules(self) -> str:
        """The protocol."""
        return self.sequence.protocol

    @property
    def measure(self) -> Measure:
        """The return of an episode."""
        return "return"


def check_games(games: Iterable[str], known: Iterable[str]) -> None:
    """Raises ConfigError with the nearest names for the first game that is unknown."""
    known = frozenset(known)
    for game in games:
        if game not in known:
            raise unknown_name("game", game, known)
