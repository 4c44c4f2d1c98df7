"""A retrieval collection made from the docstrings of installed Python packages.

Source: the ``.py`` files of the running environment, read with ``ast`` and never imported.
The first sentence of a docstring is a query, the rest of it the one relevant passage. BM25
(``bm25s``) is the first stage; what it returns is what a reranker has to put in order.

    python -m demo.corpus --output DIR --qrels FILE [--packages ...] [--queries N]
"""

import argparse
import ast
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bm25s
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STDLIB = "stdlib"
HELD_OUT = (STDLIB, "pandas", "fsspec")

_SKIPPED_DIRS = {"__pycache__", "_vendor", "site-packages", "dist-packages", "test", "tests"}
_MIN_QUERY_WORDS, _MAX_QUERY_WORDS = 4, 40
_MIN_PASSAGE_WORDS, _MAX_PASSAGE_WORDS = 8, 128
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[^a-z\s])")
_NOT_WORD = re.compile(r"\W+")
_SCHEMA = pa.schema(
    [
        ("query_id", pa.string()),
        ("query", pa.string()),
        ("doc_id", pa.string()),
        ("passage", pa.string()),
        ("bm25_score", pa.float32()),
        ("package", pa.string()),
    ]
)


@dataclass(frozen=True)
class Doc:
    """One docstring: ``doc_id`` is ``module:qualname`` (``module`` alone for a module's own)."""

    doc_id: str
    package: str
    query: str
    passage: str


@dataclass(frozen=True)
class Candidates:
    """First-stage results: row i of both arrays, shape (queries, k), belongs to query i."""

    docs: np.ndarray  # int, positions in the collection, best first
    scores: np.ndarray  # float32, BM25


def normalise(text: str) -> str:
    """Lower-case words joined by one space: equal for texts that differ in punctuation only."""
    return _NOT_WORD.sub(" ", text.lower()).strip()


def split_docstring(docstring: str) -> tuple[str, str] | None:
    """(first sentence, rest) with white space collapsed, or None where either is unfit."""
    first, _, rest = inspect.cleandoc(docstring).partition("\n\n")
    sentence, *tail = _SENTENCE_END.split(" ".join(first.split()), maxsplit=1)
    words = " ".join([*tail, rest]).split()
    passage = " ".join(words[:_MAX_PASSAGE_WORDS])
    if not _MIN_QUERY_WORDS <= len(sentence.split()) <= _MAX_QUERY_WORDS:
        return None
    if len(words) < _MIN_PASSAGE_WORDS or normalise(sentence) in normalise(passage):
        return None
    return sentence, passage


def read_docs(packages: Sequence[str]) -> list[Doc]:
    """Docs of the packages in a fixed order; a repeated query or passage is kept once."""
    docs: list[Doc] = []
    seen: set[str] = set()
    for package in packages:
        for doc_id, docstring in _docstrings(package):
            parts = split_docstring(docstring)
            if parts is None:
                continue
            keys = {"id " + doc_id, "q " + normalise(parts[0]), "p " + normalise(parts[1])}
            if seen.isdisjoint(keys):
                docs.append(Doc(doc_id, package, *parts))
                seen |= keys
    return docs


def _docstrings(package: str) -> Iterator[tuple[str, str]]:
    """(``module:qualname``, docstring) of every module, class and function that has one."""
    root = Path(sysconfig.get_path("stdlib" if package == STDLIB else "purelib"))
    start = root if package == STDLIB else root / package
    if not start.is_dir():
        raise FileNotFoundError(f"package {package!r} is not installed in this environment")
    for path in sorted(start.rglob("*.py")):
        module_path = path.relative_to(root)
        if _SKIPPED_DIRS.isdisjoint(module_path.parts):
            module = ".".join(module_path.with_suffix("").parts).removesuffix(".__init__")
            yield from _module_docstrings(module, path)


def _module_docstrings(module: str, path: Path) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # a template or a file meant for another Python
        return
    if docstring := ast.get_docstring(tree, clean=False):
        yield module, docstring
    for qualname, docstring in _member_docstrings(tree, ""):
        yield f"{module}:{qualname}", docstring


def _member_docstrings(node: ast.AST, prefix: str) -> Iterator[tuple[str, str]]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        qualname = prefix + child.name
        if docstring := ast.get_docstring(child, clean=False):
            yield qualname, docstring
        if isinstance(child, ast.ClassDef):
            yield from _member_docstrings(child, qualname + ".")


def first_stage(docs: Sequence[Doc], queries: Sequence[Doc], k: int = 50) -> Candidates:
    """Find, for the query of each of ``queries``, the k best passages of ``docs`` by BM25."""
    index = bm25s.BM25()
    index.index(bm25s.tokenize([d.passage for d in docs], show_progress=False), show_progress=False)
    tokens = bm25s.tokenize([d.query for d in queries], return_ids=False, show_progress=False)
    found, scores = index.retrieve(tokens, k=min(k, len(docs)), show_progress=False)
    return Candidates(np.asarray(found), np.asarray(scores, dtype=np.float32))


def sample_queries(docs: Sequence[Doc], count: int | None, seed: int = 0) -> list[Doc]:
    """All docs, or ``count`` of them drawn without replacement, in collection order."""
    if count is None or count >= len(docs):
        return list(docs)
    chosen = np.random.default_rng(seed).choice(len(docs), count, replace=False)
    return [docs[i] for i in sorted(chosen)]


def write_shards(
    docs: Sequence[Doc], queries: Sequence[Doc], found: Candidates, output: Path, shards: int = 4
) -> None:
    """Flat Parquet, one row a pair; all candidates of a query are adjacent rows of one shard."""
    output.mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(np.array_split(np.arange(len(queries)), shards)):
        pairs = [
            (queries[i], docs[j], score)
            for i in rows
            for j, score in zip(found.docs[i], found.scores[i], strict=True)
        ]
        columns = [
            [q.doc_id for q, _, _ in pairs],
            [q.query for q, _, _ in pairs],
            [d.doc_id for _, d, _ in pairs],
            [d.passage for _, d, _ in pairs],
            [s for _, _, s in pairs],
            [q.package for q, _, _ in pairs],
        ]
        table = pa.Table.from_arrays(
            [pa.array(c, f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
        )
        pq.write_table(table, output / f"pairs-{number:02d}.parquet")


def write_qrels(queries: Sequence[Doc], path: Path) -> None:
    """Parquet with ``query_id`` and its one relevant ``doc_id``; a query has its doc's id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ids = [q.doc_id for q in queries]
    pq.write_table(pa.table({"query_id": ids, "doc_id": ids}), path)


def main() -> None:
    """Write the collection that the arguments ask for."""
    parser = argparse.ArgumentParser(description="Write the docstring collection as Parquet.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the shards")
    parser.add_argument(
        "--qrels",
        type=Path,
        required=True,
        help="file for the qrels, outside the folder of --output",
    )
    parser.add_argument("--packages", nargs="+", default=list(HELD_OUT))
    parser.add_argument("--queries", type=int, help="number of random queries (default: all)")
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--shards", type=int, default=4)
    args = parser.parse_args()

    docs = read_docs(args.packages)
    queries = sample_queries(docs, args.queries)
    write_shards(docs, queries, first_stage(docs, queries, args.top_k), args.output, args.shards)
    write_qrels(queries, args.qrels)
    print(f"{len(docs)} passages, {len(queries)} queries")


if __name__ == "__main__":
    main()
