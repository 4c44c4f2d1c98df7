"""What shards have in common: the union of their columns, keys in folder names, common types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reranker_core.errors import InputError, OutputConflict
from reranker_core.input.columns import typed
from reranker_core.input.plan import Plan, make_plan
from reranker_core.input.reading import read_parts
from reranker_core.output.identity import identity, refuse_differences
from reranker_core.storage.store import Store
from tests.outputs import Output
from tests.tables import config, flat, nested, structs, write


def plan_of(folder: Path | list[Path], *overrides: str) -> Plan:
    return make_plan(config(folder, "out", *overrides))


def read(plan: Plan) -> pa.Table:
    """All rows, as they go on to be encoded."""
    tables = [
        typed(table, plan.schema)
        for part in plan.parts
        for _, table in read_parts([part], plan.schema.columns)
    ]
    return pa.concat_tables(tables)


def refused(folder: Path | list[Path], *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        plan_of(folder, *overrides)
    return str(caught.value)


def as_type(table: pa.Table, **kinds: pa.DataType) -> pa.Table:
    for name, kind in kinds.items():
        index = table.column_names.index(name)
        table = table.set_column(index, name, table[name].cast(kind))
    return table


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_column_of_some_shards_is_null_in_the_others(tmp_path: Path, order: str):
    first, second = order
    write(tmp_path / f"in/{first}.parquet", flat(4, url=["u"] * 4))
    write(tmp_path / f"in/{second}.parquet", flat(4, first=4))
    output = Output(tmp_path / "in", str(tmp_path / "out"))
    output.drive()
    found = pa.concat_tables(output.tables()).sort_by("doc_id")
    assert found["url"].to_pylist() == ["u"] * 4 + [None] * 4
    assert output.plan.not_kept == ("url: null for 1 shard without this column",)


def test_passthrough_chooses_a_column_that_the_first_shard_lacks(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2))
    write(tmp_path / "b.parquet", flat(2, first=2, url=["u"] * 2, other=[1, 2]))
    assert plan_of(tmp_path, "output.passthrough=[url]").schema.carried == (
        "query_id",
        "doc_id",
        "url",
    )


@pytest.mark.parametrize("name", ["query_id", "query", "doc_id", "passage"])
@pytest.mark.parametrize("lacking", ["a", "b"])
def test_a_shard_without_a_required_column_is_named(tmp_path: Path, name: str, lacking: str):
    for shard in ("a", "b"):
        table = flat(2)
        write(
            tmp_path / f"{shard}.parquet",
            table.drop_columns([name]) if shard == lacking else table,
        )
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}/{lacking}.parquet: column '{name}' is missing")


@pytest.mark.parametrize("names", [("Lang", "lang"), ("lang", "LANG")])
def test_columns_that_differ_in_case_alone_are_refused(tmp_path: Path, names: tuple[str, str]):
    for shard, name in zip("ab", names, strict=True):
        write(tmp_path / f"{shard}.parquet", flat(2, **{name: ["x"] * 2}))
    message = refused(tmp_path)
    assert f"'{names[0]}' is called '{names[1]}'" in message
    assert plan_of(tmp_path, f"output.passthrough=[{names[1]}]").schema.carried[-1] == names[1]


def test_columns_that_differ_in_case_in_every_shard_stay(tmp_path: Path):
    for shard in "ab":
        write(tmp_path / f"{shard}.parquet", flat(2, Lang=["x"] * 2, lang=["y"] * 2))
    assert plan_of(tmp_path).schema.carried == ("query_id", "doc_id", "Lang", "lang")


def keyed(folder: Path) -> Path:
    write(folder / "dt=2026-01-01/lang=en/part-0.parquet", flat(4))
    write(folder / "dt=2026-01-02/lang=de%2FAT/part-0.parquet", flat(4, first=4))
    write(
        folder / "dt=__HIVE_DEFAULT_PARTITION__/lang=007/part-0.parquet",
        flat(4, first=8),
    )
    return folder


def test_keys_in_folder_names_are_columns(tmp_path: Path):
    found = read(plan_of(keyed(tmp_path)))
    assert found.schema.field("dt").type == found.schema.field("lang").type == pa.string()
    keys = zip(found["dt"].to_pylist(), found["lang"].to_pylist(), strict=True)
    rows = dict(zip(found["doc_id"].to_pylist(), keys, strict=True))
    assert rows["d0"] == ("2026-01-01", "en")
    assert rows["d4"] == ("2026-01-02", "de/AT")
    assert rows["d8"] == (None, "007")


def test_a_key_passes_through_alone(tmp_path: Path):
    plan = plan_of(keyed(tmp_path), "output.passthrough=[dt]")
    assert plan.schema.carried == ("query_id", "doc_id", "dt")


def test_a_key_may_be_the_query_id(tmp_path: Path):
    source = keyed(tmp_path / "in")
    settings = ("input.columns.query_id=dt", "output.rank=true")
    output = Output(source, str(tmp_path / "out"), *settings)
    output.drive()
    assert [table.num_rows for table in output.tables()] == [4, 4, 4]
    for table in output.tables():
        assert sorted(table["rank"].to_pylist()) == [1, 2, 3, 4]


def test_the_key_that_divides_a_query_is_named(tmp_path: Path):
    for lang in ("de", "en"):
        write(tmp_path / f"lang={lang}/part-0.parquet", flat(4))
    assert "the partition key lang=en splits the query" in refused(tmp_path, "output.rank=true")


@pytest.mark.parametrize("source", ["list", "glob", "files"])
def test_keys_below_what_all_entries_share_count(tmp_path: Path, source: str):
    keyed(tmp_path)
    folders = sorted(tmp_path.glob("dt=2026*"))
    entries = {
        "list": folders,
        "glob": tmp_path / "dt=2026*/*/*.parquet",
        "files": sorted(tmp_path.glob("dt=2026*/*/*.parquet")),
    }
    found = read(plan_of(entries[source]))
    assert set(found["dt"].to_pylist()) == {"2026-01-01", "2026-01-02"}


def test_keys_above_the_input_give_no_column(tmp_path: Path):
    keyed(tmp_path)
    assert plan_of(tmp_path / "dt=2026-01-01").schema.carried == ("query_id", "doc_id", "lang")


def test_a_column_that_agrees_with_its_key_gives_the_type(tmp_path: Path):
    days = pa.array(["2026-01-01"] * 2).cast(pa.date32())
    write(tmp_path / "dt=2026-01-01/a.parquet", flat(2, dt=days))
    write(tmp_path / "dt=2026-01-02/a.parquet", flat(2, first=2))
    found = read(plan_of(tmp_path))
    assert found.schema.field("dt").type == pa.date32()
    assert [str(day) for day in found["dt"].to_pylist()] == ["2026-01-01"] * 2 + ["2026-01-02"] * 2


@pytest.mark.parametrize("values", [["x", "x"], ["en", "x"], ["en", None], [None, None]])
def test_a_column_that_differs_from_its_key_is_refused(tmp_path: Path, values: list[Any]):
    column = pa.array(values, pa.string())
    write(tmp_path / "lang=en/a.parquet", flat(2, lang=column))
    write(tmp_path / "lang=de/a.parquet", flat(2, first=2))
    with pytest.raises(InputError, match="differs from the partition key lang=en"):
        read(plan_of(tmp_path))


KINDS = [
    (pa.string(), pa.large_string(), pa.string()),
    (pa.string(), pa.string_view(), pa.string()),
    (pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.string()),
    (pa.string(), pa.binary(), pa.string()),
    (pa.large_string(), pa.large_string(), pa.large_string()),
    (pa.dictionary(pa.int8(), pa.string()),) * 3,
]


@pytest.mark.parametrize(("one", "other", "common"), KINDS, ids=str)
@pytest.mark.parametrize("name", ["doc_id", "query_id", "note"])
@pytest.mark.parametrize("swapped", [False, True])
def test_strings_of_two_kinds_become_one(
    tmp_path: Path,
    one: pa.DataType,
    other: pa.DataType,
    common: pa.DataType,
    name: str,
    swapped: bool,
):
    tables = [flat(2, note=["a", "b"]), flat(2, first=2, note=["c", None])]
    kinds = [other, one] if swapped else [one, other]
    for shard, table, kind in zip("ab", tables, kinds, strict=True):
        write(tmp_path / f"{shard}.parquet", as_type(table, **{name: kind}))
    found = read(plan_of(tmp_path))
    assert found.schema.field(name).type == common
    assert found[name].to_pylist() == pa.concat_tables(tables)[name].to_pylist()


def test_bytes_that_are_no_text_are_refused_beside_strings(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(1, note=["a"]))
    write(tmp_path / "b.parquet", flat(1, note=pa.array([b"\xff"])))
    with pytest.raises(InputError, match="column 'note'"):
        read(plan_of(tmp_path))


def test_the_doc_id_of_the_same_structs_is_found(tmp_path: Path):
    write(tmp_path / "a.parquet", structs([2]))
    plan = plan_of(tmp_path, "input.columns.passage=candidates.passage")
    assert plan.schema.roles["doc_id"] == "candidates.doc_id"


def test_a_doc_id_that_was_set_is_not_replaced(tmp_path: Path):
    write(tmp_path / "a.parquet", structs([2]))
    message = refused(
        tmp_path, "input.columns.passage=candidates.passage", "input.columns.doc_id=doc_id"
    )
    assert "column 'doc_id' is missing" in message
    assert "input.columns.doc_id=candidates.doc_id" in message


def test_all_missing_columns_are_named_with_near_ones(tmp_path: Path):
    renamed = flat(2).rename_columns(["qid", "question", "docno", "passages"])
    write(tmp_path / "a.parquet", renamed)
    message = refused(tmp_path, "output.passthrough=[titel]")
    for name in ("query_id", "query", "doc_id", "passage", "titel"):
        assert f"'{name}'" in message
    assert "input.columns.query_id=qid input.columns.query=question" in message
    assert "input.columns.doc_id=docno input.columns.passage=passages" in message
    assert "output.passthrough=[…]" in message


def test_the_columns_of_a_shard_are_told_and_not_those_of_others(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2).rename_columns(["qid", "question", "docno", "body"]))
    write(tmp_path / "b.parquet", pa.table({"query_id": ["q"], "q": ["x"], "text": ["y"]}))
    message = refused(tmp_path)
    assert message.startswith(
        f"{tmp_path}/a.parquet: columns 'query_id', 'query', 'doc_id', 'passage' are missing; the "
        "columns are qid, question, docno, body. "
    )
    assert message.endswith(
        "input.columns.query_id=qid input.columns.query=question input.columns.doc_id=docno "
        "input.columns.passage=body"
    )
    write(tmp_path / "a.parquet", flat(2))
    write(tmp_path / "b.parquet", flat(2, url=["u"] * 2))
    message = refused(tmp_path, "output.passthrough=[urls]")
    assert "the columns are query_id, query, doc_id, passage. " in message
    assert message.endswith("output.passthrough=[url]")


def test_a_column_that_does_not_fit_is_told_of_a_shard_that_has_it(tmp_path: Path):
    write(tmp_path / "a.parquet", flat(2))
    write(tmp_path / "b.parquet", flat(2, candidates=[[{"text": "x"}]] * 2))
    message = refused(tmp_path, "input.columns.passage=candidates.body")
    assert message.startswith(f"{tmp_path}/b.parquet: the structs of column 'candidates' have no")
    message = refused(tmp_path, "input.columns.query=candidates.text")
    assert message.startswith(f"{tmp_path}/b.parquet: 'candidates.text' is a field inside a list")


def test_metadata_of_writers_is_not_repeated(tmp_path: Path):
    table = flat(2).replace_schema_metadata({"pandas": "{}", "huggingface": "{}", "x": "y"})
    write(tmp_path / "in/a.parquet", table)
    output = Output(tmp_path / "in", str(tmp_path / "out"))
    output.drive()
    (name,) = (tmp_path / "out").glob("*.parquet")
    assert not pq.read_schema(name).metadata


def test_a_row_of_a_null_list_of_fixed_size_takes_no_candidates(tmp_path: Path):
    kind = pa.list_(pa.string(), 2)
    texts = pa.array([["a", "b"], None, ["c", "d"]], kind)
    write(tmp_path / "in/a.parquet", nested([2, 2, 2], passage=texts, doc_id=texts))
    output = Output(tmp_path / "in", str(tmp_path / "out"))
    output.drive()
    found = pa.concat_tables(output.tables())
    assert [len(scores) for scores in found["score"].to_pylist()] == [2, 0, 2]


def begun(plan: Plan, settings: Any) -> dict[str, Any]:
    """The identity as the first version wrote it, which did not tell the columns."""
    run = identity({"dtype": "float32"}, plan, settings)
    del run["input"]["schema"]
    return run


def differences(tmp_path: Path, source: Path) -> None:
    settings = config(source, tmp_path / "out")
    plan = make_plan(settings)
    before = begun(plan, settings)
    now = identity({"dtype": "float32"}, plan, settings, before)
    refuse_differences(Store(str(tmp_path / "out")), before, now)


def test_an_output_of_the_first_version_goes_on_where_its_columns_are_the_same(tmp_path: Path):
    write(tmp_path / "in/a.parquet", flat(2, year=pa.array([None, 1], pa.int32())))
    write(tmp_path / "in/b.parquet", flat(2, first=2, year=pa.nulls(2)))
    differences(tmp_path, tmp_path / "in")


@pytest.mark.parametrize("change", ["key", "column", "type"])
def test_an_output_of_the_first_version_with_other_columns_is_refused(tmp_path: Path, change: str):
    write(tmp_path / "in/dt=1/a.parquet" if change == "key" else tmp_path / "in/a.parquet", flat(2))
    if change == "column":
        write(tmp_path / "in/b.parquet", flat(2, first=2, year=[1, 2]))
    if change == "type":
        write(tmp_path / "in/a.parquet", flat(2, year=pa.array([1, 2], pa.int32())))
        write(tmp_path / "in/b.parquet", flat(2, first=2, year=[1, 2]))
    with pytest.raises(OutputConflict, match="columns"):
        differences(tmp_path, tmp_path / "in")


def test_keys_that_are_no_utf8_stay_different(tmp_path: Path):
    for number, value in enumerate(["%FF", "%FE", "%C3%BC"]):
        write(tmp_path / f"k={value}" / "a.parquet", flat(1, first=number))
    plan = make_plan(config(tmp_path, "elsewhere"))
    columns = plan.schema.columns
    tables = [table for part in plan.parts for _, table in read_parts([part], columns)]
    assert sorted(pa.concat_tables(tables)["k"].to_pylist()) == ["%FE", "%FF", "ü"]


@pytest.mark.parametrize("names", ["ab", "ba"])
def test_flat_and_nested_shards_need_two_runs(tmp_path: Path, names: str):
    write(tmp_path / f"{names[0]}.parquet", flat(2))
    write(tmp_path / f"{names[1]}.parquet", nested([2]))
    with pytest.raises(InputError, match=r"b\.parquet: .* in two runs, each with its own"):
        plan_of(tmp_path)


def test_an_output_beside_the_input_is_named_and_not_another_shard(tmp_path: Path):
    folder = write(tmp_path / "in/a.parquet", flat(5)).parent
    written = flat(5).append_column("score", pa.array([0.5] * 5, pa.float32()))
    pq.write_table(written.append_column("status", pa.array(["scored"] * 5)), folder / "z.parquet")
    message = refused(folder)
    assert message.startswith(f"{folder / 'z.parquet'}: column 'score' has the name")
    assert "belongs to an earlier output of batch-reranker, remove it from input.path" in message
