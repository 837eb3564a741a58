"""How long a learner waits for the import and for the first map, each in a fresh process."""

import statistics
import subprocess
import sys
import time

from .table import show, verdict

TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
IMPORT = "import deepinside_edu"
FIRST_MAP = "import deepinside_edu as di; di.saliency_map(di.load_classifier(), di.photo('panda'))"


def run(code: str) -> tuple[float, float]:
    """The seconds that the code prints, and the seconds of the whole process."""
    start = time.perf_counter()
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(said), time.perf_counter() - start


def main() -> None:
    runs = [run(TIMED.format(IMPORT)) for _ in range(11)][1:]  # the first fills the file cache
    inside, whole = (statistics.median(column) for column in zip(*runs, strict=True))
    first = [run(TIMED.format(FIRST_MAP)) for _ in range(4)][1:]
    first_inside, first_whole = (statistics.median(column) for column in zip(*first, strict=True))
    early = subprocess.run(
        [sys.executable, "-c", f"{IMPORT}; import sys; print('torch' in sys.modules)"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()  # fmt: skip
    show(
        "Start-up in a fresh process, files in cache, wall seconds",
        ["", "itself", "with the interpreter", "target", ""],
        [
            [IMPORT, f"{inside:.3f}", f"{whole:.3f}", "< 0.3", verdict(inside, 0.3)],
            ["import, load, first map", f"{first_inside:.2f}", f"{first_whole:.2f}", "", ""],
            ["torch is imported with the package", early, "", "False", "PASS" if early == "False" else "over"],
        ],
    )


if __name__ == "__main__":
    main()
