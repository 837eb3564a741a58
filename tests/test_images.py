"""Whatever holds a picture opens upright and in RGB, whatever does not says why, and the shipped photos are what they
are said to be.
"""

import io
import math
import re
import struct
import warnings
import xml.etree.ElementTree as ElementTree
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from no_trace import no_trace
from PIL import Image, ImageFile, PngImagePlugin

from deepinside_edu import images
from deepinside_edu.images import all_finite, normalise, open_image, photo, photos, read_boxes, ten_crops, to_picture
from deepinside_edu.weights import imagenet_labels, imagenet_wordnet_ids

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DATA = Path(images.__file__).parent / "data"

levels = st.integers(0, 255)
sides = st.integers(2, 12)
coloured = st.tuples(sides, sides).flatmap(lambda s: hnp.arrays(np.uint8, (*s, 3), elements=levels))
grey = st.tuples(sides, sides).flatmap(lambda s: hnp.arrays(np.uint8, s, elements=levels))


def noise(height=24, width=20, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pixels(picture):
    return np.asarray(picture).tolist()


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def handmade_png(width, height, depth=8, colour=2, rows=b""):
    """A PNG file written byte by byte: `colour` 0 is grey, 2 is RGB."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class NoSeek(io.RawIOBase):
    """What comes over a wire: it can be read once, from front to back."""

    def __init__(self, data):
        self.stream = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.stream.readinto(buffer)


# --- every way in ----------------------------------------------------------------------------------------------------

WAYS_IN = {
    "str path": lambda path: str(path),
    "Path": lambda path: path,
    "bytes": lambda path: path.read_bytes(),
    "bytearray": lambda path: bytearray(path.read_bytes()),
    "memoryview": lambda path: memoryview(path.read_bytes()),
    "BytesIO": lambda path: io.BytesIO(path.read_bytes()),
    "unseekable stream": lambda path: NoSeek(path.read_bytes()),
    "array": lambda path: noise(),
    "array in Fortran order": lambda path: np.asfortranarray(noise()),
    "read-only array": lambda path: np.frombuffer(noise().tobytes(), np.uint8).reshape(24, 20, 3),
    "PIL image": lambda path: Image.fromarray(noise()),
    "one upload": lambda path: {"name": "a.png", "type": "image/png", "content": memoryview(path.read_bytes())},
    "value of FileUpload": lambda path: ({"name": "a.png", "content": memoryview(path.read_bytes())},),
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_every_way_in_gives_the_same_picture(way, tmp_path):
    path = tmp_path / "noise.png"
    path.write_bytes(encoded(Image.fromarray(noise())))
    picture = open_image(WAYS_IN[way](path))
    assert picture.mode == "RGB"
    assert pixels(picture) == noise().tolist()


def test_the_value_of_a_real_upload_widget_opens():
    import ipywidgets

    content = encoded(Image.fromarray(noise()))
    upload = ipywidgets.FileUpload()
    upload.set_state({"value": [{
        "name": "a.png", "type": "image/png", "size": len(content), "last_modified": 0, "content": memoryview(content),
    }]})  # fmt: skip
    assert pixels(open_image(upload.value)) == noise().tolist()


def test_a_file_that_was_just_written_needs_no_rewinding_and_stays_open():
    stream = io.BytesIO()
    Image.fromarray(noise()).save(stream, "png")
    assert stream.tell() > 0
    assert pixels(open_image(stream)) == noise().tolist()
    assert not stream.closed


def test_a_file_that_was_opened_by_path_is_closed(tmp_path):
    path = tmp_path / "noise.png"
    path.write_bytes(encoded(Image.fromarray(noise())))
    open_image(path)  # an open handle would be a ResourceWarning, which fails here


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "I;16"])
def test_a_pil_image_is_neither_changed_nor_given_back(mode):
    mine = Image.fromarray(noise()).convert("L" if mode == "I;16" else "RGB").convert(mode)
    with no_trace(mine):
        picture = open_image(mine)
        picture.paste("red", (0, 0, *picture.size))


def test_an_array_is_neither_changed_nor_given_back():
    mine = noise()
    with no_trace(mine):
        open_image(mine).paste("red", (0, 0, 20, 24))


# --- upright ---------------------------------------------------------------------------------------------------------

# What a camera stores for each EXIF orientation, of a scene that has its first row at the top.
STORED = {
    1: lambda scene: scene,
    2: lambda scene: scene[:, ::-1],
    3: lambda scene: scene[::-1, ::-1],
    4: lambda scene: scene[::-1],
    5: lambda scene: scene.swapaxes(0, 1),
    6: lambda scene: np.rot90(scene, 1),
    7: lambda scene: scene[::-1, ::-1].swapaxes(0, 1),
    8: lambda scene: np.rot90(scene, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied_once(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](noise())))
    upright = open_image(encoded(stored, exif=exif))
    assert pixels(upright) == noise().tolist()
    assert pixels(open_image(encoded(upright, exif=upright.getexif()))) == noise().tolist()


@pytest.mark.parametrize("orientation", STORED)
def test_pixels_as_they_are_stored_are_turned_by_nobody(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(STORED[orientation](noise()))
    grey = np.repeat(stored[:, :, :1], 3, 2)
    for levels, expected in ((stored, stored), (stored[:, :, 0], grey)):
        kept = open_image(encoded(Image.fromarray(levels), exif=exif), upright=False)
        assert pixels(kept) == expected.tolist()
        assert pixels(open_image(kept)) == expected.tolist(), "not later either"


def test_a_pil_image_with_exif_is_turned_as_well():
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(encoded(Image.fromarray(np.rot90(noise()).copy()), exif=exif))) as mine:
        assert pixels(open_image(mine)) == noise().tolist()
        assert mine.size == (24, 20)


# --- every kind of pixel ---------------------------------------------------------------------------------------------


def test_cmyk_ink_becomes_light():
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    assert pixels(open_image(inks))[0][0] == [255, 0, 0]
    red, green, blue = pixels(open_image(encoded(inks, "JPEG")))[8][8]
    assert red > 245
    assert max(green, blue) < 10


def palette_picture():
    picture = Image.new("P", (2, 2))
    picture.putpalette([200, 10, 20, 30, 210, 40])
    picture.putdata([0, 1, 1, 0])
    return picture


def test_a_palette_is_looked_up():
    for source in (palette_picture(), encoded(palette_picture())):
        assert pixels(open_image(source)) == [[[200, 10, 20], [30, 210, 40]], [[30, 210, 40], [200, 10, 20]]]


def test_the_transparent_entry_of_a_palette_is_white():
    for kind in ("PNG", "GIF"):
        picture = open_image(encoded(palette_picture(), kind, transparency=1))
        assert pixels(picture) == [[[200, 10, 20], [255] * 3], [[255] * 3, [200, 10, 20]]]


def test_the_transparent_colour_of_a_png_is_white():
    picture = Image.fromarray(noise(2, 2))
    hole = tuple(noise(2, 2)[0, 1].tolist())
    assert pixels(open_image(encoded(picture, transparency=hole)))[0] == [noise(2, 2)[0, 0].tolist(), [255] * 3]


@given(coloured, levels)
def test_transparency_is_laid_over_white(colours, alpha):
    veiled = np.dstack([colours, np.full(colours.shape[:2], alpha, np.uint8)])
    expected = colours * (alpha / 255) + 255 * (1 - alpha / 255)
    for source in (veiled, Image.fromarray(veiled), encoded(Image.fromarray(veiled))):
        assert np.abs(np.asarray(open_image(source)) - expected).max() <= 1


def test_grey_with_transparency_is_laid_over_white():
    picture = Image.merge("LA", [Image.new("L", (3, 2), 100), Image.new("L", (3, 2), 51)])
    assert pixels(open_image(encoded(picture)))[0][0] == [224] * 3


@given(grey)
def test_grey_becomes_three_equal_channels(shades):
    for source in (shades, shades[:, :, None], Image.fromarray(shades), encoded(Image.fromarray(shades))):
        assert pixels(open_image(source)) == np.dstack([shades] * 3).tolist()


def test_one_bit_becomes_black_and_white():
    picture = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert("1")
    for source in (picture, encoded(picture)):
        assert pixels(open_image(source)) == [[[0] * 3, [255] * 3], [[255] * 3, [0] * 3]]


@given(coloured, st.sampled_from(["<u2", ">u2"]))
def test_sixteen_bits_become_eight(colours, byte_order):
    wide = (colours.astype(np.uint16) * 257).astype(byte_order)  # 255 is 65535
    assert pixels(open_image(wide)) == colours.tolist()
    assert pixels(open_image(wide[:, :, 0])) == np.dstack([colours[:, :, 0]] * 3).tolist()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_sixteen_bit_grey_file_keeps_its_range(kind):
    shades = np.array([[0, 257, 65535], [128 * 257, 65534, 256]], np.uint16)
    expected = [[0, 1, 255], [128, 254, 0]]
    assert np.asarray(open_image(encoded(Image.fromarray(shades), kind)))[:, :, 1].tolist() == expected


def test_a_sixteen_bit_colour_file_keeps_its_range():
    row = b"\0" + struct.pack(">6H", 65535, 257, 0, 257 * 10, 257 * 20, 257 * 30)
    assert pixels(open_image(handmade_png(2, 2, 16, 2, row * 2))) == [[[255, 1, 0], [10, 20, 30]]] * 2


def test_levels_that_fit_no_sixteen_bits_are_refused():
    with pytest.raises(ValueError, match="levels -1 to 70000; expected 0 to 65535"):
        open_image(Image.fromarray(np.array([[-1, 0], [5, 70_000]], np.int32)))


def test_floating_point_pictures_are_refused():
    with pytest.raises(ValueError, match=r"floating-point.*uint8"):
        open_image(Image.new("F", (4, 4)))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    animation = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50, **lossless)
    with Image.open(io.BytesIO(animation)) as mine:
        assert mine.n_frames == 2
        mine.seek(1)
        assert pixels(open_image(mine))[4][4] == [0, 0, 255]  # of a PIL image, the frame it stands at
        assert mine.tell() == 1
    assert pixels(open_image(animation))[4][4] == [255, 0, 0]


# --- every size ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [
    np.zeros((0, 0), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((5, 0), np.uint16), Image.new("RGB", (0, 0)),
])  # fmt: skip
def test_no_pixels_at_all(source):
    with pytest.raises(ValueError, match="no pixels"):
        open_image(source)


@pytest.mark.parametrize("file", [handmade_png(0, 0), b"GIF89a" + bytes(7) + b";"])
def test_a_file_of_no_pixels(file):
    with pytest.raises(ValueError, match=r"no pixels|not a picture"):
        open_image(file)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1)])
def test_one_pixel_wide_or_high_is_too_small(height, width):
    shades = np.zeros((height, width), np.uint8)
    for source in (shades, Image.fromarray(shades), encoded(Image.fromarray(shades))):
        with pytest.raises(ValueError, match=f"{width}×{height} pixels, too small.*larger"):
            open_image(source)


def test_two_by_two_is_enough():
    assert open_image(np.zeros((2, 2), np.uint8)).size == (2, 2)


@pytest.mark.parametrize("limit", [None, Image.MAX_IMAGE_PIXELS])
@pytest.mark.parametrize("noise_about_it", ["error", "ignore"])
@pytest.mark.parametrize("side", [20_000, 10_000, 7_100])
def test_a_huge_file_is_refused_before_it_is_decoded(side, noise_about_it, limit, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", lambda _: pytest.fail("it was decoded"))
    with warnings.catch_warnings():
        warnings.simplefilter(noise_about_it)
        with pytest.raises(ValueError, match=r"at most 50,000,000.*Shrink it first"):
            open_image(handmade_png(side, side))


def test_the_guard_above_sees_a_decoded_file(monkeypatch):
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", lambda _: pytest.fail("it was decoded"))
    with pytest.raises(pytest.fail.Exception, match="it was decoded"):
        open_image(encoded(Image.fromarray(noise())))


def test_a_huge_array_is_refused_before_it_is_copied():
    with pytest.raises(ValueError, match="20000×30000 pixels; expected at most 50,000,000"):
        open_image(np.broadcast_to(np.uint8(0), (30_000, 20_000)))


def test_the_limit_itself_is_allowed(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 480)
    assert open_image(noise()).size == (20, 24)
    monkeypatch.setattr(images, "MAX_PIXELS", 479)
    with pytest.raises(ValueError, match="at most 479"):
        open_image(noise())


# --- what is no picture ----------------------------------------------------------------------------------------------

Image.init()
KINDS = [kind for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "DDS") if kind in Image.SAVE]
FILES = {kind: encoded(Image.fromarray(noise()), kind) for kind in KINDS}


@pytest.mark.parametrize("file", [b"", b"hello", b"<!doctype html><img src='cat.jpg'>", b"PK\x03\x04" + bytes(40)])
def test_not_a_picture(file, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(file)
    for source in (file, io.BytesIO(file), NoSeek(file), {"name": "cat.jpg", "content": file}, tmp_path / "cat.jpg"):
        with pytest.raises(ValueError, match=r"not a picture that can be read; .*Open it in a viewer") as caught:
            open_image(source)
        assert "0x" not in str(caught.value)  # a memory address: the same mistake reads the same everywhere


@pytest.mark.parametrize("kind", FILES)
@given(share=st.floats(0, 0.9))
def test_a_file_that_was_cut_off(kind, share):
    file = FILES[kind][: int(share * len(FILES[kind]))]
    with pytest.raises(ValueError, match=r"not a picture that can be read.*damaged or was cut off"):
        open_image(file)


def test_a_pil_image_of_a_file_that_was_cut_off():
    file = FILES["JPEG"][:-40]
    with Image.open(io.BytesIO(file)) as mine, pytest.raises(ValueError, match="the PIL image is not a picture"):
        open_image(mine)


@pytest.mark.parametrize("kind", FILES)
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), levels), min_size=1, max_size=4))
def test_a_damaged_file_opens_or_says_so(kind, changes):
    file = bytearray(FILES[kind])
    for share, byte in changes:
        file[int(share**2 * len(file))] = byte  # more often near the front, where the headers are
    try:
        picture = open_image(bytes(file))
    except ValueError as error:
        assert re.search("not a picture|pixels|levels", str(error))  # noqa: PT017 - either outcome is right
    else:
        assert picture.mode == "RGB"


def test_a_missing_file_and_a_folder_keep_their_own_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cat\.jpg"):
        open_image(tmp_path / "cat.jpg")
    with pytest.raises(IsADirectoryError):
        open_image(tmp_path)


def test_a_web_address_is_no_path():
    with pytest.raises(ValueError, match=r"web address.*Save the picture"):
        open_image("https://example.org/cat.jpg")


def test_a_file_opened_as_text(tmp_path):
    (tmp_path / "noise.png").write_bytes(FILES["PNG"])
    with (tmp_path / "noise.png").open() as file, pytest.raises(TypeError, match=r'open\(path, "rb"\)'):
        open_image(file)


@pytest.mark.parametrize("source", [None, 3, 2.5, object(), {"name": "a.png"}, torch.zeros(3, 4, 4), np.uint8(7)])
def test_what_holds_no_picture(source):
    with pytest.raises(TypeError, match=f"expected a path, .* got {type(source).__name__}"):
        open_image(source)


@pytest.mark.parametrize("uploads", [(), [], ({}, {})])
def test_not_exactly_one_upload(uploads):
    with pytest.raises(ValueError, match=f"expected one upload, got {len(uploads)}"):
        open_image(uploads)


@pytest.mark.parametrize(("array", "remedy"), [
    (np.zeros((4, 4, 3)), r"got float64\..*255"),
    (np.full((4, 4, 3), np.nan, np.float32), "got float32 with NaN in it"),
    (np.zeros((4, 4), int), "got int64. Convert it to uint8"),
    (np.zeros((4, 4), bool), "got bool"),
    (np.zeros((4, 4), complex), "got complex128"),
    (np.array([[None, None]] * 2), "got object"),
    (np.zeros((3, 9, 9), np.uint8), r"got \(3, 9, 9\).*channels come first"),
    (np.zeros((1, 9, 9), np.uint8), r"got \(1, 9, 9\).*channels come first"),
    (np.zeros((9, 9, 2), np.uint8), r"got \(9, 9, 2\)"),
    (np.zeros(9, np.uint8), r"got \(9,\)"),
    (np.zeros((2, 9, 9, 3), np.uint8), r"got \(2, 9, 9, 3\)"),
])  # fmt: skip
def test_arrays_that_hold_no_picture(array, remedy):
    with pytest.raises(ValueError, match=remedy):
        open_image(array)


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


def test_photo_finds_by_name_and_shows_itself():
    panda = photo("panda")
    assert panda.name == "panda"
    assert pixels(open_image(panda)) == pixels(panda.image)
    assert pixels(open_image(panda._repr_png_())) == pixels(panda.image)
    assert str(panda.path) not in repr(panda)  # a lesson's output is the same on every machine


def test_an_unknown_photo_lists_those_there_are():
    with pytest.raises(ValueError, match=r"'unicorn'; there are bison, .*, tabby"):
        photo("unicorn")


def test_pillow_still_refuses_truncated_files_by_itself():
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # nothing in the package turns that protection off
