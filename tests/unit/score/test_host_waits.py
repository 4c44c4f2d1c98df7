"""A forward reads no value from the device, so that a GPU never waits for the host."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from tests.marks import more
from tests.parity.common import load
from tests.texts import WORDS

READS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal"}
ENCODERS = ["bert", "xlm_roberta", "modernbert", *map(more, ("distilbert", "electra"))]
DECODERS = ["gemma2", "qwen3", "gemma2_lightweight"]
DECODERS += map(more, ("gemma", "llama", "qwen3_classifier"))
SETTINGS = {
    "qwen3": ["model.template=qwen3-reranker"],
    "gemma2_lightweight": ["model.compress_layers=[2,4]", "model.compress_ratio=2"],
}
LIMITS = (None, None, "score.max_batch_tokens=256")
# Two queries, with candidates of several lengths: rows with and without padding, shared prefixes.
PAIRS = [
    (f"how to {' '.join(WORDS[:5])} {query}", " ".join(WORDS[: 3 + 4 * (rest // 2)]))
    for query in range(2)
    for rest in range(8)
]


@pytest.mark.slow
@pytest.mark.parametrize("family", [*ENCODERS, *DECODERS])
def test_no_value_is_read(family: str, request: pytest.FixtureRequest):
    scorer = load(request.getfixturevalue(family), *LIMITS, *SETTINGS.get(family, ()))
    sequences = scorer.encode(PAIRS)
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        scorer._engine.compute(sequences)
    found = {event.key: event.count for event in recorded.key_averages() if event.key in READS}
    assert found == {}


def test_what_is_not_asked_changes_no_score(bert: Path, monkeypatch: pytest.MonkeyPatch):
    scorer = load(bert, *LIMITS)
    expected = scorer.score_pairs(PAIRS)
    monkeypatch.setattr("reranker_core.models.networks.padding._unknown", lambda: True)
    assert scorer.score_pairs(PAIRS).tobytes() == expected.tobytes()


@pytest.mark.parametrize("family", ["bert", "modernbert", "qwen3_classifier"])
def test_batches_of_a_width_have_one_kind_of_mask_where_scores_are_reproducible(
    family: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    scorer = load(request.getfixturevalue(family), *LIMITS, "score.reproducible=true")
    attention, seen = torch.nn.functional.scaled_dot_product_attention, {}

    def spy(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **more: object) -> object:
        kind = "none" if more.get("attn_mask") is None else "mask"
        seen.setdefault(key.shape[-2], set()).add(kind)
        return attention(query, key, value, **more)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    pairs = [("read a file", " ".join((WORDS * 4)[:number])) for number in range(1, 64)]
    lengths = [int(number) for number in scorer.encode(pairs).tokens.lengths]
    full = next(row for row, number in enumerate(lengths) if number % 16 == 0 and number > 16)
    scorer.score_pairs([pairs[full]])  # alone and without padding
    scorer.score_pairs(pairs)
    assert seen
    assert all(len(kinds) == 1 for kinds in seen.values()), seen
