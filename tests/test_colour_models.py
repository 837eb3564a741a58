"""The mixtures against scipy's and scikit-learn's, and what expectation maximisation promises."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import Image
from scipy import ndimage
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

from deepinside_edu import Classifier, colour_models, photo, saliency_map, seeds
from deepinside_edu.colour_models import Mixture, fit_mixture
from deepinside_edu.seeds import Seeds

module = import_module("deepinside_edu.colour_models")  # the package's attribute of that name is the function


def random_mixture(seed: int, components: int) -> Mixture:
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(components, 3, 3)) * rng.uniform(2, 30, (components, 1, 1))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    return Mixture(rng.dirichlet(np.ones(components)), rng.uniform(0, 255, (components, 3)), covariances)


def same_in_sklearn(mixture: Mixture) -> GaussianMixture:
    same = GaussianMixture(len(mixture.weights), covariance_type="full")
    same.weights_, same.means_, same.covariances_ = mixture.weights, mixture.means, mixture.covariances
    same.precisions_cholesky_ = np.linalg.cholesky(np.linalg.inv(mixture.covariances))
    return same


def colours(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), dtype=np.uint8)


def two_sides(height: int, width: int) -> Seeds:
    """The left third is foreground, the right third background."""
    columns = np.broadcast_to(np.arange(width), (height, width))
    return Seeds(columns < width // 3, columns >= width - width // 3)


# The likelihood


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_log_likelihood_equals_scipy_and_sklearn(seed: int, components: int) -> None:
    mixture, z = random_mixture(seed, components), colours(seed, 50)
    each = [
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(z)
        for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ]
    found = mixture.log_likelihood(z)
    np.testing.assert_allclose(found, logsumexp(np.array(each), axis=0), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(found, same_in_sklearn(mixture).score_samples(z.astype(float)), rtol=1e-7, atol=1e-7)


def test_log_likelihood_of_one_gaussian_worked_out_on_paper() -> None:
    """Variances 1, 4, 9, so |Σ| = 36; the colour is (1, 2, 3) away: −½ (3 log 2π + log 36 + 1 + 1 + 1)."""
    mixture = Mixture(np.ones(1), np.array([[10.0, 20.0, 30.0]]), np.diag([1.0, 4.0, 9.0])[None])
    expected = -0.5 * (3 * np.log(2 * np.pi) + np.log(36) + 3)
    assert mixture.log_likelihood(np.array([11.0, 22.0, 33.0])) == pytest.approx(expected, rel=1e-12)


def test_log_likelihood_keeps_the_shape_and_does_not_underflow() -> None:
    mixture = Mixture(np.array([0.5, 0.5]), np.array([[0.0] * 3, [1.0] * 3]), np.stack([0.01 * np.eye(3)] * 2))
    z = np.full((2, 5, 3), 255, np.uint8)
    found = mixture.log_likelihood(z)
    assert found.shape == (2, 5)
    assert np.isfinite(found).all()  # e^found itself is zero
    assert found.max() < -1e6
    assert mixture.log_likelihood(z[0, 0]).shape == ()


# The fit


@pytest.fixture(scope="module")
def real_seeds(classifier: Classifier) -> dict[str, tuple[np.ndarray, Seeds]]:
    """Photos as the network sees them, with their seeds."""
    found = {}
    for name in ("panda", "macaw", "koala", "espresso"):
        picture = photo(name).image.resize((224, 224), Image.Resampling.BICUBIC)
        c = classifier.find(photo(name).wordnet_id)
        found[name] = np.asarray(picture), seeds(saliency_map(classifier, picture, c, crops=10))
    return found


@pytest.mark.parametrize("name", ["panda", "macaw", "koala", "espresso"])
@pytest.mark.parametrize("side", ["foreground", "background"])
def test_fit_is_as_likely_as_sklearns_on_real_seeds(
    real_seeds: dict[str, tuple[np.ndarray, Seeds]], name: str, side: str
) -> None:
    levels, chosen = real_seeds[name]
    z = levels[getattr(chosen, side)].astype(float)
    # Its usual settings, except for the same floor under the variances.
    rival = GaussianMixture(5, covariance_type="full", reg_covar=1.0, random_state=0).fit(z)
    ours = fit_mixture(z, 5)
    assert len(ours.weights) == 5
    assert ours.log_likelihood(z).mean() > rival.score(z) - 0.1


def test_more_components_fit_better(real_seeds: dict[str, tuple[np.ndarray, Seeds]]) -> None:
    levels, chosen = real_seeds["macaw"]
    z = levels[chosen.background]
    one, five = (fit_mixture(z, k).log_likelihood(z).mean() for k in (1, 5))
    assert five > one + 0.3


def test_one_component_is_the_sample_mean_and_covariance() -> None:
    z = colours(3, 400)
    mixture = fit_mixture(z, 1)
    np.testing.assert_allclose(mixture.weights, [1])
    np.testing.assert_allclose(mixture.means[0], z.mean(0), rtol=1e-9)
    np.testing.assert_allclose(mixture.covariances[0], np.cov(z.T, bias=True) + np.eye(3), rtol=1e-9)


def bound(mixture: Mixture, z: np.ndarray) -> float:
    """The mean of log Σ_k π_k exp⟨log N(z; μ_k, Σ_k)⟩ over the cells: what EM on counted colours raises."""
    logs = np.array([
        np.log(weight) + multivariate_normal(mean, covariance).logpdf(z)
        for weight, mean, covariance in zip(mixture.weights, mixture.means, mixture.covariances, strict=True)
    ])  # fmt: skip
    _, cells, counts = np.unique(
        np.clip(z // module.CELL, 0, module.SIDE - 1), axis=0, return_inverse=True, return_counts=True
    )
    means = [logs[:, cells.ravel() == cell].mean(1) for cell in range(len(counts))]
    return float(counts @ logsumexp(means, axis=1)) / len(z)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([0.0, 1.0]))
def test_em_never_lowers_what_it_raises(seed: int, components: int, floor: float) -> None:
    """This is exact without the floor under the variances; with it, EM maximises something slightly different."""
    rng = np.random.default_rng(seed)
    z = np.concatenate([rng.normal(rng.uniform(50, 200, 3), rng.uniform(5, 30, 3), (80, 3)) for _ in range(4)])
    bounds = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MIN_VARIANCE", floor)
        for iterations in range(1, 8):
            patch.setattr(module, "ITERATIONS", iterations)
            mixture = fit_mixture(z, components)
            bounds.append(bound(mixture, z))
            assert bounds[-1] <= mixture.log_likelihood(z).mean() + 1e-9
    assert np.diff(bounds).min() >= (-1e-9 if floor == 0 else -1e-3)
    if components > 1 and floor == 0:
        assert bounds[-1] > bounds[0]


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(1, 400), st.sampled_from([1, 20, 256]))
def test_colours_are_counted_as_by_a_loop(seed: int, pixels: int, levels: int) -> None:
    z = np.random.default_rng(seed).integers(0, levels, (pixels, 3), dtype=np.uint8)
    found = module.count_colours(z)
    expected: dict[int, np.ndarray] = {}
    for r, g, b in z.tolist():
        number = (r // 4 * 64 + g // 4) * 64 + b // 4
        features = np.array([1, r, g, b, r * r, r * g, r * b, g * g, g * b, b * b])
        expected[number] = expected.get(number, 0) + features
    assert found.number.tolist() == sorted(expected)
    assert found.moments.tolist() == [expected[n].tolist() for n in sorted(expected)]  # whole numbers: exactly


@pytest.mark.slow
def test_a_start_draws_cells_by_their_weight() -> None:
    """If one of two colours is three times as frequent, it is the first centre in three of four random states."""
    z = np.repeat(np.array([[20, 20, 20], [220, 220, 220]], np.uint8), [30, 90], axis=0)
    cells = module.count_colours(z)
    starts = [module._spread_out_start(cells, 2, state) for state in range(400)]
    assert all(sorted(start) == [0, 1] for start in starts)  # two centres, each nearest to its own colour
    assert 260 <= sum(start[1] == 0 for start in starts) <= 340


# What must not depend on single pixels


def disturbed(chosen: Seeds, rng: np.random.Generator, pixels: int = 2) -> Seeds:
    """As on another processor: each side has a few pixels more or less."""
    masks = [mask.copy() for mask in chosen]
    for mask, other in (masks, masks[::-1]):
        edge = np.flatnonzero(ndimage.binary_dilation(mask) & ~ndimage.binary_erosion(mask) & ~other)
        mask.flat[rng.choice(edge, pixels, replace=False)] ^= True
    return Seeds(*masks)


@pytest.mark.parametrize("name", ["panda", "macaw", "koala", "espresso"])
def test_two_seeds_more_or_less_change_next_to_nothing(
    real_seeds: dict[str, tuple[np.ndarray, Seeds]], name: str
) -> None:
    """A fit that draws pixels ends in another optimum: its costs then change by several nats in half of the picture."""
    levels, chosen = real_seeds[name]
    costs, rng = colour_models(levels, chosen).costs(levels), np.random.default_rng(0)
    for _ in range(5):
        other = colour_models(levels, disturbed(chosen, rng)).costs(levels)
        for one, two in zip(costs, other, strict=True):
            assert np.median(np.abs(one - two)) < 0.1
            assert (np.abs(one - two) > 1).mean() < 0.02


@pytest.mark.parametrize("random_state", range(5))
def test_recovers_two_well_separated_gaussians(random_state: int) -> None:
    rng = np.random.default_rng(random_state)
    tilt = np.array([[90.0, 40, 0], [40, 60, -20], [0, -20, 30]])
    one = rng.multivariate_normal([60, 80, 100], tilt, 1500)
    other = rng.multivariate_normal([190, 150, 40], np.diag([16.0, 100, 49]), 500)
    mixture = fit_mixture(rng.permutation(np.concatenate([one, other])), 2, random_state)
    first, second = np.argsort(mixture.means[:, 0])
    np.testing.assert_allclose(mixture.weights[[first, second]], [0.75, 0.25], atol=1e-6)
    np.testing.assert_allclose(mixture.means[first], one.mean(0), atol=1e-4)
    np.testing.assert_allclose(mixture.means[second], other.mean(0), atol=1e-4)
    np.testing.assert_allclose(mixture.covariances[first], np.cov(one.T, bias=True) + np.eye(3), atol=1e-3)
    np.testing.assert_allclose(mixture.covariances[second], np.cov(other.T, bias=True) + np.eye(3), atol=1e-3)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 60), st.integers(1, 8), st.sampled_from([1, 3, 256]))
def test_any_fit_is_a_mixture(seed: int, pixels: int, components: int, levels: int) -> None:
    z = np.random.default_rng(seed).integers(0, levels, (pixels, 3), dtype=np.uint8)
    mixture = fit_mixture(z, components)
    k = len(mixture.weights)
    assert 1 <= k <= min(components, len(np.unique(z, axis=0)))
    assert (mixture.weights.shape, mixture.means.shape, mixture.covariances.shape) == ((k,), (k, 3), (k, 3, 3))
    assert mixture.weights.min() > 0
    assert mixture.weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(mixture.covariances, mixture.covariances.transpose(0, 2, 1))
    assert np.linalg.eigvalsh(mixture.covariances).min() > 0.99  # the floor under the variances
    assert np.isfinite(mixture.log_likelihood(z)).all()


def test_a_single_colour() -> None:
    mixture = fit_mixture(np.tile(np.array([[10, 200, 30]], np.uint8), (300, 1)), 5)
    assert mixture.weights.tolist() == [1]
    np.testing.assert_allclose(mixture.means, [[10, 200, 30]])
    np.testing.assert_allclose(mixture.covariances, [np.eye(3)])


def test_fewer_colours_than_components() -> None:
    z = np.repeat(np.array([[10, 10, 10], [90, 90, 90], [200, 100, 0]], np.uint8), [50, 30, 20], axis=0)
    mixture = fit_mixture(z, 5)
    order = np.argsort(mixture.means[:, 0])
    np.testing.assert_allclose(mixture.weights[order], [0.5, 0.3, 0.2], atol=1e-9)
    np.testing.assert_allclose(mixture.means[order], [[10, 10, 10], [90, 90, 90], [200, 100, 0]], atol=1e-6)


def test_one_seed_pixel_a_side() -> None:
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[:, :2], picture[:, 2:] = (200, 10, 10), (10, 10, 200)
    foreground, background = np.zeros((4, 5), bool), np.zeros((4, 5), bool)
    foreground[1, 0] = background[2, 4] = True
    costs = colour_models(picture, Seeds(foreground, background)).costs(picture)
    assert ((costs.foreground < costs.background) == (np.arange(5) < 2)).all()


def test_every_seed_counts() -> None:
    rng = np.random.default_rng(0)
    z = np.concatenate([rng.normal(60, 10, (6000, 3)), rng.normal(180, 20, (3000, 3))])
    mixture = fit_mixture(z, 2)
    order = np.argsort(mixture.means[:, 0])
    np.testing.assert_allclose(mixture.weights[order], [2 / 3, 1 / 3], atol=1e-3)
    np.testing.assert_allclose(mixture.means[order], [z[:6000].mean(0), z[6000:].mean(0)], atol=0.1)


# Both models and their costs


def test_costs_are_the_negative_log_likelihoods_of_each_side() -> None:
    picture, chosen = colours(0, 12, 15), two_sides(12, 15)
    models = colour_models(picture, chosen, components=3)
    costs = models.costs(picture)
    for cost, mixture in ((costs.foreground, models.foreground), (costs.background, models.background)):
        assert (cost.shape, cost.dtype) == ((12, 15), np.float64)
        expected = -same_in_sklearn(mixture).score_samples(picture.reshape(-1, 3).astype(float)).reshape(12, 15)
        np.testing.assert_allclose(cost, expected, rtol=1e-7)


def test_each_model_learns_from_its_own_seeds_alone() -> None:
    picture, chosen = colours(0, 12, 15), two_sides(12, 15)
    models = colour_models(picture, chosen, components=2)
    for side, mixture in zip(chosen, (models.foreground, models.background), strict=True):
        expected = fit_mixture(picture[side], 2, 0)
        assert np.array_equal(mixture.means, expected.means)
    repainted = picture.copy()
    repainted[chosen.unused] = 0
    repainted[chosen.background] = 255
    again = colour_models(repainted, chosen, components=2)
    assert np.array_equal(again.foreground.means, models.foreground.means)
    assert not np.array_equal(again.background.means, models.background.means)


def test_the_object_s_colours_cost_less_as_foreground() -> None:
    picture = np.zeros((10, 30, 3), np.uint8)
    picture[:, :10], picture[:, 10:] = (220, 60, 20), (20, 120, 60)
    picture += colours(1, 10, 30) // 16
    costs = colour_models(picture, two_sides(10, 30)).costs(picture)
    assert (costs.foreground[:, :10] < costs.background[:, :10]).all()
    assert (costs.foreground[:, 10:] > costs.background[:, 10:]).all()


def test_a_picture_of_another_size_has_costs_too() -> None:
    models = colour_models(colours(0, 12, 15), two_sides(12, 15))
    assert models.costs(colours(1, 7, 40)).foreground.shape == (7, 40)


def test_a_pil_image_and_its_array_give_the_same_and_grey_is_rgb_of_three_equal_levels() -> None:
    picture, chosen = Image.fromarray(colours(0, 12, 15)), two_sides(12, 15)
    for one, other in ((picture, np.asarray(picture)), (picture.convert("L"), picture.convert("L").convert("RGB"))):
        found, expected = (colour_models(form, chosen).costs(form) for form in (one, other))
        assert np.array_equal(found.foreground, expected.foreground)
        assert np.array_equal(found.background, expected.background)


def test_the_same_call_gives_the_same_bits_and_random_state_chooses() -> None:
    picture, chosen = colours(0, 60, 90), two_sides(60, 90)
    first, again, other = (colour_models(picture, chosen, random_state=r) for r in (0, 0, 1))
    assert np.array_equal(first.costs(picture), again.costs(picture))
    assert not np.array_equal(first.costs(picture), other.costs(picture))


def test_what_was_passed_in_and_shared_random_numbers_stay_as_they_were() -> None:
    picture, chosen = colours(0, 60, 90)[:, ::-1], two_sides(60, 90)
    with no_trace(picture, *chosen):
        colour_models(picture, chosen).costs(picture)
    with pytest.raises(ValueError, match="component"), no_trace(picture, *chosen):
        colour_models(picture, chosen, components=0)


# Wrong inputs


@pytest.mark.parametrize("components", [0, -1, 251, 10**6])
def test_components_out_of_range_are_refused(components: int) -> None:
    with pytest.raises(ValueError, match="components from 1 to 250"):
        colour_models(colours(0, 6, 9), two_sides(6, 9), components)


@pytest.mark.parametrize("components", ["5", 2.5, True, None, (5,), np.ones(2)])
def test_components_that_are_no_whole_number_are_refused(components: Any) -> None:
    with pytest.raises(TypeError, match="expected a whole number for components"):
        colour_models(colours(0, 6, 9), two_sides(6, 9), components)


@pytest.mark.parametrize("state", ["0", 1.5, None, False, np.random.default_rng(0), np.random.RandomState(0)])
def test_a_random_state_that_is_no_whole_number_is_refused(state: Any) -> None:
    with pytest.raises(TypeError, match=r"expected a whole number for random_state.*same number"):
        colour_models(colours(0, 6, 9), two_sides(6, 9), random_state=state)


@pytest.mark.parametrize("state", [-1, 2**64])
def test_a_random_state_out_of_range_is_refused(state: int) -> None:
    with pytest.raises(ValueError, match="random_state from 0 to 18446744073709551615"):
        colour_models(colours(0, 6, 9), two_sides(6, 9), random_state=state)


def test_numpys_numbers_are_as_good_as_pythons() -> None:
    picture, chosen = colours(0, 6, 9), two_sides(6, 9)
    one = colour_models(picture, chosen, np.int8(3), np.uint64(7)).costs(picture)
    other = colour_models(picture, chosen, 3, 7).costs(picture)
    assert np.array_equal(one, other)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m[:-1], r"boolean {} seeds \(6, 9\).*\(5, 9\)"),
        (lambda m: m.T, r"boolean {} seeds \(6, 9\).*\(9, 6\)"),
        (lambda m: m.astype(np.uint8), r"boolean {} seeds.*uint8"),
        (np.zeros_like, r"the {} seeds are empty"),
    ],
)
def test_wrong_seeds_are_refused(side: int, change: Callable[[np.ndarray], np.ndarray], complaint: str) -> None:
    masks = list(two_sides(6, 9))
    masks[side] = change(masks[side])
    with pytest.raises(ValueError, match=complaint.format(("foreground", "background")[side])):
        colour_models(colours(0, 6, 9), Seeds(*masks))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((6, 9), np.uint8),
        np.zeros((6, 9, 4), np.uint8),
        np.zeros((6, 9, 3)),
        np.zeros((3, 6, 9), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(picture: object) -> None:
    with pytest.raises(ValueError, match=r"PIL image or a uint8 array \(H, W, 3\)"):
        colour_models(picture, two_sides(6, 9))
    models = colour_models(colours(0, 6, 9), two_sides(6, 9))
    with pytest.raises(ValueError, match=r"PIL image or a uint8 array \(H, W, 3\)"):
        models.costs(picture)


def test_a_pil_image_of_another_size_is_resized_to_the_masks_and_an_array_never() -> None:
    picture = Image.fromarray(colours(1, 12, 18))
    chosen = two_sides(6, 9)
    by_hand = np.asarray(picture.resize((9, 6), Image.Resampling.BICUBIC))
    from_picture, from_array = colour_models(picture, chosen), colour_models(by_hand, chosen)
    assert np.array_equal(from_picture.foreground.means, from_array.foreground.means)
    assert np.array_equal(from_picture.background.means, from_array.background.means)
    assert from_picture.costs(picture).foreground.shape == (6, 9)
    assert np.array_equal(from_picture.costs(picture), from_array.costs(by_hand))
    assert from_picture.costs(np.asarray(picture)).foreground.shape == (12, 18)
    with pytest.raises(ValueError, match="resized for you"):
        colour_models(np.asarray(picture), chosen)


def test_a_pixel_that_is_seed_of_both_sides_is_refused() -> None:
    everywhere = np.ones((6, 9), bool)
    with pytest.raises(ValueError, match=r"54 pixels are seeds of both sides \(the first: row 0, column 0\)"):
        colour_models(colours(2, 6, 9), (everywhere, everywhere))
