"""Labels are read in the order that they say, and a class is found by any of its names, or candidates are listed."""

import csv
import io
import re
from collections import OrderedDict
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import deepinside_edu
from deepinside_edu.names import find, in_order, is_one, listed, whole_number
from deepinside_edu.weights import imagenet_labels, imagenet_wordnet_ids

DATA = Path(deepinside_edu.__file__).parent / "data"


class Series:
    """As pandas has them: values with an index, which iterating leaves out."""

    def __init__(self, values, index):
        self.values, self.index = values, index

    def __iter__(self):
        return iter(self.values)

    def keys(self):
        return self.index

    def items(self):
        return zip(self.index, self.values, strict=True)


# --- labels ----------------------------------------------------------------------------------------------------------

CAT_DOG_FOX = ("cat", "dog", "fox")


@pytest.mark.parametrize("names", [
    ["cat", "dog", "fox"], ("cat", "dog", "fox"), np.array(["cat", "dog", "fox"]),
    (name for name in ("cat", "dog", "fox")),
    {0: "cat", 1: "dog", 2: "fox"}, {"2": "fox", "0": "cat", "1": "dog"}, {2: "fox", 1: "dog", 0: "cat"},
    {"fox": 2, "cat": 0, "dog": 1}, OrderedDict(fox=2, dog=1, cat=0), {"fox": "2", "cat": "0", "dog": "1"},
    {np.int64(2): "fox", np.int64(1): "dog", np.uint8(0): "cat"},
    {torch.tensor(1): "dog", torch.tensor(0): "cat", torch.tensor(2): "fox"},
    {"fox": torch.tensor(2), "cat": np.int32(0), "dog": 1},
    {"fox": 2, "cat": 0, "dog": 1}.keys(), {2: "fox", 0: "cat", 1: "dog"}.values(),
    {"x": "cat", "y": "dog", "z": "fox"}.values(),
    Series(["fox", "cat", "dog"], [2, 0, 1]), Series([2, 0, 1], ["fox", "cat", "dog"]),
    {2.0: "fox", 0.0: "cat", 1.0: "dog"}, {"fox": np.float32(2), "cat": 0.0, "dog": 1},
    Enum("Animal", {"CAT": "cat", "DOG": "dog", "FOX": "fox"}, type=str),
    {2: Enum("Animal", {"FOX": "fox"}, type=str).FOX, 0: "cat", 1: "dog"},
    io.StringIO("cat\ndog\nfox\n"), ["cat\r\n", "dog\r\n", "fox"], {"0": "cat\n", "1": "dog\n", "2": "fox"},
])  # fmt: skip
def test_labels_in_the_order_that_they_say(names):
    read = in_order(names)
    assert read == CAT_DOG_FOX
    assert all(type(name) is str for name in read)


@given(st.permutations(range(12)))
def test_a_mapping_is_read_by_its_numbers_in_whatever_order_it_was_filled(order):
    """Twelve, so that "10" and "11" would come before "2" if they were sorted as text."""
    expected = tuple(f"class {c}" for c in range(12))
    assert in_order({str(c): f"class {c}" for c in order}) == expected
    assert in_order({f"class {c}": c for c in order}) == expected


def test_names_that_are_numbers_themselves():
    """Folders are named by digits, as MNIST's are: if an index is a number, the name stays as it is."""
    assert in_order({"7": 0, "3": 1}) == ("7", "3")
    assert in_order({"0": "7", "1": "3"}) == ("7", "3")


@pytest.mark.parametrize(("names", "got"), [
    ({0: "cat", 2: "fox"}, "0, 2"), ({1: "cat", 2: "fox"}, "1, 2"), ({"cat": 0, "kitty": 0, "dog": 1}, "0, 0, 1"),
    ({"cat": 0, "fox": 2}, "0, 2"), ({-1: "none", 0: "cat"}, "-1, 0"), ({"1": "a", "01": "b"}, "1, 1"),
    (Series(["fox", "cat"], [7, 3]), "3, 7"),
])  # fmt: skip
def test_numbers_with_gaps_or_twice_are_refused(names, got):
    with pytest.raises(
        ValueError, match=rf"class index from 0 to \d once, got the indices {re.escape(got)}\. Pass a list"
    ):
        in_order(names)


@pytest.mark.parametrize(("names", "said"), [
    ("owl", r"got one text: 'owl'\. Pass a list"), (b"owl", r"got one text.*Pass a list"),
    ({"cat", "dog"}, "a set has none. Pass a list"), (frozenset({"cat"}), "a set has none"),
    ({"n02": "cat", "n01": "dog"}, r"got the keys 'n02', 'n01'\. Pass a list"), ({0: 1, 1: 2}, "got the keys 0, 1"),
    ({True: "cat", False: "dog"}, "got the keys True, False"), ({0.5: "cat"}, "got the keys 0.5"),
    ({float("inf"): "cat"}, "got the keys inf"), ({float("nan"): "cat"}, "got the keys nan"),
    ({0: "cat", 1: None}, "got the keys 0, 1"), (["cat", None], "got None. One is missing"),
    ([None, "cat"], "got None. One is missing"), ({0: "cat", 1: None}.values(), "got None. One is missing"),
    (["cat", float("nan")], "got nan. One is missing"), ([None], "got None. One is missing"),
    (3, "got 3"), (None, "got None"),
    ([1, 2], r"text, got 1\. Turn each into text with str"), ([b"cat"], r"got b'cat'.*decode"),
    ([["cat"]], "text, got"),
    ({"a": 1, "b": 2}.items(), "indices 1, 2|text, got"),
])  # fmt: skip
def test_labels_without_an_order_or_without_text_are_refused(names, said):
    with pytest.raises((TypeError, ValueError), match=said):
        in_order(names)


def test_what_pairs_of_id_and_name_are_told_works():
    pairs = {"1": ["n01443537", "goldfish"], "0": ["n01440764", "tench"]}  # ImageNet's own file, in another order
    advice = r"\{index: name for index, \(_, name\) in names\.items\(\)\}"
    with pytest.raises(TypeError, match=f"got the keys '1', '0'.*{advice}"):
        in_order(pairs)
    assert in_order({index: name for index, (_, name) in pairs.items()}) == ("tench", "goldfish")
    numbered = list(enumerate(CAT_DOG_FOX))
    with pytest.raises(TypeError, match=r"got \(0, 'cat'\)\. .*\[name for _, name in pairs\]"):
        in_order(numbered)
    assert in_order([name for _, name in numbered]) == CAT_DOG_FOX


@pytest.mark.parametrize("ids", [["n01440764", None], [None, None], [None, "n01440764"]])
def test_a_missing_wordnet_id_is_told_and_not_read_as_a_text(ids):
    with pytest.raises(TypeError, match="expected WordNet ids that are text, got None"):
        in_order(ids, "WordNet ids")


def test_an_error_calls_wordnet_ids_by_their_name():
    with pytest.raises(TypeError, match=r"expected a WordNet id for each class.*'n01440764'"):
        in_order("n01440764", "WordNet ids")


# --- one class, and several ------------------------------------------------------------------------------------------

ONE = [3, np.int64(3), np.uint8(3), np.array(3), np.array([3]), np.array([[3]]), torch.tensor(3), torch.tensor([3]),
       torch.tensor([[3]], dtype=torch.int16), "3", " 3 ", np.array("3"), np.array(["3"])]  # fmt: skip
NONE = [True, np.bool_(True), torch.tensor(True), np.array([True]), 3.0, np.float64(3), torch.tensor(3.0),
        np.array([3.0]), None, b"3", 3 + 0j]  # fmt: skip


@pytest.mark.parametrize("wanted", ONE)
def test_one_class_in_any_form_is_that_class_alone_or_in_a_list(wanted):
    labels = tuple("abcdef")
    assert is_one(wanted)
    assert find(wanted, labels) == 3
    assert [find(each, labels) for each in listed(wanted)] == [3]
    assert [find(each, labels) for each in listed([wanted, wanted])] == [3, 3]


@pytest.mark.parametrize("wanted", NONE)
def test_what_is_no_class_is_refused_everywhere(wanted):
    labels = tuple("abcdef")
    for ask in (
        lambda: find(wanted, labels),
        lambda: [find(each, labels) for each in listed(wanted)],
        lambda: [find(each, labels) for each in listed([wanted])],
    ):
        with pytest.raises(
            TypeError, match=r"expected a (class index, a WordNet id or a name|list of classes), got .*\. Pass"
        ):
            ask()


@pytest.mark.parametrize("several", [
    [3, 1], (3, 1), np.array([3, 1]), torch.tensor([3, 1]), range(3, 0, -2), {3: 0, 1: 0}, {3: 0, 1: 0}.keys(),
    iter([3, 1]), ["d", "b"], ["3", 1],
    torch.tensor([[3, 1]]), np.array([[3], [1]]), [torch.tensor(3), np.array([1])],
])  # fmt: skip
def test_several_classes_in_any_order_of_any_library(several):
    assert not is_one(several)
    assert [find(each, tuple("abcdef")) for each in listed(several)] == [3, 1]


@pytest.mark.parametrize("several", [{3, 1}, frozenset({3, 1}), b"38", bytearray(b"38"), np.zeros((2, 2), int)])
def test_what_is_no_list_of_classes_is_refused(several):
    with pytest.raises(TypeError, match="expected a list of classes, got"):
        listed(several)


def test_several_where_one_is_expected_are_refused():
    for several in ([3], [3, 1], (3,), np.array([3, 1]), torch.tensor([3, 1]), np.zeros((5, 5))):
        with pytest.raises(TypeError, match=r"a WordNet id or a name, got .*Pass one class"):
            find(several, tuple("abcdef"))


def test_whole_numbers():
    assert [whole_number(each) for each in (7, np.array([7]), torch.tensor(-7))] == [7, 7, -7]
    assert [whole_number(each) for each in ("7", 7.0, True, None, [7], np.array([7, 7]), np.array([]))] == [None] * 7


# --- names -----------------------------------------------------------------------------------------------------------

LABELS = (
    "tench",
    "T-shirt",
    "jack-o'-lantern",
    "St. Bernard",
    "café",
    "Cardigan",
    "cardigan",
    "duck-billed platypus",
    "7",
)


@pytest.mark.parametrize(("text", "index"), [
    ("TENCH", 0), ("tenches", 0), ("  tench\n", 0), ("t shirt", 1), ("tshirt", 1), ("T_Shirts", 1), ("shirt", 1),
    ("jack o lantern", 2), ("Jack-O'-Lanterns", 2), ("jack-o’-lantern", 2), ("lantern", 2), ("st bernard", 3),
    ("st.  bernard", 3), ("cafe", 4), ("CAFÉ", 4), ("duck billed platypus", 7), ("platypus", 7), ("0", 0), ("8", 8),
])  # fmt: skip
def test_capitals_hyphens_apostrophes_accents_spaces_and_plurals_do_not_matter(text, index):
    assert find(text, LABELS) == index


@pytest.mark.parametrize("text", ["cardigan", "Cardigan", "CARDIGAN", " cardigan ", "cardigans"])
def test_no_capital_decides_between_two_classes(text):
    with pytest.raises(ValueError, match=r"fits 2 classes: 'Cardigan' \(5\), 'cardigan' \(6\)\. Name one"):
        find(text, LABELS)


def test_a_number_that_is_another_classs_label_is_told():
    with pytest.raises(ValueError, match=r"'7' fits 2 classes: 'duck-billed platypus' \(7\), '7' \(8\)"):
        find("7", LABELS)
    assert find("12", (*LABELS, "12")) == 9
    assert find(7, LABELS) == 7


@pytest.mark.parametrize("ids", [("n01440764", "n02510455"), ("N01440764", " N02510455 ")])
@pytest.mark.parametrize(
    "text", ["n02510455", "N02510455", " n02510455 ", "giant panda", "panda bear", "Ailuropoda melanoleuca"]
)
def test_wordnet_ids_and_names_in_any_capitals(ids, text):
    assert find(text, ("the fish", "the bear"), ids) == 1


def test_a_wordnet_id_that_two_classes_have_is_told():
    with pytest.raises(ValueError, match=r"fits 2 classes: 'a' \(0\), 'b' \(1\)"):
        find("n02510455", ("a", "b"), ("n02510455", "n02510455"))


def test_without_wordnet_ids_no_other_names_are_known():
    with pytest.raises(ValueError, match="no class is called 'panda bear'"):
        find("panda bear", ("the fish", "the bear"))


def imagenet(text):
    return find(text, imagenet_labels(), imagenet_wordnet_ids())


@pytest.mark.parametrize(("text", "wordnet_id"), [
    ("washing machine", "n04554684"), ("Washing Machines", "n04554684"), ("polar bear", "n02134084"),
    ("orca", "n02071294"), ("puma", "n02125311"), ("T-shirt", "n03595614"),
    ("Cardigan Welsh corgi", "n02113186"), ("goose", "n01855672"),
    ("missile", "n03773504"),  # a label, and another class's other name
])  # fmt: skip
def test_imagenets_classes_have_several_names(text, wordnet_id):
    assert imagenet_wordnet_ids()[imagenet(text)] == wordnet_id


def test_every_name_of_every_class_is_found_or_told():
    """Brute force over the file: the name of one class finds it; the name of several lists all or is a label."""
    owners: dict[str, set[int]] = {}
    with (DATA / "imagenet_synonyms.tsv").open(encoding="utf-8") as lines:
        for c, (wordnet_id, names) in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)):
            assert wordnet_id == imagenet_wordnet_ids()[c]
            for name in names.split(", "):
                owners.setdefault(name.lower(), set()).add(c)
    assert len(owners) > 1700
    labels = [label.lower() for label in imagenet_labels()]
    for name, classes in list(owners.items())[::7] + [
        (name, classes) for name, classes in owners.items() if len(classes) > 1
    ]:
        if labels.count(name) == 1:
            assert imagenet(name) == labels.index(name)
        elif len(classes) == 1:
            assert imagenet(name) in classes, name
        else:
            with pytest.raises(ValueError, match=f"fits {len(classes)} classes") as caught:
                imagenet(name)
            assert all(f"({c}" in str(caught.value) for c in classes)


def test_candidates_that_are_called_alike_are_told_apart():
    with pytest.raises(ValueError, match=r"'Cardigan' \(264, Cardigan Welsh corgi\), 'cardigan' \(474\)"):
        imagenet("cardigan")


def test_a_part_of_a_word_of_another_name_is_a_hint_and_no_find():
    """A duck is not a duckbill."""
    with pytest.raises(ValueError, match=r"no class is called 'duck'\. Near: .*'platypus' \(103\)"):
        imagenet("duck")


@pytest.mark.parametrize("text", ["", "  ", "-", "--3", "'", "xqzw"])
def test_what_says_nothing_finds_nothing(text):
    with pytest.raises(ValueError, match="no class is called"):
        imagenet(text)
