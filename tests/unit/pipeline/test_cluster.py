"""Asking for number formats where processes fail; tests/fleet has the same on Ray."""

import pytest
from ray.exceptions import NodeDiedError, RayError, WorkerCrashedError

from reranker_core.pipeline.cluster import first_answer, untold_formats


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_gpu_that_fails_is_not_the_only_one_that_is_asked(failures):
    left = [WorkerCrashedError()] * failures

    def ask():
        if left:
            raise left.pop()
        return {"bfloat16": "fast"}

    assert first_answer(ask) == {"bfloat16": "fast"}


def test_after_three_tries_the_last_error_is_raised():
    left: list[RayError] = [NodeDiedError("gone"), WorkerCrashedError(), WorkerCrashedError()]

    def ask():
        raise left.pop()

    with pytest.raises(NodeDiedError):
        first_answer(ask)


def test_if_no_gpu_answers_formats_that_old_gpus_emulate_are_left_out():
    assert list(untold_formats([])) == ["bfloat16", "float16", "float32"]
    assert list(untold_formats(["H100"])) == ["bfloat16", "float16", "float32"]
    assert list(untold_formats(["H100", "T4"])) == ["float16", "float32"]
