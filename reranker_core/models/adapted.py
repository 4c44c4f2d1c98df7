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
    """Merge an adapter into its base.

    Args:
        loaded: the base in float32.
        adapter: the adapter.
        dtype: number format of the result; None: that of each weight.

    Returns:
        The merged model. `missing` no longer lists weights that the adapter provides, such as a new
        head, but weights that the adapter should have. `unexpected` also lists weights of the
        adapter for which the base has no place.

    Raises:
        ConfigError: peft is not installed.
        Exception: what peft raises if the adapter does not fit the base.

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
