"""Composites: objects that were cut out of photos, laid on other backgrounds, so that the true mask is known exactly.

They are not photographs: no object throws a shadow, no background belongs to its object, and borders are sharp.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations, product
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from .. import accept
from ..boxes import Box, bounding_box
from ..images import Photo, photos
from .datasets import AnyPath, as_path, read_text, told, why_no_file

STAMPS = Path("/usr/share/tuxpaint/stamps")
"""Where Debian's package tuxpaint-stamps-default puts some 200 photos of objects with transparent backgrounds."""

SHARES = (0.4, 0.8)
"""The longer side of a cut-out takes a share of the picture's side that is drawn between these two."""

SHORTEST_SIDE = 100
"""In pixels. Smaller backgrounds would be blurred by their enlargement."""

Background: TypeAlias = Callable[[tuple[int, int], np.random.Generator], Image.Image]
"""Makes an RGB picture of a size (width, height)."""


@dataclass(frozen=True)
class Cutout:
    """An object on a transparent background.

    Attributes:
        name: of its file, relative to its folder.
        image: RGBA, no larger than what is not transparent.
        wordnet_id: of its class, or whatever else `classifier.find` understands.
    """

    name: str
    image: Image.Image = field(repr=False)
    wordnet_id: str


@dataclass(frozen=True, eq=False)
class Composite:
    """A cut-out on a background, and the truth about it.

    Attributes:
        name: of the cut-out.
        background: what kind it is.
        picture: RGB.
        mask: boolean `(H, W)`, true where the cut-out's alpha is at least one half.
        box: around the mask, (left, top, right, bottom), right and bottom exclusive.
        wordnet_id: of the cut-out's class.
    """

    name: str
    background: str
    picture: Image.Image = field(repr=False)
    mask: NDArray[np.bool_] = field(repr=False)
    box: Box
    wordnet_id: str


def read_cutouts(folder: AnyPath, csv_file: AnyPath) -> tuple[Cutout, ...]:
    """Read pictures with transparent backgrounds and their classes.

    Args:
        folder: of the pictures, such as `STAMPS`.
        csv_file: UTF-8, with the columns ``stamp``, a path relative to the folder, and ``wordnet_id``; lines that begin
            with ``#`` are comments.

    Returns:
        The cut-outs in the order of the lines.

    Raises:
        ValueError: no such folder or file, a missing column, a picture that is not there, is listed twice, cannot be
            read or has no transparent background. None is skipped.
    """
    folder, csv_file = as_path(folder), as_path(csv_file)
    if not os.path.isdir(folder):  # noqa: PTH112  # it raises nothing, whatever the name is
        raise ValueError(
            f"there is no folder {folder}; expected one of pictures with transparent backgrounds. On Debian and Ubuntu "
            f"`apt-get install tuxpaint-stamps-default` puts some into {STAMPS}."
        )
    if why := why_no_file(csv_file):
        raise ValueError(f"{why}; expected a CSV with the columns stamp and wordnet_id.")
    lines = [line for line in read_text(csv_file).splitlines() if line and not line.startswith("#")]
    rows = list(csv.DictReader(lines))
    header = next(csv.reader(lines), [])
    if max(header.count("stamp"), header.count("wordnet_id")) > 1:
        raise ValueError(f"{csv_file.name} has the columns {', '.join(header)}; expected stamp and wordnet_id once.")
    cutouts: dict[str, Cutout] = {}
    for row in rows:
        name, wordnet_id = row.get("stamp"), row.get("wordnet_id")
        if not name or not wordnet_id:
            raise ValueError(f"{csv_file.name} has {row}; expected a stamp and a wordnet_id in each line.")
        if name in cutouts:
            raise ValueError(f"{csv_file.name} has {name} twice; expected each stamp once.")
        cutouts[name] = Cutout(name, _read_rgba(folder, name), wordnet_id)
    if not cutouts:
        raise ValueError(f"{csv_file} lists no stamp; expected one line per stamp.")
    return tuple(cutouts.values())


def _read_rgba(folder: Path, name: str) -> Image.Image:
    path = folder / name
    if why_no_file(path):
        raise ValueError(
            f"there is no stamp {name} in {folder}. Is it another version of the package? "
            "`apt-get install --reinstall tuxpaint-stamps-default`, or take its line out of the list."
        )
    try:
        with Image.open(path) as opened:
            image = opened.convert("RGBA")
    except OSError as error:
        raise ValueError(f"{name} is not a picture that can be read: {told(error)}.") from error
    low, high = image.getchannel("A").getextrema()
    if low > 0 or high == 0:  # type: ignore[operator]  # of one band they are two numbers
        raise ValueError(f"{name} has no transparent background, or nothing else. Give it an alpha channel.")
    return image.crop(image.getchannel("A").getbbox())


def composite(
    cutout: Cutout,
    background: Image.Image,
    share: float = 0.6,
    place: tuple[float, float] = (0.5, 0.5),
    background_name: str = "",
) -> Composite:
    """Lay a cut-out on a background: I = α · object + (1 − α) · background, and the true mask is α ≥ ½.

    Args:
        cutout: what to lay there; it is scaled, keeping its proportions.
        background: a picture, whose size is that of the result; it is not changed.
        share: of the background's width or height (whichever is reached first) that the cut-out takes, above 0 to 1.
        place: (x, y): 0 is at the left or upper border, 1 at the right or lower one.
        background_name: what kind of background it is.

    Returns:
        A `Composite`.

    Raises:
        ValueError: a share or a place out of range, or a cut-out of which nothing is left at this size.
    """
    share = accept.number("share", share, 0, 1)
    if share == 0:
        raise ValueError("expected a share above 0 and up to 1, got 0.")
    if np.shape(place) != (2,):
        raise TypeError(f"expected a place of two numbers from 0 to 1, got {place!r}. The middle is (0.5, 0.5).")
    place = accept.number("place's x", place[0], 0, 1), accept.number("place's y", place[1], 0, 1)
    scale = share * min(background.width / cutout.image.width, background.height / cutout.image.height)
    size = max(1, round(cutout.image.width * scale)), max(1, round(cutout.image.height * scale))
    # Of RGBA, Pillow weights each colour by its alpha: what hides in transparent pixels does not bleed in.
    small = cutout.image.resize(size, Image.Resampling.LANCZOS)
    left, top = round(place[0] * (background.width - size[0])), round(place[1] * (background.height - size[1]))
    picture = background.convert("RGB")  # a copy
    picture.paste(small, (left, top), small)
    mask = np.zeros((background.height, background.width), bool)
    mask[top : top + size[1], left : left + size[0]] = np.asarray(small)[:, :, 3] >= 128  # of 255: one half
    if not mask.any():
        raise ValueError(f"nothing is left of {cutout.name} at {size[0]}×{size[1]} pixels. Raise the share.")
    return Composite(cutout.name, background_name, picture, mask, bounding_box(mask), cutout.wordnet_id)


def plain(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Make a background of one colour.

    Args:
        size: (width, height) in pixels.
        rng: draws it.

    Returns:
        An RGB picture.
    """
    red, green, blue = rng.integers(256, size=3)
    return Image.new("RGB", size, (int(red), int(green), int(blue)))


def gradient(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Make a background that goes from one colour to another, straight across in some direction.

    Args:
        size: as in `plain`.
        rng: draws both colours and the direction.

    Returns:
        An RGB picture.
    """
    one, other, angle = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3), rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: size[1], : size[0]]
    way = x * np.cos(angle) + y * np.sin(angle)
    way = (way - way.min()) / max(float(np.ptp(way)), 1.0)
    return Image.fromarray(np.rint(one + way[..., None] * (other - one)).astype(np.uint8))


def noise(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Make a background of clouds whose amplitude falls as 1/f, as in photographs, brightness more than colour.

    Args:
        size: as in `plain`.
        rng: draws it.

    Returns:
        An RGB picture.

    Source: Field 1987, Relations between the statistics of natural images and the response properties of cortical
        cells.
    """
    frequency = np.hypot(np.fft.fftfreq(size[1])[:, None], np.fft.fftfreq(size[0]))
    frequency[0, 0] = np.inf  # the mean is drawn by itself
    white = np.fft.fft2(rng.normal(size=(4, size[1], size[0])))
    clouds = np.fft.ifft2(white / frequency).real
    clouds /= np.maximum(clouds.std((1, 2), keepdims=True), 1e-9)
    levels = 40 * clouds[0][..., None] + 10 * np.moveaxis(clouds[1:], 0, 2) + rng.uniform(64, 192, 3)
    return Image.fromarray(np.rint(levels.clip(0, 255)).astype(np.uint8))


def photographed(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Take a background from a shipped photo: the largest piece of it that no true box touches, cut to the proportions.

    Args:
        size: as in `plain`.
        rng: draws the photo.

    Returns:
        An RGB picture: grass, rock, branches, sky.
    """
    pieces = _pieces()
    return ImageOps.fit(pieces[rng.integers(len(pieces))], size, Image.Resampling.BICUBIC)


@cache
def _pieces() -> tuple[Image.Image, ...]:
    found = [(photo, free_rectangle(photo)) for photo in photos()]
    return tuple(photo.image.crop(box) for photo, box in found if _sides(box)[0] >= SHORTEST_SIDE)


def free_rectangle(photo: Photo) -> Box:
    """Find the largest rectangle of a photo, by its shorter side, that no true box touches.

    Args:
        photo: with its true boxes.

    Returns:
        (left, top, right, bottom), right and bottom exclusive; (0, 0, 0, 0) if there is none.
    """
    width, height = photo.image.size
    xs = sorted({0, width, *(x for box in photo.boxes for x in box[::2] if 0 < x < width)})
    ys = sorted({0, height, *(y for box in photo.boxes for y in box[1::2] if 0 < y < height)})
    sides = product(combinations(xs, 2), combinations(ys, 2))
    rectangles = [(left, top, right, bottom) for (left, right), (top, bottom) in sides]
    free = [each for each in rectangles if not any(_touch(each, box) for box in photo.boxes)]
    return max(free, key=_sides, default=(0, 0, 0, 0))


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _sides(box: Box) -> tuple[int, int]:
    """The shorter side, then the longer one."""
    width, height = box[2] - box[0], box[3] - box[1]
    return min(width, height), max(width, height)


BACKGROUNDS: Mapping[str, Background] = MappingProxyType(
    {"plain": plain, "gradient": gradient, "noise": noise, "photo": photographed}
)
"""Each kind of background, and what makes it."""


def composites(
    cutouts: Sequence[Cutout],
    backgrounds: Mapping[str, Background] = BACKGROUNDS,
    random_state: int = 0,
    size: tuple[int, int] = (224, 224),
) -> tuple[Composite, ...]:
    """Lay each cut-out on a background of each kind, in a size and at a place that are drawn each time.

    Args:
        cutouts: as `read_cutouts` gives them.
        backgrounds: kinds of background.
        random_state: of backgrounds, sizes and places; the same number gives the same pictures.
        size: (width, height) of the pictures; that of the network's input keeps the masks exact.

    Returns:
        A composite for each cut-out and kind, cut-out by cut-out. What is drawn for one depends on its place among the
        cut-outs and on its kind's among the kinds, not on how many there are.

    Raises:
        ValueError: no cut-out or no background, or an option out of its range.
        TypeError: an option of another kind, such as text.
    """
    random_state, size = accept.random_state(random_state), _checked_size(size)
    if not cutouts or not backgrounds:
        raise ValueError(f"expected cut-outs and backgrounds, got {len(cutouts)} and {len(backgrounds)}.")
    made = []
    for i, cutout in enumerate(cutouts):
        for j, (kind, background) in enumerate(backgrounds.items()):
            rng = np.random.default_rng([random_state, i, j])  # no picture depends on how many others there are
            share, x, y = rng.uniform(*SHARES), *rng.uniform(size=2)
            made.append(composite(cutout, background(size, rng), share, (x, y), kind))
    return tuple(made)


def _checked_size(size: object) -> tuple[int, int]:
    if not isinstance(size, (tuple, list)) or len(size) != 2:
        raise TypeError(f"expected a size (width, height) in pixels, got {size!r}.")
    width, height = (accept.whole(name, side, 1) for name, side in zip(("width", "height"), size, strict=True))
    return width, height
