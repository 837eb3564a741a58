"""Open whatever holds a picture as an upright RGB picture; for anything else, say what it is and what to pass."""

from __future__ import annotations

import base64
import difflib
import io
import itertools
import os
import re
import stat
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from importlib.resources import files
from numbers import Number
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 50_000_000
"""Larger pictures are refused before they are decoded: 50 million pixels take 150 MB."""

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")
"""Pillow reads some forty formats. One of the others, PostScript, is a program, which Pillow would run."""

EXPECTED = "expected a JPEG, PNG, WebP, GIF, BMP or TIFF file"

BYTES = bytes | bytearray | memoryview

ImageLike: TypeAlias = (
    str | os.PathLike[str] | BYTES | BinaryIO | NDArray[Any] | Image.Image | Mapping[Any, Any] | Collection[Any]
)
"""What `open_image` takes: a path or URL, bytes, a file object, an array, a PIL image, a `Photo` or an upload."""

ADDRESS = re.compile(r"www\.[^.]+\.|(https?|ftps?|blob|attachment|content):|[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""How an address begins that is not a file. One letter before a colon is a drive of Windows."""

BASE64 = r"(/9j/|iVBORw0KGgo|R0lGOD|UklGR)[A-Za-z0-9+/=\s]{40}"
"""How a picture begins if it was written as base64 text."""

NAMES_LOOKED_AT = 5_000
"""Near names are looked for among this many names of a folder."""


def open_image(source: ImageLike, upright: bool = True) -> Image.Image:
    """Open whatever holds a picture as an upright RGB picture.

    EXIF rotation is applied, and transparency is laid over white. Grey, palette, CMYK and 16-bit pictures become 8-bit
    RGB. Of an animation the first frame is taken (of a PIL image, the current one).

    Levels of 16 bits are divided by 257, which is right only if they are 0 to 65535. A container of 16 or 32 bits often
    holds levels of 8, 10, 12 or 14 bits, so a picture whose brightest level is below 2¹⁴ is refused.

    Args:
        source: a path (also with ``~``, or as a ``file:`` or ``data:`` URL), bytes, a binary file object, a uint8 or
            uint16 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), a PIL image, a `Photo`, the value of an upload
            in ipywidgets, Colab or Gradio with one file in it, or a list of one of these.
        upright: if false, the pixels stay as they are stored, for boxes that were drawn on them.

    Returns:
        A new `PIL.Image.Image` of mode RGB. The source is not changed.

    Raises:
        ValueError: something that is not a picture, or a picture that is truncated, has no pixels, is one pixel wide
            or high, has more than 50 million pixels, or has levels whose range cannot be known.
        TypeError: a kind of object that holds no picture, or a file opened as text.
        OSError: a file that cannot be opened, such as `FileNotFoundError`, which lists near names.

    Example:
        >>> di.open_image(di.photo("panda")).size
        (640, 426)
        >>> di.open_image(np.zeros((20, 30), np.uint8)).mode
        'RGB'
    """
    held, name = _unpack(source)
    if isinstance(held, np.ndarray):
        return _open_array(held)
    if isinstance(held, Image.Image):
        if held.format == "EPS":
            raise ValueError(f"{name} is PostScript, a program that would be run; {EXPECTED}. Convert it to one.")
        return _to_rgb(held, name, upright)
    with _open_stream(held, name) as (stream, name):
        with _explain_damage(name):
            picture = Image.open(stream, formats=FORMATS)  # reads only the header: decoded after the size check
        with picture:
            return _to_rgb(picture, name, upright)


@contextmanager
def _explain_damage(name: str) -> Iterator[None]:
    """Turn whatever Pillow's readers raise about a broken file into one `ValueError` with the remedy."""
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"{name} is too large; expected at most {MAX_PIXELS:,} pixels. Shrink it first.") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file system failed in the middle of a file
            raise OSError(
                f"{name} cannot be read to its end ({error.strerror}). Copy it to another disk and try again."
            ) from error
        reason = "" if isinstance(error, UnidentifiedImageError) else f" ({error})"  # its text has a memory address
        raise ValueError(
            f"{name} is not a picture that can be read{reason}; {EXPECTED}. Open it in a viewer, and save it as one of "
            "these: if that fails too, the file is damaged or was cut off."
        ) from error


# --- what was passed -------------------------------------------------------------------------------------------------


def _unpack(source: object) -> tuple[object, str]:
    """Take the one picture out of the uploads and lists around it, and say what an error calls it."""
    name = "the upload"
    for _ in range(4):  # the deepest is ipywidgets 7's {name: {"metadata": …, "content": bytes}}, in a list
        if isinstance(source, Mapping):
            source, name = _read_upload(source, name)
        elif isinstance(source, Collection) and not isinstance(source, BYTES | str) and _is_plain(source):
            source = _take_only_one(source)
        else:
            break
    else:
        raise TypeError(f"expected one picture, got lists within lists ({_cut(source)}). Pass the picture itself.")
    if isinstance(source, np.ndarray):
        return source, "the array"
    return source, "the PIL image" if isinstance(source, Image.Image) else name


def _is_plain(source: object) -> bool:
    """Whether this is a list or the like, and not an array or a tensor, which are collections as well."""
    return not hasattr(source, "__array__") and not hasattr(source, "read") and not hasattr(source, "parameters")


def _read_upload(upload: Mapping[Any, Any], name: str) -> tuple[object, str]:
    """Read the content of an upload from ipywidgets, Colab, Gradio or Hugging Face, and the file's name."""
    name = str(next((upload[key] for key in ("name", "orig_name") if upload.get(key)), name))
    for key in ("content", "bytes"):
        content = upload.get(key)
        if isinstance(content, BYTES) or (isinstance(content, str) and content[:5].lower() == "data:"):
            return content, name
        if content is not None:
            raise TypeError(
                f"expected the upload's {key!r} as bytes, got {type(content).__name__}. Read the file with open(path, "
                '"rb") and pass that.'
            )
    for key in ("path", "composite", "image"):
        if upload.get(key) is not None:
            return upload[key], name
    values = list(upload.values())
    if len(values) == 1 and not isinstance(values[0], str | Number | None):
        return values[0], str(next(iter(upload)))
    if values and not isinstance(values[0], BYTES | Mapping):
        raise TypeError(
            f"expected a path, bytes, a file object, an array, a PIL image or an upload, got {type(upload).__name__} "
            f"with {_join(map(repr, upload))} in it. Pass the picture itself."
        )
    raise ValueError(
        f"expected one upload, got {len(values)}"
        + (f": {_join(map(repr, upload))}. Pass one of them." if values else "; choose one file, then pass that one.")
    )


def _take_only_one(pictures: Collection[object]) -> object:
    first: object = pictures
    for _ in range(4):
        if isinstance(first, list | tuple) and first:
            first = first[0]
    if isinstance(first, Number):
        raise TypeError("expected a picture, got rows of numbers. Make an array: np.array(rows, dtype=np.uint8).")
    if len(pictures) != 1:
        kinds = f" ({_join(type(each).__name__ for each in pictures)})" if pictures else ""
        what = "one upload" if not pictures or isinstance(next(iter(pictures)), Mapping) else "one picture"
        remedy = "pass one at a time" if pictures else "choose one file, then pass that one"
        raise ValueError(f"expected {what}, got {len(pictures)} in a {type(pictures).__name__}{kinds}; {remedy}.")
    return next(iter(pictures))


@contextmanager
def _open_stream(source: object, name: str) -> Iterator[tuple[BinaryIO, str]]:
    """Open what PIL can read, say what an error calls it, and close it if it was opened here."""
    stream: Any
    if isinstance(source, BYTES):
        content, name = bytes(source), "the bytes object" if name == "the upload" else name
        start = content[:99].decode("latin-1")
        if re.match(BASE64, start) or start[:5].lower() == "data:":
            remedy = "base64.b64decode(it)" if re.match(BASE64, start) else "it as text: it.decode()"
            raise ValueError(f"{name} is base64 text; expected the bytes of a file. Pass {remedy}.")
        stream = io.BytesIO(content)
    elif isinstance(source, str) and source[:5].lower() == "data:":
        head, _, body = source.partition(",")
        with _explain_damage("the data: URL"):
            content = base64.b64decode(body) if head.lower().endswith(";base64") else unquote_to_bytes(body)
        stream, name = io.BytesIO(content), "the data: URL"
    elif isinstance(source, str | os.PathLike):
        text = os.fsdecode(source)
        path = _find_file(text)
        try:
            stream, name = path.open("rb"), str(path)
        except OSError as error:
            raise _add_remedy(error, text) from error
    elif isinstance(source, io.TextIOBase):
        raise TypeError('expected a binary file object, got one opened as text. Open it with open(path, "rb").')
    elif hasattr(source, "read"):
        if getattr(source, "closed", False) is True:
            raise ValueError(
                f"{getattr(source, 'name', 'the file object')} is closed; expected an open file. Pass it within its "
                '"with" block, or open it again with open(path, "rb").'
            )
        name = str(getattr(source, "name", "the file object"))
        if isinstance(source, io.IOBase) and not source.readable():
            raise ValueError(f'{name} is open for writing only. Close it, and open it again with open(path, "rb").')
        stream = nullcontext(source)
    else:
        raise TypeError(
            "expected a path, bytes, a file object, an array, a PIL image or an upload, got "
            f"{type(source).__name__}. {_remedy(source)}".strip()
        )
    with stream as opened:
        yield opened, name


def _remedy(source: object) -> str:
    """Guess what somebody means by passing this."""
    if hasattr(source, "parameters") or hasattr(source, "wordnet_ids"):
        return "The picture comes first, then the classifier."
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(source, torch.Tensor):
        if source.is_floating_point():
            return "A tensor of floats has lost its colours' scale: pass the picture that it was made from."
        shape = "" if source.ndim < 3 or source.shape[-1] in (1, 3, 4) else ".permute(1, 2, 0)"
        shape = "[0]" * (source.ndim == 4) + shape
        return f"Pass its levels as an array: x{shape}.cpu().numpy()."
    if hasattr(source, "__array__"):
        return "Pass it as an array: np.asarray(it)."
    if hasattr(source, "__next__"):
        return "Take one picture out of it: next(it)."
    attribute = next((name for name in ("content", "data") if isinstance(getattr(source, name, None), BYTES)), None)
    return f"Pass its .{attribute}." if attribute else ""


# --- files -----------------------------------------------------------------------------------------------------------


def _find_file(text: str) -> Path:
    """Find the file that is meant: by its name as it is, and then with ~, $HOME and file: looked up."""
    for path in dict.fromkeys((Path(text), _expand_path(text))) if text.strip() else ():
        try:
            mode = path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            raise _add_remedy(error, text) from error
        except (OSError, ValueError):
            break  # the system cannot have such a name: it is too long, or has impossible characters
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(_about_folder(path))
        if not stat.S_ISREG(mode):  # it might never end or never begin
            raise ValueError(
                f"{_cut(text)} is a pipe, a socket or a device; expected a file. Read it yourself and pass the bytes."
            )
        return path
    raise _not_found(text)


def _expand_path(text: str) -> Path:
    if text[:5].lower() == "file:":
        from urllib.request import url2pathname

        url = urlsplit(text)
        return Path(url2pathname(url.path) if url.netloc in ("", "localhost") else text)  # not another machine's
    with suppress(RuntimeError):  # ~ of a user that this system does not know
        return Path(os.path.expandvars(text)).expanduser()
    return Path(text)


def _add_remedy(error: OSError, text: str) -> OSError:
    """Make the same error with a remedy."""
    return type(error)(
        f"{_cut(text)} cannot be opened ({error.strerror}). Copy it to a folder where you may read it, and pass that."
    )


def _about_folder(path: Path) -> str:
    some = [name for name in _names_in(path) if name.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))][:1]
    remedy = f"one of its pictures, such as {str(path / some[0])!r}" if some else "a picture's path"
    return f"{_cut(str(path))} is a folder; expected a file. Pass {remedy}."


def _not_found(text: str) -> Exception:
    """Guess what somebody means by a name that is not there, and make an error that says it."""
    shown = _cut(text)
    if not text.strip():
        return ValueError("the path is empty; expected a picture's file. Pass its path, such as 'photo.jpg'.")
    bare = text.strip(" \t\r\n\"'“”‘’")
    if bare and bare != text:
        if os.path.exists(_expand_path(bare)):  # noqa: PTH110  # this one never raises
            return FileNotFoundError(f"{shown} has spaces or quotes around it. Pass {bare!r}, which is there.")
        if text.isprintable():
            return _not_found(bare)
    path = _expand_path(text)
    if ADDRESS.match(str(path)):
        web = "a web address" if re.match("https?:|ftps?:|www", text, re.IGNORECASE) else "an address"
        return ValueError(f"{shown} is {web}; expected a file. Save the picture and pass its path.")
    longest = max((len(part.encode("utf-8", "surrogatepass")) for part in path.parts), default=0)
    if re.match(BASE64, text) or len(text) > 1000 or longest > 255:
        return ValueError(
            f"{shown} is not a path: it has {len(text):,} characters. A picture that was written as base64 text is "
            "opened by open_image(base64.b64decode(text))."
        )
    if any(ord(letter) < 32 for letter in text):
        return ValueError(
            f'{shown} has a control character in it. Write it with r before the quotes, r"C:\\new.jpg", or with /.'
        )
    if os.name != "nt" and re.match(r"[A-Za-z]:[\\/]|\\\\", text):
        return FileNotFoundError(
            f"{shown} is a path of Windows, and this Python runs on another system. Upload the picture beside the "
            "notebook and pass its name."
        )
    data = Path(str(files("deepinside_edu"))) / "data"
    shipped = [name.removesuffix(".jpg") for name in _names_in(data / "photos") if name.endswith(".jpg")]
    known = _find_near(re.sub(r"[\s-]+", "_", path.stem), shipped)[:1]
    hints = [f"A photo that ships with the package is di.photo({each!r})." for each in known]
    if not path.parent.is_dir():
        remedy = " ".join(hints) or f"A relative path begins at {str(Path.cwd())!r}."
        return FileNotFoundError(f"there is no folder {str(path.parent)!r}, so no file {path.name!r} in it. {remedy}")
    near = _find_near(path.name, _names_in(path.parent))
    hints = [f"Near: {_join(map(repr, near))}."] * bool(near) + hints
    remedy = " ".join(hints) or "Upload it there, or pass its whole path."
    return FileNotFoundError(f"there is no file {path.name!r} in {str(path.parent.absolute())!r}. {remedy}")


def _names_in(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in itertools.islice(entries, NAMES_LOOKED_AT))
    except OSError:
        return []


def _find_near(name: str, names: list[str]) -> list[str]:
    """List the names that differ only in capitals or suffix; if there are none, those with a similar spelling."""
    wanted, stems = Path(name).stem.casefold(), [Path(each).stem.casefold() for each in names]
    near = [wanted] if wanted in stems else difflib.get_close_matches(wanted, stems, n=3, cutoff=0.7)
    return [each for stem in near for each, its_stem in zip(names, stems, strict=True) if its_stem == stem]


def _cut(value: object, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 2]}…{text[-1]}"


def _join(names: Any, most: int = 4) -> str:
    some = list(itertools.islice(names, most + 1))
    return ", ".join(some[:most] + ["…"] * (len(some) > most))


# --- pixels ----------------------------------------------------------------------------------------------------------


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


def _to_rgb(picture: Image.Image, name: str, upright: bool = True) -> Image.Image:
    _check_size(*picture.size, name)
    stored = str(getattr(picture, "tile", ""))  # how the file stores its levels: Pillow forgets it when it decodes
    with _explain_damage(name):
        picture.load()
        picture = ImageOps.exif_transpose(picture) if upright else picture
    hole = picture.info.get("transparency")  # of a PNG: the level that is transparent, in the file's own bits
    if picture.mode.startswith("I"):
        levels = np.asarray(picture)
        shades = _to_eight_bits(levels, name)
        if hole is not None:
            shades[levels == hole] = 255
        return Image.fromarray(shades).convert("RGB")
    if picture.mode == "F":
        raise ValueError(
            f"{name} has floating-point levels; expected 8 or 16 bits. Scale it to 0..255 as uint8; if its levels are "
            '0 to 255 already, pass image.convert("L").'
        )
    if re.search(r"(RGB[AXa]?|LA);16[BLN]", stored):
        _check_sixteen_bits_of_colour(picture, name)
    few = re.search(r"'L;([24])'", stored)
    if few and hole is not None:  # Pillow stretches the levels of 2 or 4 bits to 0..255, but not the transparent one
        picture = picture.copy()
        picture.info["transparency"] = hole * 255 // (2 ** int(few[1]) - 1)
    if picture.mode == "La":  # it can be converted to nothing else
        picture = picture.convert("LA")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    picture = picture.convert("RGB")
    return picture if upright else Image.fromarray(np.asarray(picture))  # without its tag: nobody turns it later


def _to_eight_bits(levels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Divide levels 0..65535 by 257; refuse them if nothing shows that they have 16 bits."""
    seen = levels if levels.ndim == 2 else levels[:, :, :3]  # without alpha
    lowest, highest = int(seen.min()), int(seen.max())
    if lowest < 0 or highest > 65535:
        raise ValueError(f"{name} has levels {lowest} to {highest}; expected 0 to 65535. Rescale them.")
    if highest:
        _check_bright(highest, name)
    shades: NDArray[np.uint8] = (levels // 257).astype(np.uint8)
    return shades


def _check_sixteen_bits_of_colour(picture: Image.Image, name: str) -> None:
    """Check a picture with colours or alpha: Pillow keeps only the upper eight of its sixteen bits."""
    _check_bright(int(np.asarray(picture)[..., : 1 if picture.mode == "LA" else 3].max()) * 256 + 255, name)
    if "transparency" in picture.info:
        raise ValueError(
            f"{name} has 16 bits and a transparent colour, which 8 bits cannot distinguish from similar colours; "
            "expected an alpha channel. Save it with 8 bits."
        )


def _check_bright(highest: int, name: str) -> None:
    """Refuse what would come out nearly black: cameras write 10, 12 or 14 bits into containers of 16, programs 8."""
    bits = next(bits for bits in (8, 10, 12, 14, 16) if highest < 2**bits)
    if bits < 16:
        cast = f"(levels >> {bits - 8})" if bits > 8 else "levels"
        raise ValueError(
            f"{name} has levels of at most {highest}: either {bits} bits in a larger container or a dark picture of 16 "
            "bits, which cannot be known; expected 8 bits or levels up to 65535. With levels = np.asarray(image), pass "
            f"{cast}.astype('uint8') in the first case, (levels // 257).astype('uint8') in the second."
        )


def _open_array(levels: NDArray[Any]) -> Image.Image:
    shape = levels.shape
    if levels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise ValueError(f"expected a uint8 or uint16 array, got {levels.dtype}{_remedy_of_levels(levels)}")
    if np.ma.is_masked(levels):
        raise ValueError("the array has masked pixels; expected a level for each. Fill them: array.filled(255).")
    if levels.ndim == 3 and shape[2] == 1:
        levels = levels[:, :, 0]
    if levels.ndim != 2 and not (levels.ndim == 3 and shape[2] in (3, 4)):
        raise ValueError(f"expected an array (H, W), (H, W, 3) or (H, W, 4), got {shape}. {_remedy_of_shape(shape)}")
    _check_size(levels.shape[1], levels.shape[0], "the array")
    if levels.dtype.itemsize == 2:
        levels = _to_eight_bits(levels, "the array")
    return _to_rgb(Image.fromarray(np.ascontiguousarray(levels)), "the array")


def _remedy_of_levels(levels: NDArray[Any]) -> str:
    if levels.dtype.kind == "f":
        nan = " with NaN in it" if np.isnan(levels).any() else ""
        return (
            f"{nan}. A float array's range cannot be known: if it is 0 to 1, pass "
            "(array * 255).round().astype('uint8'); if it is 0 to 255, array.round().astype('uint8')."
        )
    if levels.dtype.kind == "b":
        return ". If it is a mask, pass array.astype('uint8') * 255."
    if levels.dtype.kind in "iu" and levels.size:
        lowest, highest = int(levels.min()), int(levels.max())
        width = "uint8" if highest <= 255 else "uint16"
        remedy = "Rescale it to uint8 levels 0..255"
        if lowest >= 0 and highest <= 65535:
            remedy = f"Convert it to {width} levels: array.astype('{width}')"
        if levels.dtype == np.int8 and lowest < 0:
            remedy = "If it was uint8 before, which wraps, pass array.view('uint8')"
        return f" with levels {lowest} to {highest}. {remedy}."
    return ". Convert it to uint8 levels 0..255."


def _remedy_of_shape(shape: tuple[int, ...]) -> str:
    if len(shape) == 4:
        first = "This is a batch: pass one image of it, array[0]"
        channels_first = shape[1] in (1, 3, 4) and shape[3] not in (1, 3, 4)
        return first + (".transpose(1, 2, 0)." if channels_first else ".")
    if len(shape) == 3 and shape[0] in (1, 3, 4):
        return "The channels come first: pass array.transpose(1, 2, 0)."
    return "If it is grey with alpha, pass array[:, :, 0]." if shape[2:] == (2,) else "Pass one picture."
