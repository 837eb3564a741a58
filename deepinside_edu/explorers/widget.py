"""What every explorer is to a page: a widget that refuses in plain words, and a still picture where no kernel answers.

Without a kernel each kind of page fails in its own way: JupyterLab prefers a widget that it does not know to the
picture beside it, an exported page leaves the widget's place empty. So a cell shows three outputs that do not depend on
each other: a sentence, the picture, and the widget, whose browser half hides the first two as soon as a kernel answers.
"""

from __future__ import annotations

import base64
from abc import abstractmethod
from contextlib import suppress
from typing import Any

import anywidget
import traitlets
from IPython.display import display
from PIL import Image

from ..classifier import Prediction
from .stills import DESCRIPTION, saved

VIEW = "application/vnd.jupyter.widget-view+json"

SENTENCE = "Still picture. Run this cell to bring the explorer alive."
NOT_SAVED = "A photo of yours is not saved in the notebook. Run this cell to see it here."

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
    name, p = f"{prediction.label} ({prediction.class_index})", share(prediction.probability)
    return f"{name}: score S_c = {prediction.score:.3g}, probability P_c {p if p[0] in '<>' else f'= {p}'}"


class Widget(anywidget.AnyWidget):
    """An anywidget that says what it refuses, and whose saved notebook can be read without a kernel."""

    @abstractmethod
    def still(self) -> Image.Image:
        """Draw the state as one picture with captions, for a page without a kernel."""

    @abstractmethod
    def _may_be_saved(self) -> bool:
        """Say whether the still picture may be in a notebook: never if a photo that was uploaded is on it."""

    @abstractmethod
    def _refuse(self, words: str) -> None:
        """Say in the widget what was refused, until the next action."""

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the browser sends; what is refused is said in the widget, and its controls go back."""
        try:
            super().set_state(sync_data)
        except traitlets.TraitError as error:
            self._refuse(f"{error} The last setting stays.")
            self.send_state([name for name in sync_data if self.has_trait(name)])

    def send(self, content: Any, buffers: Any = None) -> None:
        """Send to the browser, unless the kernel is going away."""
        with suppress(RuntimeError):  # zmq's, from then on
            super().send(content, buffers)

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
            words = SENTENCE if "image/png" in data else NOT_SAVED
            # The widget has an empty text for whoever cannot draw it, so that nobody complains.
            view = {VIEW: data.pop(VIEW), "text/plain": ""}
            html = f'<p class="deepinside-still">{STYLE}{words}</p>'
            outputs = [({"text/html": html, "text/plain": words}, {}), (data, metadata), (view, {})]
        for output, about in outputs:
            display(output, metadata=about, raw=True)  # type: ignore[no-untyped-call]
