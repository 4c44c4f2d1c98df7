"""What a run records of its configuration is enough to repeat it from any folder."""

from pathlib import Path

from reranker_core.config import load_config
from reranker_core.input.plan import make_plan
from reranker_core.report.provenance import configuration
from tests.tables import flat, write


def test_paths_are_recorded_from_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("in") / "a.parquet", flat(2))
    settings = ["input.path=in", "output.path=out", "model.path=m", "preflight.canaries=c"]
    more = ["report.qrels=q", "report.against=old", "reuse.from=[one, auto, s3://b/two]"]
    config = load_config(None, [*settings, *more])
    scoring = {"model": {"weights": "1"}, "dtype": "float32"}
    found = configuration(make_plan(config), scoring, config)
    assert found["input"]["path"] == f"{tmp_path}/in"
    assert found["preflight"]["canaries"] == f"{tmp_path}/c"
    assert (found["report"]["qrels"], found["report"]["against"]) == (
        f"{tmp_path}/q",
        f"{tmp_path}/old",
    )
    assert found["reuse"]["from"] == [f"{tmp_path}/one", "auto", "s3://b/two"]
    automatic = load_config(None, [*settings, "report.against=auto", "reuse.from=auto"])
    found = configuration(make_plan(automatic), scoring, automatic)
    assert (found["report"]["against"], found["reuse"]["from"]) == ("auto", "auto")
