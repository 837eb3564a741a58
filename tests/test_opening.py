"""Everything that holds a picture opens upright and in RGB; for everything else, the error says what to pass."""

import base64
import errno
import io
import os
import re
import socket
import struct
import threading
import warnings
import zlib
from contextlib import closing, redirect_stderr, suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_trace import no_trace
from PIL import EpsImagePlugin, Image, ImageFile, PngImagePlugin
from small_pictures import coloured, grey, noise, pixels

from deepinside_edu import explore, opening, photo
from deepinside_edu.opening import open_image


def encoded(picture, kind="PNG", **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def handmade_png(width, height, depth=8, colour=2, rows=b"", transparent=None):
    """A PNG file written byte by byte: `colour` 0 is grey, 2 is RGB, 6 is RGBA."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    hole = [] if transparent is None else [chunk(b"tRNS", transparent)]
    chunks = [chunk(b"IHDR", header), *hole, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class NoSeek(io.RawIOBase):
    """A stream from a network: it can be read once, from front to back."""

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
    "data: URL": lambda path: "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode(),
    "data: URL in percents": lambda path: "DATA:image/png," + quote(path.read_bytes()),
    "file: URL": lambda path: path.as_uri(),
    "file: URL of this host": lambda path: path.as_uri().replace("file://", "FILE://localhost"),
    "list of one path": lambda path: [str(path)],
    "tuple of one PIL image": lambda path: (Image.fromarray(noise()),),
    "list of one array": lambda path: [noise()],
    "ipywidgets 8, one": lambda path: {"name": "a.png", "type": "image/png", "content": memoryview(path.read_bytes())},
    "ipywidgets 8": lambda path: ({"name": "a.png", "content": memoryview(path.read_bytes())},),
    "ipywidgets 7": lambda path: {"a.png": {"metadata": {"name": "a.png", "size": 9}, "content": path.read_bytes()}},
    "Colab": lambda path: {"a.png": path.read_bytes()},
    "Colab, its values": lambda path: {"a.png": path.read_bytes()}.values(),
    "Dash": lambda path: {"content": "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()},
    "Gradio, a file": lambda path: {"path": str(path), "url": None, "orig_name": "a.png", "meta": {}},
    "Gradio, an editor": lambda path: {"background": noise(), "layers": [], "composite": noise()},
    "Hugging Face, bytes": lambda path: {"bytes": path.read_bytes(), "path": None},
    "Hugging Face, a path": lambda path: {"bytes": None, "path": str(path)},
}


@pytest.mark.parametrize("way", WAYS_IN)
def test_every_way_in_gives_the_same_picture(way, tmp_path):
    path = tmp_path / "noise, 100 % of it.png"
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
    wide = noise()[:, :, 0] * np.uint16(257)
    mine = Image.fromarray(wide) if mode == "I;16" else Image.fromarray(noise()).convert(mode)
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


@given(coloured, st.integers(0, 255))
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
    colours[0, 0] = 255  # without a bright level, nothing shows that there are sixteen bits
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


CONTAINERS = {
    "array": lambda levels: levels.astype("<u2"),
    "big-endian array": lambda levels: levels.astype(">u2"),
    "three channels": lambda levels: np.dstack([levels.astype(np.uint16)] * 3),
    "I;16": lambda levels: Image.fromarray(levels.astype(np.uint16)),
    "I;16B": lambda levels: Image.fromarray(levels.astype(np.int32)).convert("I;16B"),
    "I": lambda levels: Image.fromarray(levels.astype(np.int32)),
    "PNG": lambda levels: encoded(Image.fromarray(levels.astype(np.uint16))),
    "TIFF": lambda levels: encoded(Image.fromarray(levels.astype(np.uint16)), "TIFF"),
    "32-bit TIFF": lambda levels: encoded(Image.fromarray(levels.astype(np.int32)), "TIFF"),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_each_of_the_65536_levels(container):
    """Each of the 256 levels that come out takes 257 of those that go in, but for the last, which takes 65535 alone."""
    expected = [k for k in range(255) for _ in range(257)] + [255]
    levels = np.arange(65536).reshape(256, 256)
    assert np.asarray(open_image(CONTAINERS[container](levels)))[:, :, 1].ravel().tolist() == expected


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("highest", "bits"), [
    (1, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (4096, 14), (16383, 14),
])  # fmt: skip
def test_few_bits_in_a_large_container_do_not_come_out_black(container, highest, bits):
    levels = np.array([[0, 1], [highest // 2, highest]])
    with pytest.raises(ValueError, match=f"at most {highest}: either {bits} bits .* or a dark picture of 16") as caught:
        open_image(CONTAINERS[container](levels))
    few_bits, sixteen = re.findall(r"(\(?levels[^,:]*\.astype\('uint8'\))", str(caught.value))
    # The remedies do what they say: in either case, the brightest level becomes white.
    assert pixels(open_image(eval(few_bits, {"levels": np.full((2, 2), 2**bits - 1)})))[0][0] == [255] * 3
    assert pixels(open_image(eval(sixteen, {"levels": np.full((2, 2), 65535)})))[0][0] == [255] * 3


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_bright_level_or_none_at_all_is_no_riddle(container):
    bright, black = np.array([[0, 0], [0, 16384]]), np.zeros((2, 2))
    assert np.asarray(open_image(CONTAINERS[container](bright)))[:, :, 2].tolist() == [[0, 0], [0, 63]]
    assert np.asarray(open_image(CONTAINERS[container](black)))[:, :, 2].tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("mode", ["I", "I;16", "F"])
def test_a_grey_picture_that_was_converted_is_not_black(mode):
    """Pillow keeps 0..255 in these modes."""
    shades = Image.fromarray(noise()).convert("L")
    with pytest.raises(ValueError, match=r"expected 8 (or 16 )?bits"):
        open_image(shades.convert(mode))
    assert pixels(open_image(shades.convert(mode).convert("L"))) == pixels(shades.convert("RGB"))


def handmade_tiff(width, height, colour):
    """An uncompressed TIFF of one colour with 16 bits a channel, written byte by byte."""
    strip = struct.pack(f"<{len(colour)}H", *colour) * width * height
    depths = struct.pack(f"<{len(colour)}H", *[16] * len(colour))
    tags = [
        (256, 3, 1, width), (257, 3, 1, height), (258, 3, len(colour), 8), (259, 3, 1, 1), (262, 3, 1, 2),
        (273, 4, 1, 8 + len(depths)), (277, 3, 1, len(colour)), (278, 3, 1, height), (279, 4, 1, len(strip)),
    ] + [(338, 3, 1, 2)] * (len(colour) == 4)  # fmt: skip
    table = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(depths) + len(strip)) + depths + strip + table


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize(("highest", "opens"), [(255, False), (4095, False), (16383, False), (16384, True)])
def test_few_bits_in_a_large_container_in_colour(kind, alpha, highest, opens):
    colour = [highest, 0, 9] + [65535] * alpha
    row = b"\0" + struct.pack(f">{2 * len(colour)}H", *colour, *colour)
    file = handmade_png(2, 2, 16, 6 if alpha else 2, row * 2) if kind == "PNG" else handmade_tiff(2, 2, colour)
    if opens:
        assert pixels(open_image(file)) == [[[highest // 256, 0, 0]] * 2] * 2
    else:
        with pytest.raises(ValueError, match="bits in a larger container or a dark picture of 16"):
            open_image(file)


@pytest.mark.parametrize(("levels", "got"), [
    ([[-1, 0], [5, 70_000]], "-1 to 70000"), ([[-1, 0], [0, 255]], "-1 to 255"), ([[0, 0], [0, 65536]], "0 to 65536"),
])  # fmt: skip
def test_levels_that_fit_no_sixteen_bits_are_refused(levels, got):
    with pytest.raises(ValueError, match=f"levels {got}; expected 0 to 65535"):
        open_image(Image.fromarray(np.array(levels, np.int32)))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("hole", [0, 1])
def test_the_transparent_level_of_a_grey_png_is_white_whatever_its_bits(depth, hole):
    """Four pixels: black, the next level, white, and the transparent one."""
    most = 2**depth - 1
    levels = [0, 1, most, hole]
    stored = "".join(f"{level:0{depth}b}" for level in levels)
    row = b"\0" + bytes(int(stored[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(stored), 8))
    picture = open_image(handmade_png(4, 2, depth, 0, row * 2, struct.pack(">H", hole)))
    expected = [255 if level == hole else level * 255 // most for level in levels]
    assert np.asarray(picture)[:, :, 0].tolist() == [expected] * 2


def test_a_transparent_colour_of_sixteen_bits_is_refused():
    row = b"\0" + struct.pack(">6H", 65535, 1, 2, 65535, 1, 3)  # two colours of the same upper bytes
    with pytest.raises(ValueError, match=r"16 bits and a transparent colour.*Save it with 8 bits"):
        open_image(handmade_png(2, 2, 16, 2, row * 2, struct.pack(">3H", 65535, 1, 2)))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"]
)
def test_black_is_black_and_nothing_is_white_in_every_mode(mode):
    nothing, black = mode in ("LA", "La", "PA", "RGBA", "RGBa"), {"CMYK": (0, 0, 0, 255), "YCbCr": (0, 128, 128)}
    picture = open_image(Image.new(mode, (3, 3), black.get(mode, 0)))
    assert pixels(picture)[1][1] == ([255] * 3 if nothing else [0] * 3)


def test_the_format_of_many_cameras_opens():
    """MPO: a JPEG with another one behind it."""
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    red, green, blue = pixels(open_image(encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:])))[8][8]
    assert red > 245
    assert max(green, blue) < 10


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
    monkeypatch.setattr(opening, "MAX_PIXELS", 480)
    assert open_image(noise()).size == (20, 24)
    monkeypatch.setattr(opening, "MAX_PIXELS", 479)
    with pytest.raises(ValueError, match="at most 479"):
        open_image(noise())


# --- what is no picture ----------------------------------------------------------------------------------------------

Image.init()
KINDS = [kind for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF") if kind in Image.SAVE]
FILES = {kind: encoded(Image.fromarray(noise()), kind) for kind in KINDS}


@pytest.mark.parametrize("file", [b"", b"hello", b"<!doctype html><img src='cat.jpg'>", b"PK\x03\x04" + bytes(40)])
def test_not_a_picture(file, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(file)
    for source in (file, io.BytesIO(file), NoSeek(file), {"name": "cat.jpg", "content": file}, tmp_path / "cat.jpg"):
        with pytest.raises(ValueError, match=r"not a picture that can be read; .*Open it in a viewer") as caught:
            open_image(source)
        assert "0x" not in str(caught.value)  # no memory address, so that the same mistake reads the same everywhere


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
@given(changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
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


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n{} loop\n"


def opened_by_pillow(path):
    with Image.open(path) as picture:
        open_image(picture)


def uploaded_to_an_explorer(path):
    from deepinside_edu import explore

    explorer = explore.scores()
    explorer._on_browser(None, {"do": "upload"}, [memoryview(path.read_bytes())])
    raise ValueError(explorer.message)


def given_to_the_command_line(path):
    from deepinside_edu.cli import main

    said = io.StringIO()
    with redirect_stderr(said):
        assert main([str(path)]) == 2
    raise ValueError(said.getvalue())


@pytest.mark.parametrize("door", [
    open_image, lambda path: open_image(path.read_bytes()), opened_by_pillow, uploaded_to_an_explorer,
    given_to_the_command_line,
])  # fmt: skip
def test_a_program_that_calls_itself_a_photo_is_not_run(door, tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    (tmp_path / "holiday.jpg").write_bytes(POSTSCRIPT)
    with pytest.raises(ValueError, match="expected a JPEG, PNG, WebP, GIF, BMP or TIFF file"):
        door(tmp_path / "holiday.jpg")


def test_pillow_would_run_it(monkeypatch):
    """What the test above would see."""
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("it ran"))
    with Image.open(io.BytesIO(POSTSCRIPT)) as picture, pytest.raises(pytest.fail.Exception, match="it ran"):
        picture.load()


def every_format_that_pillow_writes_and_reads():
    for kind in sorted(set(Image.SAVE) & set(Image.OPEN)):
        for mode in ("RGB", "L", "1"):
            with suppress(OSError, ValueError, KeyError), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow gives some of them up
                file = encoded(Image.fromarray(noise(64, 64)).convert(mode), kind)
                yield pytest.param(kind, file, id=f"{kind} {mode}")


@pytest.mark.parametrize(("kind", "file"), [*every_format_that_pillow_writes_and_reads()])
def test_the_formats_that_are_promised_open_and_no_others(kind, file):
    if kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        assert open_image(file).size == (64, 64)
    else:
        with pytest.raises(ValueError, match="expected a JPEG, PNG, WebP, GIF, BMP or TIFF file"):
            open_image(file)


# --- paths -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of pictures that is the working folder and the user's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for name in ("Kitten.JPG", "dog.png", "two words.png"):
        (tmp_path / name).write_bytes(encoded(Image.fromarray(noise())))
    return tmp_path


@pytest.mark.parametrize("name", ["~/dog.png", "$HOME/dog.png", "./dog.png", "two words.png", "~/two words.png"])
@pytest.mark.parametrize("kind", [str, Path, lambda name: [name]])
def test_a_path_is_read_as_it_is_written(name, kind, here):
    assert pixels(open_image(kind(name))) == noise().tolist()


@pytest.mark.parametrize("name", ["~", "$HOME", "file:", "https:"])
def test_a_name_that_is_there_as_it_is_comes_first(name, here):
    (here / name).mkdir()
    (here / name / "dog.png").write_bytes(encoded(Image.fromarray(noise(seed=1))))
    assert pixels(open_image(f"{name}/dog.png")) == noise(seed=1).tolist()


@pytest.mark.parametrize(("address", "what"), [
    *[(f"{scheme}://example.org/cat.jpg", "a web address") for scheme in ("http", "https", "HTTP", "HTTPS", "ftp")],
    ("www.example.org/cat.jpg", "a web address"), ("s3://bucket/cat.jpg", "an address"),
    ("gs://bucket/cat.jpg", "an address"), ("blob:https://example.org/1-2", "an address"),
    ("attachment:cat.jpg", "an address"), ("sandbox:/mnt/cat.jpg", "an address"),
])  # fmt: skip
@pytest.mark.parametrize("kind", [str, Path])
def test_an_address_is_no_path(address, what, kind, here):
    with pytest.raises(ValueError, match=rf"' is {what}; expected a file\. Save the picture and pass its path"):
        open_image(kind(address))


def test_a_file_of_another_machine_is_not_looked_up_on_this_one(here):
    with pytest.raises(ValueError, match="is an address"):
        open_image(f"file://server{here}/dog.png")


@pytest.mark.parametrize(("name", "hint"), [
    ("kitten.jpg", "Near: 'Kitten.JPG'"), ("kitten", "Near: 'Kitten.JPG'"), ("dog.jpg", "Near: 'dog.png'"),
    ("kiten.jpg", "Near: 'Kitten.JPG'"), ("two_words.png", "Near: 'two words.png'"),
    ("~/dogs.png", "Near: 'dog.png'"), ("hens", r"di\.photo\('hens'\)"), ("Hens.jpg", r"di\.photo\('hens'\)"),
    ("german shepherd", r"di\.photo\('german_shepherd'\)"), ("red-panda.png", r"di\.photo\('red_panda'\)"),
    ("photos/koala.jpg", r"no folder 'photos'.*di\.photo\('koala'\)"),
    ("xyz", "Upload it there, or pass its whole path"),
    ("nowhere/xyz.jpg", "no folder 'nowhere', so no file 'xyz.jpg'.*A relative path begins at"),
    ("dog.png/xyz.jpg", "no folder 'dog.png'"), ("~who is that/xyz.jpg", "no folder '~who is that'"),
    ("file:///nowhere/xyz.jpg", "no folder '/nowhere'"), (r"C:\Users\me\cat.jpg", "a path of Windows"),
    (r"\\server\cat.jpg", "a path of Windows"),
])  # fmt: skip
@pytest.mark.parametrize("kind", [str, Path])
def test_a_name_that_is_not_there_says_what_is_near(name, hint, kind, here):
    with pytest.raises(FileNotFoundError, match=hint) as caught:
        open_image(kind(name))
    assert "Errno" not in str(caught.value)


@pytest.mark.parametrize("name", ["\ud800.jpg", "\ud800/dog.jpg", "nowhere/\udfff.jpg", "~/\ud800.jpg"])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_name_with_half_a_letter_is_not_there_like_any_other(name, kind, here):
    with pytest.raises(FileNotFoundError, match=r"there is no (file|folder) '"):
        open_image(kind(name))


@pytest.mark.parametrize("name", [
    '"dog.png"', "'dog.png'", " dog.png", "dog.png ", "dog.png\n", "“dog.png”", ' "dog.png" ',
])  # fmt: skip
def test_a_name_with_more_around_it_is_told_without(name, here):
    with pytest.raises(FileNotFoundError, match=r"spaces or quotes around it\. Pass 'dog\.png', which is there"):
        open_image(name)
    (here / name).write_bytes(encoded(Image.fromarray(noise(seed=1))))  # if the file has this name, it opens
    assert pixels(open_image(name)) == noise(seed=1).tolist()


def test_what_is_around_a_name_that_is_not_there_hides_no_hint(here):
    with pytest.raises(FileNotFoundError, match=r"Pass '~/dog\.png', which is there"):
        open_image('"~/dog.png"')
    with pytest.raises(FileNotFoundError, match=r"no file 'kiten\.jpg' .*Near: 'Kitten\.JPG'"):
        open_image("'kiten.jpg'")
    with pytest.raises(ValueError, match=r"'https://example\.org/cat\.jpg' is a web address"):
        open_image(" https://example.org/cat.jpg")


def test_a_name_without_a_near_one_offers_none(here):
    with pytest.raises(FileNotFoundError) as caught:
        open_image("xyz.jpg")
    assert "Near" not in str(caught.value)
    assert "di.photo" not in str(caught.value)


@pytest.mark.parametrize(("text", "message"), [
    ("", "the path is empty"), ("  ", "the path is empty"), ("C:\new\temp.jpg", r"control character.*r\"C:"),
    ("cat\0.jpg", "control character"), ("x" * 300 + ".jpg", "304 characters"), ("x/" * 900, "1,800 characters"),
    (base64.b64encode(bytes(range(256)) * 40).decode(), r"base64\.b64decode\(text\)"),
    ("/9j/" + "4AAQSkZJ" * 8, r"base64\.b64decode\(text\)"),
])  # fmt: skip
def test_a_text_that_is_no_name(text, message, here):
    with pytest.raises(ValueError, match=message) as caught:
        open_image(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["data:", "data:image/png;base64,abc", "data:,hello", "data:image/svg+xml,%3Csvg/%3E"])
def test_a_data_url_without_a_picture(text):
    with pytest.raises(ValueError, match="the data: URL is not a picture"):
        open_image(text)


def test_a_folder_names_one_of_its_pictures(here):
    with pytest.raises(IsADirectoryError, match=r"is a folder; expected a file\. Pass .*such as 'Kitten\.JPG'"):
        open_image(".")
    (here / "empty").mkdir()
    with pytest.raises(IsADirectoryError, match=r"'empty' is a folder.*Pass a picture's path"):
        open_image(Path("empty"))


def test_the_systems_refusal_has_a_remedy(here, monkeypatch):
    def refuse(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    for method in ("open", "stat"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, method, refuse)
            with pytest.raises(PermissionError, match=r"'dog.png' cannot be opened \(Permission denied\)\. Copy it"):
                open_image("dog.png")


class Unplugged(io.BytesIO):
    def read(self, *_):
        raise OSError(errno.EIO, "Input/output error")


def test_a_disk_that_fails_halfway_has_a_remedy():
    with pytest.raises(OSError, match=r"to its end \(Input/output error\)\. Copy it"):
        open_image(Unplugged())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFO")
def test_what_never_ends_or_never_begins_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "link.jpg").symlink_to("/dev/zero")
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for name in ("fifo.jpg", "socket.jpg", "link.jpg"):
            errors = []

            def attempt(path=tmp_path / name, errors=errors):
                try:
                    open_image(path)
                except ValueError as error:
                    errors.append(str(error))

            thread = threading.Thread(target=attempt, daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive(), f"{name} blocks"
            assert "is a pipe, a socket or a device; expected a file" in errors[0]


def test_a_file_opened_as_text(tmp_path):
    (tmp_path / "noise.png").write_bytes(FILES["PNG"])
    with (tmp_path / "noise.png").open() as file, pytest.raises(TypeError, match=r'open\(path, "rb"\)'):
        open_image(file)


def test_a_file_that_was_closed(tmp_path):
    (tmp_path / "noise.png").write_bytes(FILES["PNG"])
    with (tmp_path / "noise.png").open("rb") as file, io.BytesIO(FILES["PNG"]) as memory:
        pass
    for closed in (file, memory):
        with pytest.raises(ValueError, match=r"is closed; expected an open file\. .*open\(path, \"rb\"\)"):
            open_image(closed)


def test_a_file_that_is_open_for_writing_only(tmp_path):
    with (tmp_path / "new.png").open("wb") as file, pytest.raises(ValueError, match=r"new\.png is open for writing"):
        open_image(file)


@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda text: {"name": "a.png", "content": text}])
@pytest.mark.parametrize("file", ["PNG", "JPEG", "GIF", "WEBP"])
def test_bytes_of_base64_text_are_told_works(file, kind, encode):
    text = encode(FILES[file])
    with pytest.raises(ValueError, match=r"is base64 text; .*Pass base64\.b64decode\(it\)"):
        open_image(kind(text))
    open_image(base64.b64decode(text))


def test_bytes_of_a_data_url_are_told_works():
    url = b"data:image/png;base64," + base64.b64encode(FILES["PNG"])
    with pytest.raises(ValueError, match=r"Pass it as text: it\.decode\(\)"):
        open_image(url)
    open_image(url.decode())


def test_a_network_or_a_classifier_holds_no_picture(classifier):
    for source in (classifier, classifier.network, torch.nn.ModuleDict({"a": torch.nn.ReLU()})):
        with pytest.raises(TypeError, match=r"The picture comes first, then the classifier\.$"):
            open_image(source)


@pytest.mark.parametrize("source", [None, 3, 2.5, object(), {"name": "a.png"}, torch.zeros(3, 4, 4), np.uint8(7)])
def test_what_holds_no_picture(source):
    with pytest.raises(TypeError, match=f"expected a path, .* got {type(source).__name__}"):
        open_image(source)


@pytest.mark.parametrize("uploads", [(), [], {}, ({}, {}), {"a.png": b"", "b.png": b""}])
def test_not_exactly_one_upload(uploads):
    with pytest.raises(ValueError, match=f"expected one upload, got {len(uploads)}"):
        open_image(uploads)


def test_several_pictures_are_counted_and_named():
    with pytest.raises(ValueError, match=r"expected one picture, got 2 in a tuple \(Image, int\); pass one at a time"):
        open_image((Image.new("RGB", (9, 9)), 3))
    with pytest.raises(ValueError, match=r"got 2: 'a\.png', 'b\.png'\. Pass one of them"):
        open_image({"a.png": b"", "b.png": b""})


@pytest.mark.parametrize("rows", [[[[0, 0, 0]] * 9] * 9, [[0] * 9] * 9, [[0.5] * 9], [np.uint8(3)], (1, 2), [True]])
def test_rows_of_numbers_are_told_to_become_an_array(rows):
    with pytest.raises(TypeError, match=r"rows of numbers.*np\.array\(rows, dtype=np\.uint8\)"):
        open_image(rows)


def test_a_list_that_holds_itself_ends():
    nest = []
    nest.append(nest)
    with pytest.raises(TypeError, match="lists within lists"):
        open_image(nest)


@pytest.mark.parametrize("content", [10**11, "abc", 2.5, ["a.png"]])
@pytest.mark.parametrize("key", ["content", "bytes"])
def test_an_upload_whose_content_is_no_bytes(key, content):
    with pytest.raises(TypeError, match=f"expected the upload's '{key}' as bytes, got {type(content).__name__}"):
        open_image({"name": "a.png", key: content})


def test_an_upload_that_is_no_picture_is_called_by_its_name():
    for upload in ({"cat.jpg": b"..."}, {"cat.jpg": {"content": b"..."}}, ({"name": "cat.jpg", "content": b"..."},)):
        with pytest.raises(ValueError, match=r"^cat\.jpg is not a picture"):
            open_image(upload)


@pytest.mark.parametrize("shape", [(3, 8, 9), (1, 3, 8, 9), (1, 8, 9), (8, 9, 3), (1, 8, 9, 3), (8, 9)])
def test_what_a_tensor_of_levels_is_told_works(shape):
    x = torch.zeros(shape, dtype=torch.uint8)
    for source in (x, [x]):
        with pytest.raises(TypeError, match="got Tensor") as caught:
            open_image(source)
        remedy = re.search(r"Pass its levels as an array: (x.*)\.$", str(caught.value))[1]
        assert open_image(eval(remedy, {"x": x})).size == (9, 8)


def test_a_tensor_of_floats_has_lost_its_scale():
    with pytest.raises(TypeError, match=r"got Tensor\. A tensor of floats has lost its colours' scale"):
        open_image(torch.zeros(3, 4, 4))


class Response:
    content = b"..."


class Foreign:
    def __array__(self):
        return noise()


@pytest.mark.parametrize(("source", "remedy"), [
    (Response(), r"Pass its \.content\."), (Foreign(), r"np\.asarray\(it\)"), (iter(["a.png"]), r"next\(it\)"),
])  # fmt: skip
def test_what_holds_a_picture_elsewhere_is_told_where(source, remedy):
    with pytest.raises(TypeError, match=f"got {type(source).__name__}.*{remedy}"):
        open_image(source)


@pytest.mark.parametrize(("array", "remedy"), [
    (np.zeros((4, 4, 3)), r"got float64\..*255"),
    (np.full((4, 4, 3), np.nan, np.float32), "got float32 with NaN in it"),
    *[(np.full((4, 4), 200, kind), r"levels 200 to 200\. Convert it to uint8 levels: array\.astype\('uint8'\)")
      for kind in (np.int64, np.int32, np.int16, np.uint32, np.uint64, ">i4")],
    (np.full((4, 4), 300), r"levels 300 to 300\. Convert it to uint16 levels"),
    (np.full((4, 4), -3), r"levels -3 to -3\. Rescale it to uint8 levels"),
    (np.full((4, 4), 70_000), r"levels 70000 to 70000\. Rescale it to uint8 levels"),
    (noise().astype(np.int8), r"got int8.*which wraps, pass array\.view\('uint8'\)"),
    (np.zeros((0, 4), int), r"got int64\. Convert it to uint8"),
    (np.zeros((4, 4), bool), r"got bool.*array\.astype\('uint8'\) \* 255"),
    (np.ma.masked_less(noise(), 9), r"masked pixels.*filled"),
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


@pytest.mark.parametrize("shape", [
    (3, 8, 9), (1, 8, 9), (4, 8, 9), (1, 8, 9, 3), (1, 3, 8, 9), (1, 1, 8, 9), (5, 8, 9, 3), (5, 3, 8, 9), (8, 9, 2),
])  # fmt: skip
def test_what_an_array_of_another_shape_is_told_works(shape):
    array = np.zeros(shape, np.uint8)
    for source in (array, [array]):
        with pytest.raises(ValueError, match=re.escape(f"got {shape}")) as caught:
            open_image(source)
        remedy = re.search(r"pass (one image of it, )?(array\S+( \S+)*)\.$", str(caught.value))[2]
        assert open_image(eval(remedy, {"array": array})).size == (9, 8)


def test_pillow_still_refuses_truncated_files_by_itself():
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # nothing in the package turns that protection off


@pytest.mark.parametrize("explorer", ["saliency", "localisation", "microscope", "scores", "sanity", "class_model"])
def test_a_photo_and_a_classifier_that_are_swapped_in_an_explorer_are_told(explorer, classifier):
    for first in (classifier, classifier.network):
        with pytest.raises(TypeError, match=r"The picture comes first, then the classifier\.$"):
            getattr(explore, explorer)(first, photo("panda"))
