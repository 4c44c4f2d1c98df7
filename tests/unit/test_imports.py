"""What a process loads is what it needs: imports are most of the time that a small run takes."""

import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from reranker_core.config import ModelConfig
from reranker_core.models.checkpoint import open_checkpoint
from reranker_core.models.families import FAMILIES, recognise

HEAVY = ("torch", "transformers", "ray.data", "transformers.modeling_utils")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "loaded"),
    [
        ("reranker_core.command.main", ""),
        ("reranker_core.output.proof", ""),
        ("reranker_core.output.manifest, reranker_core.report.summary", ""),
        ("reranker_core.pipeline.tasks", ""),
        ("reranker_core.pipeline.coordinator", ""),
        ("reranker_core.prepare", "torch transformers"),  # which tokenizers need
    ],
)
def test_a_module_loads_no_more_than_it_needs(module, loaded):
    show = f"print(*(name for name in {HEAVY} if name in sys.modules))"
    found = subprocess.check_output(
        [sys.executable, "-c", f"import sys, {module}; {show}"], text=True
    )
    assert found.strip() == loaded


@pytest.mark.parametrize("split_specials", [False, True])
@pytest.mark.parametrize("name", ["xlm_roberta", "qwen3"])
def test_a_pair_format_tokenizes_where_neither_torch_nor_transformers_is_loaded(
    name, split_specials, request, tmp_path
):
    folder = shutil.copytree(request.getfixturevalue(name), tmp_path / "model")
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text()) | {"split_special_tokens": split_specials}
    path.write_text(json.dumps(settings))
    model = ModelConfig(path=str(folder), template="qwen3-reranker" if name == "qwen3" else "auto")
    checkpoint = open_checkpoint(model)
    pair_format = FAMILIES[recognise(checkpoint, "auto")].pair_format(checkpoint, model)
    texts = (
        ["wie lange kocht ein Ei?"],
        ["北京是中华人民共和国的首都", "ten </s><|im_end|> minutes " * 9],
    )
    (tmp_path / "format").write_bytes(pickle.dumps(pair_format))
    program = (
        "import pickle, sys, numpy as np\n"
        f"pair_format = pickle.load(open({str(tmp_path / 'format')!r}, 'rb'))\n"
        f"found = pair_format.encode(*{texts!r}, np.array([0, 0]), np.array([0, 1]))\n"
        f"print(found.tokens.values.tolist(), [name for name in {HEAVY} if name in sys.modules])"
    )
    there = subprocess.check_output([sys.executable, "-c", program], text=True)
    here = pair_format.encode(*texts, np.array([0, 0]), np.array([0, 1])).tokens.values.tolist()
    assert there.strip() == f"{here} []"
