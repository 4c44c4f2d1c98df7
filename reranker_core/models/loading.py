"""Loading the weights of a checkpoint; errors of the libraries become errors of this package."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from typing import Any

import torch

from reranker_core.checks import Check, refusal
from reranker_core.config import ModelConfig
from reranker_core.device import may_pass
from reranker_core.errors import PreflightRefused, RerankError, brief
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.family import LoadedModel
from reranker_core.models.mask_hooks import refuse_unused_masks
from reranker_core.models.native import native_config, native_tensors
from reranker_core.models.own_code import constructed, fault, is_own_code
from reranker_core.models.quantised import (
    GPTQ,
    filled,
    loading_options,
    plain,
    quantisation,
)
from reranker_core.models.tensors import describe, read_tensors, unwrapped

log = logging.getLogger(__name__)
_QUANTISED = "quantization_config"


def has_head(checkpoint: Checkpoint) -> bool:
    """Whether config.json names a class with a classification head."""
    return checkpoint.architecture.endswith("ForSequenceClassification")


def load_weights(
    architecture: Any, family: str, checkpoint: Checkpoint, model: ModelConfig, **options: Any
) -> LoadedModel:
    """Call `architecture.from_pretrained` on the CPU, and collect which weights matched.

    Quantised weights are dequantised. If names do not match because training tools have added
    prefixes, they are read without these. A LoRA adapter is merged.

    Args:
        architecture: a class of transformers, or an `Auto…` class.
        family: name of the family, for messages.
        checkpoint: the files.
        model: the configuration.
        options: passed on to `from_pretrained`.

    Raises:
        PreflightRefused: transformers cannot load such a model from the folder, or the adapter does
            not fit.
        ConfigError: the package for adapters is not installed.

    """
    from transformers import PreTrainedModel

    dtype = options.get("dtype")
    if checkpoint.adapter is not None:
        options["dtype"] = torch.float32  # to be merged without loss
    quantised = quantisation(checkpoint)
    try:
        if "config" not in options and _needs_correction(checkpoint.config):
            options["config"] = _corrected(checkpoint, model)
        with warnings.catch_warnings():
            if quantised is not None:
                options |= loading_options(quantised)
                warnings.simplefilter("ignore")  # that these options are added to config.json's
            options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
            if quantised is not None and quantised.method == GPTQ and not quantised.problem:
                loaded, info = filled(architecture, checkpoint, options)
            else:  # mismatched sizes are reported by preflight, with the keys
                loaded, info = architecture.from_pretrained(
                    checkpoint.folder,
                    use_safetensors=None if model.allow_pickle else True,
                    **options,
                )
        if quantised is not None:
            loaded = plain(loaded, quantised, options["dtype"])
    except Exception as error:
        if may_pass(error):
            raise
        other = fault(checkpoint, model, error, architecture)
        raise other or unloadable(family, checkpoint, error) from None
    found = replace(_with_account(loaded, info), untied=_untied(loaded, checkpoint))
    for part in found.model.modules():
        if isinstance(part, PreTrainedModel):  # it may have a config of its own
            part.config.return_dict = True  # files may say false, for old code
    if found.missing:
        found = _without_wrappers(found, checkpoint, options.get("dtype")) or found
    if is_own_code(found.model):
        found = replace(found, model=constructed(found.model, options.get("dtype")))
        refuse_unused_masks(found.model)
    elif found.missing and checkpoint.names_own_code:
        found = replace(found, ignored_code=True)
    return found if checkpoint.adapter is None else _adapted(found, checkpoint, dtype)


def _untied(model: Any, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Weights that config.json calls tied, and that the files have with values of their own."""
    if checkpoint.config.get("tie_word_embeddings") is False:  # transformers' T5 overlooks it
        return ()
    said = model.get_expanded_tied_weights_keys()
    return tuple(sorted(said.keys() - model.all_tied_weights_keys.keys()))


def _needs_correction(config: dict[str, Any]) -> bool:
    named = (config.get(key) for key in ("_attn_implementation", "attn_implementation"))
    flash = any(str(name).startswith("flash_attention") for name in named)
    return flash or config.get(_QUANTISED) == {}


def _corrected(checkpoint: Checkpoint, model: ModelConfig) -> Any:
    """The settings without the flash attention that config.json asks for (another package, which
    computes the same in half precision only), and without empty settings of a quantisation.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        checkpoint.folder, trust_remote_code=model.trust_remote_code
    )
    config._attn_implementation = None
    if getattr(config, _QUANTISED, None) == {}:
        delattr(config, _QUANTISED)
    return config


def _adapted(found: LoadedModel, checkpoint: Checkpoint, dtype: torch.dtype | None) -> LoadedModel:
    from reranker_core.models.adapted import with_adapter

    assert checkpoint.adapter is not None
    try:
        return with_adapter(found, checkpoint.adapter, dtype)
    except RerankError:
        raise
    except Exception as error:
        if may_pass(error):
            raise
        raise refusal(
            Check(
                "weights",
                "adapter_fits",
                False,
                f"{checkpoint.source}: {brief(error)}",
                f"a LoRA adapter of {checkpoint.adapter.base}",
                "The adapter belongs to another model, or a newer version of peft wrote it. Set "
                "model.base to the model that it was trained from, or merge it there (peft: "
                "merge_and_unload, then save_pretrained, with the tokenizer).",
            )
        ) from None


def _without_wrappers(
    found: LoadedModel, checkpoint: Checkpoint, dtype: torch.dtype | None
) -> LoadedModel | None:
    """The same model, filled by names without what training put around them; None if these fill no
    more of it.
    """
    tensors = read_tensors(checkpoint.weights)
    renamed = unwrapped(tensors, found.model.state_dict(), found.missing)
    if not renamed:
        return None
    again, info = type(found.model).from_pretrained(
        None,
        config=found.model.config,
        state_dict={renamed.get(name, name): tensor for name, tensor in tensors.items()},
        dtype=dtype,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    if len(info["missing_keys"]) >= len(found.missing):
        return None
    told = describe(renamed)
    log.warning("%s: the weights are read by %s", checkpoint.source, told)
    return _with_account(again, info, told)


def _with_account(model: Any, info: dict[str, Any], renamed: str = "") -> LoadedModel:
    return LoadedModel(
        model,
        missing=tuple(sorted(info["missing_keys"])),
        unexpected=tuple(sorted(info["unexpected_keys"])),
        mismatched=tuple(sorted(str(key[0]) for key in info["mismatched_keys"])),
        renamed=renamed,
    )


def unloadable(family: str, checkpoint: Checkpoint, error: Exception) -> PreflightRefused:
    """The error for a folder whose weights cannot be loaded; `error` is that of the library."""
    return refusal(
        Check(
            "weights",
            "loadable",
            False,
            f"{checkpoint.source}: {brief(error)}",
            f"a folder that transformers can load as a reranker of the family '{family}'",
            "Copy or save the checkpoint again. If transformers does not know the model type, a "
            "newer version of transformers may be needed.",
        )
    )


def load_classifier(
    family: str, checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype
) -> LoadedModel:
    """The model with its classification head in `dtype`, on the CPU.

    Raises:
        PreflightRefused: transformers cannot load a classification model from the folder.

    """
    # Here, for tokenizing needs no layers, and they take seconds to import.
    from transformers import AutoModelForSequenceClassification

    if checkpoint.is_native:
        config = native_config(checkpoint.config)
        return _load_native(
            AutoModelForSequenceClassification._model_mapping[type(config)],
            family,
            checkpoint,
            config,
            dtype,
        )
    return load_weights(
        AutoModelForSequenceClassification,
        family,
        checkpoint,
        model,
        dtype=dtype,
        trust_remote_code=model.trust_remote_code,
    )


def _load_native(
    architecture: Any, family: str, checkpoint: Checkpoint, config: Any, dtype: torch.dtype
) -> LoadedModel:
    """A class of transformers' with weights in the names of other code."""
    try:
        loaded, info = architecture.from_pretrained(
            None,
            config=config,
            state_dict=native_tensors(read_tensors(checkpoint.weights)),
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:
        if may_pass(error):
            raise
        raise unloadable(family, checkpoint, error) from None
    return _with_account(loaded, info)


def is_half(model: Any) -> bool:
    """Whether the layers of a model compute in half precision.

    The number format of its first parameter, which transformers calls that of the model, may be
    that of the head, which is in float32 anyway.
    """
    return bool(model.get_input_embeddings().weight.dtype != torch.float32)


def inputs_to_float32(module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A forward pre-hook for heads that compute in float32, so that no digits of scores are
    lost.
    """
    return tuple(
        value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for value in inputs
    )
