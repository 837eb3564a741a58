"""The backward pass layer by layer under three ReLU rules: where they agree or differ, and which mask caused it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, overload

import torch
from torch import Tensor

from .backward_by_hand import RULES, check_rule, forward_mask, relu_backward
from .classifier import CUT_OFF, Classifier, NotFiniteError, explain_checkpoint
from .images import all_finite
from .names import unwrapped, whole_number
from .opening import ImageLike
from .recording import IMAGE, Recording, record
from .trial import own_mode


@dataclass(frozen=True)
class Neuron:
    """One activity f somewhere in the network, which a ladder brings down to the image.

    Attributes:
        layer: its name in the network, as in `record(classifier, image).layers`; ":2" after it means its second run.
        channel: of the layer's output `(1, channels, ...)`, from 0.
        position: (row, column) is one unit of that channel; "max" is the unit with the largest activity, "sum" the sum
            over all units.

    Example:
        >>> di.Neuron("features.3.squeeze", channel=4)
        Neuron(layer='features.3.squeeze', channel=4, position='max')
    """

    layer: str
    channel: int
    position: str | tuple[int, ...] = "max"


class Distance(NamedTuple):
    """How far one rule's R_n is from another's, over all entries.

    Attributes:
        cosine: of the angle between the two, −1 to 1; 1 is the same direction. 0 if one of them is all 0.
        relative: ‖R − R′‖₂ / ‖R′‖₂, 0 for the same; infinite if R′ alone is all 0.
        differing: share of entries that differ, 0 to 1, by more than rounding: |R − R′| > 10⁻⁵ · max(|R|, |R′|).
    """

    cosine: float
    relative: float
    differing: float


CAUSES = ("same", "forward mask", "backward mask", "from above")
"""Why two rules' R_n differ at an entry: what the numbers of `Gate.cause` mean."""


@dataclass(frozen=True, eq=False)
class Gate:
    """What a ReLU did to R on its way down.

    Attributes:
        x: X_n, the ReLU's input.
        above: each rule's R_{n+1}, at the ReLU's output.
        ceiling: 6 for ReLU6, otherwise infinite.
    """

    x: Tensor
    above: dict[str, Tensor]
    ceiling: float = math.inf

    @property
    def forward_mask(self) -> Tensor:
        """1(X_n > 0), the gradient's; for ReLU6 1(0 < X_n < 6). Boolean, like x."""
        return forward_mask(self.x, self.ceiling)

    def backward_mask(self, rule: str) -> Tensor:
        """1(R_{n+1} > 0), DeconvNet's, for the R that comes down under this rule; boolean, like x."""
        return _of(self.above, rule) > 0

    def below(self, rule: str) -> Tensor:
        """R_n at the ReLU's input, like x: what is left of R_{n+1} under this rule."""
        return relu_backward(self.x, _of(self.above, rule), rule, self.ceiling)

    def cause(self, rule: str, beside: str = "gradient") -> Tensor:
        """Say for each entry why two rules' R_n differ, by which mask stopped just one of them.

        Args:
            rule: one of the ladder's.
            beside: another one.

        Returns:
            uint8 like x, an index into `CAUSES`: 0, they are the same; 1, the forward mask stopped one of them; 2, the
            backward mask did; 3, no mask stopped either, because they differed already when they came down.

        Raises:
            ValueError: a rule that this ladder does not have.
        """
        one, two = self.below(rule), self.below(beside)
        differ = _differ(one, two)
        # Where they differ, at most one of them was stopped. A rule that brought down 0 already was not stopped here.
        stopped = ((one == 0) & (_of(self.above, rule) != 0)) | ((two == 0) & (_of(self.above, beside) != 0))
        # Where the forward mask is closed, it is what stopped one of them: the other does not have it.
        by = torch.where(self.forward_mask, 2, 1)
        return torch.where(differ, torch.where(stopped, by, 3), 0).to(torch.uint8)


@dataclass(frozen=True, eq=False)
class Rung:
    """One layer of a ladder.

    Attributes:
        name: the layer's name in the network; "image" is the lowest rung, "scores" the one of the class scores.
        kind: such as "Conv2d".
        x: X_n, the layer's output, `(1, ...)`; without values, on the device "meta", if the recording left it out.
        r: for each rule R_n, like x: what that rule brings down to this layer. For "gradient" it is ∂f/∂X_n.
        gate: at a ReLU, what it does to R on the way to the next rung; elsewhere None.
    """

    name: str
    kind: str
    x: Tensor
    r: dict[str, Tensor]
    gate: Gate | None = None

    def distance(self, rule: str, beside: str = "gradient") -> Distance:
        """Compare two rules' R_n.

        Args:
            rule: one of the ladder's.
            beside: the one to compare it with.

        Returns:
            A `Distance`.

        Raises:
            ValueError: a rule that this ladder does not have.
        """
        one, two = _of(self.r, rule).cpu(), _of(self.r, beside).cpu()  # float64 is not everywhere
        differing = int(_differ(one, two).count_nonzero()) / one.numel()
        gap, first, second = _length(one - two), _length(one), _length(two)
        if gap == 0:
            return Distance(1.0, 0.0, 0.0)
        if not (first and second):
            return Distance(0.0, 1.0 if second else math.inf, differing)
        # Of two unit vectors, so that no product vanishes or overflows.
        cosine = float(((one / first) * (two / second)).sum(dtype=torch.float64))
        return Distance(max(-1.0, min(1.0, cosine)), gap / second, differing)

    def __repr__(self) -> str:
        """Say in one line which layer this is and what is known of it."""
        return f"Rung({self.name}, {self.kind}, X {tuple(self.x.shape[1:])}, R of {', '.join(self.r)})"


@dataclass(frozen=True, eq=False)
class Ladder(Sequence[Rung]):
    """The rungs from a neuron down to the image, to be iterated, counted, indexed, or looked up by a layer's name.

    Attributes:
        neuron: a class index, or a `Neuron`; its "max" is replaced by the position of the maximum.
        value: its activity f.
        rules: the rules that were asked for.
        rungs: the neuron's own layer first, the image last.
    """

    neuron: int | Neuron
    value: float
    rules: tuple[str, ...]
    rungs: tuple[Rung, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rungs)

    def __iter__(self) -> Iterator[Rung]:
        return iter(self.rungs)

    @overload
    def __getitem__(self, index: int | str) -> Rung: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Rung, ...]: ...
    def __getitem__(self, index: int | str | slice) -> Rung | tuple[Rung, ...]:
        """Find a rung by its number, counted from the top, or by its layer's name."""
        if not isinstance(index, str):
            return self.rungs[index]
        for rung in self.rungs:
            if rung.name == index:
                return rung
        raise KeyError(f"{index!r} is not a rung of this ladder; it has {', '.join(rung.name for rung in self.rungs)}.")


def backward_ladder(
    classifier: Classifier,
    image: ImageLike | Tensor,
    neuron: int | str | Neuron | None = None,
    rules: str | Iterable[str] = ("gradient", "deconvnet"),
    layers: str | Iterable[str] | None = None,
) -> Ladder:
    """Bring one neuron's activity down to the image, layer by layer, under several rules side by side.

    R = 1 at the neuron, 0 elsewhere in its layer. Every layer hands R on as back-propagation does, except the ReLU,
    X_{n+1} = max(X_n, 0), where each rule has its own masks:

    gradient: R_n = R_{n+1} · 1(X_n > 0), so that R_n = ∂f/∂X_n.
    deconvnet: R_n = R_{n+1} · 1(R_{n+1} > 0) (Zeiler & Fergus 2014).
    guided: both masks (Springenberg et al. 2014, later than the paper).

    The network is not touched, not even for a moment: a copy of its module tree that shares all weights is run, and
    every ReLU that this run reaches, module or function, in place or not, is seen.

    Args:
        classifier: the network.
        image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`; it is not changed.
        neuron: a class (an index, or what `classifier.find` understands) for its score S_c, or a `Neuron` of any
            layer. None: the network's own top class.
        rules: out of "gradient", "deconvnet" and "guided".
        layers: names of the rungs to keep, such as "image"; None keeps all, with one R per rule in memory.

    Returns:
        A `Ladder` of `Rung` (name, kind, x, r of each rule, gate at a ReLU), the neuron's layer first, the image last.
        Only layers between the two are in it. `rung.distance(rule)` says how far a rule is from the gradient.

    Raises:
        ValueError: an unknown class, layer or rule, a channel or position out of range, more than one image, a network
            where a rule has no meaning (the error names the layer), values that are not finite.
        TypeError: a neuron that is neither a class nor a `Neuron`.

    Source: paper, Section 4.

    Example:
        >>> ladder = di.backward_ladder(classifier, di.photo("panda"), "giant panda", layers="image")
        >>> ladder["image"]
        Rung(image, image, X (3, 224, 224), R of gradient, deconvnet)
        >>> ladder["image"].distance("deconvnet").cosine < 0.5
        True
    """
    names = None if layers is None else [layers] if isinstance(layers, str) else list(layers)
    kept = names if names is None or not isinstance(neuron, Neuron) else [*names, neuron.layer]
    return _descend(record(classifier, image, kept), neuron, rules, names, again=False)


def descend(
    recording: Recording,
    neuron: int | str | Neuron | None = None,
    rules: str | Iterable[str] = ("gradient", "deconvnet"),
    layers: str | Iterable[str] | None = None,
) -> Ladder:
    """Bring one neuron of a recorded forward pass down to the image: `backward_ladder` from its second step on.

    Args:
        recording: from `record`; it can be used again, for another neuron.
        neuron: as in `backward_ladder`.
        rules: as in `backward_ladder`.
        layers: as in `backward_ladder`.

    Returns:
        A `Ladder`.

    Raises:
        ValueError: as in `backward_ladder`.
        TypeError: as in `backward_ladder`.

    Source: paper, Section 4.

    Example:
        >>> recording = di.record(classifier, di.photo("panda"))
        >>> ladder = di.descend(recording, di.Neuron("features.3.squeeze", channel=4))
        >>> [rung.name for rung in ladder]
        ['features.3.squeeze', 'features.2', 'features.1', 'features.0', 'image']
    """
    return _descend(recording, neuron, rules, layers, again=True)


def _descend(
    recording: Recording,
    neuron: int | str | Neuron | None,
    rules: str | Iterable[str],
    layers: str | Iterable[str] | None,
    again: bool,
) -> Ladder:
    """Do what `descend` does; a recording that is not needed again gives its memory back on the way down."""
    if not isinstance(rules, Iterable):
        raise TypeError(f"expected rules out of {', '.join(map(repr, RULES))}, got {rules!r}.")
    named = [rules] if isinstance(rules, str) else list(rules)
    for rule in named:
        check_rule(rule)
    wanted = tuple(dict.fromkeys(named))
    if not wanted:
        raise ValueError(f"expected at least one rule out of {', '.join(map(repr, RULES))}, got none.")
    top, start, f, chosen = _choose(recording, neuron)
    if not math.isfinite(f):
        raise NotFiniteError(f"the neuron's activity is {f}, which is not finite.")
    if wanted != ("gradient",):
        _refuse_without_relu(recording, top, chosen)
    names = [layers] if isinstance(layers, str) else layers
    kept = set(range(top + 1)) if names is None else {recording.find(name) for name in names}
    if not kept or max(kept) > top:
        above = ", ".join(recording.layers[i].name for i in sorted(kept) if i > top)
        raise ValueError(
            f"expected layers from {recording.layers[top].name!r} down to {IMAGE!r}, got "
            f"{f'{above}, which is not below the neuron' if kept else 'none'}. None keeps all of them."
        )
    ran = [layer for i, layer in enumerate(recording.layers[: top + 1]) if i in kept]
    edges = [layer.edge for layer in ran]
    down: dict[str, tuple[Tensor | None, ...]] = {}
    with own_mode(start.device):
        for rule in wanted:
            with recording.rule.set_to(rule), explain_checkpoint():
                begin = [recording.layers[top].edge]
                retain = again or rule != wanted[-1]
                down[rule] = torch.autograd.grad(begin, edges, [start], retain_graph=retain, allow_unused=True)
    rungs = []
    for i, layer in reversed(list(enumerate(ran))):
        r = {rule: values for rule in wanted if (values := down[rule][i]) is not None}
        if r:  # otherwise it runs before the neuron, but not on the way to it
            gate = Gate(layer.relu[0], r, layer.relu[1]) if layer.relu else None
            rungs.append(Rung(layer.name, layer.kind, layer.x, r, gate))
    if 0 in kept and (not rungs or rungs[-1].name != IMAGE):
        raise _cut_off(chosen)
    for rule, lowest in rungs[-1].r.items() if rungs else ():
        if not all_finite(lowest):
            raise NotFiniteError(f"what comes down under {rule!r} is not finite at {rungs[-1].name!r}.")
    return Ladder(chosen, f, wanted, tuple(rungs))


def _choose(recording: Recording, neuron: int | str | Neuron | None) -> tuple[int, Tensor, float, int | Neuron]:
    """Give the layer's place, R with 1 at the neuron, its activity f, and the neuron with its position."""
    layers = recording.layers
    if not isinstance(neuron, Neuron):
        if neuron is not None and whole_number(neuron) is None and not isinstance(unwrapped(neuron), str):
            raise TypeError(f"expected a class or a Neuron(layer, channel, position), got {type(neuron).__name__}.")
        scores = layers[-1].x
        c = int(scores[0].argmax()) if neuron is None else recording.classifier.find(neuron)
        start = torch.zeros_like(scores)
        start[0, c] = 1
        return len(layers) - 1, start, float(scores[0, c]), c
    place = recording.find(neuron.layer)
    if place == 0:
        raise ValueError("the image has no neurons. Choose a layer above it.")
    x = recording.x(neuron.layer)
    if x.ndim < 2:
        raise ValueError(f"{neuron.layer!r} has no channels, its shape is {tuple(x.shape)}. Choose another layer.")
    channels = x.shape[1]
    channel = whole_number(neuron.channel)
    if channel is None:
        raise TypeError(f"expected a channel from 0 to {channels - 1}, got {neuron.channel!r}.")
    if not 0 <= channel < channels:
        raise ValueError(f"channel {channel} is out of range; {neuron.layer!r} has channels 0 to {channels - 1}.")
    plane, position, start = x[0, channel], neuron.position, torch.zeros_like(x)
    if isinstance(position, str) and position == "sum":
        start[0, channel] = 1
        return place, start, float(plane.sum()), neuron
    if isinstance(position, str) and position == "max":
        position = tuple(int(i) for i in torch.unravel_index(plane.argmax(), plane.shape))
    indices = isinstance(position, tuple) and all(
        hasattr(i, "__index__") and i is not True and i is not False for i in position
    )
    if not isinstance(position, tuple) or not indices:
        raise TypeError(f"expected a position 'max', 'sum' or (row, column), got {neuron.position!r}.")
    if len(position) != plane.ndim or not all(0 <= i < n for i, n in zip(position, plane.shape, strict=True)):
        sides = "×".join(map(str, plane.shape)) or "one value: leave the position out"
        raise ValueError(f"position {position} is out of range; a channel of {neuron.layer!r} is {sides}.")
    start[0, channel][position] = 1
    return place, start, float(plane[position]), Neuron(neuron.layer, channel, position)


class NoReluError(ValueError):
    """A network in which deconvnet and guided have no meaning.

    Attributes:
        why: a sentence that names the layer, without a remedy.
    """

    why: str = ""

    @classmethod
    def from_sentences(cls, why: str, remedy: str) -> NoReluError:
        """Make the error from its two sentences."""
        error = cls(f"{why} {remedy}")
        error.why = why
        return error


def _cut_off(chosen: int | Neuron) -> ValueError:
    which = f"the score of class {chosen}" if isinstance(chosen, int) else str(chosen)
    return ValueError(f"{which} does not depend on the image, so nothing comes down. {CUT_OFF.partition('. ')[2]}")


def _refuse_without_relu(recording: Recording, top: int, chosen: int | Neuron) -> None:
    """Refuse other rules than the gradient unless ReLU and pooling are all that is not linear on the way."""
    found = recording.coverage.judge(recording.layers[top].edge.node)
    if not found.reaches:
        raise _cut_off(chosen)
    if found.strange is not None:
        layer, operation = found.strange
        raise NoReluError.from_sentences(
            f"deconvnet and guided are rules for ReLU, and {layer} computes {operation}, for which they say nothing.",
            "Pass rules=('gradient',), or choose a neuron below that layer.",
        )
    if not any(each.relu for each in recording.layers):
        raise NoReluError.from_sentences(
            "the network runs no ReLU, so deconvnet and guided would just be the gradient under another name.",
            "Pass rules=('gradient',).",
        )


def _of(values: dict[str, Tensor], rule: str) -> Tensor:
    if rule not in values:
        raise ValueError(f"the ladder has the rules {', '.join(map(repr, values))}, not {rule!r}. Ask for it in rules.")
    return values[rule]


def _length(r: Tensor) -> float:
    """Compute ‖R‖₂ with its squares summed in float64."""
    return float(torch.linalg.vector_norm(r, dtype=torch.float64))


def _differ(one: Tensor, two: Tensor) -> Tensor:
    """Say where two reconstructions differ by more than rounding; boolean."""
    return (one - two).abs() > 1e-5 * torch.maximum(one.abs(), two.abs())
