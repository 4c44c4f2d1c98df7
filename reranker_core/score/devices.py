"""Which devices of a run end processes: a GPU that fails under load ends those of whatever part it
is given, while a row that ends processes does so on any GPU.
"""

from __future__ import annotations

# A device is sick if processes ended there in so many parts, and in so many times more than on the
# others on average: rows that end processes are spread over all devices.
_PARTS, _TIMES = 3, 3.0


class Devices:
    """The GPUs of a run by name, and the parts in which processes ended there."""

    def __init__(self) -> None:
        self._parts: dict[str, set[str]] = {}

    def add(self, device: str) -> None:
        """A replica works on this device; '' is a CPU, which is not counted."""
        if device:
            self._parts.setdefault(device, set())

    def ended(self, device: str, part: str) -> None:
        """A process ended on the device, or failed, while it worked on the part."""
        if device:
            self._parts.setdefault(device, set()).add(part)

    def explained(self, part: str) -> None:
        """Rows of this part end processes: no device is to blame for it."""
        for parts in self._parts.values():
            parts.discard(part)

    def names(self) -> set[str]:
        """All devices that replicas have worked on."""
        return set(self._parts)

    def others(self, device: str) -> bool:
        """Whether the run has another device than this one."""
        return bool(self._parts.keys() - {device})

    def sickness(self, device: str) -> str:
        """Why a device is not to be used, in words; '' if it may be."""
        mine = len(self._parts.get(device, ()))
        others = [len(parts) for name, parts in self._parts.items() if name != device]
        if not others or mine < _PARTS or mine <= _TIMES * sum(others) / len(others):
            return ""
        return (
            f"processes crashed on {device} while they scored {mine} different parts; on the other "
            f"{len(others)} GPUs, they crashed in {sum(others)} parts in all. This GPU or its node "
            "may be faulty, or Ray ended processes because the node had no memory left. Check the "
            "kernel log of the node for Xid and ECC errors, and its memory"
        )
