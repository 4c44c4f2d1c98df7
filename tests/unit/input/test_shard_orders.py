"""What comes out does not depend on which shard is read first."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_core.errors import InputError
from reranker_core.input.columns import typed
from reranker_core.input.plan import make_plan
from reranker_core.input.reading import read_parts
from reranker_core.input.types.common_type import common_type
from reranker_core.input.types.conversion import converted
from tests import arrow_kinds
from tests.tables import config, flat

ARRAYS = arrow_kinds.plain() | arrow_kinds.nested()
KINDS = {name: array.type for name, array in ARRAYS.items()}


def inside(kinds: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    """Lists, structs and maps of these."""
    members = st.dictionaries(st.sampled_from("abc"), kinds, min_size=1)
    return st.one_of(
        st.builds(pa.list_, kinds),
        st.builds(pa.large_list, kinds),
        st.builds(lambda kind: pa.list_(kind, 2), kinds),
        members.map(lambda fields: pa.struct(list(fields.items()))),
        st.builds(lambda kind: pa.map_(pa.string(), kind), kinds),
    )


types = st.recursive(st.sampled_from(list(KINDS.values())), inside, max_leaves=4)


@settings(max_examples=100, deadline=None)
@given(st.lists(types, min_size=1, max_size=4), st.randoms())
def test_the_common_type_does_not_depend_on_the_order(kinds: list[pa.DataType], random: object):
    common = common_type(kinds)
    random.shuffle(kinds)  # type: ignore[attr-defined]
    again = common_type([*kinds, *kinds])
    assert (common is None) == (again is None)
    if common is not None:
        assert common == again
        assert common_type([common, *kinds]) == common


def test_members_that_differ_only_in_case_are_not_put_together():
    one, other = (pa.struct([(name, pa.int64())]) for name in ("Lang", "lang"))
    both = pa.struct([*one, *other])
    assert common_type([one, other]) is None
    assert common_type([pa.list_(one), pa.list_(other)]) is None
    assert common_type([one, both]) == both


@pytest.mark.parametrize("one", KINDS)
def test_values_are_the_same_in_the_common_type(one: str):
    for other, kind in KINDS.items():
        common = common_type([KINDS[one], kind])
        if common is None:
            continue
        try:
            found = converted(ARRAYS[one], common)
        except pa.ArrowInvalid:  # not UTF-8, or beyond the range of a finer unit
            assert pa.types.is_binary(KINDS[one]) or "binary" in str(KINDS[one])
            continue
        found.validate(full=True)
        assert found.type == common
        # Of these the way back does not exist.
        if common == KINDS[one] or not any(n in str(KINDS[one]) for n in ("fixed", "null")):
            back = converted(found, KINDS[one])
            assert str(back.to_pylist()) == str(ARRAYS[one].to_pylist()), other


def test_members_of_one_name_keep_their_values():
    values = [pa.array([text], pa.string_view()) for text in "ab"]
    found = converted(
        pa.StructArray.from_arrays(values, names=["x", "x"]),
        pa.struct([("x", pa.string()), ("x", pa.string())]),
    )
    assert [found.field(index).to_pylist() for index in (0, 1)] == [["a"], ["b"]]


@pytest.mark.parametrize("first", [0, 1])
def test_null_structs_may_have_members_that_may_not_be_null(first: int):
    found = arrow_kinds.required(["x", "", "y"], [False, True, False]).slice(first)
    kind = found.type.field("b").type.field("x").with_type(pa.large_string())
    wanted = pa.struct([found.type.field("a"), pa.field("b", pa.struct([kind]), nullable=False)])
    changed = converted(found, wanted)
    changed.validate(full=True)
    assert changed.type == wanted
    assert changed.to_pylist() == found.to_pylist()
    pq.write_table(pa.table({"x": changed}), io.BytesIO())  # refuses a member that is null


VARIANTS = {
    "text": [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.null(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    "number": [pa.int8(), pa.int16(), pa.uint8(), pa.uint16(), pa.int32(), pa.float64()],
    "moment": [pa.timestamp(unit, "UTC") for unit in ("ms", "us")],
    "words": [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.null())],
}
VALUES = {"text": ["x", None], "number": [3, None], "moment": [1000, None], "words": [[], None]}


@st.composite
def shards(draw: st.DrawFn) -> list[pa.Table]:
    """Tables that several writers may have made of one data set."""
    tables = []
    for number in range(draw(st.integers(2, 4))):
        more = {}
        for name in draw(st.lists(st.sampled_from(sorted(VARIANTS)), unique=True)):
            kind = draw(st.sampled_from(VARIANTS[name]))
            values = [None, None] if pa.types.is_null(kind) else VALUES[name]
            if pa.types.is_dictionary(kind):
                more[name] = pa.array(values, pa.string()).dictionary_encode()
            else:
                more[name] = pa.array(values, kind)
        tables.append(flat(2, first=2 * number, **more))
    return tables


def outcome(tables: list[pa.Table], key: bool) -> tuple[list[str], list[dict]] | str:
    """Types and rows of all columns, whatever their order."""
    with tempfile.TemporaryDirectory() as folder:
        for number, table in enumerate(tables):
            row = table["doc_id"][0].as_py()
            path = Path(folder, f"part={row}" if key else "", f"{number}.parquet")
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path)
        try:
            plan = make_plan(config(folder, "out"))
            read = [
                typed(rows, plan.schema)
                for part in plan.parts
                for _, rows in read_parts([part], plan.schema.columns)
            ]
        except InputError:
            return "refused"
        found = pa.concat_tables(read)
    found = found.select(sorted(found.column_names))
    rows = sorted(found.to_pylist(), key=lambda row: row["doc_id"])
    return [f"{field.name} {field.type}" for field in found.schema], rows


@settings(max_examples=20, deadline=None)
@given(shards(), st.randoms(), st.booleans())
def test_rows_and_types_do_not_depend_on_the_order_of_shards(
    tables: list[pa.Table], random: object, key: bool
):
    first = outcome(tables, key)
    assert first != "refused"
    shuffled = list(tables)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert outcome(shuffled, key) == first
    rows = {row["doc_id"]: row for row in first[1]}
    for table in tables:
        for row in table.to_pylist():
            for name, value in row.items():
                found = rows[row["doc_id"]][name]
                assert text_of(found) == text_of(value)


def text_of(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
