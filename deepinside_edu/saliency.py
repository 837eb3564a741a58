"""Taylor linearisation of one score; max |w| over the channels; the average over ten crops."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import accept
from .classifier import CUT_OFF, Classifier, check_classifier, explain_checkpoint
from .images import Crop, ten_crops
from .names import ClassLike
from .opening import ImageLike
from .trial import own_mode

CROP_SHARE = 224 / 256
"""Each of ten crops has this share of the picture's width and height (224 of 256 pixels)."""

CROPS_AT_ONCE = 5
"""Two batches of five are faster than one of ten: less memory is touched for the first time."""


@dataclass(frozen=True, eq=False)
class Linearisation:
    """The straight line S_c(I) ≈ wᵀI + b that touches one class score at I₀ (paper, Section 3, equation 3).

    Attributes:
        w: ∂S_c/∂I at I₀, like the image `(N, C, H, W)`.
        b: S_c(I₀) − wᵀI₀, `(N,)`.
        score: S_c(I₀), `(N,)`.
    """

    w: Tensor
    b: Tensor
    score: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Evaluate wᵀx + b for images x like those that were linearised: `(N,)`."""
        if x.shape != self.w.shape:
            raise ValueError(
                f"expected an image of shape {tuple(self.w.shape)}, got {tuple(x.shape)}. "
                "The line holds for images like the one that was linearised: linearise again for another batch."
            )
        return _dot(self.w, x) + self.b


def _dot(w: Tensor, x: Tensor) -> Tensor:
    return (w * x).flatten(1).sum(1)


def linearise(classifier: Classifier, x: Tensor, class_index: ClassLike) -> Linearisation:
    """Linearise one class score at an image by one back-propagation.

    w = ∂S_c/∂I at I₀ and b = S_c(I₀) − wᵀI₀. The score is the one before the softmax.

    Args:
        classifier: the network; nothing of it is changed.
        x: I₀, `(N, C, H, W)` in normalised space; it is not changed, and neither is its `.grad`.
        class_index: c, an index, a name or a WordNet id.

    Returns:
        A `Linearisation`; call it to evaluate the line.

    Raises:
        ValueError: an unknown class, an image of the wrong shape or with NaN in it.
        TypeError: something that is not a tensor.

    Source: paper, Section 3, equations 3 and 4.

    Example:
        >>> x = classifier.prepare(di.photo("panda"))
        >>> line = di.linearise(classifier, x, "giant panda")
        >>> torch.allclose(line(x), line.score, rtol=0.01)  # the line touches the score at x
        True
    """
    return linearise_classes(classifier, x, [class_index])[0]


def linearise_classes(
    classifier: Classifier, x: Tensor, class_indices: Iterable[ClassLike]
) -> tuple[Linearisation, ...]:
    """Linearise several class scores at one image: one forward pass, and one backward pass per class.

    Args:
        classifier: as in `linearise`.
        x: as in `linearise`.
        class_indices: the classes, in any order.

    Returns:
        A `Linearisation` for each class, each equal to what `linearise` gives.

    Raises:
        ValueError: as in `linearise`.
        TypeError: as in `linearise`.
    """
    check_classifier(classifier)
    classes = classifier.find_all(class_indices)
    run = forward_pass(classifier, x)
    return tuple(run.linearise(c, keep=position + 1 < len(classes)) for position, c in enumerate(classes))


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """One run of the network at I₀, kept: each class's line then costs a backward pass and no forward pass.

    Attributes:
        x: I₀, `(N, C, H, W)`.
        scores: S_c(I₀) of each class, `(N, classes)`.
    """

    x: Tensor
    scores: Tensor

    def linearise(self, class_index: int, keep: bool = True) -> Linearisation:
        """Linearise one class score, as `linearise` does; `keep` the run for another class, or free its memory."""
        w = self.gradient(class_index, keep)
        score = self.scores[:, class_index].detach()
        return Linearisation(w, score - _dot(w, self.x.detach()), score)

    def gradient(self, class_index: int | Tensor, keep: bool = True) -> Tensor:
        """Give w = ∂S_c/∂I at I₀, `(N, C, H, W)`, of one class for all images, or of one per image, int64 `(N,)`."""
        chosen = torch.as_tensor(class_index, device=self.scores.device).expand(len(self.scores))
        with own_mode(self.x.device), explain_checkpoint():
            # Each image's score depends on that image alone, so one pass gives the gradients of all.
            ones = torch.zeros_like(self.scores).scatter_(1, chosen[:, None], 1.0)
            w: Tensor | None
            (w,) = torch.autograd.grad(self.scores, self.x, ones, retain_graph=keep, allow_unused=True)
        if w is None:
            raise ValueError(CUT_OFF)
        if w.dtype == torch.float16 and not w.any():
            raise ValueError(
                "the gradient is 0 at every pixel: the gradient is smaller than float16 can hold. Use network.float()."
            )
        return w


def forward_pass(classifier: Classifier, x: Tensor) -> ForwardPass:
    """Run the network once and keep what a backward pass needs.

    Raises:
        ValueError: an image of the wrong shape or with NaN in it, or scores that do not depend on the image.
        TypeError: something that is not a tensor.
    """
    check_classifier(classifier)
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor (N, C, H, W), got {type(x).__name__}. Use classifier.prepare(image).")
    with own_mode(x.device):
        leaf = x.detach().clone().requires_grad_()
        scores = classifier.scores(leaf)
    if not scores.requires_grad:
        raise ValueError(CUT_OFF)
    return ForwardPass(leaf, scores)


def max_abs(w: Tensor) -> Tensor:
    """Reduce a gradient to one value per pixel: M_ij = max_c |w_h(i,j,c)|, absolute value first, then the maximum.

    Args:
        w: `(N, C, H, W)`; one channel (grey-scale) gives |w|.

    Returns:
        `(N, H, W)`, at least 0.

    Raises:
        ValueError: another number of dimensions.
        TypeError: something that is not a tensor.

    Source: paper, Section 3.1.

    Example:
        >>> w = torch.tensor([1.0, -3.0, 2.0]).reshape(1, 3, 1, 1)  # one pixel, three channels
        >>> di.max_abs(w)
        tensor([[[3.]]])
    """
    if not isinstance(w, Tensor):
        raise TypeError(f"expected a tensor (N, C, H, W), got {type(w).__name__}. Use torch.from_numpy(w).")
    if w.ndim != 4:
        raise ValueError(f"expected w of shape (N, C, H, W), got {tuple(w.shape)}. Add the missing axis with w[None].")
    return w.abs().amax(1)


def saliency_map(
    classifier: Classifier, image: ImageLike | Tensor, class_index: ClassLike | None = None, crops: int = 1
) -> NDArray[np.float32]:
    """Compute the saliency map of one class: which pixels need to be changed the least to affect its score the most.

    M_ij = max_c |∂S_c/∂I_ijc|. With ten crops it is the average of ten such maps: four corners and the centre,
    7/8 of the prepared image wide and high, each also mirrored, are enlarged to the network's size; each gradient
    goes back through the enlargement to the crop's own pixels; each map is mirrored back and laid where its crop
    was cut; each pixel's sum is divided by the number of crops that saw it. (The paper averages ten maps too, but
    does not say how they are laid back.)

    Args:
        classifier: the network; nothing of it is changed.
        image: whatever `open_image` takes, or a prepared tensor.
        class_index: c, an index, a name or a WordNet id; without one, the class that the network ranks first.
        crops: 1 or 10.

    Returns:
        `(H, W)` float32, at least 0, aligned with the prepared image.

    Raises:
        ValueError: an unknown class, another number of crops, or a bad image.

    Source: paper, Section 3.1 and Figure 2.

    Example:
        >>> M = di.saliency_map(classifier, di.photo("panda"), "giant panda")
        >>> M.shape
        (224, 224)
    """
    check_classifier(classifier)
    if class_index is None:
        class_index = classifier.top(image, 1)[0].class_index
    return saliency_maps(classifier, image, [class_index], crops)[0]


def saliency_maps(
    classifier: Classifier, image: ImageLike | Tensor, class_indices: Iterable[ClassLike], crops: int = 1
) -> tuple[NDArray[np.float32], ...]:
    """Compute the maps of several classes: the forward pass is shared, each class adds one backward pass.

    Args:
        classifier: as in `saliency_map`.
        image: as in `saliency_map`.
        class_indices: the classes, in any order.
        crops: 1 or 10.

    Returns:
        A map for each class, as `saliency_map` gives it.

    Raises:
        ValueError: as in `saliency_map`.
    """
    check_classifier(classifier)
    x = classifier.prepare(image)
    return saliency_maps_of_batch(classifier, x, [class_indices], crops)[0]


def saliency_maps_of_batch(
    classifier: Classifier, x: Tensor, class_indices: Sequence[Iterable[ClassLike]], crops: int = 1
) -> tuple[tuple[NDArray[np.float32], ...], ...]:
    """Compute the maps of several images at once, each for its own classes; an accelerator does this faster.

    Args:
        classifier: as in `saliency_map`.
        x: `(N, C, H, W)` in normalised space, on the classifier's device; it is not changed.
        class_indices: for each image its classes; their numbers may differ.
        crops: 1 or 10.

    Returns:
        For each image a map for each of its classes, as `saliency_map` gives it except for rounding.

    Raises:
        ValueError: as in `saliency_map`, or another number of images than of lists of classes.
        TypeError: something that is not a tensor.
    """
    check_classifier(classifier)
    crops = accept.crops(crops)
    if not isinstance(x, Tensor):
        raise TypeError(f"expected a tensor (N, C, H, W), got {type(x).__name__}. Use classifier.prepare(image).")
    if isinstance(class_indices, str):
        raise TypeError(f"expected a list of classes for each image, got one text: {class_indices!r}. Pass a list.")
    if len(x) != len(class_indices):
        raise ValueError(f"expected the classes of {len(x)} images, got {len(class_indices)} lists of classes.")
    found = [classifier.find_all(classes) for classes in class_indices]
    most = max(map(len, found), default=0)
    if most == 0:
        return ((),) * len(found)
    # All rows get one length: the padding is computed and thrown away, which costs nothing beside the others.
    full = [[*classes, *[0] * (most - len(classes))] for classes in found]
    rows = torch.tensor(full, dtype=torch.int64, device="cpu")
    with own_mode(x.device):
        if crops == 1:
            maps = torch.stack([max_abs(w) for w in _gradients(classifier, x, rows)])
        else:
            maps = _ten_crop_maps(classifier, x, rows)
    arrays = _to_array(maps)
    return tuple(tuple(arrays[k, n] for k in range(len(classes))) for n, classes in enumerate(found))


def _gradients(classifier: Classifier, x: Tensor, classes: Tensor) -> list[Tensor]:
    """Compute ∂S_c/∂I for each column of `classes` `(N, K)`: one forward pass, K backward passes."""
    run = forward_pass(classifier, x)
    columns = classes.to(run.scores.device).unbind(1)
    return [run.gradient(column, keep=k + 1 < len(columns)) for k, column in enumerate(columns)]


def _ten_crop_maps(classifier: Classifier, x: Tensor, classes: Tensor) -> Tensor:
    """Average ten crops' maps of each image and each of its K classes: `(K, N, H, W)`."""
    height, width = x.shape[-2:]
    places = ten_crops(height, width, round(height * CROP_SHARE), round(width * CROP_SHARE))
    total = x.new_zeros(classes.shape[1], len(x), height, width)
    count = x.new_zeros(height, width)
    for start in range(0, len(places), CROPS_AT_ONCE):
        group = places[start : start + CROPS_AT_ONCE]
        gradients = _crop_gradients(classifier, x, group, classes.repeat(len(group), 1))
        # One crop of every image, then the next.
        maps = torch.stack([max_abs(w) for w in gradients]).split(len(x), dim=1)  # type: ignore[no-untyped-call]
        for p, each in zip(group, maps, strict=True):
            upright = each.flip(3) if p.mirrored else each
            total[..., p.top : p.top + p.height, p.left : p.left + p.width] += upright
            count[p.top : p.top + p.height, p.left : p.left + p.width] += 1
    return total / count


def _crop_gradients(classifier: Classifier, x: Tensor, places: Sequence[Crop], classes: Tensor) -> list[Tensor]:
    """Compute ∂S_c/∂(pixels of each crop) for each class: through the network, then back through the enlargement."""
    views = [x[:, :, p.top : p.top + p.height, p.left : p.left + p.width] for p in places]
    crops = torch.cat([view.flip(3) if p.mirrored else view for view, p in zip(views, places, strict=True)])
    # Written as two matrices, the enlargement and its way back give the same bits on every run, also on a GPU.
    rows, columns = _enlargement(crops.shape[2], x.shape[2], x), _enlargement(crops.shape[3], x.shape[3], x)
    return [rows.T @ w @ columns for w in _gradients(classifier, rows @ crops @ columns.T, classes)]


def _enlargement(small: int, large: int, like: Tensor) -> Tensor:
    """Make the matrix `(large, small)` of linear interpolation."""
    unit = torch.eye(small, dtype=like.dtype, device=like.device)
    return torch.nn.functional.interpolate(unit[None], large, mode="linear")[0].T


def _to_array(values: Tensor) -> NDArray[Any]:
    return values.float().cpu().numpy()
