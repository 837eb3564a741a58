"""The checks of lesson 3 accept right answers however they are written, and name each known mistake."""

import re

import numpy as np
import pytest
from exercise_kit import accepted, refused
from scipy import ndimage

import deepinside_edu as di
from deepinside_edu.exercises.localisation import check_iou, check_object_box


def iou(one, other, clip=lambda w, h: max(0, w) * max(0, h), more=0, divide=lambda s, a, b: s / (a + b - s)):
    width = min(one[2], other[2]) - max(one[0], other[0]) + more
    height = min(one[3], other[3]) - max(one[1], other[1]) + more
    areas = [(box[2] - box[0] + more) * (box[3] - box[1] + more) for box in (one, other)]
    return divide(clip(width, height), *areas)


def iou_by_painting(one, other):
    canvas = np.zeros((2, 20, 20), bool)
    for plane, (left, top, right, bottom) in zip(canvas, (one, other), strict=True):
        plane[top:bottom, left:right] = True
    return np.float32((canvas[0] & canvas[1]).sum() / (canvas[0] | canvas[1]).sum())


@pytest.mark.parametrize("function", [iou, iou_by_painting, di.box_iou, lambda a, b: np.array(iou(a, b))])
def test_right_ious_are_accepted(function):
    accepted(check_iou, function)


def sum_of_areas(s, a, b):
    return s / (a + b)


IOU_MISTAKES = [
    (lambda a, b: iou(a, b, divide=sum_of_areas), "counts the overlap twice"),
    (lambda a, b: iou(a, b, clip=lambda w, h: w * h), "not clipped"),
    (lambda a, b: iou(a, b, clip=lambda w, h: max(0, w * h)), "clipped the product"),
    (lambda a, b: iou(a, b, clip=lambda w, h: max(0, w) * h), "only one of the two"),
    (lambda a, b: iou(a, b, clip=lambda w, h: w * max(0, h)), "only one of the two"),
    (lambda a, b: iou(a, b, more=1), "added 1 to each width"),
    (lambda a, b: iou(a, b, more=-1), "subtracted 1 from each width"),
    (lambda a, b: iou(*((x[0], x[2], x[1], x[3]) for x in (a, b))), "x and y are mixed up"),
    (lambda a, b: iou(*((x[0], x[1], x[0] + x[2], x[1] + x[3]) for x in (a, b))), "(left, top, width, height)"),
    (lambda a, b: iou(a, b, divide=lambda s, a, b: s / a), "a box inside a larger one would score 1"),
    (lambda a, b: iou(a, b, divide=lambda s, a, b: s / b), "a large box around the object would score 1"),
    (lambda a, b: iou(a, b, divide=lambda s, a, b: s / min(a, b)), "smaller area"),
    (lambda a, b: iou(a, b, divide=lambda s, a, b: s), "only the overlap in pixels"),
    (lambda a, b: 1 - iou(a, b), "one minus IoU"),
    (lambda a, b: 100 * iou(a, b), "percentage"),
    (lambda a, b: round(iou(a, b), 2), "rounding"),
    (lambda a, b: 0.5, "always 0.5"),
]


@pytest.mark.parametrize(("function", "words"), IOU_MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_ious_are_named(function, words):
    refused(check_iou, function, re.escape(words))


def test_two_mistakes_at_once_are_both_named():
    answer = lambda a, b: iou(a, b, clip=lambda w, h: w * h, divide=sum_of_areas)  # noqa: E731
    refused(check_iou, answer, "not clipped", "counts the overlap twice")


def pieces(mask):
    return ndimage.label(mask, np.ones((3, 3)))


def keep(mask, label):
    labels, _ = pieces(mask)
    return labels == label


def box(piece):
    rows, columns = np.flatnonzero(piece.any(1)), np.flatnonzero(piece.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def sizes(mask):
    return np.bincount(pieces(mask)[0].ravel())


def largest(mask):
    return keep(mask, 1 + sizes(mask)[1:].argmax())


def box_by_slices(mask):
    labels, _ = pieces(mask)
    counts = np.bincount(labels.ravel())
    counts[0] = 0
    rows, columns = ndimage.find_objects(labels)[counts.argmax() - 1]
    return [columns.start, rows.start, columns.stop, rows.stop]


def largest_without_corners(mask):
    labels, _ = ndimage.label(mask)
    return labels == 1 + np.bincount(labels.ravel())[1:].argmax()


RIGHT_BOXES = [
    lambda mask: box(largest(mask)),
    box_by_slices,
    lambda mask: np.array(box(largest(mask)), float),
    lambda mask: di.bounding_box(di.largest_component(mask)),
]


@pytest.mark.parametrize("function", RIGHT_BOXES)
def test_right_boxes_are_accepted(function):
    accepted(check_object_box, function)


def swapped(b):
    return b[1], b[0], b[3], b[2]


def inclusive(b):
    return b[0], b[1], b[2] - 1, b[3] - 1


BOX_MISTAKES = [
    (box, "the largest component is missing"),
    (lambda mask: box(keep(mask, 1)), "You kept the first piece"),
    (lambda mask: box(keep(mask, pieces(mask)[1])), "You kept the last piece"),
    (lambda mask: box(keep(mask, 0)), "label 0, which is the background"),
    (lambda mask: box(keep(mask, sizes(mask).argmax())), "Label 0 is the background, and it won"),
    (lambda mask: box(keep(mask, sizes(mask)[1:].argmax())), "one label too low"),
    (lambda mask: box(keep(mask, 1 + sizes(mask)[1:].argmin())), "the smallest piece"),
    (lambda mask: box(largest_without_corners(mask)), "touch only at a corner"),
    (lambda mask: swapped(box(largest(mask))), "x and y are swapped"),
    (lambda mask: inclusive(box(largest(mask))), "they are exclusive"),
    (lambda mask: np.add(box(largest(mask)), (0, 0, 1, 1)), "one too large"),
    (lambda mask: (lambda a, b, c, d: (a, b, c - a, d - b))(*box(largest(mask))), "(left, top, width, height)"),
    (lambda mask: (lambda a, b, c, d: (a, c, b, d))(*box(largest(mask))), "(left, right, top, bottom)"),
    (largest, "Is that the mask"),
    (lambda mask: box(largest(mask))[:3], "an array of shape (3,); expected a box, four whole numbers"),
    (lambda mask: np.array(box(largest(mask))) + 0.5, "four whole numbers"),
    (lambda mask: "box", "the text 'box'; expected a box"),
    (lambda mask: (0, 0, 1, 1), "always the same (0, 0, 1, 1)"),
    (lambda mask: np.add(box(largest(mask)), mask.shape[1]), "is 10; expected 3. The right box is (3, 4, 6, 8)."),
]


@pytest.mark.parametrize(("function", "words"), BOX_MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_boxes_are_named(function, words):
    refused(check_object_box, function, re.escape(words))


@pytest.mark.parametrize(
    ("function", "all_words"),
    [
        (lambda mask: swapped(box(mask)), ["component is missing", "x and y are swapped"]),
        (lambda mask: inclusive(box(mask)), ["component is missing", "they are exclusive"]),
        (lambda mask: swapped(inclusive(box(largest(mask)))), ["x and y are swapped", "they are exclusive"]),
    ],
)
def test_two_mistakes_of_a_box_are_both_named(function, all_words):
    refused(check_object_box, function, *all_words)


def test_the_learners_function_may_write_into_the_mask():
    def careless(mask):
        answer = box(largest(mask))
        mask[:] = False
        return answer

    accepted(check_object_box, careless)
