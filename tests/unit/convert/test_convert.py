"""Other formats become shards that a plan reads with default names."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.orc as orc
import pyarrow.parquet as pq
import pytest

from reranker_core.command.convert import convert
from reranker_core.convert.rows import rows_of
from reranker_core.convert.shards import write_shards
from reranker_core.errors import InputError, RerankError
from reranker_core.input.plan import make_plan
from reranker_core.storage.database import database
from tests.tables import config, flat, nested

CORPUS = [
    {"_id": "007", "title": "list.sort", "text": "Sort in place."},
    {"_id": "7", "title": "", "text": "Open a file."},
    {"_id": "d 3", "title": "os", "text": "", "metadata": {"url": "x"}},
    {"_id": "2024-01-01", "text": " as it is "},
]
QUERIES = [{"_id": "q2", "text": "open"}, {"_id": "q1", "text": "2024-02-03"}]
PASSAGES = {
    "007": "list.sort Sort in place.",
    "7": "Open a file.",
    "d 3": "os",
    "2024-01-01": " as it is ",
}


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.fixture
def beir(tmp_path: Path) -> Path:
    folder = tmp_path / "beir"
    lines(folder / "corpus.jsonl", CORPUS)
    lines(folder / "queries.jsonl", QUERIES)
    (folder / "qrels").mkdir()
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\nq1\t007\t1\nq2\td 3\t0\nq1\t7\t2\n"
    )
    return folder


def call(*arguments: Path | str) -> None:
    convert.main([str(argument) for argument in arguments], standalone_mode=False)


def shards(folder: Path) -> pa.Table:
    """What was written, which a plan must be able to read with default names."""
    table = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))])
    assert make_plan(config(folder, "elsewhere")).rows == table.num_rows
    return table


def refusal(*arguments: Path | str) -> str:
    with pytest.raises(RerankError) as caught:
        call(*arguments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_beir_folder_with_its_qrels(beir: Path, tmp_path: Path):
    call("--beir", beir, "--to", tmp_path / "out")
    found = shards(tmp_path / "out").to_pydict()
    assert found == {
        "query_id": ["q1", "q1", "q2"],
        "query": ["2024-02-03", "2024-02-03", "open"],
        "doc_id": ["007", "7", "d 3"],
        "passage": [PASSAGES["007"], PASSAGES["7"], PASSAGES["d 3"]],
        "relevance": [1, 2, 0],
    }


RUN = "q2 Q0 7 1 2.5 bm25\nq1 Q0 2024-01-01 1 0.5 bm25\nq2 Q0 007 2 2.0 bm25\nq1 Q0 007 2 4e1 x\n"


@pytest.mark.parametrize("blank", [" ", "\t", "   "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_trec_run(beir: Path, tmp_path: Path, blank: str, end: str):
    text = RUN.replace(" ", blank).replace("\n", end)
    (tmp_path / "run.txt").write_bytes(text.encode())
    call("--beir", beir, "--run", tmp_path / "run.txt", "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pydict() == {
        "query_id": ["q2", "q2", "q1", "q1"],
        "query": ["open", "open", "2024-02-03", "2024-02-03"],
        "doc_id": ["7", "007", "007", "2024-01-01"],
        "passage": [PASSAGES[name] for name in ("7", "007", "007", "2024-01-01")],
        "first_stage_score": [2.5, 2.0, 40.0, 0.5],
        "first_stage_rank": [1, 2, 1, 2],
    }


def test_the_best_candidates_of_each_query(beir: Path, tmp_path: Path):
    (tmp_path / "run.txt").write_text(RUN)
    call("--beir", beir, "--run", tmp_path / "run.txt", "--top", "1", "--to", tmp_path / "out")
    assert shards(tmp_path / "out")["doc_id"].to_pylist() == ["7", "007"]


def test_mteb_predictions(beir: Path, tmp_path: Path):
    scores = {"q0": {}, "q1": {"007": 1, "7": 3.5}, "q2": {"d 3": -1.0}}
    content = {"mteb_model_meta": {"model_name": "x"}, "default": {"test": scores}}
    (tmp_path / "Task_predictions.json").write_text(json.dumps(content))
    run = tmp_path / "Task_predictions.json"
    call("--beir", beir, "--run", run, "--to", tmp_path / "out")
    found = shards(tmp_path / "out")
    assert found["doc_id"].to_pylist() == ["7", "007", "d 3"]
    assert found["first_stage_score"].to_pylist() == [3.5, 1.0, -1.0]
    content["default"]["dev"] = scores
    run.write_text(json.dumps(content))
    told = refusal("--beir", beir, "--run", run, "--to", tmp_path / "other")
    assert "has several splits (dev, test)" in told


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".tsv", "007\tSort \"it\".\n7\tOpen, a 'file'.\n"),
        (".tsv", "id\ttext\n007\tSort \"it\".\n7\tOpen, a 'file'.\n"),
        (".csv", 'id,text\n007,"Sort ""it""."\n7,"Open, a \'file\'."\n'),
        (".jsonl", '{"docid": "007", "contents": "Sort \\"it\\"."}\n'
                   '{"docid": 7, "contents": "Open, a \'file\'."}\n'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("zipped", [False, True])
def test_a_corpus_and_queries_in_other_formats(
    tmp_path: Path, suffix: str, content: str, zipped: bool
):
    corpus = tmp_path / f"corpus{suffix}{'.gz' if zipped else ''}"
    corpus.write_bytes(gzip.compress(content.encode()) if zipped else content.encode())
    (tmp_path / "queries.tsv").write_text("1\thow?\n")
    (tmp_path / "qrels").write_text("1 0 7 1\n1 0 007 0\n")
    arguments = ["--corpus", corpus, "--queries", tmp_path / "queries.tsv"]
    call(*arguments, "--run", tmp_path / "qrels", "--to", tmp_path / "out")
    found = shards(tmp_path / "out")
    assert found["passage"].to_pylist() == ["Open, a 'file'.", 'Sort "it".']
    assert found["query_id"].to_pylist() == ["1", "1"]
    assert found["relevance"].to_pylist() == [1, 0]


def test_ids_that_are_missing_are_counted_and_named(beir: Path, tmp_path: Path):
    (tmp_path / "run.txt").write_text(RUN + "".join(f"q1 Q0 x{i} 9 0 t\n" for i in range(9)))
    told = refusal("--beir", beir, "--run", tmp_path / "run.txt", "--to", tmp_path / "out")
    assert "ids (doc_id) that are missing in" in told
    assert ": 9, such as" in told
    assert "'x0', 'x1', 'x2', 'x3', 'x4', …" in told
    (tmp_path / "run.txt").write_text(RUN + "q3 Q0 7 1 0 t\n")
    told = refusal("--beir", beir, "--run", tmp_path / "run.txt", "--to", tmp_path / "out")
    assert "ids (query_id) that are missing in" in told
    assert ": 1, such as" in told
    assert "'q3'" in told
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("q1 Q0 7 1 0.5 x\nq1 Q0 7 2 0.4 x\n", "pairs that occur more than once: 1"),
        ("q1 Q0 7 1 0.5 x\nq1 Q0 7 2 x\n", "line 2 does not have"),
        ("q1 Q0 7 1 high x\n", "line 1 does not have"),
        ("q1 7\n", "its first line has 2 fields"),
        ("\n\n", "the file is empty"),
        ("", "the file is empty"),
    ],
)
def test_a_run_that_is_wrong_is_told_by_its_line(beir: Path, tmp_path: Path, run: str, told: str):
    (tmp_path / "run.txt").write_text(run)
    assert told in refusal("--beir", beir, "--run", tmp_path / "run.txt", "--to", tmp_path / "out")


def test_an_id_that_stands_twice_in_the_corpus_is_named(beir: Path, tmp_path: Path):
    lines(beir / "corpus.jsonl", [*CORPUS, CORPUS[0]])
    assert "ids that occur more than once: 1, such as '007'" in refusal(
        "--beir", beir, "--to", "out"
    )


def test_columns_that_are_not_known_are_told(beir: Path, tmp_path: Path):
    lines(beir / "corpus.jsonl", [{"_id": "1", "abstract": "secret"}])
    told = refusal("--beir", beir, "--to", tmp_path / "out")
    assert "has the columns _id; expected one of" in told
    assert "secret" not in told


def test_lines_that_are_no_json_are_told_without_their_text(beir: Path, tmp_path: Path):
    (beir / "corpus.jsonl").write_text('{"_id": "1", "text": "secret}\n')
    assert "secret" not in refusal("--beir", beir, "--to", tmp_path / "out")


ROWS = [
    {"query_id": "007", "query": "2024-01-01", "doc_id": "1", "passage": "12:30", "bm25": 1,
     "when": "2024-01-01T00:00:00Z", "uid": "2c1b3f3e-8c1d-4a6b-9d3b-0a1b2c3d4e5f"},
    {"query_id": "08", "query": "", "doc_id": "2", "passage": None, "bm25": 2.5, "when": "x",
     "uid": "-"},
]  # fmt: skip


def test_json_lines_keep_their_texts(tmp_path: Path):
    call(lines(tmp_path / "rows.jsonl", ROWS), "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pylist() == ROWS


def test_values_of_several_kinds_are_texts_without_quotes(tmp_path: Path):
    rows = [{"query_id": 1, "query": "x", "doc_id": "a", "passage": 7.5, "n": 1},
            {"query_id": "01", "query": 5, "doc_id": 2.5, "passage": "p", "n": "b"}]  # fmt: skip
    call(lines(tmp_path / "a.jsonl", rows), "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pylist() == [
        {"query_id": "1", "query": "x", "doc_id": "a", "passage": "7.5", "n": "1"},
        {"query_id": "01", "query": "5", "doc_id": "2.5", "passage": "p", "n": "b"},
    ]


def test_numbers_as_passages_become_texts(tmp_path: Path):
    row = '{"query_id": "q", "query": 7.5, "doc_id": "d", "passage": 10}\n'
    (tmp_path / "a.jsonl").write_text(row)
    call(tmp_path / "a.jsonl", "--to", tmp_path / "out")
    (found,) = shards(tmp_path / "out").to_pylist()
    assert (found["query"], found["passage"]) == ("7.5", "10")


def test_flat_rows_beside_nested_ones_are_refused(tmp_path: Path):
    pair = {"query_id": "q", "query": "x", "doc_id": "d", "passage": "secret"}
    path = lines(tmp_path / "a.jsonl", [pair, pair | {"doc_id": ["d"], "passage": ["secret"]}])
    told = refusal(path, "--to", tmp_path / "out")
    assert "'doc_id' is a list or an object in 1 row, and something else in others" in told
    assert "secret" not in told


def test_texts_that_all_look_like_dates_stay_texts(tmp_path: Path):
    rows = [dict(ROWS[0], deep=[{"day": "2024-01-01"}], days=["2024-01-01"])] * 3
    call(lines(tmp_path / "rows.jsonl.gz", rows), "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pylist() == rows


def test_nested_json_lines_are_a_row_a_query(tmp_path: Path):
    rows = nested([2, 0, 3]).to_pylist()
    call(lines(tmp_path / "rows.jsonl", rows), "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pylist() == rows
    assert make_plan(config(tmp_path / "out", "elsewhere")).schema.nested


@pytest.mark.parametrize(("suffix", "sign"), [(".csv", ","), (".tsv", "\t")])
def test_tables_of_text_keep_ids_and_leading_zeros(tmp_path: Path, suffix: str, sign: str):
    heading = sign.join(["query_id", "query", "doc_id", "passage", "zip", "n", "x", "empty"])
    rows = [["007", '"a ""b""\nc"', "1", "2024-01-01", "01234", "1", "0.5", ""],
            ["08", "NULL", "2", f'"x{sign}y"', "5", "-12", "1e3", ""]]  # fmt: skip
    text = "\n".join([heading, *(sign.join(row) for row in rows)])
    (tmp_path / f"rows{suffix}").write_text(text + "\n")
    call(tmp_path / f"rows{suffix}", "--to", tmp_path / "out")
    found = shards(tmp_path / "out").to_pydict()
    assert found["query_id"] == ["007", "08"]
    assert found["doc_id"] == ["1", "2"]
    assert found["query"] == ['a "b"\nc', "NULL"]
    assert found["passage"] == ["2024-01-01", f"x{sign}y"]
    assert found["zip"] == ["01234", "5"]
    assert found["n"] == [1, -12]
    assert found["x"] == [0.5, 1000.0]


def test_rows_are_known_by_their_content_where_the_name_tells_nothing(tmp_path: Path):
    rows = lines(tmp_path / "rows.jsonl", ROWS).rename(tmp_path / "rows")
    call(rows, "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pylist() == ROWS


def test_arrow_and_orc_files_come_out_as_they_are(tmp_path: Path):
    table = flat(10, more=list(range(10)))
    feather.write_feather(table, str(tmp_path / "a.feather"))
    orc.write_table(table, str(tmp_path / "b.orc"))
    with ipc.new_stream(str(tmp_path / "c.arrow"), table.schema) as writer:
        writer.write_table(table)
    for name in ("a.feather", "b.orc", "c.arrow"):
        call(tmp_path / name, "--to", tmp_path / f"{name}-out")
        assert shards(tmp_path / f"{name}-out").equals(table)


def test_run_ends_of_arrow_files_are_decoded(tmp_path: Path):
    table = flat(3)
    ends = pa.RunEndEncodedArray.from_arrays(pa.array([1, 3], pa.int32()), pa.array(["a", "b"]))
    table = table.set_column(3, "passage", ends).append_column("more", ends)
    with ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    call(tmp_path / "a.arrow", "--to", tmp_path / "out")
    assert shards(tmp_path / "out").select(["passage", "more"]).to_pydict() == {
        "passage": ["a", "b", "b"], "more": ["a", "b", "b"],
    }  # fmt: skip


UNKNOWN_TO_PARQUET = {
    "interval": pa.array([pa.MonthDayNano([1, 2, 3])]),
    "union": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1]), pa.array(["x"])]),
    "empty struct": pa.array([{}], pa.struct([])),
    "dictionary of lists": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([["x"]])),
}


@pytest.mark.parametrize("more", UNKNOWN_TO_PARQUET.values(), ids=UNKNOWN_TO_PARQUET)
def test_types_that_parquet_does_not_have_are_named(tmp_path: Path, more: pa.Array):
    table = flat(1).append_column("more", more)
    with ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    told = refusal(tmp_path / "a.arrow", "--to", tmp_path / "out")
    assert "a.arrow: column 'more' has the type" in told
    assert not (tmp_path / "out").exists()


def test_several_files_are_several_shards(tmp_path: Path):
    first = lines(tmp_path / "a.jsonl", flat(4).to_pylist())
    second = lines(tmp_path / "b.jsonl", flat(4, first=4).to_pylist())
    call(first, second, "--to", tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 2
    assert shards(tmp_path / "out").equals(flat(8))


def test_a_column_has_one_type_in_all_files(tmp_path: Path):
    pairs = flat(5).to_pylist()
    more = [{"n": 1, "m": "a"}, {"n": 1.5, "m": "b"}, {"n": None, "m": "c"}, {"m": "d"}]
    files = [
        lines(tmp_path / f"{number}.jsonl", [pair | rest])
        for number, (pair, rest) in enumerate(zip(pairs, more, strict=False))
    ]
    (tmp_path / "empty.jsonl").touch()
    call(tmp_path / "empty.jsonl", *files, "--to", tmp_path / "out")
    found = shards(tmp_path / "out").to_pydict()
    assert (found["n"], found["m"]) == ([1.0, 1.5, None, None], ["a", "b", "c", "d"])

    fields = ["query_id", "query", "doc_id", "passage", "n"], ["q", "x", "d", "p"]
    tables = [tmp_path / f"{number}.csv" for number in range(3)]
    for path, value in zip(tables, ["007", "1", "2.5"], strict=True):
        path.write_text("\n".join(",".join(line) for line in fields) + f",{value}\n")
    (tmp_path / "empty.csv").touch()
    call(tmp_path / "empty.csv", *tables[1:], "--to", tmp_path / "numbers")
    assert shards(tmp_path / "numbers")["n"].to_pylist() == [1.0, 2.5]
    call(*tables, "--to", tmp_path / "texts")
    assert shards(tmp_path / "texts")["n"].to_pylist() == ["007", "1", "2.5"]


def test_a_shard_ends_between_queries(tmp_path: Path):
    rows = lines(tmp_path / "a.jsonl", flat(30_000, per_query=7).to_pylist())
    with database("convert") as connection:
        done = write_shards(rows_of(connection, [str(rows)]), str(tmp_path / "out"), 5000)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    queries = [set(pq.read_table(file)["query_id"].to_pylist()) for file in files]
    assert len(queries) == done.shards >= 3
    assert sum(map(len, queries)) == len(set().union(*queries))
    assert shards(tmp_path / "out").equals(flat(30_000, per_query=7))
    assert make_plan(config(tmp_path / "out", "x", "output.rank=true")).rows == done.rows == 30_000


def test_row_groups_are_those_of_a_part(tmp_path: Path):
    rows = lines(tmp_path / "a.jsonl", flat(20_000).to_pylist())
    call(rows, "--to", tmp_path / "out")
    metadata = pq.read_metadata(tmp_path / "out" / "part-00000.parquet")
    assert [metadata.row_group(i).num_rows for i in range(3)] == [8192, 8192, 3616]


def test_stores_are_read_and_written(tmp_path: Path):
    memory, root = fsspec.filesystem("memory"), f"/{uuid.uuid4()}"
    memory.pipe_file(f"{root}/rows.jsonl", lines(tmp_path / "a.jsonl", ROWS).read_bytes())
    call(f"memory:/{root}/rows.jsonl", "--to", f"memory:/{root}/out")
    with memory.open(f"{root}/out/part-00000.parquet") as file:
        assert pq.read_table(file).to_pylist() == ROWS


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
@pytest.mark.parametrize("sign", [";", "\t", "|", ","])
def test_the_header_tells_which_sign_separates_fields(tmp_path: Path, suffix: str, sign: str):
    path = tmp_path / f"rows{suffix}"
    fields = ["query_id", "query", "doc_id", "passage"], ["1", "a", "2", f'"b{sign} c"']
    path.write_text("\n".join(sign.join(line) for line in fields))
    call(path, "--to", tmp_path / "out")
    assert shards(tmp_path / "out")["passage"].to_pylist() == [f"b{sign} c"]


@pytest.mark.parametrize("before", ["", "sep=;\n", "\n  \n"])
def test_the_sign_is_that_of_the_header_and_not_of_the_texts(tmp_path: Path, before: str):
    text = f"{before}query_id;query;doc_id;passage\n1;a, b;2;c, d\n"
    (tmp_path / "rows.csv").write_text(text)
    call(tmp_path / "rows.csv", "--to", tmp_path / "out")
    (row,) = shards(tmp_path / "out").to_pylist()
    assert row == {"query_id": "1", "query": "a, b", "doc_id": "2", "passage": "c, d"}


LARGE = ["12345678901234567890123", "9007199254740993", "1e400", "-1e400", "9" * 400 + ".5"]


@pytest.mark.parametrize("large", LARGE)
def test_large_numbers_beside_others_lose_no_digit(tmp_path: Path, large: str):
    pair = {"query_id": "q", "query": "x", "doc_id": "d", "passage": "p"}
    values = [(large, "1"), ("1.5", "1.5")]
    rows = (f'{json.dumps(pair)[:-1]}, "n": {n}, "y": {y}}}\n' for n, y in values)
    (tmp_path / "rows.jsonl").write_text("".join(rows))
    fields = [[*pair, "n", "y"], *([*pair.values(), *each] for each in values)]
    (tmp_path / "rows.csv").write_text("\n".join(map(",".join, fields)))
    for name in ("rows.jsonl", "rows.csv"):
        call(tmp_path / name, "--to", tmp_path / f"out-{name}")
        found = shards(tmp_path / f"out-{name}").to_pydict()
        assert (found["n"], found["y"]) == ([large, "1.5"], [1.0, 1.5])


@pytest.mark.parametrize("large", LARGE)
def test_large_numbers_within_lists_and_objects_lose_no_digit(tmp_path: Path, large: str):
    pair = {"query_id": "q", "query": "x", "doc_id": ["d"], "passage": ["p"]}
    (tmp_path / "rows.jsonl").write_text(
        f'{json.dumps(pair)[:-1]}, "list": [1.5, {large}], "other": [1.5, 2], '
        f'"deep": [{{"a": {{"b": [[{large}, 0.5]]}}, "c": 1.5}}]}}\n'
    )
    call(tmp_path / "rows.jsonl", "--to", tmp_path / "out")
    (row,) = shards(tmp_path / "out").to_pylist()
    assert (row["list"], row["other"]) == (["1.5", large], [1.5, 2.0])
    assert row["deep"] == [{"a": {"b": [[large, "0.5"]]}, "c": 1.5}]


def test_numbers_that_are_not_finite_in_the_file_stay_so(tmp_path: Path):
    pair = {"query_id": "q", "query": "x", "doc_id": "d", "passage": "p"}
    (tmp_path / "rows.jsonl").write_text(
        f'{json.dumps(pair)[:-1]}, "x": [Infinity, -Infinity, NaN, 1.5, 1e300]}}\n'
    )
    call(tmp_path / "rows.jsonl", "--to", tmp_path / "out")
    assert str(shards(tmp_path / "out")["x"].to_pylist()) == "[[inf, -inf, nan, 1.5, 1e+300]]"


def test_rows_of_very_many_columns_are_no_map(tmp_path: Path):
    row = flat(1).to_pylist()[0] | {f"c{number}": str(number) for number in range(300)}
    call(lines(tmp_path / "rows.jsonl", [row]), "--to", tmp_path / "out")
    assert shards(tmp_path / "out").to_pylist() == [row]


def test_relevance_may_be_a_fraction(beir: Path, tmp_path: Path):
    qrels = beir / "qrels" / "test.tsv"
    heading, first, *rest = qrels.read_text().splitlines()
    half = first.rpartition("\t")[0] + "\t0.5"
    qrels.write_text("\n".join([heading, half, *rest]) + "\n")
    call("--beir", beir, "--to", tmp_path / "out")
    assert 0.5 in shards(tmp_path / "out")["relevance"].to_pylist()


@pytest.mark.parametrize("name", ["rows[1].jsonl", "it's.jsonl", "a b.jsonl", "a*.jsonl"])
def test_names_stand_for_themselves(tmp_path: Path, name: str):
    lines(tmp_path / "rows1.jsonl", ROWS[:1])
    lines(tmp_path / "ab.jsonl", ROWS[:1])
    call(lines(tmp_path / name, ROWS), "--to", tmp_path / "out")
    assert shards(tmp_path / "out").num_rows == 2


def test_what_is_not_there_or_not_known_is_told(tmp_path: Path, beir: Path):
    (tmp_path / "a.xlsx").write_bytes(b"x")
    lines(tmp_path / "rows.jsonl", ROWS)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    out = ["--to", tmp_path / "out"]
    assert "unknown file type" in refusal(tmp_path / "a.xlsx", *out)
    for absent in ("absent.jsonl", "absent"):
        assert "this file does not exist" in refusal(tmp_path / absent, *out)
    assert "has no corpus.jsonl" in refusal("--beir", tmp_path, *out)
    assert "--run needs --corpus and --queries" in refusal("--run", tmp_path / "a", *out)
    assert "give either files" in refusal(*out)
    assert "give either files" in refusal(tmp_path / "rows.jsonl", "--beir", beir, *out)
    assert "already contains files" in refusal(tmp_path / "rows.jsonl", "--to", tmp_path / "full")
    assert (tmp_path / "full" / "x").exists()


def test_a_file_that_fails_half_way_leaves_nothing(tmp_path: Path):
    good = lines(tmp_path / "a.jsonl", ROWS)
    (tmp_path / "b.jsonl").write_text('{"query_id": \n')
    with pytest.raises(InputError):
        call(good, tmp_path / "b.jsonl", "--to", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))
