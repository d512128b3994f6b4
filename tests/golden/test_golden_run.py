"""The results of a fixed seed are what they were when the reference was written."""

import pytest

from .golden_run import CONFIG, Golden, arithmetic, golden_of, read_reference

pytestmark = pytest.mark.slow

ROUNDING = 0.02
"""By how much losses and norms may differ between processors, relative to themselves:
200 updates apart, after Adam's first steps, which are the signs of gradients."""


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Golden:
    return golden_of(tmp_path_factory.mktemp("golden"))


@pytest.fixture(scope="module")
def reference() -> Golden:
    return read_reference()


def test_every_game_was_played_and_learnt(reference: Golden) -> None:
    assert len(reference.numbers) >= len(CONFIG.games) * 2
    assert all(loss > 0 for loss, _, _ in reference.numbers)
    assert any(penalty > 0 for _, penalty, _ in reference.numbers)


def test_play_and_labels_are_the_same_on_every_machine(
    golden: Golden, reference: Golden
) -> None:
    assert golden.played == reference.played


def test_losses_and_norms_are_the_same_up_to_rounding(
    golden: Golden, reference: Golden
) -> None:
    assert len(golden.numbers) == len(reference.numbers)
    for ours, theirs in zip(golden.numbers, reference.numbers, strict=True):
        assert ours == pytest.approx(theirs, rel=ROUNDING, abs=1e-7)


def test_the_bits_are_the_same_where_the_arithmetic_is(
    golden: Golden, reference: Golden
) -> None:
    same_arithmetic = arithmetic() == reference.arithmetic
    assert (golden.bits == reference.bits) or not same_arithmetic
