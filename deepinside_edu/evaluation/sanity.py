"""Sanity checks of Adebayo et al. 2018: a map must change when the network forgets, layer by layer, what it learnt."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from torch import Tensor, nn
from tqdm.auto import tqdm  # type: ignore[import-untyped]  # it ships no types

from .. import accept
from ..classifier import Classifier, check_classifier
from ..figures import brightest
from ..images import Photo
from ..names import ClassLike
from ..opening import ImageLike
from ..twin import twin
from ..wrapping import check_layers_can_be_seen
from .maps import METHODS, compute_maps
from .precision import full_precision

WINDOW, SIGMA = 11, 1.5
"""SSIM's Gaussian window, as in Wang et al. 2004: pixels per side, and its standard deviation."""

THE_REST = "the rest"
"""Weights in no layer that runs by itself: those that the network's own forward uses, and those that it leaves out."""


class Similarity(NamedTuple):
    """How alike two maps are; 1 is the same, about 0 nothing in common.

    Attributes:
        rank_correlation: Spearman's, −1 to 1; NaN if one of the maps is constant and so has no order.
        ssim: the structural similarity of the maps as they are drawn, −1 to 1.
    """

    rank_correlation: float
    ssim: float


def compare_maps(one: ArrayLike, other: ArrayLike) -> Similarity:
    """Compare two maps of absolute values: by the order of their pixels, and by their structure.

    Rank correlation: ρ = cov(r, r′) / (σ_r σ_r′), r the ranks of one map's pixels; equal values share their
    mean rank.

    SSIM: the mean over all windows inside the map of (2μμ′ + c₁)(2σ_μμ′ + c₂) / ((μ² + μ′² + c₁)(σ² + σ′² + c₂)), with
    means, variances and covariance weighted by a Gaussian of σ = 1.5 on 11×11 pixels, c₁ = 0.01², c₂ = 0.03². Before,
    each map is scaled as `figures.heat_map` draws it: its 99.5 % quantile, and all above, becomes 1. So one extreme
    pixel does not decide, and neither does a map's scale: layers with random weights shrink every gradient.

    Args:
        one: `(H, W)`, finite, at least 0, H and W at least 11.
        other: likewise, of the same shape.

    Returns:
        `Similarity` (rank_correlation, ssim). If one of the maps is constant, all zeros for example, its pixels have
        no order and the rank correlation is NaN; SSIM is a number all the same.

    Raises:
        ValueError: maps of another shape, too small, not finite, or with values below 0.

    Source: Adebayo et al. 2018, Section 3; Wang et al. 2004, equation 13.
    """
    from scipy.stats import spearmanr
    from skimage.metrics import structural_similarity

    first, second = _check_map(one), _check_map(other)
    if first.shape != second.shape:
        raise ValueError(f"expected two maps of one shape, got {first.shape} and {second.shape}.")
    ordered = np.ptp(first) > 0 and np.ptp(second) > 0
    ssim = structural_similarity(  # type: ignore[no-untyped-call]
        _as_drawn(first), _as_drawn(second), data_range=1.0,
        gaussian_weights=True, sigma=SIGMA, win_size=WINDOW, use_sample_covariance=False,
    )  # fmt: skip
    rho = spearmanr(first, second, axis=None).statistic if ordered else math.nan
    return Similarity(float(rho), float(ssim))


def _check_map(values: ArrayLike) -> NDArray[np.float64]:
    m = accept.real_map(values).astype(np.float64)
    if m.ndim != 2 or min(m.shape) < WINDOW:
        raise ValueError(f"expected a map (H, W) of at least {WINDOW}×{WINDOW} pixels, SSIM's window, got {m.shape}.")
    if not np.isfinite(m).all() or m.min() < 0:
        raise ValueError("expected finite values of at least 0. Pass a map such as max_abs(w), or np.abs(values).")
    return m


def _as_drawn(m: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.minimum(m / brightest(m), 1)


@dataclass(frozen=True, eq=False)
class Cascade:
    """One network in all stages of forgetting: `cascade(k)` has fresh random weights in its last k layers.

    The weights are drawn once, all of them: the last k layers of `cascade(k)` and of `cascade(k + 1)` are the same
    random ones. Nothing is copied: each stage shares its trained weights with the given network, and its random ones
    with the other stages.

    Args:
        classifier: the trained network; nothing of it is changed.
        random_state: of the weights, from 0 to 2⁶⁴ − 1. They are drawn on the CPU, so that a GPU gets the same ones,
            and torch's own random numbers go on as if nothing had been drawn.

    Attributes:
        layers: as `layer_names` gives them.

    Raises:
        ValueError: a network that has no weights, or is in training mode.
        TypeError: no `Classifier`, a random state that is not a whole number.
    """

    classifier: Classifier
    random_state: int = 0
    layers: tuple[str, ...] = field(init=False)
    _fresh: tuple[dict[int, Tensor], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Draw the weights."""
        state = accept.random_state(self.random_state)
        modules = _modules_of_layers(self.classifier)
        # Weights that are made in inference mode would never again take part in a gradient.
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]), torch.no_grad():
            network = twin(self.classifier.network, lambda *_: None)  # its modules have the names of the layers
            fresh = copy.deepcopy(network, {key: left.clone() for key, left in _left_behind(network).items()}).cpu()
            torch.default_generator.manual_seed(state)
            for names in modules.values():
                for name in names:
                    _draw(fresh.get_submodule(name))
            fresh.to(self.classifier.device)
        pairs = tuple(
            {id(old): new for name in names for old, new in _pairs(network, fresh, name)}
            for names in modules.values()
        )
        object.__setattr__(self, "layers", tuple(modules))  # frozen for everyone else
        object.__setattr__(self, "_fresh", pairs)

    def __call__(self, down_to: int) -> Classifier:
        """Give the network with its last `down_to` layers random, 0 (trained) to `len(layers)` (nothing is left).

        Raises:
            ValueError: more layers than there are, or fewer than 0.
        """
        down_to = accept.whole("down_to", down_to, 0, len(self.layers), "That is how many layers can be random.")
        return _replace(self.classifier, {k: new for layer in self._fresh[:down_to] for k, new in layer.items()})


def layer_names(classifier: Classifier) -> tuple[str, ...]:
    """List the layers with weights, from the last one, next to the scores, to the first.

    Args:
        classifier: the network.

    Returns:
        Names as in `network.named_modules()`, in the reverse of the order in which the layers run; one that runs twice
        stands where it runs last. If a layer holds weights that no layer inside it runs with, such as an attention's
        output projection, they belong to that layer; "the rest" are those that belong to none.

    Raises:
        ValueError: a network that has no weights, or is in training mode.
        TypeError: no `Classifier`.
    """
    return tuple(_modules_of_layers(classifier))


def randomise_layers(classifier: Classifier, down_to: int, random_state: int = 0) -> Classifier:
    """Make a network that has forgotten its last layers: they get fresh random weights, the others stay trained.

    Each kind of layer draws them as PyTorch does when such a layer is made, by its `reset_parameters`: a convolution
    or a linear layer from U(−1/√n, 1/√n), n the inputs of one output; a batch norm forgets its statistics too. A weight
    that this leaves as it was, or that belongs to a layer without that method, is drawn from a normal distribution
    of its own mean and standard deviation.

    Args:
        classifier: the trained network; nothing of it is changed, and the new one shares what stays trained.
        down_to: how many layers, counted from the last: 0 to `len(layer_names(classifier))`.
        random_state: from 0 to 2⁶⁴ − 1; the same one draws the same weights for a layer, however many are asked for.

    Returns:
        A new `Classifier`.

    Raises:
        ValueError: more layers than there are, or fewer than 0.
        TypeError: no `Classifier`.

    Source: Adebayo et al. 2018, Section 4.1, cascading randomisation.
    """
    return Cascade(classifier, random_state)(down_to)


def _modules_of_layers(classifier: Classifier) -> dict[str, list[str]]:
    """Of each layer, from the last to the first, the modules whose weights are its own."""
    check_classifier(classifier)
    check_layers_can_be_seen(classifier.network, inside_too=True)
    ran = [""]

    def watch(name: str, _: nn.Module, copy: nn.Module) -> None:
        copy.register_forward_pre_hook(lambda *_: ran.append(name))

    watched = classifier._with_network(twin(classifier.network, watch))
    with torch.no_grad():
        watched.scores(watched.noise())
    layers: dict[str, list[str]] = {name: [] for name in reversed(ran)}
    for name, module in watched.network.named_modules():
        if next(module.parameters(recurse=False), None) is not None:
            home = name
            while home not in layers:
                home = home.rpartition(".")[0]
            layers[home].append(name)
    found = {name or THE_REST: modules for name, modules in layers.items() if modules}
    if not found:
        raise ValueError("the network has no weights, so there is nothing to randomise.")
    return found


def _replace(classifier: Classifier, instead: dict[int, Tensor]) -> Classifier:
    """Copy the module tree; every weight is shared, or replaced by the one for its id in `instead`."""
    network = classifier.network
    memo = {id(weight): instead.get(id(weight), weight) for weight in (*network.parameters(), *network.buffers())}
    return classifier._with_network(copy.deepcopy(network, memo | _left_behind(network)))


def _left_behind(network: nn.Module) -> dict[int, Tensor]:
    """What a run leaves on the modules with its graph, by its id: `deepcopy` refuses it, so it goes into the memo.

    An example is the weight that weight_norm, spectral_norm and pruning compute for each forward pass.
    """
    values = (value for module in network.modules() for value in vars(module).values())
    return {id(value): value.detach() for value in values if isinstance(value, Tensor) and not value.is_leaf}


def _draw(module: nn.Module) -> None:
    """Give a module's own weights new values, in place."""
    before = [weight.clone() for weight in module.parameters(recurse=False)]
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
    for weight, old in zip(module.parameters(recurse=False), before, strict=True):
        if torch.equal(weight, old) and weight.numel() > 1:
            weight.normal_(float(old.mean()), float(old.std()))


def _pairs(trained: nn.Module, fresh: nn.Module, name: str) -> Iterable[tuple[Tensor, Tensor]]:
    """A module's own weights, and its statistics, in one network and in the other."""
    one, other = trained.get_submodule(name), fresh.get_submodule(name)
    for old, new in ((one._parameters, other._parameters), (one._buffers, other._buffers)):
        yield from ((old[key], new[key]) for key in old if old[key] is not None)  # type: ignore[misc]


@dataclass(frozen=True, eq=False)
class SanityCheck:
    """What became of one image's maps while the network forgot; entry k of each is for k random layers.

    Attributes:
        class_index: c, the same for every k.
        layers: names, from the last layer down; the k-th map is of a network whose first k of these are random.
        maps: for k from 0 to `len(layers)` the map of each method, `(H, W)` float32.
        similarities: likewise its `Similarity` to the trained network's map, `maps[0]`.
    """

    class_index: int
    layers: tuple[str, ...]
    maps: tuple[dict[str, NDArray[np.float32]], ...] = field(repr=False)
    similarities: tuple[dict[str, Similarity], ...] = field(repr=False)


@full_precision()
def sanity_check(
    classifier: Classifier,
    image: ImageLike | Tensor,
    class_index: ClassLike | None = None,
    methods: Sequence[str] = METHODS,
    random_state: int = 0,
) -> SanityCheck:
    """Randomise the network layer by layer from the last one down, and compare each map with the trained network's.

    A map that says what the network has learnt has to change when it is forgotten; one that does not is about the
    image, as an edge detector is.

    Args:
        classifier: the trained network; nothing of it is changed.
        image: whatever `open_image` takes, or a prepared tensor `(1, C, H, W)`.
        class_index: c; without one the class that the trained network puts first. It stays, whatever the others say.
        methods: as `compute_maps` takes them.
        random_state: of the weights, and of the baseline "random".

    Returns:
        A `SanityCheck`.

    Raises:
        ValueError: an unknown class or method, a bad image, one of less than 11×11 pixels.
        TypeError: no `Classifier`.

    Source: Adebayo et al. 2018, Section 4.1.
    """
    return _check(Cascade(classifier, random_state), image, class_index, methods)


def _check(
    cascade: Cascade, image: ImageLike | Tensor, class_index: ClassLike | None, methods: Sequence[str]
) -> SanityCheck:
    classifier = cascade.classifier
    x = classifier.prepare(image)
    c = classifier.top(x, 1)[0].class_index if class_index is None else classifier.find(class_index)
    maps = tuple(compute_maps(cascade(k), x, c, methods, cascade.random_state) for k in range(len(cascade.layers) + 1))
    similarities = tuple({method: compare_maps(maps[0][method], m) for method, m in each.items()} for each in maps)
    return SanityCheck(c, cascade.layers, maps, similarities)


@dataclass(frozen=True, eq=False)
class SanityTable:
    """Means over images and random weights; entry k of each is for k random layers.

    Attributes:
        layers: names, from the last layer down.
        similarities: for k from 0 to `len(layers)` the mean `Similarity` of each method. A rank correlation that is
            NaN does not count; where all are, the mean is NaN.
        constant: likewise the share of maps that are constant, 0 to 1.
        images: how many.
        random_states: those of the weights.
    """

    layers: tuple[str, ...]
    similarities: tuple[dict[str, Similarity], ...] = field(repr=False)
    constant: tuple[dict[str, float], ...] = field(repr=False)
    images: int
    random_states: tuple[int, ...]

    def __str__(self) -> str:
        """Give a table: rank correlation and SSIM of each method, a row for each layer, and what is constant."""
        names = ("(trained)", *self.layers)
        width = max(len("rank correlation · SSIM"), 4 + max(map(len, names)))
        lines = [f"{'rank correlation · SSIM':<{width}}" + "".join(f"{m:>15}" for m in self.similarities[0])]
        for k, (name, row) in enumerate(zip(names, self.similarities, strict=True)):
            cells = (f"{each.rank_correlation:7.2f} ·{each.ssim:6.2f}" for each in row.values())
            lines.append(f"{k:>2}  {name}".ljust(width) + "".join(cells))
        most = {m: max(row[m] for row in self.constant) for m in self.similarities[0]}
        flat = ", ".join(f"{m} {share:.0%}" for m, share in most.items() if share) or "none"
        lines.append(f"{self.images} images, {len(self.random_states)} draws of weights; constant maps at most: {flat}")
        return "\n".join(lines)


@full_precision()
def sanity_table(
    classifier: Classifier,
    images: Iterable[ImageLike],
    methods: Sequence[str] = METHODS,
    random_states: Sequence[int] = (0,),
) -> SanityTable:
    """Average sanity checks over images and over draws of the random weights.

    Args:
        classifier: the trained network; nothing of it is changed.
        images: each whatever `open_image` takes: `photos()`, or `[each.path for each in dataset.examples]`. Their
            classes are those that the trained network puts first.
        methods: as `compute_maps` takes them.
        random_states: one for each draw of weights.

    Returns:
        A `SanityTable`; print it.

    Raises:
        ValueError: no image, no random state, or as in `sanity_check`.
        TypeError: no `Classifier`.
    """
    if isinstance(images, str | bytes | Path | Photo | Image.Image) or not isinstance(random_states, Sequence):
        raise TypeError(
            f"expected several images and several random states, got {type(images).__name__} and {random_states!r}. "
            "Put one into a list."
        )
    every, states = list(images), tuple(random_states)
    if not every or not states:
        raise ValueError(f"expected at least one image and one random state, got {len(every)} and {len(states)}.")
    checks = []
    with tqdm(total=len(every) * len(states), unit="image", disable=None) as bar:
        for state in states:
            cascade = Cascade(classifier, state)
            for image in every:
                # Without its maps: a thousand images would not fit.
                check = _check(cascade, image, None, methods)
                checks.append([{m: (s, np.ptp(maps[m]) == 0) for m, s in row.items()}
                               for row, maps in zip(check.similarities, check.maps, strict=True)])  # fmt: skip
                bar.update()
    names = list(checks[0][0])
    means, constant = [], []
    for k in range(len(cascade.layers) + 1):
        rows = {m: [check[k][m] for check in checks] for m in names}
        means.append({m: Similarity(_mean([s.rank_correlation for s, _ in row]), _mean([s.ssim for s, _ in row]))
                      for m, row in rows.items()})  # fmt: skip
        constant.append({m: _mean([float(flat) for _, flat in row]) for m, row in rows.items()})
    return SanityTable(cascade.layers, tuple(means), tuple(constant), len(every), states)


def _mean(values: Sequence[float]) -> float:
    """The mean of those that are numbers; NaN if there are none."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
