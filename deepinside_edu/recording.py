"""One forward pass, kept: every layer's output, and a graph whose ReLUs learn their rule on the way back."""

from __future__ import annotations

import difflib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .classifier import CUT_OFF, Classifier, check_classifier
from .opening import ImageLike
from .rule_coverage import OF_A_SHAPE, RELU, SUMS, RuleCoverage, operation_of
from .trial import own_mode
from .twin import twin
from .wrapping import check_layers_can_be_seen

IMAGE, SCORES = "image", "scores"
"""The names of the first and of the last of a recording's layers."""


class RecordedLayer(NamedTuple):
    """A layer as it ran.

    Attributes:
        name: its name in the network, with ":2" after it for a second run; a ReLU that is not a module is "block.relu".
        kind: such as "Conv2d".
        x: X_n, its output `(1, ...)`, without its graph, as it was before anybody overwrote it. A tensor on the
            device "meta", a shape without values, if it was not to be kept; so is `relu`'s.
        edge: where R_n comes by in the graph.
        relu: for a ReLU its input and its ceiling, which is 6 for ReLU6 and infinite for others; otherwise None.
    """

    name: str
    kind: str
    x: Tensor
    edge: GradientEdge
    relu: tuple[Tensor, float] | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """One forward pass, kept for ladders from any number of neurons.

    Attributes:
        classifier: the classifier that ran.
        layers: a `RecordedLayer` for each layer in the order of running; the first is "image", the last "scores".
        rule: what the graph's ReLUs read on the way back.
        coverage: says where in the graph a rule other than the gradient has a meaning.
    """

    classifier: Classifier
    layers: tuple[RecordedLayer, ...]
    rule: Rule
    coverage: RuleCoverage

    def find(self, layer: str) -> int:
        """Find a layer's place in `layers` by its name.

        Raises:
            ValueError: no such layer; the error lists near names.
        """
        names = [each.name for each in self.layers]
        if layer in names:
            return names.index(layer)
        near = difflib.get_close_matches(str(layer), names, n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        where = f"`record(classifier, image).layers` lists all {len(names)}."
        raise ValueError(f"no layer is called {layer!r}.{hint} {where}")

    def x(self, layer: str) -> Tensor:
        """Give X_n, the output of a layer, `(1, ...)`.

        Raises:
            ValueError: no such layer, or one that was not kept.
        """
        x = self.layers[self.find(layer)].x
        if x.is_meta:
            raise ValueError(f"{layer!r} was not kept. Name it in record(classifier, image, layers), or name none.")
        return x

    def __repr__(self) -> str:
        """Say what was recorded in one line."""
        return f"Recording({len(self.layers)} layers from {IMAGE} to {SCORES})"


def record(classifier: Classifier, image: ImageLike | Tensor, layers: Iterable[str] | None = None) -> Recording:
    """Run the network once and keep every layer's output: for ladders from several neurons, or to look for one.

    Args:
        classifier: the network; nothing of it is changed.
        image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`; it is not changed.
        layers: names of the layers whose X_n is kept, to save memory and time; None keeps all. A name that no layer
            has keeps nothing.

    Returns:
        A `Recording`. `descend` goes down from any neuron of it.

    Raises:
        ValueError: a bad image, more than one image, values that are not finite.
        TypeError: something that is not a `Classifier`.

    Example:
        >>> recording = di.record(classifier, di.photo("panda"))
        >>> recording
        Recording(67 layers from image to scores)
        >>> recording.x("features.0").shape
        torch.Size([1, 64, 111, 111])
    """
    check_classifier(classifier)
    check_layers_can_be_seen(classifier.network)
    x = classifier.prepare(image)
    classifier.be_tried(x)  # this run is not recorded
    if x.shape[0] != 1:
        raise ValueError(f"expected one image (1, C, H, W), got {tuple(x.shape)}. Pass x[:1].")
    with own_mode(x.device):
        # Almost no network overwrites a layer's output except by a ReLU in place. The others are run again.
        wanted = None if layers is None else frozenset([layers] if isinstance(layers, str) else layers)
        watch = _Watch(wanted, copying=False)
        leaf, scores = watch.run(classifier, x)
        if watch.something_was_overwritten():
            watch = _Watch(wanted, copying=True)
            leaf, scores = watch.run(classifier, x)
        if not scores.requires_grad:
            raise ValueError(CUT_OFF)
        first, last = (
            RecordedLayer(name, name, values.detach(), get_gradient_edge(values))
            for name, values in ((IMAGE, leaf), (SCORES, scores))
        )
    return Recording(classifier, (first, *watch.ran, last), watch.rule, RuleCoverage(first.edge.node))


class Rule:
    """The rule that every ReLU of one graph reads when the backward pass comes by."""

    def __init__(self) -> None:
        self.name = "gradient"
        self._one_at_a_time = threading.Lock()

    @contextmanager
    def set_to(self, name: str) -> Iterator[None]:
        """Walk back under this rule; another thread waits."""
        with self._one_at_a_time:
            self.name = name
            yield


class _Relu(torch.autograd.Function):
    """min(max(X, 0), ceiling), whose rule is read only on the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float, in_place: bool, copying: bool, rule: Rule) -> Tensor:
        highest = None if math.isinf(ceiling) else ceiling
        if in_place:
            ctx.mark_dirty(x)
        y = x.clamp_(0, highest) if in_place else x.clamp(0, highest)
        ctx.save_for_backward(y.clone() if copying else y)
        ctx.ceiling, ctx.rule = ceiling, rule
        return y

    @staticmethod
    def backward(ctx: Any, *r: Tensor) -> tuple[Tensor, None, None, None, None]:
        # The output tells as much as the input: 0 < X < ceiling where 0 < min(max(X, 0), ceiling) < ceiling.
        (y,) = ctx.saved_tensors
        return _apply_rule(y, r[0], ctx.rule.name, ctx.ceiling), None, None, None, None


def _apply_rule(x: Tensor, r: Tensor, rule: str, ceiling: float) -> Tensor:
    """`relu_backward` at a tenth of its time: torch's own function for 1(X > 0) · R in the place of torch.where."""
    if rule == "deconvnet":
        return r.clamp_min(0)
    below: Tensor = torch.ops.aten.threshold_backward(r, x, 0)
    if not math.isinf(ceiling):
        below = below * (x < ceiling)
    return below.clamp_min_(0) if rule == "guided" else below


@dataclass
class _Call:
    """A module that is running."""

    name: str
    module: nn.Module
    noted: bool = False


class _Watch(TorchFunctionMode):
    """Sees each function of torch that this thread calls, replaces every ReLU, and labels the graph with layers."""

    def __init__(self, wanted: frozenset[str] | None, copying: bool) -> None:
        super().__init__()
        self.rule = Rule()
        self.ran: list[RecordedLayer] = []
        self._wanted = wanted
        self._copying = copying
        self._running: list[_Call] = []
        self._runs = Counter([IMAGE, SCORES])
        self._noted: dict[int, tuple[Tensor, int]] = {}  # outputs, kept alive so that ids stay theirs, and versions
        self._hidden: dict[int, Tensor] = {}  # kept alive for the same reason
        self._switches: set[int] = set()  # of these, the places of maxima that a pooling gave
        self._kept: list[tuple[Tensor, int]] = []  # memory that is the network's own too, and its version
        self._done = False

    def run(self, classifier: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give the image with its graph, and the scores."""
        leaf = x.detach().clone().requires_grad_()
        watched = classifier._with_network(twin(classifier.network, self._observe))
        with self:
            return leaf, watched.scores(leaf)

    def something_was_overwritten(self) -> bool:
        """Whether a layer's kept output is not what it was any more."""
        return any(values._version != version for values, version in self._kept)

    def _observe(self, name: str, module: nn.Module, copy: nn.Module) -> None:
        """Only the copies call back, so the network has no hook at any time."""
        for table in ("_backward_hooks", "_backward_pre_hooks"):  # tried before: they change nothing
            copy.__dict__[table].clear()
        copy.register_forward_pre_hook(lambda *_: self._running.append(_Call(name, module)))
        copy.register_forward_hook(lambda _, inputs, output: self._leave(output), always_call=True)

    def _leave(self, output: Any) -> None:
        """A layer has run: keep its output."""
        with torch._C.DisableTorchFunction():  # what is done here is not the network's
            if isinstance(output, Tensor):
                self._label([output])
            call = self._running.pop()
            self._done |= not self._running
            if self._done or call.noted or not isinstance(output, Tensor) or not output.requires_grad:
                return
            if output.grad_fn is None and not torch.is_grad_enabled():
                return  # the image, handed on where nothing is recorded, such as inside a reentrant checkpoint
            _, version = self._noted.get(id(output), (None, None))
            if version == output._version and next(call.module.children(), None) is not None:
                return  # a block that only hands on the output of its last layer does not count as a layer
            name = self._number(call.name)
            self._note(name, type(call.module).__name__, output, self._keep(output, name))

    def _number(self, name: str) -> str:
        self._runs[name] += 1
        return name if self._runs[name] == 1 else f"{name}:{self._runs[name]}"

    def _note(
        self, name: str, kind: str, output: Tensor, kept: Tensor, relu: tuple[Tensor, float] | None = None
    ) -> None:
        self.ran.append(RecordedLayer(name, kind, kept, get_gradient_edge(output), relu))
        self._noted[id(output)] = (output, output._version)

    def _is_wanted(self, name: str) -> bool:
        return self._wanted is None or name in self._wanted

    def _keep(self, x: Tensor, name: str) -> Tensor:
        """Keep the values of x for a layer: a copy, the same memory under watch, or none if they are not wanted."""
        if not self._is_wanted(name):
            return torch.empty_like(x, device="meta", requires_grad=False)
        if self._copying:
            return x.detach().clone()
        kept = x.detach()
        self._kept.append((kept, kept._version))
        return kept

    def _keep_before_overwriting(self, x: Tensor, name: str) -> Tensor:
        """Copy the values of x, for this layer and for the one that gave them, whose memory it is."""
        if self._copying:
            return self._keep(x, name)
        kept, version = self._kept[-1] if self._kept else (None, None)
        if kept is None or self.ran[-1].x is not kept or not kept.is_set_to(x) or kept._version != version:
            return x.detach().clone() if self._is_wanted(name) else self._keep(x, name)
        copied = x.detach().clone()
        self.ran[-1] = self.ran[-1]._replace(x=copied)
        self._kept.pop()
        return copied

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch, or our ReLU in the place of torch's."""
        kwargs = kwargs or {}
        seen = None if self._done else _as_relu(func, args, kwargs)
        if seen is None or not self._running or not (seen.x.requires_grad and torch.is_grad_enabled()):
            whole = _whole(args)
            before = None if whole is None else whole.grad_fn
            result = func(*args, **kwargs)
            if self._running:
                results = list(result) if isinstance(result, (tuple, list)) else [result]
                if whole is not None and whole.grad_fn is not before:  # it was written to, perhaps to a part of it
                    results = [*results, whole]
                    _note_inside(whole, func, args, kwargs)
                elif func is functional.pad:  # torch puts a circular border together of copies
                    node = result.grad_fn
                    while operation_of(node) == "CopySlices":
                        node.metadata["inside"] = _of_a_copy()
                        node = node.next_functions[0][0]
                self._label(results)
                if self._hidden or any(isinstance(each, Tensor) and each.grad_fn is None for each in results):
                    self._find_hidden(func, [*args, *kwargs.values()], results)
            return result
        call = self._running[-1]
        call.noted = type(call.module) in (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Threshold)
        name = self._number(call.name if call.noted else f"{call.name}.relu".removeprefix("."))
        x = self._keep_before_overwriting(seen.x, name) if seen.in_place else self._keep(seen.x, name)
        y: Tensor = _Relu.apply(seen.x, seen.ceiling, seen.in_place, self._copying, self.rule)  # type: ignore[no-untyped-call]
        written = y._base if seen.in_place and y._base is not None else y
        for values in (y, written):
            if values.grad_fn is not None:
                values.grad_fn.metadata["inside"] = RELU  # type: ignore[index]  # torch declares it a method
        self._kept.append((y.detach(), y._version))  # its way back needs it
        self._label([y])
        kind = type(call.module).__name__ if call.noted else "relu"
        self._note(name, kind, y, self._keep(y, name), (x, seen.ceiling))
        return y

    def _find_hidden(self, func: Callable[..., Any], given: list[Any], results: Sequence[Any]) -> None:
        """Follow what comes from the image without a graph, such as the mask x > 0, to the operations that use it."""
        name = getattr(func, "__name__", "")
        for result in results:
            if not isinstance(result, Tensor):
                continue
            node: Any = result.grad_fn
            if node is None:
                if name not in OF_A_SHAPE and any(
                    self._is_hidden(x) or (x.requires_grad and not x.is_leaf) for x in _all(given)
                ):
                    self._hidden[id(result)] = result
                    if "max_pool" in name:
                        self._switches.add(id(result))
            elif name.strip("_") not in SUMS:
                hidden = filter(self._is_hidden, _all(given))
                switches = self._switches if "max_unpool" in name else ()
                if any(id(x) not in switches for x in hidden):
                    node.metadata["hidden"] = True

    def _is_hidden(self, x: Tensor) -> bool:
        return id(x) in self._hidden

    def _label(self, results: Sequence[Any]) -> None:
        call = self._running[-1]
        layer = f"layer {call.name!r} ({type(call.module).__name__})" if call.name else "the network's own forward"
        for result in results:
            if isinstance(result, Tensor) and result.grad_fn is not None:
                metadata: Any = result.grad_fn.metadata  # torch declares it a method, and it is a dict
                metadata.setdefault("layer", layer)


def _whole(args: Sequence[Any]) -> Tensor | None:
    """Give what a function in place would write to: its first argument, or the tensor that this is a part of."""
    first = args[0] if args else None
    if not isinstance(first, Tensor):
        return None
    return first if first._base is None else first._base


def _note_inside(whole: Tensor, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Note what was done to a part of a tensor: the graph says "CopySlices", and hides the operation's own node.

    The operation is done again to shapes without values, which costs next to nothing.
    """
    node: Any = whole.grad_fn
    if node is None or operation_of(node) != "CopySlices":
        return

    def shape(value: Any) -> Any:
        if isinstance(value, (tuple, list)):
            return type(value)(map(shape, value))
        if not isinstance(value, Tensor):
            return value
        bare = torch.empty_like(value, device="meta", requires_grad=value.requires_grad)
        return bare.clone() if value.requires_grad else bare

    first, *others = map(shape, args)
    try:
        func(first, *others, **{name: shape(value) for name, value in kwargs.items()})
    except Exception:  # whatever it is, a rule says nothing about it
        return
    copied = func is Tensor.__setitem__ and operation_of(first.grad_fn) == "CopySlices"  # y[:2] = x
    node.metadata["inside"] = _of_a_copy() if copied else first.grad_fn


def _of_a_copy() -> Any:
    """Make the graph's node of a copy."""
    return torch.empty(0, device="meta", requires_grad=True).clone().copy_(torch.empty(0, device="meta")).grad_fn


def _all(given: list[Any]) -> list[Tensor]:
    """List the tensors among a function's arguments, also those in a list."""
    flat = [each for one in given for each in (one if isinstance(one, (tuple, list)) else (one,))]
    return [each for each in flat if isinstance(each, Tensor)]


class _ReluCall(NamedTuple):
    x: Tensor
    ceiling: float
    in_place: bool


def _as_relu(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _ReluCall | None:
    """Read a call of torch as min(max(X, 0), ceiling), if that is what it is."""
    if func not in _CLAMPS:
        return None
    try:
        x, low, high, in_place = _CLAMPS[func](*args, **kwargs)
    except TypeError:  # such as out=...
        return None
    high = math.inf if high is None else high
    known = isinstance(x, Tensor) and isinstance(low, (int, float)) and isinstance(high, (int, float))
    return _ReluCall(x, float(high), in_place) if known and low == 0 < high else None


_Clamp = tuple[Any, Any, Any, bool]


def _read_relu(input: Tensor, inplace: bool = False) -> _Clamp:
    return input, 0, None, inplace


def _read_relu6(input: Tensor, inplace: bool = False) -> _Clamp:
    return input, 0, 6, inplace


def _read_hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> _Clamp:
    return input, min_val, max_val, inplace


def _read_clamp(input: Tensor, min: Any = None, max: Any = None) -> _Clamp:
    return input, min, max, False


def _read_threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> _Clamp:
    return input, 0 if threshold == value == 0 else None, None, inplace


def _in_place(read: Callable[..., _Clamp]) -> Callable[..., _Clamp]:
    return lambda *args, **kwargs: (*read(*args, **kwargs)[:3], True)


_CLAMPS: dict[Callable[..., Any], Callable[..., _Clamp]] = {
    functional.relu: _read_relu, torch.relu: _read_relu, Tensor.relu: _read_relu,
    torch.relu_: _in_place(_read_relu), Tensor.relu_: _in_place(_read_relu),
    functional.relu6: _read_relu6,
    functional.hardtanh: _read_hardtanh, functional.hardtanh_: _in_place(_read_hardtanh),
    functional.threshold: _read_threshold, torch.threshold_: _in_place(_read_threshold),
    torch.clamp: _read_clamp, Tensor.clamp: _read_clamp, torch.clip: _read_clamp, Tensor.clip: _read_clamp,
    torch.clamp_: _in_place(_read_clamp), Tensor.clamp_: _in_place(_read_clamp),
    torch.clip_: _in_place(_read_clamp), Tensor.clip_: _in_place(_read_clamp),
    torch.clamp_min: _read_clamp, Tensor.clamp_min: _read_clamp,
    torch.clamp_min_: _in_place(_read_clamp), Tensor.clamp_min_: _in_place(_read_clamp),
}  # fmt: skip
"""Every way in which torch says ReLU, and how its arguments are read. Where X is exactly 0, or the ceiling, each has
ReLU's slope here, which is 0; torch itself gives clamp a slope of 1 there."""
