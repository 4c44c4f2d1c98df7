"""Decoders with a classification head."""

from __future__ import annotations

from typing import Any

import torch

from reranker_core.models.batch import Batch
from reranker_core.models.labels import log_odds
from reranker_core.models.loading import inputs_to_float32
from reranker_core.models.networks.last_token_layer import last_states, read_last_token_only
from reranker_core.models.networks.prefix_states import where

_PROBE_TOKENS = 8
_SAME = 0.05  # of 1 + |logit|, in half precision


@torch.inference_mode()
def reads_last_token(model: Any) -> bool:
    """Whether a classifier only applies its linear layer `score` to the state of the last token.

    Most classes of transformers do; some have other layers in between.
    """
    if type(model).__module__.startswith("transformers_modules.") or not hasattr(model, "score"):
        return False
    pad = model.config.pad_token_id
    ids = torch.tensor([[i for i in range(_PROBE_TOKENS + 1) if i != pad][:_PROBE_TOKENS]])
    own = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    states = model.base_model(input_ids=ids).last_hidden_state
    ours = model.score(states[:, -1].to(own.dtype))
    # Where these are not finite, preflight says so.
    return not ((own - ours).abs() > _SAME * (1 + own.abs())).any()


class LastToken(torch.nn.Module):
    """A decoder whose head is applied to the last token only.

    The class of transformers applies the head to all tokens, and finds the last one by looking for
    padding tokens, which a text may contain itself.
    """

    reads_by_length = True  # so no token need be told from padding

    def __init__(self, model: Any, label: int | None) -> None:
        super().__init__()
        self.label = label
        self.config = model.config
        self.body = model.base_model
        read_last_token_only(self.body)
        self.score = model.score.float()

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.body.get_input_embeddings()
        return table

    def forward(self, batch: Batch) -> torch.Tensor:
        """Float32 scores, shape (R,)."""
        how = where(batch.ids, batch.packing)
        states = last_states(self.body, batch.ids, batch.last, use_cache=False, **how)
        return log_odds(self.score(states.float()), self.label)


class WholeClassifier(torch.nn.Module):
    """A classifier that runs unchanged, such as the checkpoint's own code, which pools in its own
    way. If its head has the usual name `score`, it computes in float32.
    """

    def __init__(self, model: Any, label: int | None) -> None:
        super().__init__()
        self.label = label
        self.config = model.config
        self.inner = model
        if isinstance(head := getattr(model, "score", None), torch.nn.Module):
            head.float().register_forward_pre_hook(inputs_to_float32)

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        table: torch.nn.Module = self.inner.get_input_embeddings()
        return table

    def forward(self, batch: Batch) -> torch.Tensor:
        """Float32 scores, shape (R,), of sequences that are padded on the right."""
        logits = self.inner(input_ids=batch.ids, attention_mask=batch.mask).logits
        return log_odds(logits, self.label)
