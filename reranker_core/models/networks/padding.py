"""What transformers asks of a mask on the device, answered from lengths that the host knows.

transformers leaves out the mask where no row is padded, and looks for sequences that are packed
into one row. Both read values from the device, which then waits for the host in each forward.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_known = threading.local()


@contextmanager
def padding_known(padded: bool) -> Iterator[None]:
    """For forwards of this thread within the `with` block.

    Args:
        padded: whether a mask is made. It must be where a row has padding. A mask without padding
            changes no score but for rounding: attention may use another kernel.

    """
    _answer()
    before = getattr(_known, "padded", None)
    _known.padded = padded
    try:
        yield
    finally:
        _known.padded = before


@functools.cache
def _answer() -> None:
    """Put our answers before transformers' own."""
    from transformers import masking_utils

    for name in ("_ignore_causal_mask_sdpa", "_ignore_bidirectional_mask_sdpa"):
        setattr(masking_utils, name, _without_padding(getattr(masking_utils, name)))
    packed = masking_utils.find_packed_sequence_indices
    masking_utils.find_packed_sequence_indices = functools.wraps(packed)(
        lambda position_ids: packed(position_ids) if _unknown() else None
    )


def _without_padding(ignores: Callable[..., bool]) -> Callable[..., bool]:
    """The same question: unpadded masks are asked about as none, others need no question."""

    @functools.wraps(ignores)
    def answered(padding_mask: torch.Tensor | None, *args: Any, **kwargs: Any) -> bool:
        if padding_mask is None or _unknown():
            return ignores(padding_mask, *args, **kwargs)
        return False if _known.padded else ignores(None, *args, **kwargs)

    return answered


def _unknown() -> bool:
    """Whether transformers is to find out itself: outside of a block, or where it compiles."""
    return torch.compiler.is_compiling() or getattr(_known, "padded", None) is None
