"""What an option may be."""

import inspect
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from deepinside_edu import accept

TEXT_AND_THE_LIKE = ["1", b"1", None, [1], (1,), {}, np.ones(2), 1j, object()]


@pytest.mark.parametrize("value", [0.25, Fraction(1, 4), np.float32(0.25), np.float64(0.25), np.float16(0.25)])
def test_numbers_of_any_kind_are_numbers(value: Any) -> None:
    found = accept.number("blur", value, 0)
    assert (found, type(found)) == (0.25, float)


@pytest.mark.parametrize("value", [*TEXT_AND_THE_LIKE, True, np.True_, np.array(0.5), torch.tensor(0.5)])
def test_no_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected a number for blur, got .*\. Pass one such as"):
        accept.number("blur", value, 0)


@pytest.mark.parametrize("value", [-0.1, 3.1, np.nan, np.inf, -np.inf, 10**400])
def test_numbers_out_of_range(value: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a blur from 0 to 3, got .*\. Lower it\.$"):
        accept.number("blur", value, 0, 3, "Lower it.")
    assert accept.number("blur", 0, 0, 3) == 0
    assert accept.number("blur", 3, 0, 3) == 3


@pytest.mark.parametrize("value", [np.inf, np.nan, -1, 10**400])
def test_numbers_without_an_upper_end_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"^expected a blur of 0 or more, got [^ ]*\.$"):
        accept.number("blur", value, 0)


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_whole_numbers_of_any_kind(value: Any) -> None:
    found = accept.whole("k", value, 1)
    assert (found, type(found)) == (3, int)


@pytest.mark.parametrize("value", [*TEXT_AND_THE_LIKE, True, np.True_, 5.0, 2.5, np.nan, np.float32(5)])
def test_no_whole_numbers(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected a whole number for k, such as 1, got .*\. Count them\.$"):
        accept.whole("k", value, 1, remedy="Count them.")


def test_whole_numbers_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"^expected k of 1 or more, a whole number, got 0\.$"):
        accept.whole("k", 0, 1)
    with pytest.raises(ValueError, match=r"^expected k from 1 to 9, a whole number, got 10\. Lower it\.$"):
        accept.whole("k", 10, 1, 9, "Lower it.")
    with pytest.raises(ValueError, match="got one of more than 60 digits"):
        accept.whole("k", 10**5000, 1, 9)
    assert [accept.whole("k", k, 1, 9) for k in (1, 9)] == [1, 9]


@pytest.mark.parametrize("value", ["no", "", 0, 1, None, 1.0, [], np.ones(2, bool)])
def test_only_truth_values_are_flags(value: Any) -> None:
    with pytest.raises(TypeError, match=r"^expected True or False for hard_seeds, got "):
        accept.flag("hard_seeds", value)


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_flags(value: Any) -> None:
    found = accept.flag("hard_seeds", value)
    assert (found, type(found)) == (bool(value), bool)


@pytest.mark.parametrize("state", [None, 1.5, "0", np.random.default_rng(), torch.Generator(), True])
def test_no_random_states(state: Any) -> None:
    with pytest.raises(TypeError, match="same number gives the same result"):
        accept.random_state(state)


def test_random_states() -> None:
    assert [accept.random_state(s) for s in (0, np.int64(5), 2**64 - 1)] == [0, 5, 2**64 - 1]
    for state in (-1, 2**64):
        with pytest.raises(ValueError, match="random_state from 0 to"):
            accept.random_state(state)


def test_crops() -> None:
    assert [accept.crops(n) for n in (1, np.int64(10))] == [1, 10]
    for count in (0, 2, 11, -10):
        with pytest.raises(ValueError, match=r"1 or 10 crops|crops of 1 or more"):
            accept.crops(count)
    for wrong in ("10", True, 10.0, None):
        with pytest.raises(TypeError, match="whole number for crops"):
            accept.crops(wrong)


def test_choices() -> None:
    assert accept.choice("preset", "paper", {"paper": 1, "readable": 2}) == "paper"
    for wrong in ("Paper", "", None, 3, ["paper"], np.array(["paper"])):
        with pytest.raises(ValueError, match=r"^expected the preset 'paper' or 'readable', got "):
            accept.choice("preset", wrong, ("paper", "readable"))


def test_a_long_value_is_cut_short() -> None:
    with pytest.raises(TypeError, match=r"got 'x{56}… \(str\)\.") as told:
        accept.number("blur", "x" * 5000, 0)
    assert len(str(told.value)) < 200


def test_options_of_another_function_are_shown_in_place_of_any() -> None:
    def cut(picture: Any, *, smooth: float = 2.0, hard: bool = False) -> Any: ...

    @accept.options_of(cut)
    def localise(image: Any, *, crops: int = 10, **options: Any) -> dict[str, Any]:
        return options

    assert str(inspect.signature(localise)) == (
        "(image: Any, *, crops: int = 10, smooth: float = 2.0, hard: bool = False) -> dict[str, typing.Any]"
    )
    assert localise(1, smooth=3.0) == {"smooth": 3.0}


def test_options_are_completed_with_defaults_and_unknown_ones_are_told() -> None:
    def cut(picture: Any, *, smooth: float = 2.0, hard: bool = False) -> Any: ...

    assert accept.options({"hard": True}, cut) == {"smooth": 2.0, "hard": True}
    with pytest.raises(TypeError, match=r"no option blur, picture; expected some of smooth, hard\."):
        accept.options({"blur": 1, "picture": 2, "hard": True}, cut)
