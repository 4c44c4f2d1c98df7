"""`batch-reranker verify` needs nothing but the output."""

import json

from reranker_core.output.manifest import MANIFEST, conclude
from tests.outputs import Output
from tests.tables import flat, write


def test_the_limit_is_that_of_the_run(typed, tmp_path):
    write(tmp_path / "in/a.parquet", flat(10))
    run = Output(tmp_path / "in", tmp_path / "out", "guard.max_quarantined_fraction=0.5")
    run.claim()
    run.commit_all(bad=3)
    conclude(run.store, run.run, run.config, {})
    manifest = json.loads(run.store.read(MANIFEST))
    manifest["configuration"] = {"guard": {"max_quarantined_fraction": 0.5}}
    run.store.write(MANIFEST, json.dumps(manifest).encode())
    code, _, errors = typed("verify", str(tmp_path / "out"))
    assert code == 0, errors
    code, _, errors = typed("verify", str(tmp_path / "out"), "guard.max_quarantined_fraction=0.2")
    assert code == 4
    assert "guard.max_quarantined_fraction=0.2 allows" in errors


def test_a_folder_that_contains_an_output_names_it(typed, tmp_path):
    write(tmp_path / "in/a.parquet", flat(10))
    Output(tmp_path / "in", tmp_path / "here/scores").claim()
    code, _, errors = typed("verify", str(tmp_path / "here"))
    assert code == 2
    assert f"contains one: {tmp_path / 'here/scores'}. Use that folder" in errors
