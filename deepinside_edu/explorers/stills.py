"""Pictures for a page without a kernel: panels in a row, each with its caption, under one title, in few bytes."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GROUND, GAP = "#222222", "white", 8
DESCRIPTION = "Description"
"""The name in a still picture's `info` of its words, for readers who do not see the picture."""


def panels(*captioned: tuple[Image.Image, str]) -> Image.Image:
    """One row of pictures, all as high as the first, each above its caption."""
    height = captioned[0][0].height
    sized = [(each if each.height == height else each.resize((round(each.width * height / each.height), height)), text)
             for each, text in captioned]  # fmt: skip
    captions = [_lettered(text, each.width) for each, text in sized]
    row = Image.new("RGB", (sum(each.width + GAP for each in captions) - GAP, height + max(c.height for c in captions)))
    row.paste(GROUND, (0, 0, *row.size))
    left = 0
    for (each, _), caption in zip(sized, captions, strict=True):
        row.paste(each, (left, 0))
        row.paste(caption, (left, height))
        left += each.width + GAP
    row.info[DESCRIPTION] = "; ".join(text for _, text in captioned if text)
    return row


def titled(title: str, *rows: Image.Image) -> Image.Image:
    """A title above rows of pictures."""
    width = max((row.width for row in rows), default=500)
    parts = [_lettered(title, width, size=14), *rows]
    page = Image.new("RGB", (width, sum(each.height for each in parts)), GROUND)
    top = 0
    for each in parts:
        page.paste(each, (0, top))
        top += each.height
    page.info[DESCRIPTION] = ". ".join(filter(None, [title, *(row.info.get(DESCRIPTION, "") for row in rows)]))
    return page


def under_each_other(*parts: Image.Image) -> Image.Image:
    """Parts of a page, all as high as the highest, so that a page can separate them again."""
    height = max(each.height for each in parts)
    page = Image.new("RGB", (max(each.width for each in parts), height * len(parts)), GROUND)
    for k, each in enumerate(parts):
        page.paste(each, (0, k * height))
    page.info[DESCRIPTION] = ". ".join(each.info.get(DESCRIPTION, "") for each in parts)
    return page


def drawn(chart: Figure) -> Image.Image:
    """A chart as an RGB picture of 100 pixels per inch."""
    buffer = io.BytesIO()
    chart.savefig(buffer, format="png", dpi=100)
    return Image.open(buffer).convert("RGB")


def saved(picture: Image.Image) -> bytes:
    """A PNG of 256 colours, which keeps a notebook small; dithering prevents steps in a photo and a hue in grey."""
    palette = picture.quantize(256, Image.Quantize.MEDIANCUT)
    buffer = io.BytesIO()
    picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _lettered(text: str, width: int, size: int = 12) -> Image.Image:
    """A text in as many lines as it needs, broken at spaces; a single long word may be cut off."""
    font = _font(size)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    picture = Image.new("RGB", (width, round(1.35 * size * len(lines)) + size // 2), GROUND)
    pen = ImageDraw.Draw(picture)
    for k, line in enumerate(lines):
        pen.text((0, size // 4 + round(1.35 * size * k)), line, INK, font)
    return picture


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of formulae; Pillow's own font lacks them."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
