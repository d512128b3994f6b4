"""The random-pattern memory: the numbers of the analysis, and the simulation's."""

import numpy as np
import pytest

from clrl.supervised.random_patterns import (
    analyse,
    constant_rates,
    ewc_rates,
    fraction_retained,
    gradient_descent_rate,
    simulate,
)

TIMES = (100, 500, 1_000, 2_000, 4_000)
FIRST_PATTERN = {
    "ewc": (3.09, 1.31, 0.90, 0.63, 0.45),
    "gd": (2.94, 0.97, 0.46, 0.15, 0.02),
}
SIMULATED = {
    "ewc": (2.99, 1.38, 0.88, 0.61, 0.44),
    "gd": (3.13, 1.07, 0.50, 0.21, 0.04),
}


def rates(method: str, synapses: int, patterns: int) -> np.ndarray:
    if method == "ewc":
        return ewc_rates(synapses, patterns)
    return constant_rates(gradient_descent_rate(synapses), patterns)


@pytest.mark.parametrize("method", ["ewc", "gd"])
def test_the_analysis_gives_the_known_snr_of_the_first_pattern(method: str) -> None:
    snr = analyse(rates(method, 1_000, 4_000), 1_000, TIMES).snr[:, 0]
    np.testing.assert_allclose(snr, FIRST_PATTERN[method], rtol=0.05, atol=0.006)


def test_the_signal_of_ewc_is_the_same_for_all_patterns() -> None:
    n = 1_000
    times = range(50, 2_001, 50)
    signals = analyse(ewc_rates(n, 2_000), n, times).signal
    for time, signal in zip(times, signals, strict=True):
        np.testing.assert_allclose(signal[:time], n / (n + time))
        assert np.isnan(signal[time:]).all()


def test_gradient_descent_forgets_the_oldest_patterns_first() -> None:
    n = 1_000
    signals = analyse(rates("gd", n, 2_000), n, (2_000,)).signal[0]
    assert np.all(np.diff(signals) > 0)
    np.testing.assert_allclose(signals[1_000], np.exp(-1), rtol=0.01)


def test_past_capacity_ewc_remembers_less_than_gradient_descent() -> None:
    n = 1_000
    times = (500, 800, 2_000)
    of_ewc, of_gd = (
        fraction_retained(analyse(rates(method, n, 2_000), n, times).snr)
        for method in ("ewc", "gd")
    )
    assert of_ewc[0] == of_ewc[1] == 1.0
    assert of_gd[1] < of_gd[0] < 1.0
    assert of_ewc[2] < 0.02
    assert of_gd[2] > 0.1


@pytest.mark.parametrize("method", ["ewc", "gd"])
def test_the_simulation_agrees_with_the_analysis(method: str) -> None:
    n, repeats, times = 100, 300, (50, 100, 200)
    expected = analyse(rates(method, n, 200), n, times)
    rng = np.random.default_rng(0)
    got = simulate(rates(method, n, 200), n, times, repeats=repeats, rng=rng)
    for row, time in enumerate(times):
        signal, noise = expected.signal[row, :time], expected.noise[row, :time]
        standard_error = noise / np.sqrt(repeats)
        assert np.abs(got.signal[row, :time] - signal).max() < 5 * standard_error.max()
        # The spread of an estimated standard deviation is a share 1/√(2 repeats) of it.
        assert np.abs(got.noise[row, :time] / noise - 1).max() < 5 / np.sqrt(
            2 * repeats
        )
        assert got.noise[row, :time].mean() == pytest.approx(noise.mean(), rel=0.03)


def test_the_simulation_is_the_rule_step_by_step() -> None:
    n, patterns = 7, 5
    r = ewc_rates(n, patterns)
    got = simulate(r, n, (3, 5), repeats=2, rng=np.random.default_rng(3))
    rng = np.random.default_rng(3)
    responses = []
    for _ in range(2):
        x = rng.choice(np.array([-1.0, 1.0]), size=(patterns, n)) / np.sqrt(n)
        w = np.zeros(n)
        for t in range(patterns):
            w = w + r[t] * x[t] * (1 - x[t] @ w)
            if t in {2, 4}:
                responses.append(x @ w)
    at_3, at_5 = np.array(responses[::2]), np.array(responses[1::2])
    np.testing.assert_allclose(got.signal[0, :3], at_3.mean(axis=0)[:3])
    np.testing.assert_allclose(got.signal[1], at_5.mean(axis=0))
    np.testing.assert_allclose(got.noise[1], at_5.std(axis=0, ddof=1))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ewc", "gd"])
def test_400_runs_give_the_snr_of_the_first_patterns(method: str) -> None:
    rng = np.random.default_rng(0)
    got = simulate(rates(method, 1_000, 2_000), 1_000, TIMES[:4], repeats=400, rng=rng)
    # One pattern's SNR is off by 0.05, as it was where the numbers come from.
    np.testing.assert_allclose(got.snr[:, 0], SIMULATED[method][:4], atol=0.25)
    # At first the noise is smaller than in the analysis.
    later = got.snr[1:, :25].mean(axis=1)
    np.testing.assert_allclose(later, FIRST_PATTERN[method][1:4], rtol=0.05, atol=0.012)
