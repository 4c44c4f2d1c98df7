"""Ways to build a copy of a checkpoint with one thing changed: a `Build` takes the good folder and
the folder to write.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from tests import damage
from tests.damage import Weights

DEMO = Path(__file__).parents[2] / "demo/model"
MODEL = "model.safetensors"
HEAD, HEAD_BIAS = "classifier.weight", "classifier.bias"
WORDS = "bert.embeddings.word_embeddings.weight"

Build = Callable[[Path, Path], object]
Edit = Callable[[torch.Tensor], torch.Tensor]


def changed(edit: Callable[[Path], object]) -> Build:
    """The copy, after `edit` of its folder."""

    def build(source: Path, folder: Path) -> None:
        shutil.copytree(source, folder)
        edit(folder)

    return build


def config(**values: object) -> Build:
    """Other values in config.json; None removes a key."""
    return lambda source, folder: damage.with_config(source, folder, **values)


def json_file(name: str, **values: object) -> Callable[[Path], object]:
    """An edit of a folder: other values in a JSON file, which may be new."""

    def edit(folder: Path) -> None:
        path = folder / name
        given = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(given | values))

    return edit


def content(change: Callable[[bytes], bytes]) -> Build:
    """Other bytes in the weight file."""
    return changed(
        lambda folder: (folder / MODEL).write_bytes(change((folder / MODEL).read_bytes()))
    )


def weights(edit: Callable[[Weights], object]) -> Build:
    """Weights that `edit` changes in place, in the number format of the file."""
    return lambda source, folder: damage.with_weights(source, folder, edit)


def float_weights(edit: Callable[[Weights], object]) -> Build:
    """Weights that `edit` changes in place, in float32."""

    def change(tensors: Weights) -> None:
        for name in tensors:
            tensors[name] = tensors[name].float()
        edit(tensors)
        for name in tensors:
            tensors[name] = tensors[name].contiguous()

    return weights(change)


def tensor(name: str, edit: Edit) -> Build:
    """One tensor, in float32."""
    return tensors_of(edit, lambda key, _: key == name)


def matrices(edit: Edit, part: str = "") -> Build:
    """Each matrix whose name contains `part`, in float32."""
    return tensors_of(edit, lambda name, value: value.dim() == 2 and part in name)


def tensors_of(edit: Edit, chosen: Callable[[str, torch.Tensor], bool]) -> Build:
    """Each chosen tensor, in float32; the others stay as they are."""

    def change(tensors: Weights) -> None:
        for name, value in tensors.items():
            if chosen(name, value):
                tensors[name] = edit(value.float().clone()).contiguous()

    return weights(change)


def renamed(rename: Callable[[str], str]) -> Build:
    """Other names of tensors."""

    def edit(tensors: Weights) -> None:
        for name in list(tensors):
            tensors[rename(name)] = tensors.pop(name)

    return weights(edit)


def scaled(factor: float, *parts: str) -> Build:
    """Tensors whose names contain one of `parts`, multiplied."""

    def edit(tensors: Weights) -> None:
        for name in tensors:
            if any(part in name for part in parts):
                tensors[name] *= factor

    return weights(edit)


def without(*parts: str) -> Build:
    """No tensors whose names contain one of `parts`."""

    def edit(tensors: Weights) -> None:
        for name in [n for n in tensors if any(part in n for part in parts)]:
            del tensors[name]

    return weights(edit)


def only(*names: str) -> Callable[[Path], object]:
    """An edit of a folder: no files but these."""

    def edit(folder: Path) -> None:
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()

    return edit
