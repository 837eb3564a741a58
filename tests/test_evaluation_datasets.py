"""Each layout gives every image its boxes, pixel for pixel; whatever is wrong is named, and nothing is dropped."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny_evaluation import annotation

from deepinside_edu import photos
from deepinside_edu.classifier import imagenet_labels, imagenet_wordnet_ids
from deepinside_edu.evaluation import read_csv, read_ilsvrc, read_translation, read_voc, shipped_photos
from deepinside_edu.evaluation.datasets import class_indices
from deepinside_edu.images import Annotation, read_annotation, read_boxes


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
        ("", "no XML that can be read"),
        ("<annotation><object>", "no XML that can be read"),
        ("<?xml version='1.0' encoding='klingon'?><annotation/>", "no XML that can be read"),
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


def test_images_are_left_out_by_name_or_place_and_counted(tmp_path: Path) -> None:
    data = read_ilsvrc(*ilsvrc(tmp_path), leave_out=["5", "val_3", "3"])
    assert [each.name for each in data.examples] == ["val_1", "val_2", "val_4"]
    assert data.left_out == ("val_3", "val_5")
    for wrong in ("6", "0", "val_9"):
        with pytest.raises(ValueError, match=f"{wrong}: no such image to leave out; .* from 1 to 5"):
            read_ilsvrc(*ilsvrc_folders(tmp_path), leave_out=["1", wrong])


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
    assert read_csv(elsewhere).examples[0].problem == "annotation without image"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.png,dog,0,0,5", "line 3 of boxes.csv: box 0, 0, 5, ; expected four whole numbers"),
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
        ("", "no column image, class, left, top, right, bottom; its first line is empty"),
        ("image,left,top,right,bottom\na,1,1,2,2\n", "no column class"),
        ("image,class,left,top,right,bottom\n", "no line but its header"),
        ("image,class,left,top,right,bottom\n,dog,1,1,2,2\n", "line 2 of .* names no image"),
    ],
)
def test_a_csv_that_is_none_stops_at_once(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_csv(text(tmp_path / "boxes.csv", content))
    with pytest.raises(ValueError, match="there is no file"):
        read_csv(tmp_path / "nothing.csv")


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
        with pytest.raises(ValueError, match=f"class '{wrong}' is no WordNet id and no label"):
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
