"""Values that stand in two places: layers saved twice, blocks of a file written twice."""

from __future__ import annotations

from collections import defaultdict

import torch

from reranker_core.checks import Check
from reranker_core.preflight.matrices import LAYER, Matrices, finding

_COMPARED = 64
# Blocks of a file are found at anchors, which are chosen by their value: one in 256. The same
# values behind several anchors, all at the same distance, are a block of some thousand bytes.
_WINDOW, _ANCHOR_BITS = 8, 8
_LEAST_ANCHORS = 16
_CHUNK = 1 << 22
_MIX = 0x9E3779B1 - (1 << 32)  # the golden ratio in 32 bits, odd


def check_copies(matrices: Matrices) -> list[Check]:
    """No two equal layers, and no block of values twice."""
    return [
        finding(
            "layers_differ",
            _twins(matrices),
            "no two layers with equal matrices",
            "One layer was saved twice, in place of another layer. Use the checkpoint that "
            "training wrote. If layers were duplicated intentionally, set "
            "preflight.checks.weights=warn.",
        ),
        finding(
            "no_repeats",
            _repeats(matrices),
            "no block of values that occurs twice",
            "A block of the file was written twice, in place of another block. Copy the checkpoint "
            "again and compare digests.",
        ),
    ]


def _twins(matrices: Matrices) -> list[str]:
    """Equal matrices with the same role in two layers."""
    places: dict[tuple[str, tuple[float, ...]], list[str]] = defaultdict(list)
    for name, weight in matrices.items():
        if LAYER.search(name):
            flat = weight.flatten()
            some = flat[:: max(1, len(flat) // _COMPARED)][:_COMPARED]
            if some.any():
                places[LAYER.sub(".*.", name), tuple(some.tolist())].append(name)
    return [
        f"{first} = {other}"
        for first, *others in places.values()
        for other in others
        if torch.equal(matrices[first], matrices[other])
    ]


def _repeats(matrices: Matrices) -> list[str]:
    """Matrices with a block that stands somewhere else, too.

    Copies that people make do not count: rows of an embedding table, such as positions that were
    extended by repetition, and whole matrices.
    """
    names = list(matrices)
    found = [_anchors(matrices[name]) for name in names]
    if not found:
        return []
    keys = torch.cat([key for key, _ in found])
    places = torch.cat([place for _, place in found])
    owners = torch.repeat_interleave(
        torch.arange(len(names), device=keys.device),
        torch.tensor([len(key) for key, _ in found], device=keys.device),
    )
    order = keys.argsort(stable=True)
    keys, places, owners = keys[order], places[order], owners[order]
    # Pairs only: what stands in many places is a constant row or a short pattern.
    same = keys[1:] == keys[:-1]
    before = torch.nn.functional.pad(same[:-1], (1, 0))
    after = torch.nn.functional.pad(same[1:], (0, 1))
    first = (same & ~before & ~after).nonzero().flatten()
    distance = places[first + 1] - places[first]
    triples = torch.stack([owners[first], owners[first + 1], distance], 1)
    blocks, counts = triples.unique(dim=0, return_counts=True)
    return sorted(
        {
            names[other]
            for one, other, far in blocks[counts >= _LEAST_ANCHORS].tolist()
            if not _is_intended(matrices, names[one], names[other], far)
        }
    )


def _is_intended(matrices: Matrices, one: str, other: str, distance: int) -> bool:
    if one == other:
        return not LAYER.search(one) and distance % matrices[one].shape[1] == 0
    tables = not LAYER.search(one) and not LAYER.search(other)
    return tables or _equal(matrices[one], matrices[other])


def _anchors(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Hashes of the values behind each anchor of a matrix, and the places of the anchors; both of
    type int64, shape (anchors,).
    """
    bits = weight.flatten().view(torch.int32 if weight.element_size() == 4 else torch.int16)
    chosen = [
        begin + ((chunk.int() * _MIX) >> (32 - _ANCHOR_BITS) == 0).nonzero().flatten()
        for begin, chunk in zip(range(0, len(bits), _CHUNK), bits.split(_CHUNK), strict=True)
    ]
    places = torch.cat(chosen)
    if len(places) > len(bits) >> (_ANCHOR_BITS - 2):  # a few values: what repeats means nothing
        places = places[:0]
    places = places[places <= len(bits) - _WINDOW]
    values = torch.stack([bits[places + i].long() for i in range(_WINDOW)], 1)
    varied = (values[:, 1:] != values[:, :-1]).sum(1) >= _WINDOW - 2
    values, places = values[varied], places[varied]
    key = values[:, 0].clone()
    for i in range(1, _WINDOW):
        key = key * 6364136223846793005 + values[:, i]  # wraps, as in a congruential generator
    return key, places


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)
