"""A network, its labels, its layers in forward order, and its scores before the softmax."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn

from .images import all_finite, normalise, to_picture
from .names import find, in_order, listed
from .opening import open_image

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)
"""The mean of the three channels: for networks that see one."""


class NotFiniteError(ValueError):
    """NaN or infinite values, in the image or in the network's scores."""


class Prediction(NamedTuple):
    """One class of a picture: its index, its name, its score S_c and its probability P_c."""

    class_index: int
    label: str
    score: float
    probability: float


class Layer(NamedTuple):
    """One layer as it ran: its name in the network, its kind, and the shape that came out, without the batch."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A convolutional network together with what is needed to talk about its class scores.

    The network is used as it is and never changed: no hook, flag, gradient, mode or weight. Two threads may
    use one classifier.

    Args:
        network: a module from `(N, C, H, W)` to scores `(N, classes)` before the softmax, in evaluation mode.
        labels: a name for each class, in the network's order.
        wordnet_ids: likewise, or none.
        size: (H, W) in pixels that pictures are resized to.
        mean: of each input channel on the scale 0..1; one value means a grey-scale network. Without one
            ImageNet's, grey if the first convolution takes a single channel.
        std: likewise.

    Raises:
        ValueError: a network in training mode, one that ends with a softmax or its logarithm, or one whose
            number of scores is not the number of labels. (A network that cannot take `size` is not tried before
            it is used.)
        TypeError: a network that is no `torch.nn.Module`.
    """

    network: nn.Module
    labels: Sequence[str]
    wordnet_ids: Sequence[str] = ()
    size: tuple[int, int] = (224, 224)
    mean: Sequence[float] = ()
    std: Sequence[float] = ()

    def __post_init__(self) -> None:
        """Try the network once on a plain grey picture, so that a misfit is reported here and not in step five."""
        if not isinstance(self.network, nn.Module):
            raise TypeError(f"expected a torch.nn.Module, got {type(self.network).__name__}. Pass the network itself.")
        self._set("labels", in_order(self.labels))
        self._set("wordnet_ids", in_order(self.wordnet_ids, "WordNet ids"))
        given = len(self.mean) > 0 or len(self.std) > 0
        grey = self._channels() == 1
        self._set("mean", tuple(map(float, self.mean if given else GREY_MEAN if grey else IMAGENET_MEAN)))
        self._set("std", tuple(map(float, self.std if given else GREY_STD if grey else IMAGENET_STD)))
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise ValueError(f"expected mean and std of 1 or 3 channels, got {len(self.mean)} and {len(self.std)}.")
        sides = list(self.size)
        if min(self.std) <= 0 or len(sides) != 2 or min(sides) < 1:
            raise ValueError(f"expected std above 0 and a size (H, W) in pixels, got {self.std} and {self.size}.")
        if self.wordnet_ids and len(self.wordnet_ids) != len(self.labels):
            raise ValueError(f"got {len(self.labels)} labels, {len(self.wordnet_ids)} WordNet ids; pass one for each.")
        blank = torch.zeros(1, len(self.mean), *self.size, dtype=self.dtype, device=self.device)
        self._check(blank)
        try:
            with torch.no_grad():
                scores = self.network(blank)
        except (RuntimeError, AssertionError) as error:
            if given and self._channels() not in (None, len(self.mean)):
                raise ValueError(
                    f"the network's first convolution takes {self._channels()} channels, but mean and std have "
                    f"{len(self.mean)}. Pass one value for each channel, 1 or 3."
                ) from error
            # Made for images of another size: the rest is told when it is used. A last linear layer tells its part now.
            last = list(self.network.modules())[-1]
            if isinstance(last, nn.Linear) and last.out_features != len(self.labels):
                raise self._misfit(last.out_features) from error
            return
        self._check_scores(scores, blank)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for everyone else

    def _misfit(self, scores: int) -> ValueError:
        return ValueError(
            f"the network gives {scores} scores but there are {len(self.labels)} labels. "
            "Pass one label for each score, in the network's order."
        )

    def _channels(self) -> int | None:
        """How many channels the first convolution takes, if there is one."""
        return next((m.in_channels for m in self.network.modules() if isinstance(m, nn.Conv2d)), None)

    def __repr__(self) -> str:
        """Say what it is in one short line that is the same on every machine but for the device."""
        colours = "RGB" if len(self.mean) == 3 else "grey"
        height, width = self.size
        name = type(self.network).__name__
        return f"Classifier({name}, {len(self.labels)} classes, {height}×{width} {colours}, {self.device.type})"

    @property
    def device(self) -> torch.device:
        """Where the network's weights are."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network's weights, float32 as a rule."""
        return next((weight.dtype for weight in self.network.parameters()), torch.float32)

    def prepare(self, image: object, size: tuple[int, int] | None = None) -> Tensor:
        """Turn a picture into the network's input: x_c = (p_c / 255 − mean_c) / std_c.

        Args:
            image: whatever `open_image` takes; the whole of it is resized, its aspect is not kept. A tensor
                `(1, C, H, W)` counts as prepared and passes through.
            size: (H, W) other than the classifier's own.

        Returns:
            `(1, C, H, W)` in the network's normalised space, precision (float32 as a rule) and on its device.

        Raises:
            ValueError: no picture, a size without pixels, or a tensor of another shape, of integers or with NaN in it.
        """
        if isinstance(image, Tensor):
            if image.ndim != 4 or image.shape[0] != 1:
                got = tuple(image.shape)
                raise ValueError(f"expected one prepared image (1, C, H, W), got {got}. Pass one at a time.")
            if not image.is_floating_point():
                raise ValueError(
                    f"expected floats in normalised space, got {image.dtype}. Pass the picture, or its uint8 levels as "
                    "a NumPy array (H, W, 3), and it is normalised here."
                )
            x = image.detach().to(self.device, self.dtype)
            self._check(x)
            return x
        height, width = self.size if size is None else size
        if height < 1 or width < 1:
            raise ValueError(f"expected a size of at least 1×1 pixels, got {size}. Leave it out for {self.size}.")
        return normalise(open_image(image), (height, width), self.mean, self.std).to(self.device, self.dtype)

    def picture(self, x: Tensor) -> Image.Image:
        """Turn a prepared image back into a picture, adding the mean colour once."""
        return to_picture(x, self.mean, self.std)

    def scores(self, batch: Tensor) -> Tensor:
        """Compute the class scores S_c before the softmax (paper, Sections 2 and 3).

        Args:
            batch: `(N, C, H, W)` in normalised space, finite, on the network's device; it is not changed.

        Returns:
            `(N, classes)`; gradients flow back to `batch` if it asks for them.

        Raises:
            ValueError: a network in training mode, a batch of the wrong shape, size, precision or device or
                with NaN in it, scores that are not finite, or another number of them than there are labels.
            TypeError: no tensor.
        """
        self._check(batch)
        # Without a batch that asks for gradients nothing is recorded, whatever the weights' own flags say.
        with torch.set_grad_enabled(torch.is_grad_enabled() and batch.requires_grad):
            return self._check_scores(self._run(batch), batch)

    def _run(self, batch: Tensor) -> object:
        try:
            # The copy keeps a network that starts with an in-place layer from writing into the caller's tensor.
            return self.network(batch.clone())
        except (RuntimeError, AssertionError) as error:
            if isinstance(error, torch.cuda.OutOfMemoryError):
                raise
            raise ValueError(
                f"the network cannot take a batch {tuple(batch.shape)} ({error}). Give the classifier the size and "
                "the channels that the network was made for: Classifier(network, labels, size=…, mean=…, std=…)."
            ) from error

    def _check_scores(self, scores: object, batch: Tensor) -> Tensor:
        if not isinstance(scores, Tensor) or scores.ndim != 2:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"expected scores (N, {len(self.labels)}) from the network, got {got}. "
                "Wrap it so that it gives one row a picture."
            )
        if scores.shape[1] != len(self.labels):
            raise self._misfit(scores.shape[1])
        values = scores.detach()
        if not all_finite(values):
            raise NotFiniteError("the network's scores are not finite. Look for NaN or huge values in its weights.")
        kind = _kind_of_probabilities(values)
        if kind:  # by chance, in a small network with round weights? Then not on another image too.
            with torch.no_grad():
                kind = kind if _kind_of_probabilities(self.network(batch.detach() + 1)) == kind else ""
        if kind:
            raise ValueError(
                f"the network's outputs are {kind} (they add up to 1), expected scores before the softmax: "
                "the paper's S_c. Pass the network without its last softmax."
            )
        return scores

    def _check(self, batch: Tensor) -> None:
        if not isinstance(batch, Tensor):
            got = type(batch).__name__
            raise TypeError(f"expected a tensor (N, C, H, W), got {got}. Use classifier.prepare(image).")
        # Where mean and first convolution agree, the number of channels is known; else the network says it as it runs.
        known = self._channels() == len(self.mean)
        if batch.ndim != 4 or 0 in batch.shape or (known and batch.shape[1] != len(self.mean)):
            wanted = f"(N, {len(self.mean)}, H, W)"
            raise ValueError(f"expected a batch {wanted}, got {tuple(batch.shape)}. Use classifier.prepare(image).")
        if batch.dtype != self.dtype or batch.device != self.device:
            raise ValueError(
                f"expected a batch of {self.dtype} on {self.device} like the network, got {batch.dtype} on "
                f"{batch.device}. Convert one of them: batch.to({str(self.device)!r}, {self.dtype})."
            )
        if not all_finite(batch):
            raise NotFiniteError(
                "the image holds NaN or infinite values; expected finite ones. Look where they came from."
            )
        training = next((name or "the network" for name, m in self.network.named_modules() if m.training), None)
        if training is not None:
            raise ValueError(
                f"the network is in training mode ({training}), where dropout and batch statistics change the scores "
                "from call to call. Call network.eval() first."
            )

    def top(self, image: object, k: int = 5) -> tuple[Prediction, ...]:
        """List the k classes with the highest scores, best first.

        Args:
            image: whatever `open_image` takes, or a prepared tensor.
            k: how many, at least 1; all of them where there are fewer.

        Returns:
            k `Prediction`s (index, label, score, probability); P_c = exp S_c / Σ_k exp S_k.

        Raises:
            ValueError: k below 1, or a bad image.
        """
        if k < 1:
            raise ValueError(f"expected k of at least 1, got {k}.")
        with torch.no_grad():
            return ranked(self.scores(self.prepare(image))[0], self.labels, k)

    def find(self, text: object) -> int:
        """Find a class by its index, its WordNet id, any of its names or a part of one.

        A text is read strictly first, and more widely only where that fits nothing: an index or a WordNet id, the whole
        label, one of WordNet's other names of the class ("washing machine" for "washer"), whole words of any of these,
        a part of the label; at last in the singular. Capitals, hyphens, apostrophes and surplus spaces do not matter.

        Args:
            text: such as 388, "388", "n02510455", "giant panda", "washing machine" or "lorik"; an index may be any
                library's, or alone in a tensor or an array.

        Returns:
            The class index.

        Raises:
            ValueError: no such class, or several; the error lists them, or near ones.
            TypeError: neither text nor an integer: a list, a truth value, 8.0.
        """
        return find(text, self.labels, self.wordnet_ids)  # type: ignore[arg-type]  # both are tuples by now

    def find_all(self, classes: object) -> list[int]:
        """Find several classes, each as `find` does; what names one class is a list of one.

        Args:
            classes: a list, an array or any other order of classes, or a single one: "38" is class 38, not 3 and 8.

        Returns:
            Their indices, in the same order.

        Raises:
            ValueError: as in `find`.
            TypeError: as in `find`, or what has no order, such as a set.
        """
        return [self.find(each) for each in listed(classes)]

    def layers(self) -> tuple[Layer, ...]:
        """List the innermost layers in the order in which they run, a layer that runs twice twice.

        Returns:
            A `Layer` (name, kind, shape) for each.
        """
        ran: list[Layer] = []
        here = threading.get_ident()
        names = {module: name for name, module in self.network.named_modules() if not list(module.children())}

        def note(module: nn.Module, _: object, output: object) -> None:
            if threading.get_ident() == here and isinstance(output, Tensor):  # another thread may be at work too
                ran.append(Layer(names[module], type(module).__name__, tuple(output.shape[1:])))

        blank = torch.zeros(1, len(self.mean), *self.size, dtype=self.dtype, device=self.device)
        self._check(blank)
        hooks = [module.register_forward_hook(note) for module in names]
        try:
            with torch.no_grad():
                self._run(blank)
        finally:
            for hook in hooks:
                hook.remove()
        return tuple(ran)


def check_classifier(classifier: object) -> None:
    """Refuse what is no `Classifier` where one comes first: the network itself, its name, a class, a photo.

    Raises:
        TypeError: what came, and how to make a classifier of it.
    """
    if isinstance(classifier, Classifier):
        return
    remedy = "Use load_classifier(), or wrap your own network: Classifier(network, labels)."
    if isinstance(classifier, type):
        got = f"the class {classifier.__name__} itself"
    elif isinstance(classifier, str):
        got, remedy = f"the text {classifier!r}", f"Load it first: load_classifier({classifier!r})."
    elif callable(classifier) and not isinstance(classifier, nn.Module):
        got, remedy = f"the function {getattr(classifier, '__name__', classifier)}", f"Call it first. {remedy}"
    else:
        got = type(classifier).__name__
    raise TypeError(f"expected a Classifier first, got {got}. {remedy}")


def ranked(scores: Tensor, labels: Sequence[str], k: int) -> tuple[Prediction, ...]:
    """Put the classes of one image in the order of their scores, best first.

    Args:
        scores: S_c of each class, `(classes,)`.
        labels: of each class.
        k: how many, at least 1; all of them where there are fewer.

    Returns:
        k `Prediction`s, as `Classifier.top` gives them.
    """
    s = scores.detach().cpu().double()
    probabilities = s.softmax(0).tolist()
    values, best = s.topk(min(k, len(s)))
    return tuple(
        Prediction(c, labels[c], score, probabilities[c])
        for c, score in zip(best.tolist(), values.tolist(), strict=True)
    )


def _kind_of_probabilities(scores: Tensor) -> str:
    """What the scores are if each row adds up to 1, as it is or after exp; else nothing."""
    for kind, values in (("probabilities", scores), ("logarithms of probabilities", scores.exp())):
        if scores.shape[1] > 1 and bool((values >= 0).all()) and bool(((values.sum(1) - 1).abs() < 1e-3).all()):
            return kind
    return ""
