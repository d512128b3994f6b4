import numpy as np
import pytest

from clrl.errors import ConfigError
from clrl.recognition.protocol import OneTask, Oracle
from clrl.recognition.recognisers import (
    RECOGNISERS,
    FlatForgetMeNotRecogniser,
    ForgetMeNotRecogniser,
    RecogniserConfig,
)
from tests.recognition.screens import play


def no_peeking() -> int:
    raise AssertionError("only the oracle may ask for the true task")


@pytest.mark.parametrize("name", ["one_task", "flat_fmn", "fmn"])
def test_only_the_oracle_asks_for_the_true_task(name: str) -> None:
    recogniser = RECOGNISERS[name]().build(no_peeking)
    assert all(recogniser.observe(frame) == 0 for frame in play(0, 40))
    assert recogniser.recognise(play(0, 3)) == 0


@pytest.mark.parametrize("config", RECOGNISERS.values())
def test_every_recogniser_starts_with_one_context_and_round_trips(
    config: type[RecogniserConfig],
) -> None:
    first, second = config().build(lambda: 0), config().build(lambda: 0)
    assert first.contexts == 1
    assert {first.observe(frame) for frame in play(0, 8)} == {0}
    second.load_state_dict(first.state_dict())
    assert second.contexts == first.contexts
    assert second.observe(play(0, 1)[0]) == first.observe(play(0, 1)[0])


def test_one_task_takes_any_observation() -> None:
    assert OneTask().observe(np.zeros((3, 5))) == 0


def test_the_oracle_says_the_truth_at_the_moment_of_asking() -> None:
    truth = iter([0, 2, 1, 5])
    oracle = Oracle(lambda: next(truth))
    observation = np.zeros((1, 4))
    assert [oracle.observe(observation) for _ in range(3)] == [0, 2, 1]
    assert oracle.contexts == 3
    assert oracle.recognise(observation[None]) == 5
    assert oracle.contexts == 3  # evaluation finds no context


def test_the_oracles_contexts_round_trip() -> None:
    first = Oracle(lambda: 4)
    first.observe(np.zeros((1, 4)))
    second = Oracle(lambda: 0)
    second.load_state_dict(first.state_dict())
    assert second.contexts == 5


def test_values_out_of_range_are_refused_with_the_range() -> None:
    with pytest.raises(ConfigError, match=r"bins must be from 2 to 256, got 1"):
        FlatForgetMeNotRecogniser(bins=1)
    with pytest.raises(ConfigError, match=r"prior must be .*, got 0"):
        FlatForgetMeNotRecogniser(prior=0.0)
    with pytest.raises(ConfigError, match=r"window_updates must be .*, got 0"):
        FlatForgetMeNotRecogniser(window_updates=0)
    with pytest.raises(ConfigError, match=r"debounce_windows must be .*, got -1"):
        FlatForgetMeNotRecogniser(debounce_windows=-1)
    with pytest.raises(
        ConfigError, match=r"recogniser.segment_updates .* power of .* got 6"
    ):
        ForgetMeNotRecogniser(segment_updates=6)
    with pytest.raises(ConfigError, match=r"recogniser.max_contexts must be .*, got 0"):
        ForgetMeNotRecogniser(max_contexts=0)


def test_the_registry_cannot_be_changed_by_accident() -> None:
    with pytest.raises(TypeError):
        RECOGNISERS["mine"] = FlatForgetMeNotRecogniser  # type: ignore[index]
