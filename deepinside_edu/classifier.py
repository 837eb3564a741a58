"""A network, its labels, its layers in forward order, and its scores before the softmax."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from . import accept
from .foreign_hooks import Hook, changed_by, foreign_hooks, name_modules, without_foreign_hooks, without_listeners
from .images import all_finite, normalise, to_picture
from .names import ClassLike, find, in_order, listed
from .opening import ImageLike, open_image
from .trial import FAILURES, Trial, noise_pictures, own_mode, try_out
from .twin import twin
from .wrapping import bare_network, check_layers_can_be_seen, check_scale, each_channel, in_training, sides

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)
"""The means of the three channels, for networks that see one channel."""


CUT_OFF = (
    "the scores do not depend on the image, so there is no gradient. Look for a detach(), no_grad() or "
    "inference_mode() in the network's forward, or for weights that were made in inference mode: take it out, and "
    "freeze weights with requires_grad_(False) instead."
)


@contextmanager
def explain_checkpoint() -> Iterator[None]:
    """Say what to do about a checkpoint through which torch gives no gradient of an image alone."""
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise ValueError(
            "a reentrant checkpoint in the network's forward gives no gradient for the image alone. Call "
            "torch.utils.checkpoint.checkpoint(…, use_reentrant=False) there."
        ) from error


class NotFiniteError(ValueError):
    """NaN or infinite values, in the image or in the network's scores."""


class Prediction(NamedTuple):
    """One class of a picture: its index, its name, its score S_c and its probability P_c."""

    class_index: int
    label: str
    score: float
    probability: float


class Layer(NamedTuple):
    """One layer as it ran: its name in the network, its kind, and the shape of its output without the batch."""

    name: str
    kind: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A convolutional network together with what is needed to talk about its class scores.

    The network is used as it is: no hook, flag, gradient, mode or weight of it is ever changed. Two threads may use one
    classifier.

    Args:
        network: a module from `(N, C, H, W)` to scores `(N, classes)` before the softmax, in evaluation mode.
        labels: one name per class, in the network's order.
        wordnet_ids: one per class, in the same order, or none.
        size: (H, W) in pixels that pictures are resized to.
        mean: of each input channel on the scale 0..1; one value means a grey-scale network. Without it, ImageNet's,
            or ImageNet's grey mean if the first convolution takes a single channel. Networks with another number of
            channels take only prepared tensors.
        std: likewise; 1/255 for a network that takes levels 0..255.

    Attributes:
        one_at_a_time: whether each image of a batch is run alone, because in this network an image's scores depend on
            the others of its batch, such as by a batch norm without running statistics. None: not tried yet.

    Raises:
        ValueError: a network in training mode, one whose scores change from call to call, one that ends with a softmax,
            a sigmoid or their logarithms, one with a single score, one whose number of scores is not the number of
            labels, or one with a function whose backward is not a derivative, such as a guided ReLU. (A network that
            cannot take `size` is not tried before it is used.)
        TypeError: a network that is not a `torch.nn.Module`.

    Example:
        >>> nn = torch.nn
        >>> network = nn.Sequential(nn.Conv2d(3, 2, 5), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
        >>> di.Classifier(network, ["cat", "dog"], size=(32, 32))
        Classifier(Sequential, 2 classes, 32×32 RGB, cpu)
    """

    network: nn.Module
    labels: Sequence[str]
    wordnet_ids: Sequence[str] = ()
    size: tuple[int, int] = (224, 224)
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    one_at_a_time: bool | None = field(default=None, init=False)
    _hooks: tuple[Hook, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        """Try the network on pictures of noise, so that a misfit is reported here and not in step five."""
        self._set("network", bare_network(self.network))
        self._set("labels", in_order(self.labels))
        self._set("wordnet_ids", in_order(self.wordnet_ids, "WordNet ids"))
        if self.wordnet_ids and len(self.wordnet_ids) != len(self.labels):
            raise ValueError(f"got {len(self.labels)} labels, {len(self.wordnet_ids)} WordNet ids; pass one for each.")
        mean, std = each_channel("mean", self.mean), each_channel("std", self.std)
        given, channels = bool(mean or std), self._channels()
        scales = [(mean, std) if given else (GREY_MEAN, GREY_STD) if channels == 1 else (IMAGENET_MEAN, IMAGENET_STD)]
        if not given and channels is not None and channels not in (1, 3):
            scales.append(((0.0,) * channels, (1.0,) * channels))  # no picture has this many channels
        check_scale(*scales[0])
        self._set("size", sides(self.size))
        self._check_mode()
        failed: Exception | None = None
        for mean, std in scales:
            self._set("mean", mean)
            self._set("std", std)
            try:
                trial = try_out(self.network, self.noise(3))
            except FAILURES as error:
                failed = failed or error
                continue
            self._judge(trial)
            try:
                if foreign_hooks(self.network):
                    self.be_tried(self.noise())
            except ValueError as error:
                if error.__cause__ is None:  # not an error of the network's own
                    raise
                failed = error
                break
            return
        self._set("mean", scales[0][0])
        self._set("std", scales[0][1])
        self._refuse_what_is_known(failed, given)

    def _refuse_what_is_known(self, failed: Exception | None, given: bool) -> None:
        """Refuse what is known of a network that cannot run at this size; other errors are reported when it is used."""
        hooks, channels = foreign_hooks(self.network), self._channels()
        if hooks and self._runs_without_hooks():
            cause = getattr(failed, "__cause__", None) or failed
            raise ValueError(
                f"the network does not run with the hooks that are on {name_modules(hooks)} ({cause}). Take them off "
                "with their handles' remove(), or load the network anew."
            ) from failed
        if given and channels not in (None, len(self.mean)):
            raise ValueError(
                f"the network's first convolution takes {channels} channels, but mean and std have "
                f"{len(self.mean)}. Pass one value for each channel."
            ) from failed
        last = list(self.network.modules())[-1]
        if isinstance(last, nn.Linear) and last.out_features != len(self.labels):
            raise self._misfit(last.out_features) from failed

    def _runs_without_hooks(self) -> bool:
        try:
            with own_mode(self.device, gradients=False):
                without_foreign_hooks(self.network)(self.noise())
        except FAILURES:
            return False
        return True

    def _judge(self, trial: Trial) -> None:
        """Check that the scores are scores, and note whether images must be run one at a time."""
        scores = self._check_scores(trial.scores)
        if trial.random:
            raise ValueError(
                "the network's scores change from call to call: something random runs in its forward although it is in "
                "evaluation mode, such as functional dropout or noise. Let it ask for the mode: "
                "functional.dropout(x, training=self.training), or noise only `if self.training`."
            )
        if trial.probabilities:
            last = "sigmoid" if "sigmoid" in trial.probabilities else "softmax"
            raise ValueError(
                f"the network's outputs are {trial.probabilities}, expected scores before the softmax: "
                f"the paper's S_c. Pass the network without its last {last}."
            )
        if not all_finite(scores):
            raise self._not_finite()
        if trial.no_gradient:
            raise ValueError(
                "what comes back from the network's scores is not their gradient ∂S/∂I: a torch.autograd.Function in "
                "its forward has a backward of its own, guided back-propagation's, perhaps. Use torch's ReLU there; "
                "backward_ladder(…, rules='guided') brings down the guided rule."
            )
        self._set("one_at_a_time", trial.one_at_a_time)

    def noise(self, count: int = 1, shape: tuple[int, ...] = ()) -> Tensor:
        """Make prepared pictures of noise, to see what the network does with one: `(count, C, H, W)`."""
        shape = shape or (len(self.mean), *self.size)
        return noise_pictures(count, shape, self.mean, self.std).to(self.device, self.dtype)

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # frozen for everyone else

    def _with_network(self, network: nn.Module) -> Classifier:
        """Make the same classifier of another network, such as a twin of its own, without a trial of it."""
        other = copy.copy(self)
        other._set("network", network)
        return other

    def _misfit(self, scores: int) -> ValueError:
        if scores == 1:
            return ValueError(
                "the network gives one score, whose probability is 1 whatever the image. Wrap it so that it gives a "
                "score for each of two classes, torch.cat([0 * s, s], 1), with two labels."
            )
        return ValueError(
            f"the network gives {scores} scores but there are {len(self.labels)} labels. "
            "Pass one label for each score, in the network's order."
        )

    def _channels(self) -> int | None:
        """Say how many channels the first convolution takes, if there is one."""
        return next((m.in_channels for m in self.network.modules() if isinstance(m, nn.Conv2d)), None)

    def __repr__(self) -> str:
        """Say what it is in one short line that is the same on every machine except for the device."""
        colours = {1: "grey", 3: "RGB"}.get(len(self.mean), f"{len(self.mean)} channels")
        height, width = self.size
        name = type(self.network).__name__
        return f"Classifier({name}, {len(self.labels)} classes, {height}×{width} {colours}, {self.device.type})"

    @property
    def device(self) -> torch.device:
        """The device that the network's weights are on."""
        return next((weight.device for weight in self.network.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the network's weights, usually float32."""
        return next((weight.dtype for weight in self.network.parameters()), torch.float32)

    def prepare(self, image: ImageLike | Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Turn a picture into the network's input: x_c = (p_c / 255 − mean_c) / std_c.

        Args:
            image: whatever `open_image` takes; the whole of it is resized, and its aspect is not kept. A tensor
                `(1, C, H, W)` counts as prepared and passes through.
            size: (H, W) other than the classifier's own.

        Returns:
            `(1, C, H, W)` in the network's normalised space, precision (usually float32) and on its device.

        Raises:
            ValueError: something that is not a picture, a size without pixels, or a tensor of another shape, of
                integers or with NaN in it.

        Example:
            >>> classifier.prepare(di.photo("panda")).shape
            torch.Size([1, 3, 224, 224])
        """
        if isinstance(image, Tensor):
            _check_prepared(image)
            x = image.detach().to(self.device, self.dtype)
            self._check(x)
            return x
        if len(self.mean) not in (1, 3):
            raise ValueError(
                f"a picture has 1 or 3 channels, and the network takes {len(self.mean)}. Pass a prepared tensor "
                f"(1, {len(self.mean)}, H, W): for each channel (values − mean) / std."
            )
        height, width = self.size if size is None else size
        if height < 1 or width < 1:
            raise ValueError(f"expected a size of at least 1×1 pixels, got {size}. Leave it out for {self.size}.")
        return normalise(open_image(image), (height, width), self.mean, self.std).to(self.device, self.dtype)

    def picture(self, x: Tensor) -> Image.Image:
        """Turn a prepared image back into a picture, adding the mean colour once.

        Example:
            >>> x = classifier.prepare(di.photo("panda"))
            >>> classifier.picture(x).size
            (224, 224)
        """
        channels = len(self.mean)
        if channels not in (1, 3):
            raise ValueError(f"a picture has 1 or 3 channels, and the network takes {channels}. Show one: x[0, 0].")
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
            TypeError: something that is not a tensor.

        Example:
            >>> x = classifier.prepare(di.photo("panda"))
            >>> classifier.scores(x).shape
            torch.Size([1, 1000])
        """
        self._check(batch)
        if self.one_at_a_time is None:
            self._try_out(self.network, batch)
        # If the batch does not ask for gradients, nothing is recorded, whatever the weights' own flags say.
        gradients = torch.is_grad_enabled() and batch.requires_grad
        strangers = self._untried_hooks()
        with own_mode(self.device, gradients or bool(strangers)):
            x = batch.detach().clone().requires_grad_() if strangers and not gradients else batch
            scores = self._run(self.network, x)
            if not all_finite(scores):
                raise self._not_finite()
            if strangers:
                before = self.one_at_a_time
                self._check_hooks(strangers, scores, x)
                if self.one_at_a_time is not before:
                    return self.scores(batch)
            return scores if gradients else scores.detach()

    def _try_out(self, network: nn.Module, batch: Tensor) -> None:
        """Try the network on pictures of noise that are as large as those of the batch."""
        with self._explain_size(batch):
            trial = try_out(network, self.noise(3, tuple(batch.shape[1:])))
        self._judge(trial)

    def be_tried(self, batch: Tensor) -> None:
        """Run the network once if anything of it has not been tried yet, such as a new hook."""
        if self.one_at_a_time is None or self._untried_hooks():
            with torch.enable_grad():
                self.scores(batch.detach().requires_grad_())

    def _run(self, network: nn.Module, batch: Tensor) -> Tensor:
        # The copy keeps a network that starts with an in-place layer from writing into the caller's tensor.
        alone = bool(self.one_at_a_time) and len(batch) > 1
        images = batch.clone().split(1) if alone else (batch.clone(),)  # type: ignore[no-untyped-call]
        with self._explain_size(batch):
            outputs = [network(image) for image in images]
        scores = [self._check_scores(output) for output in outputs]
        return torch.cat(scores) if alone else scores[0]

    def _untried_hooks(self) -> list[Hook]:
        """Hooks of others on the network that have not been tried yet."""
        return [hook for hook in foreign_hooks(self.network) if all(hook.call is not one.call for one in self._hooks)]

    def _check_hooks(self, hooks: list[Hook], scores: Tensor, batch: Tensor) -> None:
        bare = without_foreign_hooks(self.network)
        change = changed_by(scores, batch, lambda x: self._run(bare, x))
        if change.gradient:
            raise ValueError(
                f"a hook on {name_modules(hooks)} changes what comes back from the scores, so that it is not their "
                "gradient ∂S/∂I: guided back-propagation's, perhaps. Take it off with its handle's remove(), or load "
                "the network anew."
            )
        if change.scores:
            self._try_out(without_listeners(self.network, lambda network: self._run(network, batch), scores), batch)
            warnings.warn(
                f"a hook on {name_modules(hooks)} changes the network's scores: all that follows is of the network "
                "with the hook. If it was left by mistake, take it off with its handle's remove().",
                stacklevel=2,
            )
        self._set("_hooks", (*self._hooks, *hooks))

    @contextmanager
    def _explain_size(self, batch: Tensor) -> Iterator[None]:
        try:
            yield
        except torch.cuda.OutOfMemoryError:
            raise
        except FAILURES as error:
            if "nference tensor" in str(error):
                raise ValueError(CUT_OFF) from error
            raise ValueError(
                f"the network cannot take a batch {tuple(batch.shape)} ({error}). Give the classifier the size and "
                "the channels that the network was made for: Classifier(network, labels, size=…, mean=…, std=…)."
            ) from error

    def _check_scores(self, scores: object) -> Tensor:
        if not isinstance(scores, Tensor) or scores.ndim != 2:
            got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ValueError(
                f"expected scores (N, {len(self.labels)}) from the network, got {got}. "
                "Wrap it so that it gives one row per picture."
            )
        if scores.shape[1] != len(self.labels) or scores.shape[1] == 1:
            raise self._misfit(scores.shape[1])
        if not scores.is_floating_point():
            raise ValueError(
                f"expected scores of floats from the network, got {scores.dtype}. Pass the network without the "
                "operation that changes their type, such as a rounding or a Fourier transform; of complex numbers give "
                "the real part."
            )
        return scores

    def _not_finite(self) -> NotFiniteError:
        return NotFiniteError(
            "the network's scores are not finite. Look for NaN or huge values in its weights, or for a division by 0, "
            "such as by the spread of a plain image."
        )

    def _check(self, batch: Tensor) -> None:
        if not isinstance(batch, Tensor):
            got = type(batch).__name__
            raise TypeError(f"expected a tensor (N, C, H, W), got {got}. Use classifier.prepare(image).")
        _check_values(batch)
        # If mean and first convolution agree, the number of channels is known; else the network itself refuses others.
        channels = len(self.mean)
        known = self._channels() == channels
        if batch.ndim != 4 or 0 in batch.shape or (known and batch.shape[1] != channels):
            got = tuple(batch.shape)
            remedy = "Use classifier.prepare(picture)."
            if batch.ndim == 3:
                remedy = "The batch axis is missing: x[None]."
            elif batch.ndim == 4 and got[3] == channels:
                remedy = "The channels come last: x.permute(0, 3, 1, 2)."
            raise ValueError(f"expected a batch (N, {channels}, H, W), got {got}. {remedy}")
        if batch.dtype != self.dtype or batch.device != self.device:
            raise ValueError(
                f"expected a batch of {self.dtype} on {self.device} like the network, got {batch.dtype} on "
                f"{batch.device}. Convert one of them: batch.to({str(self.device)!r}, {self.dtype})."
            )
        if not all_finite(batch):
            raise NotFiniteError(
                "the image holds NaN or infinite values; expected finite ones. Prepare the picture again, "
                "classifier.prepare(picture), and look for a division by 0 in what you did to it."
            )
        self._check_mode()

    def _check_mode(self) -> None:
        training = in_training(self.network)
        if training:
            raise ValueError(
                f"the network is in training mode ({training}), where dropout and batch statistics change the scores "
                "from call to call. Call network.eval() first."
            )

    def top(self, image: ImageLike | Tensor, k: int = 5) -> tuple[Prediction, ...]:
        """List the k classes with the highest scores, best first.

        Args:
            image: whatever `open_image` takes, or a prepared tensor.
            k: how many, at least 1; all of them if there are fewer.

        Returns:
            k `Prediction`s (index, label, score, probability); P_c = exp S_c / Σ_k exp S_k.

        Raises:
            ValueError: k below 1, or a bad image.
            TypeError: k that is not a whole number.

        Example:
            >>> [best.label for best in classifier.top(di.photo("panda"), k=2)]
            ['giant panda', 'lesser panda']
        """
        k = accept.whole("k", k, 1)
        with torch.no_grad():
            return ranked(self.scores(self.prepare(image))[0], self.labels, k)

    def find(self, text: ClassLike) -> int:
        """Find a class by its index, its WordNet id, any of its names or a part of one.

        A text is read strictly first, and more widely only if that fits nothing: as an index or a WordNet id, the whole
        label, one of WordNet's other names of the class ("washing machine" for "washer"), whole words of any of these,
        a part of the label; and at last all this in the singular. Capitals, hyphens, apostrophes and surplus spaces do
        not matter.

        Args:
            text: such as 388, "388", "n02510455", "giant panda", "washing machine" or "lorik"; an index may be an
                integer of any library, or be alone in a tensor or an array.

        Returns:
            The class index.

        Raises:
            ValueError: no such class, or several; the error lists near names, or all that fit.
            TypeError: neither text nor an integer: a list, a truth value, 8.0.

        Example:
            >>> classifier.find("giant panda"), classifier.find("n02510455"), classifier.find("washing machine")
            (388, 388, 897)
        """
        return find(text, self.labels, self.wordnet_ids)  # type: ignore[arg-type]  # both are tuples by now

    def find_all(self, classes: ClassLike | Iterable[ClassLike]) -> list[int]:
        """Find several classes, each as `find` does; a single class counts as a list of one.

        Args:
            classes: a list, an array or anything else with an order, or a single class: "38" is class 38, not 3 and 8.

        Returns:
            Their indices, in the same order.

        Raises:
            ValueError: as in `find`.
            TypeError: as in `find`, or something without an order, such as a set.
        """
        return [self.find(each) for each in listed(classes)]

    def layers(self) -> tuple[Layer, ...]:
        """List the innermost layers in the order in which they run; a layer that runs twice is listed twice.

        A picture of noise runs through a copy of the modules that shares their weights, so the network stays as it is.

        Returns:
            A `Layer` (name, kind, shape) for each.

        Raises:
            ValueError: a network of TorchScript or torch.export, or one with a part of TorchScript, whose layers
                nobody can see; a network that cannot take `size`.

        Example:
            >>> classifier.layers()[0]
            Layer(name='features.0', kind='Conv2d', shape=(64, 111, 111))
            >>> len(classifier.layers())
            57
        """
        check_layers_can_be_seen(self.network, inside_too=True)
        ran: list[Layer] = []

        def watch(name: str, module: nn.Module, copy: nn.Module) -> None:
            def note(_: nn.Module, __: object, output: object) -> None:
                if isinstance(output, Tensor):
                    ran.append(Layer(name, type_before_parametrizations(module).__name__, tuple(output.shape[1:])))

            # A weight's parametrization, such as weight norm's, is a module of torch's and not a layer.
            parts = name.split(".")
            if "parametrizations" not in parts and {key for key, _ in module.named_children()} <= {"parametrizations"}:
                copy.register_forward_hook(note)

        picture = self.noise()
        self._check(picture)
        with own_mode(self.device, gradients=False):
            self._run(twin(self.network, watch), picture)
        return tuple(ran)


def check_classifier(classifier: object) -> None:
    """Refuse a first argument that is not a `Classifier`: the network itself, its name, a class, a photo.

    Raises:
        TypeError: the message says what was given, and how to make a classifier of it.
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
    """Give the k classes with the highest of one image's scores `(classes,)`, best first, as `Classifier.top` does."""
    s = scores.detach().cpu().double()
    probabilities = s.softmax(0).tolist()
    values, best = s.topk(min(k, len(s)))
    return tuple(
        Prediction(c, labels[c], score, probabilities[c])
        for c, score in zip(best.tolist(), values.tolist(), strict=True)
    )


def _check_values(x: Tensor) -> None:
    """Check that a tensor has a value at each entry."""
    if x.is_meta:
        raise ValueError("expected a tensor with values, got a meta tensor, which has none. Make it on the CPU.")
    if x.is_nested or x.layout != torch.strided:
        kind = "a nested one" if x.is_nested else str(x.layout)
        remedy = "Pass one image of it: x[0][None]." if x.is_nested else "Convert it: x.to_dense()."
        raise ValueError(f"expected a dense tensor, got {kind}. {remedy}")


def _check_prepared(x: Tensor) -> None:
    """Check that a tensor is one image with a batch axis, of floats."""
    _check_values(x)
    shape = tuple(x.shape)
    if not x.is_floating_point():
        levels = "x[0]" if x.ndim == 4 else "x"
        first = x.ndim >= 3 and shape[-3] in (1, 3) and shape[-1] not in (1, 3)
        remedy = f"{levels}.permute(1, 2, 0).numpy()" if first else f"{levels}.numpy()"
        raise ValueError(
            f"expected floats in normalised space, got {x.dtype} {shape}. Pass the picture, or its uint8 levels as "
            f"a NumPy array (H, W, 3), and it is normalised here: {remedy}."
        )
    if x.ndim != 4 or shape[0] != 1:
        remedy = "Pass one at a time: x[:1]."
        if x.ndim == 3:
            remedy = "The batch axis is missing: pass x[None] if it is normalised; if its values are 0..1, the picture."
        elif x.ndim != 4:
            remedy = "Pass the picture itself."
        raise ValueError(f"expected one prepared image (1, C, H, W), got {shape}. {remedy}")
