"""Every step and every explorer computes the same whatever torch is set to, and where a device or precision lacks much.

One small network sees one small photo; the numbers that come out of each step are compared with those that come out
where nothing is unusual.
"""

import functools
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from no_trace import no_trace
from PIL import Image
from torch import nn
from torch.utils._pytree import tree_map_only

import deepinside_edu as di

SIDE = 40
PHOTO = di.photo("red_panda").image.resize((SIDE, SIDE))
LABELS, IDS = ("ape", "lesser panda", "bee"), ("n00000001", di.photo("red_panda").wordnet_id, "n00000003")


def small_classifier(dtype=torch.float32):
    """Random weights that are the same on every call; the second class is the photo's."""
    random = torch.Generator().manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 3),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float32, device="cpu") * 0.3)
        network[-1].bias[1] += 9
    return di.Classifier(network.to(dtype).eval(), LABELS, IDS, (SIDE, SIDE))


def numbers(thing):
    """All numbers in a result, in one flat list of arrays."""
    if isinstance(thing, torch.Tensor):
        return [thing.detach().cpu().float().numpy()]
    if isinstance(thing, np.ndarray | np.generic | float | int | Image.Image):
        return [np.asarray(thing, np.float64)]
    if isinstance(thing, Mapping):
        return [number for value in thing.values() for number in numbers(value)]
    if isinstance(thing, list | tuple):
        return [number for value in thing for number in numbers(value)]
    if is_dataclass(thing) and not isinstance(thing, di.Classifier):
        return [number for field in fields(thing) for number in numbers(getattr(thing, field.name))]
    return []  # text, models, classifiers


def explored(explorer, *changes):
    """An explorer's result after each of these changes of its controls, and its still picture."""
    seen = []
    for change in ({}, *changes):
        for name, value in change.items():
            setattr(explorer, name, value)
        assert explorer.wait(60)
        assert explorer.message == "" or "Error" not in explorer.message, explorer.message
        seen.append(explorer.result)
    seen.append(explorer.still())
    explorer.close()
    return seen


def climbed(classifier):
    studio = di.explore.class_model(PHOTO, classifier, 1)
    before = studio.still()
    studio.step()
    assert studio.wait(60)
    return [before, studio.result.image, studio.still(), studio._run.message]


def recorded(classifier):
    recording = di.record(classifier, PHOTO)
    neuron = di.Neuron("3", 2)
    return [di.descend(recording, neuron), di.descend(recording, 1, ("gradient", "deconvnet", "guided"))]


def by_hand(classifier):
    x = classifier.prepare(PHOTO)
    pooled = di.pool_with_switches(x, 2)
    kernels = classifier.network[0].weight.detach()
    r = di.convolution_backward(x[:, :1].expand(-1, 6, -1, -1)[..., :38, :38], kernels, (SIDE, SIDE))
    return [di.relu_backward(x, r), pooled.x, di.unpool(pooled.x, pooled.switches, (SIDE, SIDE))]


def line(classifier):
    x = classifier.prepare(PHOTO)
    line = di.linearise(classifier, x, 1)
    return [line, line(x), di.max_abs(line.w), classifier.picture(x)]


def a_data_set():
    whole = di.evaluation.shipped_photos()
    return replace(whole, examples=tuple(each for each in whole.examples if each.name.startswith("red_panda")))


def curves(classifier):
    m = di.saliency_map(classifier, PHOTO, 1)
    return [curve(classifier, PHOTO, 1, m, steps=5)
            for curve in (di.evaluation.deletion_curve, di.evaluation.insertion_curve)]  # fmt: skip


ABLATED = {"threshold only": di.evaluation.ABLATIONS["threshold only"]}
TWO = [di.photo("red_panda"), replace(di.photo("red_panda"), name="again")]
STEPS = {
    "top": lambda c: c.top(PHOTO),
    "layers": lambda c: [layer.shape for layer in c.layers()],
    "linearise": line,
    "saliency map": lambda c: di.saliency_map(c, PHOTO),
    "ten crops": lambda c: di.saliency_map(c, PHOTO, 1, crops=10),
    "saliency maps": lambda c: di.saliency_maps(c, PHOTO, [0, 2], crops=10),
    "localise": lambda c: di.localise(c, PHOTO, 1).box,
    "localise classes": lambda c: [each.cut for each in di.localise_classes(c, PHOTO, [0, 1], crops=1, smoothness=5)],
    "class model": lambda c: list(di.class_model(c, 1, steps=3)),
    "class model, readable": lambda c: list(di.class_model(c, [0, 1], "readable", steps=3)),
    "class model from noise": lambda c: list(di.class_model(c, 1, "readable", start="noise", steps=2)),
    "class model from a photo": lambda c: list(di.class_model(c, 1, start=PHOTO, steps=2)),
    "by hand": by_hand,
    "record, descend": recorded,
    "ladder": lambda c: di.backward_ladder(c, PHOTO, 1),
    "distances": lambda c: [rung.distance("deconvnet") for rung in di.backward_ladder(c, PHOTO, 1)],
    "top photos": lambda c: di.top_photos(c, "3", 1, [PHOTO, PHOTO.rotate(90)], k=2),
    "maps": lambda c: di.evaluation.compute_maps(c, PHOTO, 1),
    "curves": curves,
    "localisation error": lambda c: di.evaluation.localisation_error(c, a_data_set(), crops=1, problems="miss"),
    "measures": lambda c: di.evaluation.measure_maps(c, a_data_set(), ("gradient", "edges"), ("pointing", "deletion")),
    "sanity check": lambda c: di.evaluation.sanity_check(c, PHOTO, 1, ("gradient",)),
    "randomise": lambda c: di.evaluation.randomise_layers(c, 2).top(PHOTO),
    "ablate": lambda c: di.evaluation.ablate(c, TWO, ABLATED, crops=1).runs,
    "explore scores": lambda c: explored(di.explore.scores(PHOTO, c), {"k": 2}),
    "explore saliency": lambda c: explored(di.explore.saliency(PHOTO, c), {"crops": 10}, {"class_index": 0}),
    "explore taylor": lambda c: explored(
        di.explore.taylor(PHOTO, c), *({"direction": each} for each in ("gradient", "noise", "grey", "another photo"))
    ),
    "explore localisation": lambda c: explored(di.explore.localisation(PHOTO, c), {"foreground": 0.9}),
    "explore microscope": lambda c: explored(di.explore.microscope(PHOTO, c), {"layer": "3"}, {"plane": "all"}),
    "explore sanity": lambda c: explored(di.explore.sanity(PHOTO, c), {"down_to": 1}),
    "explore class model": climbed,
}  # fmt: skip


@functools.cache
def usual(step):
    return numbers(STEPS[step](small_classifier()))


def same(got, wanted):
    assert len(got) == len(wanted) > 0
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


# --- whatever torch is set to ----------------------------------------------------------------------------------------


@contextmanager
def default_precision(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def default_device(device):
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


SETTINGS = {
    "default precision float64": lambda: default_precision(torch.float64),
    # It holds no values, so that whatever is made there by mistake is seen.
    "default device meta": lambda: default_device("meta"),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("step", STEPS)
def test_what_torch_is_set_to_changes_nothing(step, setting):
    wanted, classifier = usual(step), small_classifier()
    with SETTINGS[setting](), no_trace(classifier.network):
        got = STEPS[step](classifier)
    same(numbers(got), wanted)


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_torch_is_set_to_changes_nothing_of_the_shipped_network(setting, classifier):
    photo = di.photo("panda")
    with SETTINGS[setting]():
        loaded = di.load_classifier(device="cpu")
        m, top = di.saliency_map(loaded, photo), loaded.top(photo)
    same(numbers([m, top]), numbers([di.saliency_map(classifier, photo), classifier.top(photo)]))


# --- half precision --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
def test_a_network_of_half_precision_goes_every_way(step):
    """bfloat16, which NumPy has not."""
    classifier = small_classifier(torch.bfloat16)
    with no_trace(classifier.network):
        got = numbers(STEPS[step](classifier))
    wanted = usual(step)
    assert len(got) == len(wanted)
    assert [np.isfinite(number).all() for number in got] == [np.isfinite(number).all() for number in wanted]


@pytest.mark.parametrize(("dtype", "least"), [(torch.bfloat16, 0.9), (torch.float16, 0.99)])
@pytest.mark.parametrize("step", ["saliency map", "ten crops", "explore saliency"])
def test_a_map_of_half_precision_is_nearly_that_of_float32(step, dtype, least):
    one, other = STEPS[step](small_classifier(dtype)), STEPS[step](small_classifier())
    one, other = (each[0].saliency if isinstance(each, list) else each for each in (one, other))
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > least


# --- a device without float64 ----------------------------------------------------------------------------------------

DEVICE = torch.device("cpu:0")  # where torch computes as on "cpu", and which is not equal to it
REFUSED = "Cannot convert a MPS Tensor to float64 dtype (simulated)"


class OnDevice(torch.Tensor):
    """A tensor on a stand-in for Apple's MPS: it has no float64, it is no NumPy array, and only cpu() leads away."""

    device = property(lambda _: DEVICE)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, getattr(function, "__name__", "")
        if name in ("numpy", "__array__"):
            raise TypeError("can't convert mps:0 device type tensor to numpy (simulated)")
        if name == "to" and torch.float64 in (*args, *kwargs.values()):
            raise TypeError(REFUSED)  # the cast comes first, also on the way to the CPU
        if name == "view_as":  # as get_gradient_edge looks for a leaf, which a subclass would hide behind a node
            with torch._C.DisableTorchFunctionSubclass():
                return function(*args, **kwargs)
        result = super().__torch_function__(function, types, args, kwargs)
        leaves = name == "cpu" or (name == "to" and torch.device("cpu") in (*args, *kwargs.values()))
        return tree_map_only(torch.Tensor, (lambda t: t.as_subclass(torch.Tensor)) if leaves else allowed, result)


    def __deepcopy__(self, memo):
        return memo.setdefault(id(self), nn.Parameter(self.detach().clone(), self.requires_grad))


def allowed(tensor):
    if isinstance(tensor, OnDevice) and tensor.dtype == torch.float64:
        raise TypeError(REFUSED)
    return tensor


def placed(tensor):
    """Tensors come here by to(device) or by being made here, and then they are no doubles."""
    if tensor.dtype == torch.float64:
        raise TypeError(REFUSED)
    return tensor.as_subclass(OnDevice)


@pytest.fixture
def device(monkeypatch):
    """Let torch know the device."""

    def leading_there(function):
        def wrapped(*args, **kwargs):
            result = function(*args, **kwargs)
            there = any(isinstance(each, OnDevice) or (isinstance(each, torch.device) and each == DEVICE)
                        for each in (*args[1:], *kwargs.values()))  # fmt: skip
            return placed(result) if there else result

        return wrapped

    monkeypatch.setattr(torch.Tensor, "to", leading_there(torch.Tensor.to))
    for name in ("zeros", "ones", "empty", "full", "arange", "eye", "linspace", "tensor", "as_tensor", "randn", "rand"):
        monkeypatch.setattr(torch, name, leading_there(getattr(torch, name)))


def on_device():
    classifier = small_classifier()
    for module in classifier.network.modules():
        for name, weight in module._parameters.items():
            module._parameters[name] = nn.Parameter(weight.detach().as_subclass(OnDevice), requires_grad=False)
    return classifier


@pytest.mark.parametrize("step", STEPS)
def test_a_device_without_float64_is_asked_for_none(step, device):
    wanted = usual(step)
    got = numbers(STEPS[step](on_device()))
    if step in ("record, descend", "ladder", "distances", "explore microscope"):
        # The stand-in puts nodes of its own into the graph, which keep one layer out of a ladder.
        assert 0 < len(got) <= len(wanted)
        assert all(any(np.array_equal(one, other) for other in wanted) for one in got)
    else:
        same(got, wanted)


@pytest.mark.parametrize("ask", [
    lambda x: x.double(), lambda x: x.to(torch.float64), lambda x: x.to("cpu", torch.float64),
    lambda x: x.sum(dtype=torch.float64), lambda x: torch.linalg.vector_norm(x, dtype=torch.float64),
    lambda x: torch.mul(x, torch.ones(3, dtype=torch.float64)), lambda x: x.new_zeros(3, dtype=torch.float64),
    lambda x: torch.zeros(3, dtype=torch.float64, device=x.device), lambda x: x.numpy(), np.asarray,
    lambda x: torch.ones(3, dtype=torch.float64).to(x.device),
])  # fmt: skip
def test_the_stand_in_refuses_what_the_device_does(ask, device):
    x = torch.ones(3, device=DEVICE)
    assert type(x) is type(x + 1) is OnDevice
    with pytest.raises(TypeError, match="simulated"):
        ask(x)
    assert type(x.cpu().double()) is torch.Tensor
