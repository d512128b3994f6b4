"""When updates are made in bfloat16."""

import copy

import pytest
import torch

from clrl.continual.network import ContinualNetwork
from clrl.continual.precision import LARGEST_ERROR, PrecisionTrial, try_precisions

from .toy import GainNetwork, ToyBatch, cross_entropy_in, toy_batch


def batch_of(seed: int) -> ToyBatch:
    return toy_batch((16, 2, 7, 7), seed)


def gradient_of(
    network: ContinualNetwork, batch: ToyBatch, precision: torch.dtype
) -> torch.Tensor:
    network.zero_grad()
    loss = cross_entropy_in(precision)(network, batch).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    found = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    network.zero_grad(set_to_none=True)
    return torch.cat(found)


def test_a_trial_measures_the_rounding_against_the_noise_of_minibatches() -> None:
    network = GainNetwork().eval()
    batches = [batch_of(seed) for seed in (3, 4, 5)]
    before = copy.deepcopy(network.state_dict())
    trial = try_precisions(network, cross_entropy_in, batches)

    plain, rounded = (
        [gradient_of(network, batch, precision) for batch in batches]
        for precision in (torch.float32, torch.bfloat16)
    )
    error = sum(float((a - b).norm()) for a, b in zip(plain, rounded, strict=True))
    noise = sum(float((plain[i] - plain[i - 1]).norm()) for i in range(3))
    assert trial.error == pytest.approx(error / noise, rel=1e-3)
    assert trial.speed_up > 0
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, before[name])


def test_what_dropout_leaves_out_is_no_error_of_rounding() -> None:
    network, batches = GainNetwork().train(), [batch_of(seed) for seed in (3, 4, 5)]
    after = torch.random.get_rng_state()
    assert 0 < try_precisions(network, cross_entropy_in, batches).error < 0.05
    assert torch.equal(torch.random.get_rng_state(), after)


@pytest.mark.parametrize(
    ("speed_up", "error", "chosen"),
    [
        (1.5, LARGEST_ERROR / 2, "bfloat16"),
        (0.5, LARGEST_ERROR / 2, "float32"),
        (1.5, LARGEST_ERROR * 2, "float32"),
        (1.5, float("nan"), "float32"),
    ],
)
def test_bfloat16_is_chosen_only_where_it_is_faster_and_accurate(
    speed_up: float, error: float, chosen: str
) -> None:
    trial = PrecisionTrial(speed_up=speed_up, error=error)
    assert trial.precision == chosen
    assert str(trial).startswith(f"precision {chosen}: ")


def test_one_batch_has_no_noise_to_compare_with() -> None:
    with pytest.raises(ValueError, match="at least 2 batches"):
        try_precisions(GainNetwork(), cross_entropy_in, [batch_of(0)])
