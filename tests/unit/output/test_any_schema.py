"""Whatever columns a data set has, and however its files were written, the output has the same
values in the same types. Through plan, read, results and commit; scores are made up.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import arrow_kinds
from tests.outputs import Output
from tests.tables import flat

LEAVES = arrow_kinds.plain()
# pyarrow writes views only as columns, and no null type in lists of fixed size.
INNER = [name for name in LEAVES if "view" not in name and name != "null"]


@st.composite
def leaves(draw: st.DrawFn, rows: int, names: list[str]) -> pa.Array:
    """Values of one of the kinds, nulls among them."""
    picked = pa.array(draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)), pa.int64())
    array = LEAVES[draw(st.sampled_from(names))]
    if isinstance(array.type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(array.type, array.storage.take(picked))
    if pa.types.is_binary_view(array.type) or pa.types.is_string_view(array.type):
        return pa.array([array[place].as_py() for place in picked.to_pylist()], array.type)
    return array.take(picked)


@st.composite
def arrays(draw: st.DrawFn, rows: int, depth: int = 2, names: Any = tuple(LEAVES)) -> pa.Array:
    """Values of a kind, or lists, structs and maps of these."""
    shape = draw(st.sampled_from(["leaf", "list", "large", "fixed", "struct", "map"]))
    if depth == 0 or shape == "leaf":
        return draw(leaves(rows, list(names)))
    if shape == "fixed":
        inner = draw(arrays(2 * rows, depth - 1, INNER))
        return pa.FixedSizeListArray.from_arrays(inner, 2)
    null = draw(st.lists(st.booleans(), min_size=rows, max_size=rows))
    if shape == "struct":
        members = [draw(arrays(rows, depth - 1, INNER)) for _ in range(draw(st.integers(1, 3)))]
        letters = [f"m {number}" for number in range(len(members))]
        return pa.StructArray.from_arrays(members, letters, mask=pa.array(null, pa.bool_()))
    lengths = draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows))
    lengths = [0 if is_null else length for length, is_null in zip(lengths, null, strict=True)]
    ends = [sum(lengths[:row]) for row in range(rows + 1)]
    inner = draw(arrays(ends[-1], depth - 1, INNER))
    if shape == "map":
        keys = pa.array([f"k{number}" for number in range(ends[-1])], pa.string())
        starts = [None if gone else end for gone, end in zip([*null, False], ends, strict=True)]
        return pa.MapArray.from_arrays(pa.array(starts, pa.int32()), keys, inner)
    kind, width = (pa.ListArray, pa.int32()) if shape == "list" else (pa.LargeListArray, pa.int64())
    return kind.from_arrays(pa.array(ends, width), inner, mask=pa.array(null, pa.bool_()))


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Flat pairs with any other columns."""
    rows = draw(st.integers(1, 9))
    table = flat(rows)
    for number in range(draw(st.integers(1, 4))):
        table = table.append_column(f"x {number}", draw(arrays(rows)))
    return table


writers = st.fixed_dictionaries(
    {
        "row_group_size": st.integers(1, 9),
        "use_dictionary": st.booleans(),
        "data_page_version": st.sampled_from(["1.0", "2.0"]),
        "store_schema": st.booleans(),
        "compression": st.sampled_from(["none", "zstd"]),
        "write_statistics": st.booleans(),
    }
)


@settings(max_examples=25, deadline=None)
@given(tables(), writers, st.integers(1, 9), st.integers(1, 3))
def test_all_columns_come_out_as_they_were(
    table: pa.Table, options: dict[str, Any], part_rows: int, files: int
):
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        source.mkdir()
        step = -(-table.num_rows // files)
        for number, first in enumerate(range(0, table.num_rows, step)):
            pq.write_table(table.slice(first, step), source / f"{number}.parquet", **options)
        before = pa.concat_tables([pq.read_table(path) for path in sorted(source.iterdir())])
        output = Output(source, f"{folder}/out", f"plan.part_rows={part_rows}")
        output.drive()
        after = pa.concat_tables(output.tables())
    assert after.num_rows == before.num_rows
    for name in before.column_names:
        if name not in ("query", "passage"):
            assert after.schema.field(name).type == before.schema.field(name).type
            found, expected = after[name].combine_chunks(), before[name].combine_chunks()
            assert found.equals(expected) or str(found.to_pylist()) == str(expected.to_pylist())
