"""Two small float64 networks with random weights, one smooth and one with kinks, for tests against slow oracles."""

from typing import Any

import torch
from torch import nn

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
