"""Completion of keys and their values in shells."""

from __future__ import annotations

import os
from collections.abc import Iterable

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

from reranker_core.command.help import heeded, labelled_default, plain
from reranker_core.config import known_keys
from reranker_core.config.values import choices, kinds

HOW_TO = """\
Shell completion of subcommands, options, keys and values:
  bash  eval "$(_BATCH_RERANKER_COMPLETE=bash_source batch-reranker)"    in ~/.bashrc
  zsh   eval "$(_BATCH_RERANKER_COMPLETE=zsh_source batch-reranker)"     in ~/.zshrc
  fish  _BATCH_RERANKER_COMPLETE=fish_source batch-reranker | source     in config.fish
"""

_FILES = ("path", "canaries", "golden")


def complete_override(incomplete: str, heeds: Iterable[str]) -> list[CompletionItem]:
    """What `incomplete` may become: a key, or the value behind one."""
    known = {key: field for key, field in known_keys().items() if heeded(key, heeds)}
    key, equals, text = incomplete.partition("=")
    if not equals:
        return [
            CompletionItem(
                f"{name}=", help=f"{plain(field.description or '')} ({labelled_default(field)})"
            )
            for name, field in known.items()
            if name.startswith(key)
        ]
    if key not in known:
        return []
    if key.rpartition(".")[2] in _FILES:
        return [CompletionItem(incomplete, type="file")]
    return [
        CompletionItem(f"{key}={choice}")
        for choice in choices(kinds(known[key]))
        if choice.startswith(text)
    ]


def install() -> None:
    """Teach click's completion scripts about `key=value`."""
    add_completion_class(_Bash)
    add_completion_class(_Zsh)


class _Bash(BashComplete):
    """Bash takes `=` and `:` for ends of words, and adds a blank to what was completed."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)",
        'COMPREPLY+=("$value")\n            [[ $value == *= ]] && compopt -o nospace',
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Words as the program would get them; the last one is incomplete."""
        words = os.environ["COMP_WORDS"].split("\n")[: int(os.environ["COMP_CWORD"]) + 1]
        joined: list[str] = []
        for word in words:
            if joined and (word in ("=", ":") or joined[-1][-1:] in ("=", ":")):
                joined[-1] += word
            else:
                joined.append(word)
        *args, incomplete = [" ".join(split_arg_string(word)) for word in joined]
        return args[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Only what stands behind the last end of a word is replaced."""
        value = item.value
        for end in ("=", ":"):
            if end in os.environ.get("COMP_WORDBREAKS", "=:") and not value.endswith(end):
                value = value.rpartition(end)[2]
        return f"{item.type},{value}"


class _Zsh(ZshComplete):
    """Zsh adds a blank to what was completed, which `key=` must not have."""

    source_template = ZshComplete.source_template.replace(
        "_describe -V unsorted completions_with_descriptions -U",
        "local -a suffix\n        [[ $key == *= ]] && suffix=(-S '')\n"
        '        _describe -V unsorted completions_with_descriptions -U "${suffix[@]}"',
    )
