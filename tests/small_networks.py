"""Small float64 networks with random weights, one smooth, one with kinks, others as a test describes them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from deepinside_edu import Classifier

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def small(*layers: nn.Module, channels: int = 3, size: tuple[int, int] = (6, 8), seed: int = 0) -> Classifier:
    """A float64 network with random weights that ends in three scores; each place of the image has its own."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(channels, 4, 3), *layers, nn.Flatten(), nn.LazyLinear(3)).double().eval()
    with torch.no_grad():
        network(torch.zeros(1, channels, *size, dtype=torch.float64))
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    return Classifier(network, ("ape", "bee", "cat"), (), size, MEAN[:channels], STD[:channels])


def smooth_network(**options: Any) -> Classifier:
    return small(nn.Softplus(), nn.Conv2d(4, 5, 2), nn.Tanh(), nn.AvgPool2d(2, stride=1), **options)


def kinked_network(**options: Any) -> Classifier:
    return small(nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(4, 5, 2), nn.ReLU(inplace=True), **options)


class MadeOf(nn.Module):
    """A network from its forward, `forward(self, x)`, and its children."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **children: Any) -> None:
        super().__init__()
        self.way = forward
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x: Tensor) -> Any:
        return self.way(self, x)


class StepFunction(torch.autograd.Function):
    """A ReLU with a gradient of its own, which cannot be recognised as a ReLU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, r: Tensor) -> Tensor:
        return r * (ctx.saved_tensors[0] > 0)


def made_of(forward: Callable[[Any, Tensor], Any], seed: int = 0, **children: nn.Module) -> Classifier:
    """Likewise as a classifier for images 3×6×6: float64, random weights, `self.head` to three scores at its end."""
    torch.manual_seed(seed)
    head = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    network = MadeOf(lambda self, x: self.head(forward(self, x)), **children, head=head).double().eval()
    with torch.no_grad():
        network(torch.ones(1, 3, 6, 6, dtype=torch.float64))
        for parameter in network.parameters():
            parameter.normal_(std=0.5)
    return Classifier(network, ("ape", "bee", "cat"), (), (6, 6), MEAN, STD)
