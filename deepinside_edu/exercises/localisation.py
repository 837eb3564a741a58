"""Checks for lesson 3: the IoU of two boxes, and the box around the largest piece of a mask."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .verdict import Verdict, ask

Box = tuple[int, int, int, int]
Labels = NDArray[np.int64]


def check_iou(function: Callable[[Box, Box], Any]) -> Verdict:
    """Check intersection over union of two boxes (left, top, right, bottom), right and bottom exclusive.

    Args:
        function: from two boxes to a number, 0 (apart) to 1 (the same).

    Returns:
        A `Verdict` that names the mistake.
    """
    pairs: list[tuple[Box, Box]] = [
        ((0, 0, 4, 4), (2, 1, 6, 4)),  # overlapping
        ((1, 2, 9, 5), (3, 3, 5, 4)),  # the second within the first
        ((2, 3, 7, 5), (2, 3, 7, 5)),  # the same
        ((0, 0, 3, 4), (5, 1, 9, 3)),  # apart, side by side
        ((0, 0, 4, 3), (1, 5, 3, 9)),  # apart, one above the other
        ((4, 4, 6, 7), (3, 2, 10, 8)),  # the first within the second
        ((6, 5, 9, 11), (1, 0, 3, 2)),  # apart across both axes: two negative lengths have a positive product
        ((0, 0, 3, 3), (3, 0, 5, 3)),  # touching: they share an edge and no pixel
    ]
    answers = []
    for one, other in pairs:
        answer = ask(function, one, other)
        if isinstance(answer, Verdict):
            return _with_input(answer, f"the boxes {one} and {other}")
        try:
            answers.append(float(answer))
        except (TypeError, ValueError):
            return Verdict(False, f"You returned {type(answer).__name__}; expected one number from 0 to 1.")
    expected = [_iou_by_counting(one, other) for one, other in pairs]
    if np.allclose(answers, expected, rtol=1e-5, atol=1e-7):
        return Verdict(True, "Overlapping, nested, equal, touching and apart: all as counted pixel by pixel.")
    return Verdict(False, _iou_mistake(answers, expected, pairs))


def _iou_by_counting(one: Box, other: Box) -> float:
    """The oracle: each box is the set of its pixels."""
    pixels = [{(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])} for b in (one, other)]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


_READ = {
    "": (0, 1, 2, 3),
    "you read a box as (left, right, top, bottom), so x and y are mixed up. "
    "It is (left, top, right, bottom): two corners.": (0, 2, 1, 3),
    "you read a box as (left, top, width, height). Its last two numbers are the corner (right, bottom).": None,
}
_GROW = {
    "": 0,
    "you added 1 to each width and height. Right and bottom are exclusive here: the width is right − left, "
    "without the 1.": 1,
    "you took 1 from each width and height. Right and bottom are exclusive here: the width is right − left.": -1,
}
_CLIP: dict[str, Callable[[float, float], float]] = {
    "": lambda w, h: max(0, w) * max(0, h),
    "boxes that lie apart give an overlap that is not 0: a negative width or height was not clipped. "
    "Take max(0, …) of each.": lambda w, h: w * h,
    "you clipped the product. For boxes apart in x and in y both lengths are negative, and their product is "
    "positive: take max(0, …) of each length before you multiply.": lambda w, h: max(0, w * h),
    "you clipped only one of the two lengths of the overlap. Take max(0, …) of both.": lambda w, h: max(0, w) * h,
    "you clipped only one of the two lengths of the overlap. Take max(0, …) of both. ": lambda w, h: w * max(0, h),
}
_DIVIDE: dict[str, Callable[[float, float, float], float]] = {
    "": lambda s, a, b: s / (a + b - s),
    "you divided by the sum of the two areas, which counts the overlap twice. The union is A + B − overlap.": (
        lambda s, a, b: s / (a + b)
    ),
    "you divided by one box's area, so a box inside a larger one would score 1. Divide by the area of the union.": (
        lambda s, a, b: s / a
    ),
    "you divided by one box's area, so a large box around the object would score 1. Divide by the area of the "
    "union.": lambda s, a, b: s / b,
    "you divided by the smaller area. Divide by the area of the union.": lambda s, a, b: s / min(a, b),
    "you divided by the larger area. Divide by the area of the union.": lambda s, a, b: s / max(a, b),
    "you turned the fraction round: intersection over union.": lambda s, a, b: (a + b - s) / s if s else np.inf,
    "this is the overlap in pixels alone. Divide it by the area of the union.": lambda s, a, b: s,
    "this is one minus IoU, a distance. Return IoU itself.": lambda s, a, b: 1 - s / (a + b - s),
    "this is a percentage. Return a share from 0 to 1.": lambda s, a, b: 100 * s / (a + b - s),
}


def _iou_mistake(answers: Sequence[float], expected: Sequence[float], pairs: Sequence[tuple[Box, Box]]) -> str:
    known = sorted(itertools.product(_READ, _GROW, _CLIP, _DIVIDE), key=lambda names: sum(map(bool, names)))
    for names in known:
        if np.allclose(answers, [_mistaken_iou(*pair, *names) for pair in pairs], rtol=1e-5, atol=1e-7, equal_nan=True):
            return _in_words(names)
    if np.allclose(answers, expected, atol=6e-3):
        return "right but for rounding: return the number unrounded, and round where you print it."
    first = next(i for i, pair in enumerate(zip(answers, expected, strict=True)) if not np.isclose(*pair))
    one, other = pairs[first]
    return (
        f"for {one} and {other} you returned {answers[first]:.3g}; counted pixel by pixel it is {expected[first]:.3g}. "
        "Draw the two on squared paper."
    )


def _mistaken_iou(one: Box, other: Box, read: str, grow: str, clip: str, divide: str) -> float:
    order, more = _READ[read], _GROW[grow]
    corners = []
    for box in (one, other):
        a = [box[i] for i in order] if order else [box[0], box[1], box[0] + box[2], box[1] + box[3]]
        corners.append(a)
    (x0, y0, x1, y1), (u0, v0, u1, v1) = corners
    shared = _CLIP[clip](min(x1, u1) - max(x0, u0) + more, min(y1, v1) - max(y0, v0) + more)
    areas = (x1 - x0 + more) * (y1 - y0 + more), (u1 - u0 + more) * (v1 - v0 + more)
    try:
        return float(_DIVIDE[divide](shared, *areas))
    except ZeroDivisionError:
        return float("nan")


_MASKS = (
    # A smaller piece first, one that hangs on by a corner, and more rows than columns.
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
)


def check_object_box(function: Callable[[NDArray[np.bool_]], Any]) -> Verdict:
    """Check the box around the largest connected piece of a mask; pixels that touch at a corner are connected.

    Args:
        function: from a boolean mask `(H, W)` to (left, top, right, bottom), right and bottom exclusive.

    Returns:
        A `Verdict` that names the mistake.
    """
    masks = [np.array([[c == "#" for c in line.strip()] for line in m.strip().splitlines()]) for m in _MASKS]
    boxes: list[Box] = []
    for mask in masks:
        answer = ask(function, mask.copy())
        if isinstance(answer, Verdict):
            return _with_input(answer, f"a mask of shape {mask.shape}")
        box = _as_box(answer)
        if isinstance(box, Verdict):
            return box
        boxes.append(box)
    expected = [_box_by_flooding(mask) for mask in masks]
    if boxes == expected:
        return Verdict(True, "The largest piece alone, x before y, right and bottom exclusive.")
    known = sorted(itertools.product(_CHOOSE, _FRAME), key=lambda names: sum(map(bool, names)))
    for choose, frame in known:
        if boxes == [_FRAME[frame](_CHOOSE[choose](mask)) for mask in masks]:
            return Verdict(False, _in_words((choose, frame)))
    first = next(i for i, pair in enumerate(zip(boxes, expected, strict=True)) if pair[0] != pair[1])
    drawing = "\n".join("".join(".#"[int(v)] for v in row) for row in masks[first])
    return Verdict(False, f"for this mask you returned {boxes[first]}; expected {expected[first]}:\n{drawing}")


def _as_box(answer: Any) -> Box | Verdict:
    try:
        values = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        return Verdict(False, f"You returned {type(answer).__name__}; expected a box (left, top, right, bottom).")
    if values.ndim == 2:
        return Verdict(
            False, f"You returned the mask, an array {values.shape}. Return its box (left, top, right, bottom)."
        )
    if values.shape != (4,):
        return Verdict(False, f"You returned {values.size} numbers; expected four: (left, top, right, bottom).")
    if not np.array_equal(values, values.round()):
        return Verdict(False, f"You returned {tuple(values.tolist())}; a box of pixels has four whole numbers.")
    left, top, right, bottom = (int(v) for v in values)
    return left, top, right, bottom


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


def _largest(mask: ArrayLike, corners: bool = True) -> NDArray[np.bool_]:
    labels = _pieces(mask, corners)
    sizes = _size_of_each(labels)
    return np.asarray(labels == max(range(1, len(sizes)), key=lambda n: sizes[n]))


def _box_by_flooding(mask: ArrayLike) -> Box:
    """The oracle: look at every pixel of the largest piece."""
    return _corners(_largest(mask))


def _corners(piece: ArrayLike) -> Box:
    places = [(y, x) for (y, x), inside in np.ndenumerate(np.asarray(piece)) if inside]
    ys, xs = [y for y, _ in places], [x for _, x in places]
    return min(xs), min(ys), max(xs) + 1, max(ys) + 1


def _largest_of_all_labels(mask: ArrayLike) -> NDArray[np.bool_]:
    labels = _pieces(mask)
    return np.asarray(labels == int(np.argmax(_size_of_each(labels))))


def _one_label_too_low(mask: ArrayLike) -> NDArray[np.bool_]:
    labels = _pieces(mask)
    return np.asarray(labels == int(np.argmax(_size_of_each(labels)[1:])))


def _smallest(mask: ArrayLike) -> NDArray[np.bool_]:
    labels = _pieces(mask)
    return np.asarray(labels == 1 + int(np.argmin(_size_of_each(labels)[1:])))


_CHOOSE: dict[str, Callable[[ArrayLike], NDArray[np.bool_]]] = {
    "": _largest,
    "this is the box around everything: the largest component is missing, and one stray speck stretches the box. "
    "Label the pieces and keep the one with the most pixels.": lambda mask: np.asarray(mask, bool),
    "you kept the first piece, label 1. Labels follow reading order, not size: count the pixels of each.": (
        lambda mask: _pieces(mask) == 1
    ),
    "you kept the last piece. Labels follow reading order, not size: count the pixels of each.": (
        lambda mask: _pieces(mask) == _pieces(mask).max()
    ),
    "you picked label 0, which is the background, not a piece.": lambda mask: _pieces(mask) == 0,
    "label 0 is the background, and it won where it is larger than every piece. Set its count to 0 before you "
    "take the largest.": _largest_of_all_labels,
    "you are one label too low: sizes[1:] starts at label 1, so add 1 to its argmax.": _one_label_too_low,
    "you kept the smallest piece. Keep the one with the most pixels.": _smallest,
    "pixels that touch only at a corner belong together here: pass np.ones((3, 3)) to ndimage.label.": (
        lambda mask: _largest(mask, corners=False)
    ),
}


def _transposed(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return top, left, bottom, right


def _inclusive(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return left, top, right - 1, bottom - 1


def _transposed_inclusive(piece: ArrayLike) -> Box:
    top, left, bottom, right = _inclusive(piece)
    return left, top, right, bottom


def _grown(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return left, top, right + 1, bottom + 1


def _with_size(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return left, top, right - left, bottom - top


def _paired(piece: ArrayLike) -> Box:
    left, top, right, bottom = _corners(piece)
    return left, right, top, bottom


_SWAPPED = "x and y are swapped: the mask's first index is y (top, bottom), its second is x (left, right)."
_EXCLUSIVE = (
    "right and bottom are one too small: they are exclusive, so a box around pixels 3 to 5 ends at 6. "
    "Add 1 to the last row and column."
)
_FRAME: dict[str, Callable[[ArrayLike], Box]] = {
    "": _corners,
    _SWAPPED: _transposed,
    _EXCLUSIVE: _inclusive,
    f"{_SWAPPED} And {_EXCLUSIVE}": _transposed_inclusive,
    "right and bottom are one too large: add 1 to the last row and column inside the piece, once.": _grown,
    "you returned (left, top, width, height). Return the second corner itself: (left, top, right, bottom).": _with_size,
    "you returned (left, right, top, bottom). The order is (left, top, right, bottom): two corners.": _paired,
}


def _with_input(verdict: Verdict, what: str) -> Verdict:
    """Add what the learner's function was given, if that is what it fell over."""
    stopped = verdict.message.startswith("Your function stopped")
    return Verdict(False, f"{verdict.message} It was given {what}.") if stopped else verdict


def _in_words(names: Sequence[str]) -> str:
    said = [name.strip() for name in names if name]
    return " And ".join(said)
