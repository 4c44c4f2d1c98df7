"""int8 products: close to float32, independent of the batch, refused where ranks change."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.pairs import pairs_of_docstrings
from reranker_core import Reranker
from reranker_core.config import load_config
from reranker_core.device import number_formats
from reranker_core.errors import ConfigError, PreflightRefused
from reranker_core.preflight import ranks
from reranker_core.score import int8
from reranker_core.score.int8 import Int8Layers, Int8Linear

DEMO = Path(__file__).parents[3] / "demo/model"
QUERIES, CANDIDATES = 16, 20
PAIRS = [
    pair for index, pair in enumerate(pairs_of_docstrings(QUERIES * 50)) if index % 50 < CANDIDATES
]


def load(dtype: str = "int8", **config: object) -> Reranker:
    return Reranker(DEMO, dtype=dtype, device="cpu", config=config)


def quantised(reranker: Reranker) -> list[torch.nn.Module]:
    model = reranker._scorer._engine.model
    return [part for part in model.modules() if isinstance(part, Int8Linear)]


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    return load("float32").score(PAIRS)


@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_multiplies_nearly_as_the_plain_one(bias: bool):
    torch.manual_seed(0)
    plain = torch.nn.Linear(192, 320, bias)
    inputs = torch.nn.functional.gelu(torch.randn(3, 50, 192))
    inputs[0, 0] = 0
    with torch.no_grad():
        found, exact = Int8Linear(plain)(inputs), plain(inputs)
        apart = Int8Linear(plain)(inputs.permute(2, 1, 0).contiguous().permute(2, 1, 0))
    assert found.shape == exact.shape
    assert (found - exact).norm() < 0.01 * exact.norm()
    torch.testing.assert_close(found[0, 0], exact[0, 0])
    assert (apart - exact).norm() < 0.01 * exact.norm()


def test_a_row_does_not_depend_on_the_others():
    torch.manual_seed(0)
    layer, inputs = Int8Linear(torch.nn.Linear(192, 320)), torch.randn(2, 50, 192)
    before = layer(inputs)
    inputs[1] *= 1000
    assert torch.equal(layer(inputs)[0], before[0])
    assert torch.equal(layer(inputs[:1, :1]), before[:1, :1])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_not_hidden(value: float):
    inputs = torch.randn(2, 192)
    inputs[0, 7] = value
    found = Int8Linear(torch.nn.Linear(192, 320))(inputs)
    assert not found[0].isfinite().any()
    assert found[1].isfinite().all()


def test_ranks_are_those_of_float32_and_float32_weights_are_dropped_once_compared(
    expected: np.ndarray, caplog: pytest.LogCaptureFixture
):
    reranker = load()
    assert reranker.report.dtype == "int8"
    assert reranker.report.products.startswith("int8 used in 12 layers: ")
    assert len(quantised(reranker)) == 12
    assert "ranks_of_canaries" in {check.name for check in reranker.report.checks}
    few = reranker.score(PAIRS[:20])  # too few to compare
    assert reranker._scorer._int8 is not None
    caplog.set_level("INFO")
    found = reranker.score(PAIRS)
    assert reranker._scorer._int8 is None
    assert "ranks_of_the_input" in caplog.text
    assert "top_10_of_the_input" in caplog.text
    assert PAIRS[0][0] not in caplog.text
    span = np.ptp(expected)
    assert 0 < np.abs(found - expected).max() < 0.02 * span
    assert ranks.rank_correlation(found, expected) > 0.995
    # The same in another batch, but for the order of float32 sums.
    np.testing.assert_allclose(few, found[:20], rtol=0, atol=1e-3 * span)


def test_the_reference_of_canaries_is_float32(expected: np.ndarray):
    scorer = load()._scorer
    np.testing.assert_allclose(scorer.reference(PAIRS[:3]), expected[:3], atol=1e-5)
    assert isinstance(scorer._int8, Int8Layers)
    assert np.abs(scorer.alone(PAIRS[:3]) - expected[:3]).max() > 1e-3


def test_a_model_that_int8_changes_too_much_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(int8, "_MOST", 1)  # weights of -1, 0 and 1
    with pytest.raises(PreflightRefused) as caught:
        load()
    failed = {c["name"]: c for c in caught.value.report["checks"] if not c["passed"]}
    assert "ranks_of_canaries" in failed
    assert "model.dtype=bfloat16" in failed["ranks_of_canaries"]["remedy"]


def test_input_that_int8_ranks_otherwise_is_refused_or_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    strict, lenient = load(), load(**{"preflight.checks.numerics": "warn"})
    monkeypatch.setattr(ranks, "_CORRELATION", 1.1)
    message = r"numerics/ranks_of_the_input: int8 .* expected at least 1.1.* model.dtype=bfloat16"
    with pytest.raises(PreflightRefused, match=message):
        strict.score(PAIRS)
    assert len(lenient.score(PAIRS)) == len(PAIRS)
    assert "not enforced: numerics/ranks_of_the_input" in caplog.text


def test_a_sample_has_queries_with_many_candidates():
    encode = load("float32")._scorer.encode
    groups = ranks.sample(encode(PAIRS))
    assert [len(group) for group in groups] == [ranks.CANDIDATES] * QUERIES
    for group in groups:
        assert len({PAIRS[row][0] for row in group}) == 1
    # Of few queries, all candidates.
    few = encode(PAIRS[: 6 * CANDIDATES])
    assert [len(group) for group in ranks.sample(few)] == [CANDIDATES] * 6
    single = [(f"{query} {number}", text) for number, (query, text) in enumerate(PAIRS)]
    assert [len(group) for group in ranks.sample(encode(single))] == [1] * len(PAIRS)
    assert ranks.sample(encode(PAIRS[: 4 * CANDIDATES])) == []


def test_the_best_ten_are_compared_for_many_queries_only():
    scores = [np.arange(20.0) + query for query in range(QUERIES)]
    names = [check.name for check in ranks.check_ranks(scores, scores, "int8")]
    assert names == ["ranks_of_the_input", "top_10_of_the_input"]
    worse = [scores[0][::-1], *scores[1:]]
    assert [check.passed for check in ranks.check_ranks(worse, scores, "int8")] == [False] * 2
    assert len(ranks.check_ranks(scores[1:], scores[1:], "int8")) == 1


def test_a_model_without_large_layers_is_refused():
    with pytest.raises(ConfigError, match=r"model.dtype=int8.* no large linear layers"):
        Int8Layers(torch.nn.Linear(256, 256), 64, 1)


@pytest.mark.parametrize(
    "setting", ["score.reproducible=true", "score.compile=true", "model.device=cuda"]
)
def test_settings_that_int8_does_not_support_are_refused(setting: str):
    required = ("input.path=in", "output.path=out", f"model.path={DEMO}", "model.dtype=int8")
    with pytest.raises(ConfigError, match=f"model.dtype=int8 and {setting}"):
        load_config(None, (*required, setting))
    key, value = setting.split("=")
    with pytest.raises(ConfigError, match=f"model.dtype=int8 and {setting}"):
        Reranker(DEMO, config={"model.dtype": "int8", key: value if key[0] == "m" else True})


def test_gpus_are_refused():
    with pytest.raises(ConfigError, match=r"int8 is for CPUs only.*model.device=cpu"):
        number_formats("int8", "cuda")
    assert number_formats("int8", "cpu") == {"int8": "as configured"}


def test_the_report_is_plain_data():
    assert json.loads(json.dumps(load().report.as_dict()))["dtype"] == "int8"
