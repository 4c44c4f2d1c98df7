"""How the C library keeps the memory of a batch for the next one."""

from __future__ import annotations

import ctypes

# As mallopt(3) numbers and explains them.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_KEPT, _AT_ONCE, _LARGEST = 256 << 20, 64 << 20, 32 << 20  # bytes; the last one is glibc's maximum


def keep_freed_memory() -> None:
    """Keep up to 256 MiB of freed memory for each thread of this process, instead of giving it back
    to the system after each layer. Getting it again costs a page fault for each 4 KiB.

    C libraries other than glibc stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LARGEST)
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_TOP_PAD, _AT_ONCE)
