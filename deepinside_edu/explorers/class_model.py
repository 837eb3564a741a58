"""The class-model studio: watch an image climb towards a class, pause it, go back to any step, save the film."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, ClassVar

import torch
import traitlets
from PIL import Image
from torch import Tensor

from .. import figures
from ..ascent import OBJECTIVES, Recipe
from ..class_model import PRESETS, Step
from ..class_model import class_model as ascend
from ..classifier import Classifier
from ..images import Photo, photo
from ..names import ClassLike
from ..opening import ImageLike
from .joined import browser_half
from .language import say
from .settings import Choice, ClassIndex, Number, ReadOnly, Refused, Validated, Whole, known_name
from .stills import panels, titled
from .widget import YOURS, Widget, error_in_words, open_widgets, share

FIRST = "goose"
"""The first class, one of the paper's Figure 1, if the network knows it."""

MOST_STEPS = 300
"""Every step is kept, and a step of 224×224 pixels holds 0.6 MB."""

HEAVIEST = 1_000_000
"""The largest λ that a `Recipe` accepts."""

PICTURES_PER_SECOND = 11.5
FILM_PICTURES = 60
RUNNING, PAUSED, READY, FINISHED, FAILED = "running", "paused", "ready", "finished", "failed"


@dataclass(eq=False)
class _Run:
    """One ascent from its start. A new setting makes a new run, and late steps of this one are dropped."""

    number: int
    recipe: Recipe
    about: dict[str, Any]
    make: Callable[[], Iterator[Step]]
    ascent: Iterator[Step] | None = None
    steps: list[Step] = field(default_factory=list)
    pictured: list[int] = field(default_factory=list)
    wanted: int = 0
    told: int = 0
    ended: str = ""
    message: str = ""
    since: tuple[float, int] = (0.0, 0)

    @property
    def state(self) -> str:
        if self.wanted:
            return RUNNING
        return self.ended or (PAUSED if self.steps else READY)

    def pull(self) -> Step | None:
        """Climb one step; return None at the end or after an error, which becomes the message."""
        try:
            if self.ascent is None:
                self.ascent = self.make()
            step = next(self.ascent, None)
        except Exception as error:
            self.ended, self.message = FAILED, error_in_words(error)
            if self.steps:
                self.message = f"{self.message} {say('stays.step')}"
            return None
        if step is None:
            self.ended, self.message = FINISHED, say("class_model.no_higher", steps=len(self.steps))
        elif step.number >= self.recipe.steps:
            self.ended = FINISHED
        return step


class ClassModelExplorer(Widget):
    """The image of one class while it climbs; the traits are the controls, `result` is the step on show.

    One thread climbs while the kernel answers other cells. It ends after the last step, at a pause and with the widget.

    Attributes:
        class_index: c, an int. A change of it or of the next five begins a new run, at once if the last one runs.
        preset: "paper" (its objective and nothing else) or "readable" (with later regularisers).
        objective: "score" or "probability".
        regularisation: λ; a new preset or objective sets it to its own.
        length: the number of steps, 1 to 300; a new preset sets it to its own.
        start: "zero", "noise", the name of a shipped photo, or "your photo" where there is one.
        contrast: "plain", or "stretched" as `figures.stretch_contrast` does it.
        shown: the number of the step on show; 0 is always the latest.
    """

    _esm, _css = browser_half("class_model")
    stays: ClassVar = {"upload": "start", "find": "class"}

    most_steps = ReadOnly(MOST_STEPS).tag(sync=True)
    recipe = ReadOnly("").tag(sync=True)
    class_index = ClassIndex(0).tag(sync=True)
    preset = Choice(tuple(PRESETS), "paper", say("class_model.preset")).tag(sync=True)
    objective = Choice(tuple(OBJECTIVES), "score", say("class_model.objective")).tag(sync=True)
    regularisation = Number(PRESETS["paper"].penalty, say("class_model.regularisation"), 0, HEAVIEST).tag(sync=True)
    length = Whole(PRESETS["paper"].steps, say("class_model.length"), 1).tag(sync=True)
    start = Validated("zero").tag(sync=True)
    contrast = Choice(("plain", "stretched"), "plain", say("class_model.contrast")).tag(sync=True)
    shown = Whole(0, say("class_model.shown"), 0).tag(sync=True)

    def __init__(
        self,
        image: ImageLike | Tensor | None = None,
        classifier: Classifier | None = None,
        class_index: ClassLike | None = None,
    ) -> None:
        super().__init__(image, classifier)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._count = 0
        self.class_index = self._first_class(class_index)
        self.start = "zero" if self._own is None else self._own.name
        self._quiet = False
        self._run = self._new_run()

    def _first_class(self, wanted: ClassLike | None) -> ClassLike:
        if wanted is not None:
            return wanted
        if self._own is not None:
            return self.classifier.top(self._own.image, 1)[0].class_index
        return self.labels.index(FIRST) if FIRST in self.labels else 0

    @property
    def steps(self) -> tuple[Step, ...]:
        """All steps so far."""
        return tuple(self._run.steps)

    @property
    def result(self) -> Step | None:
        """The step on show; None before the first."""
        steps = self._run.steps
        return steps[self.shown - 1] if 0 < self.shown <= len(steps) else steps[-1] if steps else None

    @property
    def state(self) -> str:
        """One of "ready", "running", "paused", "finished", "failed"."""
        return self._run.state

    @property
    def photo(self) -> str:
        """The photo that the climb starts from, empty if it starts from none."""
        return self.start if self.start in self.photos else ""

    @photo.setter
    def photo(self, name: str | Photo) -> None:
        self.start = name

    def run(self) -> None:
        """Climb to the last step, from the start again if the run has ended."""
        self._climb(MOST_STEPS)

    def step(self) -> None:
        """Climb one step and pause."""
        self._climb(1)

    def pause(self) -> None:
        """Stop after the current step."""
        with self._changed:
            self._run.wanted = 0
            self._tell_state()

    def reset(self) -> None:
        """Stop and go back to the start."""
        self._begin()

    def save(self, file: str | os.PathLike[str] | BinaryIO, kind: str = "") -> None:
        """Save the steps so far as a film, with the contrast on show (all stretched like the last).

        Args:
            file: a path that ends in .gif or .webp, or a binary file object.
            kind: "gif" or "webp", for a file object.

        Raises:
            ValueError: there is no step yet, or the kind is another one.
        """
        steps = self.steps
        if not steps:
            raise ValueError(say("class_model.no_film"))
        count = min(len(steps), FILM_PICTURES)
        pictures = [steps[round(i * (len(steps) - 1) / max(count - 1, 1))].picture for i in range(count)]
        if self.contrast == "stretched":
            pictures = [figures.stretch_contrast(each, like=pictures[-1]) for each in pictures]
        figures.save_film(pictures, file, kind=kind)

    @traitlets.validate("length")
    def _possible_length(self, proposal: dict[str, Any]) -> int:
        steps = int(proposal["value"])
        if steps > MOST_STEPS:
            raise Refused(say("class_model.too_long", most=MOST_STEPS, got=steps))
        return steps

    @traitlets.validate("start")
    def _known_start(self, proposal: dict[str, Any]) -> str:
        return known_name(proposal["value"], ["zero", "noise", *self.photos], "class_model.no_start")

    @traitlets.validate("shown")
    def _possible_step(self, proposal: dict[str, Any]) -> int:
        """Take the latest step if the browser still means a step of the last run."""
        return int(proposal["value"]) if 0 < proposal["value"] <= len(self._run.steps) else 0

    @traitlets.observe("class_index", "preset", "objective", "regularisation", "length", "start")
    def _on_setting(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        with self._quietly():
            preset = PRESETS[self.preset]
            if change["name"] in ("preset", "objective"):
                self.regularisation = replace(preset, objective=self.objective).penalty
            if change["name"] == "preset":
                self.length = preset.steps
        self._on_photo()

    def _on_photo(self, _: object = None) -> None:
        self._begin(again=self.state == RUNNING)

    def _new_run(self) -> _Run:
        """Make a run with the values of the controls now; it computes nothing yet."""
        self._count += 1
        recipe = replace(
            PRESETS[self.preset], objective=self.objective, regularisation=self.regularisation, steps=self.length
        )
        own = self._own.image if self._own else None
        start: Any = own if self.photo == YOURS else photo(self.photo) if self.photo else self.start
        label = self.classifier.labels[self.class_index]
        way = say(f"class_model.{self.preset}_{self.objective}")  # with every picture, so that presets are not confused
        self.set_trait("recipe", _in_words(recipe, way))
        return _Run(
            self._count,
            recipe,
            {"label": label, "target": self.class_index, "way": way, "total": self.length, "contrast": recipe.contrast},
            lambda c=self.class_index, preset=self.preset: ascend(  # type: ignore[misc]
                self.classifier, c, preset, start=start, steps=recipe.steps, objective=recipe.objective,
                regularisation=recipe.regularisation,
            ),
        )  # fmt: skip

    def _begin(self, again: bool = False) -> None:
        with self._changed:
            self._run.wanted, self._refused = 0, ""
            self._run = self._new_run()
            self.shown = 0
            self._tell_state()
        if again:
            self.run()

    def _climb(self, steps: int) -> None:
        if self.state in (FINISHED, FAILED):
            self._begin()
        with self._changed:
            run = self._run
            run.wanted = min(steps, run.recipe.steps - len(run.steps))
            run.message, self._refused = "", ""
            run.since = time.perf_counter(), len(run.steps)
            self._tell_state()
            with suppress(RuntimeError):  # outside a kernel there is no loop, and Ctrl-C works as usual
                self._loop = asyncio.get_running_loop()
            self._start()

    def _stop(self) -> None:
        if hasattr(self, "_run"):
            self._run.wanted = 0

    def _complaints(self) -> Iterable[str]:
        return [self._run.message]

    def _work(self) -> None:
        """Climb until no more steps are wanted; the browser never delays a step."""
        due = 0.0
        while True:
            with self._changed:
                run = self._run
                if not run.wanted:
                    self._tell_steps(run)
                    self._thread = None
                    self._changed.notify_all()
                    return
            step = run.pull()
            with self._changed:
                if run is not self._run:
                    continue
                run.wanted = max(run.wanted - 1, 0) if step and not run.ended else 0
                if step:
                    run.steps.append(step)
            now = time.perf_counter()
            if now >= due:
                self._tell_steps(run)
                # From the time that it was due, so that the rate does not depend on the length of a step.
                due = max(due + 1 / PICTURES_PER_SECOND, now)
                if self._loop is not None:
                    with suppress(RuntimeError):  # the loop has ended
                        self._loop.call_soon_threadsafe(_listen_for_interrupt)

    def _tell_state(self) -> None:
        """Send the number of the run, its state and its speed; by the number the page drops steps of earlier runs."""
        self.send({"kind": "state", **self._progress(self._run)})

    def _progress(self, run: _Run) -> dict[str, Any]:
        began, first = run.since
        seconds, steps = time.perf_counter() - began, len(run.steps) - first
        rate = steps / seconds if began and steps and seconds else 0.0
        return {"run": run.number, "about": run.about, "state": run.state, "message": self.message, "rate": rate,
                "begun": _begun(run.steps)}  # fmt: skip

    def _tell_steps(self, run: _Run) -> None:
        """Send what is new: the scores of every step and the picture of the last, as raw, unaltered bytes."""
        first, steps = run.told, run.steps[run.told :]
        run.told += len(steps)
        if steps:
            run.pictured.append(steps[-1].number)
        self._send_steps(run, first, steps)

    def _send_steps(self, run: _Run, first: int, steps: list[Step]) -> None:
        content = {"kind": "steps", "first": first, **self._progress(run)}
        if not steps:
            self.send(content)
            return
        picture = steps[-1].picture
        content["size"] = picture.size
        content["values"] = [[step.score, step.probability, step.objective] for step in steps]
        scores = torch.stack([step.scores for step in steps]).float().cpu().numpy()
        self.send(content, [scores.tobytes(), picture.tobytes()])

    def _tell_all(self) -> None:
        self._tell_state()
        _in_background(self._tell_film)

    def _tell_film(self) -> None:
        """Send every picture and score again."""
        run = self._run
        first = 0
        for number in tuple(run.pictured):
            self._send_steps(run, first, run.steps[first:number])
            first = number

    def _do(self, asked: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        if asked in ("run", "pause", "step", "reset"):
            getattr(self, asked)()
        elif asked == "film":
            _in_background(lambda: self._send_film(str(content.get("type", "gif"))))

    def _answer(self, asked: str) -> None:
        if asked != "film":  # the film itself is the answer
            self._tell_state()

    def _send_film(self, kind: str) -> None:
        buffer = io.BytesIO()
        try:
            self.save(buffer, kind)
        except (ValueError, OSError) as error:
            self.send({"kind": "film", "message": str(error)})
            return
        name = f"{self._run.about['label'].replace(' ', '_')}.{kind}"
        self.send({"kind": "film", "name": name, "message": ""}, [buffer.getvalue()])

    def still(self) -> Image.Image:
        """Draw the step on show with its class, recipe and number; before the first step the start."""
        run, step = self._run, self.result
        about = run.about
        title = say("class_model.title", label=about["label"], class_index=about["target"], way=about["way"])
        if step is None:
            x = torch.zeros(1, len(self.classifier.mean), *self.classifier.size, device="cpu")
            words = say("class_model.start_zero" if self.start == "zero" else "class_model.start", start=self.start)
            return titled(title, panels((self.classifier.picture(x).convert("RGB"), words)))
        picture = step.picture.convert("RGB")
        stretched = self.contrast == "stretched"
        if stretched:
            picture = figures.stretch_contrast(picture)
        name, p = "class_model.step_stretched" if stretched else "class_model.step", share(step.probability)
        said = say(name, step=step.number, steps=run.recipe.steps, score=step.score, probability=p)
        return titled(title, panels((picture, f"{said}. {_begun(run.steps)}".strip())))

    def __repr__(self) -> str:
        run, step = self._run, self.result
        number = 0 if step is None else step.number
        return f"ClassModelExplorer({run.about['label']!r}, {self.preset!r}, step {number} of {run.recipe.steps})"


def _in_words(recipe: Recipe, way: str) -> str:
    """A recipe in one sentence, so that the two presets differ in more than their names."""
    value = "S_c(I)" if recipe.objective == "score" else "P_c(I)"
    values = {**vars(recipe), "last_blur": recipe.blur if recipe.last_blur is None else recipe.last_blur}
    active = {
        "jitter": recipe.jitter, "mirror": recipe.mirror, "samples": recipe.samples > 1,
        "exponent": recipe.exponent != 1, "blur": recipe.blur, "last_contrast": recipe.contrast != 1,
    }  # fmt: skip
    later = ", ".join(say(f"class_model.{each}", **values) for each, is_active in active.items() if is_active)
    name = "class_model.later_recipe" if later else "class_model.recipe"
    return say(name, way=f"{way[0].upper()}{way[1:]}", value=value, later=later)


def _begun(steps: list[Step]) -> str:
    """A note on the start if noise was added to it."""
    noise = steps[0].noise if steps else 0
    return say("class_model.noise", noise=noise) if noise else ""


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _listen_for_interrupt() -> None:
    """Let ■ pause every ascent: between two messages an IPython kernel ignores it."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: _pause_all())


def _pause_all() -> None:
    for each in tuple(open_widgets):
        if isinstance(each, ClassModelExplorer):
            each.pause()


def class_model(
    image: ImageLike | Tensor | None = None,
    classifier: Classifier | None = None,
    class_index: ClassLike | None = None,
) -> ClassModelExplorer:
    """Watch an image climb towards arg max over I of S_c(I) − λ‖I‖₂², step by step, from zero or any other start.

    Args:
        image: a start other than zero: anything that `open_image` takes, or a prepared tensor.
        classifier: the network; without one the network that ships with the package.
        class_index: c, an int or what `classifier.find` understands; without one the image's own top-1, and without
            an image the goose of the paper's Figure 1.

    Returns:
        A widget that shows itself as a cell's last line; its `result` is the `Step` on show, its `steps` are all
        steps.

    Raises:
        ValueError: an unknown class, or a bad image.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 2.
    """
    return ClassModelExplorer(image, classifier, class_index)
