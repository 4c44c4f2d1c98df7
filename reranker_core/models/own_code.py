"""Classes whose code comes with a checkpoint, and which file is the cause if loading fails."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

import torch
import transformers

from reranker_core.checks import Check, refusal
from reranker_core.config import ModelConfig
from reranker_core.device import is_out_of_memory
from reranker_core.errors import PreflightRefused, brief
from reranker_core.models.checkpoint import Checkpoint
from reranker_core.models.native import native_config

_MODULES = "transformers_modules"  # where transformers keeps such code
_LOADER = "dynamic_module_utils.py"
_LONGEST = 300  # characters of a library's text
_REMEDY = (
    "The code was written for other versions, or it needs packages that are not installed. Ask "
    "its author for code that runs on these versions, or use a reranker of a supported family "
    "(docs/families.md)."
)

_AT_RANDOM = (
    "These values are in no file, so scores would differ from run to run. Ask its author for code "
    "that saves them with the weights, or use another reranker (docs/families.md)."
)


def is_own_code(model: Any) -> bool:
    """Whether the code of an object's class comes with a checkpoint."""
    return is_from_checkpoint(type(model))


def is_from_checkpoint(found: Any) -> bool:
    """Whether a class or function was defined in such code."""
    return str(getattr(found, "__module__", "")).startswith(f"{_MODULES}.")


def runs_code(checkpoint: Checkpoint, model: ModelConfig) -> bool:
    """Whether the code of a checkpoint may run: it is allowed, and no class of transformers
    replaces it.
    """
    return model.trust_remote_code and not checkpoint.is_native


def is_at_fault(error: BaseException) -> bool:
    """Whether an error was raised in such code, or while it was imported."""
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    return any(_MODULES in file.parts or file.name == _LOADER for file in files)


def fault(
    checkpoint: Checkpoint, model: ModelConfig, error: BaseException, architecture: Any = None
) -> PreflightRefused | None:
    """The error to raise if the checkpoint's code or config.json is why a loader failed; else None.

    Args:
        checkpoint: what was loaded.
        model: the configuration.
        error: what the loader raised.
        architecture: the class, or `Auto…` class of transformers, that the loader was called for.

    """
    if is_at_fault(error):
        code = checkpoint.config.get("auto_map")
        named = sorted(set(code.values())) if isinstance(code, dict) else []
        return does_not_run(f"code of {checkpoint.source} ({', '.join(map(str, named))})", error)
    try:
        if checkpoint.is_native:
            native_config(checkpoint.config)
            return None
        config = transformers.AutoConfig.from_pretrained(
            checkpoint.folder, trust_remote_code=model.trust_remote_code
        )
        if hasattr(architecture, "from_config") and not checkpoint.names_own_code:
            with torch.device("meta"):
                architecture.from_config(config)
    except Exception as found:  # noqa: BLE001 - it raises whatever it meets
        return refusal(
            Check(
                "files",
                "config_valid",
                False,
                f"config.json of {checkpoint.source}: {_whole(found)}",
                f"settings that transformers {transformers.__version__} accepts",
                "Correct the key that the message names, or copy config.json again. If "
                "transformers does not know the model type, a newer version of transformers may "
                "be needed.",
            )
        )
    return None


def _whole(error: BaseException) -> str:
    """Class and first sentences of an error, whose first line may be but a heading."""
    first, *others = re.split(r"(?<=[.!?])\s+", " ".join(str(error).split()))
    told = first if len(first) <= _LONGEST else f"{first[:_LONGEST]}…"
    for sentence in others:
        if len(told) + len(sentence) >= _LONGEST:
            break
        told += f" {sentence}"
    return f"{type(error).__name__}: {told.rstrip('.')}"


def does_not_run(name: str, error: BaseException, remedy: str = _REMEDY) -> PreflightRefused:
    """The error for code that fails; `name` says which code."""
    return refusal(
        Check(
            "architecture",
            "own_code_runs",
            False,
            f"{name}: {brief(error)}",
            f"code that runs on transformers {transformers.__version__} and torch "
            f"{torch.__version__}",
            remedy,
        )
    )


def constructed(loaded: Any, dtype: torch.dtype | None) -> Any:
    """The same model, constructed again on the CPU and filled with the loaded weights.

    `from_pretrained` constructs models on the meta device. There, tables that are in no weight
    file, such as rotary frequencies, are not computed; they would be uninitialised memory.

    Raises:
        PreflightRefused: the constructor fails, or it fills such a table at random.

    """
    other = _tables(_construct(loaded, dtype, seed=1))
    whole = _construct(loaded, dtype, seed=0)
    for name, table in _tables(whole).items():
        if name not in other or not _equal(table, other[name]):
            error = ValueError(f"{name} has other values each time that it is constructed")
            raise does_not_run(type(loaded).__name__, error, _AT_RANDOM)
    whole.load_state_dict(loaded.state_dict(), assign=True)
    whole.tie_weights()
    return whole.eval()


def _construct(loaded: Any, dtype: torch.dtype | None, seed: int) -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype or before)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return type(loaded)(loaded.config)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise does_not_run(type(loaded).__name__, error) from None
    finally:
        torch.set_default_dtype(before)


def _tables(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Tensors that no weight file fills: buffers that are not saved, and other attributes."""
    saved = model.state_dict().keys()
    found = {name: value for name, value in model.named_buffers() if name not in saved}
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                found[f"{prefix}.{name}".lstrip(".")] = value
    return found


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tables have the same values; NaN equals NaN."""
    same = one.shape == other.shape and one.dtype == other.dtype
    return same and torch.equal(torch.nan_to_num(one), torch.nan_to_num(other))
