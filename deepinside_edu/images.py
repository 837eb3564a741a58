"""Photo <-> normalised tensor, crops and reflections, and the photos that ship with the package."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from .boxes import Box
from .opening import open_image

if TYPE_CHECKING:
    import torch


def normalise(picture: Image.Image, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Turn a picture into a network's input: x_c = (p_c / 255 − mean_c) / std_c.

    Args:
        picture: an RGB picture of any size; the whole of it is resized (bicubic), and its aspect is not kept.
        size: (H, W) of the result in pixels.
        mean: of each channel on the scale 0..1; one channel means grey-scale.
        std: likewise.

    Returns:
        `(1, C, H, W)` float32 on the CPU.
    """
    import torch

    height, width = size
    levels = np.asarray(
        picture.convert("RGB" if len(mean) == 3 else "L").resize((width, height), Image.Resampling.BICUBIC)
    ).reshape(height, width, len(mean))
    x = (levels / np.float32(255) - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    # The array's channels come last in memory; the tensor keeps that order, which is the fastest for convolutions.
    return torch.from_numpy(x[None]).permute(0, 3, 1, 2)


def to_picture(x: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> Image.Image:
    """Turn a normalised tensor back into a picture, p_c = 255 (std_c x_c + mean_c), clipped to 0..255.

    The mean colour is added here and nowhere else: zero in normalised space *is* the mean colour.

    Args:
        x: `(1, C, H, W)` or `(C, H, W)`, C = 1 or 3.
        mean: of each channel, as in `normalise`.
        std: likewise.

    Returns:
        An RGB picture of W×H pixels.

    Raises:
        ValueError: another shape, or NaN or infinite values.
    """
    if x.ndim not in (3, 4) or x.shape[:-3] not in ((), (1,)) or x.shape[-3] != len(mean):
        wanted = f"(1, {len(mean)}, H, W)"
        raise ValueError(f"expected one image {wanted}, got {tuple(x.shape)}. Take one of a batch: x[:1].")
    if not all_finite(x):
        raise ValueError(
            "the image holds NaN or infinite values; expected finite ones. If it comes from a gradient ascent, take "
            "smaller steps."
        )
    planes = x.detach().reshape(x.shape[-3:]).permute(1, 2, 0).cpu().double().numpy()
    levels = 255 * (planes * np.asarray(std) + np.asarray(mean))
    pixels = levels.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")


def all_finite(x: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite; the sum is tested first, which is ten times as fast but may overflow."""
    values = x.detach()
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


class Crop(NamedTuple):
    """Where a sub-image lies: its top-left pixel, its size, and whether it is mirrored."""

    top: int
    left: int
    height: int
    width: int
    mirrored: bool


def ten_crops(height: int, width: int, crop_height: int, crop_width: int) -> list[Crop]:
    """List the paper's 10 cropped and reflected sub-images: four corners and the centre, each also mirrored.

    Args:
        height: of the whole image in pixels.
        width: of the whole image in pixels.
        crop_height: of a sub-image, at most `height`.
        crop_width: of a sub-image, at most `width`.

    Returns:
        Ten crops: first the five as they are, then the same five mirrored.

    Raises:
        ValueError: a crop that is larger than the image.
    """
    if not (0 < crop_height <= height and 0 < crop_width <= width):
        raise ValueError(f"expected crops within {height}×{width}, got {crop_height}×{crop_width}. Make them smaller.")
    bottom, right = height - crop_height, width - crop_width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    return [Crop(top, left, crop_height, crop_width, mirrored) for mirrored in (False, True) for top, left in corners]


@dataclass(frozen=True)
class Photo:
    """A photo that ships with the package, its class and its true boxes, drawn by hand.

    Attributes:
        name: as `photo(name)` takes it.
        path: of the JPEG file.
        wordnet_id: of its class, for `classifier.find`.
        boxes: one per instance of the class, (left, top, right, bottom), right and bottom exclusive.
    """

    name: str
    path: Path = field(repr=False)
    wordnet_id: str
    boxes: tuple[Box, ...]

    @property
    def image(self) -> Image.Image:
        """The photo itself, RGB."""
        return open_image(self.path)

    def __fspath__(self) -> str:
        """Stand for the file wherever a path can."""
        return str(self.path)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "png")
        return buffer.getvalue()


class Annotation(NamedTuple):
    """What an annotation file says: the size (width, height) of its image, if it is given, and each object's box."""

    size: tuple[int, int] | None
    objects: tuple[tuple[str, Box], ...]


_CORNER = r"[+-]?([0-9]{1,9}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?"


def read_annotation(path: Path, first_pixel: int = 0) -> Annotation:
    """Read an annotation in the XML layout of ILSVRC and VOC, whose corners are both inside the box (inclusive pixels).

    Args:
        path: of the XML file.
        first_pixel: the number of the first column and row: 0 in ILSVRC, 1 in VOC.

    Returns:
        The image's size and for each object its class and its box (left, top, right, bottom), counted from 0, right
        and bottom exclusive: xmax + 1. Fractions of a pixel, of which VOC has a few, are rounded.

    Raises:
        ValueError: a folder, a file that is not XML, a root other than annotation, an object without a name or without
            four numbers, a size that is not in whole pixels or has one side only, two elements where one is expected,
            or a box that is inside out.
        OSError: a file that cannot be opened.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected the XML file of one image. Pass one of those in it.")
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the last two: an unknown encoding
        raise ValueError(f"{path.name} is not XML that can be read ({error}); expected an annotation.") from error

    if root.tag != "annotation":
        raise ValueError(f"{path.name} begins with <{root.tag}>; expected <annotation>. Pass an annotation's file.")

    def only(entry: ElementTree.Element, way: str, default: str = "") -> str:
        found = entry.findall(way)
        if len(found) > 1:
            raise ValueError(f"{path.name} has {way} {len(found)} times in one {entry.tag}; expected it once.")
        return (found[0].text or "").strip() if found else default

    sides = [only(root, f"size/{side}", "0") or "0" for side in ("width", "height")]
    if not all(re.fullmatch(r"[0-9]{1,9}(\.0*)?", side) for side in sides):
        shown = " and ".join(side[:20] for side in sides)
        raise ValueError(f"{path.name} has {shown} for width and height; expected whole numbers of pixels.")
    width, height = (int(float(side)) for side in sides)
    missing = [side for side in ("width", "height") if root.find(f"size/{side}") is None]
    if len(missing) == 1 and (width or height):  # a side of 0 or without text means that it is unknown
        raise ValueError(f"{path.name} has a size without {missing[0]}; expected both, or neither. Add it.")
    objects = []
    for entry in root.findall("object"):
        name = only(entry, "name")
        texts = [only(entry, f"bndbox/{corner}") for corner in ("xmin", "ymin", "xmax", "ymax")]
        # float() would accept 1_0 and nan too; 1e9 pixels are more than any file has.
        if not all(re.fullmatch(_CORNER, text) and abs(float(text)) < 1e9 for text in texts):
            texts = [text[:20] for text in texts]
            raise ValueError(f"{path.name} has {texts} for the corners of {name!r}; expected four numbers of pixels.")
        left, top, right, bottom = (round(float(text)) - first_pixel for text in texts)
        if not name:
            raise ValueError(f"{path.name} has an object without a name; expected its class.")
        if right < left or bottom < top:
            raise ValueError(f"{path.name} has a box of {name!r} that is inside out: {', '.join(texts)}.")
        objects.append((name, (left, top, right + 1, bottom + 1)))
    return Annotation((width, height) if width and height else None, tuple(objects))


def read_boxes(path: Path) -> tuple[str, tuple[Box, ...]]:
    """Read an annotation in ILSVRC's XML layout whose objects are all of one class.

    Args:
        path: of the XML file.

    Returns:
        The WordNet id and the boxes (left, top, right, bottom), right and bottom exclusive: xmax + 1.

    Raises:
        ValueError: no object, objects of several classes, or as in `read_annotation`.
        OSError: a file that cannot be opened.
    """
    objects = read_annotation(path).objects
    names = sorted({name for name, _ in objects})
    if len(names) != 1:
        got = f"objects of {len(names)} classes ({', '.join(names)})" if names else "no object"
        raise ValueError(f"{path.name} has {got}; expected one class. Read it with read_annotation.")
    return names[0], tuple(box for _, box in objects)


@cache
def photos() -> tuple[Photo, ...]:
    """List the photos that ship with the package, in alphabetical order; `CREDITS.md` beside them names the authors.

    Returns:
        Sixteen `Photo`s.

    Example:
        >>> [photo.name for photo in di.photos()][:4]
        ['bison', 'duck', 'espresso', 'german_shepherd']
    """
    data = Path(str(files("deepinside_edu"))) / "data"
    paths = sorted((data / "photos").glob("*.jpg"))
    return tuple(Photo(path.stem, path, *read_boxes(data / "boxes" / f"{path.stem}.xml")) for path in paths)


def photo(name: str) -> Photo:
    """Give one of the shipped photos by its name.

    Args:
        name: such as ``"panda"``.

    Returns:
        The `Photo`.

    Raises:
        ValueError: an unknown name; the error lists all names.

    Example:
        >>> di.photo("panda")
        Photo(name='panda', wordnet_id='n02510455', boxes=((128, 34, 531, 373),))
    """
    by_name = {each.name: each for each in photos()}
    if name not in by_name:
        raise ValueError(f"no photo is called {name!r}; there are {', '.join(by_name)}.")
    return by_name[name]
