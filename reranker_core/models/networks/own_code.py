"""Rerankers with one head per layer, run with the checkpoint's own code as FlagEmbedding does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from reranker_core.device import is_out_of_memory
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.family import LoadedModel
from reranker_core.models.loading import inputs_to_float32, unloadable
from reranker_core.models.mask_hooks import refuse_unused_masks
from reranker_core.models.networks import version4
from reranker_core.models.own_code import does_not_run

_REMEDY = (
    "Set model.trust_remote_code=false: this job computes such models itself, with equal scores "
    "(docs/families.md)."
)


class OwnLayers(torch.nn.Module):
    """A model class from the checkpoint's own code, with one head per layer.

    Args:
        model: an object of this class.
        behind: number of tokens after each passage.
        asked: further arguments of each forward.

    """

    def __init__(self, model: Any, behind: int, asked: dict[str, Any]) -> None:
        super().__init__()
        self.config = model.config
        self.inner = model.eval()
        self._behind, self._asked = behind, asked
        for head in model.lm_head:
            head.linear_head.float().register_forward_pre_hook(inputs_to_float32)

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.inner.get_input_embeddings()
        return table

    def forward(
        self,
        ids: torch.Tensor,
        lengths: torch.Tensor,
        passage_starts: torch.Tensor | None = None,
        *_: Any,
    ) -> torch.Tensor:
        """Ids padded on the right, shape (R, W) → float32 scores, shape (R, cutoffs).

        `lengths` and `passage_starts` have shape (R,).
        """
        mask = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]).long()
        asked = dict(self._asked)
        if passage_starts is not None:
            asked["query_lengths"] = passage_starts
            asked["prompt_lengths"] = torch.full_like(lengths, self._behind)
        found = self.inner(
            input_ids=ids,
            attention_mask=mask,
            use_cache=False,
            output_hidden_states=True,
            return_dict=True,
            **asked,
        )
        # Where passages shrink on the way up, each layer has a mask of its own.
        masks = getattr(found, "attention_masks", None) or [mask] * len(found.logits)
        rows = torch.arange(len(ids), device=ids.device)
        last = [
            logits[rows, left.sum(1) - 1] for logits, left in zip(found.logits, masks, strict=True)
        ]
        return torch.stack(last, 1).float()


def load_own_layers(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device: str,
    heads: list[int],
    behind: int = 0,
    **asked: Any,
) -> LoadedModel:
    """Load the class that config.json names, with all its layers and heads.

    This does not call `from_pretrained`, which would not compute what such code computes in its
    constructor, such as rotation tables.

    Args:
        checkpoint: the files.
        dtype: number format of the layers; heads are float32.
        device: where the model runs.
        heads: numbers of the heads that give scores.
        behind: number of tokens after each passage.
        asked: further arguments of each forward.

    Raises:
        PreflightRefused: the code does not run on this transformers, its attention mask would not
            be used, or the weights cannot be read.

    """
    name = checkpoint.config["auto_map"]["AutoModelForCausalLM"]
    try:
        with version4.names():
            code = get_class_from_dynamic_module(name, str(checkpoint.folder))
        model = _construct(code, checkpoint.config, dtype)
    except Exception as error:  # noqa: BLE001 - such code raises whatever it meets
        raise does_not_run(name, error, _REMEDY) from None
    try:
        missing, unexpected, mismatched = _fill(model, checkpoint.weights)
    except Exception as error:  # noqa: BLE001 - so do readers of damaged files
        raise unloadable("layered, in its own code", checkpoint, error) from None
    refuse_unused_masks(model)
    network = OwnLayers(model, behind, asked).to(device)
    try:
        _try(network, torch.arange(3 + behind, device=device)[None], behind)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise does_not_run(name, error, _REMEDY) from None
    used = tuple(f"inner.lm_head.{head}." for head in heads)
    return LoadedModel(network, missing, unexpected, mismatched, used)


def _construct(code: Any, settings: dict[str, Any], dtype: torch.dtype) -> Any:
    """The model with weights as drawn."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        return version4.construct(code, settings)
    finally:
        torch.set_default_dtype(before)


def _try(network: OwnLayers, ids: torch.Tensor, behind: int) -> None:
    starts = torch.ones_like(ids[:, 0]) if behind else None
    with torch.inference_mode():
        network(ids, torch.full_like(ids[:, 0], ids.shape[1]), starts)


def _fill(model: Any, files: tuple[Path, ...]) -> tuple[tuple[str, ...], ...]:
    """Copy the weights into the model; keys that are missing, unexpected, and of another shape."""
    own = dict(model.named_parameters())
    seen, unexpected, mismatched = set(), [], []
    with torch.no_grad():
        for file in files:
            pickled = file.suffix != ".safetensors"
            weights = torch.load(file, weights_only=True) if pickled else load_file(file)
            for key, weight in weights.items():
                seen.add(key)
                if key not in own:
                    unexpected.append(key)
                elif own[key].shape != weight.shape:
                    mismatched.append(key)
                else:
                    own[key].copy_(weight)
    missing = sorted(set(own) - seen)
    return tuple(missing), tuple(sorted(unexpected)), tuple(sorted(mismatched))
