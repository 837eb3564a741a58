"""Ladders against paper and pencil, nested loops, and torchvision's networks with ReLUs of our own."""

import copy
import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from no_trace import no_trace
from small_networks import MadeOf, kinked_network, made_of, smooth_network
from torch import Tensor, nn
from torch.nn import functional

from deepinside_edu import Classifier, Ladder, Neuron, Rung, backward_ladder, descend, photo, record
from deepinside_edu.classifier import NotFiniteError
from deepinside_edu.deconvnet import CAUSES, Distance, Gate
from deepinside_edu.torchvision_import import import_torchvision

RULES = ("gradient", "deconvnet", "guided")


def normal(*shape: int, seed: int = 1, dtype=torch.float64) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


IMAGE = normal(1, 3, 6, 6)


def conv(i: int = 3, o: int = 4, k: int = 3) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2)


def names(ladder: Ladder) -> list[str]:
    return [rung.name for rung in ladder]


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm()) / float(expected.norm())


# Nested loops, forward and backward under each rule, without torch and without the package.


def slow_forward(layer: Any, x: np.ndarray) -> np.ndarray:
    kind, *settings = layer
    if kind == "relu":
        return np.array([min(max(v, 0.0), settings[0]) for v in x.ravel()]).reshape(x.shape)
    if kind == "flatten":
        return x.ravel()
    if kind == "linear":
        weights, bias = settings
        return np.array([sum(w * v for w, v in zip(row, x, strict=True)) for row in weights]) + bias
    if kind == "pool":
        return np.array([
            [[max(x[c, 2 * i + u, 2 * j + v] for u in (0, 1) for v in (0, 1)) for j in range(x.shape[2] // 2)]
             for i in range(x.shape[1] // 2)] for c in range(x.shape[0])
        ])  # fmt: skip
    kernels, bias, padding = settings
    out, inside, kh, kw = kernels.shape
    h, w = x.shape[1] + 2 * padding - kh + 1, x.shape[2] + 2 * padding - kw + 1
    y = np.zeros((out, h, w)) + bias[:, None, None]
    for o, c, i, j, u, v in np.ndindex(out, inside, h, w, kh, kw):
        row, column = i + u - padding, j + v - padding
        if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
            y[o, i, j] += kernels[o, c, u, v] * x[c, row, column]
    return y


def slow_backward(layer: Any, x: np.ndarray, r: np.ndarray, rule: str) -> np.ndarray:
    kind, *settings = layer
    below = np.zeros(x.shape)
    if kind == "relu":
        for place in np.ndindex(*x.shape):
            open_before, open_behind = 0 < x[place] < settings[0], r[place] > 0
            passes = {"gradient": open_before, "deconvnet": open_behind, "guided": open_before and open_behind}[rule]
            below[place] = r[place] if passes else 0.0
    elif kind == "flatten":
        below = r.reshape(x.shape)
    elif kind == "linear":
        for o, i in np.ndindex(*settings[0].shape):
            below[i] += settings[0][o, i] * r[o]
    elif kind == "pool":
        for c, i, j in np.ndindex(*r.shape):
            window = [(2 * i + u, 2 * j + v) for u in (0, 1) for v in (0, 1)]
            top = max(x[(c, *place)] for place in window)
            first = next(place for place in window if x[(c, *place)] == top)
            below[(c, *first)] += r[c, i, j]
    else:
        kernels, _, padding = settings
        for o, i, j in np.ndindex(*r.shape):
            for c, u, v in np.ndindex(*kernels.shape[1:]):
                row, column = i + u - padding, j + v - padding
                if 0 <= row < x.shape[1] and 0 <= column < x.shape[2]:
                    below[c, row, column] += kernels[o, c, u, v] * r[o, i, j]
    return below


def slow_ladder(
    layers: list[Any], image: np.ndarray, top: int, r: np.ndarray, rule: str
) -> tuple[list[Any], list[Any]]:
    """X and R from the output of layer `top` down to the image."""
    xs = [image]
    for layer in layers[: top + 1]:
        xs.append(slow_forward(layer, xs[-1]))
    rs = [r]
    for layer, x in zip(layers[top::-1], xs[-2::-1], strict=True):
        rs.append(slow_backward(layer, x, rs[-1], rule))
    return xs[::-1], rs


def as_network(layers: list[Any], size: tuple[int, int], in_place: bool = False) -> Classifier:
    modules: list[nn.Module] = []
    for kind, *settings in layers:
        if kind == "relu":
            modules.append(nn.ReLU(in_place) if math.isinf(settings[0]) else nn.ReLU6(in_place))
        elif kind in ("conv", "linear"):
            weights, bias = map(torch.from_numpy, settings[:2])
            made: Any = (
                nn.Conv2d(weights.shape[1], weights.shape[0], weights.shape[2:], padding=settings[2])
                if kind == "conv" else nn.Linear(weights.shape[1], weights.shape[0])
            )  # fmt: skip
            made.weight, made.bias = nn.Parameter(weights), nn.Parameter(bias)
            modules.append(made)
        else:
            modules.append({"flatten": nn.Flatten(), "pool": nn.MaxPool2d(2)}[kind])
    classes = len(layers[-1][1]) if layers[-1][0] == "linear" else len(layers[-2][1])
    channels = layers[0][1].shape[1]
    network = nn.Sequential(*modules).double().eval()
    return Classifier(network, [f"class {c}" for c in range(classes)], (), size, (0.5,) * channels, (0.25,) * channels)


# Worked out on paper: a picture of 6×6, an edge detector, a ReLU, a pooling, two scores

SIX = [
    [0, 0, 1, 2, 1, 0],
    [0, 1, 2, 3, 2, 1],
    [1, 2, 3, 2, 1, 0],
    [0, 1, 2, 1, 0, 2],
    [2, 0, 1, 0, 3, 1],
    [1, 1, 0, 2, 1, 0],
]
EDGE = np.array([[[[1.0, 0, -1], [1, 0, -1], [1, 0, -1]]]])
PAPER: list[Any] = [
    ("conv", EDGE, np.array([1.0]), 0), ("relu", math.inf), ("pool",), ("flatten",),
    ("linear", np.array([[2.0, -3, 1, 4], [1, 1, 1, 1]]), np.array([5.0, 6])),
]  # fmt: skip
# Columns of three added up, less those two to the right, plus 1.
PAPER_X1 = [[-4, -3, 3, 7], [-5, -1, 5, 4], [-2, 1, 3, 1], [1, 0, 0, 1]]
PAPER_X2 = [[0, 0, 3, 7], [0, 0, 5, 4], [0, 1, 3, 1], [1, 0, 0, 1]]
PAPER_R2 = [[2, 0, 0, -3], [0, 0, 0, 0], [0, 1, 4, 0], [0, 0, 0, 0]]  # of four zeros and of two ones the first
PAPER_R1 = {
    "gradient": [[0, 0, 0, -3], [0, 0, 0, 0], [0, 1, 4, 0], [0, 0, 0, 0]],
    "deconvnet": [[2, 0, 0, 0], [0, 0, 0, 0], [0, 1, 4, 0], [0, 0, 0, 0]],
    "guided": [[0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 4, 0], [0, 0, 0, 0]],
}
ROW = [0, 1, 4, -1, -4, 0]
PAPER_R0 = {
    "gradient": [[0, 0, 0, -3, 0, 3]] * 2 + [[0, 1, 4, -4, -4, 3]] + [ROW] * 2 + [[0] * 6],
    "deconvnet": [[2, 0, -2, 0, 0, 0]] * 2 + [[2, 1, 2, -1, -4, 0]] + [ROW] * 2 + [[0] * 6],
    "guided": [[0] * 6] * 2 + [ROW] * 3 + [[0] * 6],
}


def on_paper() -> tuple[Classifier, Tensor]:
    return as_network(PAPER, (6, 6), in_place=True), torch.tensor([[SIX]], dtype=torch.float64)


def test_a_picture_of_6_by_6_worked_out_on_paper() -> None:
    classifier, x = on_paper()
    ladder = backward_ladder(classifier, x, 0, RULES)
    assert isinstance(ladder, Ladder)
    assert names(ladder) == ["scores", "4", "3", "2", "1", "0", "image"]
    assert ladder.value == 2 * 0 - 3 * 7 + 1 + 4 * 3 + 5
    assert (ladder.neuron, ladder.rules) == (0, RULES)
    for rung in ladder:
        assert list(rung.r) == list(RULES)
    xs = {"image": SIX, "0": PAPER_X1, "1": PAPER_X2, "2": [[0, 7], [1, 3]]}
    for name, expected in xs.items():
        assert ladder[name].x[0, 0].tolist() == expected
    for rule in RULES:
        assert ladder["scores"].r[rule].tolist() == [[1, 0]]
        assert ladder["3"].r[rule].tolist() == [[2, -3, 1, 4]]
        assert ladder["2"].r[rule][0, 0].tolist() == [[2, -3], [1, 4]]
        assert ladder["1"].r[rule][0, 0].tolist() == PAPER_R2
        assert ladder["0"].r[rule][0, 0].tolist() == PAPER_R1[rule]
        assert ladder["image"].r[rule][0, 0].tolist() == PAPER_R0[rule]


def test_the_gate_of_the_picture_on_paper() -> None:
    ladder = backward_ladder(*on_paper(), 0, RULES)
    assert [rung.name for rung in ladder if rung.gate] == ["1"]
    gate = ladder["1"].gate
    assert isinstance(gate, Gate)
    assert gate.x[0, 0].tolist() == PAPER_X1
    assert gate.forward_mask[0, 0].tolist() == [[v > 0 for v in row] for row in PAPER_X1]
    for rule in RULES:
        assert gate.above[rule][0, 0].tolist() == PAPER_R2
        assert gate.backward_mask(rule)[0, 0].tolist() == [[v > 0 for v in row] for row in PAPER_R2]
        assert gate.below(rule)[0, 0].tolist() == PAPER_R1[rule]
    assert CAUSES == ("same", "forward mask", "backward mask", "from above")
    rest = [[0] * 4] * 3
    assert gate.cause("deconvnet")[0, 0].tolist() == [[1, 0, 0, 2], *rest]
    assert gate.cause("gradient", "deconvnet")[0, 0].tolist() == [[1, 0, 0, 2], *rest]
    assert gate.cause("guided")[0, 0].tolist() == [[0, 0, 0, 2], *rest]
    assert gate.cause("guided", "deconvnet")[0, 0].tolist() == [[1, 0, 0, 0], *rest]
    assert gate.cause("guided", "guided").sum() == 0
    assert gate.cause("deconvnet").dtype == torch.uint8


def test_the_distances_of_the_picture_on_paper() -> None:
    ladder = backward_ladder(*on_paper(), 0, RULES)
    assert ladder["1"].distance("deconvnet") == (1, 0, 0)
    # (−3, 1, 4) beside (2, 1, 4): 17 / √(26 · 21), √(9 + 4) / √26, 2 of 16
    found = ladder["0"].distance("deconvnet")
    assert isinstance(found, Distance)
    assert found == pytest.approx((17 / math.sqrt(26 * 21), math.sqrt(13 / 26), 2 / 16), rel=1e-12)
    assert found._fields == ("cosine", "relative", "differing")
    assert ladder["0"].distance("guided") == pytest.approx((17 / math.sqrt(26 * 17), math.sqrt(9 / 26), 1 / 16))
    assert ladder["0"].distance("guided", "deconvnet") == pytest.approx(
        (17 / math.sqrt(21 * 17), 2 / math.sqrt(21), 1 / 16)
    )


def test_the_ladders_of_other_neurons_on_paper() -> None:
    classifier, x = on_paper()
    ladder = backward_ladder(classifier, x, Neuron("2", 0, "sum"), RULES)
    assert names(ladder) == ["2", "1", "0", "image"]
    assert ladder.value == 11
    assert ladder["1"].r["deconvnet"][0, 0].tolist() == [[1, 0, 0, 1], [0] * 4, [0, 1, 1, 0], [0] * 4]
    assert ladder["0"].r["gradient"][0, 0].tolist() == [[0, 0, 0, 1], [0] * 4, [0, 1, 1, 0], [0] * 4]
    ladder = backward_ladder(classifier, x, Neuron("0", 0), RULES)
    assert ladder.neuron == Neuron("0", 0, (0, 3))
    assert ladder.value == 7
    for rule in RULES:
        assert ladder["image"].r[rule][0, 0].tolist() == [[0, 0, 0, 1, 0, -1]] * 3 + [[0] * 6] * 3


few = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 3.0])


@st.composite
def chains(draw: Any) -> tuple[list[Any], np.ndarray]:
    def array(*shape: int) -> np.ndarray:
        size = math.prod(shape)
        return np.array(draw(st.lists(few, min_size=size, max_size=size))).reshape(shape)

    ceilings = st.sampled_from([math.inf, 6.0])
    padding = draw(st.integers(0, 1))
    layers: list[Any] = [("conv", array(2, 1, 3, 2), array(2), padding), ("relu", draw(ceilings)), ("pool",)]
    layers += [("conv", array(2, 2, 2, 2), array(2), 1), ("relu", draw(ceilings)), ("flatten",)]
    image, x = array(1, 6, 5), np.zeros((1, 6, 5))
    for layer in layers:
        x = slow_forward(layer, x)
    layers += [("linear", array(3, x.size), array(3)), ("relu", math.inf), ("linear", array(2, 3), np.array([7.0, 8]))]
    return layers, image


@pytest.mark.slow
@given(chains(), st.integers(0, 8), st.integers(0, 999), st.booleans())
def test_ladders_equal_nested_loops_to_the_bit(chain: Any, top: int, unit: int, in_place: bool) -> None:
    """Whole numbers are not rounded, so no tolerance can hide anything."""
    layers, image = chain
    classifier = as_network(layers, (6, 5), in_place)
    x = torch.from_numpy(image)[None]
    recording = record(classifier, x)
    shape = recording.x(str(top)).shape[1:]
    place = tuple(int(i) for i in np.unravel_index(unit % math.prod(shape), shape))
    ladder = descend(recording, Neuron(str(top), place[0], place[1:]), RULES)
    assert names(ladder) == [*map(str, range(top, -1, -1)), "image"]
    start = np.zeros(shape)
    start[place] = 1
    for rule in RULES:
        xs, rs = slow_ladder(layers, image, top, start, rule)
        assert ladder.value == xs[0][place]
        for rung, layer_x, layer_r in zip(ladder, xs, rs, strict=True):
            assert rung.x[0].tolist() == layer_x.tolist()
            assert rung.r[rule][0].tolist() == layer_r.tolist()


# What torchvision ships. The oracle: every ReLU out of place and ours, as a module or in the place of F.relu.


class OwnRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: str, ceiling: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.rule, ctx.ceiling = rule, ceiling
        return torch.minimum(torch.maximum(x, torch.zeros_like(x)), torch.full_like(x, ceiling))

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Any:
        x = ctx.saved_tensors[0]
        if ctx.rule in ("gradient", "guided"):
            r = r * (x > 0) * (x < ctx.ceiling)
        if ctx.rule in ("deconvnet", "guided"):
            r = r * (r > 0)
        return r, None, None


class OwnReluModule(nn.Module):
    def __init__(self, rule: str, ceiling: float) -> None:
        super().__init__()
        self.rule, self.ceiling = rule, ceiling

    def forward(self, x: Tensor) -> Tensor:
        return OwnRelu.apply(x, self.rule, self.ceiling)


def relus_replaced(network: nn.Module, rule: str) -> nn.Module:
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared)
    own: dict[nn.Module, nn.Module] = {}
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, (nn.ReLU, nn.ReLU6)):
                ceiling = 6.0 if isinstance(child, nn.ReLU6) else math.inf
                setattr(parent, name, own.setdefault(child, OwnReluModule(rule, ceiling)))
    return twin


Pick = Callable[[dict[str, Tensor]], Tensor]


def oracle_ladder(network: nn.Module, x: Tensor, rule: str, pick: Pick) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """X_n and R_n of every innermost module of the network that f depends on, of the scores and of the image."""
    twin = network if rule == "plain" else relus_replaced(network, rule)
    runs: Counter[str] = Counter()
    xs: dict[str, Tensor] = {}
    handles = []
    for name, module in twin.named_modules():
        if not list(module.children()):

            def keep(module: nn.Module, inputs: Any, output: Tensor, name: str = name) -> Tensor:
                runs[name] += 1
                xs[name if runs[name] == 1 else f"{name}:{runs[name]}"] = output
                return output.clone()

            handles.append(module.register_forward_hook(keep))
    leaf = x.clone().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        if rule != "plain":
            patch.setattr(functional, "relu", lambda input, inplace=False: OwnRelu.apply(input, rule, math.inf))
        try:
            xs["scores"] = twin(leaf.clone())
        finally:
            for handle in handles:
                handle.remove()
    xs["image"] = leaf
    rs = torch.autograd.grad(pick(xs), list(xs.values()), allow_unused=True)
    return ({name: value.detach() for name, value in xs.items()},
            {name: r for name, r in zip(xs, rs, strict=True) if r is not None})  # fmt: skip


MODELS: dict[str, dict[str, Any]] = {
    "alexnet": {}, "vgg11": {}, "vgg11_bn": {}, "squeezenet1_1": {}, "googlenet": {"init_weights": False},
    "resnet18": {}, "densenet121": {}, "inception_v3": {"init_weights": False}, "mobilenet_v2": {},
}  # fmt: skip
MIDDLE = {
    "alexnet": "features.8", "vgg11": "features.11", "vgg11_bn": "features.15", "squeezenet1_1": "features.7.expand3x3",
    "googlenet": "inception4a.branch2.1.bn", "resnet18": "layer2.1.conv1",
    "densenet121": "features.denseblock2.denselayer3.conv2", "inception_v3": "Mixed_5c.branch5x5_2.bn",
    "mobilenet_v2": "features.5.conv.2",
}  # fmt: skip


@pytest.fixture(scope="module", params=MODELS)
def shipped(request: pytest.FixtureRequest) -> tuple[str, Classifier, Tensor]:
    name, side = request.param, 80 if request.param == "inception_v3" else 64
    torch.manual_seed(0)
    options = MODELS[name] | ({"aux_logits": True} if name in ("googlenet", "inception_v3") else {})
    network = import_torchvision().models.get_model(name, weights=None, num_classes=10, **options)
    with torch.no_grad():
        for module in network.modules():  # alive: no layer's output is all 0
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=math.sqrt(2 / module.weight[0].numel()))
            if isinstance(module, (nn.Conv2d, nn.BatchNorm2d)) and module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 2)
    return name, Classifier(network.eval(), list("abcdefghij"), (), (side, side)), normal(
        1, 3, side, side, dtype=torch.float32
    )  # fmt: skip


def assert_ladders_agree(ladder: Ladder, rule: str, xs: dict[str, Tensor], rs: dict[str, Tensor]) -> None:
    expected = [name for name in rs if name in xs]
    assert set(expected) <= set(names(ladder))
    for name in expected:
        assert relative(ladder[name].x, xs[name]) <= 1e-5 or not bool(xs[name].any())
        assert float((ladder[name].r[rule] - rs[name]).norm()) <= 1e-5 * float(rs[name].norm()), name


@pytest.mark.slow
def test_what_torchvision_ships_equals_an_oracle_and_stays_as_it_was(shipped: Any) -> None:
    name, classifier, x = shipped
    x.requires_grad_()
    with torch.no_grad():
        c = int(classifier.network(x).argmax())
    functions = [functional.relu, torch.relu, functional.relu6, functional.hardtanh]
    middle = Neuron(MIDDLE[name], 1, "max")
    with no_trace(classifier.network, x):
        recording = record(classifier, x)
        ladder = descend(recording, c, RULES)
        lower = descend(recording, middle, RULES)
        summed = descend(recording, Neuron(MIDDLE[name], 2, "sum"), RULES)
    assert x.grad is None
    x.requires_grad_(False)
    assert [functional.relu, torch.relu, functional.relu6, functional.hardtanh] == functions
    assert len(set(names(ladder))) == len(ladder)
    assert names(ladder)[0] == "scores"
    assert names(ladder)[-1] == "image"
    # The gradient's oracle is the network itself, without anything of ours.
    xs, rs = oracle_ladder(classifier.network, x, "plain", lambda xs: xs["scores"][0, c])
    image = {"plain": rs["image"]}
    assert float(image["plain"].norm()) > 0
    assert relative(ladder["image"].r["gradient"], image["plain"]) <= 1e-5
    picks: list[tuple[Ladder, Pick]] = [
        (ladder, lambda xs: xs["scores"][0, c]), (lower, lambda xs: xs[middle.layer][0, 1].max()),
        (summed, lambda xs: xs[middle.layer][0, 2].sum()),
    ]  # fmt: skip
    for found, pick in picks:
        for rule in RULES:
            xs, rs = oracle_ladder(classifier.network, x, rule, pick)
            image[rule] = rs["image"]
            assert float(rs["image"].norm()) > 0
            assert_ladders_agree(found, rule, xs, rs)
            assert found.value == pytest.approx(float(pick(xs)), rel=1e-5)
        for one, other in (("gradient", "deconvnet"), ("guided", "gradient"), ("guided", "deconvnet")):
            assert relative(image[one], image[other]) > 0.01
    gates = [rung for rung in ladder if rung.gate]
    assert len(gates) == GATES[name]
    assert all(rung.gate.ceiling == (6 if name == "mobilenet_v2" else math.inf) for rung in gates if rung.gate)


GATES = {
    "alexnet": 7, "vgg11": 10, "vgg11_bn": 10, "squeezenet1_1": 26, "googlenet": 57, "resnet18": 17,
    "densenet121": 121, "inception_v3": 94, "mobilenet_v2": 35,
}  # fmt: skip
"""How many ReLUs run on the way: such as 1 + 3 · 8 + 1 in SqueezeNet, 2 · 58 + 5 in DenseNet."""


WITHOUT_RELU = {
    "convnext_tiny": ({}, "LayerNorm2d|CNBlock|GELU|LayerNorm"), "efficientnet_b0": ({}, "SiLU|SqueezeExcitation"),
    "mobilenet_v3_small": ({}, "Hardswish"), "swin_t": ({}, "LayerNorm"), "vit_b_32": ({"image_size": 64}, "LayerNorm"),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_RELU)
def test_networks_without_relu_have_a_gradient_and_no_other_rule(name: str) -> None:
    options, kind = WITHOUT_RELU[name]
    torch.manual_seed(0)
    network = import_torchvision().models.get_model(name, weights=None, num_classes=10, **options).eval()
    with torch.no_grad():  # torchvision's own last layers begin at 0
        for parameter in network.parameters():
            if not bool(parameter.any()):
                parameter.normal_(std=0.1)
    classifier, x = Classifier(network, list("abcdefghij"), (), (64, 64)), normal(1, 3, 64, 64, dtype=torch.float32)
    recording = record(classifier, x)
    with no_trace(network, x):
        ladder = descend(recording, 3, "gradient")
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(leaf)[0, 3], leaf)
    assert float(expected.norm()) > 0
    assert relative(ladder["image"].r["gradient"], expected) <= 1e-5
    for rule in ("deconvnet", "guided"):
        with pytest.raises(ValueError, match=rf"rules for ReLU, and layer '\w+[\w.]*' \(({kind})\) computes \w+, for"):
            descend(recording, 3, rule)


# Loudness


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(2).transpose(1, 2)
        return self.inner(rows, rows, rows, need_weights=False)[0]


def scripted() -> nn.Module:
    import warnings

    with warnings.catch_warnings():  # torch advises against TorchScript, and learners have old files
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Sequential(conv(4, 4), nn.ReLU()).double())


STRANGE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "GELU": (nn.GELU, "Gelu"), "SiLU": (nn.SiLU, "Silu"), "Hardswish": (nn.Hardswish, "Hardswish"),
    "Sigmoid": (nn.Sigmoid, "Sigmoid"), "LeakyReLU": (nn.LeakyReLU, "LeakyRelu"), "ELU": (nn.ELU, "Elu"),
    "Softplus": (nn.Softplus, "Softplus"), "Tanh": (nn.Tanh, "Tanh"), "PReLU": (nn.PReLU, "PreluKernel"),
    "LayerNorm": (lambda: nn.LayerNorm((4, 6, 6)), "NativeLayerNorm"), "Softmax": (lambda: nn.Softmax(1), "Softmax"),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), "NativeGroupNorm"), "Hardtanh": (lambda: nn.Hardtanh(-1, 1), "Hardtanh"),
    "Threshold": (lambda: nn.Threshold(0.5, 0), "Threshold"),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(2), ""),
    "MultiheadAttention": (Attention, ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
def test_a_layer_for_which_a_rule_says_nothing_is_named(kind: str) -> None:
    make, operation = STRANGE[kind]
    classifier = made_of(lambda self, x: self.act(self.relu(self.a(x))), a=conv(), relu=nn.ReLU(), act=make())
    recording = record(classifier, IMAGE)
    name = "act.inner" if kind == "MultiheadAttention" else "act"
    for rules in ("deconvnet", "guided", ("gradient", "deconvnet")):
        with no_trace(classifier.network, IMAGE), pytest.raises(ValueError, match="rules for ReLU") as caught:
            descend(recording, 0, rules)
        assert f"layer {name!r} ({kind}) computes {operation}" in str(caught.value)
        assert "rules=('gradient',)" in str(caught.value)
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    assert relative(descend(recording, 0, "gradient")["image"].r["gradient"], expected) <= 1e-9
    # Above the neuron it does not hinder.
    ladder = descend(recording, Neuron("relu", 1, "sum"), RULES)
    assert names(ladder) == ["relu", "a", "image"]
    assert not ladder["image"].r["deconvnet"].equal(ladder["image"].r["gradient"])


def test_a_script_cannot_be_looked_into_and_is_told() -> None:
    classifier = made_of(lambda self, x: self.script(self.a(x).relu()), a=conv(), script=scripted())
    with no_trace(classifier.network, IMAGE):
        recording = record(classifier, IMAGE)
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    assert relative(descend(recording, 0, "gradient")["image"].r["gradient"], expected) <= 1e-9
    with pytest.raises(ValueError, match="rules for ReLU, and layer '"):
        descend(recording, 0, "guided")
    assert names(descend(recording, Neuron("relu", 0), RULES)) == ["relu", "a", "image"]


def test_a_gate_on_another_part_of_the_image_is_a_product_of_two_layers() -> None:
    classifier = made_of(lambda self, x: self.a(x).relu() * self.b(x).relu(), a=conv(), b=conv())
    with pytest.raises(ValueError, match="the network's own forward computes Mul"):
        backward_ladder(classifier, IMAGE, 0)


def test_a_network_without_any_relu_is_told() -> None:
    classifier = made_of(lambda self, x: functional.max_pool2d(self.a(x), 2), a=conv())
    for rule in ("deconvnet", "guided"):
        with pytest.raises(ValueError, match=r"runs no ReLU.*rules=\('gradient',\)"):
            backward_ladder(classifier, IMAGE, 0, rule)
    assert len(backward_ladder(classifier, IMAGE, 0, "gradient")) == 5


def test_linear_layers_alone_below_a_relu_give_all_rules_the_same() -> None:
    classifier = made_of(
        lambda self, x: self.b(functional.avg_pool2d(functional.max_pool2d(self.a(x), 2), 2, 1)).relu(),
        a=conv(), b=conv(4, 4),
    )  # fmt: skip
    ladder = backward_ladder(classifier, IMAGE, Neuron("b", 2), RULES)
    assert names(ladder) == ["b", "a", "image"]
    for rung in ladder:
        assert rung.r["gradient"].equal(rung.r["deconvnet"])
        assert rung.r["gradient"].equal(rung.r["guided"])
        assert rung.distance("deconvnet") == pytest.approx((1, 0, 0), abs=1e-12)
        assert rung.gate is None


def test_a_preprocessing_inside_the_network_is_seen_through() -> None:
    """Grey, scaled and resized before the first convolution."""
    classifier = made_of(
        lambda self, x: self.a(functional.interpolate((x * 2 - 0.5).mean(1, keepdim=True), (4, 5), mode="bilinear"))
        .relu(), a=conv(1, 4),
    )  # fmt: skip
    recording = record(classifier, IMAGE)
    with torch.no_grad():
        xs = classifier.network.a(
            functional.interpolate((IMAGE * 2 - 0.5).mean(1, keepdim=True), (4, 5), mode="bilinear")
        )
    above = classifier.network.head[1].weight[1].detach().reshape(xs.shape)
    for rule, mask in (("gradient", xs > 0), ("deconvnet", above > 0), ("guided", (xs > 0) & (above > 0))):
        leaf = IMAGE.clone().requires_grad_()
        y = classifier.network.a(functional.interpolate((leaf * 2 - 0.5).mean(1, True), (4, 5), mode="bilinear"))
        (expected,) = torch.autograd.grad(y, leaf, above * mask)
        torch.testing.assert_close(descend(recording, 1, rule)["image"].r[rule], expected, rtol=1e-9, atol=1e-12)


SHAPES: dict[str, tuple[Any, dict[str, Callable[[], nn.Module]]]] = {
    "residual sum in place": (
        lambda self, x: self.relu(self.b(self.relu(self.a(x))).add_(self.c(x))),
        {"a": conv, "b": lambda: conv(4, 4), "c": conv, "relu": lambda: nn.ReLU(inplace=True)},
    ),
    "branches and cat": (
        lambda self, x: self.c(torch.cat([self.relu(self.a(x)), self.relu(self.b(x))], 1)),
        {"a": conv, "b": lambda: conv(3, 4, 1), "c": lambda: conv(8, 2), "relu": lambda: nn.ReLU(inplace=True)},
    ),
    "chunk": (
        lambda self, x: torch.cat([self.relu(part) for part in self.a(x).chunk(2, 1)], 1),
        {"a": conv, "relu": nn.ReLU},
    ),
    "split": (
        lambda self, x: self.relu(self.a(x).split([1, 3], 1)[1] + self.a(x).split([3, 1], 1)[0]),
        {"a": conv, "relu": lambda: nn.ReLU(inplace=True)},
    ),
    "one input, twice": (
        lambda self, x: self.relu(self.a(x)) - 2 * self.relu(-self.a(x)), {"a": conv, "relu": nn.ReLU},
    ),
    "a ReLU of a ReLU": (
        lambda self, x: self.relu(self.b(self.relu(self.relu(self.a(x))))),
        {"a": conv, "b": lambda: conv(4, 4), "relu": nn.ReLU},
    ),
    "a layer under two names": (
        lambda self, x: self.relu(self.c(self.relu(self.b(self.relu(self.a(x)))))), {"a": conv, "relu": nn.ReLU},
    ),
    "max and average": (
        lambda self, x: self.avg(self.relu(self.b(self.max(self.relu6(self.a(x)))))),
        {"a": conv, "b": lambda: conv(4, 4), "relu": nn.ReLU, "relu6": lambda: nn.ReLU6(inplace=True),
         "max": lambda: nn.MaxPool2d(3, 2, 1), "avg": lambda: nn.AvgPool2d(2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("frozen", [True, False])
def test_networks_of_every_shape_equal_the_oracle_at_every_layer(shape: str, frozen: bool) -> None:
    forward, children = SHAPES[shape]
    made = {name: make() for name, make in children.items()}
    if shape == "a layer under two names":
        made["b"] = made["c"] = conv(4, 4)
    classifier = made_of(forward, **made)
    classifier.network.requires_grad_(not frozen)
    with no_trace(classifier.network, IMAGE):
        ladder = backward_ladder(classifier, IMAGE, 1, RULES)
    assert len(set(names(ladder))) == len(ladder)
    seen = []
    for rule in RULES:
        xs, rs = oracle_ladder(classifier.network, IMAGE, rule, lambda xs: xs["scores"][0, 1])
        if not frozen:
            assert sorted(names(ladder)) == sorted(rs)
        for name, r in rs.items():
            assert ladder[name].x.equal(xs[name])
            torch.testing.assert_close(ladder[name].r[rule], r, rtol=1e-9, atol=1e-12)
        seen.append(rs["image"])
    assert relative(seen[0], seen[1]) > 0.01
    assert relative(seen[0], seen[2]) > 0.01


# Invariants

seeds = st.integers(0, 999)


@pytest.mark.slow
@given(seeds, st.sampled_from(["relu", "relu6"]))
def test_below_a_relu_guided_is_only_where_both_others_are_and_equals_them(seed: int, name: str) -> None:
    """At the first ReLU on the way down all rules still share one R."""
    classifier = made_of(
        lambda self, x: getattr(functional, name)(self.b(torch.relu(self.a(x)))), seed=seed, a=conv(), b=conv(4, 4)
    )
    ladder = backward_ladder(classifier, 3 * IMAGE, 0, RULES)
    gradient, deconvnet, guided = (ladder["b"].r[rule] for rule in RULES)
    inside = (gradient != 0) & (deconvnet != 0)
    assert guided.equal(torch.where(inside, gradient, 0))
    assert guided.equal(torch.where(inside, deconvnet, 0))
    assert bool((guided >= 0).all())
    assert bool((deconvnet >= 0).all())
    assert bool(((guided != 0) <= (deconvnet != 0)).all())


@pytest.mark.slow
@given(seeds)
def test_where_every_activity_is_positive_guided_is_deconvnet(seed: int) -> None:
    """The forward masks are all open; the backward masks are what is left of either."""
    classifier = made_of(lambda self, x: self.b(self.a(x).relu()).relu(), seed=seed, a=conv(), b=conv(4, 4))
    with torch.no_grad():
        classifier.network.a.bias += 100
        classifier.network.b.weight.abs_()
    ladder = backward_ladder(classifier, IMAGE, 0, RULES)
    for rung in ladder:
        assert rung.r["guided"].equal(rung.r["deconvnet"])
        if rung.gate:
            assert bool(rung.gate.forward_mask.all())
            assert not bool((rung.gate.cause("deconvnet") == 1).any())
    with torch.no_grad():
        classifier.network.head[1].weight.abs_()
    for rung in backward_ladder(classifier, IMAGE, 0, RULES):  # and now no R is negative before the image
        assert rung.r["gradient"].equal(rung.r["deconvnet"])


@pytest.mark.slow
@given(seeds, st.sampled_from([0.125, 4.0]))
def test_a_score_twice_as_steep_brings_down_twice_as_much_under_every_rule(seed: int, scale: float) -> None:
    classifier = made_of(lambda self, x: self.b(self.a(x).relu()).relu(), seed=seed, a=conv(), b=conv(4, 4))
    before = backward_ladder(classifier, IMAGE, 2, RULES)
    with torch.no_grad():
        classifier.network.head[1].weight *= scale
    after = backward_ladder(classifier, IMAGE, 2, RULES)
    for one, other in zip(list(before)[2:], list(after)[2:], strict=True):
        for rule in RULES:
            assert (one.r[rule] * scale).equal(other.r[rule])


# Which neuron


def test_of_a_channel_the_largest_activity_is_found() -> None:
    classifier = kinked_network(size=(6, 6))
    recording = record(classifier, IMAGE)
    assert any(-float(plane.min()) > float(plane.max()) for plane in recording.x("0")[0])
    for layer, channel in itertools.product(("0", "1", "2", "3"), range(4)):
        plane = recording.x(layer)[0, channel].numpy()
        place = max(np.ndindex(*plane.shape), key=lambda at: plane[at])
        ladder = descend(recording, Neuron(layer, channel), RULES)
        assert ladder.neuron == Neuron(layer, channel, place)
        assert ladder.value == plane[place]
        for rule in RULES:
            start = np.zeros(ladder[0].x.shape)
            start[(0, channel, *place)] = 1
            assert ladder[0].r[rule].tolist() == start.tolist()
            assert ladder[0].name == layer
        assert bits(descend(recording, Neuron(layer, channel, place), RULES)) == bits(ladder)


def bits(ladder: Ladder) -> list[Any]:
    return [(rung.name, rung.x.numpy().tobytes(), {rule: r.numpy().tobytes() for rule, r in rung.r.items()}) for
            rung in ladder]  # fmt: skip


def test_a_unit_at_a_position_and_a_whole_map() -> None:
    recording = record(kinked_network(size=(6, 6)), IMAGE)
    x = recording.x("0")
    ladder = descend(recording, Neuron("0", 1, (2, 3)), "gradient")
    assert (ladder.neuron, ladder.value) == (Neuron("0", 1, (2, 3)), float(x[0, 1, 2, 3]))
    assert ladder[0].r["gradient"].nonzero().tolist() == [[0, 1, 2, 3]]
    ladder = descend(recording, Neuron("0", 2, "sum"), "gradient")
    assert ladder.neuron == Neuron("0", 2, "sum")
    assert ladder.value == pytest.approx(float(x[0, 2].sum()))
    expected = torch.zeros_like(x)
    expected[0, 2] = 1
    assert ladder[0].r["gradient"].equal(expected)
    numpy = Neuron("0", np.int64(1), (np.int64(2), np.int64(3)))  # type: ignore[arg-type]
    assert descend(recording, numpy).value == float(x[0, 1, 2, 3])


def test_units_of_layers_without_a_map() -> None:
    classifier = kinked_network(size=(6, 6))
    recording = record(classifier, IMAGE)
    scores = recording.x("scores")
    for position in ("max", "sum", ()):
        ladder = descend(recording, Neuron("6", 2, position), RULES)
        assert ladder.value == scores[0, 2]
        assert ladder.neuron == Neuron("6", 2, "sum" if position == "sum" else ())
        assert ladder[0].r["guided"].tolist() == [[0, 0, 1]]
        assert ladder["image"].r["guided"].equal(descend(recording, 2, RULES)["image"].r["guided"])
    assert descend(recording, Neuron("scores", 2)).value == scores[0, 2]
    assert descend(recording, Neuron("5", 4)).value == recording.x("5")[0, 4]


def test_a_class_by_its_index_by_its_name_or_the_top_one() -> None:
    classifier = kinked_network(size=(6, 6))
    scores = record(classifier, IMAGE).x("scores")[0].tolist()
    for neuron, c in ((1, 1), ("bee", 1), ("BE", 1), ("2", 2), (np.int64(2), 2), (None, scores.index(max(scores)))):
        ladder = backward_ladder(classifier, IMAGE, neuron)
        assert (ladder.neuron, ladder.value, ladder.rules) == (c, scores[c], ("gradient", "deconvnet"))
        assert type(ladder.neuron) is int
        assert ladder[0].r["gradient"].tolist() == [[float(i == c) for i in range(3)]]
    assert backward_ladder(classifier, IMAGE).neuron == scores.index(max(scores))


@pytest.mark.parametrize(("neuron", "error", "message"), [
    (3, ValueError, "class index 3 is out of range; there are classes 0 to 2"), (-1, ValueError, "out of range"),
    ("dog", ValueError, "no class is called 'dog'"), (1.0, TypeError, r"Neuron\(layer, channel, position\), got float"),
    (True, TypeError, "bool"), (("0", 1), TypeError, "got tuple"), (object(), TypeError, "got object"),
    (Neuron("O", 0), ValueError, r"no layer is called 'O'.* `record\(classifier, image\)\.layers` lists all 9\."),
    (Neuron("features.0", 0), ValueError, "lists all 9"), (Neuron("0:2", 0), ValueError, "lists all 9"),
    (Neuron("image", 0), ValueError, "the image has no neurons. Choose a layer above"),
    (Neuron("0", 4), ValueError, "channel 4 is out of range; '0' has channels 0 to 3"),
    (Neuron("0", -1), ValueError, "channel -1 is out of range; '0' has channels 0 to 3"),
    (Neuron("6", 3), ValueError, "channel 3 is out of range; '6' has channels 0 to 2"),
    (Neuron("0", 1.0), TypeError, r"a channel from 0 to 3, got 1\.0"), (Neuron("0", "1"), TypeError, "got '1'"),
    (Neuron("0", True), TypeError, "got True"), (Neuron("0", None), TypeError, "got None"),
    (Neuron("0", 0, (0, 4)), ValueError, r"position \(0, 4\) is out of range; a channel of '0' is 4×4"),
    (Neuron("0", 0, (4, 0)), ValueError, "out of range"), (Neuron("0", 0, (0, -1)), ValueError, "out of range"),
    (Neuron("0", 0, (0,)), ValueError, r"\(0,\) is out of range"), (Neuron("0", 0, ()), ValueError, "is 4×4"),
    (Neuron("0", 0, (0, 0, 0)), ValueError, "is 4×4"),
    (Neuron("6", 0, (0,)), ValueError, "a channel of '6' is one value: leave the position out"),
    (Neuron("0", 0, "mean"), TypeError, r"'max', 'sum' or \(row, column\), got 'mean'"),
    (Neuron("0", 0, (0.0, 1.0)), TypeError, r"got \(0\.0, 1\.0\)"), (Neuron("0", 0, None), TypeError, "got None"),
    (Neuron("0", 0, 3), TypeError, "got 3"), (Neuron("0", 0, [0, 1]), TypeError, r"got \[0, 1\]"),
])  # fmt: skip
def test_a_neuron_that_is_none_is_refused(neuron: Any, error: type[Exception], message: str) -> None:
    classifier = kinked_network(size=(6, 6))
    with pytest.raises(error, match=message), no_trace(classifier.network, IMAGE):
        backward_ladder(classifier, IMAGE, neuron)


@pytest.mark.parametrize("rules", ["guide", "Gradient", ("gradient", "lrp"), [None], [3], ""])
def test_an_unknown_rule_lists_those_that_there_are(rules: Any) -> None:
    classifier = kinked_network(size=(6, 6))
    with pytest.raises(ValueError, match="a rule out of 'gradient', 'deconvnet', 'guided', got"):
        backward_ladder(classifier, IMAGE, 0, rules)


def test_rules_in_any_number_and_order() -> None:
    recording = record(kinked_network(size=(6, 6)), IMAGE)
    for empty in ((), []):
        with pytest.raises(ValueError, match="at least one rule out of 'gradient'"):
            descend(recording, 0, empty)
    assert descend(recording, 0, "guided").rules == ("guided",)
    everything = descend(recording, 0, RULES)
    for rules in (("guided", "gradient"), ["deconvnet", "deconvnet"], iter(["guided", "deconvnet", "gradient"])):
        ladder = descend(recording, 0, rules)
        assert list(ladder[3].r) == list(ladder.rules)
        for rung, other in zip(ladder, everything, strict=True):
            assert all(rung.r[rule].equal(other.r[rule]) for rule in ladder.rules)
    assert descend(recording, 0, ["deconvnet", "deconvnet"]).rules == ("deconvnet",)


def test_what_is_no_single_finite_image_is_refused() -> None:
    classifier = kinked_network(size=(6, 6))
    for image in (torch.zeros(2, 3, 6, 6).double(), torch.zeros(0, 3, 6, 6).double(), torch.zeros(3, 6, 6).double()):
        with pytest.raises(ValueError, match=r"\(1, C, H, W\)"), no_trace(classifier.network, image):
            backward_ladder(classifier, image)
    for value in (math.nan, math.inf):
        image = torch.full((1, 3, 6, 6), value).double()
        with pytest.raises(NotFiniteError), no_trace(classifier.network, image):
            backward_ladder(classifier, image)


def test_an_activity_that_is_not_finite_is_refused_though_the_scores_are_finite() -> None:
    classifier = made_of(lambda self, x: self.huge(self.a(x)).clamp(0, 6), a=conv(), huge=MadeOf(lambda _, x: x.exp()))
    recording = record(classifier, 1e4 * IMAGE)
    assert bool(recording.x("huge").isinf().any())
    with pytest.raises(NotFiniteError, match="the neuron's activity is inf, which is not finite"):
        descend(recording, Neuron("huge", 0), "gradient")
    with pytest.raises(NotFiniteError, match="the neuron's activity is inf"):
        descend(recording, Neuron("huge", 0, "sum"), "gradient")


def test_a_neuron_that_does_not_depend_on_the_image_is_told() -> None:
    classifier = made_of(
        lambda self, x: self.a(x).relu() + self.deaf(torch.ones_like(x)), a=conv(), deaf=conv()
    )  # fmt: skip
    recording = record(classifier, IMAGE)
    for rules in (("gradient",), RULES):
        with pytest.raises(ValueError, match=r"does not depend on the image.*detach\(\)"):
            descend(recording, Neuron("deaf", 0), rules)
    assert names(descend(recording, 0, RULES))[-1] == "image"


def test_layers_beside_the_way_are_no_rungs() -> None:
    classifier = made_of(
        lambda self, x: self.c(self.a(x).relu()) + self.b(x).sigmoid(), a=conv(), b=conv(), c=conv(4, 4)
    )
    recording = record(classifier, IMAGE)
    assert names(descend(recording, Neuron("c", 0), RULES)) == ["c", "relu", "a", "image"]
    assert names(descend(recording, Neuron("b", 0), RULES)) == ["b", "image"]


# Rungs


def test_a_ladder_is_walked_counted_indexed_and_asked() -> None:
    ladder = backward_ladder(kinked_network(size=(6, 6)), IMAGE, 0, RULES)
    assert names(ladder) == ["scores", "6", "5", "4", "3", "2", "1", "0", "image"]
    assert len(ladder) == len(list(ladder)) == len(ladder.rungs)
    assert ladder["image"] is ladder[-1] is ladder.rungs[-1]
    assert ladder[0] is ladder["scores"]
    assert ladder[1:3] == ladder.rungs[1:3]
    assert ladder["3"] in ladder
    assert next(reversed(ladder)) is ladder["image"]
    with pytest.raises(KeyError, match=r"'features\.3' is not a rung of this ladder; it has scores, .*0, image"):
        ladder["features.3"]
    with pytest.raises(IndexError):
        ladder[99]
    with pytest.raises(FrozenInstanceError):
        ladder.value = 3  # type: ignore[misc]
    rung = ladder["0"]
    assert isinstance(rung, Rung)
    assert repr(rung) == "Rung(0, Conv2d, X (4, 4, 4), R of gradient, deconvnet, guided)"
    assert "rungs" not in repr(ladder)
    for rung in ladder:
        assert not rung.x.requires_grad
        for r in rung.r.values():
            assert (r.shape, r.dtype, r.requires_grad) == (rung.x.shape, rung.x.dtype, False)
        with pytest.raises(ValueError, match=r"the ladder has the rules 'gradient', .*not 'lrp'\. Ask for it in rules"):
            rung.distance("lrp")
        with pytest.raises(ValueError, match="not 'lrp'"):
            rung.distance("gradient", "lrp")


def test_a_rule_that_was_not_asked_for_is_refused_at_the_gate() -> None:
    ladder = backward_ladder(kinked_network(size=(6, 6)), IMAGE, 0)
    gate = next(rung.gate for rung in ladder if rung.gate)
    for ask in (gate.below, gate.backward_mask, gate.cause, lambda rule: gate.cause("gradient", rule)):
        with pytest.raises(ValueError, match="the rules 'gradient', 'deconvnet', not 'guided'"):
            ask("guided")


def test_below_a_gate_is_the_r_of_the_rung_below_where_that_feeds_nothing_else() -> None:
    for classifier in (kinked_network(size=(6, 6)), made_of(
        lambda self, x: functional.relu6(self.b(functional.relu6(self.a(x)))), a=conv(), b=conv(4, 4)
    )):  # fmt: skip
        ladder = backward_ladder(classifier, 4 * IMAGE, 0, RULES)
        gates = 0
        for rung, below in itertools.pairwise(ladder):
            if rung.gate:
                gates += 1
                assert rung.gate.x.equal(below.x)
                for rule in RULES:
                    assert rung.gate.above[rule].equal(rung.r[rule])
                    assert rung.gate.below(rule).equal(below.r[rule])
        assert gates == 2


def explained(x: float, above: dict[str, float], one: str, other: str, ceiling: float) -> int:
    """Entry by entry: what each rule lets through, which masks stop it, and what makes a difference."""
    closed, left = {}, {}
    for rule in (one, other):
        masks = set()
        if rule != "deconvnet" and not 0 < x < ceiling:
            masks.add("forward")
        if rule != "gradient" and not above[rule] > 0:
            masks.add("backward")
        left[rule] = 0.0 if masks else above[rule]
        closed[rule] = masks if above[rule] else set()  # what is 0 already is not stopped
    gap = abs(left[one] - left[other])
    if gap <= 1e-5 * max(abs(left[one]), abs(left[other])):
        return 0
    stopping = closed[one] | closed[other]
    return 1 if "forward" in stopping else 2 if "backward" in stopping else 3


few_rs = st.sampled_from([-2.0, -1.0, 0.0, 1.0, 1.000001, 3.0])
entries = st.lists(
    st.tuples(st.sampled_from([-1.0, 0.0, 2.0, 6.0, 7.0]), few_rs, few_rs, few_rs), min_size=1, max_size=20
)


@given(entries, st.sampled_from([math.inf, 6.0]))
def test_causes_equal_an_explanation_entry_by_entry(entries: list[Any], ceiling: float) -> None:
    x, *rs = (torch.tensor(column, dtype=torch.float64).reshape(1, -1) for column in zip(*entries, strict=True))
    gate = Gate(x, dict(zip(RULES, rs, strict=True)), ceiling)
    for one in RULES:
        for other in RULES:
            expected = [explained(e[0], dict(zip(RULES, e[1:], strict=True)), one, other, ceiling) for e in entries]
            assert gate.cause(one, other)[0].tolist() == expected, (one, other)
        if one == "deconvnet":
            assert gate.cause(one).equal(gate.cause(one, "gradient"))


def test_every_cause_happens_in_a_network() -> None:
    ladder = backward_ladder(kinked_network(size=(6, 6)), IMAGE, 0, RULES)
    causes = torch.cat([rung.gate.cause("deconvnet").flatten() for rung in ladder if rung.gate])
    assert set(causes.tolist()) == {0, 1, 2, 3}


def a_rung(one: list[float], other: list[float], dtype=torch.float64) -> Rung:
    r = {"deconvnet": torch.tensor([one], dtype=dtype), "gradient": torch.tensor([other], dtype=dtype)}
    return Rung("there", "Linear", torch.zeros(1, len(one)), r)


@pytest.mark.parametrize(("one", "other", "expected"), [
    ([3, 4], [3, 4], (1, 0, 0)), ([3, 4], [-3, -4], (-1, 2, 1)), ([3, 0], [0, 4], (0, 1.25, 1)),
    ([6, 8], [3, 4], (1, 1, 1)), ([3, 4], [6, 8], (1, 0.5, 1)), ([3, 0, 0, 0], [3, 4, 0, 0], (0.6, 0.8, 0.25)),
    ([0, 0], [0, 0], (1, 0, 0)), ([0, 0], [3, 4], (0, 1, 1)), ([3, 0], [0, 0], (0, math.inf, 0.5)),
    ([1.000001, 2], [1, 2], (1, 1e-6 / math.sqrt(5), 0)), ([1.0001, 2], [1, 2], (1, 1e-4 / math.sqrt(5), 0.5)),
    ([1e-30, 1], [0, 1], (1, 0, 0.5)),
])  # fmt: skip
def test_distances_on_paper(one: list[float], other: list[float], expected: tuple[float, float, float]) -> None:
    found = a_rung(one, other).distance("deconvnet")
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert -1 <= found.cosine <= 1
    assert all(type(value) is float for value in found)


@given(st.lists(st.tuples(few_rs, few_rs), min_size=1, max_size=9))
def test_distances_equal_plain_formulas(pairs: list[tuple[float, float]]) -> None:
    one, other = map(list, zip(*pairs, strict=True))
    found = a_rung(one, other).distance("deconvnet", "gradient")
    norm = lambda values: math.sqrt(math.fsum(v * v for v in values))  # noqa: E731
    gap = norm(a - b for a, b in pairs)
    assert found.differing == pytest.approx(sum(abs(a - b) > 1e-5 * max(abs(a), abs(b)) for a, b in pairs) / len(pairs))
    if norm(one) and norm(other):
        assert found.cosine == pytest.approx(sum(a * b for a, b in pairs) / norm(one) / norm(other), abs=1e-9)
        assert found.relative == pytest.approx(gap / norm(other), rel=1e-9)
    else:
        assert found.cosine == (1 if gap == 0 else 0)
        assert found.relative == (0 if gap == 0 else 1 if norm(other) else math.inf)


# Other networks, other callers


def test_grey_networks_and_pictures_and_float32() -> None:
    classifier = kinked_network(channels=1)
    picture = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
    ladder = backward_ladder(classifier, picture, "cat", RULES)
    assert ladder["image"].x.equal(classifier.prepare(picture))
    assert ladder["image"].x.shape == (1, 1, 6, 8)
    assert {rung.r["guided"].dtype for rung in ladder} == {torch.float64}
    own = (classifier.mean, classifier.std)
    single = Classifier(copy.deepcopy(classifier.network).float(), list("abc"), (), (6, 8), *own)
    other = backward_ladder(single, picture, 2, RULES)
    for rung, wide in zip(other, ladder, strict=True):
        for rule in RULES:
            assert rung.r[rule].dtype == torch.float32
            torch.testing.assert_close(rung.r[rule].double(), wide.r[rule], rtol=1e-3, atol=1e-4)


def test_a_smooth_network_has_the_gradient_alone() -> None:
    classifier = smooth_network(size=(6, 6))
    ladder = backward_ladder(classifier, IMAGE, 0, ["gradient"])
    shift, found = 1e-5, ladder["image"].r["gradient"]
    for at in ((0, 0, 0, 0), (0, 1, 3, 4), (0, 2, 5, 5)):
        ahead, behind = IMAGE.clone(), IMAGE.clone()
        ahead[at] += shift
        behind[at] -= shift
        with torch.no_grad():
            slope = float(classifier.network(ahead)[0, 0] - classifier.network(behind)[0, 0]) / (2 * shift)
        assert float(found[at]) == pytest.approx(slope, rel=1e-5, abs=1e-9)
    with pytest.raises(ValueError, match=r"layer '\d' \((Tanh|Softplus)\) computes (Tanh|Softplus)"):
        backward_ladder(classifier, IMAGE, 0)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_the_callers_gradient_mode_does_not_matter(mode: Any) -> None:
    classifier = kinked_network(size=(6, 6))
    expected = bits(backward_ladder(classifier, IMAGE, 1, RULES))
    with mode(), no_trace(classifier.network, IMAGE):
        found = bits(backward_ladder(classifier, IMAGE, 1, RULES))
    assert found == expected


def test_the_shipped_network_on_a_photo(classifier: Classifier) -> None:
    """What DeconvNet never could: a class score. And a neuron of a middle layer, in the same recording."""
    picture = photo("panda")
    with no_trace(classifier.network):
        recording = record(classifier, picture)
        ladder = descend(recording, None, RULES)
    assert ladder.neuron == classifier.top(picture, 1)[0].class_index
    x = classifier.prepare(picture)
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, ladder.neuron], leaf)
    assert relative(ladder["image"].r["gradient"], expected) <= 1e-5
    assert sum(rung.gate is not None for rung in ladder) == 26
    for rule in ("deconvnet", "guided"):
        _, rs = oracle_ladder(classifier.network, x, rule, lambda xs: xs["scores"][0, ladder.neuron])
        assert relative(ladder["image"].r[rule], rs["image"]) <= 1e-5


def test_a_layer_without_channels_is_told() -> None:
    classifier = made_of(lambda self, x: self.flat(self.a(x).relu())[None], a=conv(), flat=nn.Flatten(0))
    with pytest.raises(ValueError, match="flat"):
        backward_ladder(classifier, IMAGE, Neuron("flat", 0))


@pytest.mark.parametrize("rules", [None, 5, [["gradient"]]])
def test_rules_of_another_type_are_told(rules: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"rule.*'gradient'"):
        backward_ladder(kinked_network(size=(6, 6)), IMAGE, 0, rules)


@pytest.mark.parametrize("position", [np.array([1, 2]), (True, False)])
def test_positions_of_another_type_are_told(position: Any) -> None:
    with pytest.raises(TypeError, match=r"a position 'max', 'sum' or \(row, column\)"):
        backward_ladder(kinked_network(size=(6, 6)), IMAGE, Neuron("0", 0, position))


def test_an_r_that_is_not_finite_is_told() -> None:
    """The slope of a root at 0: the scores are finite, what comes down is not."""
    classifier = made_of(lambda self, x: (0 * self.a(x)).sqrt(), a=conv())
    with pytest.raises(NotFiniteError):
        backward_ladder(classifier, IMAGE, 0, "gradient")


def test_a_neuron_of_a_layer_that_is_no_rung_to_keep() -> None:
    classifier = kinked_network(size=(6, 6))
    layer = record(classifier, IMAGE).layers[2].name
    for neuron in (0, Neuron(layer, 1)):
        (image,) = backward_ladder(classifier, IMAGE, neuron, RULES, "image")
        expected = backward_ladder(classifier, IMAGE, neuron, RULES)["image"]
        assert all(image.r[rule].equal(expected.r[rule]) for rule in RULES)
    assert [rung.name for rung in backward_ladder(classifier, IMAGE, 0, "guided", ["image", layer])] == [layer, "image"]
    with pytest.raises(ValueError, match="no layer is called 'imagine'"):
        backward_ladder(classifier, IMAGE, 0, "gradient", ["imagine"])


def test_rungs_that_cannot_be_kept_are_told() -> None:
    classifier = kinked_network(size=(6, 6))
    names = [layer.name for layer in record(classifier, IMAGE).layers]
    with pytest.raises(ValueError, match="got none"):
        backward_ladder(classifier, IMAGE, 0, "gradient", [])
    with pytest.raises(ValueError, match=f"got {names[3]}, which is not below the neuron"):
        backward_ladder(classifier, IMAGE, Neuron(names[1], 0), "gradient", [names[3]])


def test_arguments_in_another_order_are_told() -> None:
    classifier = kinked_network(size=(6, 6))
    for wrong in (classifier.network, IMAGE):
        with pytest.raises(TypeError, match=r"expected a Classifier first, got .*load_classifier"):
            backward_ladder(wrong, classifier)  # type: ignore[arg-type]
