"""The command line: `deepinside photo.jpg` localises, `deepinside lab` opens lessons, `deepinside evaluate` counts."""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import __version__

if TYPE_CHECKING:
    from types import FrameType

    from .evaluation import Dataset
    from .localise import Localisation

COMMANDS = """\
  deepinside PHOTO           top-5 classes and boxes; writes a picture of every stage
  deepinside lab [FOLDER]    copies the lessons to FOLDER and opens them in JupyterLab;
                             options after FOLDER go to JupyterLab, such as --no-browser
  deepinside evaluate        localisation error over the shipped photos, ILSVRC, VOC or a CSV;
                             `deepinside evaluate --help` has the options
"""

PROBLEMS_SHOWN = 20
"""How many unusable images are named on the screen; a file beside the results names all of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; by default those with which it was started.

    Returns:
        0 if all went well; 2 after one line that says what went wrong; 130 if it was stopped.
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
    if given[:1] == ["evaluate"]:
        return _evaluate(given[1:])
    try:
        return _localise(_make_parser().parse_args(given))
    except (ValueError, TypeError, OSError, ImportError) as error:
        lessons = " `deepinside lab` opens the lessons." if isinstance(error, FileNotFoundError) else ""
        print(f"deepinside: {error}{lessons}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("deepinside: stopped; the pictures that were written so far are kept.", file=sys.stderr)
        return 130


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepinside",
        description="See what a convolutional network sees (Simonyan, Vedaldi & Zisserman 2013).",
        usage="deepinside PHOTO [options]\n       deepinside lab [FOLDER] [JupyterLab's options]\n"
        "       deepinside evaluate [options]",
        epilog=COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", metavar="PHOTO", help="a JPEG, PNG, WebP, GIF, BMP or TIFF file")
    parser.add_argument("--class", dest="class_name", metavar="NAME", help="localise this class, not the top five")
    parser.add_argument("--network", default="squeezenet1_1", help="a classifier of torchvision (default: %(default)s)")
    parser.add_argument("--crops", type=int, choices=(1, 10), default=10, help="maps to average (default: %(default)s)")
    parser.add_argument("--hard-seeds", action="store_true", help="let the seeds bind the cut")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the pictures (default: localised/PHOTO's name)")
    parser.add_argument("--version", action="version", version=f"deepinside_edu {__version__}")
    return parser


def _localise(options: argparse.Namespace) -> int:
    from .opening import open_image

    clock = _Clock()
    photo = open_image(options.photo)  # before torch is imported, so that a wrong path is reported at once
    from .localise import segment
    from .saliency import saliency_maps
    from .weights import load_classifier

    classifier = load_classifier(options.network)
    wanted = classifier.find(options.class_name) if options.class_name else None
    folder = options.out or _free_folder(Path("localised") / Path(options.photo).stem)
    _make_folder(folder)  # before the work, because what cannot be kept need not be computed
    print(f"{options.photo}: {photo.width}×{photo.height} pixels; {classifier}")
    clock.lap("read photo, load network")
    x = classifier.prepare(photo)
    ranking = classifier.top(x, len(classifier.labels))
    clock.lap("scores")
    top = ranking[:5]
    chosen = list(top) if wanted is None else [each for each in ranking if each.class_index == wanted]

    maps = saliency_maps(classifier, x, [each.class_index for each in chosen], options.crops)
    results, outcomes = [], {}
    for prediction, saliency in zip(chosen, maps, strict=True):
        try:
            results.append(segment(photo, prediction, saliency, hard_seeds=options.hard_seeds))
            outcomes[prediction] = str(results[-1].box)
        except ValueError as error:  # it concerns one class: the others still have their boxes
            outcomes[prediction] = f"none: {error}"
    clock.lap(f"map, seeds, colours, cut, box of {len(chosen)}")

    print(f"\n  {'class':<28} {'score':>7} {'probability':>12}   box (left, top, right, bottom)")
    for each in dict.fromkeys([*top, *chosen]):
        print(f"  {each.label:<28} {each.score:7.2f} {each.probability:12.4f}   {outcomes.get(each, '')}")

    names = [name for rank, result in enumerate(results, 1) for name in _write_stages(result, folder, rank)]
    clock.lap("pictures")
    print(f"\n{len(names)} pictures in {folder}/" + (f"; look first at {names[0]}" if names else ""))
    print("; ".join(clock.laps))
    return 0


def _make_evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deepinside evaluate",
        description="ILSVRC's localisation error: five guesses per image, right with the class and IoU ≥ 0.5. "
        "Without a data set, it uses the sixteen photos that ship with the package. Start it with torchrun to use many "
        "processes or machines. If it is stopped, start it again: it goes on where it was.",
    )
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--ilsvrc", nargs=2, type=Path, metavar=("IMAGES", "XML"), help="ILSVRC's folders")
    data.add_argument("--voc", type=Path, metavar="FOLDER", help="the folder that has JPEGImages and Annotations")
    data.add_argument("--csv", type=Path, metavar="FILE", help="image, wordnet_id (or class), left, top, right, bottom")
    parser.add_argument("--split", default="", metavar="NAME", help="VOC's list, such as val (default: all images)")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="the CSV's images (default: beside the CSV)")
    parser.add_argument("--leave-out", type=Path, metavar="FILE", help="images that do not count, one per line: a name "
                        "or the number at its end")  # fmt: skip
    parser.add_argument("--classes", type=Path, metavar="FILE", help="lines such as bird,n01530575 for other classes")
    parser.add_argument("--network", default="squeezenet1_1", help="a classifier of torchvision (default: %(default)s)")
    parser.add_argument("--device", help="cpu, cuda:1 and so on (default: a GPU if there is one)")
    parser.add_argument("--crops", type=int, choices=(1, 10), default=10, help="maps to average (default: %(default)s)")
    parser.add_argument("--hard-seeds", action="store_true", help="let the seeds bind the cut")
    parser.add_argument("--problems", choices=("stop", "miss"), default="stop", help="if images cannot be used: "
                        "stop, or count each as a miss and list it (default: %(default)s)")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder for the results (default: evaluated/DATA)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that cut, for each one that runs the "
                        "network (default: one; with a GPU, one per core except one)")  # fmt: skip
    parser.add_argument("--chunk", type=int, default=0, metavar="N", help="the most images that are computed again "
                        "after a crash (default: 32, or more if there are many workers)")  # fmt: skip
    parser.add_argument("--batch", type=int, default=0, metavar="N", help="how many images the network takes at once "
                        "(default: one on a CPU, eight on a GPU)")  # fmt: skip
    return parser


def _evaluate(given: Sequence[str]) -> int:
    options = _make_evaluate_parser().parse_args(given)
    rank, size = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    who = f"deepinside evaluate, rank {rank} of {size}" if size != "1" else "deepinside evaluate"
    before = signal.signal(signal.SIGTERM, _stop)  # what torchrun sends to the others when a rank dies
    try:
        data = _read_dataset(options)
        out = options.out or Path("evaluated") / "_".join(data.name.split())
        return _measure(options, data, out, alone=size == "1" or rank == "0")
    except FileNotFoundError as error:
        print(f"{who}: there is no {error.filename}; correct the path, or leave the option out", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError) as error:
        print(f"{who}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"{who}: stopped by a signal (Ctrl-C, a time limit, or torchrun, because another rank ended). What was "
            "finished is kept: start the same command again, and it goes on.",
            file=sys.stderr,
        )
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _read_dataset(options: argparse.Namespace) -> Dataset:
    from .evaluation import read_csv, read_ilsvrc, read_voc, shipped_photos
    from .evaluation.datasets import read_names

    if (options.split and not options.voc) or (options.images and not options.csv):
        raise ValueError("--split belongs to --voc, and --images to --csv; leave it out or name that data set.")
    if options.leave_out and not (options.ilsvrc or options.voc):
        raise ValueError("--leave-out belongs to --ilsvrc and --voc; with a CSV, delete the lines instead.")
    leave_out = read_names(options.leave_out) if options.leave_out else ()
    if options.ilsvrc:
        images, annotations = options.ilsvrc
        return read_ilsvrc(images, annotations, leave_out)
    if options.voc:
        return read_voc(options.voc, options.split, leave_out)
    return read_csv(options.csv, options.images) if options.csv else shipped_photos()


def _measure(options: argparse.Namespace, data: Dataset, out: Path, alone: bool) -> int:
    from .evaluation import localisation_error, read_translation
    from .evaluation.ranks import local_device
    from .weights import load_classifier

    translation = read_translation(options.classes) if options.classes else None
    device = local_device() if options.device in (None, "cuda") else None  # each rank uses its own
    classifier = load_classifier(options.network, device or options.device)
    workers = _share_cores(classifier.device.type == "cpu", options.workers)
    result = localisation_error(
        classifier, data, translation=translation, crops=options.crops, problems=options.problems, out=out,
        workers=workers, chunk=options.chunk, batch=options.batch, hard_seeds=options.hard_seeds,
    )  # fmt: skip
    if alone:
        print(f"{data.name}; {classifier}; {'ten crops' if options.crops == 10 else 'one crop'}\n\n{result}")
        _write_list(out / "cannot_be_used.txt", "cannot be used", result.problems)
        _write_list(out / "odd.txt", "odd, but counted as they are", result.notes)
        print(f"\nThe folder {out}/ has what was found in each image.")
    return 0


def _write_list(path: Path, title: str, lines: Sequence[str]) -> None:
    """Print the first lines and write all of them; remove what an earlier run wrote there."""
    if not lines:
        path.unlink(missing_ok=True)
        return
    # A name may contain a line break, or bytes that are not text.
    lines = [each.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n") for each in lines]
    more = len(lines) - PROBLEMS_SHOWN
    print(f"\n{title}:", *lines[:PROBLEMS_SHOWN], *([f"and {more} more"] if more > 0 else []), sep="\n  ")
    whole = path.with_suffix(".part")  # half a list would look like a short one
    try:
        whole.write_text("\n".join(lines) + "\n", encoding="utf-8")
        whole.replace(path)
    except OSError as error:
        whole.unlink(missing_ok=True)
        raise OSError(
            f"{path} cannot be written ({error.strerror}). Everything was measured and is kept: make room, start the "
            "same command again; it prints the result and writes the list."
        ) from error
    print(f"all of them: {path}")


def _share_cores(network_on_cpu: bool, workers: int | None) -> int:
    """Say how many processes cut. A network on the CPU gets the other cores, because too many of both are slow."""
    import torch

    all_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = max(1, all_cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if workers is None:  # with ten crops a CPU takes three times as long for the network as for the cuts
        workers = min(1, cores - 1) if network_on_cpu else max(1, cores - 1)
    if network_on_cpu and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores - workers))
    return workers


def _free_folder(wanted: Path) -> Path:
    """Name the folder, with a number if an earlier run has made it, so that pictures of two photos never mix."""
    candidates = (wanted if n == 1 else wanted.with_name(f"{wanted.name}_{n}") for n in itertools.count(1))
    return next(folder for folder in candidates if not folder.exists())


def _make_folder(folder: Path) -> None:
    """Make a folder and check that a file can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"no pictures can be kept in {folder} ({error.strerror}). Name another folder for them: --out FOLDER."
        ) from error


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

    name = f"{rank}_{''.join(c if c.isalnum() else '_' for c in result.prediction.label[:60])}"
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
