"""What every explorer has: a classifier, a photo, one worker thread, a page, and a still picture without a kernel.

Without a kernel each kind of page fails in its own way. JupyterLab prefers a widget that it does not know to the
picture beside it; an exported page leaves the widget's place empty. For this reason a cell shows three outputs that do
not depend on each other: a sentence, the picture, and the widget, whose browser half hides the first two as soon as a
kernel answers.
"""

from __future__ import annotations

import atexit
import base64
import threading
import weakref
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

import anywidget
import traitlets
from IPython.display import display
from PIL import Image
from torch import Tensor

from .. import images
from ..classifier import Classifier, Prediction, check_classifier
from ..opening import ImageLike, open_image
from ..weights import load_classifier
from .language import say
from .settings import ReadOnly
from .stills import DESCRIPTION, saved

YOURS = "your photo"
"""The name of a learner's own photo."""

VIEW = "application/vnd.jupyter.widget-view+json"

# JupyterLab's "Error displaying widget: model not found" is a text without elements, two rows below the sentence.
STYLE = (
    "<style>.jp-OutputArea-child:has(.deepinside-still) + * + * > .jp-OutputArea-output:not(:has(*)) "
    "{ display: none }</style>"
)


def share(probability: float) -> str:
    """A probability to three decimals; a value near 0 or 1 is not rounded to it."""
    return "> 0.999" if probability > 0.9995 else "< 0.001" if probability < 0.0005 else f"{probability:.3f}"


def in_words(prediction: Prediction) -> str:
    """A class with its score and its probability, as a caption."""
    p = share(prediction.probability)
    values = prediction._asdict() | {"probability": p if p[0] in "<>" else f"= {p}"}
    return say("class.in_words", **values)


def error_in_words(error: Exception) -> str:
    """An error as a sentence; its type comes first unless it is about an input."""
    words = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return words if words.endswith((".", "?", "!", "…")) else f"{words}."


@dataclass(frozen=True, eq=False)
class Source:
    """A photo to look at. It equals only itself, so the same picture given again counts as a new photo."""

    image: ImageLike | Tensor

    @property
    def name(self) -> str:
        """The name of a shipped photo, or "your photo"."""
        return self.image.name if isinstance(self.image, images.Photo) else YOURS


open_widgets: weakref.WeakSet[Widget] = weakref.WeakSet()


class Widget(anywidget.AnyWidget):
    """An anywidget on a photo and a classifier; a saved notebook shows its still picture without a kernel.

    Cells and the page set traits. The worker, one thread, computes and tells the page. It cannot set a trait
    (`settings.Setting` enforces that), except quietly, when a control follows what was found.

    Attributes:
        photo: the name of a shipped photo, or "your photo" where there is one; `show` takes any other.
        class_index: c, an int; can be set to what `classifier.find` understands, a name too.
    """

    stays: ClassVar[dict[str, str]] = {"upload": "photo"}
    """For each request of the page, what stays as it was when the request is refused; otherwise the setting."""

    labels = ReadOnly().tag(sync=True)
    photos = ReadOnly().tag(sync=True)
    photo: Any
    class_index: Any

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        """Open the photo, if there is one; the widget stays quiet until a subclass is complete."""
        self.classifier = load_classifier() if classifier is None else classifier
        self._own = None if image is None else Source(_opened(image))  # says so if the two arguments are swapped
        check_classifier(self.classifier)
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._quiet, self._refused = True, ""
        super().__init__()
        self.set_trait("labels", list(self.classifier.labels))
        own = [YOURS] if self._own is not None and self._own.name == YOURS else []
        self.set_trait("photos", [each.name for each in images.photos()] + own)
        self.on_msg(self._on_browser)
        open_widgets.add(self)

    @property
    def message(self) -> str:
        """The last problem, with its remedy; empty if there is none."""
        return " ".join(dict.fromkeys(filter(None, (*self._complaints(), self._refused))))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker is idle, at most `timeout` seconds; return whether it is idle."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, timeout)

    def show(self, image: ImageLike | Tensor) -> None:
        """Look at another photo.

        Args:
            image: anything that `open_image` takes, or a prepared tensor `(1, C, H, W)`.

        Raises:
            ValueError: a bad image.
            TypeError: no image.
            OSError: a file that cannot be opened; a shipped photo has a name, `explorer.photo = "hens"`.
        """
        source = Source(_opened(image))
        if source.name != YOURS:
            self.photo = source.name
            return
        self._own = source
        if YOURS not in self.photos:
            self.set_trait("photos", [*self.photos, YOURS])
        if self.photo == YOURS:
            self._on_photo()
        self.photo = YOURS

    def close(self) -> None:
        """Stop the work and take the widget away."""
        if hasattr(self, "_changed"):
            self._stop()
        super().close()

    @abstractmethod
    def __repr__(self) -> str:
        """Describe what is shown, in one line that is the same on every machine."""

    @abstractmethod
    def still(self) -> Image.Image:
        """Draw the state as one picture with captions, for a page without a kernel."""

    @abstractmethod
    def _complaints(self) -> Iterable[str]:
        """The problems of the work, as sentences."""

    @abstractmethod
    def _on_photo(self, _: object = None) -> None:
        """Begin with the photo that is now chosen."""

    def _find(self, text: str) -> None:
        """Choose the class that this text names."""
        self.class_index = text

    def _do(self, asked: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Do what a control that only this explorer has asks for."""

    def _answer(self, asked: str) -> None:
        """Answer a request of the page, even if nothing has changed."""
        self._tell_state()

    @abstractmethod
    def _tell_state(self) -> None:
        """Tell the page whether the work goes on, and the message."""

    @abstractmethod
    def _tell_all(self) -> None:
        """Tell everything again to a page that has just opened."""

    @abstractmethod
    def _work(self) -> None:
        """Do all that is wanted, in the only thread that computes."""

    @abstractmethod
    def _stop(self) -> None:
        """Want nothing more, so that the worker ends as soon as it can."""

    def _may_be_saved(self) -> bool:
        """Whether a notebook may store the still picture: never one that shows a learner's own photo."""
        return bool(self.photo != YOURS)

    def _start(self) -> None:
        """Start the worker unless it runs."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=type(self).__name__, daemon=True)
                self._thread.start()

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Set traits without asking for new work."""
        with self._changed:
            before, self._quiet = self._quiet, True
            try:
                yield
            finally:
                self._quiet = before

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take all values that the browser sends together; the widget shows a refusal, and its controls go back.

        Under the lock, so that the worker cannot settle a value between an assignment and its observer.
        """
        with self._changed:
            self._forgive()
            try:
                super().set_state(sync_data)
            except traitlets.TraitError as error:
                self._refuse(f"{error} {say('stays.setting')}")
                self.send_state([name for name in sync_data if self.has_trait(name)])

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send to the browser, unless the kernel is shutting down."""
        with suppress(RuntimeError):  # zmq raises it from then on
            super().send(content, buffers)

    def _on_browser(self, _: object, content: dict[str, Any], buffers: list[memoryview]) -> None:
        asked = str(content.get("do"))
        if asked == "hello":
            self._tell_all()
            return
        self._forgive()
        try:
            if asked == "upload":
                self.show(bytes(buffers[0]))
            elif asked == "find":
                self._find(str(content.get("text", "")))
            else:
                self._do(asked, content, buffers)
        except (ValueError, TypeError, OSError) as error:
            stays = self.stays.get(asked, "setting")
            self._refuse(f"{error} {say(f'stays.{stays}')}")
        else:
            self._answer(asked)

    def _refuse(self, words: str) -> None:
        """Show in the widget what was refused, until the next action."""
        with self._changed:
            self._refused = words
            self._tell_state()

    def _forgive(self) -> None:
        if self._refused:
            self._refuse("")

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget and the still picture together, for a page that takes only one output."""
        bundle: Any = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle
        if self._may_be_saved():
            still = self.still()
            data["image/png"] = base64.b64encode(saved(still)).decode()
            metadata["image/png"] = {"alt": still.info[DESCRIPTION]}
        return data, metadata

    def _ipython_display_(self) -> None:
        """Show a sentence, the still picture and the widget, as three outputs."""
        if self._repr_mimebundle_ is None:  # ipywidgets removes it when a widget is closed
            outputs: list[tuple[dict[str, Any], dict[str, Any]]] = [({"text/plain": repr(self)}, {})]
        else:
            data, metadata = self._repr_mimebundle_()
            words = say("cell.still") if "image/png" in data else say("cell.not_saved")
            # A page that cannot draw the widget shows its empty text and no complaint.
            view = {VIEW: data.pop(VIEW), "text/plain": ""}
            html = f'<p class="deepinside-still">{STYLE}{words}</p>'
            outputs = [({"text/html": html, "text/plain": words}, {}), (data, metadata), (view, {})]
        for output, about in outputs:
            display(output, metadata=about, raw=True)  # type: ignore[no-untyped-call]


def _opened(image: ImageLike | Tensor) -> ImageLike | Tensor:
    return image if isinstance(image, Tensor | images.Photo) else open_image(image)


@atexit.register
def _stop_all() -> None:
    """Leave no thread inside a network while the interpreter shuts down."""
    for each in tuple(open_widgets):
        each._stop()
        each.wait(5)
