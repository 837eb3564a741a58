"""Arrays -> pictures: heat map, overlay, seeds, cut-out, box, the paper's Figures 2 and 3, numbers and signs.

This file imports neither torch nor widgets, and only `boxes` of the steps. People with any kind of colour vision can
distinguish its colours: the heat map's lightness rises all the way, and the three seed colours differ in lightness as
well as in hue.

Example:
    >>> M = di.saliency_map(classifier, di.photo("panda"))
    >>> di.figures.heat_map(M).size
    (224, 224)
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from .boxes import Box, check_box

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, CYAN, RED = (0, 40, 200), (90, 235, 235), (225, 55, 45)
"""Figure 3's colours: foreground samples, background samples, unused pixels."""

BLACK, YELLOW = (0, 0, 0), (255, 215, 0)
"""The colours of edges and of detected boxes; boxes that were drawn by hand are blue."""

FRAME, GAP = (150, 150, 150), 8
"""The colour of the line around each of some pictures side by side, and the pixels between two of them."""

HEAT, SIGNED = "inferno", "RdBu"
PEAK = 0.995
"""The quantile of a map that is drawn brightest: one extreme pixel must not darken all the others."""

STRETCHED = 0.995
"""The quantile of the deviations from the mean colour that becomes full contrast."""

LONGEST_SIDE = 480

LONGEST_LABEL, BESIDE = 80, 40
"""At most this many letters of a label are drawn, over a picture and beside a bar, to leave room for these."""

CELL = 0.36
"""The side of a cell with a number in it, in inches."""

NOT_FINITE = "Check the image and the network's weights for NaN."
"""The remedy if a map cannot be drawn."""

CAUSE_COLOURS = (
    ("forward mask 1(X > 0)", "#0072b2"),
    ("backward mask 1(R > 0)", "#e69f00"),
    ("different already above", "#b8b8b8"),
    ("no ReLU right above", "#555555"),
)
"""What separates two reconstructions at a ReLU, and its colour; the colours differ in lightness as well as in hue."""


def heat_map(saliency: ArrayLike, peak: float = PEAK) -> Image.Image:
    """Colour a map: black for 0, bright yellow for its `peak` quantile and all above.

    Args:
        saliency: M, `(H, W)`, finite, at least 0; values below 0 are drawn as 0.
        peak: a quantile, above 0 and at most 1.

    Returns:
        An RGB picture of W×H pixels.

    Raises:
        ValueError: a map of another shape or not finite, or a quantile out of range.
    """
    return Image.fromarray(_heat_table()[_heat_levels(saliency, peak)])


def brightest(values: NDArray[Any], peak: float = PEAK) -> float:
    """Give the value that gets the last colour: the `peak` quantile, or the maximum if that is 0, or 1 if all are 0."""
    return float(np.quantile(values, peak)) or float(values.max()) or 1.0


def signed_picture(values: ArrayLike, side: int | None = None, peak: float = 1.0) -> Image.Image:
    """Draw values of both signs around a middle that stands for 0, such as a reconstruction R.

    Three channels: 127.5 + 127.5 · R / q in each colour, so that 0 is grey; q is the `peak` quantile of |R| over all
    entries, one for the three channels. One channel: red below 0, white, blue above 0, again up to q on both sides.

    Args:
        values: R, `(H, W)`, `(1, H, W)` or `(3, H, W)`, finite.
        side: pixels of the picture's longer side; every entry is then a block of one colour. Without it there is one
            pixel per entry.
        peak: above 0 and at most 1. 1 takes the largest |R|; less lets the extreme entries be clipped, as in
            `heat_map`.

    Returns:
        An RGB picture.

    Raises:
        ValueError: values of another shape or not finite, a side below 1, or a quantile out of range.
    """
    r = np.asarray(values, np.float64)
    if r.ndim == 3 and r.shape[0] == 1:
        r = r[0]
    if not r.size or not (r.ndim == 2 or (r.ndim == 3 and r.shape[0] == 3)):
        raise ValueError(f"expected values (H, W), (1, H, W) or (3, H, W), got {r.shape}. Take one of a batch: r[0].")
    if not 0 < peak <= 1:
        raise ValueError(f"expected a peak quantile above 0 and at most 1, got {peak}.")
    if side is not None and side < 1:
        raise ValueError(f"expected a side of at least 1 pixel, got {side}.")
    if not np.isfinite(r).all():
        raise ValueError(f"the values hold NaN or infinity; expected finite ones. {NOT_FINITE}")
    part = (r / brightest(np.abs(r), peak)).clip(-1, 1)
    if r.ndim == 3:
        levels = (127.5 + 127.5 * part).round().astype(np.uint8).transpose(1, 2, 0)
    else:
        levels = _signed_table()[(127 + 127 * part).round().astype(np.intp)]
    picture = Image.fromarray(np.ascontiguousarray(levels))
    if side is None:
        return picture
    longest = max(picture.size)
    width, height = (max(1, round(length * side / longest)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.NEAREST)


def overlay(photo: Image.Image, saliency: ArrayLike, strength: float = 0.6) -> Image.Image:
    """Lay a heat map over the grey photo: (1 − strength) · photo + strength · heat map.

    Args:
        photo: RGB, of any size.
        saliency: M, `(H, W)`; it is stretched to the photo.
        strength: 0 (photo alone) to 1 (heat map alone).

    Returns:
        An RGB picture of the photo's size.

    Raises:
        ValueError: a strength out of range.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"expected a strength from 0 to 1, got {strength}.")
    heat = heat_map(saliency).resize(photo.size, Image.Resampling.BILINEAR)
    return Image.blend(photo.convert("L").convert("RGB"), heat, strength)


def seed_picture(photo: Image.Image, foreground: ArrayLike, background: ArrayLike) -> Image.Image:
    """Paint the seeds as in the paper's Figure 3: blue foreground, cyan background, red unused, over a faint photo.

    Args:
        photo: RGB, of any size.
        foreground: boolean `(H, W)`.
        background: boolean `(H, W)`.

    Returns:
        An RGB picture of the photo's size.

    Raises:
        ValueError: masks that are not boolean `(H, W)` or not of one shape.
    """
    foreground, background = _check_mask(foreground), _check_mask(background)
    if foreground.shape != background.shape:
        raise ValueError(f"expected two masks of one shape, got {foreground.shape} and {background.shape}.")
    paint = np.empty((*foreground.shape, 3), np.uint8)
    paint[:] = RED
    paint[background] = CYAN
    paint[foreground] = BLUE
    colours = Image.fromarray(paint).resize(photo.size, Image.Resampling.NEAREST)
    return Image.blend(photo.convert("L").convert("RGB"), colours, 0.8)


def cut_out(photo: Image.Image, mask: ArrayLike) -> Image.Image:
    """Keep the photo inside a mask and pale everything outside it.

    Args:
        photo: RGB, of any size.
        mask: boolean `(H, W)`; it is stretched to the photo.

    Returns:
        An RGB picture of the photo's size.

    Raises:
        ValueError: a mask that is not boolean `(H, W)`.
    """
    inside = Image.fromarray(_check_mask(mask).astype(np.uint8) * 255).resize(photo.size, Image.Resampling.NEAREST)
    white = Image.new("RGB", photo.size, "white")
    return Image.composite(photo.convert("RGB"), Image.blend(photo.convert("RGB"), white, 0.85), inside)


def draw_boxes(photo: Image.Image, boxes: Sequence[Box], colour: tuple[int, int, int] = YELLOW) -> Image.Image:
    """Draw boxes on a copy of the photo; each line has black edges, so that it shows on any background.

    Args:
        photo: RGB.
        boxes: (left, top, right, bottom) in the photo's pixels, right and bottom exclusive.
        colour: of the lines.

    Returns:
        A picture of the photo's size.

    Raises:
        ValueError: a box without pixels.
    """
    picture = photo.convert("RGB")
    pen = ImageDraw.Draw(picture)
    thickness = max(2, round(max(photo.size) / 160))
    for left, top, right, bottom in map(check_box, boxes):
        if min(right - left, bottom - top) < 3:  # no room for a line and its edges
            pen.rectangle((left, top, right - 1, bottom - 1), fill=colour)
            continue
        room = (min(right - left, bottom - top) + 1) // 2
        for ring in range(min(thickness + 2, room)):
            paint = BLACK if ring in (0, thickness + 1) else colour
            pen.rectangle((left + ring, top + ring, right - 1 - ring, bottom - 1 - ring), outline=paint)
    return picture


def side_by_side(
    pictures: Sequence[Image.Image], captions: Sequence[str] = (), columns: int | None = None, height: int | None = None
) -> Image.Image:
    """Lay pictures beside one another, each in a thin frame and with a caption under it.

    The result may have any number of colours, so a notebook stores photos as JPEG: small, and without the blotches of
    a palette, which look like a result.

    Args:
        pictures: of any size and mode.
        captions: a line under each, or none.
        columns: the number of pictures in a row; without it there is one row.
        height: of each picture in pixels; a smaller one is enlarged in blocks, so that its pixels can be counted.
            Without it each is shown as it is.

    Returns:
        An RGB picture on a white background.

    Raises:
        ValueError: no picture, another number of captions than of pictures, or columns or a height below 1.
    """
    if not pictures or (captions and len(captions) != len(pictures)):
        raise ValueError(f"expected pictures and a caption for each or none, got {len(pictures)} and {len(captions)}.")
    if (columns is not None and columns < 1) or (height is not None and height < 1):
        raise ValueError(f"expected columns and height of 1 or more, got {columns} and {height}.")
    columns = columns or len(pictures)
    captions = captions or [""] * len(pictures)
    tiles = [_tile(picture.convert("RGB"), height, said) for picture, said in zip(pictures, captions, strict=True)]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    width = max(sum(tile.width + GAP for tile in row) for row in rows) - GAP
    sheet = Image.new("RGB", (width, sum(max(tile.height for tile in row) + GAP for row in rows) - GAP), "white")
    top = 0
    for row in rows:
        left = 0
        for tile in row:
            sheet.paste(tile, (left, top))
            left += tile.width + GAP
        top += max(tile.height for tile in row) + GAP
    return sheet


def _tile(picture: Image.Image, height: int | None, caption: str) -> Image.Image:
    """Draw a picture at this height, in its frame and above its caption."""
    if height is not None and height != picture.height:
        blocks = height > picture.height
        size = max(1, round(picture.width * height / picture.height)), height
        picture = picture.resize(size, Image.Resampling.NEAREST if blocks else Image.Resampling.BICUBIC)
    framed = ImageOps.expand(picture, 1, FRAME)
    if not caption:
        return framed
    font = ImageFont.load_default(12)
    tile = Image.new("RGB", (max(framed.width, math.ceil(font.getlength(caption)) + 2), framed.height + 18), "white")
    tile.paste(framed)
    ImageDraw.Draw(tile).text((1, framed.height + 2), caption, fill=BLACK, font=font)
    return tile


def figure_2(photos: Sequence[Image.Image], saliencies: Sequence[ArrayLike], labels: Sequence[str] = ()) -> Figure:
    """Draw the paper's Figure 2: each photo with its map beneath.

    Args:
        photos: RGB, of any size.
        saliencies: a map `(H, W)` for each; it is stretched to its photo.
        labels: the class of each, or none.

    Returns:
        A matplotlib figure that shows itself in a notebook; `.savefig("figure.pdf")` for a publication.

    Raises:
        ValueError: no photo, or another number of maps or of labels than of photos.
    """
    if not photos or len(photos) != len(saliencies):
        raise ValueError(f"expected at least one photo and a map for each, got {len(photos)} and {len(saliencies)}.")
    if labels and len(labels) != len(photos):
        raise ValueError(f"expected a label for each of the {len(photos)} photos or none, got {len(labels)}.")
    figure, axes = _row_of_axes(2, len(photos), [_aspect(photo) for photo in photos])
    for column, (photo, saliency) in enumerate(zip(photos, saliencies, strict=True)):
        _show(axes[0][column], _shrink(photo), labels[column] if labels else "")
        _show(axes[1][column], heat_map(saliency).resize(_shrink(photo).size, Image.Resampling.BILINEAR), "")
    return figure


def figure_3(
    photo: Image.Image,
    saliency: ArrayLike,
    foreground: ArrayLike,
    background: ArrayLike,
    mask: ArrayLike,
    box: Box | None = None,
) -> Figure:
    """Draw the paper's Figure 3: photo, map, seeds in blue, cyan and red, and the object cut out.

    Args:
        photo: RGB, of any size.
        saliency: M, `(H, W)`.
        foreground: boolean `(H, W)`.
        background: boolean `(H, W)`.
        mask: boolean `(H, W)`.
        box: in the photo's pixels, drawn on the cut-out; or none.

    Returns:
        A matplotlib figure that shows itself in a notebook; `.savefig("figure.pdf")` for a publication.
    """
    from matplotlib.patches import Patch

    figure, ((first, second, third, fourth),) = _row_of_axes(1, 4, [_aspect(photo)] * 4)
    found = cut_out(photo, mask)
    _show(first, _shrink(photo), "photo")
    _show(second, heat_map(saliency).resize(_shrink(photo).size, Image.Resampling.BILINEAR), "saliency map")
    _show(third, seed_picture(_shrink(photo), foreground, background), "seeds")
    _show(fourth, _shrink(draw_boxes(found, [box]) if box else found), "object and box" if box else "object")
    keys = [(BLUE, "foreground"), (CYAN, "background"), (RED, "unused")]
    patches = [Patch(color=(r / 255, g / 255, b / 255), label=text) for (r, g, b), text in keys]
    third.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, fontsize=7, frameon=False,
                 handlelength=1, columnspacing=0.8, handletextpad=0.4)  # fmt: skip
    return figure


def stretch_contrast(picture: Image.Image, like: Image.Image | None = None) -> Image.Image:
    """Make faint structure visible: p' = 128 + 127 (p − m) / q, clipped to 0..255.

    m is the mean colour of the picture and q the 0.995 quantile of |p − m| over all its pixels and channels. One q for
    the three channels keeps the hues of the differences; the mean colour becomes grey. The picture is only for looking
    at, because the network sees another image in it.

    Args:
        picture: RGB, of any size.
        like: take m and q of this picture, so that several can be compared; without it, the picture's own.

    Returns:
        An RGB picture of the same size. A picture of a single colour becomes grey.
    """
    levels = np.asarray(picture.convert("RGB"), np.float32)
    measured = levels if like is None else np.asarray(like.convert("RGB"), np.float32)
    mean = measured.mean((0, 1))
    reach = float(np.quantile(np.abs(measured - mean), STRETCHED)) or 127.0
    return Image.fromarray((128 + 127 / reach * (levels - mean)).round().clip(0, 255).astype(np.uint8))


def filmstrip(pictures: Sequence[Image.Image], labels: Sequence[str] = (), count: int = 6) -> Figure:
    """Lay some of many pictures side by side: the first, the last, and others at even distances between them.

    Args:
        pictures: of an ascent, in order; RGB, of any size.
        labels: a line over each of `pictures`, or none.
        count: how many are shown, at most.

    Returns:
        A matplotlib figure that shows itself in a notebook.

    Raises:
        ValueError: no picture, a count below 1, or another number of labels than of pictures.
    """
    if not pictures or count < 1:
        raise ValueError(f"expected at least one picture and a count of 1 or more, got {len(pictures)} and {count}.")
    if labels and len(labels) != len(pictures):
        raise ValueError(f"expected a label for each of the {len(pictures)} pictures or none, got {len(labels)}.")
    chosen = _choose_evenly(len(pictures), count)
    figure, (row,) = _row_of_axes(1, len(chosen), [_aspect(pictures[i]) for i in chosen])
    for axes, i in zip(row, chosen, strict=True):
        _show(axes, _shrink(pictures[i]), labels[i] if labels else "")
    return figure


def save_film(
    pictures: Sequence[Image.Image],
    file: str | os.PathLike[str] | BinaryIO,
    seconds: float = 4.0,
    most: int = 60,
    kind: str = "",
) -> None:
    """Save pictures as one that moves, over and over: an animated GIF or WebP.

    A GIF is shown everywhere, but has 256 colours per picture; a WebP is smaller and has all of them.

    Args:
        pictures: in order, of one size.
        file: a path that ends in .gif or .webp, or a binary file object.
        seconds: from the first picture to the last, which stays one second longer. A browser shows each picture for
            20 ms at least.
        most: the largest number of pictures in the film. Of more, this many at even distances are taken, among them
            the first and the last.
        kind: "gif" or "webp", for a file object; a path says it by its ending.

    Raises:
        ValueError: no picture, pictures of several sizes, another kind of file, or a time that is not above 0.
    """
    kind = kind or (Path(file).suffix[1:] if isinstance(file, str | os.PathLike) else "")
    if kind.lower() not in ("gif", "webp"):
        raise ValueError(f"expected a file that ends in .gif or .webp, or one of them as `kind`, got {kind!r}.")
    if not pictures or len({picture.size for picture in pictures}) != 1:
        sizes = sorted({picture.size for picture in pictures})
        raise ValueError(f"expected pictures of one size, got {sizes or 'none'}. Resize them first.")
    if not 0 < seconds < math.inf or most < 1:
        raise ValueError(f"expected a time above 0 seconds and at least 1 picture at most, got {seconds} and {most}.")
    first, *others = [pictures[i].convert("RGB") for i in _choose_evenly(len(pictures), most)]
    each = max(20, round(1000 * seconds / (len(others) + 1)))
    # Pillow drops a picture equal to the one before and adds up their times.
    options: dict[str, Any] = {"quality": 85, "method": 2} if kind.lower() == "webp" else {"optimize": False}
    times = [each] * len(others) + [each + 1000]
    first.save(file, kind, save_all=True, append_images=others, duration=times, loop=0, **options)


def score_bars(labels: Sequence[str], scores: Sequence[float], title: str = "score $S_c$") -> Figure:
    """Draw class scores as bars, the first on top, each with its value.

    Args:
        labels: the names of the classes.
        scores: a number for each.
        title: of the axis; text between two $ is drawn as mathematics.

    Returns:
        A matplotlib figure that shows itself in a notebook.

    Raises:
        ValueError: another number of scores than of labels.
    """
    if len(labels) != len(scores):
        raise ValueError(f"expected a score for each of the {len(labels)} labels, got {len(scores)}.")
    figure = new_figure(5.5, 0.4 + 0.3 * len(labels))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(labels)), list(scores), color="#2a6f97")
    axes.bar_label(bars, [f"{score:.3g}" for score in scores], padding=3, fontsize=8)
    axes.set_yticks(range(len(labels)), [plain(label, BESIDE) for label in labels], parse_math=False)
    axes.invert_yaxis()
    axes.set_xlabel(plain(title, LONGEST_LABEL - 1), parse_math=_is_mathematics(title))
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def number_grids(
    grids: Sequence[ArrayLike], titles: Sequence[str] = (), marks: Sequence[ArrayLike | None] = ()
) -> Figure:
    """Draw small grids with their numbers in them: blue above 0, red below, white at 0, on one scale for all.

    Args:
        grids: each `(H, W)`, finite, of numbers that fit a cell: three figures of each are shown.
        titles: a line over each, or none.
        marks: one boolean mask `(H, W)` per grid, of the cells to frame, or None for a grid; or nothing at all.

    Returns:
        A matplotlib figure that shows itself in a notebook.

    Raises:
        ValueError: no grid, one that is not `(H, W)` or not finite, another number of titles or of marks than of
            grids, a mark of another shape than its grid.
    """
    from matplotlib.patches import Rectangle

    values = [np.asarray(grid, np.float64) for grid in grids]
    if not values or any(grid.ndim != 2 or not grid.size or not np.isfinite(grid).all() for grid in values):
        raise ValueError(f"expected at least one finite grid (H, W), got {[grid.shape for grid in values] or 'none'}.")
    for what, given in (("title", titles), ("mark", marks)):
        if len(given) not in (0, len(values)):
            raise ValueError(f"expected a {what} for each of the {len(values)} grids or none, got {len(given)}.")
    frames = [None if mark is None else _check_mask(mark) for mark in marks or [None] * len(values)]
    for grid, frame in zip(values, frames, strict=True):
        if frame is not None and frame.shape != grid.shape:
            raise ValueError(f"expected a mark of the grid's shape {grid.shape}, got {frame.shape}.")
    most = max(float(np.abs(grid).max()) for grid in values) or 1.0
    widths = [max(grid.shape[1], 2) for grid in values]
    figure = new_figure(CELL * sum(widths) + 0.35 * len(widths), CELL * max(max(g.shape[0] for g in values), 2) + 0.4)
    (row,) = figure.subplots(1, len(values), squeeze=False, width_ratios=widths)
    for i, (axes, grid, frame) in enumerate(zip(row, values, frames, strict=True)):
        # The ends of the scale are too dark for black digits.
        axes.imshow(_signed_table()[(127 + 64 * grid / most).round().astype(np.intp)])
        for (y, x), value in np.ndenumerate(grid):
            axes.text(x, y, f"{value:.3g}".replace("-", "−"), ha="center", va="center", fontsize=9)
            if frame is not None and frame[y, x]:
                axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, fill=False, lw=2.2, clip_on=False))
        axes.set_xticks(np.arange(grid.shape[1] + 1) - 0.5, [])
        axes.set_yticks(np.arange(grid.shape[0] + 1) - 0.5, [])
        axes.grid(color="0.7", lw=0.6)
        axes.tick_params(length=0)
        axes.set_title(plain(titles[i]) if titles else "", fontsize=10, parse_math=False)
    return figure


def layer_chart(
    layers: Sequence[str], distances: Sequence[tuple[float, float, float]], causes: Sequence[Sequence[float] | None]
) -> Figure:
    """Draw a table of layers: how far apart two reconstructions are at each, and just below a ReLU what separated them.

    Args:
        layers: their names, the first on top.
        distances: for each the cosine, the relative L2 distance, and the share of entries that differ, 0 to 1.
        causes: for each the shares of entries separated by the forward mask, by the backward mask, and different
            already above; or None if there is no ReLU right above, and the whole share is drawn as one.

    Returns:
        A matplotlib figure that shows itself in a notebook.

    Raises:
        ValueError: no layer, or another number of distances or of causes than of layers.
    """
    if not layers or len(layers) != len(distances) or len(layers) != len(causes):
        raise ValueError(
            f"expected at least one layer, and distances and causes for each, got {len(layers)}, {len(distances)} and "
            f"{len(causes)}."
        )
    places = range(len(layers))
    figure = new_figure(9, 1 + 0.145 * len(layers))
    panels = figure.subplots(1, 3, sharey=True, width_ratios=(2, 2, 3))
    titles = ("cosine", "relative L2", "share of entries that differ")
    for axes, title, values in zip(panels, titles, zip(*distances, strict=True), strict=True):
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7, length=0)
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.set_xticks([])
        shown = [f"{value:.2f}" if value < 9.995 else f"{value:.3g}" for value in values]
        if title == "share of entries that differ":
            stacks = [(0.0, 0.0, 0.0, share) if parts is None else (*parts, 0.0)
                      for share, parts in zip(values, causes, strict=True)]  # fmt: skip
            left = np.zeros(len(layers))
            for parts, (name, paint) in zip(zip(*stacks, strict=True), CAUSE_COLOURS, strict=True):
                axes.barh(places, parts, left=left, color=paint, label=name, height=0.8)
                left += parts
            bars = axes.barh(places, values, color="none")
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, fontsize=7, frameon=False)
        else:
            # An infinite distance (from a reconstruction that is 0 everywhere) has only its number.
            bars = axes.barh(places, [value if math.isfinite(value) else 0 for value in values], color="#8a8a8a")
        axes.bar_label(bars, shown, padding=2, fontsize=6.5)
        axes.margins(x=0.2, y=0.005)
    panels[0].set_yticks(places, [plain(layer, BESIDE) for layer in layers], parse_math=False)
    panels[0].invert_yaxis()
    return figure


def plain(label: str, most: int = LONGEST_LABEL) -> str:
    """Make a label that can be drawn: cut it short, and replace what is not a letter or a sign.

    Args:
        label: any text; a file's name may contain halves of letters.
        most: the largest number of letters; with fewer than `LONGEST_LABEL` the label is one line.

    Returns:
        The text.
    """
    text = label if len(label) <= most else label[: most - 1] + "…"
    text = text.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or (c == "\n" and most == LONGEST_LABEL) else " " for c in text)


def _is_mathematics(title: str) -> bool:
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(plain(title))
    except ValueError:  # a $ that means dollars
        return False
    return True


def _choose_evenly(count: int, most: int) -> list[int]:
    """Choose at most `most` of the numbers 0 to count − 1 at even distances, among them the first and the last."""
    if most == 1:
        return [count - 1]
    return [round(i) for i in np.linspace(0, count - 1, min(most, count))]


def new_figure(width: float, height: float) -> Figure:
    """Make a figure that draws itself, outside pyplot's global list, which a notebook would show a second time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=110)
            return buffer.getvalue()

    figure = ShownFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _row_of_axes(rows: int, columns: int, aspects: Sequence[float]) -> tuple[Figure, NDArray[Any]]:
    """Make a grid whose columns are as wide as their pictures need, 10 inches in all at most."""
    height = min(2.2, 9.6 / sum(aspects))
    figure = new_figure(height * sum(aspects) + 0.1 * columns, rows * height + 0.5)
    return figure, figure.subplots(rows, columns, squeeze=False, width_ratios=aspects)


def _show(axes: Axes, picture: Image.Image, title: str) -> None:
    axes.imshow(picture)
    axes.set_title(plain(title), fontsize=9, parse_math=False)
    axes.axis("off")


def _shrink(photo: Image.Image) -> Image.Image:
    small = photo.convert("RGB")
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return small


def _aspect(photo: Image.Image) -> float:
    """Give width over height for the layout, limited so that even a strip's column has some room."""
    return min(max(photo.width / photo.height, 0.25), 8.0)


def _check_mask(mask: ArrayLike) -> NDArray[np.bool_]:
    m = np.asarray(mask)
    if m.dtype != bool or m.ndim != 2:
        raise ValueError(f"expected a boolean mask (H, W), got {m.dtype} {m.shape}. Compare with a threshold first.")
    return m


def _heat_levels(saliency: ArrayLike, peak: float) -> NDArray[np.uint8]:
    m = np.asarray(saliency, np.float32)
    if m.ndim != 2 or not m.size:
        raise ValueError(f"expected a map (H, W), got {m.shape}. Take one of a batch of maps: maps[0].")
    if not 0 < peak <= 1:
        raise ValueError(f"expected a peak quantile above 0 and at most 1, got {peak}.")
    if not np.isfinite(m).all():
        raise ValueError(f"the map holds NaN or infinite values; expected finite ones. {NOT_FINITE}")
    m = m.clip(min=0)
    return (m / brightest(m, peak) * 255).clip(max=255).astype(np.uint8)


@cache
def _heat_table() -> NDArray[np.uint8]:
    from matplotlib import colormaps

    return (colormaps[HEAT](np.arange(256))[:, :3] * 255).round().astype(np.uint8)


@cache
def _signed_table() -> NDArray[np.uint8]:
    """List 255 colours, so that the middle one is exactly that of 0."""
    from matplotlib import colormaps

    return (colormaps[SIGNED](np.linspace(0, 1, 255))[:, :3] * 255).round().astype(np.uint8)
