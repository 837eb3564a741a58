"""A GPU's arithmetic during a measurement: full float32, so that its numbers are those of a CPU but for rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def full_precision() -> Iterator[None]:
    """Let CUDA's convolutions and matrix products keep their inputs' 24 bits; afterwards all is as it was.

    By default torch lets a GPU round the inputs of convolutions to 11 bits (TensorFloat-32). A class score hardly
    notices, but pixels next to a ReLU's kink or to a seeds' quantile change sides, and boxes with them.

    The switches belong to the process: other threads have full precision for as long. On a CPU they mean nothing.
    """
    switches = (_of_convolutions(), _of_products())
    usual = [getattr(place, name) for place, name, _ in switches]
    try:
        for place, name, full in switches:
            setattr(place, name, full)
        yield
    finally:
        for (place, name, _), value in zip(switches, usual, strict=True):
            setattr(place, name, value)


def _of_convolutions() -> tuple[Any, str, object]:
    cudnn = torch.backends.cudnn
    try:
        _ = cudnn.allow_tf32
    except RuntimeError:  # torch raises this, from 2.9 on, if the newer name has been used
        return cudnn.conv, "fp32_precision", "ieee"  # type: ignore[attr-defined]  # torch's stubs lack it
    return cudnn, "allow_tf32", False


def _of_products() -> tuple[Any, str, object]:
    matmul = torch.backends.cuda.matmul
    return (matmul, "fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else (matmul, "allow_tf32", False)
