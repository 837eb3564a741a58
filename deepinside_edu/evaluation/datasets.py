"""Images and their true boxes: ILSVRC's folders, VOC's, a CSV file, or the photos that ship with the package."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from PIL import Image

from ..boxes import Box
from ..images import photos, read_annotation
from ..names import why_no_wordnet_id
from ..opening import ImageLike, open_image

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
"""The endings of files that count as images."""

COLUMNS = ("left", "top", "right", "bottom")

AnyPath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True)
class Example:
    """One image and the truth about it.

    Attributes:
        name: the file's name without its suffix (of a CSV, what its column ``image`` says).
        path: of the image; none if there is no such file.
        classes: its true classes, each once: WordNet ids or names.
        boxes: for each of these classes one box for each instance, (left, top, right, bottom), counted from 0, right
            and bottom exclusive.
        size: (width, height) of the image that the annotation was made for, if it says so.
        problem: why the image cannot be used; empty if it can.
        as_stored: the boxes are in the pixels of the file, whatever its EXIF orientation says (`open_example`).
    """

    name: str
    path: Path | None = field(repr=False)
    classes: tuple[str, ...]
    boxes: tuple[tuple[Box, ...], ...]
    size: tuple[int, int] | None = None
    problem: str = ""
    as_stored: bool = False


def open_example(example: Example, content: ImageLike | None = None) -> Image.Image:
    """Open an image in the orientation in which its boxes were drawn.

    The boxes of ILSVRC's and VOC's files are in the pixels as they are stored: the devkits do not turn a photo that a
    camera has marked as turned (EXIF). An annotation whose size fits the turned photo alone was made by a program
    that does. Everywhere else in this package, in a CSV too, photos are upright.

    Args:
        example: with a path.
        content: of the file, where it has been read already.

    Returns:
        An RGB picture.

    Raises:
        ValueError: as in `open_image`.
        OSError: likewise.
    """
    source: Any = example.path if content is None else content
    if not example.as_stored:
        return open_image(source)
    picture = open_image(source, upright=False)
    if example.size in (None, picture.size):
        return picture
    turned = open_image(source)
    return turned if turned.size == example.size else picture


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images with true boxes. None is dropped because something is wrong with it: it says so in its `problem`.

    Attributes:
        name: for people.
        examples: the images, in an order that is the same on every machine.
        left_out: names of the images that the caller left out.

    Raises:
        ValueError: two images of one name.
    """

    name: str
    examples: tuple[Example, ...]
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that would make results ambiguous."""
        seen: set[str] = set()
        for each in self.examples:
            if each.name in seen:
                raise ValueError(f"two images are called {each.name!r}; expected each name once.")
            seen.add(each.name)

    def __repr__(self) -> str:
        """Say how large it is, not all of it."""
        return f"Dataset({self.name!r}, {len(self.examples)} images)"


def read_ilsvrc(images: AnyPath, annotations: AnyPath, leave_out: Collection[str] = ()) -> Dataset:
    """Read ILSVRC's layout: a folder of images, a folder of XML files of the same names, synset ids as classes.

    Both folders may have folders in them, links too. xmin, ymin, xmax and ymax are pixels counted from 0 and inside
    the box, so that a box is xmax − xmin + 1 wide, as the devkit's overlap has it.

    Args:
        images: such as ``ILSVRC2012_img_val``.
        annotations: such as ``ILSVRC2012_bbox_val_v3``.
        leave_out: images that shall not count, by name or by the number at its end, such as 3 for
            ``ILSVRC2012_val_00000003``: the lines of the devkit's ``ILSVRC2013_clsloc_validation_blacklist.txt``.

    Returns:
        A `Dataset` in alphabetical order. An image without a usable annotation, and an annotation without an image,
        are in it with their `problem`.

    Raises:
        ValueError: no such folder, a folder without images, two files of one name, or something to leave out that is
            not there.
        OSError: a folder that cannot be read.

    Source: ILSVRC development kit, ``eval_localization_flat.m``.
    """
    images, annotations = as_path(images), as_path(annotations)
    title = _title(images)
    return _leave_out(_pair(title, _by_name(images, SUFFIXES), _by_name(annotations, {".xml"}), 0), leave_out)


def read_voc(folder: AnyPath, split: str = "", leave_out: Collection[str] = ()) -> Dataset:
    """Read VOC's layout: ``JPEGImages``, ``Annotations``, for a split ``ImageSets/Main``; several classes an image.

    xmin, ymin, xmax and ymax are pixels counted from 1 and inside the box. Objects that are marked difficult or
    truncated count like the others.

    Args:
        folder: such as ``VOCdevkit/VOC2012``.
        split: such as "val", the images that ``ImageSets/Main/val.txt`` lists; without one all of them.
        leave_out: as in `read_ilsvrc`.

    Returns:
        A `Dataset` as in `read_ilsvrc`.

    Raises:
        ValueError: as in `read_ilsvrc`, or no such split.
        OSError: likewise.
    """
    folder = as_path(folder)
    pictures = _by_name(folder / "JPEGImages", SUFFIXES)
    annotations = _by_name(folder / "Annotations", {".xml"})
    listed: Collection[str] = ()
    if split:
        path = folder / "ImageSets" / "Main" / f"{split}.txt"
        if why_no_file(path):
            there = ", ".join(sorted(each.stem for each in path.parent.glob("*.txt"))[:9]) or "none"
            raise ValueError(f"there is no split {path}; expected one of those there are: {there}.")
        listed = {line.split()[0] for line in read_text(path).splitlines() if line.strip()}
        pictures = {name: each for name, each in pictures.items() if name in listed}
        annotations = {name: each for name, each in annotations.items() if name in listed}
    title = _title(folder)
    return _leave_out(_pair(title, pictures, annotations, 1, listed), leave_out)


def read_csv(path: AnyPath, images: AnyPath | None = None) -> Dataset:
    """Read a CSV with one box per line: columns ``image``, ``wordnet_id`` or ``class``, ``left, top, right, bottom``.

    Several lines may have one image and several classes. The box is (left, top, right, bottom) in whole pixels,
    counted from 0, **right and bottom exclusive**, of the upright photo, as everywhere in this package. The file is the
    list of images: what else lies in their folder does not count. Lines that begin with ``#`` and a space are comments.

    Args:
        path: of the CSV file, UTF-8.
        images: the folder that the column ``image`` is relative to; without one the folder of the CSV file.

    Returns:
        A `Dataset` in the order of the lines. An image that a line is wrong for, or that is not there, is in it with
        its `problem`.

    Raises:
        ValueError: no such file or folder, no CSV, a column that is missing or there twice, or no line at all.
        OSError: a file that cannot be opened.
    """
    path = as_path(path)
    if why := why_no_file(path):
        raise ValueError(f"{why}; expected a CSV with the columns image, class, {', '.join(COLUMNS)}.")
    folder = as_path(images) if images else path.parent
    if not os.path.isdir(folder):  # noqa: PTH112  # it raises nothing, whatever the name is
        raise ValueError(f"there is no folder {folder}; expected the one that the CSV's column image is relative to.")
    rows = _rows(path)
    _, first = next(rows, (0, []))
    header = [name.strip() for name in first]
    label = next((name for name in ("wordnet_id", "class") if name in header), "class")
    missing = [name for name in ("image", label, *COLUMNS) if name not in header]
    if missing:
        need = ", ".join(name if name != "class" else "class (or wordnet_id)" for name in missing)
        commas = " The fields are separated by commas." if len(header) == 1 else ""
        raise ValueError(f"{path} has no column {need}; its first line is {', '.join(header) or 'empty'}.{commas}")
    twice = [name for name in ("image", label, *COLUMNS) if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path} has the column {', '.join(twice)} more than once; expected it once. Take one away.")
    examples: dict[str, Example] = {}
    for number, fields in rows:
        row = dict.fromkeys(header, "") | {name: text.strip() for name, text in zip(header, fields, strict=False)}
        if not row["image"]:
            raise ValueError(f"line {number} of {path} names no image; expected a file's name in the column image.")
        name = str(PurePosixPath(row["image"]))  # ./a.jpg and a.jpg are one image
        before = examples.get(name, Example(name, folder / name, (), ()))
        try:
            if len(fields) > len(header):
                raise ValueError(f"{len(fields)} fields, and the first line has {len(header)}")
            examples[name] = _with_box(before, row[label], _csv_box(row))
        except ValueError as error:
            examples[name] = replace(before, problem=before.problem or f"line {number} of {path.name}: {error}")
    if not examples:
        raise ValueError(f"{path} has no line but its header; expected one for each box.")
    return Dataset(path.stem, tuple(_checked(each) for each in examples.values()))


def read_text(path: Path) -> str:
    """Read a text file, UTF-8 with or without a mark at its beginning.

    Args:
        path: of the file.

    Returns:
        All of it.

    Raises:
        ValueError: another encoding.
        OSError: a file that cannot be opened.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} of {path} is not UTF-8; expected a text in UTF-8. Save it so.") from error


def read_names(path: AnyPath) -> tuple[str, ...]:
    """Read names of images, or numbers, one per line; empty lines and lines that begin with ``# `` do not count.

    Args:
        path: of the file, UTF-8.

    Returns:
        The names, in the order of the lines.

    Raises:
        ValueError: another encoding.
        OSError: a file that cannot be opened.
    """
    lines = read_text(as_path(path)).splitlines()
    return tuple(line.strip() for line in lines if line.strip() and not _is_comment(line))


def _is_comment(line: str) -> bool:
    return line.startswith("# ") or line.strip() == "#"  # a file may well be called #1.jpg


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a CSV, each with the number of its last line; comments and empty lines are ignored."""
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(io.StringIO(read_text(path), newline=""), 1):  # noqa: B007  # read below
            if line.strip() and not _is_comment(line):
                yield line

    try:
        for row in csv.reader(lines(), skipinitialspace=True, strict=True):
            yield number, row
    except csv.Error as error:
        raise ValueError(
            f"{path} is not a CSV ({error}, in line {number} or before). Look for a quotation mark that is not closed."
        ) from error


def shipped_photos() -> Dataset:
    """Give the sixteen photos that ship with the package, with the boxes drawn by hand.

    Returns:
        A `Dataset` in alphabetical order.
    """
    examples = (Example(each.name, each.path, (each.wordnet_id,), (each.boxes,)) for each in photos())
    return Dataset("shipped photos", tuple(examples))


def read_translation(path: AnyPath) -> dict[str, tuple[str, ...]]:
    """Read which of a network's classes mean a data set's class: a CSV without header, with two columns.

    Args:
        path: of a UTF-8 file with lines such as ``bird,n01530575``; several lines for one class add up, and nothing
            after the comma means that the network has no such class.

    Returns:
        For each class of the data set the WordNet ids or labels of the network.

    Raises:
        ValueError: no such file, no CSV, or a line without a comma.
        OSError: a file that cannot be opened.
    """
    path = as_path(path)
    if why := why_no_file(path):
        raise ValueError(f"{why}; expected lines such as bird,n01530575.")
    found: dict[str, tuple[str, ...]] = {}
    for number, row in _rows(path):
        if len(row) != 2 or not row[0].strip():
            raise ValueError(f"line {number} of {path} is {','.join(row)!r}; expected two columns: bird,n01530575.")
        name, target = row[0].strip(), row[1].strip()
        found[name] = found.get(name, ()) + ((target,) if target else ())
    return found


def class_indices(
    labels: Collection[str], wordnet_ids: Collection[str], translation: Mapping[str, Collection[str]], name: str
) -> tuple[int, ...]:
    """Find a data set's class among a network's: by translation, else by WordNet id, else by its whole label.

    Parts of labels do not count, because a wrong match among a thousand classes would not be noticed.

    Args:
        labels: of the network, in its order.
        wordnet_ids: likewise, or none.
        translation: as `read_translation` gives it.
        name: of the data set's class.

    Returns:
        The indices of the classes that mean it, ascending; none where the translation says that there is none.

    Raises:
        ValueError: no class of the network, or two of the same label.
    """
    if name in translation:
        indices = {class_indices(labels, wordnet_ids, {}, each)[0] for each in translation[name]}
        return tuple(sorted(indices))
    found = [index for index, each in enumerate(wordnet_ids) if each == name]
    found = found or [index for index, each in enumerate(labels) if each.casefold() == name.casefold()]
    if len(found) == 1:
        return (found[0],)
    why = f"fits the network's classes {found}" if found else "is neither a WordNet id nor a label of the network"
    hint = "" if found else why_no_wordnet_id(name, tuple(wordnet_ids))
    raise ValueError(f"class {name!r} {why}; a translation (--classes) can say which is meant{'. ' * bool(hint)}{hint}")


def as_path(path: object) -> Path:
    """Give a path, of a text too; ``~`` is the home folder.

    Raises:
        TypeError: neither a text nor a path.
    """
    if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes):
        raise TypeError(f"expected a path, got {type(path).__name__}. Pass it as a text, such as 'boxes.csv'.")
    return Path(path).expanduser()


def why_no_file(path: Path) -> str:
    """Say why there is no file that can be opened at a path; nothing if there is one.

    A name may be longer than the system takes, have a zero in it, go round in links, or lie in a closed folder.
    """
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return f"there is no file {path}"
    except OSError as error:
        return f"there is no file {_short(path)} that can be opened ({error.strerror})"
    except ValueError as error:
        return f"there is no file {str(path)!r}, and there cannot be one ({error})"
    if stat.S_ISREG(kind):
        return ""
    return f"{path} is {'a folder' if stat.S_ISDIR(kind) else 'no ordinary file'}"


def told(error: Exception) -> str:
    """Give an error's words, those of the file system without its number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{_short(error.filename)} cannot be opened ({error.strerror})"
    return str(error)


def _short(path: object) -> str:
    words = str(path)
    return words if len(words) <= 200 else f"{words[:100]}…{words[-80:]}"


def _by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Every file of these kinds in a folder and the folders in it, by its name without the suffix."""
    if not os.path.isdir(folder):  # noqa: PTH112  # it raises nothing, whatever the name is
        raise ValueError(f"there is no folder {folder}; expected one with {', '.join(sorted(suffixes))} files.")
    found: dict[str, Path] = {}
    for path in sorted(_files(folder)):
        if path.suffix.lower() in suffixes:
            if path.stem in found:
                raise ValueError(f"{path} and {found[path.stem]} have one name; expected each once. Take one away.")
            found[path.stem] = path
    if not found:
        raise ValueError(f"{folder} has no {', '.join(sorted(suffixes))} file in it. Is it the right folder?")
    return found


def _title(folder: Path) -> str:
    return os.path.basename(os.path.normpath(folder.absolute()))  # noqa: PTH119  # "." and ".." have names too


def _files(folder: Path) -> Iterator[Path]:
    """All that lies in a folder and below, links to folders followed; one that cannot be read is an error."""

    def stop(error: OSError) -> None:
        raise error

    for here, below, files in os.walk(folder, onerror=stop, followlinks=True):
        above = {each.resolve() for each in (Path(here), *Path(here).parents)}
        below[:] = [each for each in below if Path(here, each).resolve() not in above]  # a link in a circle
        yield from (Path(here, each) for each in files)


def _pair(
    title: str,
    images: Mapping[str, Path],
    annotations: Mapping[str, Path],
    first_pixel: int,
    listed: Collection[str] = (),
) -> Dataset:
    """Bring images and annotations together by name; what has no partner stays, with its problem."""
    examples = []
    for name in sorted({*images, *annotations, *listed}):
        example = Example(name, images.get(name), (), (), as_stored=True)
        if name not in annotations:
            problem = "image without annotation" if name in images else "neither image nor annotation"
            examples.append(replace(example, problem=problem))
            continue
        problem = why_no_file(annotations[name])
        if problem:
            examples.append(replace(example, problem=problem))
            continue
        try:
            size, objects = read_annotation(annotations[name], first_pixel)
        except (ValueError, OSError) as error:
            examples.append(replace(example, problem=told(error)))
            continue
        for label, box in objects:
            example = _with_box(example, label, box)
        examples.append(_checked(replace(example, size=size)))
    return Dataset(title, tuple(examples))


def _with_box(example: Example, label: str, box: Box) -> Example:
    """The example with one more instance."""
    if not label:
        raise ValueError("no class; expected a WordNet id or a name")
    instances = dict(zip(example.classes, example.boxes, strict=True))
    instances[label] = (*instances.get(label, ()), box)
    return replace(example, classes=tuple(instances), boxes=tuple(instances.values()))


def _checked(example: Example) -> Example:
    """The example with what can be seen to be wrong before its image is opened."""
    if example.problem:
        return example
    why = why_no_file(example.path) if example.path else ""
    if example.path is None or why:
        return replace(example, problem=f"annotation without image{': ' * bool(why)}{why}")
    return example if example.classes else replace(example, problem="annotation without a box")


def _csv_box(row: Mapping[str, str]) -> Box:
    texts = [row[name] for name in COLUMNS]
    if not all(re.fullmatch("[+-]?[0-9]{1,9}", text) for text in texts):  # int() would take 1_0 and ² too
        raise ValueError(f"box {', '.join(text[:20] for text in texts)}; expected four whole numbers of pixels")
    left, top, right, bottom = (int(text) for text in texts)
    if not (left < right and top < bottom):
        raise ValueError(f"box {', '.join(texts)} is inside out or empty; right and bottom are exclusive")
    return left, top, right, bottom


def _leave_out(dataset: Dataset, wanted: Collection[str]) -> Dataset:
    """The data set without these images. A number is that at the end of a name: places would shift with a lost file."""
    names = {each.name for each in dataset.examples}
    numbered: dict[int, list[str]] = {}
    for name in sorted(names):
        if digits := re.search(r"[0-9]+$", name):
            numbered.setdefault(int(digits[0]), []).append(name)
    found = {each: [each] if each in names else numbered.get(_number(each), []) for each in wanted}
    wrong = [each for each, meant in found.items() if len(meant) != 1]
    if wrong:
        first = found[wrong[0]]
        neither = "is neither an image's name nor the number at its end"
        why = f"is the number of {', '.join(first[:3])}" if first else neither
        raise ValueError(
            f"{len(wrong)} of {len(found)} images to leave out are not to be found in {dataset!r}: {wrong[0]} {why}. "
            "Name each by its whole name, or take it off the list."
        )
    gone = {name for meant in found.values() for name in meant}
    kept = tuple(each for each in dataset.examples if each.name not in gone)
    return Dataset(dataset.name, kept, tuple(sorted(gone)))


def _number(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]+", text) else -1
