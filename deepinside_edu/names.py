"""The names of a network's classes: how they are given, and how a class is found by any of them."""

from __future__ import annotations

import difflib
import math
import operator
import re
import unicodedata
from collections.abc import Iterable, KeysView, Set
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

ClassLike: TypeAlias = SupportsIndex | str
"""One class: its index, its label, another of its names or a part of one, or its WordNet id."""


def in_order(names: object, what: str = "labels") -> tuple[str, ...]:
    """Read one name per class, in the network's order.

    Args:
        names: text in an order (a list, an array, a generator), or a mapping that numbers it: from index to name, or
            from name to index, as `id2label` and `class_to_idx` of other libraries do.
        what: the name used in error messages.

    Returns:
        The names, the class with index 0 first.

    Raises:
        TypeError: something without an order (a set), one text, or names that are not text.
        ValueError: numbers that are not 0, 1, 2, … once each.
    """
    one = f"{what[:-1]} for each class, such as ['cat', 'dog']"
    if isinstance(names, (str, bytes, bytearray)):
        raise TypeError(f"expected a {one}, got one text: {names!r}. Pass a list.")
    if not isinstance(names, Iterable):
        raise TypeError(f"expected a {one}, got {names!r}.")
    numbered: Any = getattr(names, "mapping", names)  # d.keys() and d.values() know their dictionary
    if hasattr(numbered, "keys") and hasattr(numbered, "items"):  # a dictionary, or a series with an index
        by_key = dict(numbered.items())
        read = _sort_by_number(by_key, what)
        if read is not None:
            return read
        if numbered is names:
            pairs = by_key and all(map(_is_pair, by_key.values()))  # as ImageNet's own file has them
            remedy = (
                "Take one of each pair: {index: name for index, (_, name) in names.items()}, or its first."
                if pairs
                else "Pass a list, such as list(names.values())."
            )
            raise TypeError(
                f"expected {what} in the network's order, or a mapping between class indices and names, got the keys "
                f"{_list_some(by_key)}. {remedy}"
            )
    elif isinstance(names, Set):
        raise TypeError(f"expected {what} in the network's order, and a set has none. Pass a list.")
    given: tuple[object, ...] = tuple(names)
    wrong = [name for name in given if not isinstance(name, str)]
    if wrong:
        raise TypeError(f"expected {what} that are text, got {wrong[0]!r}. {_remedy(wrong[0])}")
    return tuple(_as_written(name) for name in given if isinstance(name, str))


def _remedy(wrong: object) -> str:
    if isinstance(wrong, bytes):
        return "Decode each: name.decode()."
    if wrong is None or wrong != wrong:  # a table's empty cell is NaN
        return "One is missing: pass a text for each class."
    if _is_pair(wrong):
        return "Take the name out of each pair: [name for _, name in pairs]."
    return "Turn each into text with str()."


def _is_pair(value: object) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[1], str)


def _as_written(name: str) -> str:
    """Give the text that is written: the value of an `Enum`, a line of a file without its end."""
    # Names of folders may contain halves of letters, which neither a file nor a browser accepts.
    return name.encode("utf-8", "backslashreplace").decode().rstrip("\r\n")


def _sort_by_number(names: dict[Any, Any], what: str) -> tuple[str, ...] | None:
    """Sort the names of {0: "cat", …}, {"0": "cat", …} or {"cat": 0, …} by their numbers; None for other mappings."""
    for pairs in ([*names.items()], [(index, name) for name, index in names.items()]):
        by_number = [(_read_number(index), _as_written(name)) for index, name in pairs if isinstance(name, str)]
        numbers = sorted(number for number, _ in by_number if number is not None)
        if len(numbers) < len(pairs):
            continue
        if numbers != list(range(len(pairs))):
            raise ValueError(
                f"expected a name for each class index from 0 to {len(pairs) - 1} once, got the indices "
                f"{_list_some(numbers)}. Pass a list of the {what} in the network's order."
            )
        return tuple(name for _, name in sorted(by_number))
    return None


def _read_number(value: object) -> int | None:
    """Read a class index, also one that JSON has turned into text, or a table into a float."""
    value = unwrapped(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value.strip().isdecimal() else whole_number(value)


def _list_some(values: Iterable[object]) -> str:
    listed = [repr(value) for value in values]
    return ", ".join(listed[:8] + ["…"] * (len(listed) > 8))


def unwrapped(value: object) -> object:
    """Take the value out of a tensor or an array with one element; give anything else as it is."""
    if hasattr(value, "shape") and hasattr(value, "item") and math.prod(value.shape) == 1:
        return value.item()
    return value


def whole_number(value: object) -> int | None:
    """Read an integer of any library, also one alone in a tensor or an array; None for anything else: True, 8.0."""
    value = unwrapped(value)
    if isinstance(value, bool) or hasattr(value, "shape") or not hasattr(value, "__index__"):
        return None
    return operator.index(value)


def is_one(classes: object) -> bool:
    """Whether this names one class: text, a number, or a tensor or an array with one element."""
    value = unwrapped(classes)
    return isinstance(value, str) or not isinstance(value, Iterable)


def listed(classes: ClassLike | Iterable[ClassLike]) -> list[Any]:
    """List the classes one by one, whether one or several are given.

    Raises:
        TypeError: a collection without an order, bytes, or an array that is not a list.
    """
    if is_one(classes):
        return [unwrapped(classes)]
    unordered = isinstance(classes, Set) and not isinstance(classes, KeysView)
    if unordered or isinstance(classes, (bytes, bytearray, memoryview)):  # bytes are a list of numbers to Python
        raise TypeError(f"expected a list of classes, got {type(classes).__name__}. Pass a list, such as [388, 8].")
    shape = getattr(classes, "shape", (0,))
    if math.prod(shape) != max(shape):  # one row of topk(5) counts as a list
        raise TypeError(f"expected a list of classes, got an array {tuple(shape)}. Pass one row of it.")
    several: Any = classes
    return list(several.reshape(-1) if len(shape) > 1 else several)


class _Name(NamedTuple):
    """One name of a class, as it is compared."""

    class_index: int
    whole: str
    """Only its letters and digits: "T-shirt", "tshirt" and "T shirt" are the same."""
    words: str
    """Its words between spaces; a hyphen joins two."""


@lru_cache(maxsize=8)
def _all_names(labels: tuple[str, ...], wordnet_ids: tuple[str, ...]) -> tuple[list[_Name], list[_Name], list[_Name]]:
    """List WordNet ids, labels and further names."""
    further = [
        (c, name)
        for c, each in enumerate(wordnet_ids)
        for name in _wordnet_names().get(each.strip().lower(), ())
        if _whole(name) != _whole(labels[c])
    ]
    ids, own, more = (
        [_Name(c, _whole(name), f" {_words(name)} ") for c, name in group]
        for group in (enumerate(wordnet_ids), enumerate(labels), further)
    )
    return ids, own, more


@cache
def _wordnet_names() -> dict[str, tuple[str, ...]]:
    """Read WordNet's names of ImageNet's classes by id, such as "washer", "automatic washer", "washing machine"."""
    lines = (files("deepinside_edu") / "data" / "imagenet_synonyms.tsv").read_text(encoding="utf-8").splitlines()
    return {wordnet_id: tuple(names.split(", ")) for wordnet_id, names in (line.split("\t") for line in lines)}


def _fold(text: str) -> str:
    """Remove capitals and accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))


def _whole(text: str) -> str:
    """Keep only letters and digits; a text without any stays as it is."""
    return "".join(filter(str.isalnum, _fold(text))) or text.strip()


def _words(text: str) -> str:
    kept = (letter if letter.isalnum() else " " if letter in " _/,;" else "" for letter in _fold(text))
    return " ".join("".join(kept).split())


def find(wanted: object, labels: tuple[str, ...], wordnet_ids: tuple[str, ...] = ()) -> int:
    """Find one class by its index, its WordNet id, a name or a part of one, as `Classifier.find` says."""
    index = whole_number(wanted)
    if index is None:
        text = unwrapped(wanted)
        if not isinstance(text, str):
            remedy = "its class_index" if hasattr(wanted, "class_index") else "one class, such as 388 or 'giant panda'"
            raise TypeError(f"expected a class index, a WordNet id or a name, got {_describe(wanted)}. Pass {remedy}.")
        found = _find_by_name(text, labels, wordnet_ids)
        if len(found) == 1:
            return found[0]
        if found:
            named = [_tell_apart(c, found, labels, wordnet_ids) for c in found[:8]]
            some = ", ".join(named + ["…"] * (len(found) > 8))
            raise ValueError(f"{text.strip()!r} fits {len(found)} classes: {some}. Name one of them, or its index.")
        if not text.strip().removeprefix("-").isdecimal():
            raise _unknown_name(text, labels, wordnet_ids)
        index = int(text)
    if not 0 <= index < len(labels):
        hint = why_no_wordnet_id(wanted, wordnet_ids) if isinstance(wanted, str) else ""
        raise ValueError(
            f"class index {index} is out of range; there are classes 0 to {len(labels) - 1}.{' ' * bool(hint)}{hint}"
        )
    return index


def _describe(wanted: object) -> str:
    shape, kind = getattr(wanted, "shape", None), type(wanted).__name__
    if shape is not None:
        return f"{kind} {tuple(shape)} of {getattr(wanted, 'dtype', 'unknown kind')}"
    return f"{kind}: {wanted!r}" if isinstance(wanted, (bool, float)) else kind


def _find_by_name(text: str, labels: tuple[str, ...], wordnet_ids: tuple[str, ...]) -> list[int]:
    """Find the classes that a text fits, by the strictest reading that fits any."""
    stripped = text.strip()
    if stripped.isdecimal():  # an index, or a label of a digit, such as "7", or both
        index = [int(stripped)] if int(stripped) < len(labels) else []
        return list(dict.fromkeys([*index, *(c for c, label in enumerate(labels) if label.strip() == stripped)]))
    if not stripped or stripped.removeprefix("-").isdecimal():
        return []
    readings = (_find_fitting(each, *_all_names(labels, wordnet_ids)) for each in _singulars(text))
    return next((found for found in readings if found), [])


def _find_fitting(text: str, ids: list[_Name], own: list[_Name], more: list[_Name]) -> list[int]:
    """Find the classes that a text fits, word for word or in part."""
    whole, words = _whole(text), _words(text)
    readings = [{name.class_index for name in names if name.whole == whole} for names in (ids, own, more)]
    if words:
        readings.append({name.class_index for name in own + more if f" {words} " in name.words})
        readings.append({name.class_index for name in own if words in name.words})
    return sorted(next((found for found in readings if found), ()))


def _singulars(text: str) -> list[str]:
    """List the text as it is, then without the ending of a plural."""
    ways = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"))
    bare = text.rstrip()
    return [text, *(bare.removesuffix(many) + one for many, one in ways if bare.lower().endswith(many))]


def _tell_apart(c: int, candidates: list[int], labels: tuple[str, ...], wordnet_ids: tuple[str, ...]) -> str:
    """Write a candidate for an error's list; if two have the same name, add another name of it if there is one."""
    twins = [other for other in candidates if other != c and _whole(labels[other]) == _whole(labels[c])]
    names = _wordnet_names().get(wordnet_ids[c].strip().lower(), ()) if twins and wordnet_ids else ()
    other = next((name for name in names if _whole(name) != _whole(labels[c])), "")
    return f"{labels[c]!r} ({c}{', ' + other if other else ''})"


def _unknown_name(text: str, labels: tuple[str, ...], wordnet_ids: tuple[str, ...]) -> ValueError:
    _, own, more = _all_names(labels, wordnet_ids)
    wanted = _whole(text) if text.strip() else ""
    inside = [name.class_index for name in more if wanted and wanted in name.whole]
    by_name = {name.whole: name.class_index for name in [*more, *own]}  # a label wins over another class's further name
    similar = [by_name[name] for name in difflib.get_close_matches(wanted, by_name, n=5, cutoff=0.6)]
    near = list(dict.fromkeys([*similar, *inside]))[:5]
    hint = ", ".join(f"{labels[c]!r} ({c})" for c in near)
    hint = why_no_wordnet_id(text, wordnet_ids) or (f"Near: {hint}." if near else "Try a part of its name.")
    return ValueError(f"no class is called {text.strip()!r}. {hint}")


def why_no_wordnet_id(text: str, wordnet_ids: tuple[str, ...]) -> str:
    """Say why a WordNet id finds no class, and the remedy; an empty text if the text is not meant as an id."""
    if re.fullmatch(r"n[0-9]{8}", text.strip().lower()):
        if not any(wordnet_ids):
            return (
                "It is a WordNet id, and this classifier was given none. Pass one per label: Classifier(network, "
                "labels, wordnet_ids). ImageNet's are weights.imagenet_wordnet_ids()."
            )
        some = next(filter(None, wordnet_ids))
        return f"It is a WordNet id, but not one of this classifier's, which look like {some!r}."
    if re.fullmatch(r"n?[0-9]{6,9}|n[0-9]+", text.strip().lower()):
        return "Is it meant as a WordNet id? That is n and eight digits, such as 'n02510455'."
    return ""
