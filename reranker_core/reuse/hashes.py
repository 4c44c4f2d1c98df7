"""The hash of a pair: what its score depends on besides the fingerprint, in 128 bits.

Each text is hashed alone with BLAKE2b; a pair's hash is that of the hashes of its query, passage
and instruction. So a text of many pairs is read once, and the parts of a pair cannot be confused:
each has a fixed length. A pair without an instruction of its own differs from one with an empty
instruction. There is no salt: equal texts have equal hashes in all runs.

Among n distinct pairs, two have the same hash with a probability of about n² / 2^129: 1.5e-21 for
10^9 pairs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from reranker_core.input.pairs import Pairs

Hashes = npt.NDArray[np.uint64]  # shape (D, 2): the first 8 bytes of each as a number, the last 8
BYTES = 16
_NO_INSTRUCTION = bytes(BYTES)


def pair_hashes(pairs: Pairs) -> Hashes:
    """The hash of each distinct pair, shape (D, 2)."""
    queries, passages = _of_texts(pairs.queries), _of_texts(pairs.passages)
    columns = [queries[pairs.query_of], passages[pairs.passage_of]]
    if pairs.instructions is None:
        columns.append(np.frombuffer(_NO_INSTRUCTION * len(pairs.query_of), np.uint8))
    else:
        columns.append(_of_texts(pairs.instructions)[pairs.query_of])
    rows = np.hstack([column.reshape(-1, BYTES) for column in columns])
    whole = rows.tobytes()
    width = rows.shape[1]
    return numbers(_hash(whole[at : at + width]) for at in range(0, len(whole), width))


def numbers(hashes: Iterable[bytes]) -> Hashes:
    """Hashes as pairs of numbers, which sort as the bytes do."""
    return np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64).reshape(-1, 2)


def in_order(hashes: Hashes) -> npt.NDArray[np.int64]:
    """The order that sorts hashes."""
    return np.lexsort((hashes[:, 1], hashes[:, 0]))


def _hash(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=BYTES).digest()


def _of_texts(texts: Iterable[str | None]) -> npt.NDArray[np.uint8]:
    hashes = [_NO_INSTRUCTION if text is None else _hash(text.encode()) for text in texts]
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, BYTES)
