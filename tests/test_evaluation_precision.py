"""Measurements keep float32's 24 bits on a GPU, and leave its switches as they were."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

import deepinside_edu as di
from deepinside_edu.evaluation import precision
from deepinside_edu.evaluation.precision import full_precision

CONV, PRODUCTS = torch.backends.cudnn.conv, torch.backends.cuda.matmul
FAST, FULL = ["tf32", "tf32"], ["none", "ieee"]  # "none" is as good as "ieee": nothing allows TF32


def switches() -> list[str]:
    return [CONV.fp32_precision, PRODUCTS.fp32_precision]


@pytest.fixture
def fast() -> Iterator[None]:
    """Set the switches as for speed."""
    usual = PRODUCTS.fp32_precision
    torch.set_float32_matmul_precision("high")
    try:
        assert switches() == FAST
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        PRODUCTS.fp32_precision = usual


@pytest.mark.usefixtures("fast")
def test_within_all_is_full_and_after_it_as_before() -> None:
    with full_precision():
        assert switches() == FULL
        with full_precision():
            assert switches() == FULL
        assert switches() == FULL, "one within another ends nothing"
        assert not torch.backends.cudnn.allow_tf32
    assert switches() == FAST
    assert torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "high"
    with pytest.raises(ZeroDivisionError), full_precision():
        _ = 1 / 0
    assert switches() == FAST


def test_those_who_use_the_newer_name_are_served_too() -> None:
    """Torch refuses to read `cudnn.allow_tf32` then."""
    usual = torch.backends.cudnn.rnn.fp32_precision
    torch.backends.cudnn.rnn.fp32_precision = "ieee"
    try:
        with pytest.raises(RuntimeError, match="mix of the legacy and new APIs"):
            _ = torch.backends.cudnn.allow_tf32
        with full_precision():
            assert CONV.fp32_precision == "ieee"
        assert (CONV.fp32_precision, torch.backends.cudnn.rnn.fp32_precision) == ("tf32", "ieee")
    finally:
        torch.backends.cudnn.rnn.fp32_precision = usual


def test_torch_before_2_9_has_another_name_for_products(monkeypatch: pytest.MonkeyPatch) -> None:
    cudnn, matmul = SimpleNamespace(allow_tf32=True), SimpleNamespace(allow_tf32=True)
    old = SimpleNamespace(backends=SimpleNamespace(cudnn=cudnn, cuda=SimpleNamespace(matmul=matmul)))
    monkeypatch.setattr(precision, "torch", old)
    with full_precision():
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
    assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)


class Listens(nn.Module):
    """Notes the switches whenever it, or a copy of it, runs forwards and backwards."""

    heard: ClassVar[list[list[str]]] = []

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        self.heard.append(switches())
        y = self.network(x)
        if y.requires_grad:
            y.register_hook(lambda _: self.heard.append(switches()))
        return y


MEASUREMENTS: dict[str, Callable[[di.Classifier], object]] = {
    "localisation_error": lambda c: di.evaluation.localisation_error(
        c, dataclasses.replace(data := di.evaluation.shipped_photos(), examples=data.examples[:1]),
        crops=1, progress=False,
    ),
    "ablate": lambda c: di.evaluation.ablate(c, di.photos()[:2], {}, crops=1, progress=False),
    "measure": lambda c: di.evaluation.measure_maps(
        c, dataclasses.replace(data := di.evaluation.shipped_photos(), examples=data.examples[:2]),
        ("gradient",), ("pointing",), progress=False,
    ),
    "sanity_check": lambda c: di.evaluation.sanity_check(c, di.photo("macaw"), methods=("gradient",)),
    "sanity_table": lambda c: di.evaluation.sanity_table(c, [di.photo("macaw")], ("gradient",)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize("name", MEASUREMENTS)
def test_measurements_are_made_with_it(classifier: di.Classifier, name: str) -> None:
    ours = dataclasses.replace(classifier, network=Listens(classifier.network).eval())
    Listens.heard.clear()  # the trial that a Classifier runs on its network when it is made
    MEASUREMENTS[name](ours)
    assert switches() == FAST
    assert len(Listens.heard) >= 2
    assert Listens.heard == [FULL] * len(Listens.heard)
