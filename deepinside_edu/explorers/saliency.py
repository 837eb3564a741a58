"""Explore a saliency map: choose a photo, a class, one crop or ten, and lay the map over the photo."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from .. import figures
from ..classifier import Classifier, Prediction, load_classifier
from ..saliency import linearise, max_abs, saliency_map
from .photo_chooser import LONGEST_SIDE, PhotoChooser, png

LISTED = 10
"""So many classes are offered, best first; any other one is found by the search."""

STILL_HEIGHT = 150
"""Of the still picture that stands in for the widget where there is no kernel, in pixels."""


@dataclass(frozen=True, eq=False)
class SaliencyResult:
    """What the explorer shows, to go on with in a cell.

    Attributes:
        prediction: the class: index, label, score, probability.
        saliency: the map M, `(H, W)` float32, of one crop or averaged over ten.
        w: ∂S_c/∂I of the whole picture, `(1, C, H, W)`; with one crop M is max |w| over its channels.
        crops: 1 or 10.
    """

    prediction: Prediction
    saliency: NDArray[np.float32]
    w: Tensor
    crops: int

    def __repr__(self) -> str:
        """Name the class and the number of crops."""
        return f"SaliencyResult({self.prediction.label!r}, crops={self.crops}, map {self.saliency.shape})"


class SaliencyExplorer(ipywidgets.VBox):  # type: ignore[misc]
    """Photo, map and overlay of one class; the traits hold what the controls show, `result` what was computed.

    Attributes:
        class_index: c, an int; setting it computes anew.
        crops: 1 or 10; setting it computes anew.
        strength: of the overlay, 0 (photo alone) to 1 (map alone).
        image_name: of the photo that is shown.
        result: a `SaliencyResult`, always of what is on the screen.
    """

    class_index = traitlets.Int()
    crops = traitlets.Enum((1, 10), default_value=1)
    strength = traitlets.Float(0.6, min=0, max=1)
    image_name = traitlets.Unicode(read_only=True)
    result = traitlets.Instance(SaliencyResult, read_only=True)

    def __init__(self, image: object = None, classifier: Classifier | None = None) -> None:
        """Compute the first map, so that what cannot be shown at all is an ordinary error of this call."""
        self.classifier = load_classifier() if classifier is None else classifier
        if not isinstance(self.classifier, Classifier):
            raise TypeError(
                f"expected a Classifier, got {type(classifier).__name__}. "
                "Use load_classifier(), or wrap your own network: Classifier(network, labels)."
            )
        self._quiet = False
        self._uploaded = False
        self._make_controls(image)
        self._image: Image.Image = self.chooser.image
        self._ranking: tuple[Prediction, ...] = ()
        third = ipywidgets.Layout(width="33%", max_width="320px")
        super().__init__([
            self.chooser,
            ipywidgets.HBox([self.listed, self.search]),
            ipywidgets.HBox([self.crops_choice, self.strength_slider]),
            self.message,
            self.caption,
            ipywidgets.HBox([
                ipywidgets.VBox([ipywidgets.HTML(title), view], layout=third)
                for title, view in zip(("photo", "map", "overlay"), self.views, strict=True)
            ]),
        ])  # fmt: skip
        self._compute(self._image, None)
        traitlets.link((self, "strength"), (self.strength_slider, "value"))
        traitlets.link((self, "crops"), (self.crops_choice, "value"))
        self.chooser.observe(lambda _: self._choose_photo(), "image")
        self.listed.observe(lambda _: self._choose_listed(), "value")
        self.search.observe(lambda _: self._choose_searched(), "value")
        self.observe(lambda _: self._choose(), ["class_index", "crops"])
        self.observe(lambda _: self._paint_overlay(), "strength")

    def _make_controls(self, image: object) -> None:
        self.chooser = PhotoChooser(image)
        self.listed = ipywidgets.Dropdown(options=[("", -1)], description="class")
        self.search = ipywidgets.Text(
            description="or search", placeholder="koala, 105, n01882714", continuous_update=False
        )
        self.crops_choice = ipywidgets.Dropdown(options=[("one", 1), ("ten", 10)], value=1, description="crops")
        self.strength_slider = ipywidgets.FloatSlider(self.strength, min=0, max=1, step=0.05, description="overlay")
        self.message, self.caption = ipywidgets.HTML(), ipywidgets.HTML()
        width = ipywidgets.Layout(width="100%")
        self.views = tuple(ipywidgets.Image(format="png", layout=width) for _ in range(3))

    @traitlets.validate("class_index")
    def _known_class(self, proposal: dict[str, Any]) -> int:
        try:
            return self.classifier.find(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Let controls follow the state without asking for another computation."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _choose_photo(self) -> None:
        if self._compute(self.chooser.image, None):
            self._uploaded = self.chooser.image_name not in {name for _, name in self.chooser.shipped.options}

    def _choose_listed(self) -> None:
        if not self._quiet:
            self.class_index = self.listed.value

    def _choose_searched(self) -> None:
        if self._quiet or not self.search.value.strip():
            return
        try:
            found = self.classifier.find(self.search.value)
        except ValueError as error:
            self._say(f"{error} The last class stays.")
            return
        self._say_what_holds()
        self.search.value = ""  # the same text can then be searched again
        self.class_index = found

    def _choose(self) -> None:
        if not self._quiet:
            self._compute(self._image, self.class_index)

    def _compute(self, image: Image.Image, class_index: int | None) -> bool:
        """Compute everything for a photo and a class (none: the first one), or say why not and keep the last state."""
        try:
            new_photo = not self._ranking or image is not self._image
            ranking = self.classifier.top(image, len(self.classifier.labels)) if new_photo else self._ranking
            prediction = next((p for p in ranking if p.class_index == class_index), ranking[0])
            w = linearise(self.classifier, self.classifier.prepare(image), prediction.class_index).w
            m = (
                max_abs(w)[0].cpu().numpy() if self.crops == 1
                else saliency_map(self.classifier, image, prediction.class_index, self.crops)
            )  # fmt: skip
        except (ValueError, TypeError, ConnectionError) as error:
            if not self._ranking:
                raise
            with self._quietly():
                self.class_index, self.crops = self.result.prediction.class_index, self.result.crops
                self._show_classes()
            self._say(f"{error} The last map stays.")
            return False
        self._image, self._ranking = image, ranking
        self._shown = image.copy()
        self._shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        with self._quietly():
            self.class_index = prediction.class_index
            self.set_trait("image_name", self.chooser.image_name if new_photo else self.image_name)
            self.set_trait("result", SaliencyResult(prediction, m, w, self.crops))
            self._show_classes()
            self.search.value = ""  # a text that found nothing is about the state before
        self._say_what_holds()
        self._paint()
        return True

    def _show_classes(self) -> None:
        """List the first classes of the photo, and the chosen one if it is none of them."""
        listed = list(self._ranking[:LISTED])
        if all(p.class_index != self.class_index for p in listed):
            listed += [p for p in self._ranking if p.class_index == self.class_index]
        # options and value in one message: a drop-down that has lost its value would choose its first option.
        with self.listed.hold_sync():
            self.listed.options = [(f"{p.label} ({p.score:.1f})", p.class_index) for p in listed]
            self.listed.value = self.class_index

    def _say(self, text: str) -> None:
        self.message.value = f"<b>{html.escape(text)}</b>" if text else ""

    def _say_what_holds(self) -> None:
        zeros = "The map is all zeros: the network holds this score at 0, and no small change lifts it."
        self._say("" if self.result.saliency.any() else zeros)

    def _paint(self) -> None:
        p = self.result.prediction
        self.caption.value = html.escape(f"{p.label}: score {p.score:.1f}, probability {p.probability:.3f}")
        heat = figures.heat_map(self.result.saliency).resize(self._shown.size, Image.Resampling.BILINEAR)
        self.views[0].value, self.views[1].value = png(self._shown), png(heat)
        self._paint_overlay()

    def _paint_overlay(self) -> None:
        self.views[2].value = png(figures.overlay(self._shown, self.result.saliency, self.strength))

    def __repr__(self) -> str:
        """Say what is shown, in one line that is the same on every machine."""
        return f"SaliencyExplorer({self.image_name!r}, {self.result.prediction.label!r}, crops={self.crops})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        """Add a still picture of the state for a reader without a kernel; never of a photo that was uploaded."""
        bundle: dict[str, Any] | None = super()._repr_mimebundle_(**kwargs)
        if bundle is not None and not self._uploaded:
            views = [Image.open(io.BytesIO(view.value)) for view in self.views]
            width = round(STILL_HEIGHT * self._shown.width / self._shown.height)
            strip = Image.new("RGB", (3 * width, STILL_HEIGHT))
            for column, view in enumerate(views):
                strip.paste(view.resize((width, STILL_HEIGHT)), (column * width, 0))
            buffer = io.BytesIO()
            strip.quantize(256).save(buffer, "png", optimize=True)
            bundle["image/png"] = base64.b64encode(buffer.getvalue()).decode()
        return bundle


def saliency(image: object = None, classifier: Classifier | None = None) -> SaliencyExplorer:
    """Explore M_ij = max_c |∂S_c/∂I_ijc|: photo, map and overlay of any class, from one crop or ten.

    Args:
        image: whatever `open_image` takes; without one the first of the shipped photos.
        classifier: the network; without one the network that ships with the package.

    Returns:
        A widget that shows itself as a cell's last line; its `result` holds class, map and w.

    Raises:
        ValueError: a bad image.
        TypeError: no image, or no `Classifier`.
    """
    return SaliencyExplorer(image, classifier)
