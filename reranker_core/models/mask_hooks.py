"""Attention masks of a checkpoint's own code that transformers no longer asks for.

Classes of transformers 4 called methods such as `_update_causal_mask` for their attention mask. Own
code overrode them, for example to attend in both directions. Later versions call functions
instead (`masking_utils.create_causal_mask`). The override then has no effect, and raises no error.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from types import CodeType
from typing import Any

import torch
import transformers

from reranker_core.checks import Check, refusal
from reranker_core.device import may_pass
from reranker_core.models.own_code import is_from_checkpoint

# Methods of transformers 4 for the mask of a decoder, and for other masks.
_CAUSAL = re.compile(
    r"_update_(causal|full|sliding|linear_attn|mamba)_mask|_(prepare|build)_\w*causal\w*_mask\w*|"
    r"_prepare_decoder_attention_mask|_make_causal_mask|create_extended_attention_mask_for_decoder"
)
_OTHER = re.compile(
    r"(get|create)_extended_attention_mask|invert_attention_mask|_expand_mask|"
    r"_update_(attention|cross_attn)_mask|_prepare_(4d_)?(attention|attn)_mask"
)
_REMEDY = (
    "The code was written for an earlier version of transformers. Without this mask, the scores "
    "would be wrong. Use a revision of the model whose code is for this version (model.revision), "
    "or another reranker (docs/families.md)."
)
_OWN_MASK = ("super", "forward")  # a forward with neither name runs no code of transformers


def refuse_unused_masks(model: torch.nn.Module) -> None:
    """Check that the methods for attention masks in a checkpoint's code are called.

    A method for a decoder's mask may be unused if the model attends in both directions anyway.

    Args:
        model: a model of the checkpoint's code, with its weights, on the CPU.

    Raises:
        PreflightRefused: a method is not called.

    """
    for body in model.modules():
        for owner, name in _unused(type(body)):
            causal = _CAUSAL.fullmatch(name) is not None
            if causal and _attends_both_ways(model, body):
                continue
            raise refusal(
                Check(
                    "architecture",
                    "own_code_runs",
                    False,
                    f"{_file(owner)}: {owner.__name__} has its own attention mask ({name}), which "
                    f"transformers {transformers.__version__} does not call"
                    + ("; so each token attends to earlier tokens only" if causal else ""),
                    "code whose attention mask is used",
                    _REMEDY,
                )
            )


def _unused(kind: type) -> Iterator[tuple[type, str]]:
    """The methods of a checkpoint's code for masks, with their class, that nothing calls."""
    if not any(is_from_checkpoint(part) for part in kind.__mro__):
        return
    forward = getattr(kind, "forward", None)
    if is_from_checkpoint(forward) and not _names(forward).intersection(_OWN_MASK):
        return
    for owner in kind.__mro__:
        for name, method in vars(owner).items():
            is_hook = _CAUSAL.fullmatch(name) or _OTHER.fullmatch(name)
            if is_hook and is_from_checkpoint(_function(method)) and not _is_called(kind, name):
                yield owner, name


def _is_called(kind: type, method: str) -> bool:
    """Whether other code of a class, or of the checkpoint, has the name of a method.

    transformers' code for generating text is not looked at: it does not run here.
    """
    modules = [inspect.getmodule(part) for part in kind.__mro__ if is_from_checkpoint(part)]
    own = [found for m in modules for found in vars(m).values() if is_from_checkpoint(found)]
    for part in {*kind.__mro__, *(found for found in own if isinstance(found, type))}:
        if part.__module__.startswith(("transformers.generation.", "torch.", "builtins")):
            continue
        for name, found in vars(part).items():
            if name != method and method in _names(found):
                return True
    return any(method in _names(found) for found in own if not isinstance(found, type))


def _function(found: Any) -> Any:
    """The function behind a static method, a class method, a property or a decorator."""
    found = getattr(found, "__func__", getattr(found, "fget", found))
    return inspect.unwrap(found) if callable(found) else found


def _names(found: Any) -> set[str]:
    """All names and texts in the code of a function."""
    code = getattr(_function(found), "__code__", None)
    return set(_in_code(code)) if code is not None else set()


def _in_code(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _in_code(constant)
        elif isinstance(constant, str):
            yield constant


def _attends_both_ways(model: torch.nn.Module, body: torch.nn.Module) -> bool:
    """Whether the last token changes what a body computes of the first one. Beside the pair is a
    shorter one: without padding, transformers leaves out the mask.
    """
    states: list[torch.Tensor] = []

    def keep(_: torch.nn.Module, __: Any, output: Any) -> None:
        states.append((output if isinstance(output, torch.Tensor) else output[0])[0, 0])

    handle = body.register_forward_hook(keep)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    try:
        with torch.inference_mode():
            for last in (2, 3):
                model(input_ids=torch.tensor([[0, 1, last], [0, 1, 0]]), attention_mask=mask)
    except Exception as error:
        if may_pass(error):
            raise
        return False
    finally:
        handle.remove()
    return len(states) == 2 and not torch.equal(*states)


def _file(owner: type) -> str:
    return f"{owner.__module__.rpartition('.')[2]}.py"
