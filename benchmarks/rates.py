"""How close to the hardware: useful floating-point operations, and what matrix products reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from reranker_core.encode.sequences import Int64s
from reranker_core.score.products import pack_where_faster


def useful_flops(config: Any, lengths: Int64s) -> float:
    """Of the scores of sequences of these lengths, as this project computes them; padding and
    vocabulary excluded.

    Two a weight of the layers' matrices and token, and the two products of attention over the
    whole sequence (half of it for causal models). Of an encoder's last layer, keys and values of
    all tokens, and the rest for the first one; the feed-forward of a causal model's last layer, for
    the last one.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or hidden // heads
    of_keys = (getattr(config, "num_key_value_heads", None) or heads) * head
    causal = hasattr(config, "num_key_value_heads")
    projections = hidden * (2 * heads * head + 2 * of_keys)
    feed_forward = (3 if causal else 2) * hidden * config.intermediate_size
    attention = 4 * heads * head * (0.5 if causal else 1.0)
    tokens = lengths.astype(np.float64)
    a_token = 2 * (projections + feed_forward)
    whole = float((a_token * tokens + attention * tokens**2).sum())
    if causal:
        return layers * whole - 2 * feed_forward * float((tokens - 1).sum())
    keys_and_values = 2 * 2 * hidden * of_keys
    last = keys_and_values * tokens + (a_token - keys_and_values) + attention * tokens
    return (layers - 1) * whole + float(last.sum())


class MatrixProducts:
    """The feed-forward products of a model, by the fastest kernel: the ceiling of its forward.

    Attributes:
        kernel: what was chosen on a CPU, in words.

    """

    def __init__(self, config: Any, tokens: int, dtype: torch.dtype, device: str) -> None:
        wide, narrow = config.intermediate_size, config.hidden_size
        make = {"dtype": dtype, "device": device, "bias": False}
        self._layers = torch.nn.ModuleList(
            [torch.nn.Linear(narrow, wide, **make), torch.nn.Linear(wide, narrow, **make)]
        )
        threads = torch.get_num_threads()
        self.kernel = pack_where_faster(self._layers, tokens, threads) if device == "cpu" else ""
        self._x = torch.randn(tokens, narrow, dtype=dtype, device=device)
        self.flops = 4.0 * tokens * narrow * wide

    @torch.inference_mode()
    def run(self, times: int) -> None:
        """So many times one product up and one down."""
        up, down = self._layers
        for _ in range(times):
            down(up(self._x))


@dataclass(frozen=True)
class Timed:
    """What a call gave, its wall seconds, and the processor seconds of all threads."""

    value: Any
    wall: float
    processor: float


def timed(work: Callable[..., Any], *values: Any, **named: Any) -> Timed:
    """Call, with a GPU waited for."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    wall, processor = time.perf_counter(), time.process_time()
    value = work(*values, **named)
    wait()
    return Timed(value, time.perf_counter() - wall, time.process_time() - processor)
