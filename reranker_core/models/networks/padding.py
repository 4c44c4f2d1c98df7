"""Tell transformers whether rows have padding, so that it does not read this from the GPU.

transformers makes no mask if no row has padding, and checks whether a row contains several packed
sequences. For both it reads values from the device. Then host and device wait for each other in
each forward. The host knows the lengths, so it can answer instead.
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
    """Set the answer for all forwards of this thread inside the `with` block.

    Args:
        padded: whether transformers makes a mask. It must be True if a row has padding. A mask
            without padding changes scores only by rounding, because attention may use another
            kernel.

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
