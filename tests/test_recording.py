"""One forward pass, kept: which layers it lists, that the network does not notice, which operations are strange."""

import contextlib
import gc
import threading
import weakref
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from no_trace import no_trace
from small_networks import MadeOf, StepFunction, kinked_network, made_of, smooth_network
from torch import Tensor, nn
from torch.nn import functional

from deepinside_edu import Classifier, descend, record
from deepinside_edu.classifier import NotFiniteError
from deepinside_edu.recording import Recording

FUNCTIONS = [
    (home, name)
    for home, names in (
        (functional, "relu relu_ relu6 hardtanh hardtanh_ threshold max_pool2d conv2d"),
        (torch, "relu relu_ clamp clamp_ clamp_min clamp_min_ clip clip_ threshold_ nn"),
        (Tensor, "relu relu_ clamp clamp_ clamp_min clamp_min_ clip clip_"),
        (nn.ReLU, "forward __call__"),
        (nn.Module, "__call__ _call_impl __setattr__ __getattr__"),
    )
    for name in names.split()
]


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


IMAGE = normal(1, 3, 6, 6)


def names(recording: Recording) -> list[str]:
    return [layer.name for layer in recording.layers]


def strange(recording: Recording, layer: str = "scores") -> tuple[str, str] | None:
    return recording.coverage.judge(recording.layers[recording.find(layer)].edge.node).strange


def conv(i: int = 3, o: int = 4, k: int = 3) -> nn.Conv2d:
    return nn.Conv2d(i, o, k, padding=k // 2)


def heard(network: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What forward hooks on the network itself receive: a clone of each tensor; the name of a second run has :2."""
    runs: Counter[str] = Counter()
    outputs: dict[str, Tensor] = {}

    def listen(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            runs[name] += 1
            if isinstance(output, Tensor):
                outputs[name if runs[name] == 1 else f"{name}:{runs[name]}"] = output.detach().clone()

        return hook

    handles = [module.register_forward_hook(listen(name)) for name, module in network.named_modules() if name]
    try:
        with torch.no_grad():
            outputs["scores"] = network(x.clone())
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def residual(self: Any, x: Tensor) -> Tensor:
    x = self.first(x)
    identity = x
    out = self.relu(self.second(x))
    out = self.third(out)
    out += identity
    return self.relu(out)


def residual_network() -> Classifier:
    return made_of(residual, first=conv(), second=conv(4, 4), third=conv(4, 4), relu=nn.ReLU(inplace=True))


# What is listed


def test_layers_in_the_order_in_which_they_ran() -> None:
    recording = record(residual_network(), IMAGE)
    assert isinstance(recording, Recording)
    assert names(recording) == [
        "image", "first", "second", "relu", "third", "relu:2", "head.0", "head.1", "scores",
    ]  # fmt: skip
    assert [layer.kind for layer in recording.layers] == [
        "image", "Conv2d", "Conv2d", "ReLU", "Conv2d", "ReLU", "Flatten", "Linear", "scores",
    ]  # fmt: skip
    assert repr(recording) == "Recording(9 layers from image to scores)"
    assert [layer.relu is not None for layer in recording.layers] == [name in ("relu", "relu:2") for name in
                                                                      names(recording)]  # fmt: skip


def test_each_output_is_what_hooks_on_the_network_hear_before_anything_overwrites_it() -> None:
    for classifier in (residual_network(), kinked_network(size=(6, 6)), smooth_network(size=(6, 6))):
        outputs = heard(classifier.network, IMAGE)
        recording = record(classifier, IMAGE)
        assert recording.x("image").equal(IMAGE)
        for name in names(recording)[1:]:
            assert recording.x(name).equal(outputs[name]), name
            assert not recording.x(name).requires_grad


def test_a_relu_keeps_its_input_whatever_becomes_of_it() -> None:
    classifier = residual_network()
    layers = {layer.name: layer for layer in record(classifier, IMAGE).layers}
    assert layers["relu"].relu is not None
    assert layers["relu"].relu[0].equal(layers["second"].x)
    assert layers["relu:2"].relu is not None
    assert layers["relu:2"].relu[0].equal(layers["third"].x + layers["first"].x)
    assert bool((layers["relu"].relu[0] < 0).any())
    for name in ("relu", "relu:2"):
        inside, ceiling = layers[name].relu or (IMAGE, 0)
        assert ceiling == float("inf")
        assert layers[name].x.equal(inside.clamp(min=0))


class Block(nn.Module):
    """What a block gives is no layer of its own, unless it is computed behind its last layer."""

    def __init__(self, end: Any) -> None:
        super().__init__()
        self.conv, self.relu, self.end = conv(4, 4), nn.ReLU(), end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(x, self.relu(self.conv(x)))


@pytest.mark.parametrize(("end", "listed"), [
    (lambda x, out: out, []),
    (lambda x, out: out + x, ["block"]),
    (lambda x, out: torch.cat([x, out], 1), ["block"]),
    (lambda x, out: functional.relu(out - 1), ["block.relu:2"]),
    (lambda x, out: functional.relu_(out - 1), ["block.relu:2"]),
    (lambda x, out: functional.relu(out - 1) + x, ["block.relu:2", "block"]),
])  # fmt: skip
def test_a_block_is_listed_where_it_computes_something_last(end: Any, listed: list[str]) -> None:
    classifier = made_of(lambda self, x: self.block(self.first(x)), first=conv(), block=Block(end))
    recording = record(classifier, IMAGE)
    assert names(recording) == ["image", "first", "block.conv", "block.relu", *listed, "head.0", "head.1", "scores"]
    if listed[-1:] == ["block"]:
        assert recording.x("block").equal(heard(classifier.network, IMAGE)["block"])


def test_relu_as_a_function_has_the_name_of_the_block_that_calls_it() -> None:
    inner = MadeOf(lambda self, x: self.conv(x).relu().clamp(min=0, max=6), conv=conv(4, 4))
    classifier = made_of(lambda self, x: functional.relu(self.inner(self.a(x).relu())), a=conv(), inner=inner)
    recording = record(classifier, IMAGE)
    assert names(recording) == [
        "image", "a", "relu", "inner.conv", "inner.relu", "inner.relu:2", "relu:2", "head.0", "head.1", "scores",
    ]  # fmt: skip
    assert {layer.kind for layer in recording.layers if "relu" in layer.name} == {"relu"}
    assert [layer.relu[1] for layer in recording.layers if layer.relu] == [torch.inf, torch.inf, 6, torch.inf]


def test_a_module_with_two_names_is_listed_under_its_first() -> None:
    shared = conv(4, 4)
    classifier = made_of(lambda self, x: self.two(self.one(self.a(x)).relu()), a=conv(), one=shared, two=shared)
    assert names(record(classifier, IMAGE)) == ["image", "a", "one", "relu", "one:2", "head.0", "head.1", "scores"]


def test_layers_that_do_not_give_one_tensor_are_not_listed() -> None:
    pair = MadeOf(lambda self, x: (self.conv(x), x), conv=conv(4, 4))
    classifier = made_of(lambda self, x: torch.cat(self.pair(self.a(x)), 1).relu(), a=conv(), pair=pair)
    assert names(record(classifier, IMAGE)) == ["image", "a", "pair.conv", "relu", "head.0", "head.1", "scores"]


def test_an_unknown_layer_names_near_ones_and_says_where_all_are() -> None:
    recording = record(residual_network(), IMAGE)
    assert recording.find("image") == 0
    assert recording.find("relu:2") == 5
    for asked in (recording.find, recording.x):
        with pytest.raises(ValueError, match=r"no layer is called 'secnd'\. Did you mean 'second'.* lists all 9\."):
            asked("secnd")
        with pytest.raises(ValueError, match=r"no layer is called 'zzz'\. `record\(classifier, image\)\.layers` lists"):
            asked("zzz")
        with pytest.raises(ValueError, match="no layer is called None"):
            asked(None)  # type: ignore[arg-type]


# Every way of saying ReLU

WAYS: dict[str, tuple[Any, float]] = {
    "F.relu": (lambda x: functional.relu(x), torch.inf),
    "F.relu in place": (lambda x: functional.relu(x, inplace=True), torch.inf),
    "F.relu by name": (lambda x: functional.relu(input=x), torch.inf),
    "F.relu_": (lambda x: functional.relu_(x), torch.inf),
    "torch.relu": (lambda x: torch.relu(x), torch.inf),
    "torch.relu_": (lambda x: torch.relu_(x), torch.inf),
    "x.relu": (lambda x: x.relu(), torch.inf),
    "x.relu_": (lambda x: x.relu_(), torch.inf),
    "F.relu6": (lambda x: functional.relu6(x), 6.0),
    "F.relu6 in place": (lambda x: functional.relu6(x, inplace=True), 6.0),
    "torch.clamp": (lambda x: torch.clamp(x, min=0), torch.inf),
    "torch.clamp 0.0": (lambda x: torch.clamp(x, 0.0), torch.inf),
    "torch.clamp to 2": (lambda x: torch.clamp(x, 0, 2), 2.0),
    "torch.clamp_": (lambda x: torch.clamp_(x, min=0), torch.inf),
    "x.clamp": (lambda x: x.clamp(0), torch.inf),
    "x.clamp_": (lambda x: x.clamp_(min=0, max=1.5), 1.5),
    "torch.clip": (lambda x: torch.clip(x, 0), torch.inf),
    "torch.clip_": (lambda x: torch.clip_(x, 0), torch.inf),
    "x.clip": (lambda x: x.clip(min=0), torch.inf),
    "x.clip_": (lambda x: x.clip_(0), torch.inf),
    "torch.clamp_min": (lambda x: torch.clamp_min(x, 0), torch.inf),
    "torch.clamp_min_": (lambda x: torch.clamp_min_(x, 0), torch.inf),
    "x.clamp_min": (lambda x: x.clamp_min(0), torch.inf),
    "x.clamp_min_": (lambda x: x.clamp_min_(0), torch.inf),
    "F.threshold": (lambda x: functional.threshold(x, 0, 0), torch.inf),
    "F.threshold in place": (lambda x: functional.threshold(x, 0, 0, True), torch.inf),
    "torch.threshold_": (lambda x: torch.threshold_(x, 0, 0), torch.inf),
    "F.hardtanh": (lambda x: functional.hardtanh(x, 0, 2), 2.0),
    "F.hardtanh_": (lambda x: functional.hardtanh_(x, min_val=0, max_val=2), 2.0),
    "F.hardtanh in place": (lambda x: functional.hardtanh(x, 0, 2, inplace=True), 2.0),
    "nn.ReLU": (nn.ReLU(), torch.inf),
    "nn.ReLU in place": (nn.ReLU(inplace=True), torch.inf),
    "nn.ReLU6": (nn.ReLU6(), 6.0),
    "nn.ReLU6 in place": (nn.ReLU6(inplace=True), 6.0),
    "nn.Hardtanh": (nn.Hardtanh(0, 2), 2.0),
    "nn.Hardtanh in place": (nn.Hardtanh(0, 2, inplace=True), 2.0),
    "nn.Threshold": (nn.Threshold(0, 0), torch.inf),
    "nn.Threshold in place": (nn.Threshold(0, 0, inplace=True), torch.inf),
}
MOVERS = [way for way in WAYS if "_" in way.replace("_min", "").removesuffix("by name") or "in place" in way]


def expected_of(classifier: Classifier, ceiling: float, rule: str) -> Tensor:
    """∂S_0/∂I on paper: Kᵀ (masks · W₀), for a convolution, one clamp and the head."""
    network = classifier.network
    x = functional.conv2d(IMAGE, network.a.weight, network.a.bias, padding=1).detach()
    above = network.head[1].weight[0].detach().reshape(x.shape)
    forward, backward = (x > 0) & (x < ceiling), above > 0
    mask = {"gradient": forward, "deconvnet": backward, "guided": forward & backward}[rule]
    return functional.conv_transpose2d(above * mask, network.a.weight.detach(), padding=1)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_saying_relu_is_seen(way: str) -> None:
    call, ceiling = WAYS[way]
    children = {"act": call} if isinstance(call, nn.Module) else {}
    classifier = made_of(lambda self, x: call(self.a(x)) if not children else self.act(self.a(x)), a=conv(), **children)
    with no_trace(classifier.network, IMAGE):
        recording = record(classifier, IMAGE)
    name = "act" if children else "relu"
    assert names(recording) == ["image", "a", name, "head.0", "head.1", "scores"]
    layer = recording.layers[2]
    assert layer.kind == (type(call).__name__ if children else "relu")
    assert layer.relu is not None
    assert layer.relu[1] == ceiling
    assert layer.relu[0].equal(recording.x("a"))
    assert layer.x.equal(recording.x("a").clamp(0, ceiling))
    for rule in ("gradient", "deconvnet", "guided"):
        found = descend(recording, 0, rule)["image"].r[rule]
        torch.testing.assert_close(found, expected_of(classifier, ceiling, rule), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", MOVERS)
def test_a_relu_in_place_is_visible_to_the_network_as_a_statement_and_to_nobody_else(way: str) -> None:
    """Its result is thrown away; the network goes on with the tensor, as it does without us."""
    call, ceiling = WAYS[way]

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.a(x)
        self.act(y) if isinstance(call, nn.Module) else call(y)
        return y

    classifier = made_of(forward, a=conv(), **({"act": call} if isinstance(call, nn.Module) else {}))
    recording = record(classifier, IMAGE)
    with torch.no_grad():
        assert recording.x("scores").equal(classifier.network(IMAGE.clone()))
        assert recording.x("a").equal(classifier.network.a(IMAGE))
    assert bool((recording.x("a") < 0).any())
    for rule in ("gradient", "deconvnet", "guided"):
        found = descend(recording, 0, rule)["image"].r[rule]
        torch.testing.assert_close(found, expected_of(classifier, ceiling, rule), rtol=1e-9, atol=1e-12)


def test_there_are_ways_that_write_in_place() -> None:
    assert len(MOVERS) == 19
    assert {"x.relu_", "F.relu_", "nn.ReLU in place", "F.relu in place", "torch.clamp_min_"} <= set(MOVERS)
    assert not {"x.clamp_min", "torch.clamp_min", "F.relu"} & set(MOVERS)


def test_a_relu_in_place_on_a_part_of_a_tensor() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.a(x)
        y[:, :2].relu_()
        return y

    classifier = made_of(forward, a=conv())
    recording = record(classifier, IMAGE)
    x = recording.x("a")
    assert recording.layers[2].relu is not None
    assert recording.layers[2].relu[0].equal(x[:, :2])
    above = classifier.network.head[1].weight[0].detach().reshape(x.shape)
    for rule, mask in (("gradient", x > 0), ("deconvnet", above > 0)):
        mask[:, 2:] = True
        expected = functional.conv_transpose2d(above * mask, classifier.network.a.weight.detach(), padding=1)
        found = descend(recording, 0, rule)["image"].r[rule]
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_a_block_that_ends_with_a_relu_in_place_hands_on_what_that_gave() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.conv(x)
        functional.relu_(y)
        return y

    classifier = made_of(lambda self, x: self.block(x), block=MadeOf(forward, conv=conv()))
    assert names(record(classifier, IMAGE)) == ["image", "block.conv", "block.relu", "head.0", "head.1", "scores"]


def test_a_network_that_begins_with_a_relu_in_place() -> None:
    classifier = made_of(lambda self, x: self.a(functional.relu_(x)), a=conv())
    with no_trace(classifier.network, IMAGE):
        recording = record(classifier, IMAGE)
    assert recording.x("image").equal(IMAGE)
    assert recording.x("relu").equal(IMAGE.clamp(min=0))


def test_what_is_no_relu_is_none() -> None:
    for call in (
        lambda x: functional.hardtanh(x), lambda x: functional.threshold(x, 0.5, 0.5), lambda x: x.clamp(max=0),
        lambda x: functional.threshold(x, 0, 1), lambda x: x.clamp(-1, 1), lambda x: x.clamp_min(0.1),
        lambda x: torch.clamp(x, min=torch.zeros(1, dtype=x.dtype)), lambda x: x.clamp(0, torch.ones(())),
        lambda x: torch.maximum(x, torch.zeros_like(x)), lambda x: x.abs(),
    ):  # fmt: skip
        classifier = made_of(lambda self, x, call=call: call(self.a(x)), a=conv())
        recording = record(classifier, IMAGE)
        assert not any(layer.relu for layer in recording.layers)
        with torch.no_grad():
            assert recording.x("scores").equal(classifier.network(IMAGE))
        assert strange(recording) is not None


def test_a_relu_of_weights_alone_is_left_to_the_network() -> None:
    classifier = made_of(lambda self, x: self.a(x) * torch.relu(self.a.bias.detach()).sum(), a=conv())
    assert names(record(classifier, IMAGE)) == ["image", "a", "head.0", "head.1", "scores"]


# The network notices nothing


@pytest.mark.parametrize("frozen", [True, False])
def test_no_trace_is_left(frozen: bool) -> None:
    before = [getattr(home, name) for home, name in FUNCTIONS]
    for classifier in (residual_network(), kinked_network(size=(6, 6)), smooth_network(size=(6, 6))):
        classifier.network.requires_grad_(not frozen)
        x = IMAGE.clone().requires_grad_(frozen)
        with no_trace(classifier.network, x):
            recording = record(classifier, x)
            descend(recording, 0, ["gradient"])
        assert x.grad is None
        assert recording.layers[0].x is not x
    assert all(getattr(home, name) is old for (home, name), old in zip(FUNCTIONS, before, strict=True))
    assert torch.overrides._len_torch_function_stack() == 0


class Bomb(nn.Module):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error, self.armed = error, False

    def forward(self, x: Tensor) -> Tensor:
        if self.armed:
            raise self.error
        return x


@pytest.mark.parametrize("error", [RuntimeError("half-way"), KeyError("half-way"), ValueError("half-way")])
def test_no_trace_is_left_after_an_exception_half_way(error: Exception) -> None:
    classifier = made_of(
        lambda self, x: self.b(self.bomb(self.relu(self.a(x)))),
        a=conv(), relu=nn.ReLU(inplace=True), bomb=Bomb(error), b=conv(4, 4),
    )  # fmt: skip
    classifier.network.bomb.armed = True
    before = [getattr(home, name) for home, name in FUNCTIONS]
    with pytest.raises((ValueError, KeyError), match="half-way"), no_trace(classifier.network, IMAGE):
        record(classifier, IMAGE)
    assert all(getattr(home, name) is old for (home, name), old in zip(FUNCTIONS, before, strict=True))
    assert torch.overrides._len_torch_function_stack() == 0
    classifier.network.bomb.armed = False
    assert record(classifier, IMAGE).x("bomb").equal(record(classifier, IMAGE).x("relu"))


@pytest.mark.parametrize("image", [
    torch.full((1, 3, 6, 6), torch.nan), torch.full((1, 3, 6, 6), torch.inf),
    torch.full((1, 3, 6, 6), 1e308, dtype=torch.float64),
])  # fmt: skip
def test_values_that_are_not_finite_are_refused_without_a_trace(image: Tensor) -> None:
    classifier = kinked_network(size=(6, 6))
    image = image.double()
    with pytest.raises(NotFiniteError, match="finite"), no_trace(classifier.network, image):
        record(classifier, image)


@pytest.mark.parametrize(("image", "error", "message"), [
    (torch.zeros(2, 3, 6, 6), ValueError, r"one prepared image \(1, C, H, W\), got \(2, 3, 6, 6\)"),
    (torch.zeros(3, 6, 6), ValueError, r"got \(3, 6, 6\)"),
    (torch.zeros(1, 1, 6, 6), ValueError, r"got \(1, 1, 6, 6\)"),
    (torch.zeros(1, 3, 6, 6, dtype=torch.uint8), ValueError, "expected floats"),
    (None, TypeError, "expected a path"), ("no such file.png", FileNotFoundError, "no such file"),
])  # fmt: skip
def test_what_is_no_image_is_refused_without_a_trace(image: Any, error: type[Exception], message: str) -> None:
    classifier = kinked_network(size=(6, 6))
    with pytest.raises(error, match=message), no_trace(classifier.network):
        record(classifier, image)


def test_scores_that_do_not_depend_on_the_image_are_told() -> None:
    classifier = made_of(lambda self, x: self.a(x.detach()).relu(), a=conv())
    classifier.network.requires_grad_(False)
    with (
        pytest.raises(ValueError, match=r"scores do not depend on the image.*detach\(\)"),
        no_trace(classifier.network),
    ):
        record(classifier, IMAGE)


def test_hooks_of_the_callers_own_go_on_working_and_stay() -> None:
    classifier = residual_network()
    network, heard_of = classifier.network, []
    network.second.register_forward_hook(lambda module, inputs, output: heard_of.append(output.detach().clone()))
    network.third.register_forward_pre_hook(lambda module, inputs: (2 * inputs[0],))
    network.third.register_forward_hook(lambda module, inputs, output: output + 1)
    with torch.no_grad():
        expected = network(IMAGE.clone())
    heard_of.clear()
    with pytest.warns(UserWarning, match="third changes the network's scores"), no_trace(network, IMAGE):
        recording = record(classifier, IMAGE)
    assert recording.x("scores").equal(expected)
    assert heard_of
    assert all(heard.equal(recording.x("second")) for heard in heard_of)
    heard_of.clear()
    with torch.no_grad():
        third = functional.conv2d(2 * recording.x("relu"), network.third.weight, network.third.bias, padding=1) + 1
    torch.testing.assert_close(recording.x("third"), third, rtol=1e-12, atol=1e-12)
    assert [len(m._forward_hooks) for m in (network.second, network.third)] == [1, 1]
    network(IMAGE.clone())
    assert len(heard_of) == 1


def test_what_a_layer_remembers_of_its_run_stays_out_of_the_network() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        self.last = self.a(x)
        return self.last.relu()

    classifier = made_of(forward, a=conv())
    del classifier.network.last
    with no_trace(classifier.network):
        record(classifier, IMAGE)
    assert not hasattr(classifier.network, "last")


def test_weight_norm_and_an_empty_block_and_a_script() -> None:
    torch.manual_seed(0)
    normed = nn.utils.parametrizations.weight_norm(conv(4, 4))
    classifier = made_of(
        lambda self, x: self.empty(self.normed(self.a(x).relu())).relu(), a=conv(), normed=normed, empty=nn.Sequential()
    )
    with no_trace(classifier.network):
        recording = record(classifier, IMAGE)
    with torch.no_grad():
        assert recording.x("scores").equal(classifier.network(IMAGE))
    assert {"a", "relu", "normed", "relu:2"} <= set(names(recording))


def test_what_the_caller_does_to_the_image_later_does_not_reach_the_recording() -> None:
    x = IMAGE.clone()
    recording = record(residual_network(), x)
    before = bits(descend(recording, 0, "gradient"))
    x.zero_()
    assert recording.x("image").equal(IMAGE)
    assert bits(descend(recording, 0, "gradient")) == before


def test_two_recordings_have_nothing_in_common() -> None:
    classifier, other = residual_network(), normal(1, 3, 6, 6, seed=9)
    first = record(classifier, IMAGE)
    kept = [layer.x.detach().clone() for layer in first.layers]
    second = record(classifier, other)
    assert all(layer.x.equal(x) for layer, x in zip(first.layers, kept, strict=True))
    assert not second.x("relu").equal(first.x("relu"))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_callers_without_gradients_get_the_same(mode: Any) -> None:
    classifier = residual_network()
    expected = descend(record(classifier, IMAGE), 0, ["gradient", "deconvnet"])
    with mode():
        x = IMAGE.clone()
        recording = record(classifier, x)
        ladder = descend(recording, 0, ["gradient", "deconvnet"])
    for rung, other in zip(ladder, expected, strict=True):
        assert all(rung.r[rule].equal(other.r[rule]) for rule in ("gradient", "deconvnet"))
    assert descend(recording, 1)["image"].r["gradient"].isfinite().all()


def test_weights_made_in_inference_mode_are_told() -> None:
    with torch.inference_mode():
        classifier = kinked_network(size=(6, 6))
    with pytest.raises(ValueError, match="inference"):
        record(classifier, IMAGE)


# Two threads at once


def at_once(*jobs: Any) -> list[Any]:
    barrier = threading.Barrier(len(jobs))
    results: list[Any] = [None] * len(jobs)

    def run(i: int) -> None:
        barrier.wait()
        try:
            results[i] = jobs[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def bits(ladder: Any) -> list[Any]:
    return [(rung.name, rung.x.numpy().tobytes(), {rule: r.numpy().tobytes() for rule, r in rung.r.items()}) for
            rung in ladder]  # fmt: skip


def deep_network() -> Classifier:
    layers: list[nn.Module] = [conv()]
    for _ in range(12):
        layers += [nn.ReLU(inplace=True), conv(4, 4)]
    return made_of(lambda self, x: self.way_up(x).relu(), way_up=nn.Sequential(*layers))


def test_two_threads_on_one_classifier_get_the_bits_that_each_gets_alone() -> None:
    classifier = deep_network()
    images = [normal(1, 3, 6, 6, seed=seed) for seed in (3, 4)]
    alone = [[bits(descend(record(classifier, x), c, rule)) for c, rule in enumerate(("deconvnet", "guided"))]
             for x in images]  # fmt: skip
    with no_trace(classifier.network, *images):
        for _ in range(5):
            together = at_once(*(
                lambda x=x: [bits(descend(record(classifier, x), c, rule)) for c, rule in
                             enumerate(("deconvnet", "guided"))] for x in images
            ))  # fmt: skip
            assert together == alone


def test_threads_on_one_recording_get_the_bits_that_each_gets_alone() -> None:
    recording = record(deep_network(), IMAGE)
    rules = ("gradient", "deconvnet", "guided")
    alone = [bits(descend(recording, 1, rule)) for rule in rules]
    assert len({ladder[-1][2][rule] for ladder, rule in zip(alone, rules, strict=True)}) == 3
    for _ in range(10):
        together = at_once(*(lambda rule=rule: [bits(descend(recording, 1, rule)) for _ in range(5)] for rule in rules))
        assert together == [[ladder] * 5 for ladder in alone]


# Strange operations

STRANGE: dict[str, tuple[Any, str]] = {
    "sigmoid": (torch.sigmoid, "Sigmoid"), "tanh": (torch.tanh, "Tanh"), "gelu": (functional.gelu, "Gelu"),
    "silu": (functional.silu, "Silu"), "softplus": (functional.softplus, "Softplus"), "exp": (torch.exp, "Exp"),
    "softmax": (lambda x: x.softmax(1), "Softmax"), "leaky": (functional.leaky_relu, "LeakyRelu"),
    "abs": (torch.abs, "Abs"), "square": (lambda x: x**2, "Pow"), "product": (lambda x: x * x.mean(), "Mul"),
    "itself": (lambda x: x * x, "Mul"), "quotient": (lambda x: 3 / (x.abs().detach() + x.mean() ** 2 + 9), None),
    "reciprocal": (lambda x: 1 / (x + 9), None),
    "below the line": (lambda x: torch.div(torch.ones(1).double(), x + 9), "Div"),
    "matrix product": (lambda x: x @ x, "Bmm"), "layer norm": (lambda x: functional.layer_norm(x, x.shape[1:]), None),
    "minimum": (lambda x: torch.minimum(x, x.flip(3)), "Minimum"),
    "where": (lambda x: torch.where(x > 0, x, 0), "Where by a mask made of the image"),
    "written": (lambda x: x.clone().masked_fill_(x < 0, 0), "MaskedFill by a mask made of the image"),
}  # fmt: skip


@pytest.mark.parametrize("operation", STRANGE)
def test_strange_operations_are_found_and_named(operation: str) -> None:
    call, name = STRANGE[operation]
    inner = MadeOf(lambda self, x: call(x))
    classifier = made_of(lambda self, x: self.inner(self.a(x).relu()), a=conv(), inner=inner)
    recording = record(classifier, IMAGE)
    found = strange(recording)
    assert found is not None
    assert found[0] == "layer 'inner' (MadeOf)"
    assert name in (None, found[1])
    assert strange(recording, "relu") is None  # not on the way


LINEAR = {
    "average": lambda x: functional.avg_pool2d(x, 2), "maximum": lambda x: functional.max_pool2d(x, 2),
    "adaptive": lambda x: functional.adaptive_max_pool2d(x, 3), "mean": lambda x: x.mean((2, 3)),
    "sum": lambda x: x.sum(1), "largest": lambda x: x.amax((2, 3)), "cat": lambda x: torch.cat([x, x], 1),
    "parts": lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), "split": lambda x: x.split([1, 3], 1)[1],
    "scaled": lambda x: 3 * x / 7 - 1, "minus": lambda x: -x - 1, "weighed": lambda x: x * torch.arange(6).double(),
    "permuted": lambda x: x.permute(0, 2, 3, 1).contiguous(), "padded": lambda x: functional.pad(x, (1, 1)),
    "reflected": lambda x: functional.pad(x, (1, 1, 1, 1), mode="reflect"), "rolled": lambda x: x.roll(1, 2),
    "upsampled": lambda x: functional.interpolate(x, scale_factor=2), "picked": lambda x: x[:, [2, 0], ::2],
    "bilinear": lambda x: functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False),
    "shuffled": lambda x: functional.pixel_shuffle(x, 2), "stacked": lambda x: torch.stack([x, -x], 1),
    "halved": lambda x: x.reshape(1, 4, -1).transpose(1, 2).unsqueeze(1),
    "matrix": lambda x: x @ torch.ones(6, 2).double(),
    "unbound": lambda x: x.unbind(1)[3], "on a side": lambda x: x + x.detach().exp(),
}  # fmt: skip


@pytest.mark.parametrize("operation", LINEAR)
def test_linear_operations_are_fine(operation: str) -> None:
    classifier = made_of(lambda self, x: LINEAR[operation](self.a(x).relu()), a=conv())
    assert strange(record(classifier, IMAGE)) is None


def test_what_does_not_lie_between_the_neuron_and_the_image_is_not_strange() -> None:
    """A gate that depends only on the weights is a number, however strange it is."""
    classifier = made_of(lambda self, x: (self.a(x) * torch.sigmoid(self.a.bias.sum())).relu(), a=conv())
    assert strange(record(classifier, IMAGE)) is None


def test_of_two_strange_operations_the_one_nearer_to_the_image_is_named() -> None:
    classifier = made_of(lambda self, x: self.up(self.down(self.a(x))), a=conv(), down=nn.SiLU(), up=nn.GELU())
    assert strange(record(classifier, IMAGE)) == ("layer 'down' (SiLU)", "Silu")


def test_a_strange_operation_of_the_network_itself() -> None:
    classifier = made_of(lambda self, x: self.a(x).sigmoid(), a=conv())
    assert strange(record(classifier, IMAGE)) == ("the network's own forward", "Sigmoid")


# What names and layers must be whatever a network is called or does


def test_children_called_image_and_scores_do_not_take_those_names() -> None:
    torch.manual_seed(0)
    network = MadeOf(
        lambda self, x: self.scores(self.image(x).relu().flatten(1)), image=conv(), scores=nn.Linear(144, 3)
    )
    recording = record(Classifier(network.double().eval(), list("abc"), (), (6, 6)), IMAGE)
    assert len(set(names(recording))) == len(recording.layers)
    ladder = descend(recording, 0)
    assert len({rung.name for rung in ladder}) == len(ladder)
    assert ladder["image"].x.equal(IMAGE)
    assert ladder["image"] is ladder[-1]
    assert ladder["scores"] is ladder[0]


def test_a_block_that_adds_in_place_behind_its_last_layer_is_listed() -> None:
    """As a residual block with its activations first does: out += x; return out."""
    classifier = made_of(
        lambda self, x: self.block(self.first(x)), first=conv(), block=Block(lambda x, out: out.add_(x))
    )
    recording = record(classifier, IMAGE)
    assert "block" in names(recording)
    assert recording.x("block").equal(heard(classifier.network, IMAGE)["block"])


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d(4), nn.BatchNorm2d(4, track_running_stats=False)])
def test_a_normalisation_by_the_image_s_own_statistics_is_strange(norm: nn.Module) -> None:
    """It divides by a number that depends on the image, as LayerNorm does."""
    classifier = made_of(lambda self, x: self.norm(self.a(x)).relu(), a=conv(), norm=norm)
    found = strange(record(classifier, IMAGE))
    assert found is not None
    assert found[0] == f"layer 'norm' ({type(norm).__name__})"


def test_an_autograd_function_of_the_networks_own_is_named_with_its_layer() -> None:
    inner = MadeOf(lambda self, x: StepFunction.apply(x))
    classifier = made_of(lambda self, x: self.inner(self.a(x).relu()), a=conv(), inner=inner)
    found = strange(record(classifier, IMAGE))
    assert found == ("layer 'inner' (MadeOf)", "StepFunction")


def test_one_less_x_is_linear() -> None:
    classifier = made_of(lambda self, x: 1 - self.a(x).relu(), a=conv())
    assert strange(record(classifier, IMAGE)) is None


@pytest.mark.parametrize("way", ["relu", "relu6", "hardtanh", "threshold"])
def test_the_gradient_at_zero_and_at_the_ceiling_is_autograds(way: str) -> None:
    call = {
        "relu": torch.relu, "relu6": functional.relu6, "hardtanh": lambda x: functional.hardtanh(x, 0, 6),
        "threshold": lambda x: functional.threshold(x, 0, 0),
    }[way]  # fmt: skip
    classifier = made_of(lambda self, x: call(functional.max_pool2d(x, 2)))
    x = (3 * IMAGE).round().clamp(-6, 6)
    x[0, 0, :2, :2], x[0, 1, :2, :2] = 0, 6
    leaf = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    assert descend(record(classifier, x), 0, "gradient")["image"].r["gradient"].equal(expected)


# What a network does to a layer's output after the layer has run


CLAMPS: dict[str, Any] = {
    "relu6": functional.relu6, "clamp": lambda x: x.clamp(min=0), "clamp to 6": lambda x: x.clamp(0, 6),
    "clamp_min_": lambda x: x.clamp_min_(0), "hardtanh in place": lambda x: functional.hardtanh(x, 0, 6, True),
}  # fmt: skip
THEN: dict[str, Any] = {
    "add_": lambda y, x: y.add_(x), "mul_": lambda y, x: y.mul_(2), "clamp_": lambda y, x: y.clamp_(min=0),
    "relu6 in place": lambda y, x: functional.relu6(y, True),
}  # fmt: skip


@pytest.mark.parametrize("then", THEN)
@pytest.mark.parametrize("call", CLAMPS)
def test_the_output_of_a_clamp_may_be_overwritten(call: str, then: str) -> None:
    """Torch itself allows it, because the gradient needs only the input."""
    classifier = made_of(lambda self, x: THEN[then](CLAMPS[call](self.a(x)), self.b(x)), a=conv(), b=conv())
    recording = record(classifier, IMAGE)
    with torch.no_grad():
        x = classifier.network.a(IMAGE)
        assert recording.x("scores").equal(classifier.network(IMAGE.clone()))
    assert recording.x("a").equal(x)
    assert recording.x("relu").equal(CLAMPS[call](x.clone()))
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    found = descend(recording, 0, "gradient")["image"].r["gradient"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("then", [
    lambda y: y.mul_(2), lambda y: y.add_(1), lambda y: y[:, :1].zero_(), lambda y: y.copy_(y.flip(3)),
    lambda y: y.detach().zero_(),
])  # fmt: skip
def test_the_output_of_any_layer_may_be_overwritten(then: Any) -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.a(x)
        z = y + 0
        then(y)
        return self.b(z + y).relu()

    classifier = made_of(forward, a=conv(), b=conv(4, 4))
    with no_trace(classifier.network, IMAGE):
        recording = record(classifier, IMAGE)
    with torch.no_grad():
        assert recording.x("a").equal(classifier.network.a(IMAGE))
        assert recording.x("scores").equal(classifier.network(IMAGE.clone()))
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    found = descend(recording, 0, "gradient")["image"].r["gradient"]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


def test_an_output_that_is_added_to_and_then_cut_off_in_place_is_kept_as_it_was() -> None:
    """out = norm(x); out += identity; relu_(out): the end of every block of a ResNet."""

    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.a(x)
        out = self.norm(y)
        out += y
        return functional.relu_(out)

    classifier = made_of(forward, a=conv(), norm=nn.BatchNorm2d(4))
    recording = record(classifier, IMAGE)
    assert recording.x("norm").equal(heard(classifier.network, IMAGE)["norm"])
    inside = recording.layers[3].relu
    assert inside is not None
    assert inside[0].equal(recording.x("norm") + recording.x("a"))
    assert recording.x("relu").equal(inside[0].clamp(min=0))


class Add(torch.autograd.Function):
    """It is not what its name says."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.square()

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Tensor:
        return r


def test_a_function_written_in_python_is_strange_whatever_its_name() -> None:
    inner = MadeOf(lambda self, x: Add.apply(x))
    classifier = made_of(lambda self, x: self.inner(self.a(x).relu()), a=conv(), inner=inner)
    assert strange(record(classifier, IMAGE)) == ("layer 'inner' (MadeOf)", "Add")


class HalfLower(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) - 0.5


def test_a_relu_that_goes_on_computing_is_a_layer_with_a_relu_in_it() -> None:
    classifier = made_of(lambda self, x: self.low(self.a(x)), a=conv(), low=HalfLower())
    recording = record(classifier, IMAGE)
    assert names(recording)[1:4] == ["a", "low.relu", "low"]
    assert recording.x("low").equal(recording.x("low.relu") - 0.5)


def test_an_error_that_the_network_itself_catches_does_no_harm() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        with contextlib.suppress(ZeroDivisionError):
            self.fails(x)
        return self.a(x).relu()

    def fail(self: Any, x: Tensor) -> Tensor:
        raise ZeroDivisionError

    classifier = made_of(forward, a=conv(), fails=MadeOf(fail))
    plain = made_of(lambda self, x: self.a(x).relu(), a=conv())
    assert names(record(classifier, IMAGE)) == names(record(plain, IMAGE))
    assert descend(record(classifier, IMAGE), 0)["relu"].gate is not None


def test_layers_that_are_not_asked_for_are_not_kept_and_the_ladder_is_the_same() -> None:
    for classifier in (residual_network(), kinked_network(size=(6, 6))):
        whole = record(classifier, IMAGE)
        relu = next(layer.name for layer in whole.layers if layer.relu)
        part = record(classifier, IMAGE, [relu])
        assert [(a.name, a.kind, a.x.shape) for a in part.layers] == [(a.name, a.kind, a.x.shape) for a in whole.layers]
        assert part.x(relu).equal(whole.x(relu))
        inside, expected = part.layers[part.find(relu)].relu, whole.layers[whole.find(relu)].relu
        assert inside is not None
        assert expected is not None
        assert inside[0].equal(expected[0])
        missing = next(layer.name for layer in part.layers[1:-1] if layer.name != relu and layer.x.is_meta)
        with pytest.raises(ValueError, match=f"'{missing}' was not kept"):
            part.x(missing)
        for rule in ("gradient", "deconvnet", "guided"):
            image = descend(part, 0, rule, "image")
            assert len(image) == 1
            assert image["image"].r[rule].equal(descend(whole, 0, rule)["image"].r[rule])


def test_a_network_whose_relus_are_in_place_runs_once_whatever_is_kept() -> None:
    runs: list[int] = []

    def forward(self: Any, x: Tensor) -> Tensor:
        runs.append(1)
        return self.second(self.b(self.first(self.a(x))))

    relus = {"first": nn.ReLU(inplace=True), "second": nn.ReLU(inplace=True)}
    classifier = made_of(forward, a=conv(), b=conv(4, 4), **relus)
    for layers in (None, ["first"], ["first", "second"], ["a"], ["a", "second"], ["second"], []):
        runs.clear()
        record(classifier, IMAGE, layers)
        assert len(runs) == 1, layers


def test_a_relu_s_own_output_may_be_overwritten_by_the_next_though_nobody_asked_for_either() -> None:
    # Torch itself allows it for a clamp.
    classifier = made_of(lambda self, x: self.b(self.a(x).clamp(min=0).relu_()), a=conv(), b=conv(4, 4))
    x = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.scores(x)[0, 0], x)
    for layers in (None, ["image"], ["b"]):
        recording = record(classifier, IMAGE, layers)
        torch.testing.assert_close(descend(recording, 0, "gradient", "image")["image"].r["gradient"], expected)


def test_what_was_recorded_goes_with_the_recording() -> None:
    """It must not wait for the garbage collector, because a recording of a large network is large."""
    gc.collect()
    gc.disable()
    try:
        for classifier in (kinked_network(size=(6, 6)), residual_network()):
            recording = record(classifier, IMAGE)
            ladder = descend(recording, 0, ["gradient", "guided"])
            alive = [weakref.ref(layer.x) for layer in recording.layers] + [weakref.ref(recording)]
            rungs = [weakref.ref(r) for rung in ladder for r in rung.r.values()]
            del recording, ladder
            assert [each() for each in alive + rungs] == [None] * len(alive + rungs)
    finally:
        gc.enable()


def test_an_output_that_is_overwritten_is_right_although_nobody_asked_for_it() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        y = self.a(x).clamp(min=0)  # torch itself allows it for a clamp
        z = y + 1
        y *= 2
        return self.b(z + y)

    classifier = made_of(forward, a=conv(), b=conv(4, 4))
    for rule in ("gradient", "guided"):
        few, all_ = (descend(record(classifier, IMAGE, layers), 0, rule, "image") for layers in (["b"], None))
        assert few["image"].r[rule].equal(all_["image"].r[rule])


MASKS: dict[str, Any] = {
    "x * (x > 0)": lambda x: x * (x > 0),
    "as floats": lambda x: x * (x > 0).float().double(),
    "in place": lambda x: (x + 0).mul_(x.gt(0)),
    "leaky": lambda x: x * torch.where(x > 0, 1.0, 0.2),
    "maximum of a stack": lambda x: torch.stack([x, 0 * x]).amax(0),
    "maximum over channels": lambda x: x.amax(1, keepdim=True).expand(-1, 4, -1, -1),
    "of a detached copy": lambda x: x * x.detach().clamp(0, 1),
    "the largest entries": lambda x: x.flatten(2)[:, :, x[0, 0].flatten().argsort()].reshape(x.shape),
}


@pytest.mark.parametrize("call", MASKS)
def test_a_relu_of_ones_own_is_no_silent_constant(call: str) -> None:
    classifier = made_of(lambda self, x: self.d(MASKS[call](self.a(x))).relu(), a=conv(), d=conv(4, 4))
    found = strange(record(classifier, IMAGE))
    assert found is not None
    with pytest.raises(ValueError, match="say nothing"):
        descend(record(classifier, IMAGE), 0, "guided")
    leaf = IMAGE.clone().requires_grad_()
    (expected,) = torch.autograd.grad(classifier.network(leaf)[0, 0], leaf)
    assert descend(record(classifier, IMAGE), 0, "gradient")["image"].r["gradient"].equal(expected)


@pytest.mark.parametrize("call", [
    lambda x: torch.cat([x, torch.zeros_like(x)], 1)[:, :4], lambda x: x + x.new_ones(x.shape),
    lambda x: x + x.detach(),
    lambda x: x.amax((2, 3), keepdim=True).expand(-1, -1, 6, 6), lambda x: x.max(3, keepdim=True).values.expand_as(x),
    lambda x: x * torch.arange(6, dtype=x.dtype).gt(2),
])  # fmt: skip
def test_constants_and_poolings_are_fine(call: Any) -> None:
    classifier = made_of(lambda self, x: self.d(call(self.a(x))).relu(), a=conv(), d=conv(4, 4))
    assert strange(record(classifier, IMAGE)) is None
