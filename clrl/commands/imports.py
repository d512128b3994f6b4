"""Imports that do not wait for the garbage collector."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """For the first imports of PyTorch and what goes with it; later on, nothing.

    They make some 350,000 objects that stay for good. The collector would go through
    all of them again and again, while they are made and in what follows.
    """
    if "torch" in sys.modules:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()  # collections no longer look at what there is now
        gc.enable()
