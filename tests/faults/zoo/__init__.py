"""A zoo of broken checkpoints, and of good but unusual ones, each made from a good one."""

from tests.faults.zoo import architectures, files, tokenizers, weights
from tests.faults.zoo.good import GOOD
from tests.faults.zoo.kind import Kind, bases, load

BROKEN: dict[str, Kind] = {
    **architectures.KINDS,
    **weights.KINDS,
    **files.KINDS,
    **tokenizers.KINDS,
}

__all__ = ["BROKEN", "GOOD", "Kind", "bases", "load"]
