"""One forward pass, kept: every layer's output, and a graph whose ReLUs learn their rule on the way back."""

from __future__ import annotations

import copy
import difflib
import math
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from .backward_by_hand import relu_backward
from .classifier import Classifier

IMAGE, SCORES = "image", "scores"
"""The names of the first and of the last of a recording's layers."""


class Layer(NamedTuple):
    """A layer as it ran.

    Attributes:
        name: its name in the network, ":2" behind it for its second run; a ReLU that is no module is "block.relu".
        kind: such as "Conv2d".
        x: X_n, its output `(1, ...)`, with its graph. Nobody else holds it: the network went on with a copy.
        relu: of a ReLU its input, and its ceiling, which is 6 for ReLU6 and infinite for others; else None.
    """

    name: str
    kind: str
    x: Tensor
    relu: tuple[Tensor, float] | None = None


@dataclass(frozen=True, eq=False)
class Recording:
    """One forward pass, kept: for ladders from as many neurons as one likes.

    Attributes:
        classifier: whose it is.
        layers: a `Layer` for each layer in the order in which they ran; the first is "image", the last "scores".
    """

    classifier: Classifier
    layers: tuple[Layer, ...]
    rule: Rule

    def find(self, layer: str) -> int:
        """Find a layer's place in `layers` by its name.

        Raises:
            ValueError: no such layer; the error lists those that there are.
        """
        names = [each.name for each in self.layers]
        if layer in names:
            return names.index(layer)
        near = difflib.get_close_matches(str(layer), names, n=3)
        hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"no layer is called {layer!r}.{hint} There are {', '.join(names)}.")

    def x(self, layer: str) -> Tensor:
        """X_n, the output of a layer, `(1, ...)`, without its graph."""
        return self.layers[self.find(layer)].x.detach()

    def __repr__(self) -> str:
        """Say what was recorded in one line."""
        return f"Recording({len(self.layers)} layers from {IMAGE} to {SCORES})"


def record(classifier: Classifier, image: object) -> Recording:
    """Run the network once and keep every layer's output: for ladders from several neurons, or to look for one.

    Args:
        classifier: the network; nothing of it is changed.
        image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`; it is not changed.

    Returns:
        A `Recording`. `descend` goes down from any neuron of it.

    Raises:
        ValueError: a bad image, more than one image, values that are not finite.
    """
    x = classifier.prepare(image)
    if x.shape[0] != 1:
        raise ValueError(f"expected one image (1, C, H, W), got {tuple(x.shape)}. Pass x[:1].")
    with torch.inference_mode(False), torch.enable_grad():
        leaf = x.detach().clone().requires_grad_()
        watch = _Watch()
        twin = copy.copy(classifier)
        object.__setattr__(twin, "network", watch.observed(classifier.network))
        with watch:
            scores = twin.scores(leaf)
    if not scores.requires_grad:
        raise ValueError(
            "the scores do not depend on the image, so nothing can come down. Look for a detach() or no_grad() in the "
            "network's forward, or for weights that were made in inference mode."
        )
    layers = (Layer(IMAGE, "image", leaf), *watch.ran, Layer(SCORES, "scores", scores))
    return Recording(classifier, layers, watch.rule)


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
    """min(max(X, 0), ceiling), whose way back is not decided before it is walked."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ceiling: float, rule: Rule) -> Tensor:
        ctx.save_for_backward(x)
        ctx.ceiling, ctx.rule = ceiling, rule
        return x.clamp(0, None if math.isinf(ceiling) else ceiling)

    @staticmethod
    def backward(ctx: Any, *r: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return relu_backward(x, r[0], ctx.rule.name, ctx.ceiling), None, None


@dataclass
class _Call:
    """A module that is running."""

    name: str
    module: nn.Module
    noted: bool = False


class _Watch(TorchFunctionMode):
    """Sees each function of torch that this thread calls: exchanges every ReLU, and labels the graph with layers."""

    def __init__(self) -> None:
        super().__init__()
        self.rule = Rule()
        self.ran: list[Layer] = []
        self._running: list[_Call] = []
        self._given: dict[int, Tensor] = {}  # held, so that no id is used twice
        self._done = False

    def observed(self, network: nn.Module) -> nn.Module:
        """Copy the module tree, not the weights; only the copies call back, so the network has no hook at any time."""
        names = {module: name for name, module in network.named_modules()}
        copies: dict[nn.Module, nn.Module] = {}

        def twin(module: nn.Module) -> nn.Module:
            if module in copies or isinstance(module, torch.jit.ScriptModule):  # compiled: nobody can look into it
                return copies.get(module, module)
            copied = copies[module] = object.__new__(type(module))
            # Tables of their own (hooks, children, buffers); the tensors in them are the same ones.
            copied.__dict__ |= {
                key: copy.copy(value) if key.startswith("_") and isinstance(value, dict) else value
                for key, value in module.__dict__.items()
            }
            for key, child in module._modules.items():
                copied._modules[key] = child and twin(child)
            copied.register_forward_pre_hook(lambda *_: self._running.append(_Call(names[module], module)))
            copied.register_forward_hook(lambda _, inputs, output: self._leave(output))
            return copied

        return twin(network)

    def _leave(self, output: Any) -> Tensor | None:
        """A layer has run: keep its output, and let the network go on with a copy, which it may overwrite."""
        call = self._running.pop()
        self._done |= not self._running
        if self._done or call.noted or not isinstance(output, Tensor) or not output.requires_grad:
            return None
        if id(output) in self._given and next(call.module.children(), None) is not None:
            return None  # a block that hands on what its last layer gave is no layer of its own
        return self._note(call.name, type(call.module).__name__, output)

    def _note(self, name: str, kind: str, x: Tensor, gate: tuple[Tensor, float] | None = None) -> Tensor:
        runs = 1 + sum(each.name.rpartition(":")[0] == name or each.name == name for each in self.ran)
        self.ran.append(Layer(name if runs == 1 else f"{name}:{runs}", kind, x, gate))
        given = x.clone()
        self._given[id(given)] = given
        return given

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run one function of torch, or our ReLU in the place of torch's."""
        kwargs = kwargs or {}
        seen = None if self._done else _as_relu(func, args, kwargs)
        if seen is None or not self._running or not (seen.x.requires_grad and torch.is_grad_enabled()):
            result = func(*args, **kwargs)
            if self._running and isinstance(result, (Tensor, tuple, list)):
                self._label([result] if isinstance(result, Tensor) else result)
            return result
        x = seen.x.clone()  # what the ReLU saw, whatever becomes of the caller's tensor
        y: Tensor = _Relu.apply(x, seen.ceiling, self.rule)  # type: ignore[no-untyped-call]
        self._label([y])
        call = self._running[-1]
        call.noted = isinstance(call.module, (nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Threshold))
        name = call.name if call.noted else f"{call.name}.relu".removeprefix(".")
        given = self._note(name, type(call.module).__name__ if call.noted else "relu", y, (x.detach(), seen.ceiling))
        if not seen.in_place:
            return given
        self._given[id(seen.x)] = seen.x.copy_(given)
        return seen.x

    def _label(self, results: Sequence[Any]) -> None:
        call = self._running[-1]
        layer = f"layer {call.name!r} ({type(call.module).__name__})" if call.name else "the network's own forward"
        for result in results:
            if isinstance(result, Tensor) and result.grad_fn is not None:
                metadata: Any = result.grad_fn.metadata  # torch declares it a method, and it is a dict
                metadata.setdefault("layer", layer)


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
"""Every way in which torch says ReLU, and how its arguments are read."""

LINEAR = {
    "AdaptiveAvgPool1D", "AdaptiveAvgPool2D", "AdaptiveAvgPool3D", "AdaptiveMaxPool2D", "Add", "Alias", "Amax",
    "AsStrided", "AvgPool2D", "AvgPool3D", "Cat", "Clone", "ConstantPadNd", "Convolution", "Copy", "CopySlices",
    "CudnnBatchNorm", "CudnnConvolution", "Expand", "Flip", "Gather", "Index", "IndexSelect", "Max",
    "MaxPool2DWithIndices", "MaxPool3DWithIndices", "Mean", "MiopenBatchNorm", "MkldnnConvolution", "NativeBatchNorm",
    "Neg", "Permute", "PixelShuffle", "PixelUnshuffle", "ReflectionPad2D", "Repeat", "ReplicationPad2D", "Reshape",
    "ReshapeAlias", "Roll", "Select", "Slice", "Split", "SplitWithSizes", "Squeeze", "Stack", "Sub", "Sum", "T",
    "ToCopy", "Transpose", "Unbind", "UnsafeSplit", "UnsafeView", "Unsqueeze", "UpsampleBicubic2D",
    "UpsampleBilinear2D", "UpsampleNearest2D", "View",
}  # fmt: skip
"""Operations that hand R on as back-propagation does under every rule: linear ones, and those that pick a maximum."""

LINEAR_IN_EACH = {"Addbmm", "Addmm", "Addmv", "Baddbmm", "Bmm", "Div", "Dot", "Linear", "Mm", "Mul", "Mv"}
"""Products: linear as long as one factor alone depends on the image (Div: the one above the line)."""


def strange_operation(f: Tensor, image: Tensor) -> tuple[str, str] | None:
    """The first operation between f and the image for which a ReLU rule says nothing: its layer and its name."""
    reaches: dict[Any, bool] = {}
    top: Any = f.grad_fn
    layers: dict[Any, str] = {top: "the network's own forward"}
    order: list[Any] = []
    stack = [(top, False)]
    while stack:
        node, back = stack.pop()
        below = [each for each, _ in node.next_functions if each is not None]
        if back:
            reaches[node] = getattr(node, "variable", None) is image or any(reaches[each] for each in below)
            order.append(node)
        elif node not in reaches:
            reaches[node] = False
            layers[node] = node.metadata.get("layer", layers[node])
            stack.append((node, True))
            for each in below:
                if each not in reaches:
                    layers.setdefault(each, layers[node])
                    stack.append((each, False))
    for node in reversed(order):
        ways = [each is not None and reaches[each] for each, _ in node.next_functions]
        operation = re.sub(r"Backwards?\d*$", "", node.name().rpartition("::")[2])
        fine = (
            not any(ways)
            or isinstance(node, _Relu._backward_cls)
            or operation in LINEAR
            or (operation in LINEAR_IN_EACH and sum(ways) == 1 and (operation != "Div" or ways[0]))
        )
        if not fine:
            return layers[node], operation
    return None
