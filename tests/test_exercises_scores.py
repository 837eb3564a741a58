"""Lesson 1's checks accept right answers however they are written, and name the known mistakes."""

import re

import numpy as np
import pytest
import torch
from exercise_kit import accepted, refused

from deepinside_edu.exercises.scores import check_convolution, check_softmax


def row_maximum(S):
    powers = np.exp(S - S.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def in_place(S):
    S -= S.max(axis=1, keepdims=True)
    np.exp(S, out=S)
    S /= S.sum(axis=1, keepdims=True)
    return S


def row_by_row(S):
    return [[1 / sum(np.exp(np.minimum(k - c, 700)) for k in row) for c in row] for row in S]


@pytest.mark.parametrize(
    "softmax",
    [
        row_maximum,
        in_place,
        row_by_row,
        lambda S: torch.softmax(S, 1),
        lambda S: torch.softmax(torch.from_numpy(S), 1).float(),
        lambda S: S.softmax(dim=-1),
        lambda S: row_maximum(S).astype(np.float32),
    ],
)
def test_right_softmax_is_accepted(softmax):
    accepted(check_softmax, softmax)


def whole_table_maximum(S):
    powers = np.exp(S - S.max())
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("softmax", "words"),
    [
        (lambda S: np.exp(S) / np.exp(S).sum(0), "wrong axis"),
        (lambda S: torch.softmax(S, 0), "wrong axis"),
        (lambda S: np.exp(S) / np.exp(S).sum(), "whole table adds up to 1"),
        (lambda S: np.exp(S), "did not divide by the sum of the row"),
        (lambda S: S / S.sum(1, keepdims=True), "take the exponential"),
        (lambda S: np.log(row_maximum(S)), "logarithms"),
        (lambda S: (S.max(1, keepdims=True) == S) * 1.0, "arg max"),
        (lambda S: row_maximum(-S), "sign is reversed"),
        (lambda S: np.exp(S - S.max(1, keepdims=True)), "did not divide"),
        (lambda S: 2**S / (2**S).sum(1, keepdims=True), "2 as the base"),
        (lambda S: np.exp(S) / np.exp(S).sum(1, keepdims=True), "overflows to inf"),
        (whole_table_maximum, "largest of each row"),
        (lambda S: row_maximum(S) * np.nan, "always nan"),
        (lambda S: np.where(S == 3, np.nan, row_maximum(S)), "[1, 1] of your answer is nan"),
        (lambda S: row_maximum(3 * S), "[0, 0] of your answer is 0.95; expected 0.665. It is exp(2) divided by"),
        (lambda S: row_maximum(S) * 3, "Each number is 3 times the right one"),
        (lambda S: row_maximum(S)[0], "shape (3,)"),
        (lambda S: row_maximum(S).T, "Rows and columns are swapped"),
        (lambda S: 1.0, "always 1, whatever"),
        (lambda S: "half", "returned the text 'half'; expected one probability for each score"),
        (lambda S: [[1.0], [1.0, 2.0]], "parts differ in shape"),
        (lambda S: torch.zeros(2, 3, requires_grad=True), "always 0"),
        (lambda S: S[7], "IndexError"),
        (lambda S: S.exp() / S.nope(), "'nope'"),
    ],
)
def test_softmax_mistakes_are_named(softmax, words):
    refused(check_softmax, softmax, re.escape(words))


def convolve(x, K, b, stride):
    _, h, w = K.shape
    rows, columns = (x.shape[1] - h) // stride + 1, (x.shape[2] - w) // stride + 1
    return np.array(
        [
            [(x[:, i * stride : i * stride + h, j * stride : j * stride + w] * K).sum() + b for j in range(columns)]
            for i in range(rows)
        ]
    )


def by_windows(x, K, b, stride):
    windows = np.lib.stride_tricks.sliding_window_view(x, K.shape[1:], axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("cijuv,cuv->ij", windows, K) + b


@pytest.mark.parametrize(
    "function",
    [
        convolve,
        by_windows,
        lambda x, K, b, stride: torch.nn.functional.conv2d(x[None], K[None], stride=stride)[0, 0] + b,
        lambda x, K, b, stride: convolve(x, K, b, stride).tolist(),
    ],
)
def test_right_convolution_is_accepted(function):
    accepted(check_convolution, function)


def swapped_windows(x, K, b, stride):
    _, h, w = K.shape
    rows, columns = (x.shape[1] - h) // stride + 1, (x.shape[2] - w) // stride + 1
    return np.array(
        [
            [(x[:, j * stride : j * stride + h, i * stride : i * stride + w] * K).sum() + b for j in range(columns)]
            for i in range(rows)
        ]
    )


def stride_in_the_size_only(x, K, b, stride):
    rows, columns = convolve(x, K, b, stride).shape
    return convolve(x, K, b, 1)[:rows, :columns]


def right_on_squares_only(x, K, b, stride):
    if x.shape[1] != x.shape[2]:
        raise ValueError("operands could not be broadcast together")
    return convolve(x, K, b, stride)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x, K, b, s: convolve(x, K[:, ::-1, ::-1], b, s), ["The kernel is flipped"]),
        (lambda x, K, b, s: convolve(x, K.transpose(0, 2, 1), b, s), ["swapped in the kernel"]),
        (swapped_windows, ["Rows and columns are swapped: i counts rows"]),
        (lambda x, K, b, s: convolve(x, K, b, 1), ["The stride is forgotten"]),
        (stride_in_the_size_only, ["The stride is forgotten in the windows"]),
        (lambda x, K, b, s: convolve(x, K, 0, s), ["The bias is missing"]),
        (lambda x, K, b, s: convolve(x, K, b * K.size, s), ["once for every product"]),
        (lambda x, K, b, s: convolve(x, K, b * len(K), s), ["once for every channel"]),
        (lambda x, K, b, s: convolve(x, K[:, ::-1, ::-1], 0, 1), ["flipped", "bias is missing", "stride is forgotten"]),
        (
            lambda x, K, b, s: np.stack([convolve(x[c:][:1], K[c:][:1], b, s) for c in range(len(x))]),
            ["one map per channel"],
        ),
        (lambda x, K, b, s: convolve(x[:1], K[:1], b, s), ["Only the first channel"]),
        (lambda x, K, b, s: convolve(x[:1], K[:1], 0, s), ["Only the first channel", "bias is missing"]),
        (lambda x, K, b, s: convolve(x, K, 0, s) / K.size + b, ["mean of the products"]),
        (lambda x, K, b, s: convolve(x, K, b, s).clip(0), ["ReLU"]),
        (lambda x, K, b, s: convolve(x, K, b, s)[:-1, :-1], ["(H − h) // stride + 1"]),
        (lambda x, K, b, s: convolve(x, K, b, s)[0, 0], ["one number, 9.5", "not one number"]),
        (lambda x, K, b, s: convolve(x, K, b, s) + np.eye(3), ["number [0, 0] of your answer", "x[:, 0:3, 0:3] * K"]),
        (right_on_squares_only, ["Right for x of shape (2, 7, 7)", "It was given x of shape (2, 5, 8)"]),
        (lambda x, K, b, s: {}, ["returned a dict; expected a map"]),
    ],
)
def test_convolution_mistakes_are_named(function, words):
    refused(check_convolution, function, *map(re.escape, words))


def test_the_checks_give_the_same_verdict_twice():
    def wrong(x, K, b, s):
        return convolve(x, K, b, s) ** 2

    assert check_convolution(wrong) == check_convolution(wrong)
