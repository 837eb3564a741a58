"""Execute the lessons in place and store their outputs, so that two rebuilds do not differ in one byte.

    python scripts/write_lessons.py                           every notebook in notebooks/
    python scripts/write_lessons.py notebooks/01_scores.ipynb this one
"""

import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def execute(path: Path) -> nbformat.NotebookNode:
    """Run a notebook from its first cell to its last in its own folder; a cell that fails without the tag raises."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],  # a warning about the kernel's transport helps nobody
        coalesce_streams=True,  # what one cell prints is one output, in however many pieces it arrived
        record_timing=False,
        store_widget_state=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    return notebook


def clean(notebook: nbformat.NotebookNode) -> None:
    """Keep what a reader sees; drop what depends on the machine or means nothing without a kernel."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {key: cell.metadata[key] for key in ("tags", "jupyter") if key in cell.metadata}
        for output in cell.get("outputs", []):
            if "data" in output:
                output.data.pop(WIDGET_VIEW, None)
                drop_larger_picture(output.data)
            if output.output_type == "error":
                # A traceback names folders of this machine, but the lesson needs only the message.
                output.traceback = [f"{output.ename}: {output.evalue}"]


def drop_larger_picture(data: dict[str, str]) -> None:
    """Pillow shows a picture as PNG and as JPEG; one is enough for a reader."""
    formats = [name for name in ("image/png", "image/jpeg") if name in data]
    if len(formats) == 2:
        del data[max(formats, key=lambda name: len(data[name]))]


def main(arguments: list[str]) -> int:
    """Rewrite the given notebooks, or all of them."""
    paths = [Path(argument) for argument in arguments] or [
        path for path in sorted(NOTEBOOKS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts
    ]
    for path in paths:
        start = time.perf_counter()
        notebook = execute(path)
        clean(notebook)
        nbformat.validate(notebook)
        # newline gives the same bytes on every system.
        path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")
        print(f"{path.name}: {time.perf_counter() - start:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
