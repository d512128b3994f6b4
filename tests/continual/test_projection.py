"""GEM's and A-GEM's projections against their optimality conditions."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from clrl.continual.projection import agem_projection, gem_dual, gem_projection

from .toy import seeded

MARGIN, RIDGE = 0.5, 1e-3

tasks = st.integers(1, 12)
parameters = st.integers(1, 30)
seeds = st.integers(0, 10_000)


def problem(K: int, P: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A gradient and ``K`` past ones of different size, some of them alike."""
    g = seeded(seed)
    past = torch.randn(K, P, generator=g, dtype=torch.float64)
    past = past * torch.rand(K, 1, generator=g, dtype=torch.float64) * 3
    past[K // 2] = past[0]
    return torch.randn(P, generator=g, dtype=torch.float64), past


@settings(max_examples=100)
@given(tasks, parameters, seeds, st.sampled_from([0.0, 0.1, MARGIN]))
def test_the_dual_satisfies_its_optimality_conditions(
    K: int, P: int, seed: int, margin: float
) -> None:
    gradient, past = problem(K, P, seed)
    gram, products = (past @ past.T).numpy(), (past @ gradient).numpy()
    v = gem_dual(gram, products, margin=margin, ridge=RIDGE)
    slope = (gram + RIDGE * np.eye(K)) @ v + products
    scale = 1 + np.abs(gram).max() * np.abs(v).max()
    assert (v >= margin).all()
    assert (slope >= -1e-9 * scale).all()
    assert np.abs((v - margin) * slope).max() <= 1e-9 * scale * (1 + v.max())


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(2, 20), st.integers(0, 200))
def test_the_dual_is_that_of_a_general_solver(K: int, P: int, seed: int) -> None:
    gradient, past = problem(K, P, seed)
    gram = (past @ past.T).numpy() + RIDGE * np.eye(K)
    products = (past @ gradient).numpy()

    found = minimize(
        lambda v: v @ gram @ v / 2 + products @ v,
        jac=lambda v: gram @ v + products,
        x0=np.full(K, MARGIN + 1),
        bounds=[(MARGIN, None)] * K,
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    ours = gem_dual((past @ past.T).numpy(), products, margin=MARGIN, ridge=RIDGE)
    value = ours @ gram @ ours / 2 + products @ ours
    assert value <= found.fun + 1e-8 * (1 + abs(found.fun))
    assert value == pytest.approx(found.fun, rel=1e-4, abs=1e-4)


@settings(max_examples=50)
@given(tasks, parameters, seeds, st.sampled_from([0.0, MARGIN]))
def test_the_dual_is_that_of_quadprog(K: int, P: int, seed: int, margin: float) -> None:
    """The solver of the authors' code, which is GPL and only for this test."""
    quadprog = pytest.importorskip("quadprog")
    gradient, past = problem(K, P, seed)
    gram, products = (past @ past.T).numpy(), (past @ gradient).numpy()
    expected, *_ = quadprog.solve_qp(
        gram + RIDGE * np.eye(K), -products, np.eye(K), np.full(K, margin)
    )
    ours = gem_dual(gram, products, margin=margin, ridge=RIDGE)
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=60)
@given(tasks, st.integers(20, 40), seeds, st.sampled_from([0.0, MARGIN]))
def test_what_gem_applies_opposes_no_past_gradient(
    K: int, P: int, seed: int, margin: float
) -> None:
    gradient, past = problem(K, P, seed)
    z = gem_projection(gradient, past, margin=margin, ridge=RIDGE)
    if bool((past @ gradient >= 0).all()):
        assert torch.equal(z, gradient)
        return
    # The ridge lets a product fall short of 0 by ridge times its dual variable.
    gram, products = (past @ past.T).numpy(), (past @ gradient).numpy()
    dual = gem_dual(gram, products, margin=margin, ridge=RIDGE)
    assert (past @ z >= torch.from_numpy(-RIDGE * dual) - 1e-7).all()
    assert torch.allclose(z, gradient + past.T @ torch.from_numpy(dual))


def test_one_opposed_task_without_margin_loses_exactly_its_part() -> None:
    gradient = torch.tensor([1.0, 1.0], dtype=torch.float64)
    past = torch.tensor([[-2.0, 0.0]], dtype=torch.float64)
    z = gem_projection(gradient, past, margin=0.0, ridge=1e-12)
    torch.testing.assert_close(z, torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(z, agem_projection(gradient, past[0]))


def test_the_margin_adds_at_least_its_share_of_every_past_gradient() -> None:
    gradient = torch.tensor([1.0, 0.0, 0.0])
    past = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    z = gem_projection(gradient, past, margin=0.5, ridge=1e-6)
    torch.testing.assert_close(z, torch.tensor([0.0, 1.0, 0.0]), rtol=0, atol=1e-5)


@settings(max_examples=100)
@given(st.integers(1, 30), seeds)
def test_agem_takes_away_what_opposes_the_reference_and_nothing_else(
    P: int, seed: int
) -> None:
    gradient, (reference,) = problem(1, P, seed)
    z = agem_projection(gradient, reference)
    if gradient @ reference >= 0:
        assert torch.equal(z, gradient)
    else:
        assert abs(float(z @ reference)) < 1e-9
        # What was taken away is parallel to the reference.
        taken = gradient - z
        along = (taken @ reference) / (reference @ reference) * reference
        torch.testing.assert_close(taken, along)


def test_a_reference_of_zeros_changes_nothing() -> None:
    gradient = torch.tensor([1.0, -2.0])
    assert torch.equal(agem_projection(gradient, torch.zeros(2)), gradient)


def test_nearly_equal_tasks_in_single_precision_are_no_trouble() -> None:
    one = torch.randn(1000, generator=seeded(0)) * 1e3
    past = one + 1e-4 * torch.randn(20, 1000, generator=seeded(1))
    z = gem_projection(-one, past, margin=MARGIN, ridge=RIDGE)
    assert z.isfinite().all()
    assert ((past @ z) >= -1e-3 * (one @ one)).all()
