"""The network on which exercises are checked, and gradients without autograd, which are the oracle of their answers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def small_network() -> nn.Module:
    """Make five scores for an image of any size. Class 3 always wins, so the predicted class is never the target."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, final = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 5, 3, padding=1)
    with torch.no_grad():
        final.weight *= 3
        final.bias.add_(3 * torch.eye(5)[3])  # type: ignore[union-attr]
    network = nn.Sequential(first, nn.ReLU(), final, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return network.eval().requires_grad_(False)


def slope_by_differences(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute ∂f/∂x in float64, for f from `(N, C, H, W)` to `(N,)`: each entry of x is moved a little up and down."""
    step = 1e-6
    double = x.double()
    moves = step * torch.eye(double.numel(), dtype=torch.float64).reshape(-1, *double.shape[1:])
    with torch.no_grad():
        slope = (function(double + moves) - function(double - moves)) / (2 * step)
    return slope.reshape(double.shape)
