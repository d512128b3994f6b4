from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from clrl.config.config_file import config_help, describe, read_config, to_yaml
from clrl.config.games import RunConfig
from clrl.config.library import config_files
from clrl.config.supervised import SupervisedRunConfig
from clrl.continual.learner import Method
from clrl.continual.methods import EWC, METHODS, Domain, Finetune, MethodConfig
from clrl.continual.methods.base import HoldsWhatIsShared
from clrl.errors import ConfigError
from clrl.rl.atari import game_names
from clrl.supervised.streams import Permutations, Split
from clrl.types import B

TEXT = """
games: [pong, breakout]
method: {name: ewc, strength: 4}
recogniser: oracle
agent:
  learning_rate: 1e-3
  buffer_size: 20_000
"""


@dataclass(frozen=True, kw_only=True)
class MyMethod(MethodConfig):
    """A method of the user's own."""

    softness: float = 0.5
    """Between 0 and 1."""

    def build(self, domain: Domain[B]) -> Method[B]:
        del domain
        return Method()


Read = Callable[..., RunConfig]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads ``TEXT``, or another text, with overrides."""
    path = tmp_path / "config.yaml"

    def read_text(*overrides: str, text: str = TEXT) -> RunConfig:
        path.write_text(text, encoding="utf-8")
        config = read_config(path, overrides)
        assert isinstance(config, RunConfig)
        return config

    return read_text


def test_a_file_sets_what_it_names_and_nothing_else(read: Read) -> None:
    config = read()
    assert config.games == ("pong", "breakout")
    assert config.method == EWC(strength=4.0)
    assert config.agent.learning_rate == 0.001
    assert config.agent.buffer_size == 20_000
    assert config.agent.gamma == 0.99
    assert config.seed == 0


def test_the_command_line_wins_over_the_file(read: Read) -> None:
    config = read(
        "--games",
        "freeway,pong",
        "--seed=3",
        "--agent.learning_rate",
        "5e-4",
        "--method.strength",
        "100",
        "--network",
        "small",
        "--name",
        "mine",
        "--threads",
        "2",
        "--agent.double_q",
        "false",
    )
    assert config.games == ("freeway", "pong")
    assert config.seed == 3
    assert config.agent.learning_rate == 5e-4
    assert config.method == EWC(strength=100.0)
    assert config.network.name == "small"
    assert (config.name, config.threads) == ("mine", 2)
    assert config.agent.double_q is False


def test_another_method_drops_the_fields_of_the_files_method(read: Read) -> None:
    assert read("--method", "finetune").method == Finetune()
    assert describe(read("--method", "finetune")).method == "finetune"


def test_the_same_method_keeps_the_fields_of_the_file(read: Read) -> None:
    assert read("--method", "ewc").method == EWC(strength=4.0)


def test_a_name_alone_is_enough(read: Read) -> None:
    config = read(text="games: pong\nmethod: ewc\nnetwork: small\n")
    assert config.games == ("pong",)
    assert config.method == EWC()
    assert config.network.name == "small"


def test_null_is_none(read: Read) -> None:
    text = TEXT + "evaluation: {max_episode_steps: 100}\nname: x\n"
    config = read("--evaluation.max_episode_steps=null", "--name", "null", text=text)
    assert config.evaluation.max_episode_steps is None
    assert config.name is None


def test_a_method_of_the_users_own_is_named_by_its_import_path(
    read: Read, tmp_path: Path
) -> None:
    name = f"{__name__}.MyMethod"
    config = read("--method", name, "--method.softness", "0.25")
    assert config.method == MyMethod(softness=0.25)
    (tmp_path / "resolved.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert read_config(tmp_path / "resolved.yaml") == config


@pytest.mark.parametrize("name", config_files())
def test_a_resolved_config_reads_back_into_an_equal_one(
    name: str, tmp_path: Path
) -> None:
    config = read_config(config_files()[name], ["--seed", "7"])
    path = tmp_path / "resolved.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert read_config(path) == config


@pytest.mark.parametrize("name", config_files())
def test_every_config_that_comes_along_names_real_games_or_is_supervised(
    name: str,
) -> None:
    config = read_config(config_files()[name])
    if isinstance(config, RunConfig):
        assert set(config.games) <= set(game_names())
    else:
        assert isinstance(config, SupervisedRunConfig)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["--agent.learnig_rate", "1"], "did you mean agent.learning_rate"),
        (["--learning_rate", "1"], "did you mean agent.learning_rate"),
        (["--agent", "x"], "unknown key 'agent'"),
        (["--method", "ewcc"], "unknown method 'ewcc'; did you mean ewc"),
        (["--method", "independent"], "'independent', which is finetune with"),
        (["--recogniser", "oracel"], "did you mean oracle"),
        (["--network", "natur"], "did you mean nature"),
        (["--method", "finetune", "--method.strength", "1"], "'method.strength'"),
        (["--method", "no_such_package.Mine"], "cannot import the method"),
        (["--method", "clrl.continual.methods.Mine"], "no class 'Mine'"),
        (["--method", "pathlib.Path"], "derives from"),
        (["--agent.batch_size", "many"], "agent.batch_size.*int.*many"),
        (["--agent.batch_size", "1.5"], "agent.batch_size.*int.*1.5"),
        (["--agent.optimizer", "sgd"], "one of 'adam', 'rmsprop'.*sgd"),
        (["--agent.gamma", "2"], "agent.gamma must lie between 0 and 1, got 2"),
        (["--seed"], "--seed expects a value, got none"),
        (["--seed", "2147483647"], "seed must be from 0 to 2000000000"),
        (["--seed", "--name", "x"], "--seed expects a value, got none"),
        (["seed=3"], "expected --key value, got 'seed=3'"),
    ],
)
def test_a_wrong_override_is_refused_with_what_to_do(
    read: Read, override: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(*override)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("games: [pong]\nagnet: {gamma: 0.9}\n", "unknown key 'agnet.gamma'"),
        ("games: [pong]\nagent: {gama: 0.9}\n", "did you mean agent.gamma"),
        ("games: [pong]\nagent: 3\n", "unknown key 'agent'"),
        ("games: [pong]\nagent: {gamma: high}\n", "agent.gamma.*float.*high"),
        ("seed: 3\n", "games"),
        ("- pong\n", "mapping"),
        ("", "mapping"),
        ("games: [pong\n", "cannot read"),
    ],
)
def test_a_wrong_file_is_refused_with_what_to_do(
    read: Read, text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read(text=text)


def test_a_file_that_is_not_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        read_config(tmp_path / "none.yaml")


def test_the_help_explains_the_fields_of_the_chosen_method() -> None:
    assert "--method.strength" in config_help(None, ["--method", "ewc"])
    assert "--method.strength" not in config_help(None, ["--method", "finetune"])
    assert "--agent.train_freq" in config_help(None, [])


SUPERVISED = """
domain: supervised
dataset: mnist
stream: {name: split, tasks: 2}
network: {hidden: [30, 20]}
recogniser: oracle
"""


def read_supervised(path: Path, *overrides: str, text: str = SUPERVISED) -> object:
    path.write_text(text, encoding="utf-8")
    return read_config(path, overrides)


def test_a_domain_decides_which_keys_there_are(tmp_path: Path) -> None:
    config = read_supervised(tmp_path / "c.yaml", "--training.passes", "3")
    assert isinstance(config, SupervisedRunConfig)
    assert config.stream == Split(tasks=2)
    assert config.network.hidden == (30, 20)
    assert config.training.passes == 3
    assert describe(config).measure == "accuracy"
    assert describe(config).games == ("split_1", "split_2")


def test_a_supervised_config_is_overridden_like_any_other(tmp_path: Path) -> None:
    config = read_supervised(
        tmp_path / "c.yaml",
        "--stream=permutations",
        "--network.hidden=50,40,30",
        "--data-dir",
        "here",
        "--method=ewc",
        "--method.strength=3",
    )
    assert isinstance(config, SupervisedRunConfig)
    assert config.stream == Permutations()  # the file's 2 tasks were the split's
    assert config.network.hidden == (50, 40, 30)
    assert config.data_dir == Path("here")
    assert config.method == EWC(strength=3.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (["--agent.gamma", "1"], "unknown key 'agent.gamma'"),
        (["--training.pases", "1"], "did you mean training.passes"),
        (["--stream", "permutation"], "did you mean permutations"),
        (["--stream.square", "3"], "unknown key 'stream.square'"),
        (["--dataset", "mnits"], "did you mean mnist"),
        (["--domain", "supervise"], "did you mean supervised"),
        (["--domain", "atari"], "unknown key"),
        (["--stream.tasks", "3"], "must divide the 10 classes"),
        (["--stream.scenario", "tsk"], "one of 'task', 'domain', 'class'.*tsk"),
        (["--network.hidden", "50,x"], "network.hidden"),
        (["--network.hidden", "0"], "network.hidden must be at least 1"),
        (["--recogniser", "one_task"], "set recogniser to oracle"),
        (["--training.momentum", "0.9", "--training.optimizer=adam"], "with adam"),
    ],
)
def test_a_wrong_override_of_a_supervised_config_is_refused(
    tmp_path: Path, override: list[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_supervised(tmp_path / "c.yaml", *override)


HOLDING = [n for n, cls in METHODS.items() if issubclass(cls, HoldsWhatIsShared)]
INDEPENDENT = [f"--network.task_{part}=true" for part in ("input", "hidden", "head")]


@pytest.mark.parametrize("method", HOLDING)
def test_where_tasks_share_nothing_there_is_nothing_to_hold(
    read: Read, tmp_path: Path, method: str
) -> None:
    with pytest.raises(ConfigError, match="let tasks share one"):
        read(*INDEPENDENT, f"--method={method}")
    two_layers = ["--network.hidden=50", *INDEPENDENT[::2]]
    with pytest.raises(ConfigError, match="let tasks share one"):
        read_supervised(tmp_path / "c.yaml", *two_layers, f"--method={method}")
    read(*INDEPENDENT[::2], f"--method={method}")  # the layers between are shared


def test_a_learnt_embedding_needs_a_hidden_layer(tmp_path: Path) -> None:
    linear = ["--network.hidden=[]", "--method=rma_learnt_embedding"]
    with pytest.raises(ConfigError, match="give it a hidden layer"):
        read_supervised(tmp_path / "c.yaml", *linear)


def test_the_help_of_a_supervised_config_explains_its_own_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(SUPERVISED, encoding="utf-8")
    text = config_help(path, [])
    for expected in ("--training.passes", "--stream.scenario", "--data_dir", "--seed"):
        assert expected in text
    assert "--agent.train_freq" not in text
    assert "Of all randomness" in text  # fields of the base class are explained too
