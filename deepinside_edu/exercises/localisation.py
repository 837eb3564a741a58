"""Checks for lesson 3: the IoU of two boxes, and the box around the largest piece of a mask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .answer import Answer, Stop, numbers
from .exercise import FORMS, Exercise, Probe
from .verdict import Verdict

Box = tuple[int, int, int, int]
Labels = NDArray[np.int64]
Piece = NDArray[np.bool_]


def check_iou(function: Callable[[Box, Box], Any]) -> Verdict:
    """Check intersection over union of two boxes (left, top, right, bottom), right and bottom exclusive.

    Args:
        function: from two boxes to a number, 0 (apart) to 1 (the same).

    Returns:
        A `Verdict` that names the mistake.
    """
    return _iou_exercise().check(function)


def check_object_box(function: Callable[[Piece], Any]) -> Verdict:
    """Check the box around the largest connected piece of a mask; pixels that touch at a corner are connected.

    Args:
        function: from a boolean mask `(H, W)` to (left, top, right, bottom), right and bottom exclusive.

    Returns:
        A `Verdict` that names the mistake.
    """
    return _box_exercise().check(function)


@cache
def _iou_exercise() -> Exercise:
    pairs: list[tuple[Box, Box]] = [
        ((0, 0, 4, 4), (2, 1, 6, 4)),  # overlapping
        ((1, 2, 9, 5), (3, 3, 5, 4)),  # the second within the first
        ((2, 3, 7, 5), (2, 3, 7, 5)),  # the same
        ((0, 0, 3, 4), (5, 1, 9, 3)),  # apart, side by side
        ((0, 0, 4, 3), (1, 5, 3, 9)),  # apart, one above the other
        ((4, 4, 6, 7), (3, 2, 10, 8)),  # the first within the second
        ((6, 5, 9, 11), (1, 0, 3, 2)),  # apart across both axes: two negative lengths have a positive product
        ((0, 0, 3, 3), (3, 0, 5, 3)),  # touching: they share an edge and no pixel
        ((2, 1, 8, 9), (0, 3, 5, 7)),  # overlapping, the second farther left
        ((0, 4, 6, 9), (1, 1, 9, 6)),  # overlapping, the second higher
        ((8, 9, 15, 16), (9, 6, 14, 15)),  # overlapping, far from the corner
        ((0, 0, 1, 1), (0, 0, 10, 10)),  # a pixel in a large box
        ((7, 3, 11, 12), (4, 6, 15, 10)),  # a cross
        ((1, 1, 5, 5), (1, 1, 5, 3)),  # one half
        ((0, 0, 6, 5), (1, 0, 6, 5)),  # more than half
        ((0, 0, 3, 3), (6, 6, 9, 9)),  # apart, and the product of the lengths is their area
    ]
    return Exercise(
        probes=[Probe(pair, np.array(_iou_by_counting(*pair)), f"the boxes {pair[0]} and {pair[1]}") for pair in pairs],
        praise="Whether boxes overlap, touch, are equal, nested or apart, you agree with counting pixel by pixel.",
        expected="one number from 0 to 1",
        knobs=(_READ, _GROW, _CLIP, _DIVIDE, _END),
        mistaken=_mistaken_iou,
        forms={said: FORMS[said] for said in FORMS if "columns" not in said and "rows" not in said},
        remark=lambda probe, at: "We counted it pixel by pixel; draw the two boxes on squared paper.",
        hints={"division by zero": "The union of two boxes is never 0: look at what you divide by."},
        most=3,
    )


def _iou_by_counting(one: Box, other: Box) -> float:
    """The oracle: each box is the set of its pixels."""
    pixels = [{(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])} for b in (one, other)]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


_READ: dict[str, Callable[[Box], Box]] = {
    "": lambda box: box,
    "You read a box as (left, right, top, bottom), so x and y are mixed up. It is (left, top, right, bottom): two "
    "corners.": lambda box: (box[0], box[2], box[1], box[3]),
    "You read a box as (left, top, width, height). Its last two numbers are the corner (right, bottom).": (
        lambda box: (box[0], box[1], box[0] + box[2], box[1] + box[3])
    ),
}
_GROW: dict[str, tuple[int, int]] = {
    "": (0, 0),
    "You added 1 to each width and height. Right and bottom are exclusive here: the width is right − left, without "
    "the 1.": (1, 1),
    "You subtracted 1 from each width and height. Right and bottom are exclusive here: the width is right − left.": (
        (-1, -1)
    ),
    "You added 1 to the lengths of the overlap alone. Right and bottom are exclusive: right − left, without the 1.": (
        (1, 0)
    ),
    "You added 1 to the sides of the boxes alone. Right and bottom are exclusive: right − left, without the 1.": (0, 1),
}
_ONE_CLIP = "You clipped only one of the two lengths of the overlap. Take max(0, …) of both."
_CLIP: dict[str, Callable[[float, float], float]] = {
    "": lambda w, h: max(0, w) * max(0, h),
    "Boxes that lie apart give an overlap that is not 0: a negative width or height was not clipped. Take max(0, …) of "
    "each.": lambda w, h: w * h,
    "You clipped the product. For boxes apart in x and in y both lengths are negative, and their product is positive: "
    "take max(0, …) of each length before you multiply.": lambda w, h: max(0, w * h),
    _ONE_CLIP: lambda w, h: max(0, w) * h,
    f"{_ONE_CLIP} ": lambda w, h: w * max(0, h),
    "You took abs of a negative length, so boxes that lie apart seem to overlap. Take max(0, …) of each length.": (
        lambda w, h: abs(w) * abs(h)
    ),
    "You added the two lengths of the overlap: its area is their product.": lambda w, h: max(0, w) + max(0, h),
    "You return 0 only if width and height of the overlap are both negative: one of them is enough.": (
        lambda w, h: 0 if w < 0 and h < 0 else w * h
    ),
    "Your overlap always has at least one pixel: take max(0, …) of each length, not max(1, …).": (
        lambda w, h: max(1, w) * max(1, h)
    ),
}
_LARGER = "Your fraction is upside down: divide the intersection by the union."
_DIVIDE: dict[str, Callable[[float, float, float, float], float]] = {
    "": lambda s, a, b, around: s / (a + b - s),
    "You divided by the sum of the two areas, which counts the overlap twice. The union is A + B − overlap.": (
        lambda s, a, b, around: s / (a + b)
    ),
    "This is Dice, the overlap divided by the mean of the two areas. IoU divides the overlap by the "
    "union, A + B − overlap.": (
        lambda s, a, b, around: 2 * s / (a + b)
    ),
    "You added the overlap to the two areas. The union is A + B − overlap.": lambda s, a, b, around: s / (a + b + s),
    "You subtracted the overlap twice. The union is A + B − overlap.": lambda s, a, b, around: s / (a + b - 2 * s),
    "You divided by one box's area, so a box inside a larger one would score 1. Divide by the area of the union.": (
        lambda s, a, b, around: s / a
    ),
    "You divided by one box's area, so a large box around the object would score 1. Divide by the area of the "
    "union.": lambda s, a, b, around: s / b,
    "You divided by the smaller area. Divide by the area of the union.": lambda s, a, b, around: s / min(a, b),
    "You divided by the larger area. Divide by the area of the union.": lambda s, a, b, around: s / max(a, b),
    "You divided by the product of the two areas. The union is A + B − overlap.": lambda s, a, b, around: s / (a * b),
    "You divided by the root of the product of the areas. The union is A + B − overlap.": (
        lambda s, a, b, around: s / (a * b) ** 0.5
    ),
    "You divided by the area of the smallest box around both, which has pixels of neither. The union is A + B − "
    "overlap.": lambda s, a, b, around: s / around,
    _LARGER: lambda s, a, b, around: (a + b - s) / s if s else np.inf,
    _LARGER + " ": lambda s, a, b, around: (a + b - s) / s if s else 0,
    "This is only the overlap in pixels. Divide it by the area of the union.": lambda s, a, b, around: s,
    "This is only the area of the union. Divide the overlap by it.": lambda s, a, b, around: a + b - s,
    "This is the ratio of the two areas, which does not depend on where the boxes lie.": (
        lambda s, a, b, around: min(a, b) / max(a, b)
    ),
}
_END: dict[str, Callable[[float], float]] = {
    "": lambda share: share,
    "This is one minus IoU, a distance. Return IoU itself.": lambda share: 1 - share,
    "This is a percentage. Return a share from 0 to 1.": lambda share: 100 * share,
    "You return whether IoU is at least 0.5. Return IoU itself, a share.": lambda share: share >= 0.5,
    "You return whether IoU is above 0.5. Return IoU itself, a share.": lambda share: share > 0.5,
    "You return whether the boxes overlap. Return by how much, as a share.": lambda share: share > 0,
    "You return whether the boxes are the same. Return how much they share.": lambda share: share == 1,
}


def _mistaken_iou(
    probe: Probe,
    read: Callable[[Box], Box],
    grow: tuple[int, int],
    clip: Callable[[float, float], float],
    divide: Callable[[float, float, float, float], float],
    end: Callable[[float], float],
) -> float:
    (x0, y0, x1, y1), (u0, v0, u1, v1) = map(read, probe.given)
    shared = clip(min(x1, u1) - max(x0, u0) + grow[0], min(y1, v1) - max(y0, v0) + grow[0])
    areas = (x1 - x0 + grow[1]) * (y1 - y0 + grow[1]), (u1 - u0 + grow[1]) * (v1 - v0 + grow[1])
    around = (max(x1, u1) - min(x0, u0)) * (max(y1, v1) - min(y0, v0))
    return float(end(divide(shared, *areas, around)))


_MASKS = (
    # A smaller piece comes first, the largest has a pixel attached by a corner, and rows outnumber columns.
    """
    .......
    .##....
    .##....
    .......
    ...#...
    ....##.
    ....##.
    ....##.
    .......
    """,
    # The largest is the first, the picture is wide, and the box touches its edges.
    """
    ####......
    ###....#..
    ##.....##.
    """,
    # The largest lies between two others, one cell wide, and the object fills more than half of the picture.
    """
    #..####
    ..#####
    #######
    .######
    ......#
    #......
    """,
    # The object has a hole, a speck comes first and a larger one last.
    """
    #.........
    ..######..
    ..#....#..
    ..######..
    .........#
    ........##
    """,
    # The block has the most pixels; the angle has the larger box, is wider and taller, and has the longer outline.
    """
    ##########..
    #...........
    #...........
    #....######.
    #....######.
    #....######.
    #...........
    #...........
    """,
    # The diagonal has the larger box, and the line is longer.
    """
    #############
    .............
    #......####..
    .#.....####..
    ..#....####..
    ...#...####..
    ....#........
    """,
    # The diagonal has the longer sides, and the line has more pixels on its rim.
    """
    #############
    .............
    #........####
    .#.......####
    ..#......####
    ...#.....####
    ....#........
    .....#.......
    ......#......
    .......#.....
    ........#....
    """,
    # The ring encloses more pixels than the block has.
    """
    #######.......
    #.....#.#####.
    #.....#.#####.
    #.....#.#####.
    #.....#.#####.
    #######.#####.
    """,
)


def _masks() -> Iterator[Piece]:
    """Masks drawn by hand, and random masks with one piece that is larger than the others."""
    for drawing in _MASKS:
        yield np.array([[c == "#" for c in line.strip()] for line in drawing.strip().splitlines()])
    random = np.random.default_rng(1)
    found = 0
    while found < 8:
        mask = random.random((8, 11)) < 0.22
        sizes = sorted(_size_of_each(_pieces(mask))[1:])
        if len(sizes) > 2 and sizes[-1] > sizes[-2]:
            found += 1
            yield mask


@cache
def _box_exercise() -> Exercise:
    probes = [
        Probe((mask,), np.array(_corners(_largest(mask)), np.float64), f"this mask of shape {mask.shape}")
        for mask in _masks()
    ]
    return Exercise(
        probes=probes,
        praise="You kept the largest piece alone, put x before y, and made right and bottom exclusive.",
        expected="a box, four whole numbers (left, top, right, bottom)",
        knobs=(_CHOOSE, _FRAME),
        mistaken=lambda probe, choose, frame: frame(choose(probe.given[0])),
        forms={},
        remark=lambda probe, at: f"The right box is {tuple(int(n) for n in probe.right)}.\n{_drawing(probe.given[0])}",
        about_shape=_about_shape_of_box,
        hints={
            "zero-size array": "One of the masks has no pixel with the label that you keep: which label is it?",
            "empty": "One of the masks has no pixel with the label that you keep: which label is it?",
        },
        read=_read_box,
    )


def _drawing(mask: Piece) -> str:
    return "\n".join("".join(".#"[int(v)] for v in row) for row in mask)


def _read_box(answer: Any) -> Answer | Stop:
    parts = answer if isinstance(answer, tuple | list) else [answer]
    if any(isinstance(part, slice) for part in parts):
        return Stop("odd", "Your function returned slices, rows first. Return their ends, (left, top, right, bottom).")
    read = numbers(answer)
    if isinstance(read, Answer) and read.values.shape == (4,) and not (read.values == read.values.round()).all():
        came = tuple(read.values.tolist())
        return Stop("odd", f"Your function returned {came}; a box of pixels has four whole numbers.")
    return read


def _about_shape_of_box(got: tuple[int, ...], probe: Probe) -> str:
    if got == probe.given[0].shape:
        return "Is that the mask, or its labels? Return the box around its largest piece."
    return "Return four numbers, (left, top, right, bottom), without inner brackets." if got == (2, 2) else ""


def _pieces(mask: ArrayLike, corners: bool = True) -> Labels:
    """Number the connected pieces 1, 2, … in reading order by flooding each; 0 is background."""
    m = np.asarray(mask)
    labels = np.zeros(m.shape, np.int64)
    for y, x in zip(*np.nonzero(m), strict=True):
        if labels[y, x]:
            continue
        number, waiting = labels.max() + 1, [(int(y), int(x))]
        while waiting:
            i, j = waiting.pop()
            if not (0 <= i < m.shape[0] and 0 <= j < m.shape[1]) or not m[i, j] or labels[i, j]:
                continue
            labels[i, j] = number
            waiting += [
                (i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a or b) and (corners or not (a and b))
            ]
    return labels


def _size_of_each(labels: Labels) -> list[int]:
    return [int((labels == n).sum()) for n in range(int(labels.max()) + 1)]


def _largest(mask: ArrayLike, corners: bool = True, size: Callable[[Piece], float] = np.sum) -> Piece:
    labels = _pieces(mask, corners)
    return max((labels == n for n in range(1, int(labels.max()) + 1)), key=size)


def _corners(piece: ArrayLike) -> Box:
    """The oracle: look at every pixel of the piece."""
    places = [(y, x) for (y, x), inside in np.ndenumerate(np.asarray(piece)) if inside]
    ys, xs = [y for y, _ in places], [x for _, x in places]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def _width_and_height(piece: Piece) -> tuple[int, int]:
    left, top, right, bottom = _corners(piece)
    return right - left, bottom - top


def _by_size_of(what: str) -> str:
    return f"You kept the piece with the {what}, but a thin one may have it. Keep the one with the most pixels."


def _outline(piece: Piece) -> float:
    """How many edges lie between a pixel of the piece and one outside it."""
    padded = np.pad(piece, 1)
    return float((padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum())


def _rim(piece: Piece) -> float:
    """How many pixels of the piece have a neighbour outside it."""
    padded = np.pad(piece, 1)
    inner = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    return float((piece & ~inner).sum())


def _filled(piece: Piece) -> float:
    """How many pixels the piece and its holes have."""
    outside = _pieces(np.pad(~piece, 1, constant_values=True), corners=False)
    return float((outside != outside[0, 0]).sum())


def _density(piece: Piece) -> float:
    width, height = _width_and_height(piece)
    return float(piece.sum()) / (width * height)


def _largest_of_all_labels(mask: ArrayLike) -> Piece:
    labels = _pieces(mask)
    return np.asarray(labels == int(np.argmax(_size_of_each(labels))))


def _one_label_too_low(mask: ArrayLike) -> Piece:
    labels = _pieces(mask)
    return np.asarray(labels == int(np.argmax(_size_of_each(labels)[1:])))


_SPECKS = (
    "This is the box around everything: the largest component is missing, and one stray speck stretches the box. Label "
    "the pieces and keep the one with the most pixels."
)
_CHOOSE: dict[str, Callable[[ArrayLike], Piece]] = {
    "": _largest,
    _SPECKS: lambda mask: np.asarray(mask, bool),
    "You kept the first piece, label 1. Labels follow reading order, not size: count the pixels of each.": (
        lambda mask: _pieces(mask) == 1
    ),
    "You kept the last piece. Labels follow reading order, not size: count the pixels of each.": (
        lambda mask: _pieces(mask) == _pieces(mask).max()
    ),
    "You picked label 0, which is the background, not a piece.": lambda mask: _pieces(mask) == 0,
    "Label 0 is the background, and it won where it is larger than every piece. Set its count to 0 before you take the "
    "largest.": _largest_of_all_labels,
    "You are one label too low: sizes[1:] starts at label 1, so add 1 to its argmax.": _one_label_too_low,
    "You kept the smallest piece. Keep the one with the most pixels.": lambda mask: _largest(
        mask, size=lambda piece: -float(piece.sum())
    ),
    "You kept the second largest piece. Keep the one with the most pixels.": lambda mask: sorted(
        (_pieces(mask) == n for n in range(1, int(_pieces(mask).max()) + 1)), key=np.sum
    )[-2],
    "Pixels that touch only at a corner belong together here: pass np.ones((3, 3)) to ndimage.label.": (
        lambda mask: _largest(mask, corners=False)
    ),
    _by_size_of("largest box"): lambda mask: _largest(
        mask, size=lambda piece: float(np.prod(_width_and_height(piece)))
    ),
    _by_size_of("widest box"): lambda mask: _largest(mask, size=lambda piece: _width_and_height(piece)[0]),
    _by_size_of("tallest box"): lambda mask: _largest(mask, size=lambda piece: _width_and_height(piece)[1]),
    _by_size_of("longest box, width plus height"): lambda mask: _largest(
        mask, size=lambda piece: sum(_width_and_height(piece))
    ),
    _by_size_of("longest side"): lambda mask: _largest(mask, size=lambda piece: max(_width_and_height(piece))),
    _by_size_of("longest outline"): lambda mask: _largest(mask, size=_outline),
    _by_size_of("most pixels on its rim"): lambda mask: _largest(mask, size=_rim),
    "You count the pixels of a hole too. Keep the piece with the most pixels of its own.": lambda mask: _largest(
        mask, size=_filled
    ),
    "You kept the piece that fills its box best. Keep the one with the most pixels.": lambda mask: _largest(
        mask, size=_density
    ),
}


def _transposed(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return top, left, bottom, right


def _moved(left: int = 0, top: int = 0, right: int = 0, bottom: int = 0) -> Callable[[ArrayLike], Box]:
    def frame(piece: ArrayLike) -> Box:
        corners = _corners(piece)
        return corners[0] + left, corners[1] + top, corners[2] + right, corners[3] + bottom

    return frame


def _transposed_inclusive(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return top, left, bottom - 1, right - 1


def _with_size(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return left, top, right - left, bottom - top


def _paired(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return left, right, top, bottom


def _rows_first(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return top, bottom, left, right


_SWAPPED = "The axes x and y are swapped: the mask's first index is y (top, bottom), its second is x (left, right)."
_EXCLUSIVE = (
    "Right and bottom are one too small: they are exclusive, so a box around pixels 3 to 5 ends at 6. Add 1 to the "
    "last row and column."
)
_FRAME: dict[str, Callable[[ArrayLike], Box]] = {
    "": _corners,
    _SWAPPED: _transposed,
    _EXCLUSIVE: _moved(right=-1, bottom=-1),
    f"Two mistakes at once. {_SWAPPED} {_EXCLUSIVE}": _transposed_inclusive,
    "Right and bottom are one too large: add 1 to the piece's last row and column only once.": (
        _moved(right=1, bottom=1)
    ),
    "Only bottom is one too small: it is exclusive, as right is.": _moved(bottom=-1),
    "Only right is one too small: it is exclusive, as bottom is.": _moved(right=-1),
    "Left and top are one too large: the first row and column of the piece belong to the box.": _moved(left=1, top=1),
    "Left and top are one too small: the box begins at the piece's first row and column.": _moved(left=-1, top=-1),
    "The box is one pixel too large on every side.": _moved(-1, -1, 1, 1),
    "All four numbers are one too large.": _moved(1, 1, 1, 1),
    "You returned (left, top, width, height). Return the second corner itself: (left, top, right, bottom).": _with_size,
    "You returned (left, right, top, bottom). The order is (left, top, right, bottom): two corners.": _paired,
    "You returned (top, bottom, left, right). The order is (left, top, right, bottom): two corners.": _rows_first,
    "You returned the second corner first. The order is (left, top, right, bottom).": lambda piece: (
        _corners(piece)[2:] + _corners(piece)[:2]
    ),
}
