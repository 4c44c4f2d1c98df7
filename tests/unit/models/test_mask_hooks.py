"""Attention masks in a checkpoint's own code that the installed transformers does not use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reranker_core.errors import PreflightRefused
from tests.bidirectional_code import BOTH_WAYS, UNUSED_MASK, bidirectional
from tests.parity.common import load

OWN = "model.trust_remote_code=true"
CALLED = """
    def forward(self, input_ids=None, attention_mask=None, **given):
        whole = torch.ones_like(attention_mask) if attention_mask is None else attention_mask
        mask = whole[:, None, None].bool().expand(-1, 1, whole.shape[1], -1)
        return super().forward(input_ids=input_ids, attention_mask=mask, **given)
"""


@pytest.fixture(scope="module")
def make(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    def make(hook: str, code: str = BOTH_WAYS) -> Path:
        folder = tmp_path_factory.mktemp("own") / "nemotron-rerank"
        return bidirectional(llama, folder, hook, code)

    return make


@pytest.mark.parametrize(
    "hook",
    [
        UNUSED_MASK,
        UNUSED_MASK.replace("_update_causal_mask", "_prepare_decoder_attention_mask"),
        UNUSED_MASK.replace("_update_causal_mask", "_prepare_4d_causal_attention_mask"),
        UNUSED_MASK.replace("    def", "    @staticmethod\n    def").replace("self, ", ""),
        UNUSED_MASK.replace("_update_causal_mask", "get_extended_attention_mask"),
        UNUSED_MASK.replace("return None", "return super()._update_causal_mask(attention_mask)"),
    ],
)
def test_a_mask_that_nothing_calls_is_refused_by_its_name(make: Any, hook: str):
    with pytest.raises(PreflightRefused) as caught:
        load(make(hook), 64, None, OWN)
    (check,) = [check for check in caught.value.report["checks"] if not check["passed"]]
    assert check["name"] == "own_code_runs"
    name = hook.partition("def ")[2].partition("(")[0]
    assert "modeling_both.py: LlamaBidirectionalModel" in check["measured"]
    assert name in check["measured"]
    assert "weights" not in str(check)


def test_a_mask_that_code_puts_into_a_class_of_transformers_is_refused(make: Any):
    code = BOTH_WAYS + "\n\ndef both(self, mask, *_):\n    return None\n\n\n"
    code += "LlamaBidirectionalModel._update_causal_mask = both\n"
    with pytest.raises(PreflightRefused, match="_update_causal_mask"):
        load(make("", code), 64, None, OWN)


def test_masks_that_have_an_effect_are_accepted(make: Any):
    """Kept for older versions, beside code for this one; and called by the code itself."""
    load(make(UNUSED_MASK + CALLED), 64, None, OWN)
    own = CALLED.replace("mask = whole", "mask = self._update_causal_mask(whole) or whole")
    load(make(UNUSED_MASK.replace("return attention_mask", "return None") + own), 64, None, OWN)
