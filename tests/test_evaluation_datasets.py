"""Each layout gives every image its boxes, pixel for pixel; every fault is named, and nothing is dropped."""

import csv
import errno
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_evaluation import annotation

from deepinside_edu import open_image, photos
from deepinside_edu.evaluation import Dataset, read_csv, read_ilsvrc, read_translation, read_voc, shipped_photos
from deepinside_edu.evaluation.datasets import class_indices, open_example, read_names
from deepinside_edu.images import Annotation, read_annotation, read_boxes
from deepinside_edu.weights import imagenet_labels, imagenet_wordnet_ids


def image(path: Path, size: tuple[int, int] = (30, 20)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (90, 120, 60)).save(path)


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def corners(*numbers: object) -> str:
    names = ("xmin", "ymin", "xmax", "ymax")
    return "<bndbox>" + "".join(f"<{n}>{v}</{n}>" for n, v in zip(names, numbers, strict=True)) + "</bndbox>"


# Annotations


@given(st.integers(0, 1), st.tuples(*[st.integers(0, 11)] * 4).filter(lambda b: b[0] <= b[2] and b[1] <= b[3]))
def test_both_corners_are_pixels_of_the_box(
    tmp_path_factory: pytest.TempPathFactory, first: int, inclusive: tuple
) -> None:
    """ILSVRC counts from 0, VOC from 1; the pixels are the same."""
    path = tmp_path_factory.mktemp("xml") / "one.xml"
    numbers = [edge + first for edge in inclusive]
    text(path, f"<annotation><object><name>n1</name>{corners(*numbers)}</object></annotation>")
    ((name, (left, top, right, bottom)),) = read_annotation(path, first).objects
    painted, expected = np.zeros((2, 12, 12), bool)
    painted[top:bottom, left:right] = True
    for x in range(inclusive[0], inclusive[2] + 1):
        for y in range(inclusive[1], inclusive[3] + 1):
            expected[y, x] = True
    assert name == "n1"
    assert np.array_equal(painted, expected)
    if first == 0:
        assert read_boxes(path) == ("n1", ((left, top, right, bottom),))


def test_an_annotation_worked_out_on_paper(tmp_path: Path) -> None:
    path = text(tmp_path / "a.xml", f"""<annotation><size><width>500</width><height>375</height></size>
        <object><name> dog </name>{corners(8.4, "45.7000122", 30, 60)}
          <part><name>head</name>{corners(1, 1, 2, 2)}</part></object>
        <object><name>cat</name><difficult>1</difficult>{corners(1, 1, 1, 1)}</object>
        <object><name>dog</name>{corners(2, 1, 500, 375)}</object></annotation>""")  # fmt: skip
    boxes = (("dog", (7, 45, 30, 60)), ("cat", (0, 0, 1, 1)), ("dog", (1, 0, 500, 375)))
    assert read_annotation(path, 1) == Annotation((500, 375), boxes)
    with pytest.raises(ValueError, match=r"a.xml has objects of 2 classes \(cat, dog\); expected one class"):
        read_boxes(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not XML that can be read"),
        ("<annotation><object>", "is not XML that can be read"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "is not XML that can be read"),
        ("<annotation><object><name>dog</name></object></annotation>", "corners of 'dog'; expected four numbers"),
        (f"<annotation><object><name>dog</name>{corners(1, 2, 'x', 4)}</object></annotation>", "four numbers"),
        (f"<annotation><object><name>dog</name>{corners(1, 2, 'nan', 4)}</object></annotation>", "four numbers"),
        (f"<annotation><object><name>dog</name>{corners(1, 2, 'inf', 4)}</object></annotation>", "four numbers"),
        (f"<annotation><object>{corners(1, 2, 3, 4)}</object></annotation>", "without a name"),
        (f"<annotation><object><name>dog</name>{corners(5, 2, 4, 4)}</object></annotation>", "inside out: 5, 2, 4, 4"),
        (f"<annotation><object><name>dog</name>{corners(1, 5, 4, 4)}</object></annotation>", "inside out"),
    ],
)
def test_a_malformed_annotation_is_named_and_the_others_stay(tmp_path: Path, content: str, said: str) -> None:
    path = text(tmp_path / "xml" / "b.xml", content)
    for read in (read_annotation, read_boxes):
        with pytest.raises(ValueError, match=r"b\.xml") as caught:
            read(path)
        assert said in str(caught.value)
    for name in "abc":
        image(tmp_path / "images" / f"{name}.png")
        if name != "b":
            text(tmp_path / "xml" / f"{name}.xml", annotation([("n1", (0, 0, 5, 5))]))
    data = read_ilsvrc(tmp_path / "images", tmp_path / "xml")
    assert [(each.name, bool(each.problem)) for each in data.examples] == [("a", False), ("b", True), ("c", False)]
    assert said in data.examples[1].problem


def test_a_folder_is_no_annotation(tmp_path: Path) -> None:
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ValueError, match=r"is a folder; expected the XML file"):
            read_annotation(folder)


@pytest.mark.parametrize("wrong", [3, None, ["a.csv"], b"a.csv"])
def test_what_is_no_path_is_told(wrong: Any) -> None:
    for read in (read_csv, read_voc, read_names, read_translation):
        with pytest.raises(TypeError, match=r"expected a path, got (int|NoneType|list|bytes)\. Pass it as a text"):
            read(wrong)


def test_an_annotation_without_objects(tmp_path: Path) -> None:
    path = text(tmp_path / "a.xml", "<annotation><size><width>0</width></size></annotation>")
    assert read_annotation(path) == Annotation(None, ())
    with pytest.raises(ValueError, match=r"a.xml has no object; expected one class"):
        read_boxes(path)


# ILSVRC


def ilsvrc(tmp_path: Path) -> tuple[Path, Path]:
    images, boxes = tmp_path / "val", tmp_path / "bbox"
    for name in ("n01/val_2.JPEG", "val_1.JPEG", "val_4.jpg", "val_5.JPEG"):
        image(images / name)
    text(images / "readme.txt", "no image")
    text(boxes / "val_1.xml", annotation([("n02", (0, 0, 30, 20)), ("n01", (5, 5, 6, 6)), ("n02", (1, 2, 3, 4))]))
    text(boxes / "val" / "val_2.xml", annotation([("n01", (1, 2, 30, 20))], (30, 20)))
    text(boxes / "val_3.xml", annotation([("n01", (1, 2, 30, 20))]))
    text(boxes / "val_5.xml", annotation([]))
    return images, boxes


def test_ilsvrcs_folders_pair_by_name_and_nothing_is_dropped(tmp_path: Path) -> None:
    images, boxes = ilsvrc(tmp_path)
    data = read_ilsvrc(images, boxes)
    assert (data.name, repr(data)) == ("val", "Dataset('val', 5 images)")
    assert [each.name for each in data.examples] == [f"val_{n}" for n in range(1, 6)]
    one, two, three, four, five = data.examples
    assert (one.path, one.problem, one.size) == (images / "val_1.JPEG", "", None)
    assert dict(zip(one.classes, one.boxes, strict=True)) == {
        "n02": ((0, 0, 30, 20), (1, 2, 3, 4)), "n01": ((5, 5, 6, 6),)
    }  # fmt: skip
    assert (two.path, two.classes, two.boxes) == (images / "n01" / "val_2.JPEG", ("n01",), (((1, 2, 30, 20),),))
    assert two.size == (30, 20)
    assert (three.problem, three.path) == ("annotation without image", None)
    assert (four.problem, four.path) == ("image without annotation", images / "val_4.jpg")
    assert five.problem == "annotation without a box"


def test_images_are_left_out_by_name_or_number_and_counted(tmp_path: Path) -> None:
    data = read_ilsvrc(*ilsvrc(tmp_path), leave_out=["5", "val_3", "3"])
    assert [each.name for each in data.examples] == ["val_1", "val_2", "val_4"]
    assert data.left_out == ("val_3", "val_5")
    for wrong in ("6", "0", "val_9", "-1", "²"):
        with pytest.raises(ValueError, match=rf"1 of 2 images to leave out .*\('val', 5 images\): {wrong} is neither"):
            read_ilsvrc(*ilsvrc_folders(tmp_path), leave_out=["1", wrong])


def test_a_number_is_that_of_the_name_whatever_else_is_there(tmp_path: Path) -> None:
    """The devkit's list has numbers. If they were places, one lost file would leave out its neighbours."""
    images, boxes = ilsvrc(tmp_path)
    (boxes / "val_3.xml").unlink()  # the image is not there either
    image(images / "a_thumbnail.png")
    image(images / "val_0000000012.png")
    for _ in range(2):
        assert read_ilsvrc(images, boxes, leave_out=["4", "12"]).left_out == ("val_0000000012", "val_4")
        image(images / "more" / "9.png")
    with pytest.raises(ValueError, match=r"1 of 1 .*: 3 is neither an image's name nor the number at its end"):
        read_ilsvrc(images, boxes, leave_out=["3"])
    assert read_ilsvrc(images, boxes, leave_out=["9"]).left_out == ("9",)
    image(images / "test_4.png")
    with pytest.raises(ValueError, match=r"4 is the number of test_4, val_4. Name each by its whole name"):
        read_ilsvrc(images, boxes, leave_out=["4"])


def test_a_list_of_names_is_read_line_by_line(tmp_path: Path) -> None:
    path = text(tmp_path / "list.txt", "\ufeff# doubtful\n17\r\n\na name with spaces \n#1\n#\n")
    assert read_names(path) == ("17", "a name with spaces", "#1")


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    images, boxes = tmp_path / "val", tmp_path / "bbox"
    for name in ("1", "2"):
        image(tmp_path / "disk" / "pictures" / f"{name}.png")
        text(boxes / f"{name}.xml", annotation([("n01", (0, 0, 5, 5))]))
    images.mkdir()
    (images / "elsewhere").symlink_to(tmp_path / "disk" / "pictures")
    (tmp_path / "disk" / "pictures" / "back").symlink_to(images)
    (tmp_path / "disk" / "pictures" / "itself").symlink_to(tmp_path / "disk" / "pictures")
    data = read_ilsvrc(images, boxes)
    assert [(each.name, each.problem) for each in data.examples] == [("1", ""), ("2", "")]


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, boxes = ilsvrc(tmp_path)
    scan = os.scandir

    def locked(path: str) -> object:
        if Path(path).name == "n01":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError):
        read_ilsvrc(images, boxes)


def test_a_folder_has_a_name_however_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, boxes = ilsvrc(tmp_path)
    for here, called in ((images, "."), (images / "n01", ".."), (tmp_path, "val/")):
        monkeypatch.chdir(here)
        assert read_ilsvrc(Path(called), boxes).name == "val"


def test_names_are_told_apart(tmp_path: Path) -> None:
    one = read_ilsvrc(*ilsvrc(tmp_path)).examples[0]
    with pytest.raises(ValueError, match="two images are called 'val_1'; expected each name once"):
        Dataset("twice", (one, one))


# Photos that a camera has turned


def turned(path: Path, orientation: int) -> None:
    """30×20 pixels as they are stored, white at the left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.zeros((20, 30, 3), np.uint8)
    levels[:, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(levels).save(path, exif=exif)


def white(picture: Image.Image) -> tuple[int, int, int, int] | None:
    return picture.convert("L").point(lambda level: 255 * (level > 128)).getbbox()


@pytest.mark.parametrize(("orientation", "upright"), [(3, (20, 0, 30, 20)), (6, (0, 0, 20, 10))])
def test_boxes_of_xml_files_are_in_the_pixels_as_stored(tmp_path: Path, orientation: int, upright: tuple) -> None:
    images, boxes = tmp_path / "val", tmp_path / "bbox"
    for name, size in (("a", None), ("b", (30, 20)), ("c", (20, 30))):
        turned(images / f"{name}.png", orientation)
        text(boxes / f"{name}.xml", annotation([("n01", (0, 0, 10, 20))], size))
    a, b, c = read_ilsvrc(images, boxes).examples
    for example in (a, b):
        assert white(open_example(example)) == (0, 0, 10, 20)
        assert white(open_image(open_example(example))) == (0, 0, 10, 20), "nobody turns it later"
    content = b.path.read_bytes()
    b.path.write_bytes(b"another file by now")
    assert white(open_example(b, {"name": "b", "content": content})) == (0, 0, 10, 20)
    # An annotation of the turned photo's size was drawn on the turned photo, if there is such a one.
    assert white(open_example(c)) == (upright if orientation == 6 else (0, 0, 10, 20))
    table = text(tmp_path / "boxes.csv", "image,class,left,top,right,bottom\na.png,n01,0,0,5,5\n")
    assert white(open_example(read_csv(table, images).examples[0])) == upright


def ilsvrc_folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "val", tmp_path / "bbox"


def test_folders_that_are_not_what_they_should_be_stop_at_once(tmp_path: Path) -> None:
    images, boxes = ilsvrc(tmp_path)
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere"):
        read_ilsvrc(tmp_path / "nowhere", boxes)
    with pytest.raises(ValueError, match=r"bbox has no .*\.jpeg.* file in it"):
        read_ilsvrc(boxes, images)
    image(images / "copy" / "val_1.png")
    with pytest.raises(ValueError, match="have one name"):
        read_ilsvrc(images, boxes)


# VOC


def test_vocs_folders_with_several_classes_and_a_split(tmp_path: Path) -> None:
    voc = tmp_path / "VOC2012"
    for name in ("2008_1", "2008_2", "2008_3"):
        image(voc / "JPEGImages" / f"{name}.jpg")
        objects = [f"<object><name>{c}</name>{corners(1, 2, 30, 20)}</object>" for c in ("dog", "person", "dog")]
        text(voc / "Annotations" / f"{name}.xml", f"<annotation>{''.join(objects)}</annotation>")
    text(voc / "ImageSets" / "Main" / "val.txt", "2008_3  1\n2008_9 -1\n2008_1 0\n\n")
    everything = read_voc(voc)
    assert [each.name for each in everything.examples] == ["2008_1", "2008_2", "2008_3"]
    assert everything.examples[0].classes == ("dog", "person")
    assert everything.examples[0].boxes == (((0, 1, 30, 20), (0, 1, 30, 20)), ((0, 1, 30, 20),))
    data = read_voc(voc, "val")
    assert [(each.name, each.problem) for each in data.examples] == [
        ("2008_1", ""), ("2008_3", ""), ("2008_9", "neither image nor annotation"),
    ]  # fmt: skip
    assert read_voc(voc, leave_out=["2008_2"]).left_out == ("2008_2",)
    with pytest.raises(ValueError, match=r"no split .*test.txt; .*: val"):
        read_voc(voc, "test")


# CSV


def test_a_csv_has_exclusive_edges_and_several_lines_an_image(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "in" / "b.png")
    lines = ("\ufeff# by hand", "image, class,left,top,right,bottom,by", '"a.png",dog,0,1,30,20,me', "", "# more")
    more = ("in/b.png,cat,5,5,6,6,", "a.png,dog,2,2,9,9,", "a.png,cat, 3,3,4,4,you", "")
    path = text(tmp_path / "boxes.csv", "\n".join([*lines, *more]))
    data = read_csv(path)
    assert [(each.name, each.problem) for each in data.examples] == [("a.png", ""), ("in/b.png", "")]
    assert data.examples[0].classes == ("dog", "cat")
    assert data.examples[0].boxes == (((0, 1, 30, 20), (2, 2, 9, 9)), ((3, 3, 4, 4),))
    assert data.examples[1].boxes == (((5, 5, 6, 6),),)
    elsewhere = text(tmp_path / "lists" / "b.csv", "wordnet_id,image,left,top,right,bottom\nn1,b.png,5,5,6,6\n")
    (one,) = read_csv(elsewhere, tmp_path / "in").examples
    assert (one.classes, one.problem) == (("n1",), "")
    missing = read_csv(elsewhere).examples[0]
    assert missing.problem == f"annotation without image: there is no file {tmp_path / 'lists' / 'b.png'}"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png,dog,0,0,5", "line 3 of boxes.csv: box 0, 0, 5, ; expected four whole numbers"),
        ("./a.png,dog,0,0,5,5,6,7", "line 3 of boxes.csv: 8 fields, and the first line has 6"),
        ("a.png,dog,0,0,5.5,5", "expected four whole numbers"),
        ("a.png,dog,5,0,5,5", "box 5, 0, 5, 5 is inside out or empty"),
        ("a.png,dog,0,6,5,5", "inside out or empty"),
        ("a.png,,0,0,5,5", "no class"),
    ],
)
def test_a_wrong_line_is_the_images_problem_whatever_its_other_lines_say(tmp_path: Path, line: str, said: str) -> None:
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    head, good = "image,class,left,top,right,bottom", "a.png,dog,1,1,5,5"
    for lines in ((good, line, "b.png,dog,1,1,5,5"), ("b.png,dog,1,1,5,5", line, good)):
        data = read_csv(text(tmp_path / "boxes.csv", "\n".join([head, *lines])))
        assert {each.name: bool(each.problem) for each in data.examples} == {"a.png": True, "b.png": False}
        assert said in next(each.problem for each in data.examples if each.problem)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"no column image, class \(or wordnet_id\), left, top, right, bottom; its first line is empty"),
        ("image,left,top,right,bottom\na,1,1,2,2\n", r"no column class \(or wordnet_id\)"),
        ("image;class;left;top;right;bottom\na;b;1;1;2;2\n", "The fields are separated by commas."),
        ("image,class,left,top,right,bottom\n", "no line but its header"),
        ("image,class,left,top,right,bottom\n,dog,1,1,2,2\n", "line 2 of .* names no image"),
        ('image,class,left,top,right,bottom\n"a,dog,1,1,2,2\nb,dog,1,1,2,2\n', r"not a CSV \(.* in line 3 or before\)"),
        (f'image,class,left,top,right,bottom\n"{"a" * 140_000}",dog,1,1,2,2\n', r"a CSV \(.* in line 2 or before\)"),
    ],
)
def test_a_csv_that_is_none_stops_at_once(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_csv(text(tmp_path / "boxes.csv", content))
    assert "boxes.csv" in str(caught.value)
    with pytest.raises(ValueError, match="there is no file"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(ValueError, match=r"there is no folder .*nowhere; expected the one that the CSV's"):
        read_csv(tmp_path / "boxes.csv", tmp_path / "nowhere")


def test_of_several_wrong_lines_the_first_is_told(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    lines = "image,class,left,top,right,bottom\na.png,dog,1,1,5,5\na.png,dog,5,0,5,5\na.png,,0,0,5,5\n"
    (one,) = read_csv(text(tmp_path / "boxes.csv", lines)).examples
    assert one.problem.startswith("line 3 of boxes.csv: box 5, 0, 5, 5 is inside out")


def test_a_name_may_begin_with_a_hash_or_have_a_comma_or_a_line_break_in_it(tmp_path: Path) -> None:
    names = ["#1.png", "a, b.png", "c\nd.png", "e.png"]
    for name in names:
        image(tmp_path / name)
    with (tmp_path / "boxes.csv").open("w", newline="") as file:
        file.write("# by hand\n#\n")
        csv.writer(file).writerows([["image", "class", "left", "top", "right", "bottom"],
                                    *([name, "dog", 0, 0, 5, 5] for name in [*names, "./e.png"]),
                                    ["e.png", "dog", 5, 5, 5, 5]])  # fmt: skip
    data = read_csv(tmp_path / "boxes.csv")
    assert [each.name for each in data.examples] == names
    assert data.examples[3].boxes == (((0, 0, 5, 5), (0, 0, 5, 5)),)
    assert [each.problem for each in data.examples[:3]] == ["", "", ""]
    assert data.examples[3].problem.startswith("line 10 of boxes.csv: box"), "lines are counted as an editor does"


@pytest.mark.parametrize("read", [read_csv, read_names, read_translation])
def test_another_encoding_is_said_with_file_and_line(tmp_path: Path, read: Callable[[Path], object]) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes("image,class\nkäfer.jpg,n1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 2 of .*list.csv is not UTF-8"):
        read(path)


def test_the_shipped_photos_are_a_data_set() -> None:
    data = shipped_photos()
    assert [(each.name, each.path, each.classes, each.boxes) for each in data.examples] == [
        (each.name, each.path, (each.wordnet_id,), (each.boxes,)) for each in photos()
    ]


# Classes


def test_a_class_is_a_wordnet_id_or_a_whole_label() -> None:
    labels, ids = imagenet_labels(), imagenet_wordnet_ids()
    assert class_indices(labels, ids, {}, "n02510455") == (388,)
    assert class_indices(labels, ids, {}, "Giant Panda") == (labels.index("giant panda"),)
    for wrong in ("panda", "n99999999", "388", ""):
        with pytest.raises(ValueError, match=f"class '{wrong}' is neither a WordNet id nor a label"):
            class_indices(labels, ids, {}, wrong)
    with pytest.raises(ValueError, match=r"class 'Crane' fits the network's classes \[0, 2\]"):
        class_indices(("crane", "ape", "crane"), (), {}, "Crane")


def test_a_translation_gives_several_classes_or_none(tmp_path: Path) -> None:
    path = text(
        tmp_path / "classes.csv", "# VOC to ImageNet\nbird,n01530575\nperson,\n\nbird, n01514668\nBus,n01514668\n"
    )
    translation = read_translation(path)
    assert translation == {"bird": ("n01530575", "n01514668"), "person": (), "Bus": ("n01514668",)}
    labels, ids = imagenet_labels(), imagenet_wordnet_ids()
    assert class_indices(labels, ids, translation, "bird") == (7, 10)
    assert class_indices(labels, ids, translation, "person") == ()
    assert class_indices(labels, ids, translation, "n02510455") == (388,)
    for wrong in ("bird", "a,b,c", ",n01530575"):
        with pytest.raises(ValueError, match=r"line 1 of .* expected two columns"):
            read_translation(text(path, wrong))
    with pytest.raises(ValueError, match="there is no file"):
        read_translation(tmp_path / "nothing.csv")


# Names that the file system cannot take, folders that it does not show


CSV = "image,class,left,top,right,bottom\n"


def names_that_are_no_file(folder: Path) -> dict[str, str]:
    """Prepare the folder, and map each name to what is said about it."""
    (folder / "a_folder.jpg").mkdir()
    (folder / "loop.jpg").symlink_to("loop.jpg")
    (folder / "broken.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "pipe.jpg")
    image(folder / "good.jpg")
    return {
        "x" * 300 + ".jpg": r"\(File name too long\)", "y/" * 3000 + "z.jpg": r"\(File name too long\)",
        "a\0b.jpg": "there cannot be one", "loop.jpg": r"\(Too many levels",
        "broken.jpg": "there is no file", "a_folder.jpg": "is a folder", "pipe.jpg": "is no ordinary file",
        "good.jpg/b.jpg": r"\(Not a directory\)", "gone.jpg": "there is no file",
    }  # fmt: skip


def test_a_name_that_is_no_file_is_that_images_problem_and_the_others_stay(tmp_path: Path) -> None:
    said = names_that_are_no_file(tmp_path)
    if sys.version_info < (3, 11):  # its reader of CSVs does not accept NUL
        said = {name: why for name, why in said.items() if "\0" not in name}
    path = text(tmp_path / "list.csv", CSV + "".join(f"{name},n1,0,0,5,5\n" for name in [*said, "good.jpg"]))
    dataset = read_csv(path)
    problems = {each.name: each.problem for each in dataset.examples}
    assert len(problems) == len(said) + 1
    for name, why in said.items():
        assert re.search(rf"annotation without image: .*{why}", problems[str(PurePosixPath(name))]), name
        assert len(problems[str(PurePosixPath(name))]) < 500
    assert problems["good.jpg"] == ""


def test_a_closed_folder_is_its_images_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is how it is for a user who is not root; root may look into everything."""
    image(tmp_path / "good.jpg")
    image(tmp_path / "closed" / "a.jpg")
    usual = Path.stat

    def stat(self: Path, **options: Any) -> os.stat_result:
        if "closed" in self.parts and self.name != "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return usual(self, **options)

    monkeypatch.setattr(Path, "stat", stat)
    path = text(tmp_path / "list.csv", CSV + "closed/a.jpg,n1,0,0,5,5\ngood.jpg,n1,0,0,5,5\n")
    closed, good = read_csv(path).examples
    assert "Permission denied" in closed.problem
    assert good.problem == ""
    text(tmp_path / "xml" / "a.xml", annotation([("n1", (0, 0, 4, 4))]))
    (example,) = read_ilsvrc(tmp_path / "closed", tmp_path / "xml").examples
    assert "Permission denied" in example.problem


def test_of_folders_too_nothing_is_dropped_or_waited_for(tmp_path: Path) -> None:
    names_that_are_no_file(tmp_path / "images" if (tmp_path / "images").mkdir() is None else tmp_path)
    for name in ("loop", "broken", "pipe", "good", "a_folder"):
        text(tmp_path / "xml" / f"{name}.xml", annotation([("n1", (0, 0, 4, 4))]))
    os.mkfifo(tmp_path / "xml" / "waiting.xml")
    image(tmp_path / "images" / "waiting.jpg")
    problems = {each.name: each.problem for each in read_ilsvrc(tmp_path / "images", tmp_path / "xml").examples}
    assert problems.pop("good") == ""
    assert sorted(problems) == ["a_folder", "broken", "loop", "pipe", "waiting"]
    assert all(problems.values())
    assert "no ordinary file" in problems["waiting"]


@pytest.mark.parametrize("read", [read_csv, read_translation])
def test_a_list_that_is_no_file_is_told(tmp_path: Path, read: Callable[[Path], object]) -> None:
    for name, why in names_that_are_no_file(tmp_path).items():
        with pytest.raises(ValueError, match=rf"{why}.*; expected"):
            read(tmp_path / name)


def test_a_path_may_be_a_text_and_begin_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    image(tmp_path / "a.jpg")
    text(tmp_path / "a.xml", annotation([("n1", (0, 0, 4, 4))]))
    text(tmp_path / "list.csv", CSV + "a.jpg,n1,0,0,5,5\n")
    text(tmp_path / "classes.csv", "bird,n1\n")
    assert read_csv("~/list.csv").examples == read_csv(tmp_path / "list.csv").examples
    assert read_csv(str(tmp_path / "list.csv"), "~").examples == read_csv(tmp_path / "list.csv").examples
    assert read_ilsvrc("~", str(tmp_path)) == read_ilsvrc(tmp_path, tmp_path)
    assert read_translation("~/classes.csv") == {"bird": ("n1",)}
    assert read_names("~/classes.csv") == ("bird,n1",)


# Texts that are not numbers


@pytest.mark.parametrize("edge", ["1_0", "²", "١٠", "1.5", "0x5", "", " ", "1e1", "9" * 5000, "nan", "--1"])
def test_an_edge_in_a_csv_that_is_no_number_of_pixels(tmp_path: Path, edge: str) -> None:
    image(tmp_path / "a.jpg")
    path = text(tmp_path / "list.csv", CSV + f"a.jpg,n1,0,0,{edge},5\n")
    (example,) = read_csv(path).examples
    assert "expected four whole numbers of pixels" in example.problem
    assert len(example.problem) < 200
    path = text(tmp_path / "list.csv", CSV + "a.jpg,n1,-1, +0 ,010,5\n")
    assert read_csv(path).examples[0].boxes == (((-1, 0, 10, 5),),)


@pytest.mark.parametrize("column", ["image", "class", *("left", "top", "right", "bottom")])
def test_a_column_that_is_there_twice(tmp_path: Path, column: str) -> None:
    path = text(tmp_path / "list.csv", CSV.replace("\n", f",{column}\n") + "a.jpg,n1,0,0,5,5,3\n")
    with pytest.raises(ValueError, match=f"the column {column} more than once"):
        read_csv(path)


def test_a_column_of_ones_own_may_be_there_twice(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    path = text(tmp_path / "list.csv", CSV.replace("\n", ",note,note\n") + "a.jpg,n1,0,0,5,5,x,y\n")
    assert read_csv(path).examples[0].problem == ""


@pytest.mark.parametrize(
    ("width", "size"),
    [("30", (30, 20)), ("30.0", (30, 20)), ("30.", (30, 20)), (" 30 ", (30, 20)), ("0", None), ("", None)],
)
def test_the_size_of_an_annotation(tmp_path: Path, width: str, size: tuple[int, int] | None) -> None:
    path = text(tmp_path / "a.xml", f"<annotation><size><width>{width}</width><height>20</height></size></annotation>")
    assert read_annotation(path).size == size


@pytest.mark.parametrize("width", ["9" * 5000, "²", "1_0", "30.5", "-30", "wide", "١٠", "1e2", "nan"])
def test_a_size_that_is_none_is_told_with_the_files_name(tmp_path: Path, width: str) -> None:
    path = text(tmp_path / "a.xml", f"<annotation><size><width>{width}</width><height>20</height></size></annotation>")
    with pytest.raises(ValueError, match=r"^a\.xml has .* and 20 for width and height; expected whole numbers") as told:
        read_annotation(path)
    assert len(str(told.value)) < 150


@pytest.mark.parametrize("edge", ["1_0", "²", "١٠", "nan", "inf", "9" * 5000, "0x5", "", "1e999"])
def test_a_corner_that_is_no_number(tmp_path: Path, edge: str) -> None:
    entry = f"<object><name>n1</name>{corners(0, 0, edge, 5)}</object>"
    path = text(tmp_path / "a.xml", f"<annotation>{entry}</annotation>")
    with pytest.raises(ValueError, match=r"a\.xml has .*expected four numbers") as told:
        read_annotation(path)
    assert len(str(told.value)) < 200


@pytest.mark.parametrize(("edge", "right"), [("7.4", 8), ("+7", 8), ("7e0", 8), (".7e1", 8), (" 7 ", 8)])
def test_a_corner_may_be_written_in_other_ways(tmp_path: Path, edge: str, right: int) -> None:
    entry = f"<object><name>n1</name>{corners(0, 0, edge, 5)}</object>"
    path = text(tmp_path / "a.xml", f"<annotation>{entry}</annotation>")
    assert read_annotation(path).objects == (("n1", (0, 0, right, 6)),)


@pytest.mark.parametrize("twice", ["<name>n2</name>", "<bndbox><xmin>1</xmin></bndbox>"])
def test_what_should_be_there_once_is_not_there_twice(tmp_path: Path, twice: str) -> None:
    entry = f"<object><name>n1</name>{corners(0, 0, 5, 5)}{twice}</object>"
    path = text(tmp_path / "a.xml", f"<annotation>{entry}</annotation>")
    with pytest.raises(ValueError, match=r"a\.xml has .* 2 times in one object; expected it once"):
        read_annotation(path)


# WordNet ids


def test_that_there_are_no_wordnet_ids_is_said_with_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"given none. Pass one per label: Classifier\(network, labels, wordnet_ids\)"):
        class_indices(imagenet_labels(), (), {}, "n02410509")
    with pytest.raises(ValueError, match=r"not one of this classifier's, which look like 'n01440764'"):
        class_indices(imagenet_labels(), imagenet_wordnet_ids(), {}, "n99999999")
    for wrong in ("n2410509", "02410509"):
        with pytest.raises(ValueError, match="n and eight digits"):
            class_indices(imagenet_labels(), imagenet_wordnet_ids(), {}, wrong)
    with pytest.raises(ValueError, match=r"fits the network's classes \[0, 1\]"):
        class_indices(["a", "b"], ["n02410509"] * 2, {}, "n02410509")
    with pytest.raises(ValueError, match=r"can say which is meant$"):
        class_indices(["a", "b"], (), {}, "c")
