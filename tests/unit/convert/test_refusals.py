"""Files that cannot be converted are named, with line and cause, and without their content."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from reranker_core.command.convert import convert
from reranker_core.errors import InputError
from tests.tables import flat

HEADING = "query_id,query,doc_id,passage\n"
ROW = '{"query_id": "q", "query": "secret", "doc_id": "d", "passage": "p"}\n'


def refusal(folder: Path, name: str, content: bytes, *options: str) -> str:
    (folder / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        convert.main(
            [*(options or [str(folder / name)]), "--to", str(folder / "out")],
            standalone_mode=False,
        )
    assert not (folder / "out").exists()
    told = str(caught.value)
    assert str(folder / name) in told
    assert "secret" not in told
    return told


BAD = {
    "half a row": ("a.jsonl", ROW + ROW[:-9], "line 2: .*unexpected end of data. Correct the line"),
    "half a row first": ("a.jsonl", ROW[:-9] + "\n" + ROW, "line 1: .*unexpected"),
    "half a character": ("a.jsonl", ROW + ROW.replace("secret", "secret \\ud83d"),
                         "line 2: .*no low surrogate"),
    "a key twice": ("a.jsonl", ROW.replace("{", '{"query": "secret", '), "line 1.*duplicate key"),
    "JSON in Latin-1": ("a.jsonl", ROW + ROW.replace("secret", "secret \xe9"), "invalid UTF-8"),
    "CSV in Latin-1": ("a.csv", HEADING + "q,secret \xe9,d,p\n", "line 2.*not utf-8.*iconv"),
    "few fields": ("a.csv", HEADING + "q,x,d,p\nq,secret\n",
                   "line 3.*Columns: 4 Found: 2. Each.*Write"),
    "quotes behind backslashes": ("a.csv", HEADING + 'q,"a \\"secret\\" b",d,p\n',
                                  'line 2.*unterminated quote.*each quote in it twice'),
    "few fields far below": ("a.csv", HEADING + "q,x,d,p\n" * 30_000 + "q,secret\n",
                             "line 30002.*Expected Number of Columns: 4 Found: 2"),
    "an open quote": ("a.csv", HEADING + "q,x,d,p\n" * 30_000 + 'q,"secret,d,p\n', "unterminated"),
    "keys that differ in case": ("a.jsonl", ROW.replace("{", '{"Query": "secret", '),
                                 "'Query' and 'query', are equal or differ only in case"),
    "such keys in two rows": ("a.jsonl", ROW + ROW.replace('"query"', '"Query"'), "differ only"),
    "values without names": ("a.jsonl", "1\n2\n", "expected a JSON object"),
    "names that differ in case": ("a.csv", HEADING.replace("doc_id", "Query") + "q,x,d,p\n",
                                  "case"),
    "a name twice": ("a.csv", HEADING.replace("doc_id", "query") + "q,x,d,p\n", "are equal"),
    "few names": ("a.csv", HEADING.replace("query,", "") + "q,x,d,p\n" * 9, "line 2.*3 Found: 4"),
    "a title": ("a.csv", "secret\n\n" + HEADING + "q,x,d,p\n", "line 3.*1 Found.*the first line"),
    "not gzip": ("a.jsonl.gz", ROW, "a.jsonl.gz: cannot be read: .*GZIP.*Rename the file"),
    "lists in lists": ("a.jsonl", ROW.replace("{", '{"x": %s, ' % ("[" * 60 + "]" * 60)),
                       "a.jsonl: column 'x' .*Parquet cannot represent"),
    "JSON in UTF-16": ("a.jsonl", ROW.encode("utf-16").decode("latin-1"),
                       "a.jsonl.*: cannot be read: UTF-16 .*Convert the file to UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "content", "told"), BAD.values(), ids=BAD)
def test_texts_that_cannot_be_read(tmp_path: Path, name: str, content: str, told: str):

    assert re.search(told, refusal(tmp_path, name, content.encode("latin-1")))


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_an_arrow_file_that_ends_within_its_data(tmp_path: Path, kind: str):
    buffer, table = io.BytesIO(), flat(400)
    make = ipc.new_file if kind == "file" else ipc.new_stream
    with make(buffer, table.schema) as writer:
        writer.write_table(table)
    cut = buffer.getvalue()
    cut = cut[:3000] if kind == "stream" else cut[:300] + bytes(3000) + cut[3300:]
    refusal(tmp_path, "a.arrow", cut)


@pytest.mark.parametrize("score", ["nan", "inf", "secret"])
def test_scores_of_a_run_that_are_no_numbers(tmp_path: Path, score: str):
    for name in ("corpus", "queries"):
        (tmp_path / f"{name}.jsonl").write_text('{"_id": "x", "text": "t"}\n')
    given = ("--run", f"{tmp_path}/run.txt", "--corpus", f"{tmp_path}/corpus.jsonl")
    given += ("--queries", f"{tmp_path}/queries.jsonl")
    content = f"x Q0 x 1 1.0 t\nx Q0 y 2 {score} t\n".encode()
    assert "line 2 does not have the format" in refusal(tmp_path, "run.txt", content, *given)


UNCLEAR = {
    "whole numbers": ("x x 1\nx y 2\n", "it can be a relevance, a rank or a score"),
    "ranks": ("query_id\tdoc_id\trank\nx\tx\t1\n", "its third column is 'rank'"),
    "ranks and scores": ("x x 1 0.9\nx y 2 0.8\ny x 1 0.7\n", "query document rank score"),
    "a score as the rank": ("x Q0 x 0.9 1 t\nx Q0 y 0.8 2 t\n", "expected the rank there"),
}


@pytest.mark.parametrize(("run", "told"), UNCLEAR.values(), ids=UNCLEAR)
def test_numbers_of_a_run_that_may_mean_something_else(tmp_path: Path, run: str, told: str):
    given = ("--run", f"{tmp_path}/run.txt", "--corpus", "none", "--queries", "none")
    assert told in refusal(tmp_path, "run.txt", run.encode(), *given)


@pytest.mark.parametrize(
    ("scores", "told"),
    [('"x": NaN', "finite"), ('"x": true', "finite"), ('"x": 1, "x": 2', "'x' occurs twice")],
)
def test_scores_of_predictions_that_are_wrong(tmp_path: Path, scores: str, told: str):
    content = f'{{"default": {{"test": {{"q": {{{scores}}}}}}}}}'.encode()
    given = ("--run", f"{tmp_path}/a.json", "--corpus", "none", "--queries", "none")
    assert told in refusal(tmp_path, "a.json", content, *given)


def test_a_folder_and_parquet_are_told(tmp_path: Path):
    (tmp_path / "folder").mkdir()
    for name, told in (("folder", "is a folder"), ("a.parquet", "is Parquet already")):
        (tmp_path / "a.parquet").touch()
        with pytest.raises(InputError, match=told):
            convert.main([str(tmp_path / name), "--to", str(tmp_path / "o")], standalone_mode=False)


@pytest.mark.parametrize("layout", ["flat", "lists", "structs"])
@pytest.mark.parametrize("number", ["123456789012345678901234567890", "9007199254740993"])
def test_numbers_as_ids_lose_no_digit(tmp_path: Path, layout: str, number: str):
    other = {"flat": "1.5", "lists": "[1.5]", "structs": '[{"doc_id": 1.5}]'}[layout]
    own = other.replace("1.5", number)
    column = "candidates" if layout == "structs" else "doc_id"
    rows = "".join(f'{{"query": "x", "{column}": {value}}}\n' for value in (own, other))
    (tmp_path / "a.jsonl").write_text(rows)
    convert.main([str(tmp_path / "a.jsonl"), "--to", str(tmp_path / "out")], standalone_mode=False)
    found: pa.Table = pq.read_table(tmp_path / "out")
    assert number in str(found[column].to_pylist())


def test_files_with_other_columns_than_the_first_are_named(tmp_path: Path):
    rows = flat(3)
    first = tmp_path / "a.arrow"
    others = {
        "b.arrow": rows.append_column("n", pa.array([1, 2, 3])),
        "c.arrow": rows.set_column(0, rows.column_names[0], pa.array([1, 2, 3])),
    }
    for name, table in {"a.arrow": rows, **others}.items():
        with ipc.new_file(tmp_path / name, table.schema) as file:
            file.write_table(table)
    (tmp_path / "d.csv").write_text("query_id,query,doc_id,pasage\nq,x,d,p\n")
    wrong = {"b.arrow": "'n' is int64, but missing", "c.arrow": "is int64, but", "d.csv": "passage"}
    for name, told in wrong.items():
        paths = [str(first), str(tmp_path / name)]
        found = refusal(tmp_path, name, (tmp_path / name).read_bytes(), *paths)
        assert told in found
        assert str(first) in found


def test_a_file_that_is_named_twice(tmp_path: Path):
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    here = str(tmp_path / "a.jsonl")
    for other in (here, f"{tmp_path}/./a.jsonl", f"file://{here}", str(tmp_path / "link.jsonl")):
        told = refusal(tmp_path, "a.jsonl", ROW.encode(), here, other)
        assert f"{other}: this file is named twice" in told
