"""SqueezeNet 1.1, the network that ships with the package, short enough to read in a lesson.

Iandola et al. 2016, arXiv 1602.07360. Up to the last average it has only convolutions, ReLU and max-pooling, so
Section 4 of the paper holds for every layer. The module tree and the names are those of
``torchvision.models.squeezenet1_1``: a state dict of one loads into the other.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Fire(nn.Module):
    """Squeeze to few channels with 1×1 kernels, then expand with 1×1 and 3×3 kernels side by side."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Turn `(N, channels, H, W)` into `(N, 2 · expanded, H, W)`."""
        x = self.squeeze_activation(self.squeeze(x))
        return torch.cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1
        )


class SqueezeNet(nn.Module):
    """Turns images ``(N, 3, H, W)``, H and W at least 17, into scores ``(N, 1000)`` before the softmax."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()

        def pool() -> nn.MaxPool2d:
            return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=3, stride=2), nn.ReLU(inplace=True), pool(),
            Fire(64, 16, 64), Fire(128, 16, 64), pool(),
            Fire(128, 32, 128), Fire(256, 32, 128), pool(),
            Fire(256, 48, 192), Fire(384, 48, 192), Fire(384, 64, 256), Fire(512, 64, 256),
        )  # fmt: skip
        # A class score is the mean of that class's own map: ReLU keeps it at zero or above.
        self.classifier = nn.Sequential(
            nn.Dropout(0.5), nn.Conv2d(512, classes, kernel_size=1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Turn images `(N, 3, H, W)` into the scores `(N, classes)`."""
        scores: Tensor = self.classifier(self.features(x))
        return scores.flatten(1)
