"""The ReLU microscope: click on a unit of any layer, follow it down under three rules, and see what each ReLU does."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any, ClassVar, NamedTuple

import numpy as np
import traitlets
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from .. import figures
from ..backward_by_hand import RULES
from ..classifier import Classifier
from ..deconvnet import Gate, Ladder, Neuron, Rung, descend
from ..opening import ImageLike
from ..recording import IMAGE, SCORES, RecordedLayer, Recording, record
from .explorer import Explorer
from .joined import browser_half
from .language import say
from .settings import ReadOnly, Refused, Validated, Whole, quoted
from .stills import panels, titled
from .widget import Source

TILE, THUMBNAIL = 28, 64
"""The longest sides of a map in the grid of maps and of a picture in the ladder, in pixels."""

AUTO, ALL = "auto", "all"


class _Wish(NamedTuple):
    source: Source
    layer: str
    channel: int
    position: str | tuple[int, ...]
    rules: tuple[str, ...]
    rung: str
    plane: str | int


class MicroscopeExplorer(Explorer[Ladder | None]):
    """One neuron's way down to the image; the traits are the controls, `result` is the ladder.

    Attributes:
        layer: the neuron's layer; a new layer chooses its strongest map. The channels of "scores" are the classes.
        channel: the neuron's channel, from 0.
        position: "max", "sum", or (row, column) of one unit; a new layer sets it to "max".
        rules: some of "gradient", "deconvnet", "guided"; the first is compared with each of the others.
        rung: the layer under the microscope. If the ladder does not have it, the image takes its place.
        plane: the channel under the microscope; "auto" is the one with the largest |R|, or all three colours of
            the image; "all" is the maximum of |R| over the channels.
    """

    _esm, _css = browser_half("microscope")
    stages: ClassVar = {
        "record": "source", "send_maps": "layer", "send_map": "channel", "pause": "layer", "descend": "rules",
        "look": "plane", "send_ladder": "rules", "compare": "rules",
    }  # fmt: skip

    layers = ReadOnly().tag(sync=True)
    layer = Validated("").tag(sync=True)
    channel = Whole(0, say("microscope.channel")).tag(sync=True)
    position = Validated("max").tag(sync=True)
    rules = Validated(list(RULES[:2])).tag(sync=True)
    rung = Validated(IMAGE).tag(sync=True)
    plane = Validated(AUTO).tag(sync=True)

    def __init__(
        self,
        image: ImageLike | Tensor | None = None,
        classifier: Classifier | None = None,
        neuron: int | str | Neuron | None = None,
    ) -> None:
        super().__init__(image, classifier)
        self._compared: list[list[list[str]]] = []
        self._is_sent = False
        self._do_now("record")
        layers = self._recording.layers[1:]
        self.set_trait("layers", [[each.name, each.kind, list(each.x.shape[1:])] for each in layers])
        self.layer = _first_layer(layers)
        self.channel = self._strongest()
        if neuron is not None:
            self.neuron = neuron
        self._begin("channel", "position", "rules", "rung", "plane")

    @property
    def neuron(self) -> int | Neuron:
        """A class index, or a `Neuron`; can be set to either, or to what `classifier.find` understands."""
        return self.channel if self.layer == SCORES else Neuron(self.layer, self.channel, self.position)

    @neuron.setter
    def neuron(self, neuron: int | str | Neuron) -> None:
        if not isinstance(neuron, Neuron):
            neuron = Neuron(SCORES, self.classifier.find(neuron))
        with self._quietly(), self.hold_trait_notifications():  # all three or none
            self.layer, self.channel, self.position = neuron.layer, neuron.channel, neuron.position
        self._ask()

    @property
    def recording(self) -> Recording:
        """The recorded run of the network on the photo, once it is done."""
        self.wait()
        return self._recording

    def _find(self, text: str) -> None:
        self.neuron = text

    def _wish(self) -> _Wish:
        rules = tuple(self.rules)
        return _Wish(self._source, self.layer, self.channel, self.position, rules, self.rung, self.plane)

    @traitlets.validate("layer", "rung")
    def _known_layer(self, proposal: dict[str, Any]) -> str:
        try:
            place = self._recording.find(proposal["value"])
        except ValueError as error:
            raise Refused(str(error)) from None
        if place == 0 and proposal["trait"].name == "layer":
            raise Refused(say("microscope.no_neurons"))
        return str(proposal["value"])

    @traitlets.validate("channel")
    def _possible_channel(self, proposal: dict[str, Any]) -> int:
        channels = self._recording.x(self.layer).shape[1]
        return _within(proposal["value"], channels, self.layer)

    @traitlets.validate("position")
    def _possible_position(self, proposal: dict[str, Any]) -> str | tuple[int, ...]:
        position, sides = proposal["value"], self._recording.x(self.layer).shape[2:]
        if isinstance(position, str) and position in ("max", "sum"):
            return position
        fits = isinstance(position, list | tuple) and len(position) == len(sides)
        if not fits or not all(type(i) is int and 0 <= i < n for i, n in zip(position, sides, strict=True)):
            unit = say("microscope.unit" if sides else "microscope.no_unit", sides="×".join(map(str, sides)))
            raise Refused(say("microscope.no_position", got=quoted(position), layer=self.layer, unit=unit))
        return tuple(position)

    @traitlets.validate("rules")
    def _some_rules(self, proposal: dict[str, Any]) -> list[str]:
        given = proposal["value"]
        if not isinstance(given, list | tuple | set) or not given or not all(rule in RULES for rule in given):
            raise Refused(say("microscope.no_rules", rules=", ".join(RULES), got=quoted(given)))
        return [rule for rule in RULES if rule in given]

    @traitlets.validate("plane")
    def _possible_plane(self, proposal: dict[str, Any]) -> str | int:
        plane = proposal["value"]
        if isinstance(plane, str) and plane in (AUTO, ALL):
            return plane
        if isinstance(plane, bool) or not isinstance(plane, Integral):
            raise Refused(say("microscope.no_plane", got=quoted(plane)))
        return _within(plane, self._recording.x(self.rung).shape[1], self.rung)

    @traitlets.observe("layer")
    def _on_layer(self, _: object) -> None:
        if not self._quiet:
            with self._quietly():
                self.channel, self.position = self._strongest(), "max"
            self._ask()

    def _strongest(self) -> int:
        """The channel that has the layer's strongest unit."""
        return int(_planes(self._recording.x(self.layer)).amax((1, 2)).argmax())

    def _record(self, wish: _Wish) -> None:
        """Record the run and send X at the image, once per photo; neither depends on the neuron."""
        self._recording = record(self.classifier, wish.source.image)
        self._tell("photo", _planes(self._recording.x(IMAGE)))

    def _send_maps(self, wish: _Wish) -> None:
        """Send all channels of the layer, small, each scaled from 0 to its largest value, and these largest values."""
        planes = _planes(self._recording.x(wish.layer))
        largest = planes.amax((1, 2))
        full = largest.max() if planes[0].numel() == 1 else largest[:, None, None]  # single values share one scale
        small = _shrunk(planes, TILE) / full.clamp_min(1e-12)
        levels = (255 * small).clamp(0, 255).byte()
        self._tell("maps", levels, largest, layer=wish.layer, size=_size(levels))

    def _send_map(self, wish: _Wish) -> None:
        plane = _planes(self._recording.x(wish.layer))[wish.channel]
        self._tell("map", plane, layer=wish.layer, channel=wish.channel, size=_size(plane))

    def _descend(self, wish: _Wish) -> str:
        neuron = wish.channel if wish.layer == SCORES else Neuron(wish.layer, wish.channel, wish.position)
        self._result = ladder = descend(self._recording, neuron, wish.rules)
        self._compared, self._is_sent = [], False
        return " ".join(say(f"microscope.nothing_{rule}") for rule in ladder.rules if not ladder[IMAGE].r[rule].any())

    def _look(self, wish: _Wish) -> str:
        """Send the planes of one rung: X_n, for each rule R above and below a ReLU, and why the rules differ."""
        ladder: Ladder | None = self._result
        if ladder is None:
            return ""
        said, plane = "", wish.plane
        known = any(each.name == wish.rung for each in ladder)
        rung = ladder[wish.rung if known else IMAGE]
        rules, gate = ladder.rules, rung.gate
        x = _planes(rung.x if gate is None else gate.x)
        above = {rule: _planes(rung.r[rule]) for rule in rules}
        if not known:
            said, plane = say("microscope.not_between", rung=wish.rung), AUTO
        elif isinstance(plane, int) and plane >= len(x):
            said, plane = say("microscope.no_such_plane", rung=rung.name, plane=plane), AUTO
        if said:  # so that the next neuron does not try it again
            self._settle(wish, rung=rung.name, plane=plane)
        channels: list[int] | None = None
        if plane == ALL and rung.name != IMAGE:
            gate = None
            x, above = x.abs().amax(0, keepdim=True), {rule: r.abs().amax(0)[None] for rule, r in above.items()}
        elif isinstance(plane, int):
            channels = [plane]
        elif _in_colour(rung):
            channels = [0, 1, 2]
        else:
            channels = [int(above[rules[0]].abs().amax((1, 2)).argmax())]
        if channels is not None:
            x, above = x[channels], {rule: r[channels] for rule, r in above.items()}
        buffers = [] if _in_colour(rung) and len(x) > 1 else [x]
        part = None if gate is None else Gate(x, above, gate.ceiling)
        for rule in rules:
            buffers += [above[rule]]
            buffers += [part.below(rule), part.cause(rule, rules[0])] if part else []
        ceiling = gate.ceiling if gate is not None and math.isfinite(gate.ceiling) else None
        self._tell(
            "view", *buffers, rung=rung.name, layer=rung.kind, channels=channels, of=rung.x.shape[1], size=_size(x),
            relu=gate is not None, ceiling=ceiling, rules=rules,
        )  # fmt: skip
        return said

    def _send_ladder(self, wish: _Wish) -> None:
        """Send a small picture of each rung for each rule; all together cost as much as the way down."""
        ladder: Ladder | None = self._result
        if ladder is None or self._is_sent:
            return
        thumbnails: list[list[NDArray[np.uint8]]] = []
        for rule in ladder.rules:
            self._drop_if_old(wish)
            thumbnails.append([_thumbnail(rung, rule) for rung in ladder])
        rungs = [
            [rung.name, rung.kind, list(rung.x.shape[1:]), [*picture.shape[1::-1]], picture.ndim == 3,
             [not rung.r[rule].any() for rule in ladder.rules]]
            for rung, picture in zip(ladder, thumbnails[0], strict=True)
        ]  # fmt: skip
        joined = [np.concatenate([picture.ravel() for picture in each]) for each in thumbnails]
        position = getattr(ladder.neuron, "position", None)
        self._tell(
            "ladder", *joined, neuron=self._in_words(ladder.neuron), value=ladder.value, layer=wish.layer,
            channel=wish.channel, position=position, rules=ladder.rules, rungs=rungs,
        )  # fmt: skip
        self._is_sent = True

    def _compare(self, wish: _Wish) -> None:
        """Send how far R of each rule is from R of the first, rung by rung; this costs as much as the ladder."""
        ladder: Ladder | None = self._result
        if ladder is None:
            return
        first, *others = ladder.rules
        for rung in ladder[len(self._compared) :]:
            self._drop_if_old(wish)
            self._compared.append([_in_figures(rung, rule, first) for rule in others])
        self._tell("distances", values=self._compared)

    def _in_words_of(self, error: Exception) -> str:
        words = super()._in_words_of(error)
        return say("microscope.tick", words=words) if "rules=('gradient',)" in words else words

    def _in_words(self, neuron: int | Neuron) -> str:
        if not isinstance(neuron, Neuron):
            return say("microscope.of_score", label=self.classifier.labels[neuron], class_index=neuron)
        unit = isinstance(neuron.position, tuple) and neuron.position
        of = "sum" if neuron.position == "sum" else "unit" if unit else "channel"
        return say(f"microscope.of_{of}", channel=neuron.channel, layer=neuron.layer, position=neuron.position)

    def still(self) -> Image.Image:
        """Draw the photo as the network saw it and, beside it, R at the image under each rule."""
        ladder = self.result
        x = self._recording.x(IMAGE)
        pictures = [(self.classifier.picture(x).convert("RGB"), say("photo.as_the_network_saw_it"))]
        if ladder is None:
            return titled(say("microscope.nothing", message=self.message), panels(*pictures))
        colours = "microscope.in_colour" if x.shape[1] in (1, 3) else "microscope.largest"
        for rule in ladder.rules:
            r = ladder[IMAGE].r[rule]
            words = say(colours if r.any() else "microscope.nothing_came", rule=say(f"rule.{rule}"))
            pictures.append((_picture(r).convert("RGB"), words))
        title = say("microscope.title", value=ladder.value, neuron=self._in_words(ladder.neuron))
        return titled(title, panels(*pictures))

    def __repr__(self) -> str:
        return f"MicroscopeExplorer({self.photo!r}, {self.neuron!r}, {' + '.join(self.rules)})"


def _first_layer(layers: tuple[RecordedLayer, ...]) -> str:
    """A layer three quarters of the way up: its units respond to parts of things and still have a place."""
    wide = [each for each in layers if each.x.ndim == 4 and min(each.x.shape[2:]) > 1]
    found = [each for each in wide if each.relu] or wide or list(layers)
    return found[len(found) * 3 // 4].name


def _planes(x: Tensor) -> Tensor:
    """A layer's values as pictures, float32 `(channels, rows, columns)`; a single value is 1×1."""
    x = x[0].detach().float()
    return x.reshape(x.shape[0], -1, x.shape[-1] if x.ndim > 1 else 1)


def _size(planes: Tensor) -> list[int]:
    """Width and height."""
    return [planes.shape[-1], planes.shape[-2]]


def _shrunk(planes: Tensor, side: int) -> Tensor:
    """Planes with no side longer than `side`; the largest value of a block stays, so that a strong unit is visible."""
    step = math.ceil(max(planes.shape[1:]) / side)
    return planes if step == 1 else max_pool2d(planes, step, ceil_mode=True)


def _in_colour(rung: Rung) -> bool:
    return rung.name == IMAGE and rung.x.shape[1] == 3


def _thumbnail(rung: Rung, rule: str) -> NDArray[np.uint8]:
    """R of a rung, small: RGB for the image, levels of the largest |R| over the channels for other layers."""
    r = _planes(rung.r[rule])
    if _in_colour(rung):
        step = math.ceil(max(r.shape[1:]) / THUMBNAIL)
        return np.asarray(_picture(avg_pool2d(r, step, ceil_mode=True)[None]))
    largest = _shrunk(r.abs().amax(0, keepdim=True), THUMBNAIL)[0].cpu().numpy()
    return (255 * largest / figures.brightest(largest)).clip(0, 255).astype(np.uint8)


def _picture(r: Tensor) -> Image.Image:
    """A picture of R at the image."""
    planes = _planes(r).cpu().numpy()
    if planes.shape[0] in (1, 3):
        return figures.signed_picture(planes, peak=figures.PEAK)
    return figures.heat_map(np.abs(planes).max(0))


def _within(channel: Any, channels: int, layer: str) -> int:
    if not 0 <= channel < channels:
        raise Refused(say("microscope.no_channel", channel=channel, layer=layer, last=channels - 1))
    return int(channel)


def _in_figures(rung: Rung, rule: str, beside: str) -> list[str]:
    """Cosine, L2 and share of one rule beside another; zeros alone have no direction."""
    distance = rung.distance(rule, beside)
    cosine = f"{distance.cosine:.2f}" if rung.r[rule].any() and rung.r[beside].any() else "–"
    return [cosine, f"{distance.relative:.3g}".replace("inf", "∞"), f"{100 * distance.differing:.0f} %"]


def microscope(
    image: ImageLike | Tensor | None = None,
    classifier: Classifier | None = None,
    neuron: int | str | Neuron | None = None,
) -> MicroscopeExplorer:
    """Follow one neuron down to the image, layer by layer, under the rules of Section 4, with a microscope.

    R_n = R_{n+1} · 1(X_n > 0) is the gradient at a ReLU, R_n = R_{n+1} · 1(R_{n+1} > 0) is DeconvNet; guided
    back-propagation, later work, has both masks.

    Args:
        image: anything that `open_image` takes, or a prepared tensor; without it a shipped photo, the red panda.
        classifier: the network; without one the network that ships with the package.
        neuron: a `Neuron`, or a class as `classifier.find` understands it; without one the strongest unit of a layer
            three quarters of the way up.

    Returns:
        A widget that shows itself as a cell's last line; its `result` is the `Ladder`, its `recording` the `Recording`.

    Raises:
        ValueError: a bad image, a network that cannot be recorded, or an unknown neuron.
        TypeError: no image, or no `Classifier`.

    Source: paper, Section 4.
    """
    return MicroscopeExplorer(image, classifier, neuron)
