import pytest
import torch

from cogrpo import device


@pytest.fixture(autouse=True)
def fresh():
    device.probe.cache_clear()
    yield
    device.probe.cache_clear()


@pytest.mark.parametrize("native, name", [(True, "bfloat16"), (False, "float32")])
def test_the_hardware_decides(monkeypatch, native, name):
    monkeypatch.delenv(device.SETTING, raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": native})
    assert device.probe().name == name


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_the_setting_overrides_the_hardware(monkeypatch, name):
    monkeypatch.setenv(device.SETTING, name)
    told = device.probe()
    assert (told.name, told.threads) == (name, torch.get_num_threads())
    assert device.SETTING in told.reason
    assert set(told.gflops) == {"float32", "bfloat16"} and min(told.gflops.values()) > 0


def test_a_precision_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv(device.SETTING, "float8")
    with pytest.raises(device.PrecisionError, match="allowed are float32 and bfloat16"):
        device.probe()


def test_the_probe_runs_once():
    assert device.probe() is device.probe()
