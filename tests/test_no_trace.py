"""The watcher itself: it stays silent where nothing changed and names every kind of trace."""

import numpy as np
import pytest
import torch
from no_trace import no_trace
from PIL import Image
from torch import nn


def tiny() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 2, 2), nn.BatchNorm2d(2), nn.ReLU()).eval()


def add_gradient(network: nn.Module) -> None:
    network[0].weight.grad = torch.zeros_like(network[0].weight)


def other_strides(network: nn.Module) -> None:
    network[0].weight.data = network[0].weight.data.contiguous(memory_format=torch.channels_last)


def write_and_write_back(network: nn.Module) -> None:
    with torch.no_grad():
        network[0].bias.add_(1).sub_(1)


TRACES = {
    "forward hook": lambda n: n[0].register_forward_hook(lambda *_: None),
    "forward pre-hook": lambda n: n[0].register_forward_pre_hook(lambda *_: None),
    "backward hook": lambda n: n[2].register_full_backward_hook(lambda *_: None),
    "hook on a weight": lambda n: n[0].weight.register_hook(lambda g: g),
    "gradient": add_gradient,
    "frozen": lambda n: n.requires_grad_(False),
    "mode": lambda n: n[1].train(),
    "flag": lambda n: setattr(n[2], "inplace", True),
    "replaced layer": lambda n: n.__setitem__(2, nn.ReLU()),
    "replaced forward": lambda n: setattr(n[2], "forward", torch.tanh),
    "strides": other_strides,
    "weight": lambda n: n[0].weight.data.view(-1)[0].add_(1),
    "written and written back": write_and_write_back,
    "buffer": lambda n: n[1].running_mean.add_(1),
    "precision": lambda n: n.double(),
    "random numbers": lambda n: torch.rand(1),
}


@pytest.mark.parametrize("trace", TRACES)
def test_names_each_trace_in_a_network(trace: str) -> None:
    network = tiny()
    with pytest.raises(AssertionError, match="a trace was left"), no_trace(network):
        TRACES[trace](network)


def test_a_trace_takes_the_place_of_the_exception() -> None:
    network = tiny()

    def step() -> None:
        network.train()
        raise ValueError("from the step")

    with pytest.raises(AssertionError, match="training"), no_trace(network):
        step()


def test_silent_where_nothing_changed_and_lets_exceptions_through() -> None:
    network, x = tiny(), torch.zeros(1, 3, 4, 4, requires_grad=True)
    with no_trace(network, x, np.zeros(3), Image.new("RGB", (2, 2))):
        torch.autograd.grad(network(x).sum(), x)
    with pytest.raises(ValueError, match="from the step"), no_trace(network):
        raise ValueError("from the step")


def test_watches_what_the_caller_passed_in() -> None:
    x, array, picture = torch.zeros(2), np.zeros(2), Image.new("RGB", (2, 2))
    for trace in (
        lambda: x.requires_grad_(),
        lambda: x.data.add_(1),
        lambda: array.__setitem__(0, 1),
        lambda: picture.putpixel((0, 0), (1, 2, 3)),
    ):
        with pytest.raises(AssertionError, match="a trace was left"), no_trace(x, array, picture):
            trace()
