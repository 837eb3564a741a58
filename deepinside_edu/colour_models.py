"""One Gaussian mixture for each seed set; each pixel's two costs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import accept
from .opening import ImageLike, open_image
from .seeds import Seeds, check_seeds

Array = NDArray[np.float64]

CELL = 4
"""Colours are counted in cells of 4×4×4 levels: every seed counts, but one more or less hardly changes the result."""

SIDE = -(-256 // CELL)
"""Cells along each of the three axes."""

MOST_COMPONENTS = 250
"""With this many, each Gaussian has ten of the foreground's 2,509 seeds at 224×224, as many as it has parameters."""

MIN_VARIANCE = 1.0
"""This is added to each variance, in squared grey levels, because a colour of 8 bits is not known more precisely."""

ITERATIONS = 30
"""Iterations of EM. The number is fixed, because rounding can decide when a rule that watches the likelihood stops."""

CHUNK = 4096
"""Pixels are rated this many at a time: they stay in the cache, and BLAS starts no threads for such a small product."""

ROWS, COLUMNS = np.triu_indices(3)


class Costs(NamedTuple):
    """The cost of labelling each pixel foreground, and that of labelling it background: two arrays `(H, W)` in nats."""

    foreground: Array
    background: Array


@dataclass(frozen=True, eq=False)
class Mixture:
    """p(z) = Σ_k π_k N(z; μ_k, Σ_k) over colours z = (R, G, B) on the scale 0..255.

    Attributes:
        weights: π, `(K,)`, adding up to 1.
        means: μ, `(K, 3)`.
        covariances: Σ, `(K, 3, 3)`.
    """

    weights: Array
    means: Array
    covariances: Array

    def log_likelihood(self, colours: NDArray[Any]) -> Array:
        """Evaluate log p(z) of each colour, in nats: `(..., 3)` gives `(...)`."""
        z = np.asarray(colours, np.float64)
        parts = np.split(z.reshape(-1, 3), range(CHUNK, z.size // 3, CHUNK))
        values = [log_sum_exp(self._log_joint(quadratic_features(part))) for part in parts]
        return np.concatenate(values).reshape(z.shape[:-1])

    def _log_joint(self, features: Array) -> Array:
        """log π_k + log N(z_n; μ_k, Σ_k), `(N, K)`; k comes first in memory, so that sums over k are quick."""
        return (self._coefficients() @ features.T).T

    def _coefficients(self) -> Array:
        """θ `(K, 10)` so that log π_k + log N(z; μ_k, Σ_k) = θ_k · quadratic_features(z)."""
        precision = np.linalg.inv(self.covariances)
        linear = np.einsum("kij,kj->ki", precision, self.means)
        _, log_volume = np.linalg.slogdet(self.covariances)
        constant = np.log(self.weights) - 0.5 * (3 * np.log(2 * np.pi) + log_volume + (linear * self.means).sum(1))
        twice = np.where(ROWS == COLUMNS, 1.0, 2.0)  # each mixed product stands for two entries of the matrix
        return np.concatenate([constant[:, None], linear, -0.5 * precision[:, ROWS, COLUMNS] * twice], axis=1)


def quadratic_features(z: Array) -> Array:
    """List 1, the colour and its six products, `(N, 10)` of `(N, 3)`. E and M steps then take one matrix product."""
    features = np.empty((10, len(z)))
    features[0] = 1
    features[1:4] = z.T
    np.multiply(features[1 + ROWS], features[1 + COLUMNS], out=features[4:])
    return features.T


def log_sum_exp(values: Array) -> Array:
    """Compute log Σ_k exp(v_k) over the last axis without overflow."""
    largest = values.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(values - largest).sum(-1)) + largest[..., 0])


@dataclass(frozen=True, eq=False)
class ColourModels:
    """The two mixtures of one picture.

    Attributes:
        foreground: the colours of the foreground seeds.
        background: the colours of the background seeds.
        grid: (H, W) of the seeds, and so of the costs.
    """

    foreground: Mixture
    background: Mixture
    grid: tuple[int, int]

    def costs(self, image: ImageLike) -> Costs:
        """Compute each pixel's two costs, −log p(colour | foreground) and −log p(colour | background), in nats.

        Args:
            image: whatever `open_image` takes, resized to the seeds, or a uint8 array `(H, W, 3)` of any size.

        Returns:
            Two arrays `(H, W)`; where the first is smaller, the colour looks more like the object.

        Raises:
            ValueError: something that is not an RGB picture.
        """
        z = rgb_levels(image, self.grid)
        return Costs(-self.foreground.log_likelihood(z), -self.background.log_likelihood(z))


def colour_models(image: ImageLike, seeds: Seeds, components: int = 5, random_state: int = 0) -> ColourModels:
    """Fit one Gaussian mixture to the foreground seeds' colours and one to the background seeds'.

    Each has full covariances and comes from expectation maximisation on a histogram of the seeds' colours, with a
    k-means++ start. If the colours fill fewer cells than there are components, there are fewer components.

    Args:
        image: whatever `open_image` takes, resized to the masks, or a uint8 array `(H, W, 3)` of their size.
        seeds: two boolean masks `(H, W)`, as `seeds` gives them.
        components: K of each mixture, 1 to 250.
        random_state: from 0 to 2⁶⁴ − 1, chooses the starts; the same number gives the same bits.

    Returns:
        A `ColourModels`; its `costs(image)` are the next step.

    Raises:
        ValueError: masks of another shape than the picture, an empty seed set, or an option out of its range.
        TypeError: an option of another type, such as text.

    Source: paper, Section 3.2, which gives neither K nor the kind of covariance.

    Example:
        >>> chosen = di.seeds(di.saliency_map(classifier, di.photo("panda")))
        >>> models = di.colour_models(di.photo("panda"), chosen)
        >>> models.costs(di.photo("panda")).foreground.shape
        (224, 224)
    """
    components = accept.whole("components", components, 1, MOST_COMPONENTS, "A colour model usually has five.")
    random_state = accept.random_state(random_state)
    levels = rgb_levels(image, np.shape(seeds[0]))
    height, width = levels.shape[:2]
    chosen = check_seeds(seeds, (height, width))
    for side, mask in zip(chosen._fields, chosen, strict=True):
        if not mask.any():
            raise ValueError(f"the {side} seeds are empty: there is no colour to learn from. Move their quantile.")
    foreground, background = (fit_mixture(levels[mask], components, random_state) for mask in chosen)
    return ColourModels(foreground, background, (height, width))


def fit_mixture(colours: NDArray[Any], components: int, random_state: int = 0) -> Mixture:
    """Fit a mixture of full-covariance Gaussians to counted colours by expectation maximisation.

    The colours are counted in cells j of a grid: n_j of them, with the mean z̄_j and the mean products of z. EM raises
    L = Σ_j n_j log Σ_k π_k exp⟨log N(z; μ_k, Σ_k)⟩_j, where ⟨ ⟩_j is the mean over the colours of a cell, so that all
    colours of a cell have the same r_jk. L is at most the log-likelihood, and equals it if each cell has one colour.

    E: r_jk ∝ π_k exp⟨log N(z; μ_k, Σ_k)⟩_j. M: π, μ, Σ are shares, means and covariances with the weights n_j r_jk.

    Rounding decides for a few pixels whether they are seeds, differently on each processor. So nothing here may depend
    on single pixels: the fit is a smooth function of the counts, and so are the chances with which its start is drawn.

    Args:
        colours: z, `(N, 3)` on the scale 0..255, N at least 1.
        components: K; there are fewer if the colours fill fewer cells.
        random_state: chooses the start.

    Returns:
        The `Mixture`.
    """
    cells = count_colours(colours)
    nearest = _spread_out_start(cells, components, random_state)
    responsibilities = (nearest[:, None] == np.unique(nearest)).astype(np.float64)
    means_of_features = cells.moments / cells.moments[:, :1]
    for _ in range(ITERATIONS):
        mixture = _maximise(responsibilities, cells.moments)
        joint = mixture._log_joint(means_of_features)
        likelihoods = np.exp(joint - joint.max(1, keepdims=True))
        responsibilities = likelihoods / likelihoods.sum(1, keepdims=True)
    return mixture


class Cells(NamedTuple):
    """Counted colours: the sums of `quadratic_features` over the colours of each cell that holds any.

    Attributes:
        number: (red · 64 + green) · 64 + blue of each cell on the grid, `(J,)`, in ascending order.
        moments: `(J, 10)`: count, sum and sum of products. For 8-bit colours they are whole numbers, so they are exact.
    """

    number: NDArray[np.int64]
    moments: Array


def count_colours(colours: NDArray[Any]) -> Cells:
    """Count colours in the cells of a grid.

    Args:
        colours: z, `(N, 3)` on the scale 0..255; values beyond it are counted in the outermost cells.

    Returns:
        The `Cells`.
    """
    z = np.asarray(colours, np.float64)
    cell = (z / CELL).clip(0, SIDE - 1).astype(np.uint8).T
    order = np.lexsort(cell[::-1])
    number = np.ravel_multi_index(tuple(cell[:, order]), (SIDE,) * 3)
    first = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    return Cells(number[first], np.add.reduceat(quadratic_features(z[order]).T, first, axis=1).T)


def _maximise(responsibilities: Array, features: Array) -> Mixture:
    moments = responsibilities.T @ features  # (K, 10): mass, sum of colours, sum of products
    mass = np.maximum(moments[:, 0], 1e-10)
    means = moments[:, 1:4] / mass[:, None]
    covariances = np.empty((len(mass), 3, 3))
    products = moments[:, 4:] / mass[:, None] - means[:, ROWS] * means[:, COLUMNS]
    covariances[:, ROWS, COLUMNS] = covariances[:, COLUMNS, ROWS] = products
    covariances += MIN_VARIANCE * np.eye(3)
    return Mixture(mass / mass.sum(), means, covariances)


def _spread_out_start(cells: Cells, components: int, random_state: int) -> NDArray[np.intp]:
    """k-means++: draw each next centre with a chance ∝ its weight times its squared distance to the nearest so far.

    Each cell of the grid waits for a random time of its own, ∝ 1/chance, and the first to arrive is taken. One seed
    more or less then changes the winner only if two arrive together; in a draw from summed chances it would shift all.
    """
    waiting = _waiting_times(random_state)[cells.number]
    count = cells.moments[:, 0]
    means = cells.moments[:, 1:4].T / count
    distances: list[Array] = []
    chance = count
    while len(distances) < components and chance.any():
        with np.errstate(divide="ignore"):  # a cell without a chance waits for ever
            centre = means[:, [(waiting / chance).argmin()]]
        distances.append(((means - centre) ** 2).sum(0))
        chance = count * np.min(distances, axis=0)
    return np.asarray(np.argmin(distances, axis=0))


@lru_cache(maxsize=4)
def _waiting_times(random_state: int) -> Array:
    return np.random.default_rng(random_state).standard_exponential(SIDE**3)


def rgb_levels(image: ImageLike, grid: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Give the 8-bit levels `(H, W, 3)` of a picture.

    Args:
        image: a uint8 array `(H, W, 3)`, which is passed through, or whatever `open_image` takes.
        grid: (H, W) that a picture of another size is resized to (bicubic); an array is never resized.

    Returns:
        The levels.

    Raises:
        ValueError: an array of another type or shape, or something that is not a picture.
    """
    if isinstance(image, np.ndarray):
        levels = image
    else:
        picture = open_image(image)
        if grid is not None and len(grid) == 2 and 0 not in grid:
            picture = picture.resize((grid[1], grid[0]), Image.Resampling.BICUBIC)
        levels = np.asarray(picture)
    if levels.dtype != np.uint8 or levels.ndim != 3 or levels.shape[2] != 3:
        raise ValueError(
            f"expected a PIL image or a uint8 array (H, W, 3), got {levels.dtype} {levels.shape}. Use open_image first."
        )
    return levels
