"""Evaluation on two processes: is it faster than one, and do ten killed ranks lose or repeat anything?"""

import dataclasses
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deepinside_edu import evaluation
from tests import tiny_evaluation

from .cases import classifier
from .table import show, verdict

PAIRS = 3
KILLS = 10
IMAGES = 200
COPIES = 2
"""How many copies of the sixteen shipped photos there are, so that a run is long enough."""


def torchrun(processes: int, *program: str, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    environment |= {"OMP_NUM_THREADS": "1"}  # torchrun sets this for several processes but not for one
    return subprocess.Popen(
        [*command, "--nproc-per-node", str(processes), *program], env=os.environ | environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def evaluate() -> None:
    """What each process does: measure images per second, without the time that it takes to start."""
    network, shipped = classifier(), evaluation.shipped_photos()
    examples = [dataclasses.replace(each, name=f"{k} {each.name}") for k in range(COPIES) for each in shipped.examples]
    first = evaluation.Dataset("warm", tuple(examples[:2]))
    evaluation.localisation_error(network, first, crops=1, progress=False)
    begin = time.perf_counter()
    found = evaluation.localisation_error(network, evaluation.Dataset("copies", tuple(examples)), progress=False)
    if os.environ["RANK"] == "0":
        print(json.dumps([len(examples) / (time.perf_counter() - begin), dataclasses.asdict(found)]))


def speed() -> None:
    rows, ratios = [], []
    for _ in range(PAIRS):
        one, two = (json.loads(torchrun(n, "-m", "benchmarks.processes", "rank").communicate()[0]) for n in (1, 2))
        ratios.append(two[0] / one[0])
        rows.append([f"{one[0]:.2f}", f"{two[0]:.2f}", f"{ratios[-1]:.2f}", "yes" if one[1] == two[1] else "NO"])
    median = statistics.median(ratios)
    rows.append(["", "median", f"{median:.2f}", verdict(median, 1.8, at_least=True)])
    title = f"Images per second, ten crops, one thread per process, {16 * COPIES} images; target 1.8 times"
    show(title, ["one process", "two", "ratio", "the same result"], rows)


def names(folder: Path) -> list[str]:
    """Names of the images whose results are complete lines on the disk."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text("utf-8").split("\n")[1:-1]]
    return [json.loads(line)["name"] for line in lines]


def kills() -> None:
    """Kill a rank at a random moment after something new is on the disk, then let the same command go on."""
    draw, rows = random.Random(), []
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        tiny_evaluation.write_ilsvrc(root, IMAGES)

        def start(out: str) -> subprocess.Popen[str]:
            return torchrun(2, tiny_evaluation.__file__, str(root), out, "0", SLOW="0.05")

        straight = start("straight").communicate()[0]
        for _ in range(KILLS):
            before, agent = len(names(root / "killed")), start("killed")
            while agent.poll() is None and len(names(root / "killed")) <= before:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 0.6))
            ranks = subprocess.run(["pgrep", "-P", str(agent.pid)], capture_output=True, text=True, check=False).stdout
            os.kill(int(draw.choice(ranks.split())), signal.SIGKILL)
            agent.communicate()
            kept = names(root / "killed")
            rows.append([agent.returncode, len(kept), len(kept) - len(set(kept)), ""])
        agent = start("killed")
        said = agent.communicate()[0]
        kept = names(root / "killed")
        good = said == straight and sorted(kept) == sorted(names(root / "straight")) and len(set(kept)) == IMAGES
        rows.append([agent.returncode, len(kept), len(kept) - len(set(kept)), "PASS" if good else "DIFFERS"])
    header = ["exit status", "images on the disk", "of these twice", "the result of a run that was not killed"]
    show(f"A random rank of two killed {KILLS} times, {IMAGES} images; the last line went to its end", header, rows)


if __name__ == "__main__":
    if sys.argv[1:] == ["rank"]:
        evaluate()
    else:
        speed()
        kills()
