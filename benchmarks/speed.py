"""Speed as ratios: maps and the steps of a class model beside the floor; seeds to mask beside grabCut.

The floor of a map is what no method can do without: one plain forward pass and one backward pass to the input, with
frozen weights, in PyTorch's ordinary memory layout.
"""

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import cycle
from typing import Any

import numpy as np
import torch
from PIL import Image

import deepinside_edu as di
from deepinside_edu.graph_cut import RepeatedCut
from deepinside_edu.localise import BLUR
from deepinside_edu.seeds import Seeds
from deepinside_edu.squeezenet import SqueezeNet

from .cases import Case, classifier, saliency, shipped
from .table import show, verdict
from .timing import Paired, alone, in_turn

PHOTO = "panda"
PAIRS = 40


def ratio_row(name: str, beside: str, timed: Paired, target: float | None) -> list[str]:
    return [
        name, beside, f"{timed.ours:.1f}", f"{timed.theirs:.1f}", f"{timed.ratio:.2f}",
        f"{timed.lower:.2f} to {timed.upper:.2f}",
        f"≤ {target:.2f}" if target else "", verdict(timed.ratio, target) if target else "",
    ]  # fmt: skip


def plain_network() -> SqueezeNet:
    plain = SqueezeNet().eval().requires_grad_(False)
    plain.load_state_dict({name: weights.contiguous() for name, weights in classifier().network.state_dict().items()})
    return plain


def maps() -> list[list[str]]:
    ours, plain = classifier(), plain_network()
    photo = di.photo(PHOTO)
    c = ours.find(photo.wordnet_id)
    x = ours.prepare(photo)
    x_plain = x.contiguous()
    five = [p.class_index for p in ours.top(x)]

    def floor() -> torch.Tensor:
        leaf = x_plain.clone().requires_grad_()
        return torch.autograd.grad(plain(leaf)[0, c], leaf)[0]

    def floors(times: int) -> Callable[[], object]:
        return lambda: [floor() for _ in range(times)]

    picture = photo.image
    rows = [
        ratio_row("one map", "floor", in_turn(lambda: di.saliency_map(ours, x, c), floor, PAIRS), 0.85),
        ratio_row("linearise: w, b, score", "floor", in_turn(lambda: di.linearise(ours, x, c), floor, PAIRS), None),
        ratio_row(
            "ten crops, from the photo", "ten floors",
            in_turn(lambda: di.saliency_map(ours, picture, c, crops=10), floors(10), 30), None,
        ),
        ratio_row(
            "maps of five classes", "five floors", in_turn(lambda: di.saliency_maps(ours, x, five), floors(5), 30), None
        ),
    ]  # fmt: skip
    if find_spec("captum"):
        from captum.attr import Saliency

        peer = Saliency(plain)
        captum = in_turn(lambda: peer.attribute(x_plain.clone().requires_grad_(), target=c), floor, PAIRS)
        rows.append(ratio_row("(captum's Saliency)", "floor", captum, None))
    if find_spec("sklearn"):
        rows.append(ratio_row("two mixtures", "scikit-learn", mixtures(), None))
    return rows


def ascents() -> list[list[str]]:
    """Steps of a class model beside the bare loop: forward, backward to the input, update, in the ordinary layout."""
    ours, plain = classifier(), plain_network()
    c = ours.find(di.photo(PHOTO).wordnet_id)
    eight = [c, 277, 1, 404, 604, 950, 207, 145]

    def bare(steps: int) -> Callable[[], object]:
        def run() -> None:
            x = torch.zeros(1, 3, *ours.size)
            for _ in range(steps):
                leaf = x.requires_grad_()
                (w,) = torch.autograd.grad(plain(leaf)[0, c], leaf)
                x = leaf.detach() + 0.1 * (w - 2 * 0.03 * leaf.detach())

        return run

    def climb(classes: Any, steps: int, preset: str = "paper", **options: Any) -> Callable[[], object]:
        def run() -> None:
            for _ in di.class_model(ours, classes, preset, steps=steps, **options):
                pass

        return run

    def row(name: str, work: Callable[[], object], steps: int, pairs: int, target: float | None = None) -> list[str]:
        timed = in_turn(work, bare(steps), pairs)
        each = timed._replace(ours=timed.ours / steps, theirs=timed.theirs / steps)
        return ratio_row(name, "bare step", each, target)

    whole = [in_turn(climb(each, 150), bare(150), 2) for each in eight]
    lower, middle, upper = statistics.quantiles([timed.ratio for timed in whole], n=4, method="inclusive")
    means = [statistics.mean(getattr(timed, side) for timed in whole) / 150 for side in ("ours", "theirs")]
    paper = Paired(means[0], means[1], middle, lower, upper)
    fixed = {"step_rule": "fixed", "momentum": 0, "step_size": 0.1}
    gains = side_by_side(climb(eight, 10, **fixed), [climb(each, 10, **fixed) for each in eight])
    return [
        ratio_row("step of `paper`, all 150 and their trials, eight classes", "bare step", paper, 0.85),
        row("step of fixed length, no momentum", climb(c, 20, **fixed), 20, 15),
        row("step of `readable`, two samples each", climb(c, 20, "readable"), 20, 9),
        [f"class-steps per second, eight at once to one; {os.cpu_count()} threads, wall time", "", "", "",
         f"{statistics.median(gains):.2f}", f"{min(gains):.2f} to {max(gains):.2f}", "≥ 1.20",
         verdict(statistics.median(gains), 1.2, True)],
    ]  # fmt: skip


def side_by_side(together: Callable[[], object], one_by_one: list[Callable[[], object]]) -> list[float]:
    """How much faster a batch is in wall time on all cores, as a learner has it."""

    def seconds(works: list[Callable[[], object]]) -> float:
        begin = time.perf_counter()
        for work in works:
            work()
        return time.perf_counter() - begin

    torch.set_num_threads(os.cpu_count() or 1)
    try:
        together()
        return [seconds(one_by_one) / seconds([together]) for _ in range(4)]
    finally:
        torch.set_num_threads(1)


def mixtures() -> Paired:
    from sklearn.mixture import GaussianMixture

    case = next(case for case in shipped() if case.name == PHOTO)
    levels, chosen = np.asarray(case.picture), di.seeds(saliency(case, 10), blur=BLUR)
    rng = np.random.default_rng(0)
    samples = [rng.permutation(levels[mask])[:2500].astype(np.float64) for mask in chosen]

    def peer() -> object:
        return [GaussianMixture(5, reg_covar=1.0, random_state=0).fit(sample) for sample in samples]

    return in_turn(lambda: di.colour_models(levels, chosen), peer, 30)


def grab_cut(case: Case) -> Callable[[], object]:
    """One iteration of OpenCV's grabCut from the same seeds, which are sure; the rest is probably background."""
    import cv2

    cv2.setNumThreads(1)
    chosen = di.seeds(saliency(case, 10), blur=BLUR)
    levels = np.ascontiguousarray(np.asarray(case.picture)[:, :, ::-1])
    start = np.full(levels.shape[:2], cv2.GC_PR_BGD, np.uint8)
    start[chosen.foreground], start[chosen.background] = cv2.GC_FGD, cv2.GC_BGD

    def run() -> Any:
        return cv2.grabCut(levels, start.copy(), None, np.zeros((1, 65)), np.zeros((1, 65)), 1, cv2.GC_INIT_WITH_MASK)

    return run


def seeds_to_mask(picture: Image.Image, chosen: Seeds, hard: bool = False) -> object:
    costs = di.colour_models(picture, chosen).costs(picture)
    return di.graph_cut(picture, costs, seeds=chosen if hard else None).mask


def summary(name: str, timed: dict[str, Paired]) -> list[list[str]]:
    ratios = [each.ratio for each in timed.values()]
    middle, most = statistics.median(ratios), max(ratios)
    fine = f"{sum(ratio <= 1 for ratio in ratios)} of {len(ratios)} in it"
    return [
        [f"{name}: median photo", "grabCut", "", "", f"{middle:.2f}", fine, "≤ 1.00", verdict(middle, 1)],
        [f"{name}: slowest photo", "grabCut", "", "", f"{most:.2f}", "", "≤ 1.00", verdict(most, 1)],
    ]


def cuts_again() -> list[list[str]]:
    """Time two states in turn: hard seeds with and without a stroke of the brush, and the mixtures of two quantiles."""
    case = next(case for case in shipped() if case.name == PHOTO)
    levels, saliency_of = np.asarray(case.picture), saliency(case, 10)
    chosen, lower = (di.seeds(saliency_of, foreground=quantile, blur=BLUR) for quantile in (0.95, 0.94))
    costs, other_costs = (di.colour_models(levels, each).costs(levels) for each in (chosen, lower))
    y, x = np.ogrid[: levels.shape[0], : levels.shape[1]]
    disc = np.hypot(y - levels.shape[0] // 2, x - levels.shape[1] // 2) <= 5
    stroked = Seeds(chosen.foreground & ~disc, chosen.background | disc)

    brushed, moved = RepeatedCut(levels, costs, seeds=chosen), RepeatedCut(levels, costs)
    strokes, steps = cycle((stroked, chosen)), cycle((other_costs, costs))
    stroke = in_turn(
        lambda: brushed.again(seeds=next(strokes)), lambda: di.graph_cut(levels, costs, seeds=stroked), PAIRS
    )
    step = in_turn(lambda: moved.again(next(steps), seeds=None), lambda: di.graph_cut(levels, other_costs), PAIRS)
    return [
        ratio_row("a stroke, radius 5, added or undone", "cold cut", stroke, None),
        ratio_row("foreground quantile 0.95 to 0.94 or back", "cold cut", step, None),
    ]


def masks() -> None:
    steps: dict[str, list[float]] = {"fit two mixtures": [], "costs of every pixel": [], "cut": []}
    soft: dict[str, Paired] = {}
    hard: dict[str, Paired] = {}
    for case in shipped():
        picture, chosen = case.picture, di.seeds(saliency(case, 10), blur=BLUR)
        models = di.colour_models(picture, chosen)
        costs = models.costs(picture)
        works = (
            partial(di.colour_models, picture, chosen),
            partial(models.costs, picture),
            partial(di.graph_cut, picture, costs),
        )
        for step, work in zip(steps, works, strict=True):
            steps[step].append(alone(work, 7))
        if find_spec("cv2"):
            peer = grab_cut(case)
            soft[case.name] = in_turn(partial(seeds_to_mask, picture, chosen), peer, 15)
            hard[case.name] = in_turn(partial(seeds_to_mask, picture, chosen, hard=True), peer, 9)
    if soft:
        rows = [ratio_row(name, "grabCut", timed, None) for name, timed in soft.items()]
        rows += summary("default", soft) + summary("with hard seeds, as grabCut's are", hard)
        show("Seeds to mask at 224×224 beside one iteration of grabCut from the same seeds", RATIO_HEADER, rows)
    else:
        print("\nNo comparison with grabCut: pip install opencv-python-headless")
    panda = di.photo(PHOTO).image
    rest = {
        "localise, ten crops": alone(lambda: di.localise(classifier(), panda), 7),
        "localise, one map": alone(lambda: di.localise(classifier(), panda, crops=1), 7),
        "localise five classes": alone(lambda: di.localise_classes(classifier(), panda), 5),
        "load the network": alone(di.load_classifier, 15),
    }
    show(
        "CPU milliseconds, one thread (steps: median and slowest of the photos)",
        ["", "median", "slowest"],
        [[name, f"{statistics.median(v):.1f}", f"{max(v):.1f}"] for name, v in steps.items()]
        + [[name, f"{v:.1f}", ""] for name, v in rest.items()],
    )


RATIO_HEADER = ["", "beside", "ms", "ms beside", "ratio", "quartiles", "target", ""]


def main() -> None:
    torch.set_num_threads(1)
    show("Maps: CPU time in one thread, pairs in turn", RATIO_HEADER, maps())
    show("Class models: CPU time in one thread, pairs in turn", RATIO_HEADER, ascents())
    masks()
    show(f"Cut again after a change, {PHOTO} at 224×224", RATIO_HEADER, cuts_again())


if __name__ == "__main__":
    main()
