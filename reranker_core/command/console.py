"""What is printed: as wide as the terminal, and never wrapped where there is none."""

from __future__ import annotations

import io
import re
import shutil
import sys
from typing import IO, Any, TextIO, cast

from rich.console import Console
from rich.text import Text

from reranker_core.errors.characters import visible

_NO_LIMIT = 100_000  # columns; a line of a log or a file is as long as what it says


def help_width() -> int:
    """Columns for help."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _NO_LIMIT


def make_console() -> Console:
    """A console for standard output."""
    if sys.stdout.isatty():
        return _Console(emoji=False)
    file = cast(IO[str], _Unpadded(sys.stdout))
    return _Console(file=file, width=_NO_LIMIT, soft_wrap=True, emoji=False)


class _Console(Console):
    """Shows the control characters of texts, ids and paths. A terminal would obey them."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(visible(text), **how)


class _Unpadded(io.TextIOBase):
    """A file without the blanks with which Rich fills cells up to the width of their column."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(re.sub(r"[ \t]+(?=\n|$)", "", text))
        return len(text)

    def flush(self) -> None:
        self._file.flush()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._file.encoding
