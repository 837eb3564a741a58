"""Intervals of means are those of all samples that can be drawn."""

import itertools

import numpy as np
import pytest

from deepinside_edu.evaluation.bootstrap import Interval, bootstrap_mean


def test_the_interval_is_that_of_all_samples() -> None:
    """Of four values there are 4⁴ samples, all equally likely: the quantiles of their means are known."""
    values = [0.1, 0.5, 0.7, 2.9]
    means = np.sort([np.mean(sample) for sample in itertools.product(values, repeat=4)])
    found = bootstrap_mean(values)
    assert found.mean == pytest.approx(1.05)
    for got, share in ((found.low, 0.025), (found.high, 0.975)):
        # One part in a hundred of the samples to either side, for those that were drawn are not all.
        assert means[int((share - 0.01) * 256)] <= got <= means[int(np.ceil((share + 0.01) * 256))]
    assert bootstrap_mean(values) == found


def test_intervals_of_samples_that_show_no_spread() -> None:
    assert bootstrap_mean([0.1] * 7) == Interval(pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1))
    alone = bootstrap_mean([0.3])
    assert alone.mean == 0.3
    assert np.isnan([alone.low, alone.high]).all()
    for bad in ([], [[1.0]], [np.nan, 1]):
        with pytest.raises(ValueError, match="one finite value for each image"):
            bootstrap_mean(bad)


def test_an_interval_is_that_of_all_samples_that_can_be_drawn() -> None:
    values = np.array([0.1, 0.5, 0.2, 0.9])
    means = np.sort([np.mean(drawn) for drawn in itertools.product(values, repeat=4)])
    found = bootstrap_mean(values, "abcd", confidence=0.8)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(np.quantile(means, 0.1), abs=0.02)
    assert found.high == pytest.approx(np.quantile(means, 0.9), abs=0.02)


def test_clusters_of_unequal_size_are_drawn_whole() -> None:
    clusters = {"a": [0.0, 0.1, 0.2], "b": [1.0], "c": [0.4, 0.6]}
    drawn = [np.concatenate([clusters[name] for name in each]).mean() for each in itertools.product(clusters, repeat=3)]
    found = bootstrap_mean(np.concatenate(list(clusters.values())), "aaabcc", confidence=0.6)
    assert found.mean == pytest.approx(np.mean([0, 0.1, 0.2, 1, 0.4, 0.6]))
    # Of 27 equally likely samples the quantiles are steps: the interval's ends are two of the means.
    low, high = np.quantile(drawn, 0.2, method="inverted_cdf"), np.quantile(drawn, 0.8, method="inverted_cdf")
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_the_same_pictures_four_times_over_make_nothing_surer() -> None:
    values = np.random.default_rng(0).uniform(size=12)
    names = [f"{i:02}" for i in range(12)]
    once, repeated = bootstrap_mean(values, names), bootstrap_mean(np.repeat(values, 4), np.repeat(names, 4).tolist())
    assert (repeated.mean, repeated.low, repeated.high) == pytest.approx((once.mean, once.low, once.high))
    as_if_apart = bootstrap_mean(np.repeat(values, 4), range(48))
    assert as_if_apart.high - as_if_apart.low < 0.6 * (once.high - once.low)


def test_intervals_widen_with_their_confidence_and_hold_their_mean() -> None:
    values = np.random.default_rng(1).uniform(size=20)
    found = [bootstrap_mean(values, range(20), confidence) for confidence in (0.5, 0.9, 0.99)]
    assert all(each.low < each.mean < each.high for each in found)
    widths = [each.high - each.low for each in found]
    assert widths == sorted(widths)
    assert widths[0] < 0.7 * widths[1]
    assert bootstrap_mean(values, range(20), 0.9) == found[1]
    assert bootstrap_mean(values, range(20), 0.9, random_state=1) != found[1]


def test_confidences_and_clusters_that_cannot_be_are_refused() -> None:
    for confidence in (0, 1, 1.5, -1):
        with pytest.raises(ValueError, match=f"(between 0 and 1|from 0 to 1), got {confidence:g}"):
            bootstrap_mean([1, 2], confidence=confidence)
    with pytest.raises(ValueError, match="each of 2 values, got 3"):
        bootstrap_mean([1, 2], "abc")
