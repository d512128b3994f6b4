"""What the C library does with freed memory, which every gradient step depends on."""

import ctypes

# Numbers of glibc's <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_LARGEST_REUSED_BYTES = 32 * 2**20  # glibc's upper limit on 64-bit machines
_MOST_KEPT_BYTES = 2**30


def keep_freed_memory() -> bool:
    """Lets freed memory of this process be used again instead of given back.

    Each update allocates and frees a few MB of activations and gradients. By default
    glibc returns them to the kernel, which clears every page again for the next update;
    that takes up to a fifth of the time of an update. At most 1 GiB is kept unused.

    Returns:
        Whether the C library took the setting; only glibc knows it.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_REUSED_BYTES)
        and mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT_BYTES)
    )
