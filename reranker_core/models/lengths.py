"""How many tokens of a pair a model can take."""

from __future__ import annotations

from typing import Any

from reranker_core.checks import Check, refusal
from reranker_core.models.checkpoint import Checkpoint

_LEAST = 32  # ids of a pair; no reranker takes fewer
_UNBOUNDED = 1 << 20  # transformers' tokenizers say 1e30 when they do not know
# These number their positions from padding_idx + 1, so that many fewer can be used.
_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer"}
_RELATIVE = {"deberta", "deberta-v2"}
_N_POSITIONS = {"gpt2", "gpt_bigcode", "openai-gpt", "ctrl"}  # a table of so many


def longest_input(checkpoint: Checkpoint, tokenizer: Any, configured: int | None = None) -> int:
    """Maximum number of ids per sequence: the smaller of the number of positions in config.json and
    `model_max_length` of the tokenizer. If `model.max_length` is set (`configured`), the
    tokenizer's limit is ignored.

    Raises:
        PreflightRefused: fewer than 32.

    """
    allowed = {
        "config.json": _positions(checkpoint.config),
        "model_max_length in tokenizer_config.json": tokenizer.model_max_length,
    }
    if configured is not None:
        allowed.popitem()
    where, most = min(allowed.items(), key=lambda found: found[1])
    if most < _LEAST:
        raise refusal(
            Check(
                "tokenizer",
                "length",
                False,
                f"{where} allows {most} tokens per pair",
                f"at least {_LEAST} tokens",
                "Correct this value, or copy the file again from the model's own repository.",
            )
        )
    return int(min(most, _UNBOUNDED))


def _positions(config: dict[str, Any]) -> int:
    """How many a model has, by its settings."""
    kind, text = config.get("model_type"), config.get("text_config")
    if kind in _RELATIVE and config.get("position_biased_input") is False:
        return _UNBOUNDED  # nothing but distances, which are clipped
    key = "n_positions" if kind in _N_POSITIONS else "max_position_embeddings"
    positions = config.get(key) or (text.get(key) if isinstance(text, dict) else None)
    if not isinstance(positions, int):
        return _UNBOUNDED
    offset = config.get("pad_token_id", 1) or 0
    return positions - offset - 1 if kind in _OFFSET_POSITIONS else positions
