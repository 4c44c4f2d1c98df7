"""What happened to the workers of a run, in words, for the driver's log."""

from __future__ import annotations

# The driver asks every few seconds, and logs what is new. What a run keeps is bounded, even if each
# of a million parts has trouble.
_MOST = 200


class Troubles:
    """The latest messages, one for each cause."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._once: set[str] = set()

    def tell(self, cause: str, text: str) -> None:
        """Keep the message, instead of an earlier one of the same cause."""
        self._texts.pop(cause, None)
        self._texts[cause] = text
        if len(self._texts) > _MOST:
            del self._texts[next(iter(self._texts))]

    def tell_once(self, cause: str, text: str) -> None:
        """Keep the first message of a cause. There may be 200 such causes."""
        if cause not in self._once and len(self._once) < _MOST:
            self._once.add(cause)
            self.tell(cause, text)

    def texts(self) -> list[str]:
        """All that is kept, the latest last."""
        return list(self._texts.values())
