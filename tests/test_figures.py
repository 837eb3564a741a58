"""Pictures show what the arrays hold, to the pixel, and can be told apart with any kind of colour vision."""

import io
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib import pyplot
from matplotlib.text import Text
from no_trace import no_trace
from PIL import Image

from deepinside_edu import figures
from deepinside_edu.figures import BLUE, CYAN, RED, YELLOW

maps = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(0, 8, width=16))


def picture(height=60, width=80):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def a_map(height=20, width=30):
    return np.random.default_rng(1).random((height, width))


def levels(image):
    return np.asarray(image).astype(float)


# --- heat map --------------------------------------------------------------------------------------------------------


def heat_rows(image):
    """Which row of the heat table each pixel shows."""
    table = {tuple(colour): row for row, colour in enumerate(figures._heat_table().tolist())}
    return np.array([[table[tuple(pixel)] for pixel in row] for row in np.asarray(image).tolist()])


def test_heat_is_proportional_to_the_map_up_to_its_peak():
    m = np.array([[0, 1, 2], [4, 8, 800]])
    assert heat_rows(figures.heat_map(m, peak=1)).tolist() == [[0, 0, 0], [1, 2, 255]]
    assert heat_rows(figures.heat_map(m, peak=0.8)).tolist() == [[0, 31, 63], [127, 255, 255]]  # the 80 % quantile is 8
    assert figures.heat_map(m).size == (3, 2)


@given(maps)
def test_what_is_larger_is_never_darker(m):
    with no_trace(m):
        rows = heat_rows(figures.heat_map(m))
    assert (np.diff(rows.ravel()[np.argsort(m, axis=None)]) >= 0).all()
    assert rows.max() == (255 if m.any() else 0)


@given(maps, st.sampled_from([2.0**-20, 0.5, 4.0, 2.0**20]))
def test_the_unit_of_a_map_does_not_matter(m, factor):
    assert np.array_equal(figures.heat_map(m), figures.heat_map(m * np.float32(factor)))


def test_one_bright_pixel_does_not_darken_all_others():
    m = a_map(100, 100)
    m[3, 4] = 1e6
    assert np.median(heat_rows(figures.heat_map(m))) > 100


def test_brightest_is_the_quantile_else_the_maximum_else_one():
    values = np.arange(1001.0)
    assert figures.brightest(values) == 995
    assert figures.brightest(values, 1.0) == 1000
    values[:-1] = 0
    assert figures.brightest(values.reshape(7, 11, 13)) == 1000
    assert figures.brightest(np.zeros((2, 3), np.float32)) == 1
    assert type(figures.brightest(np.ones((2, 3), np.float32))) is float


def test_a_single_lit_pixel_is_seen():
    m = np.zeros((50, 50))
    m[3, 4] = 1e-3
    rows = heat_rows(figures.heat_map(m))
    assert rows[3, 4] == 255
    assert rows.sum() == 255


def test_what_is_below_zero_is_drawn_as_zero():
    assert heat_rows(figures.heat_map([[-5, 0, 1]], peak=1)).tolist() == [[0, 0, 255]]
    assert heat_rows(figures.heat_map([[-5, -1]])).tolist() == [[0, 0]]


@pytest.mark.parametrize("shape", [(3,), (1, 3, 4), (0, 4), ()])
def test_a_map_of_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"expected a map \(H, W\)"):
        figures.heat_map(np.ones(shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="map holds NaN or infinite"):
        figures.heat_map([[0, bad]])


@pytest.mark.parametrize("peak", [0, -0.1, 1.1, np.nan])
def test_a_peak_out_of_range_is_refused(peak):
    with pytest.raises(ValueError, match="peak quantile above 0 and at most 1"):
        figures.heat_map(a_map(), peak)


# --- overlay, seeds, cut-out, boxes ----------------------------------------------------------------------------------


def test_overlay_goes_from_the_grey_photo_to_the_heat_map():
    photo, m = picture(), a_map(60, 80)
    grey, heat = levels(photo.convert("L").convert("RGB")), levels(figures.heat_map(m))
    with no_trace(photo, m):
        for strength in (0, 0.25, 1):
            mixed = levels(figures.overlay(photo, m, strength))
            assert np.abs(mixed - ((1 - strength) * grey + strength * heat)).max() <= 1
    assert figures.overlay(photo, a_map()).size == photo.size


@pytest.mark.parametrize("strength", [-0.1, 1.1, np.nan])
def test_a_strength_out_of_range_is_refused(strength):
    with pytest.raises(ValueError, match="strength from 0 to 1"):
        figures.overlay(picture(), a_map(), strength)


def test_seeds_are_blue_cyan_and_red_as_in_the_paper():
    photo = picture()
    foreground, background = a_map(6, 8) > 0.8, a_map(6, 8) < 0.3
    with no_trace(photo, foreground, background):
        painted = levels(figures.seed_picture(photo, foreground, background))
    assert painted.shape == (60, 80, 3)
    grey = levels(photo.convert("L"))
    for y, x in itertools.product(range(60), range(80)):
        where = y // 10, x // 10
        colour = BLUE if foreground[where] else CYAN if background[where] else RED
        assert np.abs(painted[y, x] - (0.2 * grey[y, x] + 0.8 * np.array(colour))).max() <= 1


MASK = np.ones((3, 4), bool)


@pytest.mark.parametrize("bad", [MASK.astype(np.uint8), MASK.astype(float), MASK[0], MASK[None]])
def test_masks_that_are_not_boolean_planes_are_refused(bad):
    for call in (
        lambda: figures.seed_picture(picture(), bad, MASK), lambda: figures.seed_picture(picture(), MASK, bad),
        lambda: figures.cut_out(picture(), bad),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"expected a boolean mask \(H, W\), got"):
            call()


def test_seeds_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(3, 4\) and \(3, 3\)"):
        figures.seed_picture(picture(), MASK, MASK[:, :3])


def test_a_cut_out_keeps_the_inside_and_pales_the_outside():
    photo = picture()
    mask = np.array([[True, False], [False, False], [False, True]])
    with no_trace(photo, mask):
        cut = levels(figures.cut_out(photo, mask))
    inside = np.kron(mask, np.ones((20, 40), bool))
    assert np.array_equal(cut[inside], levels(photo)[inside])
    assert np.abs(cut[~inside] - (0.15 * levels(photo)[~inside] + 0.85 * 255)).max() <= 1


@given(st.integers(0, 60), st.integers(0, 40), st.integers(10, 20), st.integers(10, 20))
def test_a_box_is_a_coloured_line_edged_in_black_inside_its_pixels(left, top, width, height):
    photo = picture()
    with no_trace(photo):
        drawn = np.asarray(figures.draw_boxes(photo, [(left, top, left + width, top + height)]))
    expected = np.array(photo)
    for ring, colour in enumerate(("black", YELLOW, YELLOW, "black")):
        box = expected[top + ring : top + height - ring, left + ring : left + width - ring]
        keep = box[1:-1, 1:-1].copy()
        box[:] = 0 if colour == "black" else colour
        box[1:-1, 1:-1] = keep
    assert np.array_equal(drawn, expected)


@given(st.integers(0, 75), st.integers(0, 55), st.integers(1, 5), st.integers(1, 5))
def test_a_tiny_box_paints_nothing_outside_and_shows_its_colour(left, top, width, height):
    photo = picture()
    drawn, before = np.array(figures.draw_boxes(photo, [(left, top, left + width, top + height)])), np.array(photo)
    box = drawn[top : top + height, left : left + width]
    assert (box == YELLOW).all(axis=2).any()
    box[:] = before[top : top + height, left : left + width]
    assert np.array_equal(drawn, before)


def test_lines_grow_with_the_photo_and_take_any_colour():
    drawn = np.asarray(figures.draw_boxes(Image.new("RGB", (1600, 800)), [(0, 0, 1600, 800)], (1, 2, 3)))
    assert (drawn == (1, 2, 3)).all(axis=2)[400, :800].sum() == 10


def test_several_boxes_or_none():
    photo = picture()
    assert np.array_equal(figures.draw_boxes(photo, []), photo)
    first, second = (0, 0, 20, 20), (30, 30, 60, 60)
    together = figures.draw_boxes(photo, [first, second])
    assert np.array_equal(together, figures.draw_boxes(figures.draw_boxes(photo, [first]), [second]))


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (5, 5, 9, 5), (9, 5, 5, 9), (5, 9, 9, 5)])
def test_a_box_without_pixels_is_refused(box):
    with pytest.raises(ValueError, match=r"left < right and top < bottom, got \(\d"):
        figures.draw_boxes(picture(), [box])


# --- the paper's figures ---------------------------------------------------------------------------------------------


def pictures_in(figure):
    return [axes.get_images()[0].get_array() for axes in figure.axes]


def prints(figure):
    """Check that it can be published, and shows itself in a notebook only once because pyplot does not know it."""
    assert not pyplot.get_fignums()
    stream = io.BytesIO()
    figure.savefig(stream, format="pdf")
    assert stream.getvalue().startswith(b"%PDF")
    return Image.open(io.BytesIO(figure._repr_png_())).size


@pytest.mark.slow
def test_figure_2_shows_each_photo_over_its_map():
    photos, saliencies = [picture(), picture(300, 200)], [a_map(), a_map(9, 9)]
    with no_trace(*photos, *saliencies):
        figure = figures.figure_2(photos, saliencies, ["one", "two"])
    assert len(figure.axes) == 4
    assert [axes.get_title() for axes in figure.axes] == ["one", "two", "", ""]
    above, beside, beneath, _ = pictures_in(figure)
    assert np.array_equal(above, photos[0])
    assert np.array_equal(beside, photos[1])
    assert np.array_equal(beneath, figures.heat_map(saliencies[0]).resize((80, 60), Image.Resampling.BILINEAR))
    assert max(prints(figure)) <= 1200


def test_figure_2_needs_no_labels():
    assert len(figures.figure_2([picture()], [a_map()]).axes) == 2


@pytest.mark.parametrize(("photos", "saliencies", "labels", "message"), [
    (2, 1, 0, "a map for each, got 2 and 1"), (0, 0, 0, "at least one photo"),
    (2, 2, 1, "a label for each of the 2 photos"), (1, 1, 2, "a label for each of the 1 photos"),
])  # fmt: skip
def test_figure_2_of_unequal_numbers_is_refused(photos, saliencies, labels, message):
    with pytest.raises(ValueError, match=message):
        figures.figure_2([picture()] * photos, [a_map()] * saliencies, ["a"] * labels)


def test_figure_3_shows_photo_map_seeds_and_object():
    photo, m = picture(), a_map()
    foreground, background, mask, box = m > 0.9, m < 0.3, m > 0.5, (10, 5, 70, 50)
    with no_trace(photo, m, foreground, background, mask):
        figure = figures.figure_3(photo, m, foreground, background, mask, box)
        alone = figures.figure_3(photo, m, foreground, background, mask)
    assert [axes.get_title() for axes in figure.axes] == ["photo", "saliency map", "seeds", "object and box"]
    assert [axes.get_title() for axes in alone.axes] == ["photo", "saliency map", "seeds", "object"]
    shown, _, seeds, found = pictures_in(figure)
    assert np.array_equal(shown, photo)
    assert np.array_equal(seeds, figures.seed_picture(photo, foreground, background))
    assert np.array_equal(found, figures.draw_boxes(figures.cut_out(photo, mask), [box]))
    assert np.array_equal(pictures_in(alone)[3], figures.cut_out(photo, mask))

    keys = figure.axes[2].get_legend()
    assert [text.get_text() for text in keys.get_texts()] == ["foreground", "background", "unused"]
    colours = [tuple(round(255 * level) for level in patch.get_facecolor()[:3]) for patch in keys.get_patches()]
    assert colours == [BLUE, CYAN, RED]
    assert max(prints(figure)) <= 1200


def test_a_large_photo_is_shrunk_for_display_and_itself_left_alone():
    photo = picture(700, 1400)
    with no_trace(photo):
        figure = figures.figure_2([photo], [a_map()])
    assert [p.shape for p in pictures_in(figure)] == [(240, 480, 3)] * 2


@pytest.mark.parametrize(("height", "width"), [(1000, 2), (2, 1000), (2, 2)])
def test_even_a_strip_can_be_drawn(height, width):
    photo, m = picture(height, width), a_map()
    prints(figures.figure_2([photo] * 3, [m] * 3))
    prints(figures.figure_3(photo, m, m > 0.9, m < 0.3, m > 0.5))


def test_score_bars_stand_in_the_order_given():
    figure = figures.score_bars(["panda", "bear"], [18.25, -3.5], "score")
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [18.25, -3.5]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["panda", "bear"]
    assert {"18.2", "-3.5"} <= {text.get_text() for text in axes.texts}
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "score"
    prints(figure)


def test_bars_without_names_are_refused():
    with pytest.raises(ValueError, match="a score for each of the 1 labels, got 2"):
        figures.score_bars(["panda"], [1, 2])


# --- for any kind of colour vision -----------------------------------------------------------------------------------

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
VISIONS = {
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ],
}  # fmt: skip


def lab(colours, vision):
    """CIE L*a*b* (D65) of sRGB levels (…, 3), as a person with that vision sees them."""
    encoded = np.asarray(colours) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    linear = (linear @ np.transpose(VISIONS[vision])).clip(0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    share = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(share > (6 / 29) ** 3, np.cbrt(share), share / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def test_the_measure_knows_the_classic_pair():
    green, brown = (60, 130, 40), (140, 95, 0)
    apart = {vision: np.linalg.norm(lab(green, vision) - lab(brown, vision)) for vision in VISIONS}
    assert apart["all cones"] > 50
    assert apart["deuteranopia"] < 20
    assert np.abs(lab([255, 255, 255], "all cones") - [100, 0, 0]).max() < 0.1


@pytest.mark.parametrize("vision", VISIONS)
def test_the_three_seed_colours_are_far_apart(vision):
    for one, other in itertools.combinations((BLUE, CYAN, RED), 2):
        assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > 50
        # They also are where they are painted over photos of any greys.
        greys = 0.2 * np.arange(0, 256, 15)[:, None]
        painted_one, painted_other = (lab(0.8 * np.array(each) + greys, vision) for each in (one, other))
        assert np.linalg.norm(painted_one[:, None] - painted_other[None], axis=-1).min() > 30


def test_the_three_seed_colours_differ_in_lightness_alone():
    lightness = sorted(lab(each, "all cones")[0] for each in (BLUE, CYAN, RED))
    assert np.diff(lightness).min() > 20


@pytest.mark.parametrize("vision", VISIONS)
def test_the_heat_map_grows_lighter_all_the_way(vision):
    lightness = lab(figures._heat_table(), vision)[:, 0]
    assert np.diff(lightness).min() > 0
    assert lightness[0] < 1
    assert lightness[-1] > 95


# --- an ascent, to look at -------------------------------------------------------------------------------------------


def flat(*colours):
    return [Image.new("RGB", (8, 6), colour) for colour in colours]


def test_contrast_is_stretched_as_worked_out_on_paper():
    """The mean is (110, 100, 90), the deviations are 10 or 0, so the quantile is 10: p' = 128 + 12.7 (p − m)."""
    two = Image.fromarray(np.array([[[100, 100, 100], [120, 100, 80]]], np.uint8))
    with no_trace(two):
        assert np.asarray(figures.stretch_contrast(two)).tolist() == [[[1, 128, 255], [255, 128, 1]]]


def test_one_quantile_serves_the_three_channels_so_that_hues_stay():
    """Red differs by at most 40 and green by 4: one quantile per channel would make them alike."""
    gentle = np.full((2, 2, 3), 100, np.uint8)
    gentle[0] += np.array([40, 4, 0], np.uint8)
    gentle[1] -= np.array([40, 4, 0], np.uint8)
    stretched = np.asarray(figures.stretch_contrast(Image.fromarray(gentle))).tolist()
    assert stretched == [[[255, 141, 128]] * 2, [[1, 115, 128]] * 2]


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_stretching_equals_nested_loops(array):
    height, width, _ = array.shape
    mean = [sum(float(v) for v in array[:, :, channel].ravel()) / (height * width) for channel in range(3)]
    away = sorted(
        abs(float(array[i, j, channel]) - mean[channel])
        for i, j, channel in itertools.product(range(height), range(width), range(3))
    )
    place = 0.995 * (len(away) - 1)
    low = int(place)
    reach = away[low] + (place - low) * (away[min(low + 1, len(away) - 1)] - away[low])
    found = levels(figures.stretch_contrast(Image.fromarray(array)))
    if away[-1] < 1e-9:
        assert (found == 128).all()
    elif reach > 1e-3:
        for i, j, channel in itertools.product(range(height), range(width), range(3)):
            exact = 128 + 127 * (array[i, j, channel] - mean[channel]) / reach
            assert abs(found[i, j, channel] - min(max(exact, 0), 255)) <= 0.51


def test_a_few_extreme_pixels_do_not_hide_the_rest_and_are_clipped():
    array = np.full((40, 50, 3), 100, np.uint8)
    array[::2] = 104
    array[0, 0], array[1, 1] = 255, 0
    stretched = np.asarray(figures.stretch_contrast(Image.fromarray(array)))
    assert stretched[0, 0].tolist() == [255] * 3
    assert stretched[1, 1].tolist() == [0] * 3
    assert int(stretched[2, 0, 0]) - int(stretched[3, 0, 0]) > 240


def test_several_pictures_can_be_stretched_alike():
    one = Image.fromarray(np.array([[[100, 100, 100], [120, 100, 80]]], np.uint8))
    other = Image.fromarray(np.array([[[110, 101, 90], [105, 0, 92], [255, 99, 90]]], np.uint8))
    with no_trace(one, other):
        found = np.asarray(figures.stretch_contrast(other, like=one)).tolist()
    assert found == [[[128, 141, 128], [64, 0, 153], [255, 115, 128]]]  # 128 − 63.5 = 64.5 and 128 + 25.4
    assert np.array_equal(figures.stretch_contrast(one, like=one), figures.stretch_contrast(one))
    assert not np.array_equal(figures.stretch_contrast(other), found)


def test_one_colour_becomes_grey_and_its_shape_stays():
    for colour in ((0, 0, 0), (255, 0, 7), (123, 45, 67)):
        stretched = figures.stretch_contrast(Image.new("RGB", (7, 3), colour))
        assert (stretched.mode, stretched.size) == ("RGB", (7, 3))
        assert (np.asarray(stretched) == 128).all()
    assert figures.stretch_contrast(picture().convert("L")).size == (80, 60)


@pytest.mark.slow
@pytest.mark.parametrize(("pictures", "count", "chosen"), [
    (10, 4, [0, 3, 6, 9]), (11, 6, [0, 2, 4, 6, 8, 10]), (6, 6, [0, 1, 2, 3, 4, 5]), (3, 6, [0, 1, 2]), (9, 2, [0, 8]),
    (9, 1, [8]), (1, 6, [0]), (101, 5, [0, 25, 50, 75, 100]),
])  # fmt: skip
def test_a_filmstrip_shows_first_and_last_and_others_between(pictures, count, chosen):
    film = flat(*[(2 * i, 255 - i, 7) for i in range(pictures)])
    with no_trace(*film):
        figure = figures.filmstrip(film, [f"step {i}" for i in range(pictures)], count)
    assert [axes.get_title() for axes in figure.axes] == [f"step {i}" for i in chosen]
    for shown, i in zip(pictures_in(figure), chosen, strict=True):
        assert np.array_equal(shown, film[i])
    prints(figure)


@given(st.integers(1, 300), st.integers(2, 60))
def test_what_a_film_keeps_is_spread_evenly(count, most):
    chosen = figures._choose_evenly(count, most)
    assert len(chosen) == min(count, most)
    assert (chosen[0], chosen[-1]) == (0, count - 1)
    gaps = {later - earlier for earlier, later in itertools.pairwise(chosen)}
    assert not gaps or (min(gaps) >= 1 and max(gaps) - min(gaps) <= 1)


def test_a_filmstrip_needs_no_labels_and_shows_six():
    figure = figures.filmstrip(flat(*[(i, i, i) for i in range(40)]))
    assert [axes.get_title() for axes in figure.axes] == [""] * 6
    assert [shown[0, 0, 0] for shown in pictures_in(figure)] == [0, 8, 16, 23, 31, 39]


@pytest.mark.parametrize(("pictures", "labels", "count", "message"), [
    (0, 0, 6, "at least one picture and a count of 1 or more, got 0 and 6"), (3, 0, 0, "got 3 and 0"),
    (3, 0, -1, "a count of 1 or more"), (3, 2, 6, "a label for each of the 3 pictures or none, got 2"),
])  # fmt: skip
def test_a_filmstrip_of_nothing_is_refused(pictures, labels, count, message):
    with pytest.raises(ValueError, match=message):
        figures.filmstrip(flat(*[(i, i, i) for i in range(pictures)]), ["a"] * labels, count)


def played(file):
    """The frames of a film as arrays, how long each is shown in milliseconds, and how often it is repeated."""
    with Image.open(file) as film:
        frames, times = [], []
        for i in range(getattr(film, "n_frames", 1)):
            film.seek(i)
            film.load()
            frames.append(levels(film.convert("RGB")))
            times.append(film.info.get("duration"))
        return film.format, frames, times, film.info.get("loop")


GREYS = [(g, 255 - g, 90) for g in range(0, 250, 25)]


@pytest.mark.parametrize("kind", ["gif", "webp", "GIF"])
def test_a_film_plays_each_picture_in_order_and_stays_at_the_last(kind, tmp_path):
    film, file = flat(*GREYS), tmp_path / f"ascent.{kind}"
    with no_trace(*film):
        figures.save_film(film, file, seconds=2)
    name, frames, times, loop = played(file)
    assert name == kind.upper()
    assert len(frames) == 10
    for frame, colour in zip(frames, GREYS, strict=True):
        assert np.abs(frame - colour).max() <= 6
    assert times == [200] * 9 + [1200]
    assert loop == 0


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_film_of_many_pictures_keeps_the_most_that_it_may(kind):
    stream = io.BytesIO()
    figures.save_film(flat(*[(i, 0, 255 - i) for i in range(200)]), stream, seconds=1, most=5, kind=kind)
    name, frames, times, _ = played(io.BytesIO(stream.getvalue()))
    assert name == kind.upper()
    for frame, shade in zip(frames, (0, 50, 100, 149, 199), strict=True):
        assert np.abs(frame - (shade, 0, 255 - shade)).max() <= 6
    assert times == [200] * 4 + [1200]


def test_a_film_has_sixty_pictures_at_most_and_takes_four_seconds_unless_told_otherwise(tmp_path):
    figures.save_film(flat(*[(i, 0, 61 * i % 256) for i in range(200)]), str(tmp_path / "a.webp"))
    _, frames, times, _ = played(tmp_path / "a.webp")
    assert len(frames) == 60
    assert sum(times) == pytest.approx(5000, abs=60)


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_no_picture_is_shown_for_less_than_twenty_milliseconds(kind):
    stream = io.BytesIO()
    figures.save_film(flat(*GREYS), stream, seconds=0.01, kind=kind)
    assert played(stream)[2] == [20] * 9 + [1020]


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_picture_that_comes_twice_takes_its_time_twice(kind):
    stream = io.BytesIO()
    figures.save_film(flat("red", "red", "blue", "blue"), stream, seconds=2, kind=kind)
    _, frames, times, _ = played(stream)
    assert sum(times) == 3000
    assert np.abs(frames[-1] - (0, 0, 255)).max() <= 6


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_a_film_of_one_picture_is_that_picture(kind):
    for most, shades in ((60, [40]), (1, [0, 20, 40])):
        stream = io.BytesIO()
        figures.save_film(flat(*[(shade, 0, 0) for shade in shades]), stream, most=most, kind=kind)
        _, frames, _, _ = played(stream)
        assert len(frames) == 1
        assert np.abs(frames[0] - (40, 0, 0)).max() <= 6


def test_a_webp_keeps_the_colours_of_a_photo_and_a_gif_nearly():
    film = [Image.fromarray(np.roll(np.add.outer(np.arange(60), np.arange(80))[..., None] * [1, 0.5, 1.5], i, 1)
                            .astype(np.uint8)) for i in range(3)]  # fmt: skip
    for kind, off in (("webp", 4), ("gif", 8)):
        stream = io.BytesIO()
        figures.save_film(film, stream, kind=kind)
        for frame, expected in zip(played(stream)[1], film, strict=True):
            assert np.abs(frame - levels(expected)).mean() < off


@pytest.mark.parametrize(("pictures", "file", "options", "message"), [
    (flat("red"), "film.mp4", {}, r"ends in \.gif or \.webp, or one of them as `kind`, got 'mp4'"),
    (flat("red"), "film", {}, r"got ''"), (flat("red"), "film.png", {}, "got 'png'"),
    (flat("red"), io.BytesIO(), {}, "as `kind`, got ''"), (flat("red"), io.BytesIO(), {"kind": "png"}, "got 'png'"),
    ([], "film.gif", {}, "pictures of one size, got none"),
    ([picture(), picture(61)], "film.gif", {}, r"of one size, got \[\(80, 60\), \(80, 61\)\]. Resize them first"),
    (flat("red"), "film.gif", {"seconds": 0}, "a time above 0 seconds"),
    (flat("red"), "film.gif", {"seconds": -1}, "a time above 0 seconds"),
    (flat("red"), "film.gif", {"seconds": np.nan}, "a time above 0 seconds"),
    (flat("red"), "film.gif", {"seconds": np.inf}, "a time above 0 seconds"),
    (flat("red"), "film.gif", {"most": 0}, "at least 1 picture at most, got 4.0 and 0"),
])  # fmt: skip
def test_a_film_that_cannot_be_saved_is_refused_and_no_file_is_left(pictures, file, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        figures.save_film(pictures, tmp_path / file if isinstance(file, str) else file, **options)
    assert not list(tmp_path.iterdir())


# --- values of both signs, numbers, layers ---------------------------------------------------------------------------


def test_three_channels_of_a_reconstruction_lie_around_grey():
    r = np.array([[[-2, 0, 1]], [[0, 0, 2]], [[1, 0, -2]]])
    assert levels(figures.signed_picture(r)).tolist() == [[[0, 128, 191], [128, 128, 128], [191, 255, 0]]]


def test_one_channel_is_white_at_zero_and_as_dark_on_both_sides():
    drawn = levels(figures.signed_picture([[-4, -2, 0, 2, 4]])).astype(int)[0]
    assert np.abs(drawn[2] - 247).max() <= 1
    assert drawn[0, 0] > drawn[0, 2], "red below 0"
    assert drawn[4, 2] > drawn[4, 0], "blue above 0"
    lightness = drawn @ [0.2126, 0.7152, 0.0722]
    assert lightness[0] < lightness[1] < lightness[2] > lightness[3] > lightness[4]
    assert np.array_equal(levels(figures.signed_picture([[[-4, -2, 0, 2, 4]]]))[0], drawn)


@given(hnp.arrays(np.float32, st.sampled_from([(3, 4), (3, 2, 5)]), elements=st.floats(-8, 8, width=16)))
def test_the_scale_of_a_reconstruction_does_not_matter_and_its_sign_turns_the_picture_round(r):
    with no_trace(r):
        drawn = levels(figures.signed_picture(r))
    assert np.array_equal(drawn, levels(figures.signed_picture(8 * r)))
    turned = levels(figures.signed_picture(-r))
    if r.ndim == 3:
        assert np.abs(drawn + turned - 255).max() <= 1
    else:
        assert np.array_equal(turned[r == 0], drawn[r == 0])


def test_a_picture_of_signs_can_be_enlarged_and_its_extremes_clipped():
    r = np.array([[0.0, 1.0], [0.5, -1.0], [0.0, 9.0]])
    large = figures.signed_picture(r, side=30)
    assert large.size == (20, 30)
    assert np.array_equal(levels(large)[5::10, 5::10], levels(figures.signed_picture(r)))
    clipped = levels(figures.signed_picture(r, peak=0.8))
    assert np.array_equal(clipped[0, 1], clipped[2, 1])
    assert levels(figures.signed_picture(np.zeros((2, 2)))).min() >= 246
    assert levels(figures.signed_picture([[0, 0, 0, 5]], peak=0.5))[0, 3, 0] < 20, "a single lit entry is seen"


@pytest.mark.parametrize(
    ("r", "options", "message"),
    [
        (np.ones((2, 3, 3)), {}, r"\(3, H, W\), got \(2, 3, 3\). Take one of a batch"),
        (np.ones((1, 3, 4, 4)), {}, r"got \(1, 3, 4, 4\)"),
        (np.ones((0, 3)), {}, r"got \(0, 3\)"),
        ([[np.nan]], {}, "NaN or infinity"),
        ([[1.0]], {"side": 0}, "at least 1 pixel, got 0"),
        ([[1.0]], {"peak": 0}, "above 0 and at most 1, got 0"),
    ],
)
def test_values_that_are_no_picture_are_refused(r, options, message):
    with pytest.raises(ValueError, match=message):
        figures.signed_picture(r, **options)


def shown_texts(figure):
    return [[text.get_text() for text in axes.texts] for axes in figure.axes]


def test_grids_show_their_numbers_and_frame_what_is_marked():
    grid = np.array([[1, -2], [0.125, 1234]])
    with no_trace(grid):
        figure = figures.number_grids([grid, [[0]]], ["R", "v"], [grid > 0, None])
    assert shown_texts(figure) == [["1", "−2", "0.125", "1.23e+03"], ["0"]]
    assert [axes.get_title() for axes in figure.axes] == ["R", "v"]
    assert [len(axes.patches) for axes in figure.axes] == [3, 0]
    assert Image.open(io.BytesIO(figure._repr_png_())).width > 50
    assert not pyplot.get_fignums()
    assert shown_texts(figures.number_grids([np.zeros((1, 2), int)])) == [["0", "0"]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "at least one finite grid .*, got none"),
        (([[1, 2]],), r"got \[\(2,\)\]"),
        (([[[np.inf]]],), "finite grid"),
        (([[[1]]], ["a", "b"]), "a title for each of the 1 grids or none, got 2"),
        (([[[1]], [[2]]], [], [None]), "a mark for each of the 2 grids or none, got 1"),
        (([[[1]]], [], [np.ones((2, 2), bool)]), r"a mark of the grid's shape \(1, 1\), got \(2, 2\)"),
        (([[[1]]], [], [[[1]]]), "boolean mask"),
    ],
)
def test_grids_that_cannot_be_drawn_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        figures.number_grids(*arguments)


def test_a_chart_of_layers_shows_each_number_and_each_cause():
    distances = [(1, 0, 0), (0.25, 2.5, 0.5), (-0.5, np.inf, 1)]
    figure = figures.layer_chart(["scores", "conv", "image"], distances, [None, (0.2, 0.2, 0.1), None])
    assert shown_texts(figure) == [["1.00", "0.25", "-0.50"], ["0.00", "2.50", "inf"], ["0.00", "0.50", "1.00"]]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["scores", "conv", "image"]
    assert figure.axes[0].yaxis_inverted(), "the first on top"
    drawn = [[bar.get_width() for bar in bars] for bars in figure.axes[2].containers][: len(figures.CAUSE_COLOURS)]
    assert np.allclose(drawn, [[0, 0.2, 0], [0, 0.2, 0], [0, 0.1, 0], [0, 0, 1]])
    legend = figure.axes[2].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [name for name, _ in figures.CAUSE_COLOURS]
    assert Image.open(io.BytesIO(figure._repr_png_())).width > 500
    assert not pyplot.get_fignums()


def test_the_colours_of_the_causes_differ_in_lightness():
    paints = [[int(paint[i : i + 2], 16) for i in (1, 3, 5)] for _, paint in figures.CAUSE_COLOURS]
    lightness = sorted(np.array(paints) @ [0.2126, 0.7152, 0.0722])
    assert min(np.diff(lightness)) > 8


@pytest.mark.parametrize("arguments", [([], [], []), (["a"], [], [None]), (["a"], [(1, 0, 0)], [])])
def test_a_chart_of_layers_that_do_not_fit_is_refused(arguments):
    with pytest.raises(ValueError, match="distances and causes for each, got"):
        figures.layer_chart(*arguments)


ODD_LABELS = [
    "$x^$", r"$\frac{1}{0$", "5 $ or 6 $", "a_b^c", "x" * 3000, "\ud800 half", "a\0b\x07c", "two\nlines", "$" * 500, "",
]  # fmt: skip


def drawn(figure: Any) -> list[str]:
    """All words of a figure, after it has been drawn."""
    figure.savefig(io.BytesIO(), format="png", dpi=30)
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


@pytest.mark.slow
@pytest.mark.parametrize("label", ODD_LABELS)
def test_a_label_is_text_and_never_mathematics_in_every_figure(label: str) -> None:
    photo, grid = Image.new("RGB", (40, 30)), np.eye(3)
    every = {
        "figure_2": figures.figure_2([photo], [np.ones((3, 4))], [label]),
        "filmstrip": figures.filmstrip([photo, photo], [label, label]),
        "score_bars": figures.score_bars([label, "other"], [1.0, 2.0]),
        "title": figures.score_bars(["one"], [1.0], label),
        "number_grids": figures.number_grids([grid], [label]),
        "layer_chart": figures.layer_chart([label], [(0.5, 0.1, 0.2)], [None]),
    }
    beside = ("score_bars", "layer_chart")
    assert len(figures.plain(label)) <= 86  # 80, and one half of a letter is written as six
    for name, figure in every.items():
        words = drawn(figure)
        most = figures.BESIDE if name in beside else figures.LONGEST_LABEL - (name == "title")
        expected = figures.plain(label, most)
        assert expected in words or not expected, name
        assert figure.get_figwidth() < 12


def test_a_plain_label_is_drawn_as_it_is() -> None:
    for label in ("giant panda", "Bücher $5", "ラーメン", "a\nb"):
        assert figures.plain(label) == label


def test_the_title_of_scores_is_mathematics() -> None:
    for title, mathematical in (("score $S_c$", True), ("$x^$", False)):
        figure = figures.score_bars(["one"], [1.0], title)
        assert figure.axes[0].xaxis.label.get_parse_math() == mathematical


def test_pictures_side_by_side_keep_their_colours_frames_and_captions():
    white, photo = Image.new("1", (30, 20), 1), Image.effect_noise((40, 20), 90).convert("RGB")
    sheet = figures.side_by_side([white, photo])
    assert sheet.size == (30 + 2 + figures.GAP + 40 + 2, 22)
    assert sheet.crop((41, 1, 81, 21)).tobytes() == photo.tobytes(), "a colour of the photo is lost"
    # A white picture on white ground has an edge all around.
    edge = [sheet.getpixel((x, y)) for x in range(32) for y in (0, 21)] + [sheet.getpixel((x, 9)) for x in (0, 31)]
    assert set(edge) == {figures.FRAME}
    captioned = figures.side_by_side([white, photo], ["mask", "photo"])
    assert captioned.crop((0, 0, 32, 22)).tobytes() == sheet.crop((0, 0, 32, 22)).tobytes()
    below = np.asarray(captioned.convert("L"))[22:]
    assert below[:, :32].min() < 100
    assert below[:, 40:].min() < 100
    long = figures.side_by_side([white], ["a caption that is wider than its picture"])
    assert long.width > 150


def test_pictures_side_by_side_in_rows_and_enlarged_in_blocks():
    four = [Image.new("RGB", (10, 10), (60 * i, 0, 0)) for i in range(4)]
    sheet = figures.side_by_side(four, columns=2)
    step = 12 + figures.GAP
    assert sheet.size == (12 + step, 12 + step)
    assert [sheet.getpixel((5 + step * (i % 2), 5 + step * (i // 2)))[0] for i in range(4)] == [0, 60, 120, 180]
    checks = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8))
    large = np.asarray(figures.side_by_side([checks], height=20))[1:-1, 1:-1, 0]
    assert np.array_equal(large, np.kron([[0, 255], [255, 0]], np.ones((10, 10))))


@pytest.mark.parametrize(
    ("given", "options"),
    [([], {}), ([Image.new("L", (3, 3))], {"captions": ["a", "b"]}), ([Image.new("L", (3, 3))], {"columns": 0}),
     ([Image.new("L", (3, 3))], {"height": 0})],
)  # fmt: skip
def test_pictures_side_by_side_that_cannot_be_are_refused(given, options):
    with pytest.raises(ValueError, match="expected"):
        figures.side_by_side(given, **options)
