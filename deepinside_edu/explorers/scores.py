"""Choose a photo, see its best classes as bars, and find where any other class stands."""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import Any

import ipywidgets
import numpy as np
import torch
import traitlets
from numpy.typing import NDArray
from PIL import Image

from .. import figures
from ..classifier import Classifier, Prediction, load_classifier
from ..images import Photo
from .photo_chooser import PhotoChooser, png

MOST_CLASSES = 20
BAR_WIDTH = 160
"""Of the longest bar, in the browser's pixels."""

CELL = "padding:0 .8em 0 0"
BLUE, ORANGE = "#2a6f97", "#c8553d"


@dataclass(frozen=True, eq=False, repr=False)
class ScoresResult:
    """What a scores explorer shows, for a cell of one's own.

    Attributes:
        image: the photo, RGB.
        image_name: what the photo is called.
        x: the photo as the network takes it, `(1, C, H, W)`.
        scores: S_c before the softmax, `(classes,)`.
        probabilities: P_c = exp S_c / Σ_k exp S_k, `(classes,)`.
        top: the k classes with the highest scores, best first.
        searched: the class that was searched for, or none.
        rank: its place among all classes, 1 for the highest score, or none.
    """

    image: Image.Image
    image_name: str
    x: torch.Tensor
    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    top: tuple[Prediction, ...] = ()
    searched: Prediction | None = None
    rank: int | None = None

    def __repr__(self) -> str:
        return f"ScoresResult({self.image_name!r}, {len(self.scores)} scores, top: {self.top[0].label!r})"


class ScoresExplorer(ipywidgets.VBox):  # type: ignore[misc]
    """A photo as the network sees it, its k best classes as bars, and one class that is searched for.

    Attributes:
        image: the photo; any new one is scored at once.
        k: how many classes are listed, 1 to 20.
        shown: what the bars' lengths mean, "score" or "probability".
        search: a class's index, its WordNet id or part of its name; empty for none.
        class_index: the class that `search` found, or none.
        result: everything that is on show.
    """

    image = traitlets.Instance(Image.Image)
    k = traitlets.Int(5)
    shown = traitlets.Enum(("score", "probability"), "score")
    search = traitlets.Unicode()
    class_index = traitlets.Int(None, allow_none=True)

    def __init__(self, image: object = None, classifier: Classifier | None = None) -> None:
        """Build the widget on a photo (whatever `open_image` takes) and a classifier, or on the shipped ones."""
        self.classifier = classifier or load_classifier()
        self.chooser = PhotoChooser(None if isinstance(image, Photo) else image)
        if isinstance(image, Photo):
            self.chooser.shipped.value = image.name
        self.k_box = ipywidgets.BoundedIntText(
            value=self.k, min=1, max=min(MOST_CLASSES, len(self.classifier.labels)), description="top k"
        )
        self.shown_buttons = ipywidgets.ToggleButtons(
            options=[("score S_c", "score"), ("probability P_c", "probability")],
            description="bars show",
            layout=ipywidgets.Layout(width="max-content"),
        )
        self.shown_buttons.style.button_width = "10em"
        self.search_box = ipywidgets.Text(
            placeholder="such as 341, n02395406 or hog", description="find class", continuous_update=False
        )
        self.seen = ipywidgets.Image(format="png", layout=ipywidgets.Layout(width="224px", height="224px"))
        self.caption = ipywidgets.HTML()
        self.bars = ipywidgets.HTML()
        self.message = ipywidgets.HTML()
        super().__init__(
            [
                self.chooser,
                ipywidgets.HBox(
                    [
                        ipywidgets.VBox(
                            [self.seen, self.caption], layout=ipywidgets.Layout(flex="0 0 auto", margin="0 12px 0 0")
                        ),
                        ipywidgets.VBox(
                            [self.k_box, self.shown_buttons, self.search_box, self.message, self.bars],
                            # A long message must break its line, not push this column below the photo.
                            layout=ipywidgets.Layout(flex="1 1 420px", min_width="0"),
                        ),
                    ],
                    layout=ipywidgets.Layout(flex_flow="row wrap"),
                ),
            ]
        )
        self.k = self.k_box.value  # a network with fewer classes than k lists what it has
        self._looked = self._look_at(self.chooser.image)
        self.image = self.chooser.image
        self._draw_photo()
        self._draw_bars()
        self.observe(self._on_image, "image")
        self.observe(lambda _: self._draw_bars(), ["k", "shown", "class_index"])
        self.observe(self._on_search, "search")
        self.observe(self._on_class, "class_index")
        self.chooser.observe(lambda change: self.set_trait("image", change["new"]), "image")
        traitlets.link((self, "k"), (self.k_box, "value"))
        traitlets.link((self, "shown"), (self.shown_buttons, "value"))
        traitlets.link((self, "search"), (self.search_box, "value"))

    @traitlets.validate("k")
    def _valid_k(self, proposal: dict[str, Any]) -> int:
        k = int(proposal["value"])
        if not 1 <= k <= self.k_box.max:
            raise traitlets.TraitError(f"expected k from 1 to {self.k_box.max}, got {k}.")
        return k

    @traitlets.validate("class_index")
    def _valid_class(self, proposal: dict[str, Any]) -> int | None:
        if proposal["value"] is None:
            return None
        try:
            return self.classifier.find(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error

    @property
    def result(self) -> ScoresResult:
        """Everything that is on show, newly put together."""
        seen = self._looked
        order = np.argsort(-seen.scores, kind="stable")
        searched = None if self.class_index is None else self._prediction(self.class_index)
        rank = None if searched is None else 1 + int((seen.scores > searched.score).sum())
        top = tuple(self._prediction(int(c)) for c in order[: self.k])
        return ScoresResult(seen.image, seen.image_name, seen.x, seen.scores, seen.probabilities, top, searched, rank)

    def _prediction(self, c: int) -> Prediction:
        seen = self._looked
        return Prediction(c, self.classifier.labels[c], float(seen.scores[c]), float(seen.probabilities[c]))

    def _look_at(self, image: Image.Image) -> ScoresResult:
        """One forward pass; all that the other controls change is how its result is shown."""
        name = self.chooser.image_name if image is self.chooser.image else "your photo"
        x = self.classifier.prepare(image)
        with torch.no_grad():
            scores = self.classifier.scores(x)[0].double().cpu()
        return ScoresResult(image, name, x, scores.numpy(), scores.softmax(0).numpy())

    def _on_image(self, change: dict[str, Any]) -> None:
        try:
            self._looked = self._look_at(change["new"])
        except (ValueError, TypeError, ConnectionError) as error:
            self._say(f"{error} The last scores stay.")
            return
        self._say("")
        self._draw_photo()
        self._draw_bars()

    def _on_search(self, change: dict[str, Any]) -> None:
        wanted = change["new"].strip()
        try:
            found = self.classifier.find(wanted) if wanted else None
        except (ValueError, TypeError) as error:
            self._say(f"{error} The last class stays.")
            return
        self._say("")
        self.class_index = found

    def _on_class(self, change: dict[str, Any]) -> None:
        """Keep the search box true when a class is set from Python."""
        c = change["new"]
        try:
            agrees = c == (self.classifier.find(self.search) if self.search.strip() else None)
        except ValueError:
            agrees = False
        if not agrees:
            self.search = "" if c is None else str(c)

    def _say(self, text: str) -> None:
        self.message.value = f'<div role="status"><b>{html.escape(text)}</b></div>'

    def _draw_photo(self) -> None:
        height, width = self._looked.x.shape[2:]
        self.seen.value = png(self._seen_picture())
        name = html.escape(self._looked.image_name.replace("_", " "))
        self.caption.value = f"{name}, as the network sees it: {height} × {width} pixels"

    def _seen_picture(self) -> Image.Image:
        return self.classifier.picture(self._looked.x)

    def _rows(self, result: ScoresResult) -> list[tuple[int, Prediction]]:
        """(rank, class) for each bar: the top k, then the searched class unless it is among them."""
        rows = list(enumerate(result.top, start=1))
        if result.searched is not None and result.searched.class_index not in [each.class_index for each in result.top]:
            rows.append((result.rank or 0, result.searched))
        return rows

    def _draw_bars(self) -> None:
        result = self.result
        rows = self._rows(result)
        values = [each.score if self.shown == "score" else each.probability for _, each in rows]
        low = min(0.0, *values)  # scores of other networks may lie below zero
        longest = max(max(values) - low, 1e-12)
        lines = [
            _table_row(rank, each, (value - low) / longest, each.class_index == self.class_index)
            for (rank, each), value in zip(rows, values, strict=True)
        ]
        self.bars.value = (
            '<table style="border-collapse:collapse;line-height:1.6"><thead><tr>'
            f'<th scope="col" style="{CELL}">rank</th>'
            f'<th scope="col" style="{CELL};text-align:left">class (index)</th><td></td>'
            f'<th scope="col" style="{CELL}">score S<sub>c</sub></th>'
            f'<th scope="col" style="{CELL}">probability P<sub>c</sub></th></tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table>"
        )

    def still(self) -> Image.Image:
        """Draw the state as one picture, for a page without a kernel.

        Returns:
            RGB, 340 pixels wide: the photo as the network sees it over its bars.
        """
        result = self.result
        rows = [each for _, each in self._rows(result)]
        by_score = self.shown == "score"
        chart = figures.score_bars(
            [each.label + (" (searched)" if each.class_index == self.class_index else "") for each in rows],
            [each.score if by_score else round(each.probability, 4) for each in rows],
            "score $S_c$" if by_score else "probability $P_c$",
        )
        chart.set_size_inches(3.4, 0.55 + 0.25 * len(rows))
        buffer = io.BytesIO()
        chart.savefig(buffer, format="png", dpi=100)
        bars = Image.open(buffer).convert("RGB")
        photo = self._seen_picture().resize((130, 130), Image.Resampling.BICUBIC)
        page = Image.new("RGB", (bars.width, photo.height + bars.height + 6), "white")
        page.paste(photo, ((page.width - photo.width) // 2, 4))
        page.paste(bars, (0, photo.height + 6))
        return page

    def __repr__(self) -> str:
        searched = "" if self.class_index is None else f", searched: {self.classifier.labels[self.class_index]!r}"
        return f"ScoresExplorer({self._looked.image_name!r}, k={self.k}{searched})"

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle: dict[str, Any] = super()._repr_mimebundle_(**kwargs)
        buffer = io.BytesIO()
        self.still().quantize(256).save(buffer, "png")  # a third of the bytes in every saved notebook
        bundle["image/png"] = base64.b64encode(buffer.getvalue()).decode("ascii")
        return bundle


def _table_row(rank: int, each: Prediction, length: float, searched: bool) -> str:
    """A line of the table; the bar is for the eye, the numbers beside it say the same to a screen reader."""
    name = f"{html.escape(each.label)} ({each.class_index})"
    return (
        f'<tr><td style="{CELL};text-align:right">{rank}</td>'
        f'<th scope="row" style="{CELL};text-align:left;font-weight:{"bold" if searched else "normal"}">'
        f"{name}{' ← searched' if searched else ''}</th>"
        f'<td style="{CELL};min-width:{BAR_WIDTH}px"><div aria-hidden="true" style="height:.9em;'
        f'width:{round(BAR_WIDTH * length)}px;background:{ORANGE if searched else BLUE}"></div></td>'
        f'<td style="{CELL};text-align:right">{each.score:.1f}</td>'
        f'<td style="{CELL};text-align:right">{_share(each.probability)}</td></tr>'
    )


def _share(probability: float) -> str:
    if probability < 0.0005:
        return "&lt; 0.001"
    return "&gt; 0.999" if probability > 0.9995 else f"{probability:.3f}"


def scores(image: object = None, classifier: Classifier | None = None) -> ScoresExplorer:
    """Explore the class scores of a photo: its best classes, and where any other class stands.

    Args:
        image: whatever `open_image` takes; without one the first shipped photo.
        classifier: of any network; without one the network that ships with the package.

    Returns:
        A widget; `.result` holds the arrays that it shows.

    Raises:
        ValueError: no picture, or a network that cannot score it.
    """
    return ScoresExplorer(image, classifier)
