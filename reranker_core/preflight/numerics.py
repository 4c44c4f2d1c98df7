"""Checks of the arithmetic, in the number format and on the device of the run."""

from __future__ import annotations

import numpy as np

from reranker_core.checks import Check
from reranker_core.models.scores import Scores
from reranker_core.preflight.canaries import ENGLISH, grid, lengthening
from reranker_core.preflight.probe import Probe

# Scores that differ by less than this share of their size are constant but for rounding.
LEAST_SPAN = 1e-4
# All as shares of the canaries' span of scores. In float32 CPU kernels may sum in another order
# when threads are scarce (5e-6 was seen); dropout, a wrong mask or wrong positions change far more.
_EXACT = 5e-3
# Half precision has 8 (bfloat16) or 11 bits; a dozen layers of it moved scores by up to 2 %.
_HALF_ALONE = 0.03
_HALF_FLOAT32 = 0.05
_AS_MUCH = 2  # times the rounding of a score alone
_PADDED = (
    "The padding is not masked, or the positions count it. The model's code is wrong, or the "
    "tokenizer's pad token does not match the model. For a language model, try "
    "score.share_prefixes=false."
)
_PACKED = (
    "torch's attention for batches without padding computes something else on this GPU. Set "
    "score.reproducible=true: then batches are padded. For a language model, first try "
    "score.share_prefixes=false."
)


def check_numerics(probe: Probe) -> tuple[list[Check], Scores]:
    """Finite at all lengths, repeatable, independent of the batch, close to float32; the same to
    the bit in any order, where the run promises that.

    Also returns the scores of `grid(ENGLISH)`, which other checks look at. A canary that had to be
    rescued counts as not finite: in a run it would mean scoring most rows twice.
    """
    pairs = grid(ENGLISH)
    first, again = probe.score_texts(pairs), probe.score_texts(pairs)
    span = _span(first.values)
    some = [*range(0, len(pairs), len(ENGLISH) + 1), *range(len(ENGLISH) - 1)]  # own and other
    chosen = [pairs[i] for i in some]
    alone = probe.alone(chosen)
    exact = probe.dtype == "float32"
    reference = alone if exact else probe.reference(chosen)
    # Many layers round differently in another kernel, as they do in another number format.
    rounding = _AS_MUCH * float(np.nan_to_num(np.abs(alone - reference)).max())
    share = _EXACT if exact else min(max(_HALF_ALONE, rounding / span), _AS_MUCH * _HALF_FLOAT32)
    found = [
        _check_finite(probe, first),
        Check(
            "numerics",
            "repeatable",
            _within(first.values, again.values, _EXACT * span),
            f"two forward passes differ by {_apart(first.values, again.values, span)}",
            f"equal scores for equal input, within {_EXACT:.1%}",
            "The model computes something at random, such as dropout in custom code. Correct "
            "this code, or use another model.",
        ),
        Check(
            "numerics",
            "same_alone_and_in_a_batch",
            _within(first.values[some], alone, share * span),
            f"scores alone and in a batch differ by {_apart(first.values[some], alone, span)}",
            f"the same score alone and in any batch, within {share:.1%}",
            _PACKED if probe.packed else _PADDED,
        ),
    ]
    if probe.reproducible:
        found.append(_check_bits(probe))
    if not exact:
        found.append(
            Check(
                "numerics",
                "close_to_float32",
                _within(first.values[some], reference, _HALF_FLOAT32 * span),
                f"{probe.dtype} and float32 differ by "
                f"{_apart(first.values[some], reference, span)}",
                f"at most {_HALF_FLOAT32:.1%}",
                "Set model.dtype=float32. If it is float16 now, bfloat16 may be enough.",
            )
        )
    return found, first


def _check_finite(probe: Probe, first: Scores) -> Check:
    # Words enough that the pair is cut at max_length.
    query, passage = ENGLISH[0]
    longest = (query, " ".join([passage] * max(1, probe.max_length // 8)))
    extremes = probe.score_texts([("", ""), *[longest] * probe.largest_batch])
    bad = sum(s.rescued + int(np.isnan(s.values).sum()) for s in (first, extremes))
    total = len(first.values) + len(extremes.values)
    return Check(
        "numerics",
        "finite",
        not bad,
        f"{bad} of {total} canary scores are not finite"
        if bad
        else f"all {total} canary scores are finite",
        f"finite scores for all pairs, from the shortest to a full batch with {probe.max_length} "
        "tokens per pair",
        "Set model.dtype=bfloat16 or float32. If it is float32 already, the weights are damaged.",
    )


def _check_bits(probe: Probe) -> Check:
    pairs = lengthening(ENGLISH)
    own = pairs[:: len(ENGLISH)]  # one of each length
    as_run = probe.score_texts(pairs).values
    backward = probe.score_texts(pairs[::-1], threads=1).values[::-1]
    alone = np.concatenate([probe.score_texts([pair]).values for pair in own])
    differ = _other_bits(as_run, backward), _other_bits(as_run[:: len(ENGLISH)], alone)
    return Check(
        "numerics",
        "same_bits",
        not sum(differ),
        f"{differ[0]} of {len(pairs)} scores have different bits when computed in reverse order "
        f"with one thread, {differ[1]} of {len(own)} when computed in another batch",
        "the same bits in any batch, as score.reproducible=true promises",
        "The kernels of this hardware sum in a different order for different numbers of rows or "
        "threads. Some kernels do this for a narrow model on many threads. Lower "
        "replicas.num_cpus, or set score.reproducible=false. In a notebook, set "
        "MKL_CBWR=AUTO,STRICT before Python starts.",
    )


def _other_bits(one: np.ndarray, other: np.ndarray) -> int:
    return sum(a.tobytes() != b.tobytes() for a, b in zip(one, other, strict=True))


def _span(scores: np.ndarray) -> float:
    """What differences are held against. Constant scores have no span; that they are constant is
    for `meaning/not_constant` to say.
    """
    return max(float(np.ptp(scores)), LEAST_SPAN * 10 * float(np.abs(scores).max()))


def _within(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    """Scores that are not finite are for the check of finiteness."""
    return not np.abs(one - other).max() > tolerance


def _apart(one: np.ndarray, other: np.ndarray, span: float) -> str:
    difference = float(np.abs(one - other).max())
    return f"up to {difference:.3g}, {difference / (span or 1):.2%} of the canaries' span"
