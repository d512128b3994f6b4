"""Independent streams of randomness from one seed."""

import hashlib

import numpy as np


def stream_number(name: str) -> int:
    """A number for a named stream of randomness, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:3])


def generator_of(seed: int, name: str, *index: int) -> np.random.Generator:
    """The generator of a named stream, perhaps one of several of that name."""
    return np.random.default_rng([seed, stream_number(name), *index])
