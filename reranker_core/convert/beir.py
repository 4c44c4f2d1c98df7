"""A BEIR folder: corpus.jsonl, queries.jsonl, qrels/<split>.tsv."""

from __future__ import annotations

from reranker_core.errors import InputError
from reranker_core.storage.filesystem import open_filesystem
from reranker_core.storage.tree import is_file


def beir_files(folder: str, split: str) -> tuple[str, str, str]:
    """Corpus, queries and qrels of a BEIR folder.

    Raises:
        InputError: one of them is missing.

    """
    root = folder.rstrip("/")
    filesystem, _ = open_filesystem(folder)
    found = []
    for name in ("corpus.jsonl", "queries.jsonl", f"qrels/{split}.tsv"):
        paths = [f"{root}/{name}", f"{root}/{name}.gz"]
        there = [path for path in paths if is_file(filesystem, open_filesystem(path)[1])]
        if not there and not name.startswith("qrels"):
            raise InputError(
                f"{folder}: has no {name}; expected a BEIR folder with corpus.jsonl, queries.jsonl "
                "and qrels/"
            )
        found.append(there[0] if there else paths[0])
    return found[0], found[1], found[2]
