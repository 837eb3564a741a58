"""The class-model studio: watch an image climb towards a class, pause it, go back to what has been, save the film."""

from __future__ import annotations

import asyncio
import atexit
import io
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO

import torch
import traitlets
from PIL import Image

from .. import figures
from ..class_model import OBJECTIVES, PRESETS, Recipe, Step
from ..class_model import class_model as ascend
from ..classifier import Classifier, check_classifier
from ..images import Photo, photos
from ..names import ClassLike
from ..opening import ImageLike, open_image
from ..weights import load_classifier
from .explorer import YOURS
from .joined import browser_half
from .settings import Choice, Judged, Number, Refused, Told, Whole, found, shown
from .stills import panels, titled
from .widget import Widget, share

FIRST = "goose"
"""The class to begin with, one of the paper's Figure 1, where the network knows it."""

MOST_STEPS = 300
"""A step of 224×224 pixels holds 0.6 MB, and every one of them is kept."""

HEAVIEST = 1_000_000
"""The largest λ, as a `Recipe` has it."""

PICTURES_A_SECOND = 11.5
FILM_PICTURES = 60
RUNNING, PAUSED, READY, FINISHED, FAILED = "running", "paused", "ready", "finished", "failed"

WAYS = {
    ("paper", "score"): "the paper's objective",
    ("paper", "probability"): "the paper's regulariser, with P_c in the place of S_c",
    ("readable", "score"): "with later regularisers",
    ("readable", "probability"): "with later regularisers, and P_c in the place of S_c",
}
"""What each recipe is called wherever its pictures are: the two presets must not be mixed up."""

_open: weakref.WeakSet[ClassModelExplorer] = weakref.WeakSet()


@dataclass(eq=False)
class _Run:
    """One ascent from its start on; any other setting makes another one, and what comes late from this is dropped."""

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
        """Climb one step; none at the end, or where it fails, which is said and not raised."""
        try:
            if self.ascent is None:
                self.ascent = self.make()
            step = next(self.ascent, None)
        except Exception as error:
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            stays = " The last good step stays." if self.steps else ""
            self.ended, self.message = FAILED, f"{kind}{error}{stays}"
            return None
        if step is None:
            self.ended, self.message = FINISHED, f"No higher point is in reach after step {len(self.steps)}."
        elif step.number >= self.recipe.steps:
            self.ended = FINISHED
        return step


class ClassModelExplorer(Widget):
    """One class's image while it climbs; the traits are what the controls show, `result` the step that is looked at.

    One thread climbs while the kernel answers other cells; it ends with the last step, at a pause, and with the widget.

    Attributes:
        class_index: c, an int. This and the next five begin anew when they change; if it was running, it runs again.
        preset: "paper" (its objective and nothing else) or "readable" (with later regularisers).
        objective: "score" or "probability".
        regularisation: λ; a new preset or objective sets it to its own.
        length: how many steps, 1 to 300; a new preset sets it to its own.
        start: "zero", "noise", the name of a shipped photo, or "your photo" where there is one.
        contrast: "plain", or "stretched" as `figures.stretch_contrast` does it.
        shown: the number of the step that is looked at; 0 is always the latest.
        message: what went wrong last, with the remedy; empty if nothing did.
    """

    _esm, _css = browser_half("class_model")

    labels = Told().tag(sync=True)
    starts = Told().tag(sync=True)
    most_steps = Told(MOST_STEPS).tag(sync=True)
    recipe = Told("").tag(sync=True)
    class_index = Judged(0).tag(sync=True)
    preset = Choice(tuple(PRESETS), "paper", "the preset").tag(sync=True)
    objective = Choice(tuple(OBJECTIVES), "score", "the objective").tag(sync=True)
    regularisation = Number(PRESETS["paper"].weight, "λ", 0, HEAVIEST).tag(sync=True)
    length = Whole(PRESETS["paper"].steps, "the number of steps", 1).tag(sync=True)
    start = Judged("zero").tag(sync=True)
    contrast = Choice(("plain", "stretched"), "plain", "the contrast").tag(sync=True)
    shown = Whole(0, "the step that is looked at", 0).tag(sync=True)

    def __init__(
        self,
        image: ImageLike | None = None,
        classifier: Classifier | None = None,
        class_index: ClassLike | None = None,
    ) -> None:
        """Nothing climbs before `run` or `step`; what cannot be shown at all is an ordinary error of this call."""
        self.classifier = load_classifier() if classifier is None else classifier
        # Where the two are swapped, opening says so.
        self._photo = None if image is None or isinstance(image, Photo) else open_image(image)
        check_classifier(self.classifier)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._quiet, self._count, self._refused = True, 0, ""
        labels = list(self.classifier.labels)
        if class_index is not None:
            chosen = self.classifier.find(class_index)
        elif image is not None:
            chosen = self.classifier.top(image, 1)[0].class_index
        else:
            chosen = labels.index(FIRST) if FIRST in labels else 0
        super().__init__()
        self.set_trait("labels", labels)
        self.set_trait("starts", ["zero", "noise", *(each.name for each in photos()), *[YOURS] * bool(self._photo)])
        self.class_index = chosen
        self.start = "zero" if image is None else image.name if isinstance(image, Photo) else YOURS
        self._quiet = False
        self._run = self._new_run()
        self.on_msg(self._on_browser)
        _open.add(self)

    # --- what a learner, a test or the browser asks for ---------------------------------------------------------------

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step so far."""
        return tuple(self._run.steps)

    @property
    def result(self) -> Step | None:
        """The step that is looked at; none before the first."""
        steps = self._run.steps
        return steps[self.shown - 1] if 0 < self.shown <= len(steps) else steps[-1] if steps else None

    @property
    def state(self) -> str:
        """One of "ready", "running", "paused", "finished", "failed"."""
        return self._run.state

    @property
    def message(self) -> str:
        """What went wrong last, or nothing."""
        return self._said(self._run)

    def run(self) -> None:
        """Climb to the last step; from the start again if the end was reached."""
        self._climb(MOST_STEPS)

    def step(self) -> None:
        """Climb one step, and pause."""
        self._climb(1)

    def pause(self) -> None:
        """Stop after the step that is being computed."""
        with self._changed:
            self._run.wanted = 0
            self._tell_state()

    def reset(self) -> None:
        """Stop, and go back to the start."""
        self._begin()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing climbs any more, or so many seconds; say whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def find(self, text: str) -> None:
        """Choose a class by its name, a part of it, its WordNet id or its index; if that fails, say so."""
        try:
            self.class_index = self.classifier.find(text)
        except (ValueError, TypeError) as error:
            self._refuse(f"{error} The last class stays.")
        else:
            self._tell_state()  # the page waits for an answer, even if it was this class before

    def save(self, file: str | os.PathLike[str] | BinaryIO, kind: str = "") -> None:
        """Save the steps so far as a film, with the contrast that is shown (all stretched like the last).

        Args:
            file: a path that ends in .gif or .webp, or a binary file object.
            kind: "gif" or "webp", for a file object.

        Raises:
            ValueError: no step yet, or another kind of file.
        """
        steps = self.steps
        if not steps:
            raise ValueError("there is no step to save yet. Press Run first.")
        count = min(len(steps), FILM_PICTURES)
        pictures = [steps[round(i * (len(steps) - 1) / max(count - 1, 1))].picture for i in range(count)]
        if self.contrast == "stretched":
            pictures = [figures.stretch_contrast(each, like=pictures[-1]) for each in pictures]
        figures.save_film(pictures, file, kind=kind)

    def close(self) -> None:
        """Stop the work and take the widget away."""
        if hasattr(self, "_run"):
            self._run.wanted = 0
        super().close()

    # --- traits -------------------------------------------------------------------------------------------------------

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends; what was refused before is forgotten."""
        self._forgive()
        super().set_state(sync_data)

    def _refuse(self, words: str) -> None:
        self._refused = words
        self._tell_state()

    def _said(self, run: _Run) -> str:
        return " ".join(filter(None, (run.message, self._refused)))

    def _forgive(self) -> None:
        if self._refused:
            self._refuse("")

    @traitlets.validate("class_index")
    def _known_class(self, proposal: dict[str, Any]) -> int:
        return found(self.classifier, proposal["value"])

    @traitlets.validate("regularisation")
    def _possible_weight(self, proposal: dict[str, Any]) -> float:
        try:
            return Recipe(regularisation=proposal["value"]).weight
        except (ValueError, TypeError) as error:
            raise Refused(str(error)) from None

    @traitlets.validate("length")
    def _possible_length(self, proposal: dict[str, Any]) -> int:
        steps = int(proposal["value"])
        if steps > MOST_STEPS:
            raise Refused(
                f"expected at most {MOST_STEPS} steps, each of which is kept, got {steps}. For more, use a loop: "
                "for step in di.class_model(classifier, class_index, steps=1000)."
            )
        return steps

    @traitlets.validate("start")
    def _known_start(self, proposal: dict[str, Any]) -> str:
        start = proposal["value"].name if isinstance(proposal["value"], Photo) else proposal["value"]
        if not isinstance(start, str) or start not in self.starts:
            raise Refused(f"no start is called {shown(start)}; there are {', '.join(self.starts)}.")
        return start

    @traitlets.validate("shown")
    def _possible_step(self, proposal: dict[str, Any]) -> int:
        """The browser may still mean a step of the run before: then it is the latest."""
        return int(proposal["value"]) if 0 < proposal["value"] <= len(self._run.steps) else 0

    @traitlets.observe("class_index", "preset", "objective", "regularisation", "length", "start")
    def _on_setting(self, change: dict[str, Any]) -> None:
        if self._quiet:
            return
        self._quiet = True
        try:
            preset = PRESETS[self.preset]
            if change["name"] in ("preset", "objective"):
                self.regularisation = replace(preset, objective=self.objective).weight
            if change["name"] == "preset":
                self.length = preset.steps
        finally:
            self._quiet = False
        self._begin(again=self.state == RUNNING)

    # --- the ascent ---------------------------------------------------------------------------------------------------

    def _new_run(self) -> _Run:
        """All that is needed to climb with what the controls say now; nothing is computed yet."""
        self._count += 1
        recipe = replace(
            PRESETS[self.preset], objective=self.objective, regularisation=self.regularisation, steps=self.length
        )
        shipped = {each.name: each for each in photos()}
        start: Any = self._photo if self.start == YOURS else shipped.get(self.start, self.start)
        label, way = self.classifier.labels[self.class_index], WAYS[self.preset, self.objective]
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
            if self._thread is None:
                with suppress(RuntimeError):  # outside a kernel there is no loop, and Ctrl-C works as ever
                    self._loop = asyncio.get_running_loop()
                self._thread = threading.Thread(target=self._work, name="class model", daemon=True)
                self._thread.start()

    def _work(self) -> None:
        """Climb until nothing more is wanted: the only thread that computes; it sets no trait and waits for nobody."""
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
                # From when it was due, so that steps of any length come to as many pictures a second.
                due = max(due + 1 / PICTURES_A_SECOND, now)
                if self._loop is not None:
                    with suppress(RuntimeError):  # the loop has ended
                        self._loop.call_soon_threadsafe(_listen_for_interrupt)

    # --- to and from the browser --------------------------------------------------------------------------------------

    def _tell_state(self) -> None:
        """Say which run it is, how far and how fast; steps of an earlier run are dropped by its number."""
        self.send({"kind": "state", **self._progress(self._run)})

    def _progress(self, run: _Run) -> dict[str, Any]:
        began, first = run.since
        seconds, steps = time.perf_counter() - began, len(run.steps) - first
        rate = steps / seconds if began and steps and seconds else 0.0
        return {"run": run.number, "about": run.about, "state": run.state, "message": self._said(run), "rate": rate,
                "begun": _begun(run.steps)}  # fmt: skip

    def _tell_steps(self, run: _Run) -> None:
        """Send what is new: the scores of every step and the picture of the last, as bytes that nothing has altered."""
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
        """Send everything again, to a page that has just been opened."""
        run = self._run
        first = 0
        for number in tuple(run.pictured):
            self._send_steps(run, first, run.steps[first:number])
            first = number

    def _on_browser(self, _: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        asked = content.get("do")
        if asked != "hello":
            self._forgive()
        if asked in ("run", "pause", "step", "reset"):
            getattr(self, asked)()
        elif asked == "again":
            self._tell_state()
        elif asked == "find":
            self.find(str(content.get("text", "")))
        elif asked == "upload":
            self._upload(bytes(buffers[0]))
        elif asked == "hello":
            self._tell_state()
            _in_background(self._tell_all)
        elif asked == "film":
            _in_background(lambda: self._send_film(str(content.get("type", "gif"))))

    def _upload(self, content: bytes) -> None:
        try:
            self._photo = open_image(content)
        except (ValueError, TypeError) as error:
            self._refuse(f"{error} The last start stays.")
            return
        if YOURS not in self.starts:
            self.set_trait("starts", [*self.starts, YOURS])
        if self.start == YOURS:
            self._begin(again=self.state == RUNNING)
        self.start = YOURS

    def _send_film(self, kind: str) -> None:
        buffer = io.BytesIO()
        try:
            self.save(buffer, kind)
        except (ValueError, OSError) as error:
            self.send({"kind": "film", "message": str(error)})
            return
        name = f"{self._run.about['label'].replace(' ', '_')}.{kind}"
        self.send({"kind": "film", "name": name, "message": ""}, [buffer.getvalue()])

    # --- where there is no kernel -------------------------------------------------------------------------------------

    def still(self) -> Image.Image:
        """Draw what is looked at, with its class, recipe and step; before the first step the start."""
        run, step = self._run, self.result
        title = f"{run.about['label']} ({run.about['target']}): {run.about['way']}"
        if step is None:
            x = torch.zeros(1, len(self.classifier.mean), *self.classifier.size, device="cpu")
            start = "the zero image, which is the mean colour" if self.start == "zero" else f"start: {self.start}"
            return titled(title, panels((self.classifier.picture(x).convert("RGB"), f"before the first step: {start}")))
        picture = step.picture.convert("RGB")
        stretched = self.contrast == "stretched"
        if stretched:
            picture = figures.stretch_contrast(picture)
        said = f"step {step.number} of {run.recipe.steps}: S_c {step.score:.3g}, P_c {share(step.probability)}"
        said += " (contrast stretched)" * stretched
        return titled(title, panels((picture, f"{said}. {_begun(run.steps)}".strip())))

    def _may_be_saved(self) -> bool:
        return bool(self.start != YOURS)

    def __repr__(self) -> str:
        """Say what is shown, in one line that is the same on every machine."""
        run, step = self._run, self.result
        number = 0 if step is None else step.number
        return f"ClassModelExplorer({run.about['label']!r}, {self.preset!r}, step {number} of {run.recipe.steps})"


def _in_words(recipe: Recipe, way: str) -> str:
    """What a recipe does, so that the two presets are told apart by more than a name."""
    value = "S_c(I)" if recipe.objective == "score" else "P_c(I)"
    text = f"{way[0].upper()}{way[1:]}: J(I) = {value} − λ‖I‖₂²"
    later = [f"jitter ±{recipe.jitter} pixels"] if recipe.jitter else []
    later += ["mirroring at random"] if recipe.mirror else []
    last_blur = recipe.blur if recipe.last_blur is None else recipe.last_blur
    later += [f"{recipe.glances} glances averaged"] if recipe.glances > 1 else []
    later += [f"the gradient to the power of {recipe.power:g}"] if recipe.power != 1 else []
    later += [f"a Gaussian blur of σ {recipe.blur:g} to {last_blur:g} pixels"] if recipe.blur else []
    later += [f"contrast × {recipe.contrast:g} in the last step"] if recipe.contrast != 1 else []
    return f"{text}; not in the paper: {', '.join(later)}." if later else f"{text}, and nothing else."


def _begun(steps: list[Step]) -> str:
    """What has to be said of the start, if it is not what was asked for."""
    noise = steps[0].noise if steps else 0
    return f"The score has no gradient at the start, so noise of σ {noise:g} was added to it." if noise else ""


def _in_background(work: Callable[[], None]) -> None:
    threading.Thread(target=work, daemon=True).start()


def _listen_for_interrupt() -> None:
    """Between two messages an IPython kernel ignores ■, which then pauses every ascent instead."""
    here = threading.current_thread() is threading.main_thread()
    if here and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: _pause_all())


def _pause_all() -> None:
    for each in tuple(_open):
        each.pause()


@atexit.register
def _stop_all() -> None:
    """No thread is left inside the network while the interpreter goes away."""
    for each in tuple(_open):
        each._run.wanted = 0
        each.wait(5)


def class_model(
    image: ImageLike | None = None,
    classifier: Classifier | None = None,
    class_index: ClassLike | None = None,
) -> ClassModelExplorer:
    """Watch arg max over I of S_c(I) − λ‖I‖₂² being climbed, step by step, from the paper's zero image or any other.

    Args:
        image: a start other than zero, whatever `open_image` takes.
        classifier: the network; without one the network that ships with the package.
        class_index: c, an int or what `classifier.find` understands; without one the image's own top-1, and without
            an image the goose of the paper's Figure 1.

    Returns:
        A widget that shows itself as a cell's last line; its `result` is the `Step` that is looked at, its `steps`
        are all of them.

    Raises:
        ValueError: an unknown class, or a bad image.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 2.
    """
    return ClassModelExplorer(image, classifier, class_index)
