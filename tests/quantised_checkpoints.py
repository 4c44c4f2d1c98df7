"""Copies of checkpoints with quantised weights, as the libraries write them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

_LINEAR = ("proj", "dense", "query", "key", "value", "Attention.k", "Attention.v", "Dense")
_FP8_LARGEST = 448  # of float8_e4m3fn


def compressed(source: Path, folder: Path, scheme: str, group: int = 32, bits: int = 0) -> Path:
    """By compressed-tensors, with scales from the smallest and the largest weight.

    Args:
        source: a checkpoint of a classifier or a language model.
        folder: the copy.
        scheme: a preset of the library, such as W8A8.
        group: number of weights with one scale, for schemes with groups.
        bits: of a weight, if not those of the preset.

    """
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )
    from compressed_tensors.quantization.utils import calculate_qparams

    model = _model(source)
    chosen = preset_name_to_scheme(scheme, ["Linear"])
    weights = chosen.weights
    weights.group_size = group if weights.strategy == "group" else weights.group_size
    weights.num_bits = bits or weights.num_bits
    head = ["classifier", "score", "lm_head"]
    settings = QuantizationConfig(
        config_groups={"linear": chosen}, ignore=head, quantization_status="frozen"
    )
    apply_quantization_config(model, settings)
    for module in model.modules():
        if not hasattr(module, "quantization_scheme"):
            continue
        wide = module.weight.shape[1] if weights.strategy == "channel" else group
        parts = module.weight.unflatten(1, (-1, wide))
        scale, zero = calculate_qparams(parts.amin(-1), parts.amax(-1), weights)
        module.weight_scale.data.copy_(scale)
        if hasattr(module, "weight_zero_point"):
            module.weight_zero_point.data.copy_(zero)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    return _saved(source, folder, model, lambda: compressor.update_config(str(folder)))


def by_transformers(source: Path, folder: Path, settings: Any) -> Path:
    """As transformers quantises while it loads, by `settings` (bitsandbytes, torchao)."""
    return _saved(source, folder, _model(source, quantization_config=settings))


def fp8(source: Path, folder: Path, block: int, cut: bool = False) -> tuple[Path, Path]:
    """Fine-grained fp8, as in Qwen's …-FP8, and a copy in float32 with the same values.

    `cut`: the last block of each row and column is smaller than the others.
    """
    quantised, plain = {}, {}
    for name, weight in load_file(source / "model.safetensors").items():
        weight = weight.float()
        plain[name] = quantised[name] = weight
        if weight.dim() != 2 or not any(part in name for part in _LINEAR):
            continue
        rows, columns = (-(-size // block) for size in weight.shape)
        assert cut or weight.shape == (rows * block, columns * block)
        at = [torch.arange(size) // block for size in weight.shape]
        scale = torch.zeros(rows, columns)
        for row in range(rows):
            for column in range(columns):
                part = weight[at[0] == row][:, at[1] == column]
                scale[row, column] = part.abs().max() / _FP8_LARGEST
        whole = scale[at[0]][:, at[1]]
        quantised[name] = (weight / whole).to(torch.float8_e4m3fn)
        quantised[f"{name}_scale_inv"] = scale
        plain[name] = quantised[name].float() * whole
    copies = tuple(shutil.copytree(source, folder / kind) for kind in ("quantised", "plain"))
    for copy, tensors in zip(copies, (quantised, plain), strict=True):
        save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    path = copies[0] / "config.json"
    method = {"quant_method": "fp8", "weight_block_size": [block, block]}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": method}))
    return copies


def packed(source: Path, folder: Path, method: str, where: str = "config.json") -> Path:
    """A copy in the layout of GPTQ or AWQ: 8 weights of 4 bits in an int32, scales of 32 weights.

    Args:
        source: a checkpoint of a language model.
        folder: the copy.
        method: `gptq` or `awq`.
        where: the file that says so: config.json, the one of AutoGPTQ or AutoAWQ, or ''.

    """
    shutil.copytree(source, folder)
    tensors = {}
    for name, weight in load_file(source / "model.safetensors").items():
        if weight.dim() != 2 or "proj" not in name:
            tensors[name] = weight
            continue
        outputs, inputs = weight.shape
        scale = weight.float().unflatten(1, (-1, 32)).abs().amax(2) / 7
        codes = (weight.float() / scale.repeat_interleave(32, 1)).round().long() + 8
        start = name.removesuffix("weight")
        codes = codes.T  # (inputs, outputs), as both write them
        tensors[f"{start}qweight"] = _in_words(codes.T).T if method == "gptq" else _in_words(codes)
        zeros = torch.full((inputs // 32, outputs), 7 if method == "gptq" else 8)
        tensors[f"{start}qzeros"] = _in_words(zeros)
        tensors[f"{start}scales"] = scale.T.half()
        if method == "gptq":
            tensors[f"{start}g_idx"] = torch.arange(inputs, dtype=torch.int32) // 32
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    common = {"bits": 4, "group_size": 32, "quant_method": method}
    settings = common | (
        {"desc_act": False, "sym": True, "checkpoint_format": "gptq"}
        if method == "gptq"
        else {"zero_point": True, "version": "gemm"}
    )
    path = folder / "config.json"
    if where == path.name:
        settings = json.loads(path.read_text()) | {"quantization_config": settings}
    if where:
        (folder / where).write_text(json.dumps(settings))
    return folder


def rounded_as_packed(source: Path, folder: Path) -> Path:
    """A copy in float32 with the values that `packed` writes."""
    shutil.copytree(source, folder)
    tensors = load_file(source / "model.safetensors")
    for name, weight in tensors.items():
        if weight.dim() == 2 and "proj" in name:
            scale = (weight.float().unflatten(1, (-1, 32)).abs().amax(2) / 7).repeat_interleave(
                32, 1
            )
            tensors[name] = (weight.float() / scale).round() * scale.half().float()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _in_words(codes: torch.Tensor) -> torch.Tensor:
    """8 numbers of 4 bits, side by side, in an int32."""
    shifts = torch.arange(0, 32, 4)
    return (codes.unflatten(1, (-1, 8)) << shifts).sum(2).to(torch.int32)


def _model(source: Path, **options: Any) -> Any:
    name = json.loads((source / "config.json").read_text())["architectures"][0]
    return getattr(transformers, name).from_pretrained(source, dtype=torch.float32, **options)


def _saved(source: Path, folder: Path, model: Any, then: Any = None) -> Path:
    shutil.copytree(source, folder)
    for path in folder.glob("model*"):
        path.unlink()
    model.save_pretrained(folder)
    if then is not None:
        then()
    return folder
