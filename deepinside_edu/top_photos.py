"""The photos that excite one channel most, and the patch of each that does it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from .boxes import Box, bounding_box
from .classifier import Classifier, check_classifier
from .deconvnet import Neuron, descend
from .images import Photo, photos
from .opening import ImageLike
from .recording import IMAGE, record

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class TopPhoto:
    """One photo that excites a channel.

    Attributes:
        name: of the photo or its file; "photo 3" for one without a name.
        neuron: the unit of the channel that it excites most, with its position.
        value: that unit's activity.
        picture: the photo as the network saw it.
        box: (left, top, right, bottom) in the pixels of `picture`, right and bottom exclusive: the smallest box around
            all pixels that the unit depends on, where ∂f/∂I is not 0. If there are none, it is the whole picture.
    """

    name: str
    neuron: Neuron
    value: float
    picture: Image.Image
    box: Box

    @property
    def patch(self) -> Image.Image:
        """What the unit saw: the picture inside the box."""
        return self.picture.crop(self.box)

    def _repr_png_(self) -> Any:
        return self.patch._repr_png_()

    def __repr__(self) -> str:
        """Say which photo excites which unit, and how much, in one line."""
        return f"TopPhoto({self.name}, {self.value:.4g} at {self.neuron.position}, {self.box})"


def top_photos(
    classifier: Classifier,
    layer: str,
    channel: int,
    photos: str | Path | Iterable[ImageLike | torch.Tensor] | None = None,
    k: int = 9,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> tuple[TopPhoto, ...]:
    """Find the photos with the highest activity in one channel of one layer, max over positions of X_n.

    Args:
        classifier: the network; nothing of it is changed.
        layer: its name, as in `record(classifier, image).layers`.
        channel: from 0.
        photos: a folder, whose pictures are all taken, or photos, each whatever `open_image` takes. None takes those
            that ship with the package.
        k: how many, at least 1; all of them if there are fewer.
        progress: is called with a list of one entry per photo, and gives them back one by one; `tqdm.auto.tqdm` shows
            a bar.

    Returns:
        k `TopPhoto`s (name, neuron, value, picture, box, patch), the most excited first.

    Raises:
        ValueError: an unknown layer, a channel out of range, k below 1, no photo. A file in a folder that cannot be
            read is left out with a warning; a photo that was passed itself is an error.
        OSError: a folder that does not exist.

    Source: the choice of photos is Zeiler & Fergus 2014, Section 4.
    """
    check_classifier(classifier)
    if isinstance(k, bool) or not hasattr(k, "__index__") or k < 1:
        raise ValueError(f"expected a whole number k of at least 1, got {k!r}.")
    folder, sources = _list_sources(photos)
    seen: list[tuple[float, str, torch.Tensor, Neuron]] = []
    for i, (name, source) in enumerate(progress(sources)):
        try:
            x = classifier.prepare(source)
        except (ValueError, OSError) as error:
            if not folder:
                raise
            warnings.warn(f"{name} is left out: {error}", stacklevel=2)
            continue
        strongest = descend(record(classifier, x, [layer]), Neuron(layer, channel), "gradient", layer)
        found = strongest.neuron
        assert isinstance(found, Neuron)
        seen.append((strongest.value, name or f"photo {i + 1}", x, found))
        # Only the best are kept, because a folder may be large.
        seen = sorted(seen, key=lambda each: -each[0])[:k]
    if not seen:
        where = f"no photo could be read in {photos}" if folder else "there is no photo in the list"
        raise ValueError(f"{where}. Pass a folder with pictures ({', '.join(ENDINGS)}), or a list of photos.")
    return tuple(
        TopPhoto(name, neuron, value, classifier.picture(x), _find_box(classifier, x, neuron))
        for value, name, x, neuron in seen
    )


def _list_sources(chosen: Any) -> tuple[bool, list[tuple[str, Any]]]:
    """Say whether it is a folder, and list each photo with its name."""
    if isinstance(chosen, (Photo, Image.Image, bytes)) or (isinstance(chosen, (str, Path)) and Path(chosen).is_file()):
        chosen = [chosen]
    if isinstance(chosen, (str, Path)):
        paths = sorted(path for path in Path(chosen).iterdir() if path.suffix.lower() in ENDINGS)
        return True, [(path.name, path) for path in paths]
    return False, [(_name_of(source), source) for source in (photos() if chosen is None else chosen)]


def _name_of(source: Any) -> str:
    if isinstance(source, Photo):
        return source.name
    return Path(source).name if isinstance(source, (str, Path)) else ""


def _find_box(classifier: Classifier, x: torch.Tensor, neuron: Neuron) -> Box:
    ladder = descend(record(classifier, x, [neuron.layer]), neuron, "gradient", IMAGE)
    touched = (ladder[IMAGE].r["gradient"][0] != 0).any(0).cpu().numpy()
    return bounding_box(touched if touched.any() else ~touched)
