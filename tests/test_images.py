"""A picture survives its way to a tensor and back, ten crops lie where they should, and the shipped photos are what
they are said to be.
"""

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import Image
from small_pictures import coloured, grey, noise, pixels

from deepinside_edu import images
from deepinside_edu.images import (
    all_finite,
    normalise,
    open_image,
    photo,
    photos,
    read_annotation,
    read_boxes,
    ten_crops,
    to_picture,
)
from deepinside_edu.weights import imagenet_labels, imagenet_wordnet_ids

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DATA = Path(images.__file__).parent / "data"

# --- photo <-> tensor ------------------------------------------------------------------------------------------------


def test_normalise_is_its_equation():
    picture = Image.fromarray(noise(3, 2))
    x = normalise(picture, (3, 2), MEAN, STD)
    assert x.shape == (1, 3, 3, 2)
    assert x.dtype == torch.float32
    for row in range(3):
        for column in range(2):
            for channel in range(3):
                level = picture.getpixel((column, row))[channel]
                expected = (level / 255 - MEAN[channel]) / STD[channel]
                assert float(x[0, channel, row, column]) == pytest.approx(expected, abs=1e-6)


@given(coloured)
def test_a_colour_picture_survives_the_round_trip(colours):
    picture = Image.fromarray(colours)
    with no_trace(picture):
        x = normalise(picture, colours.shape[:2], MEAN, STD)
    with no_trace(x):
        assert pixels(to_picture(x, MEAN, STD)) == colours.tolist()
        assert pixels(to_picture(x[0], MEAN, STD)) == colours.tolist()


@given(grey)
def test_a_grey_picture_survives_the_round_trip(shades):
    x = normalise(Image.fromarray(shades).convert("RGB"), shades.shape, (0.5,), (0.25,))
    assert x.shape == (1, 1, *shades.shape)
    assert pixels(to_picture(x, (0.5,), (0.25,))) == np.dstack([shades] * 3).tolist()


def test_the_whole_picture_is_resized():
    halves = np.zeros((10, 40, 3), np.uint8)
    halves[:, 20:] = 255
    x = normalise(Image.fromarray(halves), (6, 8), (0.0,) * 3, (1.0,) * 3)
    assert x.shape == (1, 3, 6, 8)
    assert x[0, :, :, :3].max() < 0.05
    assert x[0, :, :, 5:].min() > 0.95


def test_zero_is_the_mean_colour():
    assert pixels(to_picture(torch.zeros(1, 3, 1, 1), MEAN, STD)) == [[[round(255 * m) for m in MEAN]]]


def test_colours_out_of_range_are_clipped_and_not_wrapped():
    assert pixels(to_picture(torch.tensor([-9.0, 9.0]).expand(3, 1, 2), MEAN, STD)) == [[[0] * 3, [255] * 3]]


def test_to_picture_takes_tensors_that_ask_for_gradients():
    x = torch.zeros(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    with no_trace(x):
        assert to_picture(x, MEAN, STD).size == (2, 2)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (1, 1, 4, 4), (4, 4), (1, 1, 3, 4, 4), (1, 4, 4, 3)])
def test_to_picture_takes_one_image_only(shape):
    with pytest.raises(ValueError, match=rf"expected one image \(1, 3, H, W\), got {re.escape(str(shape))}"):
        to_picture(torch.zeros(shape), MEAN, STD)


@pytest.mark.parametrize(
    ("values", "finite"),
    [([], True), ([3e38, 3e38], True), ([-3e38, -3e38], True), ([0, math.nan], False), ([math.inf, -math.inf], False)],
)
def test_finite_is_told_also_where_the_sum_overflows(values, finite):
    x = torch.tensor(values, dtype=torch.float32, requires_grad=True)
    assert all_finite(x) is finite


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_to_picture_refuses_what_is_not_finite(bad):
    with pytest.raises(ValueError, match="NaN or infinite"):
        to_picture(torch.full((1, 3, 2, 2), bad), MEAN, STD)


# --- ten crops -------------------------------------------------------------------------------------------------------


@given(st.data(), st.integers(1, 40), st.integers(1, 40))
def test_ten_crops_are_four_corners_and_the_centre_each_also_mirrored(data, height, width):
    crop_height, crop_width = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    crops = ten_crops(height, width, crop_height, crop_width)
    assert len(crops) == 10
    assert [c.mirrored for c in crops] == [False] * 5 + [True] * 5
    assert [c._replace(mirrored=False) for c in crops[5:]] == crops[:5]
    assert all((c.height, c.width) == (crop_height, crop_width) for c in crops)

    corners = {(c.top, c.left) for c in crops[:4]}
    tops, lefts = {0, height - crop_height}, {0, width - crop_width}
    assert corners == {(top, left) for top in tops for left in lefts}
    centre = crops[4]
    assert 0 <= height - crop_height - 2 * centre.top <= 1
    assert 0 <= width - crop_width - 2 * centre.left <= 1


@pytest.mark.parametrize("crop", [(9, 4), (4, 11), (0, 4), (4, -1)])
def test_crops_larger_than_the_image_are_refused(crop):
    with pytest.raises(ValueError, match=f"within 8×10, got {crop[0]}×{crop[1]}"):
        ten_crops(8, 10, *crop)


# --- the photos that ship --------------------------------------------------------------------------------------------


def credits():
    lines = (DATA / "photos" / "CREDITS.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {name: rest for name, *rest in rows[2:]}


def test_there_are_twelve_to_sixteen_photos_of_two_megabytes_in_all():
    assert 12 <= len(photos()) <= 16
    assert sum(path.stat().st_size for path in (DATA / "photos").iterdir()) <= 2_000_000
    assert [each.name for each in photos()] == sorted(each.name for each in photos())


def test_credits_name_author_licence_and_source_of_each_photo():
    assert set(credits()) == {each.name for each in photos()}
    for _, author, licence, source in credits().values():
        assert author
        assert licence in ("CC0 1.0", "public domain")
        assert "commons.wikimedia.org" in source or "scikit-image" in source


def test_every_photo_has_boxes_and_every_box_a_photo():
    assert {path.stem for path in (DATA / "boxes").iterdir()} == {each.name for each in photos()}


@pytest.mark.parametrize("each", photos(), ids=lambda each: each.name)
def test_a_shipped_photo_is_what_its_papers_say(each):
    picture = each.image
    assert picture.mode == "RGB"
    assert max(picture.size) <= 640
    label = imagenet_labels()[imagenet_wordnet_ids().index(each.wordnet_id)]
    assert label in re.split(r", | \(", credits()[each.name][0])

    root = ElementTree.parse(DATA / "boxes" / f"{each.name}.xml").getroot()
    assert root.findtext("filename") == each.path.name
    assert (int(root.findtext("size/width")), int(root.findtext("size/height"))) == picture.size
    assert {o.findtext("name") for o in root.iter("object")} == {each.wordnet_id}

    assert each.boxes
    assert len(set(each.boxes)) == len(each.boxes)
    for left, top, right, bottom in each.boxes:
        assert 0 <= left < right <= picture.width
        assert 0 <= top < bottom <= picture.height


def test_both_corners_of_an_annotation_belong_to_the_box(tmp_path):
    corners = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    objects = [f"<object><name>n1</name>{corners.format(*c)}</object>" for c in ((0, 1, 9, 19), (4, 5, 4, 5))]
    path = tmp_path / "two.xml"
    path.write_text(f"<annotation>{''.join(objects)}</annotation>")
    assert read_boxes(path) == ("n1", ((0, 1, 10, 20), (4, 5, 5, 6)))  # the second is one pixel


ONE_DOG = "<object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>{}</xmax><ymax>4</ymax></bndbox></object>"


@pytest.mark.parametrize(("text", "said"), [
    ("<html/>", "begins with <html>; expected <annotation>"),
    (f"<annotations><annotation>{ONE_DOG.format(3)}</annotation></annotations>", "begins with <annotations>"),
    ("<annotation><size><width>500</width></size></annotation>", "size without height; expected both"),
    ("<annotation><size><height>9</height></size></annotation>", "size without width"),
    *[(f"<annotation>{ONE_DOG.format(far)}</annotation>", "expected four numbers of pixels")
      for far in ("1e99", "1e9", "12e8", "9999999999")],
])  # fmt: skip
def test_an_annotation_that_cannot_be_meant_is_refused(text, said, tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.xml .*{said}"):
        read_annotation(path)


@pytest.mark.parametrize(("size", "read"), [
    ("", None), ("<size/>", None), ("<size><width>0</width><height>0</height></size>", None),
    ("<size><width>8</width><height>9</height></size>", (8, 9)),
])  # fmt: skip
def test_an_annotation_has_the_whole_size_or_none(size, read, tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(f"<annotation>{size}{ONE_DOG.format('3e0')}</annotation>")
    assert read_annotation(path) == (read, (("dog", (1, 2, 4, 5)),))


@pytest.mark.slow
def test_photo_finds_by_name_and_shows_itself():
    panda = photo("panda")
    assert panda.name == "panda"
    assert pixels(open_image(panda)) == pixels(panda.image)
    assert pixels(open_image(panda._repr_png_())) == pixels(panda.image)
    assert str(panda.path) not in repr(panda)  # a lesson's output is the same on every machine


def test_an_unknown_photo_lists_those_there_are():
    with pytest.raises(ValueError, match=r"'unicorn'; there are bison, .*, tabby"):
        photo("unicorn")
