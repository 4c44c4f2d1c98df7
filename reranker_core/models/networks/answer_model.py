"""A language model that computes only the logits of its answer tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from reranker_core.encode.formats.pair_format import Answer
from reranker_core.errors import ConfigError
from reranker_core.models.batch import Packing, Prefix
from reranker_core.models.networks.last_token_layer import (
    last_states,
    read_last_token_only,
    reads_last_only,
)
from reranker_core.models.networks.prefix_states import PrefixStates, can_go_on, where

_PROBE_TOKENS = 8
# Between our float32 head and the model's own one in its number format.
_SAME = 0.05


def answer_rows(head: Any, ids: Sequence[int]) -> torch.Tensor:
    """The rows of output embeddings for the answers, float32, shape (answers, width).

    Raises:
        ConfigError: there is no such row.

    """
    beyond = [i for i in ids if i >= len(head.weight)]
    if beyond:
        raise ConfigError(
            f"answer id {beyond[0]} is not in the vocabulary: the model has {len(head.weight)} "
            "output embeddings. Correct answer_ids of model.template, or the ids in "
            "1_LogitScore/config.json of the checkpoint"
        )
    rows: torch.Tensor = head.weight[list(ids)].detach().float()
    return rows


class AnswerModel(torch.nn.Module):
    """The layers of a causal language model, and the rows of its output embeddings for the answers.

    A vocabulary has up to 256,000 rows. A score needs one or two of them, at the last token only.
    These rows are kept in float32, so that no digits of scores are lost.

    Raises:
        ConfigError: the model computes its logits in another way than from its output embeddings.

    """

    def __init__(self, model: Any, answers: Sequence[Answer]) -> None:
        super().__init__()
        head = model.get_output_embeddings()
        ids = [answer.ids[0] for answer in answers]
        self.config = model.config
        self.body = model.get_decoder()
        self.rows = torch.nn.Parameter(answer_rows(head, ids), requires_grad=False)
        bias = getattr(head, "bias", None)
        self.bias = None if bias is None else torch.nn.Parameter(bias[ids].detach().float(), False)
        self.weights = torch.nn.Parameter(torch.tensor([a.weight for a in answers]), False)
        self.softcap = getattr(model.config.get_text_config(), "final_logit_softcapping", None)
        self._read_less(model, ids)
        self.goes_on = can_go_on(model) and (reads_last_only(self.body) or self._continues())

    def get_input_embeddings(self) -> torch.nn.Module:
        """The embedding table, for preflight."""
        return self.body.get_input_embeddings()

    def read(self, ids: torch.Tensor, packing: Packing | None = None) -> PrefixStates | None:
        """Keys and values of N prefixes, ids of shape (N, P), or (1, T) if they are packed; None if
        these layers cannot use them.
        """
        return PrefixStates.read(self.body, ids, packing) if self.goes_on else None

    def forward(
        self,
        ids: torch.Tensor,
        last: torch.Tensor,
        packing: Packing | None = None,
        prefix: Prefix | None = None,
    ) -> torch.Tensor:
        """Float32 scores, shape (R,); ids, last, packing and prefix as in `Batch`."""
        logits = self.logits(ids, last, packing, prefix)
        return (logits * self.weights).sum(-1)

    def logits(
        self,
        ids: torch.Tensor,
        last: torch.Tensor,
        packing: Packing | None = None,
        prefix: Prefix | None = None,
    ) -> torch.Tensor:
        """Float32 logits of the answers after the last token, shape (R, answers)."""
        how = where(ids, packing, prefix)
        states = last_states(self.body, ids, last, use_cache=False, **how)
        logits = torch.nn.functional.linear(states.float(), self.rows, self.bias)
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap

    def _read_less(self, model: Any, answers: list[int]) -> None:
        """From here on only what makes the score; some models scale their logits in ways of their
        own.

        Raises:
            ConfigError: the model's own logits are other ones.

        """
        ids = torch.arange(_PROBE_TOKENS)[None]
        with torch.inference_mode():
            own = model(input_ids=ids, use_cache=False).logits[0, -1, answers].float()
            read_last_token_only(self.body)
            ours = self.logits(ids, torch.tensor([_PROBE_TOKENS - 1]))[0]
        if not torch.isfinite(own).all():
            return  # preflight says it better
        if ((own - ours).abs() > _SAME * (1 + own.abs())).any():
            raise ConfigError(
                f"{type(model).__name__} computes its logits in a way that is not supported: it "
                f"gives {own.tolist()} for the answers; expected {ours.tolist()}, as computed "
                "from its output embeddings. Use a supported model type, such as Gemma, Llama "
                "or Qwen"
            )

    def _continues(self) -> bool:
        """Whether a sequence that continues a prefix has the logits of the whole sequence. The
        layers of some classes need more from a cache than keys and values.
        """
        ids, half = torch.arange(_PROBE_TOKENS)[None], _PROBE_TOKENS // 2
        with torch.inference_mode():
            whole = self.logits(ids, torch.tensor([_PROBE_TOKENS - 1]))
            try:
                states = PrefixStates.read(self.body, ids[:, :half])
                prefix = Prefix(states, torch.tensor([0]), torch.tensor([half]))
                behind = self.logits(ids[:, half:], torch.tensor([half - 1]), prefix=prefix)
            except Exception:  # noqa: BLE001 - each class fails in a way of its own
                return False
        return bool(((whole - behind).abs() <= _SAME * (1 + whole.abs())).all())
