"""Which number formats are tried, in which order, and why."""

import pytest

from reranker_core import device
from reranker_core.errors import ConfigError


@pytest.mark.parametrize(
    ("gain", "formats"), [(2.4, ["bfloat16", "float32"]), (1.2, ["float32"]), (0.4, ["float32"])]
)
def test_on_a_cpu_auto_begins_with_bfloat16_if_it_is_much_faster(gain, formats, monkeypatch):
    monkeypatch.setattr(device, "_gain_of_bfloat16", lambda: gain)
    found = device.number_formats("auto", "cpu")
    assert list(found) == formats
    assert f"{gain} times as fast" in found[formats[0]]


def test_a_format_that_is_configured_is_not_measured(monkeypatch):
    monkeypatch.setattr(device, "_gain_of_bfloat16", lambda: pytest.fail("was measured"))
    assert device.number_formats("bfloat16", "cpu") == {"bfloat16": "as configured"}


@pytest.mark.parametrize(
    ("cuda", "advice"),
    [("13.0", r"CUDA 13\.0.* driver is missing, too old .*nvidia-smi"), (None, "CUDA build")],
)
def test_where_no_gpu_is_found_the_remedy_suits_the_build_of_torch(cuda, advice, monkeypatch):
    monkeypatch.setattr(device.torch.version, "cuda", cuda)
    monkeypatch.setattr(device.torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=advice):
        device.resolve_device("cuda")
    assert device.resolve_device("auto") == "cpu"


def test_this_cpu_is_measured():
    assert 0 < device._gain_of_bfloat16() < 100
