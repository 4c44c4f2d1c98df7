"""Quantised checkpoints: how their weights were made smaller, and how they are loaded.

The weights are dequantised while they are loaded. Then the model is an ordinary one in the number
format of the run: it needs the memory of the original, and all checks apply to it. transformers and
the package of the method dequantise. Only GPTQ is dequantised here (`packed.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from reranker_core.models import packed
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.modules import read_json
from reranker_core.models.weight_names import tensor_formats, tensor_names, tensor_shapes

# quant_method in config.json → the package that runs it, as transformers 5.23 asks for it.
_PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "bitsandbytes_4bit": "bitsandbytes",
    "bitsandbytes_8bit": "bitsandbytes",
    "awq": "gptqmodel",
    "compressed-tensors": "compressed-tensors",
    "fp8": "accelerate",
    "fbgemm_fp8": "fbgemm-gpu",
    "torchao": "torchao",
    "quanto": "optimum-quanto",
    "hqq": "hqq",
    "aqlm": "aqlm",
    "eetq": "eetq",
    "auto-round": "auto-round",
}
_BESIDE = {"bitsandbytes": ("accelerate",)}  # more packages that loading needs
DEQUANTISED = ("bitsandbytes", "compressed-tensors", "fp8", "gptq", "torchao")
GPTQ = "gptq"
_CONFIG = "quantization_config"
_SIDECARS = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
# transformers.js leaves a file of the same name beside the weights that it exported.
_METHODS = {"quant_method", "quant_algo", "bits", "w_bit"}
_INTEGERS = {"I8", "U8", "I16", "U16", "I32", "U32"}  # not I64: tables of positions
# Tensors of GPTQ and AWQ, compressed-tensors, bitsandbytes, HQQ, quanto and of scales.
_PARTS = (
    ".qweight",
    ".qzeros",
    ".weight_packed",
    ".weight_scale",
    ".SCB",
    ".absmax",
    ".W_q",
    ".weight._data",
)
_PLAIN = {"F64", "F32", "F16", "BF16", "I64", "BOOL"}
_FP8_BLOCK = [128, 128]
_FP8_SCALES = "_scale_inv"
_GROUP_OF_COLUMN = ".weight_g_idx"  # which scale a column has; compressed-tensors 0.20 ignores it


@dataclass(frozen=True)
class Quantisation:
    """How weights were quantised.

    Attributes:
        method: the value of `quant_method`.
        where: the key or file that says so.
        packages: the packages that loading such weights needs.
        problem: why these weights cannot be dequantised here, or ''.
        plain: whether the files have no tensor in a format that quantisation leaves.

    """

    method: str
    where: str
    packages: tuple[str, ...]
    problem: str
    plain: bool = False

    @property
    def missing(self) -> list[str]:
        """Those of `packages` that are not installed on this machine."""
        return [name for name in self.packages if find_spec(name.replace("-", "_")) is None]

    def __str__(self) -> str:
        return f"{self.method} ({self.where})"


def quantisation(checkpoint: Checkpoint) -> Quantisation | None:
    """How the weights of a checkpoint were quantised; None if they were not."""
    text = checkpoint.config.get("text_config")
    for settings in (checkpoint.config, text if isinstance(text, dict) else {}):
        for key in (_CONFIG, "compression_config"):
            if settings.get(key):
                known = settings is checkpoint.config and key == _CONFIG
                return _described(checkpoint, settings[key], f"{key} of config.json", known)
    for name in _SIDECARS:
        if (checkpoint.folder / name).exists():
            said = _settings(read_json(checkpoint.folder / name))
            if _METHODS.intersection(said) or _INTEGERS & tensor_formats(checkpoint.weights):
                return _described(checkpoint, said, name, False)
    return _unnamed(checkpoint)


def _unnamed(checkpoint: Checkpoint) -> Quantisation | None:
    """A quantisation that no settings tell of, only formats and names of tensors."""
    told = sorted(f for f in tensor_formats(checkpoint.weights) if f.startswith("F8"))
    told = [f"weights in {f}" for f in told]
    told += sorted(f"tensor {n}" for n in tensor_names(checkpoint.weights) if n.endswith(_PARTS))
    problem = "no file says how they were made"
    return Quantisation("an unnamed method", told[0], (), problem) if told else None


def loading_options(found: Quantisation) -> dict[str, Any]:
    """Arguments of `from_pretrained` that dequantise the weights, or that let `plain` do so."""
    from transformers import CompressedTensorsConfig, FineGrainedFP8Config

    if found.method == "compressed-tensors":
        return {_CONFIG: CompressedTensorsConfig(dequantize=True)}
    if found.method == "fp8":
        return {_CONFIG: FineGrainedFP8Config(dequantize=True)}
    return {"device_map": {"": "cpu"}} if found.method == "bitsandbytes" else {}


def filled(architecture: Any, checkpoint: Checkpoint, options: dict[str, Any]) -> Any:
    """Like `architecture.from_pretrained`, for GPTQ's weights."""
    from transformers import AutoConfig

    config = options.pop("config", None) or AutoConfig.from_pretrained(checkpoint.folder)
    settings = checkpoint.config[_CONFIG]
    delattr(config, _CONFIG)
    mapping = getattr(architecture, "_model_mapping", None)
    known = architecture if mapping is None else mapping[type(config)]
    options.pop("trust_remote_code", None)
    tensors = packed.unpacked(checkpoint.weights, settings, options["dtype"])
    return known.from_pretrained(None, config=config, state_dict=tensors, **options)


def plain(model: Any, found: Quantisation, dtype: torch.dtype) -> Any:
    """The loaded model with all parameters as ordinary tensors; `dtype` is that of the run.

    Raises:
        ValueError: weights in fp8 have no scales.

    """
    if found.method == "bitsandbytes":
        model = model.dequantize(dtype=dtype)
    for module in model.modules():
        for name, weight in [*module.named_parameters(recurse=False)]:
            if type(weight.data) is not torch.Tensor:  # a class of torchao
                value = weight.detach().dequantize()
                setattr(module, name, torch.nn.Parameter(value, requires_grad=False))
    for name, weight in model.named_parameters():
        if weight.dtype.itemsize == 1:
            raise ValueError(f"{name} is in {weight.dtype} and has no scales")
        weight.data = weight.data.to(dtype)  # some are left in the format of the file
    return model.eval()


def _described(checkpoint: Checkpoint, said: Any, where: str, known: bool) -> Quantisation:
    settings = said if isinstance(said, dict) else {}
    method = str(settings.get("quant_method") or settings.get("quant_algo") or "an unnamed method")
    if settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        method = "bitsandbytes"
    problem = "" if known else "transformers does not read this"
    if method not in DEQUANTISED:
        problem = "this job cannot dequantise such weights"
    elif checkpoint.is_native or checkpoint.names_own_code:
        problem = "the checkpoint brings its own code"
    elif method == "compressed-tensors" and _schemes(settings) > 1:
        problem = "config_groups has several schemes"
    elif any(name.endswith(_GROUP_OF_COLUMN) for name in tensor_names(checkpoint.weights)):
        problem = f"groups in the order of activations ({_GROUP_OF_COLUMN[1:]}) are not supported"
    elif method == GPTQ and not _is_of_known_bits(settings):
        problem = f"only {', '.join(map(str, packed.BITS))} bits in one format are supported"
    elif method == "fp8" and not _fits_blocks(checkpoint, settings):
        problem = "the shapes of weights and scales do not fit weight_block_size"
    packages = () if method == GPTQ else (_PACKAGES.get(method, method), *_BESIDE.get(method, ()))
    formats = tensor_formats(checkpoint.weights)
    return Quantisation(method, where, packages, problem, bool(formats) and formats <= _PLAIN)


def _is_of_known_bits(settings: dict[str, Any]) -> bool:
    known = settings.get("checkpoint_format", GPTQ) in packed.FORMATS
    return known and settings.get("bits") in packed.BITS and not settings.get("dynamic")


def _settings(said: Any) -> dict[str, Any]:
    """The settings in such a file; ModelOpt's are in `quantization`."""
    found = said if isinstance(said, dict) else {}
    inner = found.get("quantization")
    return found | inner if isinstance(inner, dict) else found


def _schemes(settings: dict[str, Any]) -> int:
    """Number of different weight schemes. transformers 5.23 dequantises by the first one alone."""
    groups = settings.get("config_groups")
    found = list(groups.values()) if isinstance(groups, dict) else []
    return len({str((g.get("weights"), g.get("format"))) for g in found if isinstance(g, dict)})


def _fits_blocks(checkpoint: Checkpoint, settings: dict[str, Any]) -> bool:
    """Whether each weight is as many whole blocks as it has scales.

    transformers 5.23 divides a weight into equal blocks, whatever the settings say. So scales of
    blocks that are cut at the edge would be applied to other weights.
    """
    shapes = tensor_shapes(checkpoint.weights)
    block = settings.get("weight_block_size", _FP8_BLOCK)
    scales = {name: shape for name, shape in shapes.items() if name.endswith(_FP8_SCALES)}
    if not isinstance(block, list):  # one scale for a whole weight
        return True
    return all(
        shapes.get(name.removesuffix(_FP8_SCALES))
        == [count * size for count, size in zip(shape, block, strict=False)]
        for name, shape in scales.items()
        if len(shape) == len(block)
    )
