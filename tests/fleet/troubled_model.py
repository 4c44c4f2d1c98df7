"""A reranker that meets trouble on the GPUs that a file names, and computes on a CPU elsewhere.

There it waits after three parts until all replicas that never score are set aside, and as long as
there is a file `hold`.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests import damage

# Runs in the model's own code, in a replica. `place` is the node and the GPU of the replica.
_CODE = """

import json
import pathlib
import time

import ray

FOLDER = pathlib.Path({folder!r})


def troubled(logits):
    time.sleep({seconds})
    context = ray.get_runtime_context()
    gpus = context.get_accelerator_ids().get("GPU", [])
    place = context.get_node_id() + ":" + ",".join(gpus)
    troubles = json.loads((FOLDER / "troubles.json").read_text())
    trouble = troubles.get(place)
    if trouble == "fails":
        raise RuntimeError("this GPU computes nothing")
    if trouble == "disagrees":
        return logits * 1.5
    begun = len(list(FOLDER.glob("out/_receipts/*.json"))) >= 3
    if trouble == "is lost":
        lost = FOLDER / place
        if begun:
            lost.touch()
        if lost.exists():  # it stays lost, whichever process asks
            raise torch.AcceleratorError("CUDA error: uncorrectable ECC error encountered")
    elif begun and trouble != "joins":
        useless = [each for each in troubles.values() if each in ("fails", "disagrees")]
        while len(set_aside()) < len(useless) or (FOLDER / "hold").exists():
            time.sleep(0.1)
    return logits


def set_aside():
    return json.loads((FOLDER / "out/_progress.json").read_text())["set_aside"]
"""


def troubled_model(bert: Path, folder: Path, seconds: float = 0.0) -> Path:
    """A copy of a BERT checkpoint whose forward takes `seconds` longer, and meets the troubles that
    `set_troubles` writes into the folder above it.
    """
    model = damage.with_forward(bert, folder / "model", "output.logits = troubled(logits)")
    code = _CODE.format(folder=str(folder), seconds=seconds)
    with (model / "own.py").open("a") as file:
        file.write(code)
    set_troubles(folder, {})
    return model


def set_troubles(folder: Path, troubles: dict[str, str]) -> None:
    """By node id and number of the GPU: `fails`, `disagrees`, `is lost`; `joins` never waits."""
    (folder / "troubles.json").write_text(json.dumps(troubles))
