"""Damaged bytes of the weight file: downloads, copies, disks and memory that lose some."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path

from tests.faults.checkpoint_edits import MODEL, Build, changed

Change = Callable[[bytearray], object]
PAGE = 4096


def numbers(edit: Change) -> Build:
    """Other bytes behind the header, of the same number."""

    def change(folder: Path) -> None:
        data = (folder / MODEL).read_bytes()
        begin = struct.unpack("<Q", data[:8])[0] + 8
        behind = bytearray(data[begin:])
        edit(behind)
        assert len(behind) == len(data) - begin
        (folder / MODEL).write_bytes(data[:begin] + behind)

    return changed(change)


def block(at: float, size: int, filled: Callable[[bytearray, int], bytes]) -> Build:
    """A block at a share of the file, on a page's border, with other bytes."""

    def edit(data: bytearray) -> None:
        start = int(len(data) * at) // PAGE * PAGE
        size_here = min(size, len(data) - start)
        data[start : start + size_here] = filled(data, start)[:size_here]

    return numbers(edit)


def zeros(size: int) -> Callable[[bytearray, int], bytes]:
    return lambda data, start: bytes(size)


def noise(size: int) -> Callable[[bytearray, int], bytes]:
    return lambda data, start: random.Random(start).randbytes(size)


def before(size: int) -> Callable[[bytearray, int], bytes]:
    """What stands just before the block, once more."""
    return lambda data, start: bytes(data[start - size : start])


def first_page_again(size: int) -> Callable[[bytearray, int], bytes]:
    return lambda data, start: bytes(data[start : start + PAGE]) * (size // PAGE)


def elsewhere(size: int) -> Callable[[bytearray, int], bytes]:
    """What stands at 10 % of the file."""

    def filled(data: bytearray, start: int) -> bytes:
        place = len(data) // 10 // PAGE * PAGE
        return bytes(data[place : place + size])

    return filled


def moved(size: int, by: int) -> Callable[[bytearray, int], bytes]:
    def filled(data: bytearray, start: int) -> bytes:
        return bytes(data[start - by : start - by + size])

    return filled


def text_mode(size: int) -> Callable[[bytearray, int], bytes]:
    """High bits lost, as in a transfer of seven bits."""
    return lambda data, start: bytes(byte & 0x7F for byte in data[start : start + size])


def swapped(size: int) -> Callable[[bytearray, int], bytes]:
    """The two bytes of each number exchanged."""

    def filled(data: bytearray, start: int) -> bytes:
        part = data[start : start + size]
        part[::2], part[1::2] = part[1::2], part[::2]
        return bytes(part)

    return filled


def bits(count: int, of: tuple[int, ...]) -> Build:
    """Bits flipped at random places: `of` are their positions in a number of 16."""

    def edit(data: bytearray) -> None:
        draw = random.Random(1)
        for _ in range(count):
            number, bit = draw.randrange(len(data) // 2), draw.choice(of)
            data[2 * number + bit // 8] ^= 1 << bit % 8

    return numbers(edit)


def low_bytes_lost(data: bytearray) -> None:
    data[::2] = bytes(len(data[::2]))


def pages(order: Callable[[list[bytes]], list[bytes]], at: float, size: int) -> Build:
    """Pages of a block in another order."""

    def edit(data: bytearray) -> None:
        start = int(len(data) * at) // PAGE * PAGE
        old = [bytes(data[i : i + PAGE]) for i in range(start, start + size, PAGE)]
        data[start : start + size] = b"".join(order(old))

    return numbers(edit)


def names_exchanged(one: str, other: str) -> Build:
    """The header gives two tensors each other's place."""

    def change(folder: Path) -> None:
        data = (folder / MODEL).read_bytes()
        length = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + length])
        header[one], header[other] = header[other], header[one]
        text = json.dumps(header, separators=(",", ":")).encode().ljust(length)
        (folder / MODEL).write_bytes(data[:8] + text[:length] + data[8 + length :])

    return changed(change)


LAYER = "bert.encoder.layer."
SIZES = {"16 KiB": 1 << 14, "64 KiB": 1 << 16, "256 KiB": 1 << 18}
PLACES = (0.4, 0.6, 0.97)
FILLED = {
    "zeros": zeros,
    "the bytes before it again": before,
    "its first page again": first_page_again,
    "bytes of another place": elsewhere,
    "the two bytes of each number exchanged": swapped,
    "the highest bit of each byte lost": text_mode,
}
KINDS: dict[str, Build] = {
    **{
        f"{size} at {at:.0%} of the file: {what}": block(at, SIZES[size], filled(SIZES[size]))
        for what, filled in FILLED.items()
        for at in PLACES
        for size in (SIZES if what == "zeros" else ("64 KiB",))
    },
    "1 MiB at 10 % of the file: zeros": block(0.1, 1 << 20, zeros(1 << 20)),
    "the last 2 % of the file: zeros": block(0.98, 1 << 20, zeros(1 << 20)),
    "4 KiB at 95 % of the file: zeros": block(0.95, 1 << 12, zeros(1 << 12)),
    "64 KiB at 40 % of the file: random bytes": block(0.4, 1 << 16, noise(1 << 16)),
    "4 KiB at 90 % of the file: random bytes": block(0.9, 1 << 12, noise(1 << 12)),
    "256 KiB at 40 % of the file moved by two bytes": block(0.4, 1 << 18, moved(1 << 18, 2)),
    "256 KiB at 40 % of the file moved by a row": block(0.4, 1 << 18, moved(1 << 18, 384)),
    "256 KiB at 5 % of the file moved by two bytes": block(0.05, 1 << 18, moved(1 << 18, 2)),
    "256 KiB at 5 % of the file moved by a page": block(0.05, 1 << 18, moved(1 << 18, PAGE)),
    "pages of 512 KiB at 30 % in the opposite order": pages(lambda x: x[::-1], 0.3, 1 << 19),
    "pages of 512 KiB at 5 % in the opposite order": pages(lambda x: x[::-1], 0.05, 1 << 19),
    "pages of 256 KiB at 85 % in pairs": pages(
        lambda x: [page for pair in zip(x[1::2], x[::2], strict=True) for page in pair],
        0.8,
        1 << 18,
    ),
    "20 signs flipped": bits(20, (15,)),
    "10,000 signs flipped": bits(10_000, (15,)),
    "100,000 signs flipped": bits(100_000, (15,)),
    "1,000 low bits of exponents flipped": bits(1_000, (10, 11)),
    "10,000 low bits of exponents flipped": bits(10_000, (10, 11)),
    "200 exponents flipped": bits(200, (13,)),
    "20 high bits of exponents flipped": bits(20, (14,)),
    "3 high bits of exponents flipped": bits(3, (14,)),
    "100,000 bits of mantissas flipped": bits(100_000, (7, 8, 9)),
    "the low byte of each number lost": numbers(low_bytes_lost),
    "names of query and key exchanged, layer 0": names_exchanged(
        f"{LAYER}0.attention.self.query.weight", f"{LAYER}0.attention.self.key.weight"
    ),
    "names of query and value exchanged, layer 1": names_exchanged(
        f"{LAYER}1.attention.self.query.weight", f"{LAYER}1.attention.self.value.weight"
    ),
    "names of value and output exchanged, layer 0": names_exchanged(
        f"{LAYER}0.attention.self.value.weight", f"{LAYER}0.attention.output.dense.weight"
    ),
    "names of queries of both layers exchanged": names_exchanged(
        f"{LAYER}0.attention.self.query.weight", f"{LAYER}1.attention.self.query.weight"
    ),
    "names of feed-forward inputs exchanged": names_exchanged(
        f"{LAYER}0.intermediate.dense.weight", f"{LAYER}1.intermediate.dense.weight"
    ),
    "names of feed-forward outputs exchanged": names_exchanged(
        f"{LAYER}0.output.dense.weight", f"{LAYER}1.output.dense.weight"
    ),
    "names of the last norms exchanged": names_exchanged(
        f"{LAYER}0.output.LayerNorm.weight", f"{LAYER}1.output.LayerNorm.weight"
    ),
    "names of a norm's gains and biases exchanged": names_exchanged(
        f"{LAYER}1.output.LayerNorm.weight", f"{LAYER}1.output.LayerNorm.bias"
    ),
    "names of pooler and value exchanged": names_exchanged(
        "bert.pooler.dense.weight", f"{LAYER}1.attention.self.value.weight"
    ),
}
