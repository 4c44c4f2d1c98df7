"""The configuration: what is accepted, and how wrong ones are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from reranker_core.config import Config, known_keys, load_config
from reranker_core.errors import ConfigError

REQUIRED = ("input.path=in", "output.path=out", "model.path=model")


def load(*overrides: str) -> Config:
    return load_config(None, [*REQUIRED, *overrides])


def refused(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides)
    return str(caught.value)


def in_file(folder: Path, text: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read(tmp_path: Path):
    text = "input: {path: in}\noutput:\n  path: out\n  rank: true\nmodel: {path: m}\n"
    config = load_config(in_file(tmp_path, text))
    assert (config.input.path, config.output.rank, config.model.path) == ("in", True, "m")


def test_overrides_win_over_the_file_and_leave_its_other_keys(tmp_path: Path):
    text = "input: {path: in}\noutput: {path: out, rank: true}\nmodel: {path: m}\n"
    config = load_config(in_file(tmp_path, text), ["output.path=elsewhere"])
    assert (config.output.path, config.output.rank) == ("elsewhere", True)


def test_the_last_of_two_overrides_wins():
    assert load("plan.part_rows=5", "plan.part_rows=7").plan.part_rows == 7


def test_overrides_alone_are_enough():
    assert load().model.path == "model"


@pytest.mark.parametrize(
    ("override", "section", "field", "value"),
    [
        ("replicas.max=3", "replicas", "max", 3),
        ("replicas.num_cpus=2", "replicas", "num_cpus", 2.0),
        ("replicas.num_gpus=0.5", "replicas", "num_gpus", 0.5),
        ("output.rank=true", "output", "rank", True),
        ("output.rank=no", "output", "rank", False),
        ("input.path=[a.parquet, b.parquet]", "input", "path", ["a.parquet", "b.parquet"]),
        ("output.passthrough=[]", "output", "passthrough", []),
        ("input.path=data/*.parquet", "input", "path", "data/*.parquet"),
        ("input.path=*.parquet", "input", "path", "*.parquet"),
        ("input.path=[ab]*.parquet", "input", "path", "[ab]*.parquet"),
        ("output.path=2026-01-31", "output", "path", "2026-01-31"),
        ("output.path=s3://bucket/a=b/c", "output", "path", "s3://bucket/a=b/c"),
        ("model.max_length=null", "model", "max_length", None),
    ],
)
def test_values_of_overrides_mean_what_they_look_like(
    override: str, section: str, field: str, value: object
):
    found = getattr(getattr(load(override), section), field)
    assert found == value
    assert type(found) is type(value)


def test_overrides_reach_keys_three_levels_down():
    assert load("input.columns.passage=candidates.text").input.columns.passage == "candidates.text"


@pytest.mark.parametrize(
    ("override", "nearest"),
    [
        ("plan.part_row=5", "plan.part_rows"),
        ("score.max_batch_token=99", "score.max_batch_tokens"),
        ("output.ranks=true", "output.rank"),
        ("input.columns.pasage=text", "input.columns.passage"),
        ("preflight.checks.wights=off", "preflight.checks.weights"),
        ("max_length=99", "model.max_length"),
        ("model.max_batch_tokens=99", "score.max_batch_tokens"),
    ],
)
def test_an_unknown_key_names_the_nearest(override: str, nearest: str):
    message = refused(override)
    assert f"{override.partition('=')[0]}: unknown key" in message
    assert f"did you mean '{nearest}'" in message


def test_an_unknown_key_like_no_other_has_no_suggestion():
    message = refused("zzz.qqqqqq=1")
    assert "zzz.qqqqqq: unknown key" in message
    assert "did you mean" not in message


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("plan.part_rows=0", "plan.part_rows=0:"),
        ("plan.part_rows=many", "plan.part_rows=many:"),
        ("plan.part_rows=1.5", "plan.part_rows=1.5:"),
        ("replicas.min=true", "replicas.min=true:"),
        ("replicas.num_cpus=0", "replicas.num_cpus=0:"),
        ("output.rank=1", "output.rank=1:"),
        ("output.normalize=softmax", "output.normalize=softmax:"),
        ("input.path=[a: b]", "input.path=[a: b]:"),
        ("model.dtype=fp8", "model.dtype=fp8:"),
        ("model.max_length=7", "model.max_length=7:"),
        ("guard.max_quarantined_fraction=1.01", "guard.max_quarantined_fraction=1.01:"),
        ("guard.max_quarantined_fraction=-0.1", "guard.max_quarantined_fraction=-0.1:"),
        ("guard.max_quarantined_fraction=.nan", "guard.max_quarantined_fraction=.nan:"),
        ("preflight.checks.meaning=ignore", "preflight.checks.meaning=ignore:"),
    ],
)
def test_a_wrong_value_names_key_and_value(override: str, named: str):
    assert named in refused(override)


def test_all_problems_are_named_at_once():
    message = refused("plan.part_rows=0", "model.dtpye=float32", "output.normalize=soft")
    for key in ("plan.part_rows=0", "model.dtpye", "output.normalize=soft"):
        assert key in message


def test_missing_keys_are_named_with_their_remedy():
    with pytest.raises(ConfigError) as caught:
        load_config(None)
    for key in ("input.path", "output.path", "model.path"):
        assert f"{key}: missing" in str(caught.value)


def test_min_above_max_names_both():
    message = refused("replicas.min=4", "replicas.max=2")
    assert "min=4" in message
    assert "max=2" in message


def test_min_may_equal_max():
    replicas = load("replicas.min=2", "replicas.max=2").replicas
    assert replicas.min == replicas.max == 2


@pytest.mark.parametrize("spelling", ["off", "OFF", "'off'", "false"])
def test_off_is_off_though_yaml_reads_false(tmp_path: Path, spelling: str):
    text = (
        f"input: {{path: in}}\noutput: {{path: out}}\nmodel: {{path: m}}\n"
        f"preflight:\n  checks:\n    meaning: {spelling}\n"
    )
    assert load_config(in_file(tmp_path, text)).preflight.checks.meaning == "off"
    assert load(f"preflight.checks.meaning={spelling}").preflight.checks.meaning == "off"


def test_an_empty_section_has_its_defaults(tmp_path: Path):
    text = "input: {path: in}\noutput: {path: out}\nmodel: {path: m}\nplan:\nreplicas: {}\n"
    config = load_config(in_file(tmp_path, text))
    assert config.plan == load().plan
    assert config.replicas == load().replicas


def test_an_empty_section_can_be_overridden(tmp_path: Path):
    text = "input:\noutput:\nmodel:\n"
    assert load_config(in_file(tmp_path, text), REQUIRED).output.path == "out"


def test_an_empty_required_section_names_its_missing_keys(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"model\.path: missing"):
        load_config(in_file(tmp_path, "input: {path: i}\noutput: {path: o}\nmodel:\n"))


def test_an_empty_file_is_an_empty_configuration(tmp_path: Path):
    assert load_config(in_file(tmp_path, ""), REQUIRED) == load()


def test_a_value_in_place_of_a_section_is_named(tmp_path: Path):
    text = "input: {path: in}\noutput: {path: out}\nmodel: {path: m}\nplan: 5\n"
    with pytest.raises(ConfigError, match="plan=5"):
        load_config(in_file(tmp_path, text))


def test_an_override_below_a_value_is_refused(tmp_path: Path):
    text = "input: {path: in}\noutput: {path: out}\nmodel: bge\n"
    with pytest.raises(ConfigError, match="'model' is a value"):
        load_config(in_file(tmp_path, text), ["model.path=x"])


def test_an_override_without_equals_is_refused():
    assert "'output.rank' has no '='" in refused("output.rank")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"absent\.yaml"):
        load_config(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "content", [b"input: [unclosed", b"\xff\xfe\xff", b"- a\n- b\n", b"just text\n"]
)
def test_a_file_that_holds_no_mapping_is_named(tmp_path: Path, content: bytes):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        load_config(path, REQUIRED)


def test_a_folder_in_place_of_a_file_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_the_configuration_is_frozen():
    config = load()
    with pytest.raises(ValidationError):
        config.plan.part_rows = 3
    with pytest.raises(ValidationError):
        config.plan = load("plan.part_rows=3").plan


def test_known_keys_name_every_leaf():
    keys = known_keys()
    assert {"input.path", "input.columns.passage", "replicas.num_gpus"} <= keys.keys()
    assert not {"input", "input.columns", "preflight.checks"} & keys.keys()


def test_every_known_key_can_be_set():
    for key, field in known_keys().items():
        if not field.is_required():
            sections, _, name = key.rpartition(".")
            tree: dict = {name: field.default}
            for section in reversed(sections.split(".")):
                tree = {section: tree}
            given = load().model_dump()
            given[sections.split(".")[0]] |= tree[sections.split(".")[0]]
            Config.model_validate(given)


def test_configurations_with_lists_and_mappings_can_be_cached():
    template = {"segments": ["{query}", "{passage}"], "answers": {"Yes": 1}}
    own = f"model.template={json.dumps(template)}"
    one, same, other = (
        load_config(None, [*REQUIRED, own, f"model.compress_layers={layers}"])
        for layers in ([8], [8], [9])
    )
    assert hash(one.model) == hash(same.model)
    assert len({one.model, same.model, other.model}) == 2
