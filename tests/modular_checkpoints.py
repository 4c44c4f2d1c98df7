"""Cross-encoders with a head in modules, as sentence-transformers saves them."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling

from tests import checkpoints

WIDTH = 32
PLAIN = torch.nn.Identity()


def ettin(folder: Path) -> Path:
    """As ettin-reranker: ModernBERT, its first token, Dense, LayerNorm, Dense."""
    head = [
        Pooling(WIDTH, pooling_mode="cls"),
        Dense(WIDTH, WIDTH, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(WIDTH),
        Dense(WIDTH, 1, activation_function=PLAIN, module_output_name="scores"),
    ]
    return save(folder, "modernbert", head)


def averaged(folder: Path) -> Path:
    """BERT, the mean of its tokens, and layers that are narrower and add what comes in."""
    head = [
        Pooling(WIDTH, pooling_mode="mean"),
        Dense(WIDTH, 16, use_residual=True),
        Dropout(0.1),
        Dense(16, 16, activation_function=torch.nn.ReLU(), use_residual=True),
        Dense(16, 1, activation_function=PLAIN, module_output_name="scores"),
    ]
    return save(folder, "bert", head)


def joined_poolings(folder: Path) -> Path:
    """XLM-R, all ways to pool side by side."""
    modes = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
    wide = WIDTH * len(modes)
    head = [
        Pooling(WIDTH, pooling_mode=modes),
        Dense(wide, 1, activation_function=PLAIN, module_output_name="scores"),
    ]
    return save(folder, "xlm_roberta", head)


def save(folder: Path, body: str, head: list[torch.nn.Module]) -> Path:
    """With a body of `tests.checkpoints`, and a head drawn wider than torch draws it."""
    source, plain = folder / "source", folder / "body"
    getattr(checkpoints, body)(source)
    transformers.AutoModel.from_pretrained(source).save_pretrained(plain)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(plain)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        for module in head:
            for weight in module.parameters():
                torch.nn.init.normal_(weight, mean=weight.mean().item(), std=0.3)
    encoder = CrossEncoder(modules=[Transformer(str(plain)), *head], device="cpu")
    encoder.save_pretrained(str(folder / "saved"))
    return folder / "saved"
