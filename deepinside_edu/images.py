"""Photo <-> normalised tensor, crops and reflections, and the photos that ship with the package."""

from __future__ import annotations

import io
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded: 50 million pixels take 150 MB."""

Box: TypeAlias = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""


def open_image(source: object, upright: bool = True) -> Image.Image:
    """Open whatever holds a picture as an upright RGB picture.

    EXIF rotation is applied, transparency is laid over white, grey, palette, CMYK and 16-bit pictures
    become 8-bit RGB, and of an animation the first frame is taken (of a PIL image, the current one).

    Args:
        source: a path, bytes, a binary file object, a uint8 or uint16 array (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4), a PIL image, a `Photo`, or the value of an ipywidgets upload with one file in it.
        upright: false leaves the pixels as they are stored, for boxes that were drawn on them.

    Returns:
        A new `PIL.Image.Image` of mode RGB. The source is not changed.

    Raises:
        ValueError: no picture, a truncated one, one without pixels, one pixel wide or high, or larger
            than 50 million pixels.
        TypeError: a kind of object that holds no picture, or a file opened as text.
        OSError: a file that cannot be opened, such as `FileNotFoundError`.
    """
    if isinstance(source, Photo):
        source = source.path
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _rgb(source, "the PIL image", upright)
    stream, name = _as_stream(source)
    with _damage_explained(name):
        picture = Image.open(stream)  # reads the header alone: the pixels are decoded after the size check
    with picture:
        return _rgb(picture, name, upright)


@contextmanager
def _damage_explained(name: str) -> Iterator[None]:
    """Turn whatever Pillow's forty readers raise about a broken file into one `ValueError` with the remedy."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{name} is too large; expected at most {MAX_PIXELS:,} pixels. Shrink it first.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file system's own: no such file, and so on
            raise
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # that one names a memory address
        raise ValueError(
            f"{name} is not a picture that can be read{reason}; expected a JPEG, PNG, WebP, GIF, BMP or TIFF file. "
            "Open it in a viewer: if that fails too, the file is damaged or was cut off."
        ) from error


def _as_stream(source: object) -> tuple[str | os.PathLike[str] | BinaryIO, str]:
    """What PIL can open, and how an error calls it."""
    if isinstance(source, str | os.PathLike):
        if str(source).startswith(("http://", "https://")):
            raise ValueError(f"{source} is a web address; expected a file. Save the picture and pass its path.")
        return source, str(source)
    if isinstance(source, Sequence) and not isinstance(source, bytes | bytearray | memoryview | str):
        if len(source) != 1:  # the value of ipywidgets.FileUpload is a tuple of uploads
            raise ValueError(f"expected one upload, got {len(source)}; choose one file, then pass that one.")
        source = source[0]
    if isinstance(source, Mapping) and "content" in source:
        return io.BytesIO(bytes(source["content"])), str(source.get("name", "the upload"))
    if isinstance(source, bytes | bytearray | memoryview):
        return io.BytesIO(bytes(source)), "the bytes object"
    if isinstance(source, io.TextIOBase):
        raise TypeError('expected a binary file object, got one opened as text. Open it with open(path, "rb").')
    if hasattr(source, "read"):
        return source, str(getattr(source, "name", "the file object"))  # type: ignore[return-value]
    raise TypeError(
        f"expected a path, bytes, a file object, an array, a PIL image or an upload, got {type(source).__name__}. "
        "A tensor has lost its colours' scale: pass the picture that it was made from."
    )


def _check_size(width: int, height: int, name: str) -> None:
    if width < 1 or height < 1:
        raise ValueError(f"{name} has no pixels ({width}×{height}); expected at least 2×2. Pass another picture.")
    if width < 2 or height < 2:
        raise ValueError(
            f"{name} is {width}×{height} pixels, too small to find anything in; expected at least 2×2. "
            "Pass a larger picture."
        )
    if width * height > MAX_PIXELS:
        raise ValueError(
            f"{name} is {width}×{height} pixels; expected at most {MAX_PIXELS:,} in all. Shrink it first "
            "(the network looks at some 224×224)."
        )


def _rgb(picture: Image.Image, name: str, upright: bool = True) -> Image.Image:
    _check_size(*picture.size, name)
    with _damage_explained(name):
        picture.load()
        picture = ImageOps.exif_transpose(picture) if upright else picture
    if picture.mode in ("I;16", "I;16B", "I;16L", "I"):
        levels = np.asarray(picture, dtype=np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(f"{name} has levels {levels.min()} to {levels.max()}; expected 0 to 65535. Rescale them.")
        return Image.fromarray((levels // 257).astype(np.uint8)).convert("RGB")
    if picture.mode == "F":
        raise ValueError(f"{name} has floating-point levels; expected 8 or 16 bits. Scale it to 0..255 as uint8.")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    picture = picture.convert("RGB")
    return picture if upright else Image.fromarray(np.asarray(picture))  # without its tag: nobody turns it later


def _from_array(levels: np.ndarray[Any, Any]) -> Image.Image:
    shape = levels.shape
    if levels.dtype.kind == "f":
        nan = " with NaN in it" if np.isnan(levels).any() else ""
        raise ValueError(
            f"expected a uint8 or uint16 array, got {levels.dtype}{nan}. A float array's range cannot be known: "
            "if it is 0 to 1, pass (array * 255).round().astype('uint8')."
        )
    if levels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 array, got {levels.dtype}. Convert it to uint8 levels 0..255.")
    if levels.ndim == 3 and shape[2] == 1:
        levels = levels[:, :, 0]
    if levels.ndim != 2 and not (levels.ndim == 3 and levels.shape[2] in (3, 4)):
        hint = "The channels come first: transpose with (1, 2, 0)." if shape[:1] in ((1,), (3,)) else ""
        raise ValueError(f"expected an array (H, W), (H, W, 3) or (H, W, 4), got {shape}. {hint}".strip())
    _check_size(levels.shape[1], levels.shape[0], "the array")
    if levels.dtype.itemsize == 2:
        levels = (levels // 257).astype(np.uint8)
    return _rgb(Image.fromarray(np.ascontiguousarray(levels)), "the array")


def normalise(picture: Image.Image, size: tuple[int, int], mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Turn a picture into a network's input: x_c = (p_c / 255 − mean_c) / std_c.

    Args:
        picture: an RGB picture of any size; it is resized (bicubic, the whole of it, aspect not kept).
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
    # The array's channels come last in memory; the tensor keeps that order, the fastest for convolutions.
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
        raise ValueError(f"expected one image {wanted}, got {tuple(x.shape)}. Of a batch take one: x[:1].")
    if not all_finite(x):
        raise ValueError("the image holds NaN or infinite values; expected finite ones. Look where they came from.")
    planes = x.detach().reshape(x.shape[-3:]).permute(1, 2, 0).cpu().double().numpy()
    levels = 255 * (planes * np.asarray(std) + np.asarray(mean))
    pixels = levels.round().clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).convert("RGB")


def all_finite(x: torch.Tensor) -> bool:
    """Whether no value is NaN or infinite; the sum is asked first, at a tenth of the time, though it may overflow."""
    values = x.detach()
    return bool(values.sum().isfinite()) or bool(values.isfinite().all())


class Crop(NamedTuple):
    """Where a sub-image lies: its top-left pixel, its size, and whether it is seen in the mirror."""

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
        Ten crops, the five as they are first, then the same five mirrored.

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
        boxes: one for each instance of the class, (left, top, right, bottom), right and bottom exclusive.
    """

    name: str
    path: Path = field(repr=False)
    wordnet_id: str
    boxes: tuple[Box, ...]

    @property
    def image(self) -> Image.Image:
        """The photo itself, RGB."""
        return open_image(self.path)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.image.save(buffer, "png")
        return buffer.getvalue()


class Annotation(NamedTuple):
    """What an annotation file says: the size (width, height) of its image, if it has it, and each object's box."""

    size: tuple[int, int] | None
    objects: tuple[tuple[str, Box], ...]


def read_annotation(path: Path, first_pixel: int = 0) -> Annotation:
    """Read an annotation in the XML layout of ILSVRC and VOC, whose corners are both inside the box (inclusive pixels).

    Args:
        path: of the XML file.
        first_pixel: the number of the first column and row: 0 in ILSVRC, 1 in VOC.

    Returns:
        The image's size and for each object its class and its box (left, top, right, bottom), counted from 0, right
        and bottom exclusive: xmax + 1. A fraction of a pixel, as VOC has a few, is rounded.

    Raises:
        ValueError: no XML, an object without a name or without four numbers, or a box that is inside out.
        OSError: a file that cannot be opened.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter two: an encoding nobody knows
        raise ValueError(f"{path.name} is no XML that can be read ({error}); expected an annotation.") from error
    sides = [root.findtext(f"size/{side}", "0") for side in ("width", "height")]
    width, height = (int(side) if side.strip().isdecimal() else 0 for side in sides)
    objects = []
    for entry in root.findall("object"):
        name = entry.findtext("name", "").strip()
        texts = [entry.findtext(f"bndbox/{corner}", "") for corner in ("xmin", "ymin", "xmax", "ymax")]
        try:
            left, top, right, bottom = (round(float(text)) - first_pixel for text in texts)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{path.name} has {texts} for the corners of {name!r}; expected four numbers.") from error
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
        ValueError: an unknown name; the error lists the names there are.
    """
    by_name = {each.name: each for each in photos()}
    if name not in by_name:
        raise ValueError(f"no photo is called {name!r}; there are {', '.join(by_name)}.")
    return by_name[name]
