"""Whether several threads may run a model at the same time."""

from __future__ import annotations

import re
from typing import Any

# Their code in transformers 5.23 writes to no module while it computes.
_STATELESS = {
    *("bert", "roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "ernie", "mpnet"),
    *("distilbert", "electra", "albert", "deberta", "deberta-v2", "modernbert"),
    *("gemma", "llama", "mistral", "qwen2", "qwen3"),
}


def is_reentrant(model: Any) -> bool:
    """Whether the forward of a model of transformers is known not to change the model."""
    if not type(model).__module__.startswith("transformers.models."):
        return False
    # These scale positions by what they have seen, and keep it.
    rope = str(getattr(model.config, "rope_parameters", None))
    return model.config.model_type in _STATELESS and not re.search("dynamic|longrope", rope)
