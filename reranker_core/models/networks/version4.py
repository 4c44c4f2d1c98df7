"""What transformers 5 changed, restored for code of checkpoints that was written for transformers
4.

Named after what FlagEmbedding 1.3.5 imports, and the code on the hub from which it was taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from transformers.models.gemma2 import modeling_gemma2
from transformers.utils import import_utils


class Gemma2DecoderLayer(modeling_gemma2.Gemma2DecoderLayer):
    """Makes its rotations itself, and returns a tuple.

    Within its window only: version 4 narrowed the mask of sliding layers here, too.
    """

    def __init__(self, config: Any, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        self._rotary = modeling_gemma2.Gemma2RotaryEmbedding(config)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        position_ids: torch.LongTensor,
        **_: Any,
    ) -> tuple[torch.Tensor]:
        """States of shape (R, W, H) → a tuple of just these."""
        states = super().forward(
            hidden_states,
            position_embeddings=self._rotary(hidden_states, position_ids),
            attention_mask=attention_mask,
            position_ids=position_ids,
        )
        return (states,)


_NAMES: list[tuple[ModuleType, str, Any]] = [
    (import_utils, "is_torch_fx_available", lambda: False),
    (modeling_gemma2, "Gemma2DecoderLayer", Gemma2DecoderLayer),
    # Imported, and not used.
    (modeling_gemma2, "Gemma2FlashAttention2", None),
    (modeling_gemma2, "Gemma2SdpaAttention", None),
    (modeling_gemma2, "GEMMA2_ATTENTION_CLASSES", None),
    (modeling_gemma2, "GEMMA2_START_DOCSTRING", ""),
    (modeling_gemma2, "GEMMA2_INPUTS_DOCSTRING", ""),
]
_ABSENT = object()


@contextmanager
def names() -> Iterator[None]:
    """While code is imported: transformers' modules with the names that version 4 had."""
    now = [(module, name, vars(module).get(name, _ABSENT)) for module, name, _ in _NAMES]
    for module, name, then in _NAMES:
        setattr(module, name, then)
    try:
        yield
    finally:
        for module, name, before in now:
            if before is _ABSENT:
                delattr(module, name)
            else:
                setattr(module, name, before)


def construct(code: Any, settings: dict[str, Any]) -> Any:
    """A model of the class `code` from the settings in config.json; plain attention."""
    # Version 5 shows all RoPE settings under the name that older code takes for scaling.
    config = type(code.config_class.__name__, (code.config_class,), {"rope_scaling": None})
    # Older code lists weights that are one with others; with a head a layer there are none.
    untied = {
        "__module__": code.__module__,
        "_tied_weights_keys": None,
        "get_output_embeddings": lambda _: None,
    }
    return type(code.__name__, (code,), untied)(config(**settings, attn_implementation="eager"))
