"""Costs and contrast-sensitive neighbour weights -> minimum cut -> mask and energy."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import maxflow
import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import accept
from .colour_models import Costs, rgb_levels
from .opening import ImageLike
from .seeds import Seeds, check_seeds

SMOOTHNESS = 100.0
"""λ, in nats: the cost of separating two neighbours of the same colour. Tuned on photos' boxes and on composites."""

SMOOTHEST = 1e6
"""The largest λ. No colour of 8 bits costs more than some 10^5 nats under a mixture, so a larger λ changes nothing, but
the search takes long, and at 10^15 times more the costs would be lost in rounding (`RepeatedCut`)."""

CONTRAST = 2.5
"""β⟨‖I_p − I_q‖²⟩: a border at a colour step of mean square costs e^−2.5 = 8 % of one without. Tuned on the boxes."""

NEIGHBOURS = {4: ((0, 1), (1, 0)), 8: ((0, 1), (1, 0), (1, 1), (1, -1))}
"""Steps (down, right) to half of a pixel's neighbours; the other half are reached by steps from these neighbours."""

DECIDED = 2.0**50
"""The pull that no neighbours outweigh, counted in units of which λ has at most 2^47: the links of a pixel add up to
no more than λ (4 + 4/√2) < 2^50 units. A hard seed pulls this much, and a stronger pull is limited to it.
"""

FRESH_TREES = 1000
"""Cuts until the search begins with new trees, because it counts its steps since the last new trees in 32 bits."""


class Cut(NamedTuple):
    """The labelling of least energy: a boolean mask `(H, W)`, true for foreground, and its energy in nats."""

    mask: NDArray[np.bool_]
    energy: float


def graph_cut(
    image: ImageLike,
    costs: Costs,
    smoothness: float = SMOOTHNESS,
    seeds: Seeds | None = None,
    neighbours: int = 8,
) -> Cut:
    """Find the labelling L of least energy by one minimum cut; it is exact except for one rounding (`RepeatedCut`).

    E(L) = Σ_p cost_{L_p}(p) + λ Σ_{p,q neighbours} [L_p ≠ L_q] exp(−β‖I_p − I_q‖²) / dist(p, q), with
    β = 2.5 / ⟨‖I_p − I_q‖²⟩, the mean taken over all neighbours of the picture.

    Args:
        image: whatever `open_image` takes, resized to the costs, or a uint8 array `(H, W, 3)` of their size.
        costs: of calling each pixel foreground and background, two finite arrays `(H, W)`.
        smoothness: λ, 0 to 10^6, in nats.
        seeds: if given, hard constraints: no foreground seed can become background, nor the reverse. The
            paper says only that the seeds estimate the colour models; without them the cut may overrule them.
        neighbours: 8 or 4 per pixel.

    Returns:
        The mask and its energy; if several masks have the least energy, the one that lies within the others.

    Raises:
        ValueError: shapes that disagree, costs that are not finite, a smoothness out of its range, seeds that overlap.
        TypeError: an option of another type, such as text.

    Source: paper, Section 3.2; Boykov & Jolly 2001. The paper gives neither λ nor the neighbourhood.

    Example:
        >>> foreground, background = np.array([[1, 1, 9, 9]]), np.array([[9, 9, 1, 1]])
        >>> cut = di.graph_cut(np.zeros((1, 4, 3), np.uint8), (foreground, background), smoothness=2)
        >>> cut.mask.tolist(), cut.energy  # four pixels cost 1 each, one border costs 2
        ([[True, True, False, False]], 6.0)
    """
    return RepeatedCut(image, costs, smoothness, seeds, neighbours).result


class RepeatedCut:
    """Cuts one picture again and again: after a small change the search goes on from where it stopped.

    Mask and energy are those of `graph_cut` to the last bit, whatever was cut before. There is only one mask to find:
    of all that have the least energy, the one that lies within the others (a tie is background). No errors add up from
    cut to cut, because costs and links are counted in whole units of λ/2^46 or less, and sums of whole numbers are
    exact. So two labellings tie if their energies differ by less than this rounding: at 224×224 by 10^−6 nats for the
    usual λ, by 10^−2 for the largest.

    Attributes:
        result: the mask and its energy now.
    """

    result: Cut

    def __init__(
        self,
        image: ImageLike,
        costs: Costs,
        smoothness: float = SMOOTHNESS,
        seeds: Seeds | None = None,
        neighbours: int = 8,
    ) -> None:
        """Cut for the first time.

        Args:
            image: as in `graph_cut`, for all cuts.
            costs: as in `graph_cut`, for this cut.
            smoothness: λ, for all cuts.
            seeds: as in `graph_cut`, for this cut.
            neighbours: 8 or 4, for all cuts.

        Raises:
            ValueError: as in `graph_cut`.
            TypeError: as in `graph_cut`.
        """
        levels = rgb_levels(image, np.shape(costs[0]))
        shape = height, width = levels.shape[:2]
        smoothness, neighbours = _check_smoothness(smoothness), _check_neighbours(neighbours)
        foreground, background = _check_costs_and_seeds(shape, costs, seeds)
        self._smoothness, self._neighbours = smoothness, neighbours
        self._weights = contrast_weights(levels, neighbours)
        ends = _neighbour_pairs(height, width, neighbours)
        share, exponent = math.frexp(smoothness)  # λ = share · 2^exponent, and share < 1
        self._exponent = 47 - exponent
        capacities = np.concatenate([each.ravel() for each in self._weights])[ends.order]
        capacities *= math.ldexp(share, 47)
        np.rint(capacities, out=capacities)

        self._graph = maxflow.Graph[float](height * width, len(capacities))
        self._nodes = self._graph.add_grid_nodes(shape)
        self._graph.add_edges(ends.first, ends.second, capacities, capacities)
        self._pull = np.zeros(shape)
        self._cuts = 0
        self._cut(foreground, background, seeds)

    def again(self, costs: Costs | None = None, *, seeds: Seeds | None) -> Cut:
        """Find the labelling of least energy for other costs or other seeds.

        Args:
            costs: as in `graph_cut`; they replace those of the last cut. None keeps those.
            seeds: as in `graph_cut`; they replace all seeds of the last cut, so one that is not among them does not
                bind any more. None: there are no seeds.

        Returns:
            The mask and its energy; the same as `result` from now on.

        Raises:
            ValueError: as in `graph_cut`. The last cut stays valid, and the next one goes on from it.

        Source: Kohli & Torr 2005. The paper cuts once.
        """
        given = self._costs if costs is None else costs
        foreground, background = _check_costs_and_seeds(self._pull.shape, given, seeds)
        self._cut(foreground, background, seeds)
        return self.result

    def _cut(self, foreground: NDArray[np.float64], background: NDArray[np.float64], seeds: Seeds | None) -> None:
        with np.errstate(over="ignore"):  # a pull that overflows decides anyway
            pull = np.ldexp(background - foreground, self._exponent)  # > 0: the pixel prefers foreground
        # Rounded away from zero, so that the least preference decides a pixel without links.
        pull = np.copysign(np.ceil(np.minimum(np.abs(pull), DECIDED)), pull)
        if seeds is not None:
            pull = np.where(seeds[0], DECIDED, np.where(seeds[1], -DECIDED, pull))

        # The graph holds what the flow so far has left of the last pull, so only the change is added.
        # The sink is the foreground, because a pixel that no flow reaches stays with the source: a tie is background.
        change = pull - self._pull
        changed = self._nodes[change != 0]
        reuse = self._cuts % FRESH_TREES > 0  # the first cut has no trees to reuse, and nothing may be marked before it
        if len(changed) > 0:  # PyMaxflow does not accept empty arrays
            if reuse:
                self._graph.mark_grid_nodes(changed)
            self._graph.add_grid_tedges(changed, np.zeros(len(changed)), change[change != 0])
            self._pull = pull
        self._graph.maxflow(reuse_trees=reuse)
        self._cuts += 1

        mask = np.asarray(self._graph.get_grid_segments(self._nodes), dtype=bool)
        self._costs = Costs(foreground.copy(), background.copy())  # the caller may write into their own
        self.result = Cut(mask, _energy(mask, foreground, background, self._weights, self._smoothness))


def cut_energy(
    image: ImageLike, costs: Costs, mask: ArrayLike, smoothness: float = SMOOTHNESS, neighbours: int = 8
) -> float:
    """Compute E(L) of any labelling: what its pixels cost, and what its borders cost.

    Args:
        image: as in `graph_cut`.
        costs: as in `graph_cut`.
        mask: L, boolean `(H, W)`.
        smoothness: λ.
        neighbours: 8 or 4.

    Returns:
        The energy in nats.

    Raises:
        ValueError: as in `graph_cut`, or a mask that is not boolean or of another shape.
    """
    levels = rgb_levels(image, np.shape(costs[0]))
    smoothness, neighbours = _check_smoothness(smoothness), _check_neighbours(neighbours)
    foreground, background = _check_costs_and_seeds(levels.shape[:2], costs, None)
    labels = np.asarray(mask)
    if labels.dtype != bool or labels.shape != levels.shape[:2]:
        raise ValueError(
            f"expected a boolean mask {levels.shape[:2]} like the picture, got {labels.dtype} {labels.shape}."
        )
    return _energy(labels, foreground, background, contrast_weights(levels, neighbours), smoothness)


def _energy(
    labels: NDArray[np.bool_],
    foreground: NDArray[np.float64],
    background: NDArray[np.float64],
    weights: list[NDArray[np.float64]],
    smoothness: float,
) -> float:
    pixels = float(np.where(labels, foreground, background).sum())
    borders = 0.0
    for (down, right), each in zip(NEIGHBOURS[2 * len(weights)], weights, strict=True):
        first, second = _cut_out_pairs(labels, down, right)
        borders += float(each[first != second].sum())
    return pixels + smoothness * borders


def contrast_weights(image: ImageLike, neighbours: int = 8) -> list[NDArray[np.float64]]:
    """Compute exp(−β‖I_p − I_q‖²) / dist(p, q) for each pair of neighbours: near 1 inside a surface, near 0 at an edge.

    Args:
        image: as in `graph_cut`.
        neighbours: 8 or 4.

    Returns:
        One array per step of `NEIGHBOURS`, of the pairs that lie within the picture.

    Raises:
        ValueError: something that is not an RGB picture, or neither 4 nor 8 neighbours.
        TypeError: a number of neighbours that is not a whole number.
    """
    neighbours = _check_neighbours(neighbours)
    planes = np.moveaxis(rgb_levels(image), 2, 0).astype(np.float32)
    differences = []
    for down, right in NEIGHBOURS[neighbours]:
        total = np.float32(0)
        for plane in planes:  # plane by plane, without a temporary of three channels
            first, second = _cut_out_pairs(plane, down, right)
            step = first - second
            total = total + step * step
        differences.append(np.asarray(total))
    mean = sum(float(d.sum(dtype=np.float64)) for d in differences) / max(1, sum(d.size for d in differences))
    beta = CONTRAST / mean if mean > 0 else 0.0
    return [
        np.exp(-beta * d.astype(np.float64)) / np.hypot(down, right)
        for d, (down, right) in zip(differences, NEIGHBOURS[neighbours], strict=True)
    ]


def _cut_out_pairs(plane: NDArray, down: int, right: int) -> tuple[NDArray, NDArray]:  # type: ignore[type-arg]
    """Give two views of a plane: the pixels that have such a neighbour, and these neighbours."""
    height, width = plane.shape
    here = plane[: height - down, max(0, -right) : width - max(0, right)]
    there = plane[down:, max(0, right) : width - max(0, -right)]
    return here, there


class _Pairs(NamedTuple):
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    order: NDArray[np.int64]


@lru_cache(maxsize=8)
def _neighbour_pairs(height: int, width: int, neighbours: int) -> _Pairs:
    """List the ends of every edge by pixel, so that the graph lies in memory in the order in which the cut walks it."""
    pixels = np.arange(height * width).reshape(height, width)
    pairs = [_cut_out_pairs(pixels, down, right) for down, right in NEIGHBOURS[neighbours]]
    first = np.concatenate([a.ravel() for a, _ in pairs])
    second = np.concatenate([b.ravel() for _, b in pairs])
    order = np.argsort(first, kind="stable")
    return _Pairs(first[order], second[order], order)


def _check_smoothness(smoothness: object) -> float:
    return accept.number("smoothness", smoothness, 0, SMOOTHEST, "In nats; the usual one is 100.")


def _check_neighbours(neighbours: object) -> int:
    count = accept.whole("neighbours", neighbours, 4, 8)
    if count not in NEIGHBOURS:
        raise ValueError(f"expected 4 or 8 neighbours, got {count}.")
    return count


def _check_costs_and_seeds(
    shape: tuple[int, ...], costs: Costs, seeds: Seeds | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if len(costs) != 2:
        raise ValueError(f"expected two arrays of costs, foreground and background, got {len(costs)}.")
    foreground, background = (np.asarray(cost, np.float64) for cost in costs)
    for side, cost in (("foreground", foreground), ("background", background)):
        if cost.shape != shape:
            raise ValueError(
                f"expected {side} costs {shape} like the picture, got {cost.shape}. Use models.costs(image)."
            )
        if not np.isfinite(cost).all():
            raise ValueError(f"the {side} costs are not finite; use large numbers or `seeds` for certain pixels.")
    if seeds is not None:
        check_seeds(seeds, shape)
    return foreground, background
