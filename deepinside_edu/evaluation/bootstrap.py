"""How sure a mean over images is: draw the images again and again, and see where the means fall."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import accept

RESAMPLES = 9999
"""Samples behind an interval."""


class Interval(NamedTuple):
    """A mean over images, and the interval in which 95 % of its bootstrap samples lie; NaN where there is one image."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        """Give three digits, such as ``0.443 [0.312, 0.620]``."""
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_mean(
    values: ArrayLike,
    clusters: Sequence[Hashable] | None = None,
    confidence: float = 0.95,
    random_state: int = 0,
) -> Interval:
    """Estimate a mean and its interval: the 2.5 % and 97.5 % quantiles of the means of samples drawn from the values.

    The percentile method of scipy's bootstrap, which is defined for every sample. It is somewhat too narrow for few
    images, and of values that all agree it is a point, which says only that the sample shows no spread.

    Values of one cluster belong together (composites of one cut-out are hard or easy together): a sample draws as many
    clusters as there are, with replacement, and takes the mean of all values in them.

    Args:
        values: one for each image, finite, `(N,)`.
        clusters: for each value the cluster that it belongs to; without them each is one by itself.
        confidence: share of the samples' means that lie inside, between 0 and 1; as many are above as below.
        random_state: the same one draws the same samples, also of other values.

    Returns:
        An `Interval`; of a single cluster its ends are NaN, since nothing can be said about it.

    Raises:
        ValueError: no value, one that is not finite, another number of clusters, or an option out of range.
        TypeError: an option of another kind, such as text.

    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", Section 13.3; Field & Welsh 2007,
        "Bootstrapping clustered data".
    """
    from scipy.stats import bootstrap

    confidence, random_state = check_confidence(confidence), accept.random_state(random_state)
    sample = np.asarray(values, np.float64)
    if sample.ndim != 1 or not len(sample) or not np.isfinite(sample).all():
        raise ValueError(f"expected one finite value for each image, got {values!r}.")
    if clusters is not None and len(clusters) != len(sample):
        raise ValueError(f"expected a cluster for each of {len(sample)} values, got {len(clusters)}.")
    names = range(len(sample)) if clusters is None else [str(each) for each in clusters]
    _, index = np.unique(names, return_inverse=True)
    sums, counts = np.bincount(index, weights=sample), np.bincount(index)
    mean = float(sample.mean())
    if len(sums) == 1:
        return Interval(mean, float("nan"), float("nan"))
    if (sample == sample[0]).all():  # their means would differ from it by rounding
        return Interval(mean, mean, mean)

    def mean_of(sums: NDArray[Any], counts: NDArray[Any], axis: int = -1) -> NDArray[Any]:
        return np.asarray(sums.sum(axis) / counts.sum(axis))

    found = bootstrap(
        (sums, counts), mean_of, paired=True, vectorized=True, method="percentile", confidence_level=confidence,
        n_resamples=RESAMPLES, batch=max(1, 10_000_000 // len(sums)), random_state=np.random.default_rng(random_state),
    ).confidence_interval  # fmt: skip
    return Interval(mean, float(found.low), float(found.high))


def check_confidence(confidence: object) -> float:
    """Check that a confidence lies between 0 and 1, and give it as a float.

    Raises:
        TypeError: no number.
        ValueError: one out of range.
    """
    share = accept.number("confidence", confidence, 0, 1, "95 % is 0.95.")
    if share in (0, 1):
        raise ValueError(f"expected a confidence between 0 and 1, got {share:g}; 95 % is 0.95.")
    return share
