import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrl.records import Label
from clrl.summary_visits import (
    RandomSummary,
    VisitSummary,
    learned_games,
    majority_label,
    standard_error,
)


def test_a_game_is_learnt_three_combined_standard_errors_above_random() -> None:
    def learnt(mean: float, error: float | None) -> bool:
        visit = VisitSummary(
            game="pong",
            label=0,
            agent_steps=1,
            episodes=9,
            return_mean=mean,
            return_standard_error=error,
            penalty_mean=None,
        )
        random = RandomSummary(mean=0.0, standard_error=4.0, episodes=9)
        return learned_games([visit], {"pong": random}) == ("pong",)

    assert learnt(15.0, 3.0)
    assert not learnt(14.9, 3.0)
    assert not learnt(99.0, None)


def test_equal_scores_without_any_spread_are_not_learning() -> None:
    visit = VisitSummary(
        game="pong",
        label=0,
        agent_steps=1,
        episodes=9,
        return_mean=-21.0,
        return_standard_error=0.0,
        penalty_mean=None,
    )
    random = RandomSummary(mean=-21.0, standard_error=0.0, episodes=9)
    assert learned_games([visit], {"pong": random}) == ()


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 3)), min_size=1, max_size=9),
    st.integers(0, 40),
    st.integers(1, 20),
)
def test_the_majority_label_agrees_with_counting_every_step(
    stretches: list[tuple[int, int]], start: int, length: int
) -> None:
    by_step: list[int] = []
    labels = []
    for steps, value in stretches:
        labels.append(Label(agent_steps=len(by_step), label=value))
        by_step += [value] * steps
    by_step += [by_step[-1]] * 100
    seen = by_step[start : start + length]
    majority = majority_label(labels, start, start + length)
    assert seen.count(majority) == max(seen.count(value) for value in seen)


def test_the_standard_error_by_hand() -> None:
    assert standard_error([1.0, 3.0]) == pytest.approx(1.0)
    assert standard_error([1.0]) is None
