import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clrl.recognition.density import DiagonalGaussian, KrichevskyTrofimov
from clrl.recognition.partition_tree import PartitionTree, UntrainedModels
from clrl.recognition.segment import Segment


def binary_partitions(start: int, height: int) -> Iterator[tuple[list[range], int]]:
    """All partitions of a tree's span with the number of choices that describe each."""
    whole = [range(start, start + 2**height)]
    if height == 0:
        yield whole, 0
        return
    yield whole, 1
    half = start + 2 ** (height - 1)
    for left, left_choices in binary_partitions(start, height - 1):
        for right, right_choices in binary_partitions(half, height - 1):
            yield left + right, 1 + left_choices + right_choices


def kt_probability(bits: list[int]) -> float:
    probability, counts = 1.0, [0.5, 0.5]
    for bit in bits:
        probability *= counts[bit] / sum(counts)
        counts[bit] += 1
    return probability


def ptw_by_enumeration(bits: list[int], height: int) -> float:
    total = 0.0
    for segments, choices in binary_partitions(0, height):
        probability = 0.5**choices
        for segment in segments:
            probability *= kt_probability([bits[i] for i in segment if i < len(bits)])
        total += probability
    return total


def binary_tree(height: int = 0) -> PartitionTree:
    return PartitionTree(UntrainedModels(KrichevskyTrofimov(2)), height)


def log_loss(tree: PartitionTree, bits: list[int]) -> float:
    return -float(sum(tree.update(np.array([bit]))[0] for bit in bits))


bits_up_to_16 = st.lists(st.integers(0, 1), min_size=1, max_size=16)


def test_the_partitions_are_all_there() -> None:
    counts = [len(list(binary_partitions(0, height))) for height in range(5)]
    assert counts == [1, 2, 5, 26, 677]


@settings(max_examples=40)
@given(bits=bits_up_to_16)
def test_a_fixed_tree_agrees_with_enumerating_all_partitions(bits: list[int]) -> None:
    found = math.exp(-log_loss(binary_tree(height=4), bits))
    assert math.isclose(found, ptw_by_enumeration(bits, 4), rel_tol=1e-9)


@settings(max_examples=20)
@given(bits=bits_up_to_16)
def test_a_growing_tree_predicts_as_the_smallest_that_spans_the_stream(
    bits: list[int],
) -> None:
    tree = binary_tree()
    for seen, bit in enumerate(bits):
        height = seen.bit_length()
        expected = ptw_by_enumeration(bits[: seen + 1], height)
        expected /= ptw_by_enumeration(bits[:seen], height)
        found = math.exp(tree.update(np.array([bit]))[0])
        assert math.isclose(found, expected, rel_tol=1e-9)


@settings(max_examples=30)
@given(bits=st.lists(st.integers(0, 1), max_size=70), height=st.integers(0, 3))
def test_the_predictive_sums_to_one_and_is_what_update_returns(
    bits: list[int], height: int
) -> None:
    tree = binary_tree(height)
    for bit in bits:
        each = [tree.log_predictive(np.array([symbol]))[0] for symbol in (0, 1)]
        assert math.isclose(np.exp(each).sum(), 1, rel_tol=1e-9)
        assert math.isclose(tree.update(np.array([bit]))[0], each[bit], abs_tol=1e-9)
        total = np.exp(tree.log_segment_probabilities()).sum()
        assert math.isclose(total, 1, rel_tol=1e-9)


@pytest.mark.parametrize("observations", [1, 2, 3, 8, 21, 64])
def test_nodes_that_share_a_segment_add_up(observations: int) -> None:
    tree = PartitionTree(UntrainedModels(KrichevskyTrofimov(2), sequences=2))
    for column in np.random.default_rng(0).integers(0, 2, (observations, 2)):
        tree.update(column)
    expected: dict[Segment, np.ndarray] = {}
    for segment, log_probability in zip(
        tree.segments, tree.log_segment_probabilities(), strict=True
    ):
        expected[segment] = expected.get(segment, 0) + np.exp(log_probability)
    segments, probabilities = tree.segment_probabilities()
    starts = [segment.start for segment in segments]
    assert starts == sorted(starts)
    assert set(segments) == set(expected)
    for segment, probability in zip(segments, probabilities, strict=True):
        np.testing.assert_allclose(probability, expected[segment], rtol=1e-12)
    np.testing.assert_allclose(probabilities.sum(axis=0), 1, rtol=1e-9)


def test_sequences_side_by_side_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2, (3, 40))
    tree = PartitionTree(UntrainedModels(KrichevskyTrofimov(2), sequences=3))
    together = -sum(tree.update(column) for column in bits.T)
    alone = [log_loss(binary_tree(), row.tolist()) for row in bits]
    np.testing.assert_allclose(together, alone, rtol=1e-9)


@pytest.mark.parametrize("observations", [100, 1000])
def test_memory_is_logarithmic_in_the_stream(observations: int) -> None:
    tree = binary_tree()
    log_loss(tree, [0] * observations)
    assert tree.height == math.ceil(math.log2(observations))
    assert len(tree.open_segments) <= tree.height + 1


def test_a_switch_costs_no_more_than_the_bound() -> None:
    # Veness et al. (2013), theorem 1: the refinement of a partition into T segments
    # that the tree holds has at most T (ceil(log2 n) + 1) of them, and is described
    # by T (ceil(log2 n) + 3) bits.
    bits = [0] * 300 + [1] * 500 + [0] * 224
    levels = math.ceil(math.log2(len(bits)))
    segments = 3 * (levels + 1)
    kt_cost = segments * (math.log(len(bits)) / 2 + math.log(2))
    description = 3 * (levels + 3) * math.log(2)
    loss = log_loss(binary_tree(height=levels), bits)
    assert loss <= kt_cost + description
    assert loss < log_loss_of_kt(bits) / 5


def log_loss_of_kt(bits: list[int]) -> float:
    counts, loss = [0.5, 0.5], 0.0
    for bit in bits:
        loss -= math.log(counts[bit] / sum(counts))
        counts[bit] += 1
    return loss


def test_a_gaussian_stream_is_cut_where_it_jumps() -> None:
    rng = np.random.default_rng(1)
    tree = PartitionTree(UntrainedModels(DiagonalGaussian(2)))
    for mean, length in ((0.0, 96), (5.0, 33)):
        for vector in rng.normal(mean, 0.3, (length, 2)):
            tree.update(vector[None])
    starts = [segment.start for segment in tree.segments]
    probabilities = np.exp(tree.log_segment_probabilities()[:, 0])
    # Segments that began before the jump at 96 no longer explain the newest value.
    assert sum(p for s, p in zip(starts, probabilities, strict=True) if s < 96) < 1e-6
