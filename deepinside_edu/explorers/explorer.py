"""What every explorer is: a widget on a photo and a classifier, whose one thread always works for the newest wish."""

from __future__ import annotations

import atexit
import threading
import weakref
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import traitlets
from numpy.typing import NDArray
from torch import Tensor

from .. import figures, images
from ..classifier import Classifier, Prediction, check_classifier, ranked
from ..opening import ImageLike, open_image
from ..saliency import ForwardPass, Linearisation, forward_pass
from ..weights import load_classifier
from .settings import Judged, Refused, Told, found, shown
from .widget import Widget

FIRST, YOURS = "red_panda", "your photo"
"""The photo to begin with, and what a learner's own is called."""

LISTED = 10
"""So many classes are offered, best first; any other one is found by the search."""

PAUSE = 0.05
"""In seconds: as long as a page takes to draw what it was told."""

_open: weakref.WeakSet[Explorer] = weakref.WeakSet()


@dataclass(frozen=True, eq=False)
class Source:
    """A photo to look at, equal to itself alone, so that even the same picture once more is a new one."""

    image: ImageLike | Tensor


class Dropped(Exception):  # noqa: N818 - nothing is wrong
    """Something newer is wanted."""


class Explorer(Widget):
    """A widget whose wish is worked on in stages; what is out of date is dropped, never queued.

    A wish is a tuple of what the controls say. Each stage is a method `_<name>(wish)` that depends on a wish's first so
    many entries and runs again when one of those has changed; it may return a text to be said. It computes and tells,
    while the kernel answers other cells, and the thread ends when all that is wanted has been told.

    Attributes:
        photo: the name of a shipped photo, or "your photo" where there is one; `show` takes any other.
    """

    stages: ClassVar[dict[str, int]]
    """In the order in which they are wanted on the screen, and on how many of a wish's first entries each depends."""

    labels = Told().tag(sync=True)
    photos = Told().tag(sync=True)
    photo = Judged("").tag(sync=True)
    palettes = Told().tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        """Nothing is wanted before `_begin`, so that what cannot be shown at all is an ordinary error of this call."""
        self.classifier = load_classifier() if classifier is None else classifier
        first = images.photo(FIRST) if image is None else _opened(image)  # where the two are swapped, it says so
        check_classifier(self.classifier)
        name = first.name if isinstance(first, images.Photo) else YOURS
        self._source = self._own = Source(first)
        self._result: Any = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._wanted: tuple[Any, ...] | None = None
        self._done: dict[str, tuple[Any, ...]] = {}
        self._said: dict[str, str] = {}
        self._sent: dict[str, tuple[dict[str, Any], list[bytes]]] = {}
        self._quiet = True
        super().__init__()
        self.set_trait("labels", list(self.classifier.labels))
        self.set_trait("photos", [each.name for each in images.photos()] + [YOURS] * (name == YOURS))
        self.set_trait("palettes", _palettes())
        self.photo = name
        self.on_msg(self._on_browser)

    def _begin(self) -> None:
        """The explorer is complete: from now on its controls are listened to."""
        self._quiet = False
        _open.add(self)
        self._ask()

    # --- what a learner, a test or the browser asks for ---------------------------------------------------------------

    @property
    def result(self) -> Any:
        """What is shown, when it is done; after an error the last that could be."""
        self.wait()
        return self._result

    @property
    def message(self) -> str:
        """What went wrong last, with the remedy; empty if nothing did."""
        return " ".join(dict.fromkeys(filter(None, self._said.values())))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all that is wanted has been told, or so many seconds; say whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def show(self, image: ImageLike | Tensor) -> None:
        """Look at another photo.

        Args:
            image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`.

        Raises:
            ValueError: a bad image.
            TypeError: no image.
            OSError: a file that cannot be opened; a shipped photo has a name, `explorer.photo = "hens"`.
        """
        opened = _opened(image)
        if isinstance(opened, images.Photo):
            self.photo = opened.name
            return
        self._own = Source(opened)
        if YOURS not in self.photos:
            self.set_trait("photos", [*self.photos, YOURS])
        if self.photo == YOURS:
            self._on_photo()
        self.photo = YOURS

    def close(self) -> None:
        """Stop the work and take the widget away."""
        if hasattr(self, "_changed"):
            with self._changed:
                self._wanted = None
        super().close()

    # --- what an explorer makes of it ---------------------------------------------------------------------------------

    @abstractmethod
    def _wish(self) -> tuple[Any, ...]:
        """What the controls say now."""

    def _do(self, asked: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Do what a control of the explorer's own asks for."""

    def _on_new_photo(self) -> None:
        """Forget what was of the photo before."""

    # --- traits -------------------------------------------------------------------------------------------------------

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take it as one: the thread settles no value between its setting and its being heard of."""
        with self._changed:
            super().set_state(sync_data)

    def _refuse(self, words: str) -> None:
        self._say("setting", words)

    @traitlets.validate("photo")
    def _known_photo(self, proposal: dict[str, Any]) -> str:
        name = proposal["value"].name if isinstance(proposal["value"], images.Photo) else proposal["value"]
        if not isinstance(name, str) or name not in self.photos:
            raise Refused(
                f"no photo is called {shown(name)}; there are {', '.join(self.photos)}. For any other: show(image)."
            )
        return name

    @traitlets.observe("photo")
    def _on_photo(self, _: object = None) -> None:
        with self._changed:
            if not self._quiet:
                self._source = self._own if self.photo == YOURS else Source(images.photo(self.photo))
                self._on_new_photo()
                self._ask()

    # --- the work -----------------------------------------------------------------------------------------------------

    def _ask(self, _: object = None) -> None:
        """Want what the controls say now. Whatever is being worked on is dropped as soon as it can be."""
        with self._changed:
            if self._quiet:
                return
            self._said.pop("setting", None)
            wish = self._wish()
            self._wanted = self._wanted if wish == self._wanted else wish  # what is being worked on goes on
            self._changed.notify_all()
            self._tell("state", busy=True, message=self.message)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=type(self).__name__, daemon=True)
                self._thread.start()

    def _next(self) -> tuple[str, tuple[Any, ...]] | None:
        """The first stage whose last outcome is not of the newest wish; none is left when all are."""
        wish = self._wanted
        if wish is not None:
            for stage, depends in self.stages.items():
                if self._done.get(stage) != wish[:depends]:
                    return stage, wish
        return None

    def _work(self) -> None:
        """Take one stage after another, always for the newest wish: the only thread that computes."""
        while True:
            with self._changed:
                upcoming = self._next()
                if upcoming is None:
                    self._thread = None
                    self._tell("state", busy=False, message=self.message)
                    self._changed.notify_all()
                    return
            stage, wish = upcoming
            try:
                said = getattr(self, f"_{stage}")(wish) or ""
            except Dropped:
                continue
            except Exception as error:  # the thread must live, and the learner must know
                said = self._in_words_of(error) + (" The last result stays." if self._result is not None else "")
            with self._changed:
                self._said[stage] = said
                self._done[stage] = wish[: self.stages[stage]]

    def _in_words_of(self, error: Exception) -> str:
        words = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return words if words.endswith((".", "?", "!", "…")) else f"{words}."

    def _drop_if_old(self, wish: tuple[Any, ...]) -> None:
        """Between two parts of long work: leave it if something newer is wanted."""
        if self._wanted is not wish:
            raise Dropped

    def _pause(self, wish: tuple[Any, ...]) -> None:
        """A stage: the page draws what it was told before work that takes every core begins; a newer wish ends it."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is not wish, PAUSE)

    def _settle(self, wish: tuple[Any, ...], **values: Any) -> None:
        """Let controls follow what was found out for this wish, if it is still the newest; that wants nothing."""
        with self._changed:
            if self._wanted is wish:
                with self._quietly():
                    for name, value in values.items():
                        self.set_trait(name, value)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Set traits without asking for another computation."""
        with self._changed:
            before, self._quiet = self._quiet, True
            try:
                yield
            finally:
                self._quiet = before

    # --- to and from the browser --------------------------------------------------------------------------------------

    def _tell(self, kind: str, *arrays: Tensor | NDArray[Any], **content: Any) -> None:
        """Send arrays as raw bytes, nothing altered, and keep them for a page that is opened later."""
        buffers = [(a.cpu().contiguous().numpy() if isinstance(a, Tensor) else a).tobytes() for a in arrays]
        with self._changed:
            self._sent[kind] = {"kind": kind, **content}, buffers
            self.send(*self._sent[kind])

    def _say(self, about: str, text: str) -> None:
        with self._changed:
            self._said[about] = text
            self._tell("state", busy=self._thread is not None, message=self.message)

    def _on_browser(self, _: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        asked = str(content.get("do"))
        if asked == "hello":  # a page has just been opened
            with self._changed:
                for message in tuple(self._sent.values()):
                    self.send(*message)
            return
        try:
            if asked == "upload":
                self.show(bytes(buffers[0]))
            else:
                self._do(asked, content, buffers)
                self._ask()  # the page waits for an answer, even if nothing has changed
        except (ValueError, TypeError, OSError) as error:
            self._say("setting", f"{error} The last {'photo' if asked == 'upload' else 'setting'} stays.")

    # --- where there is no kernel -------------------------------------------------------------------------------------

    def _may_be_saved(self) -> bool:
        """Wait until all is done. After an error the photo before is still on show, and that one may be a learner's."""
        self.wait()
        return self.photo != YOURS and (YOURS not in self.photos or not self.message)


class ClassExplorer(Explorer):
    """An explorer of one class's score: a new photo chooses the class that the network puts first, until one is chosen.

    Its wish begins with (source, class index or none), its stages with "rank": 1.

    Attributes:
        class_index: c, an int; can be set to what `classifier.find` understands, a name too.
    """

    class_index = Judged(0).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        """Score the first photo, so that a network that cannot is an ordinary error of this call."""
        super().__init__(image, classifier)
        self._chosen: int | None = None
        self._prepared: tuple[Source, Tensor] | None = None
        self._run: ForwardPass | None = None
        self._rank((self._source,))
        self._done["rank"] = (self._source,)
        self.class_index = self._ranking[0].class_index

    def _do(self, asked: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        if asked == "find":
            self.class_index = self.classifier.find(str(content.get("text", "")))

    def _on_new_photo(self) -> None:
        self._chosen = None

    @traitlets.validate("class_index")
    def _known_class(self, proposal: dict[str, Any]) -> int:
        return found(self.classifier, proposal["value"])

    @traitlets.observe("class_index")
    def _on_class(self, change: dict[str, Any]) -> None:
        with self._changed:
            if not self._quiet:
                self._chosen = change["new"]  # by now the thread may have settled what an older wish is about
                self._ask()

    def _rank(self, wish: tuple[Any, ...]) -> None:
        """All classes of the photo, best first; the run is kept for the first class's line."""
        run = forward_pass(self.classifier, self._x(wish[0]))
        self._ranking = ranked(run.scores[0], self.classifier.labels, len(self.classifier.labels))
        self._tell("classes", listed=[(each.class_index, each.score) for each in self._ranking[:LISTED]])
        self._run = run

    def _x(self, source: Source) -> Tensor:
        """I₀, prepared once a photo."""
        if self._prepared is None or self._prepared[0] is not source:
            self._prepared, self._run = (source, self.classifier.prepare(source.image)), None
        return self._prepared[1]

    def _line(self, wish: tuple[Any, ...], class_index: int) -> Linearisation:
        """One class's line at I₀: a backward pass and, but for the first class of a photo, a forward pass before it."""
        x = self._x(wish[0])
        run, self._run = self._run or forward_pass(self.classifier, x), None  # a run holds as much as the network made
        return run.linearise(class_index, keep=False)

    def _prediction(self, wish: tuple[Any, ...]) -> Prediction:
        """The class that is wanted: its index, label, score and probability."""
        return next((each for each in self._ranking if each.class_index == wish[1]), self._ranking[0])


def _palettes() -> bytes:
    """The colours of `figures`, for the browser: 256 from 0 up, then 255 from below 0 to above."""
    heat = figures.heat_map(np.arange(256)[None], peak=1.0)
    signed = figures.signed_picture(np.linspace(-1, 1, 255)[None])
    return heat.tobytes() + signed.tobytes()


def _opened(image: ImageLike | Tensor) -> ImageLike | Tensor:
    return image if isinstance(image, Tensor | images.Photo) else open_image(image)


@atexit.register
def _stop_all() -> None:
    """No thread is left inside a network while the interpreter goes away."""
    for each in tuple(_open):
        each._wanted = None
        each.wait(5)
