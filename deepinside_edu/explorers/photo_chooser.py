"""Choose one of the shipped photos or upload one; what goes wrong is said under the buttons."""

from __future__ import annotations

import html
import io

import ipywidgets
import traitlets
from PIL import Image

from ..images import Photo, open_image, photo, photos

FIRST = "red_panda"
LONGEST_SIDE = 448
"""Pictures are shown no larger than this many pixels, so that they travel quickly to the browser."""


class PhotoChooser(ipywidgets.VBox):  # type: ignore[misc]
    """A drop-down of the shipped photos, an upload button and a line for messages; `image` is the choice."""

    image = traitlets.Instance(Image.Image)
    image_name = traitlets.Unicode()

    def __init__(self, source: object = None) -> None:
        """Start with a photo of the learner's (whatever `open_image` takes), or with the first shipped one."""
        first = source.name if isinstance(source, Photo) else FIRST if source is None else None
        self.shipped = ipywidgets.Dropdown(
            options=[(each.name.replace("_", " "), each.name) for each in photos()], value=first, description="photo"
        )
        self.upload = ipywidgets.FileUpload(accept="image/*", multiple=False, description="your own …")
        self.message = ipywidgets.HTML()
        super().__init__([ipywidgets.HBox([self.shipped, self.upload]), self.message])
        if first:
            self._choose_shipped()
        else:
            self.image, self.image_name = open_image(source), "your photo"
        self.shipped.observe(lambda _: self._choose_shipped(), "value")
        self.upload.observe(lambda _: self._choose_upload(), "value")

    def _choose_shipped(self) -> None:
        if self.shipped.value is None:  # while the learner's own photo is shown
            return
        self.message.value = ""
        self.image_name = self.shipped.value
        self.image = photo(self.shipped.value).image

    def _choose_upload(self) -> None:
        if not self.upload.value:
            return
        try:
            image = open_image(self.upload.value)
        except (ValueError, TypeError) as error:
            self.message.value = f"<b>{html.escape(str(error))}</b> The last photo stays."
            return
        finally:
            self.upload.value = ()  # an uploaded photo must never be saved into the notebook
        self.message.value = "This is your photo."
        self.shipped.value = None  # so that the shipped one shown before can be chosen again
        self.image_name, self.image = "your photo", image


def png(picture: Image.Image) -> bytes:
    """Encode a picture for `ipywidgets.Image`, no larger than what is shown.

    Args:
        picture: RGB, of any size.

    Returns:
        A PNG file, fast to make rather than small.
    """
    small = picture.copy()
    small.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "png", compress_level=1)
    return buffer.getvalue()
