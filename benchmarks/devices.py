"""Does the device, the batch or the precision change a result? The shipped photos are localised in several ways.

If there is a GPU, it is compared, and so are its convolutions in TF32, which is torch's default. Without a GPU, float64
on the CPU stands for another processor, because it rounds differently, and TF32 is imitated.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import deepinside_edu as di
from deepinside_edu.boxes import Box
from deepinside_edu.classifier import Prediction
from deepinside_edu.evaluation.localisation_error import OVERLAP
from deepinside_edu.evaluation.precision import full_precision
from deepinside_edu.localise import segment
from deepinside_edu.saliency import saliency_maps_of_batch

from .cases import classifier
from .table import show

CONVOLUTIONS = ("convolution", "convolution_backward")


class TensorFloat32(TorchDispatchMode):
    """Compute convolutions as a GPU's tensor cores do: inputs have 10 bits after the point, and sums have 23."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in CONVOLUTIONS:
            args = [_ten_bits(each) if isinstance(each, Tensor) and each.ndim == 4 else each for each in args]
        return func(*args, **(kwargs or {}))


def _ten_bits(x: Tensor) -> Tensor:
    bits = x.contiguous().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)


@dataclass(frozen=True)
class Found:
    """What one way of computing finds in all photos.

    Attributes:
        scores: `(photos, classes)`.
        classes: the first five classes of each photo.
        maps: the map of each photo and class, divided by its largest value.
        boxes: the box of each photo and class; None if there is no object.
    """

    scores: np.ndarray
    classes: list[list[int]]
    maps: list[np.ndarray]
    boxes: list[list[Box | None]]


def find(network: di.Classifier, classes: list[list[int]] | None = None, at_once: int = 1) -> Found:
    """Find scores, maps and boxes. Given classes replace the first five, so that results can be compared."""
    photos = di.photos()
    x = torch.cat([network.prepare(photo) for photo in photos])
    with torch.no_grad():
        scores = torch.cat([network.scores(some) for some in x.split(at_once)]).double().cpu()
    firsts = scores.topk(5).indices.tolist()
    wanted = classes or firsts
    maps: list[np.ndarray] = []
    for start in range(0, len(photos), at_once):
        part = slice(start, start + at_once)
        maps += [np.stack(each) for each in saliency_maps_of_batch(network, x[part], wanted[part], crops=10)]
    boxes = [
        [box_of(photo.image, network, c, m) for c, m in zip(row, each, strict=True)]
        for photo, row, each in zip(photos, wanted, maps, strict=True)
    ]
    return Found(scores.numpy(), firsts, [m / m.max((1, 2), keepdims=True) for m in maps], boxes)


def box_of(photo: Any, network: di.Classifier, c: int, saliency: np.ndarray) -> Box | None:
    try:
        return segment(photo, Prediction(c, network.labels[c], 0.0, 0.0), saliency.astype(np.float32)).box
    except ValueError:  # there is no object, which is an answer too
        return None


def compare(name: str, found: Found, usual: Found) -> list[str]:
    photos = di.photos()
    deviations = np.concatenate([np.abs(a - b).ravel() for a, b in zip(found.maps, usual.maps, strict=True)])
    pairs = [pair for rows in zip(found.boxes, usual.boxes, strict=True) for pair in zip(*rows, strict=True)]
    same = sum(one == other for one, other in pairs)
    near = sum(one == other or bool(one and other and di.box_iou(one, other) >= 0.9) for one, other in pairs)

    def hits(of: Found) -> list[bool]:
        """Whether the box of each photo and class fits one of the photo's own boxes, whatever the class."""
        return [
            box is not None and max(di.box_iou(box, true) for true in photo.boxes) >= OVERLAP
            for photo, row in zip(photos, of.boxes, strict=True)
            for box in row
        ]

    changed = sum(a != b for a, b in zip(hits(found), hits(usual), strict=True))
    tops = sum(a == b for a, b in zip(found.classes, usual.classes, strict=True))
    score = np.abs(found.scores - usual.scores).max()
    return [
        name, f"{score:.0e}", f"{tops} of {len(photos)}",
        *(f"{np.quantile(deviations, q):.0e}" for q in (0.5, 0.999, 1)),
        f"{same} of {len(pairs)}", str(near), str(changed),
    ]  # fmt: skip


def main() -> None:
    usual = find(classifier())
    classes = usual.classes
    exact = replace(classifier(), network=copy.deepcopy(classifier().network).double())
    ways: dict[str, Callable[[], Found]] = {
        "the CPU again": lambda: find(classifier(), classes),
        "four photos at once": lambda: find(classifier(), classes, 4),
        "float64": lambda: find(exact, classes),
        "TF32, imitated": lambda: find(classifier(), classes),
    }
    around = {"TF32, imitated": TensorFloat32}
    if torch.cuda.is_available():
        gpu = di.load_classifier(device="cuda")
        ways |= {
            "CUDA": lambda: find(gpu, classes, 8),
            "CUDA, as torch has it (TF32)": lambda: find(gpu, classes, 8),
        }
        around["CUDA"] = full_precision
    rows = []
    for name, way in ways.items():
        with around.get(name, nullcontext)():
            rows.append(compare(name, way(), usual))
    show(
        "Beside the CPU with one photo at a time in float32: the shipped photos, five classes each, ten crops; "
        "maps as shares of their largest value",
        ["", "scores", "same top-5", "map: half ≤", "99.9 % ≤", "all ≤", "same box", "IoU ≥ 0.9", "other verdict"],
        rows,
    )
    if not torch.cuda.is_available():
        print("No CUDA here: a GPU could not be compared.")


if __name__ == "__main__":
    main()
