"""Two quantiles separate a map: strictly, by the pixels' shares, and never into an empty side."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from no_trace import no_trace
from scipy import ndimage

from deepinside_edu import seeds
from deepinside_edu.seeds import Seeds, check_seeds

DIFFERENT = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=15),
    elements=st.integers(0, 2**20).map(float),
    unique=True,
)


def test_quantiles_worked_out_on_paper() -> None:
    """0..100: the 95 % quantile is 95 and the 30 % quantile 30; neither pixel belongs to a side."""
    chosen = seeds(np.arange(101.0).reshape(1, 101))
    assert isinstance(chosen, Seeds)
    assert np.flatnonzero(chosen.foreground).tolist() == [96, 97, 98, 99, 100]
    assert np.flatnonzero(chosen.background).tolist() == list(range(30))
    assert np.flatnonzero(chosen.unused).tolist() == list(range(30, 96))


def test_quantiles_between_two_values() -> None:
    """For 10, 20, 30, 40, the quantile 0.5 is 25, and 0.9 is 37."""
    m = np.array([[40.0, 10.0], [30.0, 20.0]])
    chosen = seeds(m, foreground=0.9, background=0.5)
    assert chosen.foreground.tolist() == [[True, False], [False, False]]
    assert chosen.background.tolist() == [[False, True], [False, True]]
    assert chosen.unused.tolist() == [[False, False], [True, False]]


def test_a_pixel_at_the_quantile_belongs_to_no_side() -> None:
    """For 0, 1, 1, 1, 2, both quantiles, 0.25 and 0.75, are 1."""
    chosen = seeds(np.array([[0.0, 1.0, 1.0, 1.0, 2.0]]), foreground=0.75, background=0.25)
    assert chosen.foreground.tolist() == [[False, False, False, False, True]]
    assert chosen.background.tolist() == [[True, False, False, False, False]]
    assert chosen.unused.tolist() == [[False, True, True, True, False]]


def test_the_paper_s_quantiles_are_the_defaults() -> None:
    m = np.random.default_rng(0).random((40, 50))
    for found, expected in zip(seeds(m), seeds(m, foreground=0.95, background=0.30), strict=True):
        assert np.array_equal(found, expected)
    assert seeds(m).foreground.sum() == 100  # 5 % of 2,000
    assert seeds(m).background.sum() == 600  # 30 %


@given(DIFFERENT, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_shares_and_order(m: np.ndarray, one: float, other: float) -> None:
    background, foreground = sorted((one, other))
    chosen = seeds(m, foreground, background)
    for mask in (*chosen, chosen.unused):
        assert (mask.shape, mask.dtype) == (m.shape, bool)
    # Every pixel belongs to exactly one of the three.
    assert (chosen.foreground.astype(int) + chosen.background + chosen.unused == 1).all()
    # Ranks decide, worked out by sorting: pixel number i of n lies at the quantile i / (n − 1).
    order = np.sort(m, axis=None)
    for mask, quantile, above in ((chosen.foreground, foreground, True), (chosen.background, background, False)):
        position = quantile * (m.size - 1)
        assume(abs(position - round(position)) > 1e-3)  # not at a pixel, where rounding decides
        expected = order[int(np.ceil(position)) :] if above else order[: int(np.ceil(position))]
        assert sorted(m[mask].tolist()) == expected.tolist()


@given(DIFFERENT, st.floats(0.1, 100))
def test_only_the_order_of_the_values_counts(m: np.ndarray, factor: float) -> None:
    m = m.astype(np.float64)
    for found, expected in zip(seeds(factor * m, 0.8, 0.4), seeds(m, 0.8, 0.4), strict=True):
        assert np.array_equal(found, expected)


def test_lists_and_other_precisions_are_maps_too() -> None:
    m = [[1, 2, 3], [4, 5, 6]]
    for form in (m, np.array(m), np.array(m, np.float32), np.array(m, np.float16)):
        assert seeds(form, 0.7, 0.3).foreground.tolist() == [[False, False, False], [False, True, True]]
        assert seeds(form, 0.7, 0.3).background.tolist() == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize(
    "form",
    [torch.Tensor.bfloat16, torch.Tensor.half, torch.Tensor.double, torch.Tensor.int,
     lambda m: m.requires_grad_(), lambda m: m.requires_grad_() * 1, lambda m: m.bfloat16().requires_grad_()],
)  # fmt: skip
def test_tensors_of_any_precision_and_with_a_gradient_are_maps_too(form: Any) -> None:
    m = form(torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert seeds(m, 0.7, 0.3).foreground.tolist() == [[False, False, False], [False, True, True]]
    assert seeds(m, 0.7, 0.3).background.tolist() == [[True, True, False], [False, False, False]]


def test_truth_values_are_no_map() -> None:
    mask = np.eye(4, dtype=bool)
    for form in (mask, torch.from_numpy(mask), mask.tolist()):
        with pytest.raises(ValueError, match=r"got truth values\. Pass the map itself"):
            seeds(form)


@pytest.mark.parametrize("m", [1j * np.eye(3), [["a", "b"]], [[None, 1.0]]])
def test_what_is_no_number_is_no_map(m: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a map \(H, W\) of numbers, got"):
        seeds(m)


def test_the_map_stays_as_it_was() -> None:
    m = np.random.default_rng(0).random((6, 8)).astype(np.float32)[::-1]
    with no_trace(m):
        seeds(m)
    m[2, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"), no_trace(m):
        seeds(m)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    m = np.arange(12.0).reshape(3, 4)
    m[1, 2] = value
    with pytest.raises(ValueError, match="NaN or infinite"):
        seeds(m)


@pytest.mark.parametrize("value", [0.0, 0.25, -3.0])
def test_a_constant_map_is_refused_and_the_value_named(value: float) -> None:
    with pytest.raises(ValueError, match=rf"constant \({value:.3g} everywhere\).*higher score"):
        seeds(np.full((4, 5), value))


def test_ties_that_leave_no_foreground() -> None:
    """Ten pixels of 100 share the highest value, so nothing lies above the 95 % quantile."""
    m = np.arange(100.0).clip(0, 90).reshape(10, 10)
    with pytest.raises(ValueError, match=r"no pixel is left as foreground at the quantile 0\.95.*Lower the foreground"):
        seeds(m)
    assert seeds(m, foreground=0.85).foreground.sum() == 15


def test_ties_that_leave_no_background() -> None:
    """Forty pixels of 100 are zero, so nothing lies below the 30 % quantile."""
    m = np.arange(100.0).clip(39).reshape(10, 10)
    with pytest.raises(ValueError, match=r"no pixel is left as background at the quantile 0\.3.*Raise the background"):
        seeds(m)
    assert seeds(m, background=0.5).background.sum() == 50


def test_the_ends_leave_a_side_empty() -> None:
    m = np.arange(12.0).reshape(3, 4)
    with pytest.raises(ValueError, match="foreground at the quantile 1"):
        seeds(m, foreground=1)
    with pytest.raises(ValueError, match="background at the quantile 0"):
        seeds(m, background=0)


@pytest.mark.parametrize(
    ("foreground", "background"),
    [(0.3, 0.95), (95, 30), (1.01, 0.3), (0.95, -0.1), (np.nan, 0.3), (0.95, np.nan), (0.5, 0.51), (np.inf, 0.3)],
)
def test_quantiles_out_of_order_or_range_are_refused(foreground: float, background: float) -> None:
    with pytest.raises(ValueError, match=r"background ≤ foreground|quantile from 0 to 1, got .*95 % is 0\.95"):
        seeds(np.arange(12.0).reshape(3, 4), foreground, background)


def test_equal_quantiles_are_allowed() -> None:
    chosen = seeds(np.arange(5.0).reshape(1, 5), 0.5, 0.5)
    assert chosen.unused.tolist() == [[False, False, True, False, False]]


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (), (0, 4), (4, 0)])
def test_maps_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected a map \(H, W\)"):
        seeds(np.zeros(shape))


def test_a_blur_takes_the_grid_of_a_stride_out_of_the_map() -> None:
    """Every other row of the object is dark: without a blur, it is taken for background."""
    m = np.full((40, 40), 1.0) + np.arange(1600).reshape(40, 40) * 1e-6
    m[:, 20:] += 3
    m[::2] *= 0.1
    assert seeds(m, 0.9, 0.3).background[:, 24:].any()
    assert not seeds(m, 0.9, 0.3, blur=2).background[:, 24:].any()
    expected = ndimage.gaussian_filter(m, 2)
    assert np.array_equal(seeds(m, 0.9, 0.3, blur=2).foreground, expected > np.quantile(expected, 0.9))
    assert np.array_equal(seeds(m, blur=0).foreground, seeds(m).foreground)


@pytest.mark.parametrize("blur", [-1, float("nan"), float("inf"), 4.001, 1e9])
def test_a_blur_that_is_none_or_wider_than_the_map_is_refused(blur: float) -> None:
    with pytest.raises(ValueError, match=r"blur from 0 to 4, got .*no wider than the map"):
        seeds(np.arange(12.0).reshape(3, 4), blur=blur)


@pytest.mark.parametrize("option", ["foreground", "background", "blur"])
@pytest.mark.parametrize("value", ["0.5", None, True, [0.5], np.full(2, 0.5), 0.5j])
def test_an_option_that_is_no_number_is_refused(option: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"expected a number for {option}"):
        seeds(np.arange(12.0).reshape(3, 4), **{option: value})


def test_numpys_numbers_are_as_good_as_pythons() -> None:
    m = np.random.default_rng(0).random((9, 12))
    one = seeds(m, np.float32(0.75), np.float16(0.25), np.int64(1))
    assert np.array_equal(one, seeds(m, 0.75, 0.25, 1))


def test_pixels_that_are_seeds_of_both_sides_are_counted_and_the_first_is_named() -> None:
    foreground, background = np.zeros((2, 6, 9), bool)
    foreground[3:5, 2:8] = background[4:, 5:] = True
    with pytest.raises(ValueError, match=r"3 pixels are seeds of both sides \(the first: row 4, column 5\)"):
        check_seeds(Seeds(foreground, background), (6, 9))
    background[4] = False
    checked = check_seeds((foreground, background), (6, 9))
    assert checked.foreground is foreground
    assert checked.background is background
