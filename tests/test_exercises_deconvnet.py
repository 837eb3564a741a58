"""The checks of lesson 5 accept right answers however they are written, and name each known mistake."""

import itertools

import pytest
import torch
from exercise_kit import accepted, refused

import deepinside_edu as di
from deepinside_edu.exercises.deconvnet import check_pool, check_relu


def relu(x, r, rule, forward=lambda x: x > 0, backward=lambda r: r.clamp_min(0), neither=lambda r: r):
    """A learner's answer, with holes for mistakes."""
    down = neither(r) if rule == "gradient" else backward(r)
    return down if rule == "deconvnet" else down * forward(x)


def relu_with(**mistakes):
    return lambda *arguments: relu(*arguments, **mistakes)


def by_indexing(x, r, rule):
    below = r.clone()
    if rule != "deconvnet":
        below[x <= 0] = 0
    if rule != "gradient":
        below[r < 0] = 0
    return below.double().numpy()


def by_autograd(x, r, rule):
    if rule == "deconvnet":
        return r.relu()
    leaf = x.clone().requires_grad_()
    (below,) = torch.autograd.grad(leaf.relu(), leaf, r if rule == "gradient" else r.relu())
    return below


@pytest.mark.parametrize("answer", [relu, by_indexing, by_autograd, di.relu_backward])
def test_a_right_way_back_through_a_relu_is_accepted(answer):
    accepted(check_relu, answer)


RELU_MISTAKES = {
    "not X >= 0": relu_with(forward=lambda x: x >= 0),
    "'gradient' and 'guided': You multiply by the activation X": relu_with(forward=lambda x: x.relu()),
    "multiply by X itself": relu_with(forward=lambda x: x),
    "other than 0": relu_with(forward=lambda x: x != 0),
    "forward mask is reversed": relu_with(forward=lambda x: x <= 0),
    "'gradient' and 'guided': The forward mask .* is missing": relu_with(forward=lambda x: 1),
    r"'gradient': Back-propagation lets a negative R pass": relu_with(neither=lambda r: r.relu()),
    r"'deconvnet' and 'guided': The backward mask .* is missing. A mask of \|R\|": (
        relu_with(backward=lambda r: r * (r.abs() > 0))
    ),
    r"'deconvnet' and 'guided': You use \|R\|": relu_with(backward=lambda r: r.abs()),
    "backward mask is reversed": relu_with(backward=lambda r: r * (r < 0)),
    "this is the mask alone": relu_with(backward=lambda r: (r > 0).float()),
    "multiply by R twice": relu_with(backward=lambda r: r * r.relu()),
    "'gradient': The factor R is missing": relu_with(neither=torch.ones_like),
    "masks are swapped": lambda x, r, rule: (
        relu(x, r, {"gradient": "deconvnet", "deconvnet": "gradient"}.get(rule, rule))
    ),
    "'guided' means under all three": lambda x, r, rule: relu(x, r, "guided"),
    "Under 'guided': The backward mask 1": lambda x, r, rule: (
        relu(x, r, "gradient" if rule == "guided" else rule)
    ),
    "Under 'guided': The forward mask 1": lambda x, r, rule: (
        relu(x, r, "deconvnet" if rule == "guided" else rule)
    ),
    r"'deconvnet': DeconvNet does not look at X: leave the forward mask 1\(X": lambda x, r, rule: (
        relu(x, r, "guided" if rule == "deconvnet" else rule)
    ),
    "not −R": lambda x, r, rule: -relu(x, r, rule),
    "and, not or": lambda x, r, rule: r * ((x > 0) | (r > 0)) if rule == "guided" else relu(x, r, rule),
    "positive product": lambda x, r, rule: r * (x * r > 0) if rule == "guided" else relu(x, r, rule),
    "'gradient': Each number is 1 too large": lambda x, r, rule: relu(x, r, rule) + (rule == "gradient"),
}  # fmt: skip


@pytest.mark.parametrize("words", RELU_MISTAKES)
def test_a_known_mistake_of_the_relu_is_named_and_no_other(words):
    refused(check_relu, RELU_MISTAKES[words], words, never=RELU_MISTAKES)


def test_two_mistakes_at_once_are_both_named():
    refused(check_relu, relu_with(forward=lambda x: x >= 0, backward=lambda r: r.abs()), "not X >= 0", r"\|R\|")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x, r, rule: relu(x, r, rule) if rule != "guided" else None, "'guided': Your function returned None"),
        (lambda x, r, rule: relu(x, r, rule)[0], r"array of shape \(4, 5\); expected .* of shape \(2, 4, 5\)"),
        (lambda x, r, rule: relu(x, r, rule) / 0, "divide by 0"),
        (lambda x, r, rule: relu(x, r.mul_(2), rule), "changes x or r itself"),
        (lambda x, r, rule: relu(x.relu_(), r, rule), "changes x or r itself"),
    ],
)
def test_other_mistakes_of_the_relu_are_named(answer, words):
    refused(check_relu, answer, words)


def places(part, of="first", value=lambda part: part):
    where = value(part) == value(part).max()
    spots = where.nonzero()
    if of == "column":
        spots = where.T.nonzero().flip(1)
    return {"first": spots[:1], "last": spots[-1:], "column": spots[:1], "all": spots, "shared": spots}[of].tolist()


def pool(x, r, kernel, stride, of="first", value=lambda part: part, given=lambda r, part: r, overlap="added"):
    """A learner's answer, with holes for mistakes."""
    below = torch.zeros_like(x)
    for i, j in itertools.product(range(r.shape[0]), range(r.shape[1])):
        part = x[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        window = below[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        spots = places(part, of, value)
        new = torch.zeros_like(part)
        for row, column in spots:
            new[row, column] = given(r[i, j], part) / (len(spots) if of == "shared" else 1)
        if overlap == "added":
            window += new
        elif overlap == "written":
            window[:] = new
        else:
            window[new != 0] = new[new != 0]
    return below


def pool_with(**mistakes):
    return lambda *arguments: pool(*arguments, **mistakes)


def pool_by_autograd(x, r, kernel, stride):
    leaf = x[None].clone().requires_grad_()
    pooled = torch.nn.functional.max_pool2d(leaf, kernel, stride)
    return torch.autograd.grad(pooled, leaf, r[None])[0][0].numpy()


def pool_by_the_package(x, r, kernel, stride):
    switches = di.pool_with_switches(x[None, None], kernel, stride).switches
    return di.unpool(r[None, None], switches, tuple(x.shape))[0, 0]


@pytest.mark.parametrize("answer", [pool, pool_by_autograd, pool_by_the_package])
def test_a_right_way_back_through_a_pooling_is_accepted(answer):
    accepted(check_pool, answer)


def flat(part):
    return torch.zeros_like(part)


def turned(x, r, kernel, stride):
    below = torch.zeros_like(x)
    for i, j in itertools.product(range(r.shape[0]), range(r.shape[1])):
        part = x[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        column, row = divmod(int(part.argmax()), kernel)
        below[i * stride + row, j * stride + column] += r[i, j]
    return below


def at_the_corner(x, r, kernel, stride):
    below = torch.zeros_like(x)
    for i, j in itertools.product(range(r.shape[0]), range(r.shape[1])):
        part = x[i * stride : i * stride + kernel, j * stride : j * stride + kernel]
        row, column = divmod(int(part.argmax()), kernel)
        below[row, column] += r[i, j]
    return below


POOL_MISTAKES = {
    "you take the last": pool_with(of="last"),
    "column by column": pool_with(of="column"),
    "Equal maxima all get R": pool_with(of="all"),
    "Equal maxima share R": pool_with(of="shared"),
    "copied to the whole window": pool_with(of="all", value=flat),
    "as for an average": pool_with(of="shared", value=flat),
    r"largest \|X\|": pool_with(value=torch.abs),
    "goes to the minimum": pool_with(value=torch.neg),
    "un-pooling without switches": pool_with(value=flat),
    "multiply R by the maximum": pool_with(given=lambda r, part: r * part.max()),
    "maximum itself back": pool_with(given=lambda r, part: part.max()),
    "A negative R": pool_with(given=lambda r, part: r.clamp_min(0)),
    "A maximum below 0 is stopped": pool_with(given=lambda r, part: r * (part.max() > 0)),
    "the later one overwrites": pool_with(overlap="written where not 0"),
    "sign of R is reversed": pool_with(given=lambda r, part: -r),
    "you count the windows": pool_with(given=lambda r, part: torch.ones_like(r)),
    "Row and column are exchanged": lambda x, r, kernel, stride: turned(x, r, kernel, stride),
    "own place is missing": lambda x, r, kernel, stride: at_the_corner(x, r, kernel, stride),
    "Each number is 1 too large": lambda x, *rest: pool(x, *rest) + 1,
}


@pytest.mark.parametrize("words", POOL_MISTAKES)
def test_a_known_mistake_of_the_pooling_is_named_and_no_other(words):
    refused(check_pool, POOL_MISTAKES[words], words, never=POOL_MISTAKES)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (pool_with(overlap="written"), "the later one overwrites"),
        (pool_with(of="last", overlap="written"), "you take the last.*the later one overwrites"),
        (pool_with(of="all", value=flat, overlap="written"), "whole window.*the later one overwrites"),
        (lambda x, r, kernel, stride: r, "second argument as it came"),
        (lambda x, *rest: pool(x.relu_(), *rest), "changes x or r itself"),
        (lambda x, *rest: pool(x, *rest) / 0, "divide by 0"),
    ],
)
def test_other_mistakes_of_the_pooling_are_named(answer, words):
    refused(check_pool, answer, words)
