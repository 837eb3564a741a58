"""The options of the method behind the map: their defaults, and one trial of them before a data set is measured."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from PIL import Image

from .. import accept
from ..colour_models import colour_models
from ..graph_cut import graph_cut
from ..localise import segment
from ..seeds import seeds

DEFAULTS: Mapping[str, Any] = MappingProxyType(accept.options({}, segment))
"""The options of `segment` and their defaults."""


def check_options(options: Mapping[str, Any]) -> None:
    """Try the options on one picture, so that a value out of its range does not fail in each image and count there.

    Args:
        options: all of those in `DEFAULTS`; others are ignored.

    Raises:
        ValueError: an option out of its range.
        TypeError: an option of another kind.
    """
    saliency = np.arange(224 * 224, dtype=np.float32).reshape(224, 224)
    y, x = np.mgrid[:224, :224].astype(np.uint8)
    picture = Image.fromarray(np.stack([x, y, x ^ y], axis=-1))
    hard_seeds = accept.flag("hard_seeds", options["hard_seeds"])
    chosen = seeds(saliency, options["foreground"], options["background"], options["blur"])
    costs = colour_models(picture, chosen, options["components"], options["random_state"]).costs(picture)
    graph_cut(picture, costs, options["smoothness"], chosen if hard_seeds else None)
