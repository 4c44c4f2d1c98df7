"""Damage that shows in the numbers of weights, and what looks like it but is none."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from reranker_core.models.family import LoadedModel
from reranker_core.preflight.structure import check_structure

ROWS, WIDTH = 200, 192
WORDS = range(5, 150)
EMPTY, HOLES, TWINS, COARSE, NO_ROW, REPEATED, UNLIKE = (
    "not_empty",
    "no_holes",
    "layers_differ",
    "precise",
    "words_have_rows",
    "no_repeats",
    "layers_alike",
)


class Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.into = torch.nn.Linear(WIDTH, 2 * WIDTH)
        self.out = torch.nn.Linear(2 * WIDTH, WIDTH)


class Body(torch.nn.Module):
    """Trained, as far as numbers tell: no two layers alike, outliers among normal values."""

    config = SimpleNamespace()

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(ROWS, WIDTH)
        self.positions = torch.nn.Embedding(64, WIDTH)
        self.types = torch.nn.Embedding(1, WIDTH)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(3))
        self.score = torch.nn.Linear(WIDTH, 1)
        draw = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in self.parameters():
                normal = torch.randn(weight.shape, generator=draw)
                weight.copy_(normal * 0.04 * (1 + 0.3 * normal**2))

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.words


def found(edit: Callable[[Body], object], words: range = WORDS) -> set[str]:
    body = Body()
    with torch.no_grad():
        edit(body)
    loaded = LoadedModel(body, (), (), (), head=("score.",))
    return {check.name for check in check_structure(loaded, words) if not check.passed}


def matrices(body: Body) -> list[torch.Tensor]:
    return [weight for weight in body.parameters() if weight.dim() == 2]


def hole(matrix: torch.Tensor, values: int) -> None:
    matrix.view(-1)[1000 : 1000 + values] = 0


def strewn(share: float, *of: torch.Tensor) -> None:
    draw = torch.Generator().manual_seed(1)
    for matrix in of:
        matrix[torch.rand(matrix.shape, generator=draw) < share] = 0


def rounded(body: Body, bits: int, group: int | None) -> None:
    most = 2 ** (bits - 1) - 1
    for matrix in matrices(body):
        parts = matrix.view(-1, group) if group else matrix.view(1, -1)
        step = parts.abs().amax(1, keepdim=True) / most
        parts.copy_((parts / step).round() * step)


def pruned(body: Body, share: float) -> None:
    for matrix in matrices(body):
        matrix[matrix.abs() < matrix.abs().quantile(share)] = 0


def twice(body: Body) -> None:
    body.layers[2].load_state_dict(body.layers[0].state_dict())


def same_row(body: Body) -> None:
    body.words.weight[100:120] = body.words.weight.mean(0)


def copied(source: torch.Tensor, target: torch.Tensor, at: int, to: int) -> None:
    block = source.reshape(-1)[at : at + 11_000].clone()
    target.view(-1)[to : to + len(block)] = block


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (lambda body: copied(body.words.weight, body.words.weight, 2000, 20_001), REPEATED),
        (
            lambda body: copied(body.layers[0].into.weight, body.layers[0].into.weight, 0, 19_200),
            REPEATED,
        ),
        (lambda body: copied(body.words.weight, body.layers[1].into.weight, 100, 7), REPEATED),
        (lambda body: body.layers[1].into.bias.fill_(1.0), UNLIKE),
        (lambda body: body.layers[0].out.bias.zero_(), UNLIKE),
        (lambda body: body.layers[1].out.weight.zero_(), EMPTY),
        (lambda body: body.positions.weight.zero_(), EMPTY),
        (lambda body: hole(body.layers[0].into.weight, 2048), HOLES),
        (lambda body: hole(body.layers[2].out.weight, 512), HOLES),
        (lambda body: hole(body.words.weight, 2048), HOLES),
        (lambda body: strewn(0.06, body.layers[1].into.weight), HOLES),
        (lambda body: strewn(0.3, *matrices(body)), HOLES),
        (lambda body: body.layers[0].out.weight[:, ::16].zero_(), HOLES),
        (twice, TWINS),
        (lambda body: rounded(body, 2, WIDTH), COARSE),
        (lambda body: rounded(body, 3, WIDTH), COARSE),
        (lambda body: rounded(body, 3, 64), COARSE),
        (lambda body: rounded(body, 4, None), COARSE),
        (lambda body: body.words.weight[40:60].zero_(), NO_ROW),
        (same_row, NO_ROW),
    ],
)
def test_damage_is_found(edit: Callable[[Body], object], check: str):
    assert check in found(edit)


@pytest.mark.parametrize(
    "edit",
    [
        lambda body: None,
        lambda body: body.types.weight.zero_(),
        lambda body: [layer.into.bias.zero_() for layer in body.layers],
        lambda body: [layer.into.bias.mul_(1e-3 * (n != 1)) for n, layer in enumerate(body.layers)],
        lambda body: body.positions.weight[32:].copy_(body.positions.weight[:32].clone()),
        lambda body: body.words.weight[175:].copy_(body.words.weight[150:175].clone()),
        lambda body: body.words.weight[0].zero_(),
        lambda body: body.words.weight[160:].zero_(),
        lambda body: body.words.weight[160:].fill_(0.5),
        lambda body: body.layers[0].into.weight[32:64].zero_(),
        lambda body: body.layers[0].out.weight[:, 64:128].zero_(),
        lambda body: body.score.weight.zero_(),
        lambda body: rounded(body, 4, 64),
        lambda body: rounded(body, 8, WIDTH),
        lambda body: rounded(body, 8, None),
        lambda body: body.to(torch.bfloat16),
        lambda body: body.half(),
        lambda body: pruned(body, 0.3),
        lambda body: pruned(body, 0.6),
        lambda body: strewn(0.5, *matrices(body)),
    ],
    ids=[
        "trained",
        "RoBERTa's token type",
        "biases that stay zero in each layer",
        "biases so small that one became zero",
        "rows that were repeated to make a table longer",
        "rows of added tokens that are copies",
        "a row for padding",
        "rows beyond the vocabulary",
        "rows of tokens that were added",
        "a pruned head's rows",
        "a pruned head's columns",
        "a head, which another check looks at",
        "4 bits in groups of 64",
        "8 bits a row",
        "8 bits a matrix",
        "bfloat16",
        "float16",
        "pruned by size",
        "pruned by size, most of it",
        "trained with zeros in half of all places",
    ],
)
def test_what_good_models_hold_is_no_damage(edit: Callable[[Body], object]):
    assert not found(edit)


def test_shared_layers_are_no_copies():
    def share(body: Body) -> None:
        body.layers[1] = body.layers[2] = body.layers[0]

    assert not found(share)
