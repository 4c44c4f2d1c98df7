"""Checks of loaded weights."""

from __future__ import annotations

import re

import torch

from reranker_core.checks import Check
from reranker_core.errors import count
from reranker_core.models.family import LoadedModel
from reranker_core.preflight.head import check_head

# In the file, not used by the model, and harmless: tables and constants that are computed, and the
# pooler of a base model whose classification head does without it.
_COMPUTED = re.compile(
    r"(^|\.)(position_ids|token_type_ids|inv_freq|masked_bias|num_batches_tracked|"
    r"(cos|sin)_cached|pooler\.dense\.(weight|bias))$"
)
# What pretraining and losses leave beside a classification head: in the names of BERT, RoBERTa,
# ELECTRA, DistilBERT, DeBERTa and ModernBERT, and of sentence-transformers' losses.
_PRETRAINING = re.compile(
    r"(cls\.(predictions|seq_relationship)|lm_head|generator_(predictions|lm_head)|"
    r"discriminator_predictions|vocab_(transform|layer_norm|projector)|(lm|mask)_predictions|"
    r"qa_outputs|loss(_fct|_fn)?|criterion)\.|decoder\.(weight|bias)$|"
    r"(score_bias|logit_scale|temperature|log_vars)$"
)
_NO_HEAD = "This may be an embedding model or a base model. Use the reranker's own checkpoint."
_INCOMPLETE = (
    "The checkpoint is incomplete, or config.json belongs to another model. Copy all files again "
    "from the model's own repository."
)
_OTHER_NAMES = (
    "No name in the files is one of this model. They were saved by other code, or they contain "
    "more than the model. Load the trained model, and save it with save_pretrained."
)
_CODE_NOT_RUN = (
    "config.json names the checkpoint's own code (auto_map), which was not run. Read this code, "
    "and set model.trust_remote_code=true."
)
_SHOWN_KEYS = 4
# Trained weights stay below a few hundred, and those far beyond the others of their matrix below a
# hundred; a flipped high bit of an exponent multiplies by 65,536 and more.
_LARGEST = 1e4
_LARGEST_OUTLIER = 100.0
_OUTLIER = 3e3  # times the median
_SAMPLE = 100_000


def check_weights(loaded: LoadedModel) -> list[Check]:
    """Every weight comes from the checkpoint, fits, and is a plausible number."""
    left = tuple(key for key in loaded.unexpected if _is_harmless(key, loaded))
    unexpected = tuple(key for key in loaded.unexpected if key not in left)
    broken = tuple(
        name
        for name, weight in loaded.model.state_dict().items()
        if weight.is_floating_point() and not torch.isfinite(weight).all()
    )
    huge = tuple(name for name, weight in loaded.model.named_parameters() if _is_huge(weight))
    return [
        _keys(
            "none_missing",
            loaded.missing,
            "no weight missing from the checkpoint",
            "Missing weights are initialised at random, so scores would differ from run to run. "
            + _why_missing(loaded),
            f"none; read by {loaded.renamed}" if loaded.renamed else "none",
        ),
        _keys(
            "none_unexpected",
            unexpected,
            "no weight in the checkpoint that the model does not use",
            "The file was saved from another model class, or with a prefix in the names. Load "
            "the trained model and save it again with save_pretrained.",
            f"none; unused and not needed: {_shown(left)}" if left else "none",
        ),
        _keys(
            "shapes",
            loaded.mismatched,
            "every weight in the shape that config.json specifies",
            "config.json and the weights belong to different models. Copy both from the same "
            "checkpoint.",
        ),
        _keys(
            "finite",
            broken,
            "no NaN or Inf in any weight",
            "The checkpoint is damaged, or the training diverged. Use an earlier checkpoint.",
        ),
        _keys(
            "plausible",
            huge,
            f"no weight above {_LARGEST:g}, and none above both {_LARGEST_OUTLIER:g} and "
            f"{_OUTLIER:g} times the median of its matrix",
            "A flipped bit causes such numbers. Copy the checkpoint again and compare digests.",
        ),
        _check_tied(loaded),
        check_head(loaded),
    ]


def _check_tied(loaded: LoadedModel) -> Check:
    """Report output embeddings that are not those of the input, though config.json says so."""
    names = ", ".join(loaded.untied)
    return Check(
        "weights",
        "tied_as_said",
        True,
        f"{names}: the values in the files are used, as transformers 5 does, though they are tied "
        "according to config.json. transformers 4 would use the input embeddings instead"
        if names
        else "nothing differs",
        "any; reported",
        notable=bool(names),
    )


def _why_missing(loaded: LoadedModel) -> str:
    """What to do where weights are missing."""
    if loaded.ignored_code:
        return _CODE_NOT_RUN
    if len(loaded.missing) >= len([*loaded.model.parameters()]):
        return _OTHER_NAMES
    of_head = bool(loaded.head) and any(key.startswith(loaded.head) for key in loaded.missing)
    return _NO_HEAD if of_head else _INCOMPLETE


def _is_harmless(key: str, loaded: LoadedModel) -> bool:
    """Whether a left-over weight has no part in the score."""
    beside_a_head = bool(loaded.head) and not key.startswith(loaded.head)
    return bool(_COMPUTED.search(key) or (beside_a_head and _PRETRAINING.match(key)))


def _keys(
    name: str, keys: tuple[str, ...], expected: str, remedy: str, otherwise: str = "none"
) -> Check:
    measured = f"{count(len(keys), 'key')}: {_shown(keys)}" if keys else otherwise
    return Check("weights", name, not keys, measured, expected, remedy)


def _shown(keys: tuple[str, ...]) -> str:
    return ", ".join(keys[:_SHOWN_KEYS]) + (", …" if len(keys) > _SHOWN_KEYS else "")


def _is_huge(weight: torch.Tensor) -> bool:
    if not weight.is_floating_point() or not weight.numel():
        return False
    largest = weight.abs().max().item()
    if not _LARGEST_OUTLIER < largest < float("inf"):
        return False
    sample = weight.detach().flatten()[:: weight.numel() // _SAMPLE + 1]
    outlier = weight.dim() > 1 and largest > _OUTLIER * sample.abs().float().median().item()
    return largest > _LARGEST or outlier
