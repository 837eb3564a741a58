"""Composites against pixels blended by hand, backgrounds against what they claim, and every bad input by name."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import Image

import deepinside_edu as di
from deepinside_edu.evaluation.composites import (
    BACKGROUNDS,
    SHARES,
    SHORTEST_SIDE,
    STAMPS,
    Composite,
    Cutout,
    composite,
    composites,
    free_rectangle,
    gradient,
    noise,
    photographed,
    plain,
    read_cutouts,
)
from deepinside_edu.images import Photo

RED, GREEN, GREY = (250, 10, 20), (0, 255, 0), (100, 110, 120)


def rgba(width: int, height: int, alpha: int = 255) -> np.ndarray:
    levels = np.zeros((height, width, 4), np.uint8)
    levels[..., :3], levels[..., 3] = RED, alpha
    return levels


def cutout(levels: np.ndarray) -> Cutout:
    return Cutout("red.png", Image.fromarray(levels), "n00000001")


def folder_of(tmp_path: Path, lines: str, **pictures: Image.Image) -> tuple[Path, Path]:
    for name, picture in pictures.items():
        picture.save(tmp_path / f"{name}.png")
    (tmp_path / "list.csv").write_text(lines, "utf-8")
    return tmp_path, tmp_path / "list.csv"


# One composite


def test_every_pixel_is_blended_as_the_equation_says() -> None:
    levels = rgba(5, 4)
    levels[..., 3] = np.random.default_rng(0).integers(0, 256, (4, 5))
    levels[1, 1, 3], levels[2, 2, 3] = 127, 128
    background = Image.fromarray(np.random.default_rng(1).integers(0, 256, (8, 10, 3), dtype=np.uint8))
    made = composite(cutout(levels), background, share=0.5, place=(1.0, 0.5))  # 0.5 of 10×8: as large as it is
    expected, mask = np.asarray(background).astype(float), np.zeros((8, 10), bool)
    for y in range(4):
        for x in range(5):
            alpha = levels[y, x, 3] / 255
            expected[2 + y, 5 + x] = alpha * levels[y, x, :3] + (1 - alpha) * expected[2 + y, 5 + x]
            mask[2 + y, 5 + x] = alpha >= 0.5
    np.testing.assert_allclose(np.asarray(made.picture), expected, atol=1)
    np.testing.assert_array_equal(made.mask, mask)
    assert not made.mask[3, 6]
    assert made.mask[4, 7]


def test_it_carries_the_cut_out_s_name_and_class_and_the_background_s_kind() -> None:
    made = composite(cutout(rgba(4, 4)), Image.new("RGB", (8, 8), GREY), 0.5, (0, 0), "lawn")
    assert (made.name, made.wordnet_id, made.background, made.box) == ("red.png", "n00000001", "lawn", (0, 0, 4, 4))


@given(
    size=st.tuples(st.integers(2, 40), st.integers(2, 40)),
    background=st.tuples(st.integers(20, 60), st.integers(20, 60)),
    share=st.floats(0.1, 1),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_an_opaque_cut_out_fills_its_box_keeps_its_proportions_and_stays_inside(
    size: tuple[int, int], background: tuple[int, int], share: float, place: tuple[float, float]
) -> None:
    made = composite(cutout(rgba(*size)), Image.new("RGB", background, GREY), share, place)
    left, top, right, bottom = made.box
    assert made.mask.shape == (background[1], background[0])
    assert made.mask.sum() == (right - left) * (bottom - top)
    scale = share * min(background[0] / size[0], background[1] / size[1])
    assert right - left == pytest.approx(max(1, size[0] * scale), abs=0.51)
    assert bottom - top == pytest.approx(max(1, size[1] * scale), abs=0.51)
    assert left == pytest.approx(place[0] * (background[0] - (right - left)), abs=0.51)
    assert top == pytest.approx(place[1] * (background[1] - (bottom - top)), abs=0.51)
    changed = (np.asarray(made.picture) != GREY).any(2)
    np.testing.assert_array_equal(changed, made.mask)


def test_what_hides_in_transparent_pixels_does_not_bleed_into_the_picture() -> None:
    levels = rgba(40, 40)
    levels[:, ::2] = (*GREEN, 0)
    made = composite(cutout(levels), Image.new("RGB", (20, 20), (0, 0, 0)), 0.9)
    assert np.asarray(made.picture)[..., 1].max() <= RED[1]


def test_neither_background_nor_cut_out_is_changed() -> None:
    background, red = Image.new("RGB", (9, 9), GREY), cutout(rgba(3, 3))
    with no_trace(background, red.image):
        composite(red, background)


@pytest.mark.parametrize("share", [0, -0.1, 1.01, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"share above 0 and up to 1|share from 0 to 1"):
        composite(cutout(rgba(3, 3)), Image.new("RGB", (9, 9)), share)


@pytest.mark.parametrize("place", [(-0.1, 0.5), (0.5, 1.1)])
def test_a_place_outside_is_refused(place: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"place's [xy] from 0 to 1"):
        composite(cutout(rgba(3, 3)), Image.new("RGB", (9, 9)), 0.5, place)


def test_a_cut_out_of_which_nothing_is_left_is_refused_by_name() -> None:
    levels = rgba(50, 50, alpha=0)
    levels[25, 25, 3] = 255
    with pytest.raises(ValueError, match=r"nothing is left of red\.png"):
        composite(cutout(levels), Image.new("RGB", (9, 9)))


# Reading


def test_cut_outs_come_in_the_list_s_order_without_their_transparent_border(tmp_path: Path) -> None:
    bordered = np.zeros((9, 9, 4), np.uint8)
    bordered[2:5, 3:8] = (*RED, 30)
    grey = Image.merge("LA", [Image.new("L", (4, 4), 90), Image.fromarray(np.eye(4, dtype=np.uint8) * 255)])
    folder, listed = folder_of(
        tmp_path, "# a comment\nstamp,wordnet_id,class\nb.png,n2,bee\n\na.png,n1,ape\n",
        a=Image.fromarray(bordered), b=grey,
    )  # fmt: skip
    second, first = read_cutouts(folder, listed)
    assert (second.name, second.wordnet_id, first.name, first.wordnet_id) == ("b.png", "n2", "a.png", "n1")
    assert (first.image.mode, first.image.size, second.image.mode) == ("RGBA", (5, 3), "RGBA")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ("stamp,wordnet_id\nnone.png,n1\n", r"no stamp none\.png .*apt-get install --reinstall tuxpaint"),
        ("stamp,wordnet_id\nopaque.png,n1\n", r"opaque\.png has no transparent background"),
        ("stamp,wordnet_id\nempty.png,n1\n", r"empty\.png has no transparent background, or nothing else"),
        ("stamp,wordnet_id\nlist.csv,n1\n", r"list\.csv is not a picture"),
        ("stamp,wordnet_id\ngood.png,n1\ngood.png,n1\n", r"good\.png twice"),
        ("stamp,class\ngood.png,n1\n", "a stamp and a wordnet_id in each line"),
        ("stamp,wordnet_id\ngood.png\n", "a stamp and a wordnet_id in each line"),
        ("stamp,wordnet_id\n", "lists no stamp"),
    ],
)
def test_nothing_is_skipped_silently(tmp_path: Path, lines: str, says: str) -> None:
    good = rgba(4, 4)
    good[0, 0, 3] = 0
    pictures = {"good": good, "opaque": rgba(4, 4), "empty": rgba(4, 4, alpha=0)}
    folder, listed = folder_of(tmp_path, lines, **{name: Image.fromarray(each) for name, each in pictures.items()})
    with pytest.raises(ValueError, match=says):
        read_cutouts(folder, listed)


def test_without_the_folder_the_package_to_install_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="apt-get install tuxpaint-stamps-default"):
        read_cutouts(tmp_path / "nowhere", tmp_path / "list.csv")


def test_without_the_list_it_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file .*list\.csv"):
        read_cutouts(tmp_path, tmp_path / "list.csv")


# Backgrounds


@pytest.mark.parametrize("make", BACKGROUNDS.values())
def test_a_background_has_its_size_and_depends_on_the_random_numbers_alone(make: Callable) -> None:
    one, same, other = (make((30, 20), np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (one.size, one.mode) == ((30, 20), "RGB")
    np.testing.assert_array_equal(one, same)
    assert (np.asarray(one) != np.asarray(other)).any()


def test_a_plain_background_has_one_colour() -> None:
    assert len(plain((30, 20), np.random.default_rng(0)).getcolors()) == 1


def test_a_gradient_is_a_plane_and_spans_two_colours() -> None:
    levels = np.asarray(gradient((30, 20), np.random.default_rng(0)), float)
    y, x = np.mgrid[:20, :30]
    plane = np.stack([np.ones(600), x.ravel(), y.ravel()], 1)
    for channel in range(3):
        values = levels[..., channel].ravel()
        fit = plane @ np.linalg.lstsq(plane, values, rcond=None)[0]
        np.testing.assert_allclose(values, fit, atol=0.6)  # half a level of rounding
    assert np.ptp(levels, (0, 1)).max() > 50


def test_noise_falls_with_frequency_as_one_over_f() -> None:
    slopes = []
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.fftfreq(128))
    use = (frequency > 0.03) & (frequency < 0.3)
    for seed in range(6):
        levels = np.asarray(noise((128, 128), np.random.default_rng(seed)), float).mean(2)
        amplitude = np.abs(np.fft.fft2(levels - levels.mean()))
        slopes.append(np.polyfit(np.log(frequency[use]), np.log(amplitude[use]), 1)[0])
    assert np.mean(slopes) == pytest.approx(-1, abs=0.1)


def test_noise_varies_more_in_brightness_than_in_colour() -> None:
    levels = np.asarray(noise((64, 64), np.random.default_rng(0)), float)
    assert levels.mean(2).std() > 2 * (levels - levels.mean(2, keepdims=True)).std((0, 1)).max()


@given(
    corners=st.lists(st.tuples(*[st.integers(0, 8)] * 4), min_size=1, max_size=3),
    width=st.integers(2, 9),
    height=st.integers(2, 9),
)
def test_the_free_rectangle_is_the_largest_of_all_that_touch_no_box(
    corners: list, width: int, height: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    boxes = tuple((min(a, c), min(b, d), max(a, c) + 1, max(b, d) + 1) for a, b, c, d in corners)
    path = tmp_path_factory.getbasetemp() / f"{width}x{height}.png"
    Image.new("RGB", (width, height)).save(path)
    taken = np.zeros((height, width), bool)
    for left, top, right, bottom in boxes:
        taken[top:bottom, left:right] = True
    best = (0, 0)
    for top in range(height):
        for bottom in range(top + 1, height + 1):
            for left in range(width):
                for right in range(left + 1, width + 1):
                    if not taken[top:bottom, left:right].any():
                        sides = sorted((right - left, bottom - top))
                        best = max(best, (sides[0], sides[1]))
    left, top, right, bottom = free_rectangle(Photo("it", path, "n1", boxes))
    assert not taken[top:bottom, left:right].any()
    assert right <= width
    assert bottom <= height
    assert tuple(sorted((right - left, bottom - top))) == best


def test_photographed_backgrounds_are_pieces_without_an_object() -> None:
    pieces = []
    for photo in di.photos():
        left, top, right, bottom = free_rectangle(photo)
        if min(right - left, bottom - top) >= SHORTEST_SIDE:
            pieces.append(photo.image.crop((left, top, right, bottom)))
            for box in photo.boxes:
                assert right <= box[0] or left >= box[2] or bottom <= box[1] or top >= box[3], photo.name
    assert len(pieces) >= 10
    seen = {photographed(pieces[0].size, np.random.default_rng(seed)).tobytes() for seed in range(60)}
    assert pieces[0].tobytes() in seen
    assert len(seen) >= 8


# All of them


def test_each_cut_out_comes_on_each_kind_of_background_and_no_picture_depends_on_the_others() -> None:
    some = [Cutout(name, Image.fromarray(rgba(30, 20)), "n1") for name in ("a", "b", "c")]
    made = composites(some, BACKGROUNDS, random_state=5, size=(60, 50))
    assert [(each.name, each.background) for each in made] == [(name, kind) for name in "abc" for kind in BACKGROUNDS]
    assert {each.mask.shape for each in made} == {(50, 60)}
    fewer = composites(some[:2], BACKGROUNDS, random_state=5, size=(60, 50))
    for one, same in zip(fewer, made, strict=False):
        np.testing.assert_array_equal(one.picture, same.picture)
        np.testing.assert_array_equal(one.mask, same.mask)
    other = composites(some, BACKGROUNDS, random_state=6, size=(60, 50))
    assert all(one.box != another.box for one, another in zip(made, other, strict=True))
    assert len({each.box for each in made}) == len(made)


def test_sizes_and_places_spread_over_their_ranges() -> None:
    made = composites([cutout(rgba(100, 100))] * 40, {"plain": plain}, size=(200, 200))
    shares = np.array([(each.box[2] - each.box[0]) / 200 for each in made])
    places = np.array([np.array(each.box[:2]) / (200 - (each.box[2] - each.box[0])) for each in made])
    assert SHARES[0] - 0.01 <= shares.min() < SHARES[0] + 0.1
    assert SHARES[1] - 0.1 < shares.max() <= SHARES[1] + 0.01
    assert places.min(0).max() < 0.15
    assert places.max(0).min() > 0.85
    assert abs(np.corrcoef(places.T)[0, 1]) < 0.5


def test_composites_want_cut_outs_and_backgrounds() -> None:
    with pytest.raises(ValueError, match="expected cut-outs and backgrounds, got 0 and 4"):
        composites([])
    with pytest.raises(ValueError, match="got 1 and 0"):
        composites([cutout(rgba(3, 3))], {})


def test_the_listed_stamps_are_there_and_are_classes_of_the_network(classifier: di.Classifier) -> None:
    if not STAMPS.is_dir():
        pytest.skip("no stamps here; to test with them: apt-get install tuxpaint-stamps-default (of Debian 12)")
    listed = Path(__file__).parents[1] / "benchmarks" / "stamps.csv"
    cutouts = read_cutouts(STAMPS, listed)
    assert 50 <= len(cutouts) <= 120
    lines = [line for line in listed.read_text("utf-8").splitlines() if not line.startswith("#")]
    named = {row["stamp"]: row["class"] for row in csv.DictReader(lines)}
    for each in cutouts:
        assert classifier.labels[classifier.find(each.wordnet_id)] == named[each.name]
    made: tuple[Composite, ...] = composites(cutouts[:2])
    assert all(each.picture.size == (224, 224) and 0.005 < each.mask.mean() < 0.65 for each in made)


@pytest.mark.parametrize(
    ("options", "named"),
    [({"random_state": "0"}, "random_state"), ({"random_state": None}, "random_state"), ({"size": 224}, "size"),
     ({"size": "22"}, "size"), ({"size": (224.0, 224)}, "width"), ({"size": (224, True)}, "height")],
)  # fmt: skip
def test_options_of_another_kind_are_named(options: dict, named: str) -> None:
    with pytest.raises(TypeError, match=f"expected a .*{named}"):
        composites([cutout(rgba(3, 3))], {"plain": BACKGROUNDS["plain"]}, **options)


@pytest.mark.parametrize(
    ("share", "place"), [("0.5", (0, 0)), (0.5, ("0", 0)), (0.5, 0.5), (0.5, (0, 0, 0)), (0.5, "00")]
)
def test_a_share_or_a_place_of_another_kind(share: object, place: object) -> None:
    with pytest.raises(TypeError, match=r"expected a (number for|place)"):
        composite(cutout(rgba(3, 3)), Image.new("RGB", (9, 9)), share, place)


def test_a_list_with_a_column_twice_or_in_another_encoding_is_told(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("stamp,wordnet_id,stamp\na.png,n1,b.png\n")
    with pytest.raises(ValueError, match="expected stamp and wordnet_id once"):
        read_cutouts(tmp_path, path)
    path.write_bytes(b"stamp,wordnet_id\na.png,caf\xe9\n")
    with pytest.raises(ValueError, match=r"line 2 of .* is not UTF-8"):
        read_cutouts(tmp_path, path)
    path.write_text("stamp,wordnet_id\n" + "x" * 300 + ".png,n1\n")
    with pytest.raises(ValueError, match="there is no stamp x"):
        read_cutouts(str(tmp_path), str(path))
