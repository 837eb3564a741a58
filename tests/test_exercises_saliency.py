"""The checks of lesson 2 accept right answers however they are written, and name each known mistake."""

import numpy as np
import pytest
import torch
from exercise_kit import accepted, refused

import deepinside_edu as di
from deepinside_edu.exercises.saliency import check_average, check_map


def by_loops(w):
    height, width, _ = w.shape
    return [[max(abs(float(value)) for value in w[i, j]) for j in range(width)] for i in range(height)]


@pytest.mark.parametrize(
    "answer",
    [
        lambda w: w.abs().amax(-1),
        lambda w: w.abs().max(dim=2).values,
        lambda w: torch.maximum(w.amax(2), -w.amin(2)),
        lambda w: np.abs(w.numpy()).max(axis=2),
        lambda w: di.max_abs(w.permute(2, 0, 1)[None])[0],
        by_loops,
    ],
)
def test_a_right_map_is_accepted(answer):
    accepted(check_map, answer)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda w: w.amax(-1), "signed maximum"),
        (lambda w: w.amax(-1).abs(), "abs comes too late"),
        (lambda w: w.sum(-1), "channel sum: entries"),
        (lambda w: w.sum(-1).abs(), "channel sum, then abs"),
        (lambda w: w.abs().sum(-1), r"sum of \|w\|"),
        (lambda w: w.abs().mean(-1), r"mean of \|w\|"),
        (lambda w: w.mean(-1), "mean over the channels: entries"),
        (lambda w: w.mean(-1).abs(), "mean over the channels, then abs"),
        (lambda w: w.norm(dim=-1), "Euclidean length"),
        (lambda w: w.abs().amin(-1), r"minimum of \|w\|"),
        (lambda w: w.abs().amax(-1) / w.abs().max(), "scaled the map"),
        (lambda w: w.abs().amax(0), "Wrong axis: you reduced over the height"),
        (lambda w: w.abs().amax(1), "Wrong axis: you reduced over the width"),
        (lambda w: w.abs().amax(-1, keepdim=True), "keepdim"),
        (lambda w: w.abs(), "maximum over the channels"),
        (lambda w: w.abs().max(), "one number for all pixels"),
        (lambda w: w.abs().amax(-1).T, "transposed"),
        (lambda w: w.abs().max(-1), r"\.values"),
        (lambda w: w.abs_().amax(-1), "changes w itself"),
        (lambda w: w.abs().amax(-1) + 1, "Each number is 1 too large"),
        (lambda w: w.abs().amax(-1) / 0, "always inf"),
        (lambda w: "a map", "the text 'a map'; expected a map"),
    ],
)
def test_a_known_mistake_of_the_map_is_named(answer, words):
    refused(check_map, answer, words)


def average(network, x, c, crops, target=None, size=None, before=None, after=None, divide=None):
    """A learner's answer, with holes for mistakes."""
    target = target or (lambda scores, c: scores[0, c])
    size = size or (lambda w: w.abs().amax(1)[0])
    total, count = torch.zeros(x.shape[2:]), torch.zeros(x.shape[2:])
    for top, left, height, width, mirrored in crops:
        place = (slice(top, top + height), slice(left, left + width))
        crop = x[:, :, place[0], place[1]]
        if mirrored:
            crop = before(crop) if before else crop.flip(3)
        crop = crop.detach().clone().requires_grad_()
        (w,) = torch.autograd.grad(target(network(crop), c), crop)
        m = size(w)
        if mirrored:
            m = after(m) if after else m.flip(1)
        total[place] += m
        count[place] += 1
    return divide(total, count, len(crops)) if divide else total / count


def with_mistakes(**mistakes):
    return lambda *arguments: average(*arguments, **mistakes)


def in_one_canvas_per_crop(network, x, c, crops):
    """NaN canvases and gradients by backward() give the right average too."""
    canvases = []
    for crop in crops:
        part = x[:, :, crop.top : crop.top + crop.height, crop.left : crop.left + crop.width].clone()
        part = (part.flip(-1) if crop.mirrored else part).requires_grad_(True)
        network(part)[0, c].backward()
        m = di.max_abs(part.grad)[0].numpy()
        canvas = np.full(x.shape[2:], np.nan)
        upright = m[:, ::-1] if crop.mirrored else m
        canvas[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width] = upright
        canvases.append(canvas)
    return np.nanmean(canvases, axis=0)


@pytest.mark.parametrize("answer", [average, in_one_canvas_per_crop])
def test_a_right_average_is_accepted(answer):
    accepted(check_average, answer)


SAME = {"before": lambda crop: crop, "after": lambda m: m}
AVERAGE_MISTAKES = {
    "probability": {"target": lambda scores, c: scores.softmax(1)[0, c]},
    "predicted class": {"target": lambda scores, c: scores.max()},
    "all scores together": {"target": lambda scores, c: scores.sum()},
    "the wrong way round": {"after": lambda m: m},
    "never mirrored": SAME,
    "network sees the crop as it is": {"before": lambda crop: crop},
    "upside down": {"before": lambda crop: crop.flip(2), "after": lambda m: m.flip(0)},
    "divide by the number of crops": {"divide": lambda total, count, crops: total / crops},
    "This is a sum": {"divide": lambda total, count, crops: total},
    "signed maximum": {"size": lambda w: w.amax(1)[0]},
    r"sum of \|w\|": {"size": lambda w: w.abs().sum(1)[0]},
    r"must be \(7, 8\); yours is \(1, 7, 8\): take": {"divide": lambda total, count, crops: (total / count)[None]},
    "transposed": {"divide": lambda total, count, crops: (total / count).T},
    "Start from zeros": {"divide": lambda total, count, crops: (total / count)[1:]},
    "Each number is 1 too large": {"divide": lambda total, count, crops: total / count + 1},
    "always inf": {"divide": lambda total, count, crops: total / (count - count)},
}


@pytest.mark.parametrize("words", AVERAGE_MISTAKES)
def test_a_known_mistake_of_the_average_is_named_and_no_other(words):
    refused(check_average, with_mistakes(**AVERAGE_MISTAKES[words]), words, never=AVERAGE_MISTAKES)


def test_two_mistakes_at_once_are_both_named():
    answer = with_mistakes(after=lambda m: m, divide=lambda total, count, crops: total / crops)
    refused(check_average, answer, "the wrong way round", "number of crops")


def test_an_average_that_writes_into_x_is_named():
    def answer(network, x, c, crops):
        x *= 1.5
        return average(network, x, c, crops)

    refused(check_average, answer, "changes x itself")


def test_an_average_that_is_a_text_is_named_with_what_is_expected():
    refused(check_average, lambda *_: "a map", "the text 'a map'; expected a map")
