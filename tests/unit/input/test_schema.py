"""Which columns a shard must have, and what of it goes on to the output."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from reranker_core.errors import InputError
from reranker_core.input.columns import check_schema, common_schema
from reranker_core.input.schema import Field, InputSchema, resolve_schema
from reranker_core.input.types.common_type import is_text
from tests.tables import STRUCT_COLUMNS, config, flat, nested, structs

NESTED = nested([1, 2]).schema
STRUCTS = structs([1, 2]).schema
FLAT = flat(1).schema


def with_field(schema: pa.Schema, name: str, kind: pa.DataType) -> pa.Schema:
    return schema.set(schema.get_field_index(name), pa.field(name, kind))


def resolve(arrow: pa.Schema, *overrides: str) -> InputSchema:
    """Resolved and checked as the first shard of a run."""
    schema = resolve_schema(arrow, config("in", "out", *overrides), "shard.parquet")
    check_schema(arrow, schema, arrow, "shard.parquet")
    return schema


def refused(arrow: pa.Schema, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        resolve(arrow, *overrides)
    assert "shard.parquet" in str(caught.value)
    return str(caught.value)


def refused_second(first: pa.Schema, second: pa.Schema, *overrides: str) -> str:
    common = common_schema([first, second])
    schema = resolve_schema(common, config("in", "out", *overrides), "shard.parquet")
    check_schema(first, schema, common, "shard.parquet")
    with pytest.raises(InputError) as caught:
        check_schema(second, schema, common, "second.parquet")
    assert "second.parquet" in str(caught.value)
    return str(caught.value)


def test_a_row_a_pair_is_flat():
    schema = resolve(FLAT)
    assert not schema.nested
    assert schema.passage == Field("passage")


def test_lists_of_passages_are_nested():
    assert resolve(NESTED).nested


@pytest.mark.parametrize("kind", [pa.large_list(pa.string()), pa.list_(pa.string(), 3)])
def test_every_kind_of_list_is_nested(kind: pa.DataType):
    assert resolve(with_field(NESTED, "passage", kind)).nested


def test_lists_of_structs_are_addressed_with_a_dot():
    schema = resolve(STRUCTS, *STRUCT_COLUMNS)
    assert schema.nested
    assert schema.passage == Field("candidates", "passage")
    assert schema.doc_id == Field("candidates", "doc_id")
    assert str(schema.passage) == "candidates.passage"


def test_a_column_whose_name_has_a_dot_is_a_column():
    arrow = FLAT.append(pa.field("doc.text", pa.string()))
    schema = resolve(arrow, "input.columns.passage=doc.text")
    assert schema.passage == Field("doc.text")


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int32(), pa.string()),
        pa.dictionary(pa.int8(), pa.large_string()),
        pa.null(),
    ],
)
def test_text_may_be_any_kind_of_string(kind: pa.DataType):
    assert resolve(with_field(FLAT, "passage", kind)).passage == Field("passage")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (pa.string(), True),
        (pa.large_string(), True),
        (pa.dictionary(pa.int32(), pa.string()), True),
        (pa.binary(), False),
        (pa.int64(), False),
        (pa.dictionary(pa.int32(), pa.int64()), False),
    ],
)
def test_what_is_text(kind: pa.DataType, text: bool):
    assert is_text(kind) == text


@pytest.mark.parametrize("role", ["query_id", "query", "doc_id", "passage"])
def test_a_missing_column_is_named_with_those_there_are(role: str):
    message = refused(FLAT.remove(FLAT.get_field_index(role)))
    assert f"column '{role}' is missing" in message
    assert f"input.columns.{role}=" in message
    assert all(name in message for name in FLAT.names)


@pytest.mark.parametrize("name", ["query_id", "query", "doc_id", "passage"])
def test_a_column_that_stands_there_twice_is_named(name: str):
    message = refused(FLAT.append(FLAT.field(name)))
    assert f"column '{name}' occurs 2 times" in message


def test_a_passed_through_column_that_stands_there_twice_is_named():
    extra = pa.field("year", pa.int64())
    assert "column 'year' occurs 2 times" in refused(FLAT.append(extra).append(extra))


def test_a_double_column_that_is_not_read_is_no_matter():
    extra = pa.field("year", pa.int64())
    assert resolve(FLAT.append(extra).append(extra), "output.passthrough=[]")


def test_a_list_of_structs_that_stands_there_twice_is_named():
    message = refused(STRUCTS.append(STRUCTS.field("candidates")), *STRUCT_COLUMNS)
    assert "column 'candidates' occurs 2 times" in message


@pytest.mark.parametrize("name", ["query", "passage"])
@pytest.mark.parametrize("kind", [pa.int64(), pa.binary(3), pa.struct([("text", pa.string())])])
def test_text_of_another_type_names_expected_and_found(name: str, kind: pa.DataType):
    message = refused(with_field(FLAT, name, kind))
    assert f"column '{name}' is {kind}; expected string" in message


def test_lists_in_a_flat_layout_name_the_remedy():
    message = refused(NESTED, "input.layout=flat")
    assert "column 'passage' is list" in message
    assert "input.layout=nested" in message


def test_lists_of_queries_in_a_nested_layout_have_no_false_remedy():
    more = NESTED.append(pa.field("ins", pa.string()))
    for name, overrides in (("query", ()), ("ins", ("input.columns.instruction=ins",))):
        message = refused(with_field(more, name, pa.list_(pa.string())), *overrides)
        assert f"column '{name}' is list" in message
        assert "input.layout" not in message


def test_plain_passages_in_a_nested_layout_name_the_remedy():
    message = refused(FLAT, "input.layout=nested")
    assert "column 'passage' is string" in message
    assert "input.layout=flat" in message


def test_plain_doc_ids_beside_lists_of_passages_are_refused():
    assert "column 'doc_id' is string" in refused(with_field(NESTED, "doc_id", pa.string()))


def test_lists_of_something_else_than_text_are_refused():
    message = refused(with_field(NESTED, "passage", pa.list_(pa.int64())))
    assert "column 'passage' is int64; expected string" in message


def test_a_struct_without_the_configured_field_names_those_there_are():
    message = refused(STRUCTS, STRUCT_COLUMNS[0], "input.columns.passage=candidates.text")
    assert "no field 'text'" in message
    assert "doc_id, passage, year" in message


def test_no_text_is_proposed_as_an_id_and_no_query_as_a_passage():
    message = refused(pa.schema([("query", pa.string()), ("passage", pa.string())]))
    assert "Set the right columns with input.columns.query_id=… input.columns.doc_id=…" in message
    message = refused(pa.schema([("query_id", pa.string()), ("doc_id", pa.string())]))
    assert "input.columns.query=… input.columns.passage=…" in message


LISTS = pa.list_(pa.string())


@pytest.mark.parametrize(
    ("columns", "overrides", "proposed"),
    [
        # `q` may be the id or the text.
        (
            {"q": pa.string(), "text": pa.string(), "docs": LISTS, "passages": LISTS},
            (),
            "query_id=… query=… doc_id=… passage=passages",
        ),
        (
            {"q": pa.string(), "text": pa.string(), "ids": LISTS, "passages": LISTS},
            ("query_id=q",),
            "query=… doc_id=… passage=passages",
        ),
        (
            {"id": pa.string(), "q": pa.string(), "docno": LISTS, "texts": LISTS},
            ("query_id=id", "passage=texts"),
            "query=q doc_id=docno",
        ),
        # The names of other lists are no ids of flat rows.
        (
            {"qid": pa.int64(), "question": pa.string(), "doc_ids": LISTS, "document": pa.string()},
            (),
            "query_id=qid query=question doc_id=… passage=document",
        ),
        (
            {"query_id": pa.string(), "query": pa.string(), "instructions": pa.string()},
            ("instruction=instruct", "doc_id=query_id", "passage=instructions"),
            "instruction=…",
        ),
        (
            {"qid": pa.string(), "query": pa.string(), "instructions": pa.string()},
            ("instruction=instruction",),
            "query_id=qid doc_id=… passage=… instruction=instructions",
        ),
    ],
)
def test_columns_are_proposed_that_fit_by_name_and_type(columns, overrides, proposed):
    given = [f"input.columns.{each}" for each in overrides]
    message = refused(pa.schema(columns.items()), *given)
    said = re.findall(r"input\.columns\.(\w+=\S+)", message.partition("Set the right")[2])
    assert " ".join(said) == proposed


def test_one_column_is_not_both_texts():
    message = refused(FLAT, "input.columns.passage=query")
    assert "input.columns.query and input.columns.passage are both 'query'" in message


def test_lists_of_texts_are_no_ids_of_flat_rows():
    message = refused(with_field(FLAT, "doc_id", LISTS))
    assert "but 'passage' has one text for each row" in message


def test_an_output_as_input_is_told_as_such():
    names = ("query_id", "doc_id", "score", "status")
    message = refused(pa.schema([(name, pa.string()) for name in names]))
    assert "seems to be an output of batch-reranker" in message


def test_a_dotted_name_of_no_column_is_missing():
    message = refused(FLAT, *STRUCT_COLUMNS)
    assert "columns 'candidates.doc_id', 'candidates.passage' are missing" in message


def test_a_query_inside_the_candidates_is_refused():
    message = refused(STRUCTS, *STRUCT_COLUMNS, "input.columns.query=candidates.passage")
    assert "input.columns.query has one value per row" in message


def test_a_column_to_pass_through_that_is_missing_is_named_with_its_key():
    message = refused(FLAT, "output.passthrough=[yaer]")
    assert "column 'yaer' is missing" in message
    assert "output.passthrough=" in message
    assert "input.columns" not in message


def test_all_other_columns_pass_through_and_text_does_not():
    arrow = FLAT.append(pa.field("year", pa.int64())).append(pa.field("lang", pa.string()))
    schema = resolve(arrow)
    assert schema.carried == ("query_id", "doc_id", "year", "lang")
    assert schema.columns == tuple(arrow.names)


def test_text_goes_on_to_the_output_when_asked_for():
    assert resolve(FLAT, "output.text=true").carried == ("query_id", "query", "doc_id", "passage")


def test_only_listed_columns_pass_through_and_are_read():
    arrow = FLAT.append(pa.field("year", pa.int64())).append(pa.field("lang", pa.string()))
    schema = resolve(arrow, "output.passthrough=[lang]")
    assert schema.carried == ("query_id", "doc_id", "lang")
    assert "year" not in schema.columns


def test_ids_are_carried_when_nothing_passes_through():
    assert resolve(FLAT, "output.passthrough=[]").carried == ("query_id", "doc_id")


def test_parallel_lists_of_passages_are_text():
    assert resolve(NESTED).carried == ("query_id", "doc_id")


def test_structs_with_more_than_the_passage_are_carried():
    assert resolve(STRUCTS, *STRUCT_COLUMNS).carried == ("query_id", "candidates")


def test_structs_of_nothing_but_the_passage_are_not_carried():
    lone = with_field(NESTED, "passage", pa.list_(pa.struct([("text", pa.string())])))
    schema = resolve(lone, "input.columns.passage=passage.text")
    assert schema.carried == ("query_id", "doc_id")


@pytest.mark.parametrize(
    ("name", "overrides", "remedy"),
    [
        ("score", [], "output.columns.score="),
        ("status", [], "output.columns.status="),
        ("rank", ["output.rank=true"], "output.columns.rank="),
        ("score_normalized", ["output.normalize=sigmoid"], "output.columns.normalized="),
    ],
)
def test_a_column_with_the_name_of_one_that_is_added(name: str, overrides: list[str], remedy: str):
    arrow = FLAT.append(pa.field(name, pa.float64()))
    message = refused(arrow, *overrides)
    assert f"column '{name}' has the name of a column that the job adds" in message
    assert remedy in message
    resolve(arrow, *overrides, f"{remedy}renamed")
    resolve(arrow, *overrides, "output.passthrough=[]")


@pytest.mark.parametrize("name", ["rank", "score_normalized"])
def test_a_column_that_is_not_added_may_be_there(name: str):
    assert name in resolve(FLAT.append(pa.field(name, pa.float64()))).carried


def test_two_added_columns_of_one_name_are_refused():
    with pytest.raises(InputError, match="two columns have the same name"):
        resolve(FLAT, "output.columns.score=result", "output.columns.status=result")


def test_a_second_shard_may_have_another_order_and_more_columns():
    schema = resolve(FLAT)
    second = pa.schema([pa.field("new", pa.int64()), *reversed(list(FLAT))])
    check_schema(second, schema, FLAT, "second.parquet")


def test_a_second_shard_may_have_another_kind_of_text():
    check_schema(
        with_field(FLAT, "passage", pa.large_string()), resolve(FLAT), FLAT, "second.parquet"
    )


@pytest.mark.parametrize("name", ["query_id", "query", "doc_id", "passage"])
def test_a_second_shard_without_a_required_column_is_named(name: str):
    message = refused_second(FLAT, FLAT.remove(FLAT.get_field_index(name)))
    assert f"column '{name}' is missing" in message
    assert "input.columns" not in message


@pytest.mark.parametrize("name", ["query_id", "doc_id", "year"])
def test_a_second_shard_with_another_type_names_both(name: str):
    first = FLAT.append(pa.field("year", pa.int64())).append(pa.field("lang", pa.string()))
    message = refused_second(first, with_field(first, name, pa.float32()))
    assert f"column '{name}' is float, but {first.field(name).type} in other" in message


def test_the_remedy_for_a_type_leaves_out_what_can_be_left_out():
    first = FLAT.append(pa.field("year", pa.int64())).append(pa.field("lang", pa.string()))
    carried = refused_second(first, with_field(first, "year", pa.float64()))
    assert "output.passthrough=[lang]" in carried
    for_id = refused_second(first, with_field(first, "doc_id", pa.int64()))
    assert "output.passthrough cannot leave this column out" in for_id


def test_a_second_shard_whose_text_is_none_is_named():
    message = refused_second(FLAT, with_field(FLAT, "passage", pa.int64()))
    assert "column 'passage' is int64; expected string" in message


def test_a_flat_shard_after_nested_ones_is_named():
    assert "column 'passage' is string" in refused_second(NESTED, FLAT)


def test_a_nested_shard_after_flat_ones_is_named():
    assert "column 'passage' is list" in refused_second(FLAT, NESTED)


def second_structs(**kinds: pa.DataType) -> pa.Schema:
    fields = {"doc_id": pa.string(), "passage": pa.string(), "year": pa.int64()} | kinds
    kept = [(name, kind) for name, kind in fields.items() if kind is not None]
    return with_field(STRUCTS, "candidates", pa.list_(pa.struct(kept)))


@pytest.mark.parametrize("member", ["passage", "doc_id"])
def test_a_second_shard_whose_structs_lack_a_field_is_named(member: str):
    message = refused_second(STRUCTS, second_structs(**{member: None}), *STRUCT_COLUMNS)
    assert member in message


def test_a_second_shard_whose_structs_differ_in_another_type_is_named():
    message = refused_second(STRUCTS, second_structs(doc_id=pa.int64()), *STRUCT_COLUMNS)
    assert "candidates" in message


def test_a_second_shard_whose_candidates_are_no_structs_is_named():
    second = with_field(STRUCTS, "candidates", pa.list_(pa.string()))
    assert "expected a list of structs" in refused_second(STRUCTS, second, *STRUCT_COLUMNS)


def test_a_query_id_that_is_the_query_itself_is_carried():
    assert "query" in resolve(FLAT, "input.columns.query_id=query").carried


def test_a_field_of_structs_cannot_be_passed_through_alone():
    arrow = FLAT.append(pa.field("more", pa.list_(pa.struct([("title", pa.string())]))))
    assert "more.title" in refused(arrow, "output.passthrough=[more.title]")


def test_a_field_of_a_struct_that_is_no_list_is_told():
    row = FLAT.append(pa.field("t", pa.struct([("body", pa.string())])))
    message = refused(row, "input.columns.passage=t.body")
    assert "column 't' is a struct; expected a list of structs" in message
    assert "SELECT *, t.body AS body" in message


@pytest.mark.parametrize("column", ["cands.v1", "v.cands.1", "candidates."])
def test_a_list_of_structs_may_have_dots_in_its_name(column: str):
    index = STRUCTS.get_field_index("candidates")
    arrow = STRUCTS.set(index, STRUCTS.field(index).with_name(column))
    arrow = arrow.append(pa.field("v", pa.int64())).append(pa.field("cands", pa.list_(pa.int8())))
    schema = resolve(arrow, f"input.columns.passage={column}.passage")
    assert (schema.passage, schema.doc_id) == (Field(column, "passage"), Field(column, "doc_id"))


def test_a_field_of_structs_may_have_dots_in_its_name():
    kind = pa.list_(pa.struct([("p.text", pa.string()), ("doc_id", pa.string())]))
    arrow = with_field(STRUCTS, "candidates", kind)
    schema = resolve(arrow, "input.columns.passage=candidates.p.text")
    assert schema.passage == Field("candidates", "p.text")
