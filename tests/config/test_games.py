import dataclasses

import docstring_parser
import pytest

from clrl.config.any_domain import CommonConfig
from clrl.config.games import (
    AgentConfig,
    EvaluationConfig,
    NetworkConfig,
    RunConfig,
    SequenceConfig,
    check_games,
)
from clrl.config.supervised import MLPConfig, SupervisedRunConfig, TrainingConfig
from clrl.continual.methods import METHODS
from clrl.errors import ConfigError
from clrl.recognition.recognisers import RECOGNISERS
from clrl.supervised.streams import STREAMS

CLASSES = [
    RunConfig,
    SequenceConfig,
    AgentConfig,
    NetworkConfig,
    EvaluationConfig,
    CommonConfig,
    SupervisedRunConfig,
    TrainingConfig,
    MLPConfig,
    *STREAMS.values(),
    *METHODS.values(),
    *RECOGNISERS.values(),
]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_knob_says_what_it_is(cls: type) -> None:
    documented = {
        p.arg_name
        for base in cls.__mro__
        if dataclasses.is_dataclass(base)
        for p in docstring_parser.parse_from_object(base).params
    }
    assert {f.name for f in dataclasses.fields(cls)} <= documented


def test_plain_dqn_on_one_stream_is_the_default() -> None:
    config = RunConfig(games=("pong",))
    assert config.method == METHODS["finetune"]()
    assert config.recogniser == RECOGNISERS["one_task"]()


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.0},
        {"learning_rate": float("inf")},
        {"gamma": 1.1},
        {"gamma": float("nan")},
        {"tau": -0.1},
        {"batch_size": 0},
        {"train_freq": 0},
        {"buffer_size": 31},
        {"learning_starts": 50_001},
        {"target_update_interval": 0},
        {"consolidation_starts": -1},
        {"exploration_final_eps": 2.0},
        {"max_grad_norm": 0.0},
        {"replay_gib": 0.0},
    ],
)
def test_an_agent_out_of_range_is_refused_by_the_name_of_its_key(
    change: dict[str, float],
) -> None:
    (key,) = change
    with pytest.raises(ConfigError, match=rf"agent\.{key}"):
        AgentConfig(**change)  # type: ignore[arg-type]


def test_a_visit_is_at_least_one_step_of_every_environment() -> None:
    with pytest.raises(ConfigError, match=r"sequence\.visit_steps"):
        SequenceConfig(visit_steps=7, num_envs=8)


def test_a_network_is_known_or_an_import_path() -> None:
    assert NetworkConfig(name="my_package.network").name == "my_package.network"
    with pytest.raises(ConfigError, match="did you mean nature"):
        NetworkConfig(name="natur")


def test_without_a_label_there_is_no_layer_that_a_task_owns() -> None:
    evaluation = EvaluationConfig(also_under=("no_label",))
    RunConfig(games=("pong",), evaluation=evaluation)
    with pytest.raises(ConfigError, match="no_label"):
        RunConfig(
            games=("pong",),
            evaluation=evaluation,
            network=NetworkConfig(task_head=True),
        )


def test_layers_can_be_copied_where_tasks_own_some() -> None:
    NetworkConfig(task_head=True, task_layers_copied=True)
    with pytest.raises(ConfigError, match="needs layers that tasks own"):
        NetworkConfig(task_layers_copied=True)


@pytest.mark.parametrize("games", [(), ("pong", "breakout", "pong")])
def test_games_are_some_and_differ(games: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="games"):
        RunConfig(games=games)


@pytest.mark.parametrize("name", ["flat_fmn", "fmn"])
def test_visits_are_as_long_as_the_recogniser_takes_them_to_be(name: str) -> None:
    sequence = SequenceConfig(visit_steps=800, num_envs=8)
    RunConfig(
        games=("pong",),
        sequence=sequence,
        recogniser=RECOGNISERS[name](min_visit_steps=100),  # type: ignore[call-arg]
    )
    with pytest.raises(ConfigError, match=r"at most .* 100, .* got 101: lower it"):
        RunConfig(
            games=("pong",),
            sequence=sequence,
            recogniser=RECOGNISERS[name](min_visit_steps=101),  # type: ignore[call-arg]
        )


def test_an_unknown_game_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match="did you mean space_invaders"):
        check_games(["pong", "SpaceInvaders"], ["pong", "space_invaders", "breakout"])
