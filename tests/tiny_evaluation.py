"""A small network that names colours, pictures with coloured rectangles, and a program that torchrun can start."""

import dataclasses
import json
import os
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from deepinside_edu import Classifier

run = import_module("deepinside_edu.evaluation.run")

COLOURS = {"red": (235, 20, 25), "green": (20, 230, 25), "blue": (15, 25, 240)}
IDS = {"red": "n00000001", "green": "n00000002", "blue": "n00000003"}


class NamesColours(nn.Module):
    """One score per colour, which grows with its area; faint weights tell all pixels apart."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.colours = nn.Parameter((2.0 * torch.eye(3) - 1)[:, :, None, None])
        self.pixels = nn.Parameter(torch.from_numpy(rng.uniform(1, 1.2, (3, 42, 56)).astype(np.float32)))
        self.faint = nn.Parameter(torch.from_numpy(rng.uniform(0, 0.1, (3, 3, 42, 56)).astype(np.float32)))

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(float(os.environ.get("SLOW", "0")))
        spots = torch.relu(torch.nn.functional.conv2d(x, self.colours, torch.full((3,), -0.5)))
        return (spots * self.pixels).sum((2, 3)) + torch.einsum("nchw,kchw->nk", x, self.faint)


def tiny_classifier() -> Classifier:
    return Classifier(NamesColours().eval(), tuple(COLOURS), tuple(IDS.values()), (42, 56), (0.0,) * 3, (1.0,) * 3)


def picture(
    seed: int, size: tuple[int, int] = (112, 84)
) -> tuple[Image.Image, tuple[str, str], tuple[tuple[int, int, int, int], tuple[int, int, int, int]]]:
    """A rectangle of one colour on grey noise and a smaller one of another; their colours and their boxes."""
    rng = np.random.default_rng(seed)
    width, height = size
    levels = rng.integers(90, 130, (height, width, 3), dtype=np.uint8)
    first, second = rng.permutation(list(COLOURS))[:2]
    left, top = int(rng.integers(0, width // 3)), int(rng.integers(0, height // 3))
    box = (left, top, left + width // 3, top + height // 3)
    levels[top : box[3], left : box[2]] = COLOURS[first]
    corner = (width - width // 5, height - height // 5, width, height)
    levels[corner[1] :, corner[0] :] = COLOURS[second]
    return Image.fromarray(levels), (str(first), str(second)), (box, corner)


def annotation(objects: list[tuple[str, tuple[int, int, int, int]]], size: tuple[int, int] | None = None) -> str:
    """ILSVRC's XML of boxes with exclusive right and bottom."""
    sides = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    entries = [
        f"<object><name>{name}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right - 1}</xmax>"
        f"<ymax>{bottom - 1}</ymax></bndbox></object>"
        for name, (left, top, right, bottom) in objects
    ]
    return f"<annotation>{sides}{''.join(entries)}</annotation>"


def write_ilsvrc(folder: Path, count: int) -> tuple[Path, Path]:
    """Folders `images` and `boxes`: in every fourth image the smaller rectangle is true; every third box is wrong."""
    images, boxes = folder / "images", folder / "boxes"
    images.mkdir()
    boxes.mkdir()
    for n in range(count):
        image, colours, places = picture(n)
        image.save(images / f"val_{n:04}.png")
        true = int(n % 4 == 3)
        box = (60, 50, 70, 60) if n % 3 == 2 else places[true]
        (boxes / f"val_{n:04}.xml").write_text(annotation([(IDS[colours[true]], box)], image.size))
    return images, boxes


def die(task: object, options: object) -> None:
    """Takes the place of a cut."""
    os._exit(1)


def wait_for_the_others(task: run.Task, options: dict) -> run.Outcome:
    """Takes the place of a cut: the first image's waits until the network has begun the third and another cut began."""
    marks = Path(os.environ["MARKS"])
    (marks / f"cut {task.name}").touch()
    end = time.monotonic() + 60
    while task.name == "val_0000" and not all((marks / each).exists() for each in ("network 3", "cut val_0001")):
        if time.monotonic() > end:
            raise TimeoutError("one waits for the other")
        time.sleep(0.01)
    return run.cut(task, options)


if __name__ == "__main__":
    from deepinside_edu import evaluation

    root = Path(sys.argv[1])
    data = evaluation.read_ilsvrc(root / "images", root / "boxes")
    result = evaluation.localisation_error(
        tiny_classifier(), data, crops=1, out=root / sys.argv[2], workers=int(sys.argv[3]), chunk=2, progress=False
    )
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(dataclasses.asdict(result)))
