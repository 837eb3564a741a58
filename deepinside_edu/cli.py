"""The command line: `deepinside photo.jpg` localises a photo, `deepinside lab` opens the lessons."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__

if TYPE_CHECKING:
    from .localise import Localisation

COMMANDS = """\
  deepinside PHOTO           top-5 classes and boxes; writes a picture of every stage
  deepinside lab [FOLDER]    copies the lessons to FOLDER and opens them in JupyterLab;
                             what follows FOLDER goes to JupyterLab, such as --no-browser
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; by default those it was started with.

    Returns:
        0 if all went well; 2 after a one-line message on what went wrong.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: threads that wait sleep instead of spinning
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["lab"]:
        from .lab import open_lab

        folder = given[1] if len(given) > 1 and not given[1].startswith("-") else None
        rest = given[2:] if folder else given[1:]
        if {"-h", "--help"} & set(rest):
            print(COMMANDS, end="")
            return 0
        return open_lab(Path(folder) if folder else None, rest)
    try:
        return _localise(_parser().parse_args(given))
    except (ValueError, TypeError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            print(f"deepinside: there is no {error.filename}; `deepinside lab` opens the lessons", file=sys.stderr)
        else:
            print(f"deepinside: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("deepinside: stopped; the pictures written so far stay.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepinside",
        description="See what a convolutional network sees (Simonyan, Vedaldi & Zisserman 2013).",
        usage="deepinside PHOTO [options]\n       deepinside lab [FOLDER] [JupyterLab's options]",
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="a JPEG, PNG, WebP, GIF, BMP or TIFF file")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="localise this class and not the top five")
    parser.add_argument("--network", default="squeezenet1_1", help="a classifier of torchvision (default: %(default)s)")
    parser.add_argument("--crops", type=int, choices=(1, 10), default=10, help="maps to average (default: %(default)s)")
    parser.add_argument("--hard-seeds", action="store_true", help="let the seeds bind the cut")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the pictures (default: localised/PHOTO's name)")
    parser.add_argument("--version", action="version", version=f"deepinside_edu {__version__}")
    return parser


def _localise(options: argparse.Namespace) -> int:
    from .images import open_image

    clock = _Clock()
    photo = open_image(options.photo)  # before torch is imported: a wrong path is told at once
    from .classifier import load_classifier
    from .localise import segment
    from .saliency import saliency_maps

    classifier = load_classifier(options.network)
    print(f"{options.photo}: {photo.width}×{photo.height} pixels; {classifier}")
    clock.lap("read photo, load network")
    ranking = classifier.top(photo, len(classifier.labels))
    clock.lap("scores")
    top = ranking[:5]
    if options.class_name:
        index = classifier.find(options.class_name)
        chosen = [each for each in ranking if each.class_index == index]
    else:
        chosen = list(top)

    maps = saliency_maps(classifier, photo, [each.class_index for each in chosen], options.crops)
    results, outcomes = [], {}
    for prediction, saliency in zip(chosen, maps, strict=True):
        try:
            results.append(segment(photo, prediction, saliency, hard_seeds=options.hard_seeds))
            outcomes[prediction] = str(results[-1].box)
        except ValueError as error:  # of one class: the others still have their boxes
            outcomes[prediction] = f"none: {error}"
    clock.lap(f"map, seeds, colours, cut, box of {len(chosen)}")

    print(f"\n  {'class':<28} {'score':>7} {'probability':>12}   box (left, top, right, bottom)")
    for each in dict.fromkeys([*top, *chosen]):
        print(f"  {each.label:<28} {each.score:7.2f} {each.probability:12.4f}   {outcomes.get(each, '')}")

    folder = options.out or _free_folder(Path("localised") / options.photo.stem)
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for rank, result in enumerate(results, 1) for name in _write_stages(result, folder, rank)]
    clock.lap("pictures")
    print(f"\n{len(names)} pictures in {folder}/" + (f"; look first at {names[0]}" if names else ""))
    print("; ".join(clock.laps))
    return 0


def _free_folder(wanted: Path) -> Path:
    """The folder itself, or with a number if an earlier run has filled it: pictures of two photos never mix."""
    candidates = (wanted if n == 1 else wanted.with_name(f"{wanted.name}_{n}") for n in itertools.count(1))
    return next(folder for folder in candidates if not folder.exists())


class _Clock:
    """How long each part took, in words."""

    def __init__(self) -> None:
        self.laps: list[str] = []
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps.append(f"{name}: {now - self._last:.2f} s")
        self._last = now


def _write_stages(result: Localisation, folder: Path, rank: int) -> list[str]:
    from . import figures

    name = f"{rank}_{''.join(c if c.isalnum() else '_' for c in result.prediction.label)}"
    pictures = {
        "1_photo": result.image,
        "2_map": figures.heat_map(result.saliency).resize(result.image.size),
        "3_seeds": figures.seed_picture(result.image, *result.seeds),
        "4_cut": figures.cut_out(result.image, result.cut.mask),
        "5_object": figures.draw_boxes(figures.cut_out(result.image, result.mask), [result.box]),
    }
    result.figure_3().savefig(folder / f"{name}.png", dpi=150)
    for stage, picture in pictures.items():
        picture.save(folder / f"{name}_{stage}.png")
    return [f"{name}.png", *(f"{name}_{stage}.png" for stage in pictures)]
