"""The cut against brute force over every labelling, and its energy and weights against nested loops."""

import itertools
from collections.abc import Callable
from importlib import import_module
from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from no_trace import no_trace
from PIL import Image
from scipy import ndimage

from deepinside_edu import graph_cut
from deepinside_edu.colour_models import Costs
from deepinside_edu.graph_cut import CONTRAST, SMOOTHEST, SMOOTHNESS, Cut, RepeatedCut, contrast_weights, cut_energy
from deepinside_edu.seeds import Seeds

STEPS = {4: [(0, 1), (1, 0)], 8: [(0, 1), (1, 0), (1, 1), (1, -1)]}


def slow_weights(image: np.ndarray, neighbours: int) -> dict[tuple[int, int, int, int], float]:
    """exp(−β‖I_p − I_q‖²) / dist(p, q) of every pair (y, x, y', x'), each pair once, β = CONTRAST / mean."""
    height, width = image.shape[:2]
    squares = {}
    for y in range(height):
        for x in range(width):
            for down, right in STEPS[neighbours]:
                if y + down < height and 0 <= x + right < width:
                    pair = zip(image[y, x].tolist(), image[y + down, x + right].tolist(), strict=True)
                    squares[y, x, y + down, x + right] = sum((a - b) ** 2 for a, b in pair)
    mean = sum(squares.values()) / max(1, len(squares))
    beta = CONTRAST / mean if mean > 0 else 0
    return {
        (y, x, v, u): exp(-beta * square) / sqrt((v - y) ** 2 + (u - x) ** 2)
        for (y, x, v, u), square in squares.items()
    }


def slow_energy(image: np.ndarray, costs: Costs, mask: np.ndarray, smoothness: float, neighbours: int) -> float:
    energy = 0.0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            energy += costs[0][y, x] if mask[y, x] else costs[1][y, x]
    for (y, x, v, u), weight in slow_weights(image, neighbours).items():
        if mask[y, x] != mask[v, u]:
            energy += smoothness * weight
    return float(energy)


def all_energies(image: np.ndarray, costs: Costs, smoothness: float, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Every labelling `(2^HW, H, W)` and its energy."""
    height, width = image.shape[:2]
    masks = np.array(list(itertools.product([False, True], repeat=height * width))).reshape(-1, height, width)
    energies = np.where(masks, costs[0], costs[1]).sum((1, 2))
    for (y, x, v, u), weight in slow_weights(image, neighbours).items():
        energies = energies + smoothness * weight * (masks[:, y, x] != masks[:, v, u])
    return masks, energies


NINE_PIXELS = [(3, 3), (1, 9), (9, 1), (2, 4), (4, 2), (1, 1), (1, 2), (2, 2)]


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, Costs, float, Seeds, int]:
    """A picture of nine pixels or fewer, mostly 3×3; few colours and small costs make many energies nearly equal."""
    shape = draw(st.one_of(st.just((3, 3)), st.sampled_from(NINE_PIXELS)))
    levels = st.one_of(st.sampled_from([0, 128, 255]), st.integers(0, 255))
    image = draw(hnp.arrays(np.uint8, (*shape, 3), elements=levels))
    some_costs = hnp.arrays(np.float64, shape, elements=st.floats(-30, 30))
    smoothness = draw(st.one_of(st.sampled_from([0.0, 1.0, 60.0]), st.floats(0, 100)))
    marks = draw(hnp.arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 1, 2])))
    return (
        image,
        Costs(draw(some_costs), draw(some_costs)),
        smoothness,
        Seeds(marks == 1, marks == 2),
        draw(st.sampled_from([4, 8])),
    )


@pytest.mark.slow
@settings(max_examples=200)
@given(problems())
def test_equals_brute_force_over_all_labellings(problem: tuple[np.ndarray, Costs, float, Seeds, int]) -> None:
    image, costs, smoothness, seeds, neighbours = problem
    masks, energies = all_energies(image, costs, smoothness, neighbours)
    allowed = ~(seeds.foreground & ~masks).any((1, 2)) & ~(seeds.background & masks).any((1, 2))
    for hard, least in ((None, energies.min()), (seeds, energies[allowed].min())):
        cut = graph_cut(image, costs, smoothness, hard, neighbours)
        assert cut.energy == pytest.approx(least, abs=1e-6)
        assert (cut.mask.shape, cut.mask.dtype) == (image.shape[:2], bool)
        # Any of several equally good labellings will do, but the reported energy must be that of the mask.
        assert slow_energy(image, costs, cut.mask, smoothness, neighbours) == pytest.approx(cut.energy, abs=1e-6)
        if hard is not None:
            assert cut.mask[seeds.foreground].all()
            assert not cut.mask[seeds.background].any()


@settings(max_examples=50)
@given(problems(), st.randoms(use_true_random=False))
def test_energy_of_any_labelling_equals_nested_loops(problem: tuple, random: object) -> None:
    image, costs, smoothness, _, neighbours = problem
    mask = np.array([random.random() < 0.5 for _ in range(image[..., 0].size)]).reshape(image.shape[:2])
    expected = slow_energy(image, costs, mask, smoothness, neighbours)
    assert cut_energy(image, costs, mask, smoothness, neighbours) == pytest.approx(expected, abs=1e-9)
    assert cut_energy(image, costs, mask.tolist(), smoothness, neighbours) == pytest.approx(expected, abs=1e-9)


# Worked out on paper


def test_two_pixels_worked_out_on_paper() -> None:
    """Their only border has exactly the mean contrast: it costs λ e^−CONTRAST. The pixels differ by 2 and 5 nats."""
    image = np.array([[[0, 0, 0], [10, 20, 30]]], np.uint8)
    costs = Costs(np.array([[1.0, 9.0]]), np.array([[3.0, 4.0]]))
    border = exp(-CONTRAST)
    apart = graph_cut(image, costs, smoothness=1.9 / border)
    assert apart.mask.tolist() == [[True, False]]
    assert apart.energy == pytest.approx(1 + 4 + 1.9)
    together = graph_cut(image, costs, smoothness=2.1 / border)
    assert together.mask.tolist() == [[False, False]]
    assert together.energy == pytest.approx(3 + 4)


def test_foreground_is_where_its_cost_is_lower() -> None:
    """Without smoothness each pixel decides alone: true is foreground, and a negative cost is lower still."""
    costs = Costs(np.array([[1.0, 5.0, -3.0, -1.0]]), np.array([[2.0, 4.0, -2.0, -2.0]]))
    cut = graph_cut(np.zeros((1, 4, 3), np.uint8), costs, smoothness=0)
    assert cut.mask.tolist() == [[True, False, True, False]]
    assert cut.energy == pytest.approx(1 + 4 - 3 - 2)


@pytest.mark.parametrize("shape", [(1, 12), (12, 1)])
def test_pictures_one_pixel_wide_or_high(shape: tuple[int, int]) -> None:
    """A single pixel that differs gives in to its two neighbours; a run of six does not."""
    opinion = np.array([0, 0, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1], dtype=bool).reshape(shape)
    costs = Costs(np.where(opinion, 1.0, 2.0), np.where(opinion, 2.0, 1.0))
    cut = graph_cut(np.full((*shape, 3), 7, np.uint8), costs, smoothness=0.9)
    assert np.flatnonzero(cut.mask).tolist() == [6, 7, 8, 9, 10, 11]
    assert cut.energy == pytest.approx(12 + 1 + 0.9)


def test_one_pixel() -> None:
    image = np.zeros((1, 1, 3), np.uint8)
    assert graph_cut(image, Costs(np.array([[1.0]]), np.array([[2.0]]))).mask.tolist() == [[True]]
    assert graph_cut(image, Costs(np.array([[2.0]]), np.array([[1.0]]))).mask.tolist() == [[False]]


def test_a_pixel_at_the_border_is_held_by_its_links_there() -> None:
    """The corner of a flat 3×3 picture has links 1 + 1 + 1/√2, an edge's middle 3 + √2, the centre 4 + 4/√2."""
    image = np.zeros((3, 3, 3), np.uint8)
    for place, links in (((0, 0), 2 + 1 / sqrt(2)), ((0, 1), 3 + sqrt(2)), ((1, 1), 4 + 2 * sqrt(2))):
        for gain, expected in ((links - 0.01, 0), (links + 0.01, 1)):
            foreground = np.full((3, 3), 100.0)
            foreground[place] = -gain
            cut = graph_cut(image, Costs(foreground, np.zeros((3, 3))), smoothness=1)
            assert cut.mask.sum() == expected
            assert cut.mask[place] == bool(expected)


# Larger pictures


def large_problem(seed: int, height: int = 40, width: int = 55) -> tuple[np.ndarray, Costs]:
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.uniform(0, 255, (height, width, 3)), (2, 2, 0))
    image = ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)
    return image, Costs(*(20 * ndimage.gaussian_filter(rng.normal(size=(2, height, width)), (0, 1, 1)) + 11))


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("smoothness", [0.5, 5.0, SMOOTHNESS])
def test_never_exceeds_any_labelling_tried(neighbours: int, smoothness: float) -> None:
    image, costs = large_problem(0)
    cut = graph_cut(image, costs, smoothness, neighbours=neighbours)
    assert cut.energy == pytest.approx(slow_energy(image, costs, cut.mask, smoothness, neighbours))
    rng = np.random.default_rng(1)
    shape = image.shape[:2]
    rivals = [np.zeros(shape, bool), np.ones(shape, bool), costs.foreground < costs.background, ~cut.mask]
    rivals += [ndimage.binary_erosion(cut.mask), ndimage.binary_dilation(cut.mask), ndimage.median_filter(cut.mask, 3)]
    rivals += [cut.mask ^ (rng.random(shape) < rng.uniform(0, 0.05)) for _ in range(60)]
    for _ in range(150):  # a pixel or a small rectangle turned over
        rival = cut.mask.copy()
        y, x = rng.integers(shape[0]), rng.integers(shape[1])
        rival[y : y + rng.integers(1, 6), x : x + rng.integers(1, 6)] ^= True
        rivals.append(rival)
    energies = [cut_energy(image, costs, rival, smoothness, neighbours) for rival in rivals]
    assert cut.energy <= min(energies) + 1e-6


def test_more_smoothness_never_makes_a_longer_border() -> None:
    image, costs = large_problem(2)
    zero = Costs(np.zeros(image.shape[:2]), np.zeros(image.shape[:2]))
    borders = [cut_energy(image, zero, graph_cut(image, costs, s).mask, 1.0) for s in (0, 1, 3, 10, 30, 100)]
    assert borders[0] > 2 * borders[3] > 4 * borders[5]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(borders))


@pytest.mark.parametrize("smoothness", [0.0, 5.0, 500.0])
@pytest.mark.parametrize("neighbours", [4, 8])
def test_hard_seeds_hold_against_any_cost(smoothness: float, neighbours: int) -> None:
    image, costs = large_problem(3)
    image[10:20] = 90  # a flat stretch, where borders cost most
    rng = np.random.default_rng(0)
    marks = rng.choice([0, 1, 2], image.shape[:2], p=[0.9, 0.05, 0.05])
    seeds = Seeds(marks == 1, marks == 2)
    dearer = Costs(costs.foreground + 1e4 * seeds.foreground, costs.background + 1e4 * seeds.background)
    cut = graph_cut(image, dearer, smoothness, seeds, neighbours)
    assert cut.mask[seeds.foreground].all()
    assert not cut.mask[seeds.background].any()
    assert cut.energy == pytest.approx(cut_energy(image, dearer, cut.mask, smoothness, neighbours))
    free = graph_cut(image, dearer, smoothness, neighbours=neighbours)
    assert free.mask[seeds.foreground].mean() < 0.9
    assert free.energy < cut.energy


def test_noisy_costs_of_a_disc_on_a_plain_ground() -> None:
    y, x = np.mgrid[:200, :220]
    disc = (y - 90) ** 2 + (x - 120) ** 2 < 50**2
    image = np.where(disc[..., None], (200, 60, 40), (40, 90, 160)).astype(np.uint8)
    costs = Costs(np.where(disc, 1.0, 1.2), np.where(disc, 1.2, 1.0))
    noisy = np.random.default_rng(0).random(disc.shape) < 0.3
    costs = Costs(np.where(noisy, 1.1, costs.foreground), np.where(noisy, 1.1, costs.background))
    assert np.array_equal(graph_cut(image, costs, smoothness=5).mask, disc)


# Contrast weights


@pytest.mark.parametrize("neighbours", [4, 8])
@pytest.mark.parametrize("shape", [(5, 7), (7, 5), (1, 6), (6, 1), (2, 2), (1, 1)])
def test_weights_equal_nested_loops_borders_included(neighbours: int, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = slow_weights(image, neighbours)
    found = contrast_weights(image, neighbours)
    assert len(found) == neighbours // 2
    pairs = 0
    for (down, right), weights in zip(STEPS[neighbours], found, strict=True):
        assert weights.shape == (shape[0] - down, shape[1] - abs(right))
        pairs += weights.size
        for (i, j), weight in np.ndenumerate(weights):
            y, x = i, j + max(0, -right)
            assert weight == pytest.approx(expected[y, x, y + down, x + right], rel=1e-6)
    assert pairs == len(expected)


def test_weights_of_a_constant_picture_are_one_over_the_distance() -> None:
    right, down, slash, backslash = contrast_weights(np.full((3, 4, 3), 200, np.uint8))
    assert right.tolist() == [[1.0] * 3] * 3
    assert down.tolist() == [[1.0] * 4] * 2
    for diagonal in (slash, backslash):
        np.testing.assert_allclose(diagonal, np.full((2, 3), 1 / sqrt(2)))


def test_weights_are_near_one_inside_a_surface_and_near_zero_at_an_edge() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = 255
    across = contrast_weights(image)[0]
    assert across[:, 9].max() < 1e-6
    assert np.delete(across, 9, axis=1).min() == 1


def test_all_three_channels_count() -> None:
    for channel in range(3):
        image = np.zeros((1, 3, 3), np.uint8)
        image[0, 2, channel] = 10  # differences 0 and 100, mean 50
        np.testing.assert_allclose(contrast_weights(image)[0], [[1, exp(-2 * CONTRAST)]])


@settings(max_examples=50)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6).map(lambda s: (*s, 3))))
def test_weights_lie_between_nothing_and_one_over_the_distance(image: np.ndarray) -> None:
    for (down, right), weights in zip(STEPS[8], contrast_weights(image), strict=True):
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()
        assert (weights <= 1 / np.hypot(down, right)).all()


# What goes in


def test_forms_of_one_picture_give_the_same_cut() -> None:
    image, costs = large_problem(4)
    expected = graph_cut(image, costs)
    for form in (Image.fromarray(image), np.asfortranarray(image), np.ascontiguousarray(image[::-1])[::-1]):
        assert np.array_equal(graph_cut(form, costs).mask, expected.mask)
    assert np.array_equal(graph_cut(image, Costs(costs[0].tolist(), costs[1].tolist())).mask, expected.mask)


def test_the_same_call_gives_the_same_and_changes_nothing() -> None:
    image, costs = large_problem(5)
    seeds = Seeds(costs.foreground < -5, costs.background < -5)
    seeds = Seeds(seeds.foreground & ~seeds.background, seeds.background & ~seeds.foreground)
    with no_trace(image, *costs, *seeds):
        first, again = graph_cut(image, costs, seeds=seeds), graph_cut(image, costs, seeds=seeds)
        cut_energy(image, costs, first.mask)
    assert np.array_equal(first.mask, again.mask)
    assert first.energy == again.energy


def test_pictures_of_two_sizes_in_turn() -> None:
    """The pairs of neighbours are kept for each size and neighbourhood."""
    for _ in range(2):
        for shape, neighbours in (((3, 8), 8), ((8, 3), 8), ((3, 8), 4)):
            rng = np.random.default_rng(6)
            image, costs = rng.integers(0, 256, (*shape, 3), dtype=np.uint8), Costs(*rng.normal(size=(2, *shape)))
            cut = graph_cut(image, costs, 0.5, neighbours=neighbours)
            assert cut.energy == pytest.approx(slow_energy(image, costs, cut.mask, 0.5, neighbours))


def ordinary() -> dict[str, object]:
    costs = Costs(np.zeros((4, 5)), np.ones((4, 5)))
    return {"image": np.zeros((4, 5, 3), np.uint8), "costs": costs, "smoothness": 1.0, "seeds": None, "neighbours": 8}


NOTHING = np.zeros((4, 5), bool)
SOMETHING = np.eye(4, 5, dtype=bool)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"costs": Costs(np.zeros((5, 4)), np.zeros((4, 5)))}, r"foreground costs \(4, 5\).*\(5, 4\)"),
        ({"costs": Costs(np.zeros((4, 5)), np.zeros(20))}, r"background costs \(4, 5\).*\(20,\)"),
        ({"costs": Costs(np.full((4, 5), np.nan), np.zeros((4, 5)))}, "foreground costs are not finite"),
        ({"costs": Costs(np.zeros((4, 5)), np.full((4, 5), np.inf))}, "background costs are not finite"),
        ({"smoothness": -0.1}, r"smoothness from 0 to 1000000"),
        ({"smoothness": np.nan}, r"smoothness from 0 to 1000000"),
        ({"smoothness": 1.001e6}, r"smoothness from 0 to 1000000"),
        ({"smoothness": np.inf}, r"smoothness from 0 to 1000000"),
        ({"neighbours": 6}, "4 or 8 neighbours"),
        ({"seeds": Seeds(NOTHING.T, NOTHING)}, r"foreground seeds \(4, 5\).*\(5, 4\)"),
        ({"seeds": Seeds(SOMETHING, SOMETHING)}, r"4 pixels are seeds of both sides \(the first: row 0, column 0\)"),
        ({"image": np.zeros((4, 5), np.uint8)}, r"uint8 array \(H, W, 3\)"),
        ({"image": np.zeros((4, 5, 3))}, r"uint8 array \(H, W, 3\)"),
    ],
)
def test_wrong_inputs_are_refused(change: dict[str, object], complaint: str) -> None:
    assert graph_cut(**ordinary()).mask.all()
    with pytest.raises(ValueError, match=complaint):
        graph_cut(**ordinary() | change)


def test_a_tie_is_no_object() -> None:
    nothing = np.zeros((5, 6))
    cut = graph_cut(np.full((5, 6, 3), 90, np.uint8), Costs(nothing, nothing))
    assert not cut.mask.any()
    assert cut.energy == 0


def test_a_pil_image_of_another_size_is_resized_to_the_costs() -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    costs = Costs(rng.random((10, 15)) * 50, rng.random((10, 15)) * 50)
    small = picture.resize((15, 10), Image.Resampling.BICUBIC)
    assert np.array_equal(graph_cut(picture, costs).mask, graph_cut(small, costs).mask)
    assert graph_cut(picture, costs).energy == graph_cut(small, costs).energy


def test_the_energy_of_a_labelling_of_another_shape_or_kind_is_refused() -> None:
    costs = Costs(np.zeros((4, 5)), np.zeros((4, 5)))
    picture = np.zeros((4, 5, 3), np.uint8)
    for mask in (np.zeros((5, 4), bool), np.zeros((4, 5))):
        with pytest.raises(ValueError, match="boolean mask"):
            cut_energy(picture, costs, mask)
    with pytest.raises(ValueError, match="4 or 8 neighbours"):
        cut_energy(picture, costs, np.zeros((4, 5), bool), neighbours=6)
    with pytest.raises(ValueError, match="boolean foreground seeds"):
        graph_cut(picture, costs, seeds=(np.zeros((4, 5)), np.ones((4, 5))))


def test_three_arrays_of_costs_are_refused() -> None:
    nothing = np.zeros((4, 5))
    with pytest.raises(ValueError, match="two arrays of costs"):
        graph_cut(np.zeros((4, 5, 3), np.uint8), (nothing, nothing, nothing))  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [graph_cut, RepeatedCut, lambda mask=NOTHING, **each: cut_energy(
    each["image"], each["costs"], mask, each["smoothness"], each["neighbours"])])  # fmt: skip
@pytest.mark.parametrize(
    ("option", "value"),
    [("smoothness", "100"), ("smoothness", None), ("smoothness", True), ("neighbours", "8"), ("neighbours", 8.0)],
)
def test_options_of_another_kind_are_refused(call: Callable[..., object], option: str, value: object) -> None:
    call(**ordinary())
    with pytest.raises(TypeError, match=f"expected a .*number for {option}"):
        call(**ordinary() | {option: value})


def test_weights_of_six_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="4 or 8 neighbours"):
        contrast_weights(np.zeros((4, 5, 3), np.uint8), 6)


def test_no_smoothness_that_is_allowed_gives_worse_than_a_constant() -> None:
    """Most pixels prefer background by a little, and the others prefer object by far more, so the sum decides."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    costs = Costs(np.where(rng.random((20, 30)) < 0.8, 0.01, 0), np.where(rng.random((20, 30)) < 0.3, 1.0, 0))
    assert costs.foreground.sum() < costs.background.sum()
    for smoothness in (SMOOTHEST, SMOOTHEST / 7):
        cut = graph_cut(image, costs, smoothness)
        assert cut.energy <= costs.foreground.sum() + 0.001


# Again and again


def assert_same(warm: Cut, cold: Cut) -> None:
    assert np.array_equal(warm.mask, cold.mask)
    assert warm.energy == cold.energy


TWELVE_PIXELS = [(3, 4), (4, 3), (2, 5), (1, 9), (1, 1)]


@st.composite
def sequences(draw: st.DrawFn) -> tuple[np.ndarray, float, int, list[tuple[Costs | None, Seeds | None]]]:
    """A picture of twelve pixels or fewer, and the costs and seeds of up to six cuts; none for costs as before."""
    shape = draw(st.one_of(st.just((3, 3)), st.sampled_from(TWELVE_PIXELS)))
    image = draw(hnp.arrays(np.uint8, (*shape, 3), elements=st.sampled_from([0, 128, 255])))
    smoothness = draw(st.one_of(st.sampled_from([0.0, 1.0, 60.0]), st.floats(0, 100)))
    whole, real = st.integers(-3, 3).map(float), st.floats(-30, 30)
    some_costs = st.one_of(hnp.arrays(np.float64, shape, elements=of) for of in (whole, real))
    all_costs = st.builds(Costs, some_costs, some_costs)
    marks = hnp.arrays(np.int8, shape, elements=st.sampled_from([0, 0, 0, 1, 2]))
    all_seeds = st.none() | marks.map(lambda m: Seeds(m == 1, m == 2))
    first = draw(st.tuples(all_costs, all_seeds))
    rest = draw(st.lists(st.tuples(st.none() | all_costs, all_seeds), min_size=1, max_size=5))
    return image, smoothness, draw(st.sampled_from([4, 8])), [first, *rest]


@pytest.mark.slow
@settings(max_examples=150)
@given(sequences())
def test_every_cut_of_a_sequence_equals_brute_force_and_the_cold_cut(sequence: tuple) -> None:
    image, smoothness, neighbours, changes = sequence
    costs, seeds = changes[0]
    repeated = RepeatedCut(image, costs, smoothness, seeds, neighbours)
    cut = repeated.result
    for i, (new_costs, seeds) in enumerate(changes):
        if i > 0:
            costs = new_costs or costs
            cut = repeated.again(new_costs, seeds=seeds)
        assert repeated.result is cut
        masks, energies = all_energies(image, costs, smoothness, neighbours)
        if seeds is not None:
            assert cut.mask[seeds.foreground].all()
            assert not cut.mask[seeds.background].any()
            energies = energies[~(seeds.foreground & ~masks).any((1, 2)) & ~(seeds.background & masks).any((1, 2))]
        assert cut.energy == pytest.approx(energies.min(), abs=1e-9)
        assert slow_energy(image, costs, cut.mask, smoothness, neighbours) == pytest.approx(cut.energy, abs=1e-9)
        assert_same(cut, graph_cut(image, costs, smoothness, seeds, neighbours))


@pytest.mark.slow
@settings(max_examples=100)
@given(st.lists(hnp.arrays(np.int8, (3, 4), elements=st.integers(-3, 3)), min_size=2, max_size=6), st.integers(0, 3))
def test_of_equally_good_masks_it_is_the_one_within_all_others(pulls: list[np.ndarray], smoothness: int) -> None:
    """With a flat picture and whole numbers, every energy is exact and many are equal."""
    image, nothing = np.zeros((3, 4, 3), np.uint8), np.zeros((3, 4))
    repeated = RepeatedCut(image, Costs(nothing, nothing), smoothness, neighbours=4)
    for pull in pulls:
        costs = Costs(nothing, pull.astype(float))
        masks, energies = all_energies(image, costs, smoothness, 4)
        least = masks[energies == energies.min()].all(axis=0)
        assert np.array_equal(repeated.again(costs, seeds=None).mask, least)
        assert np.array_equal(graph_cut(image, costs, smoothness, neighbours=4).mask, least)


FINE = st.integers(1, 2**44).map(lambda n: n / 2**40)


@given(FINE, FINE)
def test_a_tie_stays_one_whatever_seeds_come_and_go(first: float, second: float) -> None:
    """Two pixels pull as hard as the third does against them, and a border costs too much. Rounding must not decide."""
    image = np.zeros((1, 3, 3), np.uint8)
    costs = Costs(np.array([[0, 0, first + second]]), np.array([[first, second, 0]]))
    repeated = RepeatedCut(image, costs, smoothness=99)
    for marks in itertools.product([0, 1, 2], repeat=3):
        seeds = Seeds(np.array([marks]) == 1, np.array([marks]) == 2)
        assert_same(repeated.again(seeds=seeds), graph_cut(image, costs, 99, seeds))
        assert not repeated.again(seeds=None).mask.any()


def stroke(rng: np.random.Generator, seeds: Seeds) -> Seeds:
    """One disc of a brush: of foreground, of background, or an eraser."""
    height, width = seeds.foreground.shape
    y, x = np.ogrid[:height, :width]
    disc = (y - rng.integers(height)) ** 2 + (x - rng.integers(width)) ** 2 <= rng.integers(1, 10)
    kind = rng.integers(3)
    return Seeds((seeds.foreground & ~disc) | (disc & (kind == 0)), (seeds.background & ~disc) | (disc & (kind == 1)))


@pytest.mark.parametrize("fresh_trees", [1000, 3])
def test_five_hundred_changes_gather_no_error(fresh_trees: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs have many sizes: what a large one rounds away must not be missing from a small one later."""
    monkeypatch.setattr(import_module("deepinside_edu.graph_cut"), "FRESH_TREES", fresh_trees)
    image, costs = large_problem(7, 20, 24)
    rng = np.random.default_rng(7)
    seeds = Seeds(np.zeros((20, 24), bool), np.zeros((20, 24), bool))
    repeated = RepeatedCut(image, costs, seeds=seeds)
    for i in range(500):
        if i % 5 == 4:
            scale = 10.0 ** rng.integers(-6, 7)
            costs = Costs(*(scale * ndimage.gaussian_filter(rng.normal(size=(2, 20, 24)), (0, 1, 1))))
        seeds = stroke(rng, seeds)
        warm = repeated.again(costs if i % 5 == 4 else None, seeds=seeds)
        assert_same(warm, graph_cut(image, costs, seeds=seeds))


def test_the_search_begins_anew_before_its_32_bits_are_full() -> None:
    """A large picture's cut takes up to a million steps, and 2^31 of them are all that the library can count."""
    most = 2**31 // 10**6
    repeated = RepeatedCut(np.zeros((1, 2, 3), np.uint8), Costs(np.zeros((1, 2)), np.ones((1, 2))), 1.0)
    graph, reused = repeated._graph, []

    class Watched:
        def __getattr__(self, name: str) -> object:
            return getattr(graph, name)

        def maxflow(self, reuse_trees: bool) -> object:
            reused.append(reuse_trees)
            return graph.maxflow(reuse_trees=reuse_trees)

    repeated._graph = Watched()
    for i in range(2 * most):
        expected = i % 2 == 0
        costs = Costs(np.full((1, 2), 1.0 - expected), np.full((1, 2), float(expected)))
        assert repeated.again(costs, seeds=None).mask.all() == expected
    fresh = [-1, *(i for i, again in enumerate(reused) if not again), len(reused)]
    assert max(np.diff(fresh)) <= most
    assert len(fresh) < len(reused) / 100  # it is warm as a rule


def test_without_the_seeds_again_the_cut_is_the_one_before() -> None:
    image, costs = large_problem(8)
    repeated = RepeatedCut(image, costs)
    first = repeated.result
    marks = np.random.default_rng(8).choice([0, 1, 2], image.shape[:2], p=[0.9, 0.05, 0.05])
    assert repeated.again(seeds=Seeds(marks == 1, marks == 2)).energy > first.energy
    assert_same(repeated.again(seeds=None), first)
    assert_same(repeated.again(seeds=None), first)  # nothing changes at all


def test_seeds_must_be_named_each_time() -> None:
    image, costs = large_problem(9)
    with pytest.raises(TypeError, match="seeds"):
        RepeatedCut(image, costs).again(costs)  # type: ignore[call-arg]


def test_costs_that_the_caller_writes_into_afterwards_are_kept_as_they_were() -> None:
    image, costs = large_problem(10)
    repeated = RepeatedCut(image, costs)
    expected = repeated.result
    again = Costs(costs.foreground.copy(), costs.background.copy())
    costs.foreground[:] = 1e3
    assert_same(repeated.again(seeds=None), expected)
    repeated.again(again, seeds=None)
    again.background[:] = 1e3
    assert_same(repeated.again(seeds=None), expected)


REFUSED = [
    ({"costs": Costs(np.zeros((5, 4)), np.zeros((4, 5)))}, r"foreground costs \(4, 5\).*\(5, 4\)"),
    ({"costs": Costs(np.full((4, 5), np.nan), np.zeros((4, 5)))}, "foreground costs are not finite"),
    ({"costs": (NOTHING, NOTHING, NOTHING)}, "two arrays of costs"),
    ({"seeds": Seeds(NOTHING.T, NOTHING)}, r"foreground seeds \(4, 5\).*\(5, 4\)"),
    ({"seeds": (np.zeros((4, 5)), np.ones((4, 5)))}, "boolean foreground seeds"),
    ({"seeds": Seeds(SOMETHING, SOMETHING)}, r"4 pixels are seeds of both sides \(the first: row 0, column 0\)"),
    ({"costs": Costs(np.ones((4, 5)), np.zeros((4, 5))), "seeds": Seeds(SOMETHING, SOMETHING)}, "seeds of both sides"),
]


@pytest.mark.parametrize(("change", "complaint"), REFUSED)
def test_after_a_refused_change_the_cut_before_goes_on(change: dict[str, object], complaint: str) -> None:
    rng = np.random.default_rng(11)
    image, costs = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8), Costs(*rng.normal(size=(2, 4, 5)))
    repeated = RepeatedCut(image, costs, 1.0, Seeds(SOMETHING, NOTHING))
    before = repeated.result
    with pytest.raises(ValueError, match=complaint):
        repeated.again(**{"seeds": None} | change)
    assert repeated.result is before
    assert_same(before, graph_cut(image, costs, 1.0, Seeds(SOMETHING, NOTHING)))
    assert_same(
        repeated.again(seeds=Seeds(NOTHING, SOMETHING)), graph_cut(image, costs, 1.0, Seeds(NOTHING, SOMETHING))
    )


def test_wrong_input_for_the_first_cut_is_refused() -> None:
    for change, complaint in (*REFUSED, ({"smoothness": -1.0}, "smoothness from 0"), ({"neighbours": 6}, "4 or 8")):
        with pytest.raises(ValueError, match=complaint):
            RepeatedCut(**ordinary() | change)


@pytest.mark.parametrize("smoothness", [0.0, 5e-324, 1e-300, 1e-20, 1e6])
def test_numbers_as_small_and_as_large_as_they_come(smoothness: float) -> None:
    """If the links are nothing beside the costs, every pixel decides alone; if they are everything, no pixel does."""
    rng = np.random.default_rng(12)
    image = np.full((6, 7, 3), 80, np.uint8)
    foreground, background = rng.normal(size=(2, 6, 7))
    repeated = RepeatedCut(image, Costs(foreground, background), smoothness)
    for scale in (1, 1e-4 if smoothness > 1 else 1e-15, 1e290):
        costs = Costs(scale * foreground, scale * background)
        alone = foreground < background
        expected = alone if scale > 1e3 * smoothness else np.full((6, 7), foreground.sum() < background.sum())
        assert np.array_equal(graph_cut(image, costs, smoothness).mask, expected)
        assert np.array_equal(repeated.again(costs, seeds=None).mask, expected)
        assert np.array_equal(repeated.again(seeds=Seeds(~alone, alone)).mask, ~alone)


def test_the_difference_of_two_costs_may_overflow() -> None:
    """A cost that stands for "never", about as large as float64 goes; the second pixel has equal costs."""
    for never in (1.5e308, -1.5e308):
        cut = graph_cut(np.zeros((1, 2, 3), np.uint8), Costs(np.array([[never, 0]]), np.array([[-never, 0]])))
        assert cut.mask.tolist() == [[never < 0, never < 0]]
        assert cut.energy == -1.5e308
