"""Characters of texts, ids and paths that a terminal would obey instead of showing them."""

from __future__ import annotations

import re

# All but tabs and ends of lines.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""The text with control characters as `\x1b`."""
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)
