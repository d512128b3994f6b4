import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from clrl.report.downsample import Spans, binned, joined

series = st.lists(
    st.tuples(st.integers(0, 10**7), st.floats(-1e6, 1e6)), min_size=1, max_size=60
).map(sorted)


@given(series, st.integers(1, 20))
def test_bins_equal_their_slow_twin(points: list[tuple[int, float]], bins: int) -> None:
    steps, values = map(list, zip(*points, strict=True))
    width = (steps[-1] - steps[0] + 1) / bins
    groups: dict[int, list[tuple[int, float]]] = {}
    for step, value in points:
        in_bin = next(k for k in range(bins) if step - steps[0] < (k + 1) * width)
        groups.setdefault(in_bin, []).append((step, value))
    found = binned(np.array(steps), np.array(values), bins)
    assert len(found.mean) == len(groups) <= bins
    for k, group in enumerate(groups.values()):
        assert found.agent_steps[k] == np.mean([step for step, _ in group])
        np.testing.assert_allclose(
            found.mean[k], np.mean([v for _, v in group]), rtol=1e-9, atol=1e-6
        )
        assert found.low[k] == min(v for _, v in group)
        assert found.high[k] == max(v for _, v in group)


def test_a_series_without_values_has_no_bins() -> None:
    empty = np.empty(0)
    assert not len(binned(empty.astype(np.int64), empty, 5).mean)


@given(
    st.lists(st.integers(1, 30), min_size=2, max_size=40),
    st.integers(1, 40),
)
def test_joined_spans_cover_the_same_and_are_visible(
    lengths: list[int], least: int
) -> None:
    edges = np.cumsum(lengths)[: len(lengths) // 2 * 2]
    spans = Spans(edges[::2], edges[1::2])
    found = joined(spans, least)
    for start, end in zip(*spans, strict=True):
        assert np.any((found.starts <= start) & (end <= found.ends))
    assert np.all(found.ends - found.starts >= least)
    assert np.all(found.starts[1:] >= found.ends[:-1])
    for start, end in zip(*found, strict=True):
        for point in range(int(start), int(end)):
            gap = np.maximum(spans.starts - point, point - spans.ends)
            assert gap.min() < least
