"""The thirty photos on which the defaults were chosen, besides nine of the shipped ones.

They are in Debian's package gcompris-qt-data, and are read where it installs them. We do not ship them because they
are CC-BY-SA or not worth the bytes. The boxes (more_boxes.csv) were drawn by hand for this project.
"""

import csv
import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from struct import unpack_from

from PIL import Image

import deepinside_edu as di

from .cases import Box, Case

FOLDER = Path("/usr/share/gcompris-qt/rcc")
BOXES = Path(__file__).parent / "more_boxes.csv"
HOW = "Thirty more photos: `apt-get install gcompris-qt-data` (of Debian 12: 3.1-2), or --more FOLDER of its *.rcc."
LONGEST_SIDE = 640
"""In pixels, as for the shipped photos."""

DIRECTORY, COMPRESSED, ZSTANDARD = 2, 1, 4


def read_resources(path: Path) -> dict[str, bytes]:
    """Read the files in a Qt resource file (rcc) by name: a tree of fixed-size nodes that points to names and data."""
    raw = path.read_bytes()
    if raw[:4] != b"qres":
        raise ValueError(f"{path} is not a Qt resource file.")
    version, tree, data, names = unpack_from(">4I", raw, 4)
    node_size = 14 if version == 1 else 22  # later versions add the time of change

    def walk(node: int) -> Iterator[tuple[str, bytes]]:
        at = tree + node * node_size
        name, flags = unpack_from(">IH", raw, at)
        if flags & DIRECTORY:
            count, first = unpack_from(">II", raw, at + 6)
            for child in range(first, first + count):
                yield from walk(child)
            return
        start = data + unpack_from(">I", raw, at + 10)[0]
        content = raw[start + 4 : start + 4 + unpack_from(">I", raw, start)[0]]
        if flags & ZSTANDARD:
            return  # no photo is, because WebP is compressed already
        letters = unpack_from(">H", raw, names + name)[0]
        text = raw[names + name + 6 :][: 2 * letters].decode("utf-16-be")
        yield text, zlib.decompress(content[4:]) if flags & COMPRESSED else content

    return dict(walk(0))


@cache
def more(folder: Path = FOLDER) -> tuple[Case, ...]:
    """Read all thirty, or none if one is missing, because results on fewer photos could not be compared."""
    with BOXES.open(encoding="utf-8", newline="") as file:
        boxes: dict[tuple[str, str, int], list[Box]] = {}
        for row in csv.DictReader(line for line in file if not line.startswith("#")):
            left, top, right, bottom = (float(row[side]) / 100 for side in ("left", "top", "right", "bottom"))
            key = row["resource"], row["picture"], int(row["class"])
            boxes.setdefault(key, []).append((left, top, right, bottom))
    resources = {name: folder / name for name, _, _ in boxes}
    if not all(path.is_file() for path in resources.values()):
        return ()
    files = {name: read_resources(path) for name, path in resources.items()}
    if not all(picture in files[name] for name, picture, _ in boxes):
        return ()
    cases = []
    for (name, picture, class_index), true in boxes.items():
        photo = di.open_image(files[name][picture])
        photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        cases.append(Case(Path(picture).stem, photo, class_index, tuple(true)))
    return tuple(cases)
