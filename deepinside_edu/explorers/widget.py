"""What every explorer is: a classifier, a photo, one thread, a page to talk to, and a still picture without a kernel.

Without a kernel each kind of page fails in its own way: JupyterLab prefers a widget that it does not know to the
picture beside it, an exported page leaves the widget's place empty. So a cell shows three outputs that do not depend on
each other: a sentence, the picture, and the widget, whose browser half hides the first two as soon as a kernel answers.
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
from .settings import Told
from .stills import DESCRIPTION, saved

YOURS = "your photo"
"""What a learner's own photo is called."""

VIEW = "application/vnd.jupyter.widget-view+json"

# JupyterLab's "Error displaying widget: model not found" is a text without elements, two rows below the sentence's.
STYLE = (
    "<style>.jp-OutputArea-child:has(.deepinside-still) + * + * > .jp-OutputArea-output:not(:has(*)) "
    "{ display: none }</style>"
)


def share(probability: float) -> str:
    """A probability in three figures; what is nearly 0 or 1 is not said to be 0 or 1."""
    return "> 0.999" if probability > 0.9995 else "< 0.001" if probability < 0.0005 else f"{probability:.3f}"


def in_words(prediction: Prediction) -> str:
    """A class with its score and its probability."""
    p = share(prediction.probability)
    values = prediction._asdict() | {"probability": p if p[0] in "<>" else f"= {p}"}
    return say("class.in_words", **values)


def error_in_words(error: Exception) -> str:
    """An error as a sentence; one that is not about an input has its kind before it."""
    words = f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return words if words.endswith((".", "?", "!", "…")) else f"{words}."


@dataclass(frozen=True, eq=False)
class Source:
    """A photo to look at, equal to itself alone, so that even the same picture once more is a new one."""

    image: ImageLike | Tensor

    @property
    def name(self) -> str:
        """The name of a shipped photo, or "your photo"."""
        return self.image.name if isinstance(self.image, images.Photo) else YOURS


open_widgets: weakref.WeakSet[Widget] = weakref.WeakSet()


class Widget(anywidget.AnyWidget):
    """An anywidget on a photo and a classifier: it refuses in words, and its saved notebook is read without a kernel.

    Cells and the page set traits. The worker, one thread, computes and tells the page. It cannot set a trait, which
    `settings.Setting` enforces, except quietly, where it settles what it has found out.
    """

    stays: ClassVar[dict[str, str]] = {"upload": "photo"}
    """What stays as it was if a request of the page is refused, by its name in the texts; as a rule the setting."""

    labels = Told().tag(sync=True)
    photos = Told().tag(sync=True)
    photo: Any
    class_index: Any

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        """Open the photo, if there is one; a subclass is quiet until it is complete."""
        self.classifier = load_classifier() if classifier is None else classifier
        self._own = None if image is None else Source(_opened(image))  # where the two are swapped, it says so
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

    # --- what a learner or a test asks for ----------------------------------------------------------------------------

    @property
    def message(self) -> str:
        """What went wrong last, with the remedy; empty if nothing did."""
        return " ".join(dict.fromkeys(filter(None, (*self._complaints(), self._refused))))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the worker has nothing left to do, or so many seconds; say whether that is so."""
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

    # --- what each explorer makes of it -------------------------------------------------------------------------------

    @abstractmethod
    def _complaints(self) -> Iterable[str]:
        """What went wrong in the work, as sentences."""

    @abstractmethod
    def _on_photo(self, _: object = None) -> None:
        """Begin with the photo that is chosen now."""

    def _find(self, text: str) -> None:
        """Choose the class that this text names."""
        self.class_index = text

    def _do(self, asked: str, content: dict[str, Any], buffers: list[memoryview]) -> None:
        """Do what a control of the explorer's own asks for."""

    def _answer(self, asked: str) -> None:
        """Answer a page that has asked for something, even if nothing has changed."""
        self._tell_state()

    @abstractmethod
    def _tell_state(self) -> None:
        """Tell the page how the work is going and what went wrong."""

    @abstractmethod
    def _tell_all(self) -> None:
        """Tell everything again, to a page that has just been opened."""

    @abstractmethod
    def _work(self) -> None:
        """Do all that is wanted: the only thread that computes."""

    @abstractmethod
    def _stop(self) -> None:
        """Want nothing more, so that the worker ends as soon as it can."""

    @abstractmethod
    def still(self) -> Image.Image:
        """Draw the state as one picture with captions, for a page without a kernel."""

    def _may_be_saved(self) -> bool:
        """Say whether the still picture may be in a notebook: never if a photo that was uploaded is on it."""
        return bool(self.photo != YOURS)

    # --- the worker ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        """Have the worker go on, or begin."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=type(self).__name__, daemon=True)
                self._thread.start()

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Set traits without wanting anything because of it."""
        with self._changed:
            before, self._quiet = self._quiet, True
            try:
                yield
            finally:
                self._quiet = before

    # --- to and from the browser --------------------------------------------------------------------------------------

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends as one; what is refused is said in the widget, and its controls go back.

        The worker settles no value between the setting of another and its observers.
        """
        with self._changed:
            self._forgive()
            try:
                super().set_state(sync_data)
            except traitlets.TraitError as error:
                self._refuse(f"{error} {say('stays.setting')}")
                self.send_state([name for name in sync_data if self.has_trait(name)])

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send to the browser, unless the kernel is going away."""
        with suppress(RuntimeError):  # zmq's, from then on
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
        """Say in the widget what was refused, until the next action."""
        with self._changed:
            self._refused = words
            self._tell_state()

    def _forgive(self) -> None:
        if self._refused:
            self._refuse("")

    # --- where there is no kernel -------------------------------------------------------------------------------------

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Give a page that takes but one output the widget and the still picture in one."""
        bundle: Any = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle
        if self._may_be_saved():
            still = self.still()
            data["image/png"] = base64.b64encode(saved(still)).decode()
            metadata["image/png"] = {"alt": still.info[DESCRIPTION]}
        return data, metadata

    def _ipython_display_(self) -> None:
        """Show a sentence, the still picture and the widget, as three outputs."""
        if self._repr_mimebundle_ is None:  # ipywidgets takes it away when a widget is closed
            outputs: list[tuple[dict[str, Any], dict[str, Any]]] = [({"text/plain": repr(self)}, {})]
        else:
            data, metadata = self._repr_mimebundle_()
            words = say("cell.still") if "image/png" in data else say("cell.not_saved")
            # The widget has an empty text for whoever cannot draw it, so that nobody complains.
            view = {VIEW: data.pop(VIEW), "text/plain": ""}
            html = f'<p class="deepinside-still">{STYLE}{words}</p>'
            outputs = [({"text/html": html, "text/plain": words}, {}), (data, metadata), (view, {})]
        for output, about in outputs:
            display(output, metadata=about, raw=True)  # type: ignore[no-untyped-call]


def _opened(image: ImageLike | Tensor) -> ImageLike | Tensor:
    return image if isinstance(image, Tensor | images.Photo) else open_image(image)


@atexit.register
def _stop_all() -> None:
    """No thread is left inside a network while the interpreter goes away."""
    for each in tuple(open_widgets):
        each._stop()
        each.wait(5)
