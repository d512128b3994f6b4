import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float64

from clrl.errors import CheckpointError
from clrl.recognition.density import DiagonalGaussian, KrichevskyTrofimov
from clrl.recognition.forget_me_not import ForgetMeNot
from clrl.recognition.model_pool import ContextPool, ModelPool
from clrl.recognition.partition_tree import PartitionTree, UntrainedModels
from clrl.recognition.segment import Segment, learn_together, untrained_only
from tests.recognition.coins import Tosses, toss

PAPERS_HEIGHT = 15


def redundancy(
    model: PartitionTree | ForgetMeNot | Segment, tosses: Tosses
) -> Float64[np.ndarray, "B"]:
    """Log loss above the oracle's, in nats."""
    loss = np.zeros(len(tosses.oracle_loss))
    for outcome in tosses.outcomes:
        if isinstance(model, Segment):
            loss -= model.log_predictive(outcome)
            learn_together([model], outcome)
        else:
            loss -= model.update(outcome)
    return np.asarray(loss - tosses.oracle_loss)


def redundancies(tosses: Tosses) -> dict[str, Float64[np.ndarray, "B"]]:
    bags = len(tosses.oracle_loss)
    coin = KrichevskyTrofimov(2)
    models: dict[str, PartitionTree | ForgetMeNot | Segment] = {
        "kt": Segment(coin, untrained_only(coin, bags), 0, 0),
        "ptw": PartitionTree(UntrainedModels(coin, bags), PAPERS_HEIGHT),
        "fmn": ForgetMeNot(ModelPool(coin, sequences=bags), height=PAPERS_HEIGHT),
    }
    return {name: redundancy(model, tosses) for name, model in models.items()}


def test_remembering_beats_forgetting_beats_not_noticing() -> None:
    found = redundancies(toss(bags=60, tosses=1000))
    for better, worse in (("fmn", "ptw"), ("ptw", "kt")):
        gain = found[worse] - found[better]
        assert gain.mean() > 3 * gain.std(ddof=1) / math.sqrt(60)


@pytest.mark.slow
def test_the_bag_of_coins_costs_what_the_paper_says() -> None:
    bags = 600
    # 95 % intervals of the paper's means of 10,000 bags: 7.8, 0.8 and 0.8.
    published = {"kt": (783.859, 35), "ptw": (157.189, 4), "fmn": (148.428, 4)}
    found = redundancies(toss(bags, tosses=5000))
    for name, (mean, tolerance) in published.items():
        assert found[name].mean() == pytest.approx(mean, abs=tolerance)
    gain = found["ptw"] - found["fmn"]
    assert gain.mean() > 5 * gain.std(ddof=1) / math.sqrt(bags)


def process(capacity: int = 3, sequences: int = 1) -> ForgetMeNot:
    pool = ModelPool(
        KrichevskyTrofimov(2), sequences=sequences, capacity=capacity, reservoir_size=20
    )
    return ForgetMeNot(pool, min_segment=8)


@settings(max_examples=8)
@given(seed=st.integers(0, 1000), tosses=st.integers(0, 80))
def test_the_predictive_sums_to_one_and_is_what_update_returns(
    seed: int, tosses: int
) -> None:
    fmn = process()
    for outcome in toss(1, tosses, seed).outcomes:
        fmn.update(outcome)
    each = [fmn.log_predictive(np.array([symbol]))[0] for symbol in (0, 1)]
    assert math.isclose(np.exp(each).sum(), 1, rel_tol=1e-9)
    assert math.isclose(fmn.update(np.array([1]))[0], each[1], abs_tol=1e-9)
    assert math.isclose(fmn.posterior().sum(), 1, rel_tol=1e-9)


def test_sequences_side_by_side_do_not_mix() -> None:
    outcomes = toss(3, 200).outcomes
    together, alone = process(sequences=3), [process() for _ in range(3)]
    for outcome in outcomes:
        each = [fmn.update(outcome[i : i + 1])[0] for i, fmn in enumerate(alone)]
        np.testing.assert_allclose(together.update(outcome), each, rtol=1e-9)


def test_a_source_that_returns_need_not_be_learnt_again() -> None:
    rng = np.random.default_rng(0)
    letters = KrichevskyTrofimov(26)
    sources = rng.dirichlet(np.full(26, 0.2), size=2)
    visits = [rng.choice(26, (128, 1), p=sources[source]) for source in (0, 1, 0)]
    fmn = ForgetMeNot(ModelPool(letters))
    ptw = PartitionTree(UntrainedModels(letters))
    for letter in np.concatenate(visits[:2]):
        fmn.update(letter)
        ptw.update(letter)
    gain = sum(fmn.update(x)[0] - ptw.update(x)[0] for x in visits[2])
    assert gain > 10


@pytest.mark.parametrize("capacity", [1, 4])
def test_the_pool_is_bounded(capacity: int) -> None:
    fmn = process(capacity, sequences=5)
    for outcome in toss(5, 300).outcomes:
        fmn.update(outcome)
    held = (fmn.pool.candidates.identities >= 0).sum(axis=1)
    assert held.max() == capacity
    assert fmn.pool.identities_given.max() > capacity  # so older ones were dropped
    assert fmn.pool.candidates.models.shape[1] == 1 + capacity


def test_giving_up_hopeless_models_changes_no_prediction_that_matters() -> None:
    rng = np.random.default_rng(0)
    vectors = np.concatenate(
        [rng.normal(mean, 0.1, (32, 20)) for mean in (0.0, 3.0, 0.0, -3.0, 3.0)]
    )
    exact, quick = (
        ForgetMeNot(
            ContextPool(DiagonalGaussian(20), capacity=9, new_context_length=4),
            min_segment=4,
            min_whole_probability=0.5,
            hopeless_nats=nats,
        )
        for nats in (math.inf, 100.0)
    )
    for vector in vectors:
        np.testing.assert_allclose(
            quick.update(vector[None]), exact.update(vector[None]), rtol=1e-9
        )
        np.testing.assert_allclose(quick.posterior(), exact.posterior(), atol=1e-9)
    assert any(np.isneginf(s.log_likelihood).any() for s in quick.tree.open_segments)
    assert quick.pool.identities_given[0] == 3


@settings(max_examples=8)
@given(split=st.integers(0, 70), seed=st.integers(0, 100))
def test_a_saved_process_goes_on_as_if_never_interrupted(split: int, seed: int) -> None:
    outcomes = toss(2, 70, seed).outcomes
    whole, first, second = (process(sequences=2) for _ in range(3))
    expected = [whole.update(outcome).tolist() for outcome in outcomes]
    found = [first.update(outcome).tolist() for outcome in outcomes[:split]]
    second.load_state_dict(first.state_dict())
    found += [second.update(outcome).tolist() for outcome in outcomes[split:]]
    assert found == expected
    end, expected_end = second.state_dict(), whole.state_dict()
    assert end.keys() == expected_end.keys()
    assert all(np.array_equal(end[name], expected_end[name]) for name in end)


def test_a_state_of_another_family_is_refused() -> None:
    state = ForgetMeNot(ModelPool(DiagonalGaussian(4))).state_dict()
    with pytest.raises(CheckpointError, match=r"must have 2 statistics .* got 9"):
        process().load_state_dict(state)
