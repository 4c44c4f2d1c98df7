"""A model with a LoRA adapter merged into its weights, by peft."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import torch

from reranker_core.errors import ConfigError
from reranker_core.models.adapter import Adapter
from reranker_core.models.family import LoadedModel


def with_adapter(loaded: LoadedModel, adapter: Adapter, dtype: torch.dtype | None) -> LoadedModel:
    """The base, loaded in float32, with the adapter merged into it, in the number format `dtype`.

    Weights that only the adapter has, such as a new head, are not missing any more. What the
    adapter lacks or brings beside what the base has a place for, is missing or unexpected.

    Raises:
        ConfigError: peft is not installed.
        Exception: as peft raises it for an adapter that does not fit the base.

    """
    try:
        from peft import PeftModel
        from peft.utils import get_peft_model_state_dict, load_peft_weights
    except ImportError:
        raise ConfigError(
            f"model.path={adapter.folder} is a LoRA adapter, which needs the package peft. Run "
            "`pip install 'batch-reranker[lora]'` on all nodes, or merge the adapter into its base "
            "(peft: merge_and_unload, then save_pretrained, with the tokenizer)"
        ) from None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # missing keys are ours to tell
        adapted = PeftModel.from_pretrained(loaded.model, str(adapter.folder))
    expected = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    found = set(load_peft_weights(str(adapter.folder), device="cpu"))
    brought = {name.removeprefix("base_model.model.") for name in found & expected}
    merged: Any = adapted.merge_and_unload(safe_merge=True)
    with torch.no_grad():
        for weight in merged.parameters():
            weight.requires_grad_(False)
            weight.data = weight.data.to(dtype or weight.dtype)
    return replace(
        loaded,
        model=merged.eval(),
        missing=(*(n for n in loaded.missing if n not in brought), *sorted(expected - found)),
        unexpected=(*loaded.unexpected, *sorted(found - expected)),
    )
