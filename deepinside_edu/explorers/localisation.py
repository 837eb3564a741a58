"""Turn every knob between the map and the box, and see map, seeds, cut and box change."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections import OrderedDict
from typing import Any

import ipywidgets
import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image

from .. import figures
from ..classifier import Classifier, Prediction, load_classifier
from ..graph_cut import SMOOTHNESS
from ..images import Box, photo, photos
from ..localise import BLUR, Localisation, box_iou, segment
from ..saliency import saliency_map
from .photo_chooser import PhotoChooser, png

PANEL_WIDTH, PANEL_HEIGHT = 200, 200
"""Each of the four pictures is shown no larger than this, in pixels: four fit beside Lab's file browser."""

MAPS_KEPT = 64
"""Maps of 200 KB each: all classes and crops that a learner is likely to come back to."""

STEPS = ["foreground", "background", "blur", "components", "smoothness", "hard_seeds", "crops", "class_index"]


class LocalisationExplorer(ipywidgets.VBox):  # type: ignore[misc]
    """Map, seeds, cut and box of one class in one photo, with every choice on a slider.

    A map is computed once for each photo, class and number of crops; all later steps start from it.

    Attributes:
        image: the photo; any new one is localised at once, for the class that the network puts first.
        class_index: c.
        foreground: quantile of the map above which pixels are foreground seeds, 0.5 to 0.995.
        background: quantile below which they are background seeds, 0.05 to 0.9.
        blur: of the map before the quantiles, 0 (as in the paper) to 6 pixels.
        components: of each colour mixture, 1 to 8.
        smoothness: λ of the cut, 0 to 200 nats.
        hard_seeds: whether the seeds also bind the cut.
        crops: 1 or 10 maps to average.
        result: a `Localisation` with everything that is on show; after an error still the one before.
        true_boxes: of the result's photo if it is a shipped one, in its pixels; empty for other photos.
        iou: the best IoU of the box with a true box, or none.
    """

    image = traitlets.Instance(Image.Image)
    class_index = traitlets.Int()
    foreground = traitlets.Float(0.95, min=0.5, max=0.995)
    background = traitlets.Float(0.30, min=0.05, max=0.9)
    blur = traitlets.Float(BLUR, min=0.0, max=6.0)
    components = traitlets.Int(5, min=1, max=8)
    smoothness = traitlets.Float(SMOOTHNESS, min=0.0, max=200.0)
    hard_seeds = traitlets.Bool(False)
    crops = traitlets.Enum((1, 10), 10)
    result = traitlets.Instance(Localisation, allow_none=True)
    true_boxes = traitlets.Tuple()
    iou = traitlets.Float(None, allow_none=True)

    def __init__(self, image: object = None, classifier: Classifier | None = None) -> None:
        """Build the widget on a photo (whatever `open_image` takes) and a classifier, or on the shipped ones."""
        self.classifier = classifier or load_classifier()
        self._maps: OrderedDict[tuple[bytes, int, int], NDArray[np.float32]] = OrderedDict()
        self._settling = True  # observers wait until all of a new state is in place
        self.chooser = PhotoChooser(image)
        self._build_controls()
        self.panels = [
            ipywidgets.Image(format="png", layout=ipywidgets.Layout(max_width=f"{PANEL_WIDTH}px")) for _ in range(4)
        ]
        self.captions = [ipywidgets.HTML(layout=ipywidgets.Layout(width=f"{PANEL_WIDTH}px")) for _ in self.panels]
        self.message, self.summary = ipywidgets.HTML(), ipywidgets.HTML()
        wrap = ipywidgets.Layout(flex_flow="row wrap")
        pictures = [ipywidgets.VBox(pair) for pair in zip(self.captions, self.panels, strict=True)]
        super().__init__(
            [
                self.chooser,
                ipywidgets.HBox([self.class_choice, self.class_search], layout=wrap),
                ipywidgets.HBox([self.foreground_slider, self.background_slider, self.blur_slider], layout=wrap),
                ipywidgets.HBox([self.components_slider, self.smoothness_slider], layout=wrap),
                ipywidgets.HBox([self.seeds_buttons, self.crops_buttons], layout=wrap),
                self.message,
                ipywidgets.HBox(pictures, layout=wrap),
                self.summary,
            ]
        )
        self._link_controls()
        self._take(self.chooser.image)
        self._settling = False
        self._update()
        self.observe(self._on_image, "image")
        self.observe(lambda _: self._update(), STEPS)
        self.chooser.observe(lambda change: self.set_trait("image", change["new"]), "image")

    def _build_controls(self) -> None:
        self.class_choice = ipywidgets.Dropdown(description="class")
        self.class_search = ipywidgets.Text(
            description="other class", placeholder="such as 341 or hog", continuous_update=False
        )
        quantile = {"step": 0.005, "readout_format": ".3f", "continuous_update": False}
        self.foreground_slider = ipywidgets.FloatSlider(min=0.5, max=0.995, description="foreground", **quantile)
        self.background_slider = ipywidgets.FloatSlider(min=0.05, max=0.9, description="background", **quantile)
        self.blur_slider = ipywidgets.FloatSlider(
            min=0, max=6, step=0.25, description="blur", continuous_update=False
        )
        self.components_slider = ipywidgets.IntSlider(
            min=1, max=8, description="components", continuous_update=False
        )
        self.smoothness_slider = ipywidgets.FloatSlider(
            min=0, max=200, step=5, readout_format=".0f", description="smoothness", continuous_update=False
        )
        self.seeds_buttons = ipywidgets.ToggleButtons(options=[("soft", False), ("hard", True)], description="seeds")
        self.crops_buttons = ipywidgets.ToggleButtons(options=[("one", 1), ("ten", 10)], description="crops")
        self.components_slider.style.description_width = "90px"  # its name is longer than ipywidgets' 80
        for buttons in (self.seeds_buttons, self.crops_buttons):
            buttons.style.button_width = "4em"

    def _link_controls(self) -> None:
        for trait, control in (
            ("foreground", self.foreground_slider),
            ("background", self.background_slider),
            ("blur", self.blur_slider),
            ("components", self.components_slider),
            ("smoothness", self.smoothness_slider),
            ("hard_seeds", self.seeds_buttons),
            ("crops", self.crops_buttons),
        ):
            traitlets.link((self, trait), (control, "value"))
        self.class_choice.observe(self._on_choice, "value")
        self.class_search.observe(self._on_search, "value")
        self.observe(lambda _: self._offer(), "class_index")

    @traitlets.validate("class_index")
    def _valid_class(self, proposal: dict[str, Any]) -> int:
        try:
            return self.classifier.find(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error

    def _take(self, image: Image.Image) -> None:
        """Rank the classes of a new photo and start at the first; what fails here changes nothing."""
        ranking = self.classifier.top(image, len(self.classifier.labels))
        name = self.chooser.image_name if image is self.chooser.image else "your photo"
        shipped = photo(name) if name in [each.name for each in photos()] else None
        self._photo, self._name, self._boxes = image, name, shipped.boxes if shipped else ()
        self._ranking: dict[int, Prediction] = {each.class_index: each for each in ranking}
        self._digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).digest()
        self._offered = [each.class_index for each in ranking[:5]]
        if shipped and shipped.wordnet_id in self.classifier.wordnet_ids:
            self._offered.append(self.classifier.find(shipped.wordnet_id))
        self.image, self.class_index = image, ranking[0].class_index
        self._offer()

    def _offer(self) -> None:
        """List the classes to choose from, the present one always among them."""
        self._offered = list(dict.fromkeys([*self._offered, self.class_index]))
        settling, self._settling = self._settling, True  # new options move the drop-down's value
        self.class_choice.options = [(f"{self._ranking[c].label} ({c})", c) for c in self._offered]
        self.class_choice.value = self.class_index
        self._settling = settling

    def _on_choice(self, change: dict[str, Any]) -> None:
        if not self._settling and change["new"] is not None:
            self.class_index = change["new"]

    def _on_search(self, change: dict[str, Any]) -> None:
        wanted = change["new"].strip()
        if not wanted:
            return
        try:
            found = self.classifier.find(wanted)
        except (ValueError, TypeError) as error:
            self._say(f"{error} The last class stays.")
            return
        self._say("")
        self.class_index = found
        self.class_search.value = ""  # the drop-down has it now

    def _on_image(self, change: dict[str, Any]) -> None:
        self._settling = True
        try:
            self._take(change["new"])
        except (ValueError, TypeError, ConnectionError) as error:
            self._say(f"{error} The last photo stays.")
            return
        finally:
            self._settling = False
        self._update()

    def _update(self) -> None:
        if self._settling:
            return
        try:
            result = self._localise()
        except (ValueError, TypeError, ConnectionError) as error:
            self._say(f"{error} The last result stays.")
            return
        self._say("")
        # All four together: after an error a reader still sees one photo, its boxes and its IoU.
        self.result, self.true_boxes, self._result_name = result, self._boxes, self._name
        self.iou = max((box_iou(result.box, each) for each in self.true_boxes), default=None)
        self._draw(result)

    def _map(self) -> NDArray[np.float32]:
        """The map of this photo, class and number of crops: the one slow step, so it is never done twice."""
        key = (self._digest, self.class_index, self.crops)
        if key not in self._maps:
            self._maps[key] = saliency_map(self.classifier, self._photo, self.class_index, self.crops)
            if len(self._maps) > MAPS_KEPT:
                self._maps.popitem(last=False)
        return self._maps[key]

    def _localise(self) -> Localisation:
        """All steps of `localise` but its first, which is kept."""
        return segment(
            self._photo,
            self._ranking[self.class_index],
            self._map(),
            foreground=self.foreground,
            background=self.background,
            blur=self.blur,
            components=self.components,
            smoothness=self.smoothness,
            hard_seeds=self.hard_seeds,
        )

    def _say(self, text: str) -> None:
        self.message.value = f'<div role="status"><b>{html.escape(text)}</b></div>' if text else ""

    def _draw(self, result: Localisation) -> None:
        captions = (
            "map",
            "seeds: blue, cyan; red unused",
            "cut",
            "largest piece" + (", true box blue" if self.true_boxes else ""),
        )
        for caption, text, panel, picture in zip(
            self.captions, captions, self.panels, self._pictures(result), strict=True
        ):
            caption.value, panel.value = text, png(picture)
        self.summary.value = self._summary(result)

    def _pictures(self, result: Localisation) -> list[Image.Image]:
        """Map, seeds, cut and box, each of the photo's shape."""
        shown = result.image.copy()
        shown.thumbnail((PANEL_WIDTH, PANEL_HEIGHT))
        boxed = figures.cut_out(shown, result.mask)
        by_hand = [_scaled(each, result.image, shown) for each in self.true_boxes]
        boxed = figures.draw_boxes(boxed, by_hand, figures.BLUE)
        return [
            figures.heat_map(result.saliency).resize(shown.size, Image.Resampling.BILINEAR),
            figures.seed_picture(shown, *result.seeds),
            figures.cut_out(shown, result.cut.mask),
            figures.draw_boxes(boxed, [_scaled(result.box, result.image, shown)]),
        ]

    def _summary(self, result: Localisation) -> str:
        chosen, label = result.seeds, html.escape(result.prediction.label)
        text = (
            f"<b>{label}</b>, box (left, top, right, bottom) = {result.box} · "
            f"{int(chosen.foreground.sum()):,} blue and {int(chosen.background.sum()):,} cyan pixels · "
            f"{result.cut.mask.mean():.0%} of the picture is foreground, "
            f"{result.mask.sum() / result.cut.mask.sum():.0%} of that in the largest component"
        )
        if self.iou is None:
            return text
        whose = "the true box" if len(self.true_boxes) == 1 else f"the best of {len(self.true_boxes)} true boxes"
        verdict = "at least 0.5: found" if self.iou >= 0.5 else "below 0.5: missed"
        return f"{text} · <b>IoU {self.iou:.2f}</b> with {whose} ({verdict})"

    def still(self) -> Image.Image:
        """Draw the state as one picture, for a page without a kernel.

        Returns:
            RGB: map, seeds, cut and box in a row; one white pixel if nothing could be localised yet.
        """
        if self.result is None:
            return Image.new("RGB", (1, 1), "white")
        pictures = self._pictures(self.result)
        gap, (width, height) = 4, pictures[0].size
        row = Image.new("RGB", (4 * width + 3 * gap, height), "white")
        for position, picture in enumerate(pictures):
            row.paste(picture, (position * (width + gap), 0))
        row.thumbnail((640, 640))
        return row

    def __repr__(self) -> str:
        if self.result is None:
            return f"LocalisationExplorer({self._name!r}, nothing yet)"
        # No box: its last pixel may depend on the machine, and a saved lesson is compared on others.
        quantiles = f"foreground={self.foreground:.3g}, background={self.background:.3g}"
        return f"LocalisationExplorer({self._result_name!r}, {self.result.prediction.label!r}, {quantiles})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        buffer = io.BytesIO()
        # Few colours keep a saved notebook small; this way of choosing them keeps the rare blue and yellow.
        self.still().quantize(256, Image.Quantize.MAXCOVERAGE).save(buffer, "png")
        bundle["image/png"] = base64.b64encode(buffer.getvalue()).decode("ascii")
        return bundle


def _scaled(box: Box, image: Image.Image, shown: Image.Image) -> Box:
    """A box of the photo's pixels in those of the smaller picture that is shown, never empty."""
    across, down = shown.width / image.width, shown.height / image.height
    left, top, right, bottom = (round(v * s) for v, s in zip(box, (across, down, across, down), strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def localisation(image: object = None, classifier: Classifier | None = None) -> LocalisationExplorer:
    """Explore how a map becomes a box: seeds, colour models, cut, largest component.

    Args:
        image: whatever `open_image` takes, or one of `photos()` to have its true boxes too; without one the
            first shipped photo.
        classifier: of any network; without one the network that ships with the package.

    Returns:
        A widget; `.result` holds the arrays that it shows.

    Raises:
        ValueError: no picture, or a network that cannot score it.
    """
    return LocalisationExplorer(image, classifier)
