"""Run each lesson from top to bottom in a fresh kernel: seconds, first picture, peak memory of the kernel."""

import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from .table import show, verdict

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PICTURES = ("image/png", "image/jpeg", "image/svg+xml", "application/vnd.jupyter.widget-view+json")
COST = """
import time as _time
from pathlib import Path as _Path
_status = _Path("/proc/self/status")
if _status.exists():
    _peak = next(int(line.split()[1]) for line in _status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    import resource, sys
    _peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(_peak, _time.process_time())
"""


class Watching(NotebookClient):
    """A client that notes when the first picture (or widget) arrives."""

    first_picture = float("nan")

    def process_message(self, msg, cell, cell_index):
        shown = msg["content"].get("data", {}) if msg["msg_type"] in ("display_data", "execute_result") else {}
        if self.first_picture != self.first_picture and any(kind in shown for kind in PICTURES):
            self.first_picture = time.perf_counter()
        return super().process_message(msg, cell, cell_index)


def watch(path: Path) -> tuple[float, float, float, float]:
    """Seconds in all, seconds to the first picture, the kernel's CPU seconds (all threads) and peak GB."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(COST))
    client = Watching(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    client.execute(env=os.environ.copy())
    seconds = time.perf_counter() - start
    kilobytes, cpu = map(float, notebook.cells[-1].outputs[0].text.split())
    return seconds, client.first_picture - start, cpu, kilobytes * 1024 / 1e9


def main() -> None:
    paths = [path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    if not paths:
        print(f"\nNo lessons in {NOTEBOOKS.name}/.")
        return
    rows = []
    for path in paths:
        seconds, first, cpu, peak = watch(path)
        fine = verdict(seconds, 60), verdict(peak, 1), verdict(first, 10) if path.name.startswith("01") else "PASS"
        verdicts = "PASS" if set(fine) == {"PASS"} else "over"
        rows.append(
            [path.relative_to(NOTEBOOKS), f"{seconds:.1f}", f"{first:.1f}", f"{cpu:.1f}", f"{peak:.2f}", verdicts]
        )
    rows.append(["target", "< 60", "< 10 (lesson 1)", "", "< 1", ""])
    show(
        "Lessons, run from top to bottom in a fresh kernel",
        ["", "seconds", "to the first picture", "CPU seconds", "peak GB of the kernel", ""],
        rows,
    )


if __name__ == "__main__":
    main()
