"""Values as they are typed on the command line."""

from __future__ import annotations

import pytest

from reranker_core.config import known_keys, load_config
from reranker_core.config.values import kinds, symbols
from reranker_core.errors import ConfigError

PATHS = ("input.path=in", "output.path=out", "model.path=m")
TEXTS = (
    "out/run #2",
    "a #1/x.parquet",
    "#",
    "tickets: newest first",
    "s3://b/x: y",
    "key:",
    " blank before and behind ",
    "\ttab",
    "two\nlines",
    "it's",
    "'single'",
    '"Yes" or "No"',
    '"',
    "2026-01-31",
    "12:30:00",
    "1e5",
    "0x10",
    "1_000",
    ".5",
    "Null",
    "~",
    "NaN",
    "true",
    "no",
    "[ab]*.parquet",
    "a[0]",
    "[a",
    "a]",
    "{a",
    "data/{a,b}",
    "a, b",
    "- a",
    "*.parquet",
    "&a",
    "!tag",
    "%x",
    "@x",
    "`x`",
    "|",
    ">",
    "?",
    "a=b",
    "=",
    "--",
    "…é漢字",
    "\\n",
    "$HOME",
)
TEXT_KEYS = [
    key for key, field in known_keys().items() if "text" in {kind.name for kind in kinds(field)}
]


def value(override: str) -> object:
    node: object = load_config(None, [*PATHS, override])
    for step in override.partition("=")[0].split("."):
        node = getattr(node, step)
    return node


def refused(override: str) -> str:
    with pytest.raises(ConfigError) as caught:
        value(override)
    _, line = str(caught.value).splitlines()
    return line.strip()


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_a_key_that_takes_text_takes_it_as_typed(key: str):
    for text in TEXTS:
        assert value(f"{key}={text}") == text


def test_number_signs_in_lists_of_text_begin_no_comment():
    typed = 'input.path=[day #1/a.parquet, "b #2.parquet", #3.parquet,#4, a#5 ]'
    assert value(typed) == ["day #1/a.parquet", "b #2.parquet", "#3.parquet", "#4", "a#5"]
    assert value("output.passthrough=[page #]") == ["page #"]


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_a_json_string_is_the_text_within_its_quotes(key: str):
    for typed, text in (
        ('"a b"', "a b"),
        ('"null"', "null"),
        ('"[a]"', "[a]"),
        (r'"\"q\""', '"q"'),
    ):
        assert value(f"{key}={typed}") == text


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_null_clears_a_key_that_may_be_empty_and_is_text_elsewhere(key: str):
    optional = "null" in {kind.name for kind in kinds(known_keys()[key])}
    assert value(f"{key}=null") == (None if optional else "null")


@pytest.mark.parametrize("key", TEXT_KEYS)
def test_no_text_is_text_only_where_it_has_a_meaning(key: str):
    if key in ("model.prompt", "model.instruction"):
        assert value(f"{key}=") == ""
    else:
        assert "is empty" in refused(f"{key}=")


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("[a.parquet, b.parquet]", ["a.parquet", "b.parquet"]),
        ("[a]", ["a"]),
        (' ["a, b", c #] ', ["a, b", "c #"]),  # no comment
        ('["a, b", "c #1", "*.parquet"]', ["a, b", "c #1", "*.parquet"]),
        ("[2026-01-31, 7, null, true, 1e3]", ["2026-01-31", "7", "null", "true", "1e3"]),
        ("[ab]*[cd]", "[ab]*[cd]"),
        ("{a: b}", "{a: b}"),
    ],
)
def test_text_in_brackets_is_a_list_where_the_key_takes_one(typed: str, found: object):
    assert value(f"input.path={typed}") == found


def test_text_in_brackets_is_text_where_the_key_takes_no_list():
    assert value("model.instruction=[a, b]") == "[a, b]"
    assert value("output.path=[7]") == "[7]"
    assert value("model.instruction={query}") == "{query}"


def test_text_within_a_template_is_as_typed_too():
    segments = 'model.template.segments=["{query}", "{passage}"]'
    config = load_config(None, [*PATHS, segments, "model.template.prompt=Is #5: a date, 2026?"])
    assert not isinstance(config.model.template, str)
    assert config.model.template.prompt == "Is #5: a date, 2026?"


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("plan.part_rows=010", 10),
        ("plan.part_rows= 7 ", 7),
        ("plan.part_rows=1_000", 1000),
        ("replicas.num_cpus=1e-1", 0.1),
        ("replicas.num_cpus=.5", 0.5),
        ("guard.max_quarantined_fraction=.01", 0.01),
        ("guard.max_quarantined_fraction=+.5e-1", 0.05),
        ("training.positive_score=-.5", -0.5),
        ("guard.max_stall_seconds=+.Inf", float("inf")),
        ("replicas.max=", None),
        ("replicas.max=null", None),
        ("output.rank=Yes", True),
        ("output.rank=off", False),
        ("score.compile=auto", "auto"),
        ("score.compile=false", False),
        ("output.label_thresholds=[1e-3, 2, -.5]", [0.001, 2.0, -0.5]),
        ("output.passthrough=all", "all"),
        ("output.passthrough=[all]", ["all"]),
        ("model.cutoff_layer=8", 8),
        ("model.cutoff_layer=[8, 16]", [8, 16]),
        ("model.compress_ratio=2", 2),
        ("model.dtype=bf16", "bfloat16"),
        ("model.dtype=FP16", "float16"),
        ("model.dtype=half", "float16"),
        ("model.dtype=fp32", "float32"),
        ("model.dtype=bfloat16", "bfloat16"),
        ("guard.max_stall_seconds=inf", float("inf")),
    ],
)
def test_other_values_mean_what_they_look_like(override: str, found: object):
    assert value(override) == found
    assert type(value(override)) is type(found)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("plan.part_rows=1:30", "plan.part_rows=1:30: expected a whole number >=1"),
        ("plan.part_rows=1e6", "plan.part_rows=1e6: expected a whole number >=1"),
        ("replicas.max=two", "replicas.max=two: expected a whole number >=1 or null"),
        ("output.rank=1", "output.rank=1: expected true or false"),
        ("model.device=gpu", "model.device=gpu: expected auto, cpu or cuda"),
        (
            "output.label_thresholds=0.5",
            "output.label_thresholds=0.5: expected a list in brackets, each item a number; "
            "write output.label_thresholds=[0.5]",
        ),
        (
            "output.passthrough=bm25",
            "output.passthrough=bm25: expected all or a list in brackets, each item text; "
            "write output.passthrough=[bm25]",
        ),
        (
            "model.cutoff_layer=8, 16",
            "model.cutoff_layer=8, 16: expected a whole number >=1, null or a list in brackets, "
            "each item a whole number >=1; write model.cutoff_layer=[8, 16]",
        ),
        ("model.cutoff_layer=[16, 8]", "model.cutoff_layer=[16, 8]: expected a layer, or a list"),
        (
            "input.path=[a: b]",
            "input.path=[a: b]: expected text or a list in brackets, each item text; put its "
            "items in double quotes",
        ),
        ("output.path=\udcff", r"output.path='\udcff': contains bytes that are not UTF-8"),
        ("model=BAAI/x", "model=BAAI/x: 'model' is a section; did you mean 'model.path'?"),
        ("plan=5", "plan=5: 'plan' is a section, with keys such as plan.part_rows"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(override: str, line: str):
    assert refused(override).startswith(line)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("batch_size", "score.max_batch_tokens"),
        ("model.batch_size", "score.max_batch_tokens"),
        ("max_seq_length", "model.max_length"),
        ("fp16", "model.dtype=float16"),
        ("use_bf16", "model.dtype=bfloat16"),
        ("device_map", "model.device"),
        ("num_workers", "replicas.max"),
        ("model_name_or_path", "model.path"),
        ("output_dir", "output.path"),
        ("torch-dtype", "model.dtype"),
        ("rank", "output.rank"),
        ("OUTPUT.rank", "output.rank"),
        ("--output.rank", "output.rank"),
        ("inptu.path", "input.path"),
        ("ouptut.path", "output.path"),
        ("input.pth", "input.path"),
        ("inptu.columns.passage", "input.columns.passage"),
    ],
)
def test_the_name_of_another_program_leads_to_ours(name: str, key: str):
    assert f"{name}: unknown key; did you mean '{key}'?" in refused(f"{name}=1")


def test_a_key_that_no_other_resembles_leads_to_the_keys_of_its_section():
    assert "score.x: unknown key; the keys of score are score.max_batch_tokens, " in refused(
        "score.x=1"
    )


def test_a_misspelt_key_is_not_also_missing():
    with pytest.raises(ConfigError) as caught:
        load_config(None, ["inptu.path=a", "output.path=b", "model.path=c"])
    assert "did you mean 'input.path'" in str(caught.value)
    assert "missing" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"input\.path: missing"):
        load_config(None, ["scoer.compile=true", "output.path=b", "model.path=c"])


def test_what_help_shows_of_values():
    shown = {key: symbols(kinds(field)) for key, field in known_keys().items()}
    assert shown["input.path"] == "TEXT|[TEXT, ...]"
    assert shown["output.rank"] == "{true|false}"
    assert shown["score.compile"] == "{auto|true|false}"
    assert shown["replicas.num_cpus"] == "NUMBER>0|null"
    assert shown["guard.max_quarantined_fraction"] == "NUMBER>=0,<=1"
    assert shown["preflight.checks.meaning"] == "{refuse|warn|off}"
    assert shown["model.template"] == "TEXT|{KEY: VALUE, ...}"
