"""Ascents of small networks for the tests of the class model, and what they are compared with."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from deepinside_edu import Classifier, class_model

FIXED: dict[str, Any] = {"step_rule": "fixed", "momentum": 0.0}
UNIT: dict[str, Any] = {"step_rule": "unit", "momentum": 0.0}
REGULARISED: dict[str, Any] = UNIT | {
    "jitter": 2, "mirror": True, "samples": 2, "exponent": 0.7, "blur": 0.7, "last_blur": 0.4, "blur_every": 2,
}  # fmt: skip


def linear(
    weights: Sequence[Sequence[float]], bias: Sequence[float] = (), size: tuple[int, int] = (1, 2), dtype=torch.float32
) -> Classifier:
    """S_c = wᵀI + b with a row of weights for each class, on a picture of one channel."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(size[0] * size[1], len(weights))).to(dtype).eval()
    with torch.no_grad():
        network[1].weight[:] = torch.as_tensor(weights, dtype=dtype)
        network[1].bias[:] = torch.as_tensor(bias or [0.0] * len(weights), dtype=dtype)
    return Classifier(network, [f"class {c}" for c in range(len(weights))], (), size, (0.4,), (0.25,))


def normal(*shape: int, seed: int = 1, dtype=torch.float64) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape)).to(dtype)


def climb(classifier: Classifier, classes: Any, preset: str = "paper", **options: Any) -> list[Any]:
    return list(class_model(classifier, classes, preset, **options))


def objective_of(classifier: Classifier, image: Tensor, c: int, weight: float, objective: str = "score") -> float:
    """J of one image, computed from the network itself, without any function of the package."""
    with torch.no_grad():
        scores = classifier.network(image.clone())[0].double().tolist()
    value = scores[c]
    if objective == "probability":
        value = 1 / sum(math.exp(other - scores[c]) for other in scores)
    return value - weight * sum(v * v for v in image.double().flatten().tolist())


def bits(steps: Sequence[Any]) -> list[Any]:
    """Everything that a step says, to the bit."""
    if steps and isinstance(steps[0], tuple):
        return [bits(step) for step in steps]
    return [
        (s.number, s.class_index, s.image.numpy().tobytes(), s.scores.numpy().tobytes(), s.score, s.probability,
         s.objective) for s in steps
    ]  # fmt: skip


# Worked out on paper: S_0 = 3 x + 4 y + 1, S_1 = −x + 2 y, λ = ½, so ∇J = (3, 4) − I. Every number is exact in binary.


def on_paper(dtype=torch.float32) -> Classifier:
    return linear([[3, 4], [-1, 2]], [1, 0], dtype=dtype)


PAPER: dict[str, Any] = {"regularisation": 0.5}


class Steep(nn.Module):
    """S_0 = Σ exp I, infinite in float32 from I = 89 on; S_1 = Σ I; S_2 = 5."""

    def forward(self, x: Tensor) -> Tensor:
        total = x.sum((1, 2, 3))
        return torch.stack([x.exp().sum((1, 2, 3)), total, torch.full_like(total, 5)], 1)


def steep() -> Classifier:
    return Classifier(Steep().eval(), ["a", "b", "c"], (), (2, 2), (0.5,), (0.25,))
