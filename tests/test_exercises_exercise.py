"""What all checks share: a right answer is right in any form, and a mistake is named by its answers to all inputs."""

import re
from itertools import combinations
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from exercise_kit import accepted, refused
from lesson_solutions import solution
from scipy import ndimage

import deepinside_edu as di
from deepinside_edu.exercises import class_model, deconvnet, evaluation, localisation, saliency, scores
from deepinside_edu.exercises.exercise import ANYTHING, FORMS, Exercise, Probe

EXERCISES = {
    "softmax": scores._softmax_exercise, "convolve": scores._convolution_exercise,
    "my_map": saliency._map_exercise, "my_average": saliency._average_exercise,
    "iou": localisation._iou_exercise, "object_box": localisation._box_exercise,
    "my_gradient": class_model._gradient_exercise, "my_picture": class_model._picture_exercise,
    "gradient": lambda: deconvnet._relu_exercise("gradient"), "guided": lambda: deconvnet._relu_exercise("guided"),
    "deconvnet": lambda: deconvnet._relu_exercise("deconvnet"), "my_pool_backward": deconvnet._pool_exercise,
    "is_right": evaluation._rule_exercise, "paired_interval": evaluation._interval_exercise,
}  # fmt: skip
CHECKS = {
    "softmax": (scores.check_softmax, "01_scores"), "convolve": (scores.check_convolution, "01_scores"),
    "my_map": (saliency.check_map, "02_saliency"), "my_average": (saliency.check_average, "02_saliency"),
    "iou": (localisation.check_iou, "03_localisation"),
    "object_box": (localisation.check_object_box, "03_localisation"),
    "my_gradient": (class_model.check_gradient, "04_class_model"),
    "my_picture": (class_model.check_picture, "04_class_model"),
    "my_relu_backward": (deconvnet.check_relu, "05_deconvnet"),
    "my_pool_backward": (deconvnet.check_pool, "05_deconvnet"),
    "is_right": (evaluation.check_rule, "06_evaluation"),
    "paired_interval": (evaluation.check_paired_interval, "06_evaluation"),
}  # fmt: skip
exercises = pytest.mark.parametrize("name", EXERCISES)
checks = pytest.mark.parametrize("name", CHECKS)


def right(name):
    """The lesson's own solution."""
    names = {"np": np, "torch": torch, "di": di, "ndimage": ndimage}
    exec(solution(f"{CHECKS[name][1]}.ipynb", name), names)
    return names[name]


def with_gradient(answer):
    return torch.as_tensor(np.asarray(answer, np.float64)).requires_grad_()


FORMS_OF_AN_ANSWER = {
    "array": np.asarray,
    "list": lambda answer: np.asarray(answer).tolist(),
    "tensor": lambda answer: torch.as_tensor(np.asarray(answer)),
    "tensor with gradient": with_gradient,
    "list of tensors with gradient": lambda answer: list(with_gradient(answer)),
    "float64": lambda answer: np.asarray(answer, np.float64),
    "float32": lambda answer: np.asarray(answer, np.float32),
    "float16": lambda answer: np.asarray(answer, np.float16),
    "bfloat16 tensor": lambda answer: torch.as_tensor(np.asarray(answer, np.float32)).bfloat16(),
    "not contiguous": lambda answer: np.asfortranarray(np.asarray(answer)),
    "read only": lambda answer: np.broadcast_to(np.asarray(answer), np.shape(answer)),
    "object array": lambda answer: np.array(np.asarray(answer).tolist(), object),
}


def forms(name):
    """A picture has whole levels of dtype uint8, and one number is not a list."""
    if name == "my_picture":
        return ["array", "tensor", "not contiguous", "read only"]
    return [each for each in FORMS_OF_AN_ANSWER if name not in ("iou", "is_right") or "list of" not in each]


@pytest.mark.parametrize(("name", "form"), [(name, form) for name in CHECKS for form in forms(name)])
def test_a_right_answer_is_right_in_any_form(name, form):
    check, answer = CHECKS[name][0], right(name)
    verdict = check(lambda *given: FORMS_OF_AN_ANSWER[form](answer(*given)))
    assert verdict, verdict


def nothing(*_): ...


def nothing_with_words(*_):
    """As in a lesson's stub."""
    ...


def shown(*_):
    print("0.5")


@checks
def test_a_stub_a_print_and_a_branch_without_return_are_told_apart(name, capsys):
    check, answer = CHECKS[name][0], right(name)
    for stub in (nothing, nothing_with_words, lambda *_: ...):
        assert check(stub).message.startswith("Nothing to check yet")
    assert "returned None: end it with return" in check(shown).message
    calls = []

    def forgetful(*given):
        calls.append(given)
        return answer(*given) if len(calls) < 2 else None

    message = check(forgetful).message
    assert re.search("your function returned None: one of its branches|Under '", message), message
    assert "0.5" in capsys.readouterr().out


NO_ANSWERS = [
    (..., "the function itself"),
    (3.5, "the function itself"),
    (lambda: 1, "TypeError"),
    (lambda *_: [][1], "stopped with IndexError.*It was given"),
    (lambda *_: object(), "returned an object; expected "),
    (lambda *_: [None], "expected "),
    (lambda *_: {}, "returned a dict; expected "),
    (lambda *_: float("nan"), "always nan|expected "),
    (lambda *_: [[1, 2], [3]], "differ in shape"),
    (lambda *_: "grey", "the text 'grey'; expected "),
    (lambda *_: 1.0, "always (1|True), whatever"),
    (lambda *_: torch.ones(2, 2), "always 1|one per guess"),
    (lambda *_: [torch.ones(2, requires_grad=True)] * 2, "always 1|one per guess"),
]


@checks
@pytest.mark.parametrize(("answer", "words"), NO_ANSWERS)
def test_anything_that_is_not_an_answer_gets_a_sentence_and_no_traceback(name, answer, words):
    refused(CHECKS[name][0], answer, words)


@checks
def test_the_lesson_s_stub_is_unanswered_and_its_solution_is_right(name):
    check, lesson = CHECKS[name]
    cells = nbformat.read(Path(__file__).parents[1] / "notebooks" / f"{lesson}.ipynb", as_version=4).cells
    cell = next(cell.source for cell in cells if cell.cell_type == "code" and f"def {name}(" in cell.source)
    stub = re.match(rf".*^def {name}\(.*?\n(?=\S|\Z)", cell + "\n", re.MULTILINE | re.DOTALL)
    names = {"np": np, "torch": torch}
    exec(stub[0], names)
    refused(check, names[name], "Nothing to check yet")
    accepted(check, right(name))


@checks
def test_a_check_leaves_the_random_state_alone(name):
    answer = right(name)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    CHECKS[name][0](answer)
    assert torch.equal(torch.get_rng_state(), before)


@checks
def test_an_error_comes_with_its_input_and_ends_in_a_full_stop(name):
    check = CHECKS[name][0]
    for error, words in (
        (ZeroDivisionError("division by zero"), "stopped with ZeroDivisionError: division by zero. It was given "),
        (ValueError("Too few."), "stopped with ValueError: Too few. It was given "),
        (AssertionError(), "stopped with AssertionError. It was given "),
        (RuntimeError("first line\nsecond line"), "stopped with RuntimeError: first line. It was given "),
    ):

        def stops(*_, error=error):
            raise error

        message = check(stops).message
        assert words in message
        assert message.count("It was given") == 1


@checks
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("a text", "the text 'a text'; expected"),
        ({1: 2}, "returned a dict; expected"),
        ([None], "differ in shape or are not numbers; expected"),
        (1 + 2j, "returned a complex; expected"),
        (object(), "returned an object; expected"),
        (np.sum, r"is a pair of brackets, \(\), missing"),
        (torch.ones(3, 3).max(1), r"take .values"),
        ((torch.ones(3),), r"gives a tuple: write \(g,\)"),
    ],
)
def test_anything_that_is_not_a_number_is_named(name, answer, words):
    message = CHECKS[name][0](lambda *_: answer).message
    assert re.search(words, message), message


CONSTANTS = {"is_right": [0, 1], "my_picture": [0, 1], "object_box": [0, 1, -3]}  # for yes or no, levels, pixels
ANY_CONSTANT = [0, 1, -3, 0.25, float("nan"), float("inf")]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in CHECKS for value in CONSTANTS.get(name, ANY_CONSTANT)]
)
def test_an_answer_that_is_always_the_same_is_called_so(name, value):
    """It is never called a mistake with which it happens to agree."""
    dtype = np.uint8 if name == "my_picture" else np.float64
    answer = right(name)
    message = CHECKS[name][0](lambda *given: np.full(np.shape(answer(*given)), value, dtype)).message
    shown = {0: "(0|False)", 1: "(1|True)"}.get(value, f"{value:g}")
    assert re.match(rf"Your answer is always {shown}, whatever the input\.$", message), message


@checks
def test_a_check_wants_the_function_and_not_its_value(name):
    for given in (3.5, None, ..., np.ones(3)):
        assert "the function itself" in CHECKS[name][0](given).message


def single_mistakes(exercise):
    for n, knob in enumerate(exercise.knobs):
        for said in filter(None, knob):
            yield said, [each[said if m == n else ""] for m, each in enumerate(exercise.knobs)]


@exercises
def test_no_two_mistakes_give_the_same(name):
    """A mistake is named by its answers, so two with the same answers to every input could not be distinguished."""
    exercise = EXERCISES[name]()
    given = {
        said: [exercise._mistaken(probe, values) for probe in exercise.probes]
        for said, values in single_mistakes(exercise)
    }
    shapes = {said: [None if each is None else each.shape for each in answers] for said, answers in given.items()}
    flat = {
        said: np.concatenate([np.ravel(each) for each in answers if each is not None] or [np.empty(0)])
        for said, answers in given.items()
    }
    for said, other in combinations(given, 2):
        if said.strip() == other.strip() or shapes[said] != shapes[other]:
            continue
        rights = [p.right.ravel() for p, each in zip(exercise.probes, given[said], strict=True) if each is not None]
        right = np.concatenate(rights or [np.empty(0)])
        if right.shape == flat[said].shape and np.allclose(flat[said], right, 1e-3, 1e-3):
            continue  # these raise an error on every input for which they would be wrong
        assert not np.allclose(flat[said], flat[other], 1e-6, 1e-9, equal_nan=True), (said, other)


@pytest.mark.slow
@exercises
@pytest.mark.filterwarnings("ignore")
def test_each_mistake_is_named_and_no_other(name):
    exercise = EXERCISES[name]()
    for said, values in single_mistakes(exercise):
        given = [exercise._mistaken(probe, values) for probe in exercise.probes]
        if any(wrong is None or (wrong == ANYTHING).any() for wrong in given):
            continue
        answers = iter(given)
        dtype = exercise.dtype[0] or np.float64
        verdict = exercise.check(lambda *_, answers=answers, dtype=dtype: next(answers).round().astype(dtype)
                                 if dtype == "uint8" else next(answers))  # fmt: skip
        if verdict:
            assert "nan with a number" in said, f"{said} is accepted"
        elif "is always" not in verdict.message and "above 1, so the picture is almost black" not in verdict.message:
            assert verdict.message.startswith(said.strip()), (said, verdict.message)


@exercises
def test_sentences_begin_with_a_word_and_end_with_a_stop(name):
    """A capital at the start would rename a variable: x is not X, and torch is not Torch."""
    exercise = EXERCISES[name]()
    sentences = [said for knob in exercise.knobs for said in knob if said]
    sentences += [*FORMS, exercise.praise, *exercise.hints.values(), *filter(None, [exercise.untouched])]
    for said in sentences:
        assert re.match(r"(A|[A-Z][A-Za-z'-]+)\b", said), said
        assert said.strip()[-1] in ".?)", said
        assert not re.search(r"[a-z)][.?!][.?!]", said), said


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in ("iou", "is_right", "paired_interval")])
@pytest.mark.parametrize("seed", range(4))
def test_one_wrong_number_is_shown_with_its_input_and_taken_for_no_mistake(name, seed):
    """The message shows the first number that differs and the expected one, and the two differ.

    (One or two numbers are too few to change one alone, so the other three checks have tests of their own.)
    """
    check, answer = CHECKS[name][0], right(name)
    random = np.random.default_rng(seed)

    def nearly(*given):
        values = np.asarray(answer(*given)).copy()
        if values.size > 1:
            at = tuple(random.integers(0, n) for n in values.shape)
            change = 7 if values.dtype != np.uint8 else 60 if values[at] < 128 else -60
            values[at] = values[at].item() + change
        return values

    message = check(nearly).message
    got, expected = re.search(r"your answer is (\S+); expected ([^;\s]+?)\.(?:\s|$)", message).groups()
    assert got != expected
    assert "For " in message
    assert "mistakes at once" not in message


def test_the_first_number_that_differs_is_shown_not_the_first_of_all():
    def nearly(w):
        m = w.abs().amax(-1)
        m[-1, -1] *= 1.5
        return m

    message = saliency.check_map(nearly).message
    w = saliency._map_exercise().probes[0].given[0]
    assert "number [3, 4] of your answer" in message
    assert f"There w is [{', '.join(f'{value:.2f}' for value in w[3, 4])}]." in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: 2.5 * a, "Each number is 2.5 times the right one"),
        (lambda a: a - 4, "Each number is 4 too small"),
        (np.abs, "signs are lost"),
        (lambda a: a.clip(min=0), "below 0 have become 0"),
        (np.trunc, "digits after the point are cut off"),
        (lambda a: a.round(1), "right except for rounding"),
        (lambda a: a[::-1], "upside down"),
        (lambda a: a[:, ::-1], "mirrored"),
        (lambda a: a.T, "transposed"),
        (lambda a: a[None], "The numbers are right, but the shape must be"),
        (lambda a: a[None] * 2, "Each number is 2 times the right one.*Besides, the shape must be"),
        (lambda a: a.ravel(), "you returned an array of shape"),
    ],
)
def test_a_change_to_a_right_answer_is_named(change, words):
    inputs = [np.random.default_rng(seed).normal(0, 9, (4, 3 + seed)) for seed in range(3)]
    exercise = Exercise(
        probes=[Probe((a,), np.sin(a) * a, f"input {n}") for n, a in enumerate(inputs)], praise="Right.",
        expected="a table", knobs=(), mistaken=lambda probe: None,
    )  # fmt: skip
    assert exercise.check(lambda a: np.sin(a) * a)
    message = exercise.check(lambda a: change(np.sin(a) * a)).message
    assert re.search(words, message), message
    assert exercise.check(lambda a: a).message.startswith("You return the first argument as it came")


def test_a_mistake_must_agree_on_every_input():
    """A function that is wrong in one way on one input and in another way on the next is given neither name."""
    inputs = [np.arange(4.0) + n for n in range(3)]
    exercise = Exercise(
        probes=[Probe((a,), a**2, f"a = {a.tolist()}") for a in inputs], praise="Right.", expected="squares",
        knobs=({"": 2, "You took the third power.": 3, "You took the fourth power.": 4},),
        mistaken=lambda probe, power: probe.given[0] ** power,
    )  # fmt: skip
    assert exercise.check(lambda a: a**3).message == "You took the third power."
    message = exercise.check(lambda a: a ** (3 + (a[0] > 1))).message
    assert message == "For a = [0.0, 1.0, 2.0, 3.0], number [2] of your answer is 8; expected 4."
    message = exercise.check(lambda a: a ** (2 + (a[0] > 1))).message
    assert message == (
        "Right for a = [0.0, 1.0, 2.0, 3.0]. For a = [2.0, 3.0, 4.0, 5.0], number [0] of your answer is 8; expected 4."
    )
