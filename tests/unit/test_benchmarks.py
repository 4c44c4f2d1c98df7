"""What measurements rest on: counted operations, and a GPU script that runs before there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import batches, gpu, stages
from benchmarks.random_checkpoints import word_pairs
from benchmarks.rates import MatrixProducts, useful_flops
from benchmarks.shapes import LONGEST, TINY, natural_sequences
from reranker_core.config import ScoreConfig
from reranker_core.models.families import FAMILIES
from reranker_core.models.networks.first_token_layer import read_first_token_only
from reranker_core.models.networks.last_token_layer import last_states, read_last_token_only
from reranker_core.score.batching import Shapes
from reranker_core.score.engine import Engine
from tests.marks import more
from tests.tables import flat, write


@pytest.mark.parametrize("name", list(TINY))
def test_useful_operations_are_those_that_torch_counts(name: str):
    model = TINY[name].make().eval()
    config, body = model.config, model.base_model
    read_first_token_only(model)
    read_last_token_only(body)
    model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        if name == "gemma-tiny":
            last_states(body, torch.arange(100)[None], torch.tensor([99]))
        else:
            body(input_ids=torch.arange(100)[None])
    counted = counter.get_total_flops()
    if name == "gemma-tiny":  # eager attention computes both halves of what is causal
        counted -= config.num_hidden_layers * 2 * config.num_attention_heads * 16 * 100**2
    ours = useful_flops(config, np.array([100]))
    assert ours == pytest.approx(counted, rel=0.02)  # the pooler, rotary angles


def test_a_matrix_product_counts_two_operations_a_weight_and_token():
    model = TINY["bert-tiny"].make()
    products = MatrixProducts(model.config, 10, torch.float32, "cpu")
    with FlopCounterMode(display=False) as counter:
        products.run(1)
    assert counter.get_total_flops() == products.flops


def test_all_stages_around_the_scorer_take_time(tmp_path: Path, bert: Path):
    write(tmp_path / "in/a.parquet", flat(30))
    pairs, seconds = stages.measure(tmp_path, bert)
    assert pairs == 30
    assert list(seconds) == ["read", "encode", "carry", "commit"]
    assert len(list((tmp_path / "out").glob("*.parquet"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "bert-tiny",
        *(more(name) for name in TINY if name != "bert-tiny"),
    ],
)
def test_the_gpu_script_measures_on_a_cpu(name: str):
    how = gpu.How("cpu", "bfloat16", 1, [32])
    found = gpu.measure(TINY[name], word_pairs(100), how)
    assert found["forward"]["pairs_per_second"] > 0
    assert found["difference_float32"] < 1e-5 < found["difference_bfloat16"] < gpu.HALF
    assert found["share_of_ceiling"] > 0
    assert found["padding"] < 0.15
    peers = found["peers"].values()
    assert peers
    assert all(peer["difference"] < gpu.HALF for peer in peers)


@pytest.mark.slow
def test_padding_of_fixed_shapes_is_what_the_engine_computes(monkeypatch: pytest.MonkeyPatch):
    model = TINY["bert-tiny"].make().eval()
    shapes = {
        "free": Shapes.of("cpu", LONGEST, ScoreConfig(), model),
        "fixed": Shapes.of("cpu", LONGEST, ScoreConfig(reproducible=True), model),
    }
    monkeypatch.setattr(batches, "ROWS", (500,))
    sequences = natural_sequences(1000, vocabulary=100)
    padded = batches.padding(1000, shapes, model)  # all in one part
    for name, chosen in shapes.items():
        computed = Engine(model, FAMILIES["encoder"], 0, chosen).compute(sequences).tokens
        share = 1 - int(sequences.tokens.lengths.sum()) / computed
        assert padded[name] == pytest.approx(share, abs=1e-4)
    assert padded["free"] < padded["fixed"] < padded["CUDA, reproducible"]
