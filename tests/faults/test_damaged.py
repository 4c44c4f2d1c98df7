"""Copies of the demo's model with damage that only numbers show. `python -m tests.faults.damaged`
measures all kinds; here are one or two for each check.
"""

from pathlib import Path

import pytest

from reranker_core.errors import PreflightRefused
from tests.faults.checkpoint_edits import DEMO
from tests.faults.damaged import (
    adapters,
    embeddings,
    layers,
    mixtures,
    precision,
    sound,
    weight_file,
)
from tests.faults.damaged.measure import load

KINDS = {
    kind: build
    for module in (adapters, embeddings, layers, mixtures, precision, weight_file)
    for kind, build in module.KINDS.items()
}


@pytest.mark.parametrize(
    ("what", "check"),
    [
        ("token types: exchanged", "meaning/hard_comparisons"),
        ("words: 10% of the rows exchanged", "meaning/word_forms"),
        ("64 KiB at 40% of the file: zeros", "weights/no_holes"),
        ("64 KiB at 60% of the file: the bytes before it again", "weights/no_repeats"),
        ("all matrices: 3 bits a row", "weights/precise"),
        ("an adapter merged twice", "meaning/hard_comparisons"),
        ("layer 0 twice", "weights/layers_differ"),
        ("of another training: queries of layer 1", "weights/parts_fit"),
        ("layer 1, the last norm: gains of one", "weights/layers_alike"),
    ],
)
def test_damage_is_refused_by_the_check_that_sees_it(what: str, check: str, tmp_path: Path):
    KINDS[what](DEMO, tmp_path / "m")
    with pytest.raises(PreflightRefused) as caught:
        load(tmp_path / "m")
    checks = caught.value.report["checks"]
    assert check in {f"{c['group']}/{c['name']}" for c in checks if not c["passed"]}


@pytest.mark.parametrize(
    "what", ["8 bits a row", "bfloat16", "in other coordinates", "key biases zero in layer 1"]
)
def test_changes_that_keep_the_ranking_are_accepted(what: str, tmp_path: Path):
    sound.KINDS[what](DEMO, tmp_path / "m")
    assert not load(tmp_path / "m").report.failed
