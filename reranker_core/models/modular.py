"""Cross-encoders of sentence-transformers whose head is in modules, such as ettin-reranker.

`modules.json` lists a Transformer, Pooling, and any number of Dense, LayerNorm and Dropout. The
last one is a Dense whose output is `scores`. A pair becomes ids as in the family `encoder`.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from reranker_core.config import ModelConfig
from reranker_core.encode.formats.joined import JoinedFormat
from reranker_core.errors import ConfigError
from reranker_core.models import encoder
from reranker_core.models.batch import Batch
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.family import LoadedModel
from reranker_core.models.labels import label_of, log_odds, relevant_label
from reranker_core.models.loading import load_weights, unloadable
from reranker_core.models.modules import body_length
from reranker_core.models.reentrancy import is_reentrant
from reranker_core.models.tensors import read_tensors
from reranker_core.models.unheeded import is_known

_HEAD = "head."


def fits(checkpoint: Checkpoint) -> bool:
    """Whether modules.json lists a reranker of supported modules."""
    return checkpoint.has_head_in_modules and is_known(checkpoint.modules)


def pair_format(checkpoint: Checkpoint, model: ModelConfig) -> JoinedFormat:
    """The pair format of a checkpoint. If `model.max_length` is null, the maximum number of ids is
    `max_seq_length` of `sentence_bert_config.json`, else 512.

    Raises:
        PreflightRefused: the tokenizer cannot be loaded.
        ConfigError: a length does not fit the model or another length.

    """
    most = body_length(checkpoint.folder) or encoder.DEFAULT_MAX_LENGTH
    return encoder.joined_format(checkpoint, model, most)


def load(
    checkpoint: Checkpoint, model: ModelConfig, dtype: torch.dtype, device: str
) -> LoadedModel:
    """The Transformer in `dtype`, and the modules after it in float32.

    Raises:
        ConfigError: the settings of a module are not supported.
        PreflightRefused: transformers cannot load the model from the folder, or the weights of a
            module cannot be read.

    """
    from transformers import AutoModel

    from reranker_core.models.networks.module_chain import ModuleChain

    loaded = load_weights(
        AutoModel,
        "modular",
        checkpoint,
        model,
        dtype=dtype,
        trust_remote_code=model.trust_remote_code,
    )
    loaded.model.config.label = relevant_label(checkpoint, model)
    try:
        chain = ModuleChain(loaded.model.eval(), checkpoint.modules[1:])
        missing, unexpected, mismatched = _fill(chain, checkpoint)
    except ConfigError:
        raise
    except Exception as error:  # noqa: BLE001 - readers of damaged files raise whatever they meet
        raise unloadable("modular", checkpoint, error) from None
    return replace(
        loaded,
        model=chain.to(device),
        missing=(*loaded.missing, *missing),
        unexpected=(*loaded.unexpected, *unexpected),
        mismatched=(*loaded.mismatched, *mismatched),
        head=(_HEAD,),
        reentrant=is_reentrant(loaded.model),
    )


def forward(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    """Float32 scores of a batch, shape (rows,)."""
    return log_odds(model(**encoder.inputs(model, batch)), label_of(model))


def _fill(chain: torch.nn.Module, checkpoint: Checkpoint) -> tuple[tuple[str, ...], ...]:
    """Copy the modules' weights; names that are missing, unexpected, and of another shape."""
    own = {name: weight for name, weight in chain.named_parameters() if name.startswith(_HEAD)}
    found = {
        f"{_HEAD}{module.name}.{name}": tensor[:]
        for module in checkpoint.modules[1:]
        if module.weights is not None
        for name, tensor in read_tensors([module.weights]).items()
    }
    mismatched = [n for n in own.keys() & found.keys() if own[n].shape != found[n].shape]
    with torch.no_grad():
        for name in (own.keys() & found.keys()).difference(mismatched):
            own[name].copy_(found[name])
    names = (own.keys() - found.keys(), found.keys() - own.keys(), mismatched)
    missing, unexpected, other = (tuple(sorted(some)) for some in names)
    return missing, unexpected, other
