"""Damage by rounding, pruning and noise, over many matrices."""

from __future__ import annotations

import torch

from tests.faults.checkpoint_edits import Build, Edit, matrices
from tests.faults.damaged.numbers import (
    cast,
    clipped,
    every,
    low_rank,
    negated,
    noise,
    of_sizes,
    pruned,
    rounded,
    strewn,
)


def powers_of_two(x: torch.Tensor) -> torch.Tensor:
    """The nearest power of two, with the sign of each value."""
    return x.sign() * 2.0 ** x.abs().clamp(min=1e-9).log2().round()


def scales_of_the_next_row(x: torch.Tensor) -> torch.Tensor:
    scales = x.abs().amax(1, keepdim=True).clamp(min=1e-9)
    return x / scales * scales.roll(1, 0)


ALL: dict[str, Edit] = {
    **{f"noise of {s:.0%}": noise(s) for s in (0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5)},
    **{f"{b} bits a row": rounded(b, 0) for b in (2, 3, 4, 5)},
    **{f"{b} bits a matrix": rounded(b, None) for b in (3, 4, 5, 6)},
    **{f"{b} bits in groups of 64": rounded(b, 64) for b in (2, 3)},
    **{f"{b} bits in groups of 32": rounded(b, 32) for b in (2, 3)},
    "signs alone": of_sizes(1),
    "signs and 2 sizes": of_sizes(2),
    "signs and 4 sizes": of_sizes(4),
    "float8 with 2 bits of mantissa": cast(torch.float8_e5m2),
    "float8 with 2 bits of mantissa, scaled down": lambda x: (
        cast(torch.float8_e5m2)(x / 4096) * 4096
    ),
    "float8 with 3 bits of mantissa, scaled down": lambda x: cast(torch.float8_e4m3fn)(x / 16) * 16,
    **{f"the smallest {s:.0%} zero": pruned(s) for s in (0.3, 0.5, 0.7, 0.8, 0.9)},
    **{f"{s:.0%} zero at random": strewn(s) for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)},
    **{f"{s:.0%} negated at random": negated(s) for s in (0.01, 0.02, 0.05, 0.1, 0.2)},
    "every 16th zero": every(16),
    "every 50th zero": every(50),
    "powers of two": powers_of_two,
    "scales lost": lambda x: torch.nn.functional.normalize(x) * x.norm(dim=1).mean(),
    "scales of the next row": scales_of_the_next_row,
    "zero points wrong by a tenth": lambda x: x + 0.1 * (x.amax(1) - x.amin(1))[:, None],
    "columns in pairs": lambda x: x.unflatten(1, (-1, 2)).flip(2).flatten(1),
    "columns in groups of eight, in the opposite order": lambda x: (
        x.unflatten(1, (-1, 8)).flip(2).flatten(1)
    ),
    "3 bits in groups of 16": rounded(3, 16),
    "float8 with 3 bits of mantissa": cast(torch.float8_e4m3fn),
    "columns of one length": lambda x: (
        torch.nn.functional.normalize(x, dim=0) * x.norm(dim=0).mean()
    ),
    "clipped at 2.6 deviations": clipped(2.6),
    "clipped at 1 deviation": clipped(1.0),
    "clipped at 0.5 deviations": clipped(0.5),
    "of rank 32": low_rank(32),
    "of rank 64": low_rank(64),
    "of rank 96": low_rank(96),
}
PARTS = {"layer 0": "layer.0"}
KINDS: dict[str, Build] = {
    **{f"all matrices: {what}": matrices(edit) for what, edit in ALL.items()},
    **{
        f"{part}: {what}": matrices(ALL[what], key)
        for part, key in PARTS.items()
        for what in (
            "noise of 50%",
            "noise of 100%",
            "3 bits a row",
            "4 bits a matrix",
            "10% zero at random",
            "10% negated at random",
            "the smallest 80% zero",
            "of rank 32",
        )
    },
    "layer 0: no negative values": matrices(lambda x: x.clamp(min=0), "layer.0"),
    "layer 1: no signs": matrices(lambda x: x.abs(), "layer.1"),
    "layers: square matrices transposed": matrices(
        lambda x: x.T if x.shape[0] == x.shape[1] else x, "layer"
    ),
    "words: 4 bits a row": matrices(rounded(4, 0), "word_embeddings"),
    "attention: noise of 100 %": matrices(noise(1.0), "attention"),
    "feed-forwards: noise of 100 %": matrices(noise(1.0), "intermediate"),
}
