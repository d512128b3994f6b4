"""The Mysterious Bag of Coins (Milan et al. (2016), section 5)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

COINS = 7
SWITCH_RATE = 0.005


class Tosses(NamedTuple):
    """Of several bags; ``oracle_loss`` in nats knows which coin is tossed."""

    outcomes: Int64[np.ndarray, "T B"]
    oracle_loss: Float64[np.ndarray, "B"]


def toss(bags: int, tosses: int, seed: int = 0) -> Tosses:
    rng = np.random.default_rng(seed)
    biases = rng.uniform(size=(bags, COINS))
    bag = np.arange(bags)
    coin = rng.integers(0, COINS, bags)
    outcomes = np.empty((tosses, bags), np.int64)
    oracle_loss = np.zeros(bags)
    for toss in range(tosses):
        is_switch = rng.random(bags) < SWITCH_RATE
        coin = np.where(is_switch, rng.integers(0, COINS, bags), coin)
        probability = biases[bag, coin]
        outcomes[toss] = rng.random(bags) < probability
        oracle_loss -= np.log(np.where(outcomes[toss], probability, 1 - probability))
    return Tosses(outcomes, oracle_loss)
