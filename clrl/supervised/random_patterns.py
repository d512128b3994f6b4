"""A linear memory for random patterns: what EWC changes where it can be worked out.

Source: Kirkpatrick et al. (2017), SI, "Random patterns", figures 2, S1 and S2. ``n``
synapses learn one pattern a step: inputs ``x_t`` of ±1/√n and a target ``y_t`` of ±1,
both random. Each step minimises ½ (y_t - x_t·w)² + (N_t/2) ||w - w_{t-1}||², hence

    w_t = w_{t-1} + r_t x_t (y_t - x_t·w_{t-1}),    r_t = 1 / (1 + N_t).

Gradient descent keeps ``N_t``; EWC's grows with the Fisher of all patterns so far,
whose diagonal is t/n. The response to pattern ``k`` at time ``t`` is y_k x_k·w_t; its
mean over all random draws is the signal, its standard deviation the noise.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

RETAINED_SNR = 1.0
"""A pattern whose signal is larger than that many times the noise is retained."""


class Responses(NamedTuple):
    """The response to each pattern at some times; NaN for patterns yet to come.

    Attributes:
        signal: Mean over draws [times, patterns].
        noise: Standard deviation over draws [times, patterns].
    """

    signal: Float64[np.ndarray, "C T"]
    noise: Float64[np.ndarray, "C T"]

    @property
    def snr(self) -> Float64[np.ndarray, "C T"]:
        """Signal over noise."""
        return np.asarray(self.signal / self.noise)


def ewc_rates(synapses: int, patterns: int) -> Float64[np.ndarray, "T"]:
    """r_t = n / (n + t): EWC's Fisher after t patterns is t/n for each synapse."""
    learnt = np.arange(1.0, patterns + 1)
    return np.asarray(synapses / (synapses + learnt))


def constant_rates(rate: float, patterns: int) -> Float64[np.ndarray, "T"]:
    """Gradient descent: the same rate for each pattern."""
    return np.full(patterns, rate)


def gradient_descent_rate(synapses: int) -> float:
    """1 / (1 + 1/n): gradient descent holds on as much as EWC at the first pattern."""
    return 1 / (1 + 1 / synapses)


def analyse(
    rates: Float64[np.ndarray, "T"], synapses: int, times: Sequence[int]
) -> Responses:
    """The responses, worked out from the rule's first two moments.

    The signal of pattern k at time t is m_k(t) = r_k ∏_{k<j≤t} (1 - r_j / n). The
    response to a pattern never seen has mean 0 and variance v = ||w||² / n with

        v_t = v_{t-1} + (r_t² (1 + v_{t-1}) - 2 r_t v_{t-1}) / n.

    The second moment q_k of the response to pattern k obeys the same rule from
    q_k(k) = (1 - r_k)² v_{k-1} + r_k² on, so that q_k - v shrinks by (1 - 2 r_t / n) a
    step, and the variance is q_k - m_k². Unlike the paper, whose analysis takes √v for
    the noise of every pattern: a pattern just learnt has hardly been disturbed.

    Args:
        rates: r_1 .. r_T.
        synapses: n.
        times: Numbers of patterns learnt, 1 to T.
    """
    power = np.zeros(len(rates) + 1)
    for t, r in enumerate(rates, start=1):
        before = power[t - 1]
        power[t] = before + (r**2 * (1 + before) - 2 * r * before) / synapses
    before, after = power[:-1], power[1:]
    at = np.array(times) - 1
    kept = np.cumprod(1 - rates / synapses)
    signal = rates * kept[at, None] / kept
    kept = np.cumprod(1 - 2 * rates / synapses)
    excess = ((1 - rates) ** 2 * before + rates**2 - after) * kept[at, None] / kept
    variance = after[at, None] + excess - signal**2
    # Where a pattern comes after the time, there is no response and no variance.
    return Responses(
        _learnt(signal, times), np.sqrt(np.maximum(_learnt(variance, times), 0))
    )


def simulate(
    rates: Float64[np.ndarray, "T"],
    synapses: int,
    times: Sequence[int],
    *,
    repeats: int,
    rng: np.random.Generator,
) -> Responses:
    """The responses in ``repeats`` memories, each with patterns of its own.

    Args:
        rates: r_1 .. r_T.
        synapses: n.
        times: Numbers of patterns learnt, 1 to T.
        repeats: Memories, at least 2.
        rng: Of the patterns.
    """
    total = np.zeros((len(times), len(rates)))
    squares = np.zeros_like(total)
    for _ in range(repeats):
        # In units of 1/√n, and each turned so that its target is 1.
        patterns = rng.choice(np.array([-1.0, 1.0]), size=(len(rates), synapses))
        responses = _weights_at(rates, patterns, times) @ patterns.T
        total += responses
        squares += responses**2
    mean = total / repeats
    deviation = np.sqrt((squares / repeats - mean**2) * repeats / (repeats - 1))
    return Responses(_learnt(mean, times), _learnt(deviation, times))


def fraction_retained(
    snr: Float64[np.ndarray, "C T"],
) -> Float64[np.ndarray, "C"]:
    """At each time the share of the patterns learnt whose SNR is above 1."""
    learnt = ~np.isnan(snr)
    retained = snr > RETAINED_SNR  # never of NaN
    return np.asarray(retained.sum(axis=1) / learnt.sum(axis=1))


def _weights_at(
    rates: Float64[np.ndarray, "T"],
    patterns: Float64[np.ndarray, "T N"],
    times: Sequence[int],
) -> Float64[np.ndarray, "C N"]:
    """The weights after so many patterns, over √n."""
    synapses = patterns.shape[1]
    weights = np.zeros(synapses)
    wanted = {time: row for row, time in enumerate(times)}
    snapshots = np.empty((len(times), synapses))
    for t, (r, x) in enumerate(zip(rates, patterns, strict=True), start=1):
        weights += (r / synapses * (1 - x @ weights)) * x
        if t in wanted:
            snapshots[wanted[t]] = weights
    return snapshots


def _learnt(
    values: Float64[np.ndarray, "C T"], times: Sequence[int]
) -> Float64[np.ndarray, "C T"]:
    """NaN where a pattern comes after the time."""
    pattern = np.arange(1, values.shape[1] + 1)
    return np.where(pattern <= np.array(times)[:, None], values, np.nan)
