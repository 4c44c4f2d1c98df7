"""AdamW with a linear warm-up and a linear decay, and a line of progress now and then."""

import time

import torch
from torch import nn

_WARM_UP = 0.04  # of all steps
_LAST_RATE = 0.02  # of the peak
_EMBEDDINGS = 0.3  # of the rate: words that training never shows must stay comparable
_REPORT_EVERY = 50


class Schedule:
    """Applies one loss a step."""

    def __init__(self, model: nn.Module, steps: int, rate: float) -> None:
        self._parameters = list(model.parameters())
        named = list(model.named_parameters())
        groups = [
            {"params": [p for n, p in named if "embeddings" not in n], "peak": rate},
            {"params": [p for n, p in named if "embeddings" in n], "peak": rate * _EMBEDDINGS},
        ]
        self._optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
        self._steps = steps
        self._done, self._loss, self._start = 0, 0.0, time.monotonic()

    def step(self, loss: torch.Tensor) -> None:
        """Backward, clip, update."""
        progress = self._done / self._steps
        share = min(1.0, (progress + 1 / self._steps) / _WARM_UP) * max(_LAST_RATE, 1 - progress)
        for group in self._optimiser.param_groups:
            group["lr"] = group["peak"] * share
        self._optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        self._done += 1
        self._loss += loss.item()
        if self._done % _REPORT_EVERY == 0:
            elapsed = time.monotonic() - self._start
            print(
                f"step {self._done}: loss {self._loss / _REPORT_EVERY:.3f}, {elapsed:.0f} s",
                flush=True,
            )
            self._loss = 0.0
