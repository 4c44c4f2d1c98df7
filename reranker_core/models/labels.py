"""Classification heads with several labels: which of them means relevant, and the score from it.

The score is the log-odds of that label. The sigmoid of the score is the probability that softmax
gives this label. For two labels, the score is the difference of their logits, as in monoBERT
(arXiv:1910.14424).
"""

from __future__ import annotations

import re
from typing import Any

import torch

from reranker_core.config import ModelConfig
from reranker_core.errors import ConfigError
from reranker_core.models.checkpoint import Checkpoint

_RELEVANT = re.compile(r"(is[ _-]?)?relevant", re.IGNORECASE)
_IRRELEVANT = re.compile(r"(ir|un|not?[ _-]?|non[ _-]?|is[ _-]?not[ _-]?)relevant", re.IGNORECASE)


def label_names(checkpoint: Checkpoint) -> list[str]:
    """Names of the labels, in the order of the rows of the head."""
    config = checkpoint.config
    if checkpoint.modules and checkpoint.modules[-1].makes_scores:
        config = {"num_labels": checkpoint.modules[-1].settings.get("out_features")}
    named = config.get("id2label")
    if isinstance(named, dict) and named:
        return [str(named[key]) for key in sorted(named, key=_number)]
    # transformers' default, where config.json names none, is two.
    count = config.get("num_labels")
    return [f"LABEL_{i}" for i in range(count if isinstance(count, int) and count else 2)]


def relevant_label(checkpoint: Checkpoint, model: ModelConfig) -> int | None:
    """The row of the head that means relevant: `model.label`, or of two labels the one that is
    named relevant. None if there is only one row, or if it is not known which one it is.

    Raises:
        ConfigError: the head has no such label.

    """
    names = label_names(checkpoint)
    if model.label is None:
        named = [i for i, name in enumerate(names) if _RELEVANT.fullmatch(name)]
        others = [name for name in names if _IRRELEVANT.fullmatch(name)]
        return named[0] if len(named) == len(others) == 1 and len(names) == 2 else None
    given = str(model.label)  # on the command line a number is text, too
    if given in names and not isinstance(model.label, int):
        label = names.index(given)
    else:
        label = int(given) if given.isdecimal() else -1
    if not 0 <= label < len(names):
        raise ConfigError(
            f"model.label={model.label}: the head has no such label. Set it to one of "
            f"{_listed(names)}"
        )
    return label if len(names) > 1 else None


def label_record(checkpoint: Checkpoint, model: ModelConfig) -> dict[str, int]:
    """The entry of the fingerprint for the label; empty for a head with one label."""
    label = relevant_label(checkpoint, model)
    return {} if label is None else {"label": label}


def label_of(model: Any) -> int | None:
    """The `relevant_label` that a family has stored in the model when it was loaded, or None."""
    label: int | None = getattr(model.config, "label", None)
    return label


def describe_labels(names: list[str]) -> str:
    """Number and names of labels, for messages."""
    return f"{len(names)} labels: {_listed(names)}" if len(names) > 1 else "1 label"


def log_odds(logits: torch.Tensor, label: int | None) -> torch.Tensor:
    """Logits, shape (R, labels) → float32 log-odds of `label`, shape (R,).

    If `label` is None, the result is the first logit.
    """
    logits = logits.float()
    if label is None:
        return logits[:, 0]
    others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
    return logits[:, label] - others.logsumexp(1)


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{i} ({name})" for i, name in enumerate(names[:4]))
    return shown + (", …" if len(names) > 4 else "")


def _number(key: str) -> tuple[int, str]:
    return (int(key) if key.isdigit() else 0, key)
