"""The checks of lesson 4 accept right answers however they are written, and name each known mistake."""

import numpy as np
import pytest
import torch
from exercise_kit import accepted, refused
from PIL import Image

import deepinside_edu as di
from deepinside_edu.exercises.class_model import check_gradient, check_picture
from deepinside_edu.exercises.verdict import Verdict


def gradient(network, x, c, lam, value=None, slope_of_penalty=None):
    """A learner's answer, with holes for mistakes."""
    leaf = x.clone().requires_grad_()
    scores = network(leaf)
    (g,) = torch.autograd.grad(value(scores, c) if value else scores[0, c], leaf)
    return g - (slope_of_penalty(x, lam) if slope_of_penalty else 2 * lam * x)


def with_mistakes(**mistakes):
    return lambda *arguments: gradient(*arguments, **mistakes)


def of_the_whole_objective(network, x, c, lam):
    """Build J as it is written, and differentiate it by backward()."""
    x = x.clone().requires_grad_(True)
    (network(x)[0, c] - lam * x.norm() ** 2).backward()
    return x.grad.numpy()


def in_place_of_a_flag(network, x, c, lam):
    """Ask the given tensor itself for its gradient."""
    x.requires_grad_()
    (g,) = torch.autograd.grad(network(x)[:, c].sum(), x)
    return g - 2 * lam * x


def minus_a_descent(network, x, c, lam):
    loss = -gradient(network, x, c, lam)
    return (-loss).double()


@pytest.mark.parametrize("answer", [gradient, of_the_whole_objective, in_place_of_a_flag, minus_a_descent])
def test_a_right_gradient_is_accepted(answer):
    accepted(check_gradient, answer)


GRADIENT_MISTAKES = {
    "penalty's sign is reversed: subtract": {"slope_of_penalty": lambda x, lam: -2 * lam * x},
    "factor 2 is forgotten: the": {"slope_of_penalty": lambda x, lam: lam * x},
    "factor 2 is forgotten, and": {"slope_of_penalty": lambda x, lam: -lam * x},
    "norm is not squared: x/‖x‖ is the slope of λ‖x‖. The": {"slope_of_penalty": lambda x, lam: lam * x / x.norm()},
    r"norm is not squared: x/‖x‖ is the slope of λ‖x‖ \(": {"slope_of_penalty": lambda x, lam: 2 * lam * x / x.norm()},
    "norm is not squared, and": {"slope_of_penalty": lambda x, lam: -lam * x / x.norm()},
    "penalty itself": {"slope_of_penalty": lambda x, lam: lam * x.square().sum()},
    r"sum of \|x\|": {"slope_of_penalty": lambda x, lam: lam * x.sign()},
    "λ is forgotten": {"slope_of_penalty": lambda x, lam: 2 * x},
    "penalty is missing": {"slope_of_penalty": lambda x, lam: 0},
    "score's sign": {"value": lambda scores, c: -scores[0, c]},
    "of the probability": {"value": lambda scores, c: scores.softmax(1)[0, c]},
    "of log P_c": {"value": lambda scores, c: scores.log_softmax(1)[0, c]},
    "that the network predicts": {"value": lambda scores, c: scores.max()},
    "sum of all scores": {"value": lambda scores, c: scores.sum()},
    "Nothing is left": {"value": lambda scores, c: 0 * scores.sum()},
}


@pytest.mark.parametrize("words", GRADIENT_MISTAKES)
def test_a_known_mistake_of_the_gradient_is_named_and_no_other(words):
    refused(check_gradient, with_mistakes(**GRADIENT_MISTAKES[words]), words, never=GRADIENT_MISTAKES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *a: -gradient(*a), "descent"),
        (lambda *a: gradient(*a) / gradient(*a).norm(), "divided by the length"),
        (lambda *a: gradient(*a)[0], r"shape must be \(1, 3, 5, 6\); yours is \(3, 5, 6\)"),
        (lambda network, x, c, lam: network(x)[0, c] - lam * x.square().sum(), "J itself"),
        (lambda network, x, c, lam: torch.autograd.grad(network(x.requires_grad_())[0, c], x), "gives a tuple"),
        (lambda *a: gradient(*a) + 1, "Each number is 1 too large"),
        (lambda *a: gradient(*a) / 0, "inf; expected .*divide by 0"),
        (lambda network, x, c, lam: x.add_(gradient(network, x, c, lam)), "changes x itself"),
    ],
)
def test_other_mistakes_of_the_gradient_are_named(answer, words):
    refused(check_gradient, answer, words)


def test_two_mistakes_at_once_are_both_named():
    mistakes = {"value": lambda scores, c: scores.softmax(1)[0, c], "slope_of_penalty": lambda x, lam: -2 * lam * x}
    refused(check_gradient, with_mistakes(**mistakes), "probability", "sign")


def picture(x, mean, std, level=lambda plane, mean, std: 255 * (plane * std + mean), clip=(0, 255)):
    """A learner's answer, with holes for mistakes."""
    levels = level(x[0].permute(1, 2, 0).double().numpy(), np.array(mean), np.array(std))
    # Processors treat levels outside 0..255 differently: here they always wrap around.
    return (levels.round().clip(*clip) if clip else levels.round().astype(np.int64) % 256).astype(np.uint8)


def picture_with(**mistakes):
    return lambda *arguments: picture(*arguments, **mistakes)


def by_torch(x, mean, std):
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (mean, std))
    return ((x[0] * std + mean) * 255).clamp(0, 255).byte().permute(1, 2, 0)


@pytest.mark.parametrize(
    "answer",
    [
        picture,
        by_torch,
        lambda *a: Image.fromarray(picture(*a)),
        lambda *a: np.array([[list(pixel) for pixel in line] for line in picture(*a)]),
        lambda x, mean, std: np.asarray(di.Classifier(_Scores().eval(), ["a", "b"], (), (4, 6), mean, std).picture(x)),
    ],
)
def test_a_right_picture_is_accepted(answer):
    accepted(check_picture, answer)


class _Scores(torch.nn.Module):
    def forward(self, x):
        return x.sum((2, 3))[:, :2]


PICTURE_MISTAKES = {
    "mean is added twice: zero": {"level": lambda p, mean, std: 255 * (p * std + mean + mean)},
    "mean is added twice, once": {"level": lambda p, mean, std: 255 * ((p + mean) * std + mean)},
    "mean is not added": {"level": lambda p, mean, std: 255 * p * std},
    "mean is subtracted": {"level": lambda p, mean, std: 255 * (p * std - mean)},
    "mean is added before": {"level": lambda p, mean, std: 255 * (p + mean) * std},
    "one number for all": {"level": lambda p, mean, std: 255 * (p * std + mean.mean())},
    "std is forgotten": {"level": lambda p, mean, std: 255 * (p + mean)},
    "divide by std": {"level": lambda p, mean, std: 255 * (p / std + mean)},
    "Red and blue": {"level": lambda p, mean, std: 255 * (p * std + mean)[:, :, ::-1]},
    "forgot to clip": {"clip": None},
    "factor 255": {"level": lambda p, mean, std: p * std + mean},
    "stretched": {"level": lambda p, mean, std: 255 * (p - p.min()) / np.ptp(p)},
    "stands upside down": {"level": lambda p, mean, std: 255 * (p * std + mean)[::-1]},
}


@pytest.mark.parametrize("words", PICTURE_MISTAKES)
def test_a_known_mistake_of_the_picture_is_named_and_no_other(words):
    refused(check_picture, picture_with(**PICTURE_MISTAKES[words]), words, never=PICTURE_MISTAKES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda *a: picture(*a).astype(float), "whole levels, dtype uint8"),
        (lambda *a: picture(*a)[None], "take .0."),
        (lambda *a: picture(*a).transpose(2, 0, 1), "Colours must be last"),
        (lambda *a: picture(*a).transpose(1, 0, 2), "height comes first"),
        (lambda *a: picture(*a)[:, :, 0], r"an array of shape \(4, 6\)"),
        (lambda x, *a: picture(x.mul_(2), *a), "changes x itself"),
        (picture_with(level=lambda p, mean, std: 255 * (p * std + 2 * mean), clip=None), "twice.*forgot to clip"),
    ],
)
def test_other_mistakes_of_the_picture_are_named(answer, words):
    refused(check_picture, answer, words)


def test_levels_that_wrap_around_give_no_warning_on_the_way():
    answer = check_picture(lambda x, mean, std: (255 * (x[0].permute(1, 2, 0).numpy() * std + mean)).astype(np.uint8))
    assert isinstance(answer, Verdict)
