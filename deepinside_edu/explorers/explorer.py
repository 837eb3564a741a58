"""An explorer of a photo: its worker goes through stages, always for the newest wish."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import traitlets
from numpy.typing import NDArray
from torch import Tensor

from .. import figures, images
from ..classifier import Classifier, Prediction, ranked
from ..opening import ImageLike
from ..saliency import ForwardPass, Linearisation, forward_pass
from .language import say
from .settings import ClassIndex, Judged, Refused, Told, shown
from .widget import YOURS, Source, Widget, error_in_words

FIRST = "red_panda"
"""The photo to begin with."""

LISTED = 10
"""So many classes are offered, best first; any other one is found by the search."""

PAUSE = 0.05
"""In seconds: as long as a page takes to draw what it was told."""

R = TypeVar("R")


class Dropped(Exception):  # noqa: N818 - nothing is wrong
    """Something newer is wanted."""


def upto(wish: Any, field: str) -> tuple[Any, ...]:
    """A wish's fields from the first to this one."""
    return tuple(wish[: 1 + wish._fields.index(field)])


class Explorer(Widget, Generic[R]):
    """A widget whose wish is worked on in stages; what is out of date is dropped, never queued.

    A wish is a `NamedTuple` of what the controls say. A stage is a method `_<name>(wish)`; it runs again when the wish
    has changed in one of the fields that it depends on, and it may return a text to be said. It computes and tells,
    while the kernel answers other cells, and the thread ends when all that is wanted has been told.

    Attributes:
        photo: the name of a shipped photo, or "your photo" where there is one; `show` takes any other.
    """

    stages: ClassVar[dict[str, str]]
    """The stages in the order in which they are wanted on the screen.

    Each depends on the wish's fields from the first up to and including the one that is named here.
    """

    photo = Judged("").tag(sync=True)
    palettes = Told().tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        """Nothing is wanted before `_begin`, so that what cannot be shown at all is an ordinary error of this call."""
        self._result: Any = None
        self._wanted: Any = None
        self._done: dict[str, tuple[Any, ...]] = {}
        self._said: dict[str, str] = {}
        self._sent: dict[str, tuple[dict[str, Any], list[bytes]]] = {}
        super().__init__(image, classifier)
        self._source = self._own or Source(images.photo(FIRST))
        self.set_trait("palettes", _palettes())
        self.photo = self._source.name

    def _begin(self) -> None:
        """The explorer is complete: from now on its controls are listened to."""
        self._quiet = False
        self._ask()

    # --- what a learner, a test or the browser asks for ---------------------------------------------------------------

    @property
    def result(self) -> R:
        """What is shown, when it is done; after an error the last that could be."""
        self.wait()
        result: R = self._result
        return result

    # --- what an explorer makes of it ---------------------------------------------------------------------------------

    @abstractmethod
    def _wish(self) -> NamedTuple:
        """What the controls say now."""

    def _on_new_photo(self) -> None:
        """Forget what was of the photo before."""

    # --- traits -------------------------------------------------------------------------------------------------------

    @traitlets.validate("photo")
    def _known_photo(self, proposal: dict[str, Any]) -> str:
        name = proposal["value"].name if isinstance(proposal["value"], images.Photo) else proposal["value"]
        if not isinstance(name, str) or name not in self.photos:
            raise Refused(say("photo.unknown", got=shown(name), photos=", ".join(self.photos)))
        return name

    @traitlets.observe("photo")
    def _on_photo(self, _: object = None) -> None:
        with self._changed:
            if not self._quiet:
                own = self._own if self.photo == YOURS else None
                self._source = own or Source(images.photo(self.photo))
                self._on_new_photo()
                self._ask()

    # --- the work -----------------------------------------------------------------------------------------------------

    def _ask(self, _: object = None) -> None:
        """Want what the controls say now. Whatever is being worked on is dropped as soon as it can be."""
        with self._changed:
            if self._quiet:
                return
            self._refused = ""
            wish = self._wish()
            self._wanted = self._wanted if wish == self._wanted else wish  # what is being worked on goes on
            self._changed.notify_all()
            self._tell("state", busy=True, message=self.message)
            self._start()

    def _answer(self, asked: str) -> None:
        self._ask()

    def _upcoming(self) -> tuple[str, Any] | None:
        """The first stage whose last outcome is not of the newest wish; none is left when all are."""
        wish = self._wanted
        if wish is not None:
            for stage, field in self.stages.items():
                if self._done.get(stage) != upto(wish, field):
                    return stage, wish
        return None

    def _work(self) -> None:
        """Take one stage after another, always for the newest wish."""
        while True:
            with self._changed:
                upcoming = self._upcoming()
                if upcoming is None:
                    self._thread = None
                    self._tell_state()
                    self._changed.notify_all()
                    return
            stage, wish = upcoming
            try:
                said = getattr(self, f"_{stage}")(wish) or ""
            except Dropped:
                continue
            except Exception as error:  # the thread must live, and the learner must know
                said = self._in_words_of(error)
                if self._result is not None:
                    said = f"{said} {say('stays.result')}"
            with self._changed:
                self._said[stage] = said
                self._is_done(stage, wish)

    def _is_done(self, stage: str, wish: Any) -> None:
        self._done[stage] = upto(wish, self.stages[stage])

    def _stop(self) -> None:
        with self._changed:
            self._wanted = None

    def _complaints(self) -> Iterable[str]:
        return self._said.values()

    def _in_words_of(self, error: Exception) -> str:
        return error_in_words(error)

    def _drop_if_old(self, wish: Any) -> None:
        """Between two parts of long work: leave it if something newer is wanted."""
        if self._wanted is not wish:
            raise Dropped

    def _pause(self, wish: Any) -> None:
        """A stage: the page draws what it was told before work that takes every core begins; a newer wish ends it."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is not wish, PAUSE)

    def _settle(self, wish: Any, **values: Any) -> None:
        """Let controls follow what was found out for this wish, if it is still the newest; that wants nothing."""
        with self._changed:
            if self._wanted is wish:
                with self._quietly():
                    for name, value in values.items():
                        self.set_trait(name, value)

    # --- to and from the browser --------------------------------------------------------------------------------------

    def _tell(self, kind: str, *arrays: Tensor | NDArray[Any], **content: Any) -> None:
        """Send arrays as raw bytes, nothing altered, and keep them for a page that is opened later."""
        buffers = [(a.cpu().contiguous().numpy() if isinstance(a, Tensor) else a).tobytes() for a in arrays]
        with self._changed:
            self._sent[kind] = {"kind": kind, **content}, buffers
            self.send(*self._sent[kind])

    def _tell_state(self) -> None:
        self._tell("state", busy=self._thread is not None, message=self.message)

    def _tell_all(self) -> None:
        with self._changed:
            for message in tuple(self._sent.values()):
                self.send(*message)

    # --- where there is no kernel -------------------------------------------------------------------------------------

    def _may_be_saved(self) -> bool:
        """Wait until all is done. After an error the photo before is still on show, and that one may be a learner's."""
        self.wait()
        return super()._may_be_saved() and (YOURS not in self.photos or not self.message)


class _ClassWish(NamedTuple):
    source: Source
    class_index: int | None = None


class ClassExplorer(Explorer[R]):
    """An explorer of one class's score: a new photo chooses the class that the network puts first, until one is chosen.

    Its wish begins with the fields `source` and `class_index`, which may be none, its stages with "rank": "source".

    Attributes:
        class_index: c, an int; can be set to what `classifier.find` understands, a name too.
    """

    class_index = ClassIndex(0).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        """Score the first photo, so that a network that cannot is an ordinary error of this call."""
        super().__init__(image, classifier)
        self._chosen: int | None = None
        self._prepared: tuple[Source, Tensor] | None = None
        self._pictured: Source | None = None
        self._run: ForwardPass | None = None
        photo_alone = _ClassWish(self._source)
        self._rank(photo_alone)
        self._is_done("rank", photo_alone)
        self.class_index = self._ranking[0].class_index

    def _on_new_photo(self) -> None:
        self._chosen = None

    @traitlets.observe("class_index")
    def _on_class(self, change: dict[str, Any]) -> None:
        with self._changed:
            if not self._quiet:
                self._chosen = change["new"]  # by now the thread may have settled what an older wish is about
                self._ask()

    def _rank(self, wish: Any) -> None:
        """All classes of the photo, best first; the run is kept for the first class's line."""
        run = forward_pass(self.classifier, self._x(wish.source))
        self._ranking = ranked(run.scores[0], self.classifier.labels, len(self.classifier.labels))
        self._tell("classes", listed=[(each.class_index, each.score) for each in self._ranking[:LISTED]])
        self._run = run

    def _x(self, source: Source) -> Tensor:
        """I₀, prepared once a photo."""
        if self._prepared is None or self._prepared[0] is not source:
            self._prepared, self._run = (source, self.classifier.prepare(source.image)), None
        return self._prepared[1]

    def _tell_picture(self, source: Source) -> None:
        """Tell the photo as the network sees it, once."""
        if self._pictured is not source:
            self._picture = self.classifier.picture(self._x(source))
            self._tell("photo", np.asarray(self._picture), size=self._picture.size)
            self._pictured = source

    def _line(self, wish: Any, class_index: int) -> Linearisation:
        """One class's line at I₀: a backward pass and, but for the first class of a photo, a forward pass before it."""
        x = self._x(wish.source)
        run, self._run = self._run or forward_pass(self.classifier, x), None  # a run holds as much as the network made
        return run.linearise(class_index, keep=False)

    def _prediction(self, wish: Any) -> Prediction:
        """The class that is wanted: its index, label, score and probability."""
        return next((each for each in self._ranking if each.class_index == wish.class_index), self._ranking[0])


def _palettes() -> bytes:
    """The colours of `figures`, for the browser: 256 from 0 up, then 255 from below 0 to above."""
    heat = figures.heat_map(np.arange(256)[None], peak=1.0)
    signed = figures.signed_picture(np.linspace(-1, 1, 255)[None])
    return heat.tobytes() + signed.tobytes()
