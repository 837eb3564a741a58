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
from .settings import ClassIndex, ReadOnly, Validated, known_name
from .widget import YOURS, Source, Widget, error_in_words

FIRST = "red_panda"
"""The first photo, unless another one is given."""

LISTED = 10
"""How many classes are offered, best first; the search finds any other."""

PAUSE = 0.05
"""The time that a page takes to draw a message, in seconds."""

R = TypeVar("R")


class Dropped(Exception):  # noqa: N818 - nothing is wrong
    """Something newer is wanted."""


def upto(wish: Any, field: str) -> tuple[Any, ...]:
    """The fields of a wish from the first to this one."""
    return tuple(wish[: 1 + wish._fields.index(field)])


class Explorer(Widget, Generic[R]):
    """A widget that works towards its newest wish in stages; older wishes are dropped, never queued.

    A wish is a `NamedTuple` of the values of the controls at one moment. A stage is a method `_<name>(wish)`. It
    computes and tells the page; it may return a message for the learner. It runs again when the wish has changed in one
    of the fields that the stage depends on. The kernel answers other cells meanwhile. The thread ends when all stages
    have met the newest wish.
    """

    stages: ClassVar[dict[str, str]]
    """The stages in order. Each depends on the fields of the wish up to and including the field that is named here."""

    photo = Validated("").tag(sync=True)
    palettes = ReadOnly().tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        self._result: Any = None
        self._wanted: Any = None
        self._done: dict[str, tuple[Any, ...]] = {}
        self._said: dict[str, str] = {}
        self._sent: dict[str, tuple[dict[str, Any], list[bytes]]] = {}
        super().__init__(image, classifier)
        self._source = self._own or Source(images.photo(FIRST))
        self.set_trait("palettes", _palettes())
        self.photo = self._source.name

    def _do_now(self, *stages: str) -> None:
        """Run these stages before the worker begins, so that an error of theirs is an ordinary error of this call."""
        wish = self._wanted = self._wish()
        for stage in stages:
            getattr(self, f"_{stage}")(wish)
            self._done[stage] = upto(wish, self.stages[stage])

    def _begin(self, *controls: str) -> None:
        """Work from now on, also at each change of these controls."""
        self.observe(self._ask, controls)
        self._quiet = False
        self._ask()

    @property
    def result(self) -> R:
        """What is shown, once the work is done; after an error the last result before it."""
        self.wait()
        result: R = self._result
        return result

    @abstractmethod
    def _wish(self) -> NamedTuple:
        """The values of the controls now."""

    def _on_new_photo(self) -> None:
        """Forget what belongs to the photo before."""

    @traitlets.validate("photo")
    def _known_photo(self, proposal: dict[str, Any]) -> str:
        return known_name(proposal["value"], self.photos, "photo.unknown")

    @traitlets.observe("photo")
    def _on_photo(self, _: object = None) -> None:
        with self._changed:
            if not self._quiet:
                own = self._own if self.photo == YOURS else None
                self._source = own or Source(images.photo(self.photo))
                self._on_new_photo()
                self._ask()

    def _ask(self, _: object = None) -> None:
        """Want what the controls say now, and drop the work for an older wish as soon as possible."""
        with self._changed:
            if self._quiet:
                return
            self._refused = ""
            wish = self._wish()
            self._wanted = self._wanted if wish == self._wanted else wish  # the work for an equal wish goes on
            self._changed.notify_all()
            self._tell("state", busy=True, message=self.message)
            self._start()

    def _answer(self, asked: str) -> None:
        self._ask()

    def _upcoming(self) -> tuple[str, Any] | None:
        """The first stage that has not met the newest wish, or none."""
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
            except Exception as error:  # the thread goes on, and the learner reads what happened
                said = self._in_words_of(error)
                if self._result is not None:
                    said = f"{said} {say('stays.result')}"
            with self._changed:
                self._said[stage] = said
                self._done[stage] = upto(wish, self.stages[stage])

    def _stop(self) -> None:
        with self._changed:
            self._wanted = None

    def _complaints(self) -> Iterable[str]:
        return self._said.values()

    def _in_words_of(self, error: Exception) -> str:
        return error_in_words(error)

    def _drop_if_old(self, wish: Any) -> None:
        """Leave long work between two parts of it if something newer is wanted."""
        if self._wanted is not wish:
            raise Dropped

    def _pause(self, wish: Any) -> None:
        """A stage that lets the page draw before work on every core begins; a newer wish ends it."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is not wish, PAUSE)

    def _settle(self, wish: Any, **values: Any) -> None:
        """Set controls to what was found for this wish, if it is still the newest; this asks for no new work."""
        with self._changed:
            if self._wanted is wish:
                with self._quietly():
                    for name, value in values.items():
                        self.set_trait(name, value)

    def _tell(self, kind: str, *arrays: Tensor | NDArray[Any], **content: Any) -> None:
        """Send arrays as raw, unaltered bytes, and keep them for a page that opens later."""
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

    def _may_be_saved(self) -> bool:
        """Wait for the work. After an error the last photo is still shown, and it may be a learner's own."""
        self.wait()
        return super()._may_be_saved() and (YOURS not in self.photos or not self.message)


class ClassExplorer(Explorer[R]):
    """An explorer of one class's score: the network's first class of each new photo, until the learner chooses one.

    Its wish begins with the fields `source` and `class_index` (None until a class is chosen). Its first stage is
    "rank", which depends on "source"; a subclass runs it with `_do_now`.
    """

    class_index = ClassIndex(0).tag(sync=True)

    def __init__(self, image: ImageLike | Tensor | None, classifier: Classifier | None) -> None:
        super().__init__(image, classifier)
        self._chosen: int | None = None
        self._prepared: tuple[Source, Tensor] | None = None
        self._pictured: Source | None = None
        self._run: ForwardPass | None = None

    def _on_new_photo(self) -> None:
        self._chosen = None

    @traitlets.observe("class_index")
    def _on_class(self, change: dict[str, Any]) -> None:
        with self._changed:
            if not self._quiet:
                self._chosen = change["new"]  # the worker may by now have settled the class of an older wish
                self._ask()

    def _rank(self, wish: Any) -> None:
        """Rank all classes of the photo; the line of the first class uses the same forward pass."""
        run = forward_pass(self.classifier, self._x(wish.source))
        self._ranking = ranked(run.scores[0], self.classifier.labels, len(self.classifier.labels))
        self._tell("classes", listed=[(each.class_index, each.score) for each in self._ranking[:LISTED]])
        self._run = run
        self._wanted_class(wish)

    def _x(self, source: Source) -> Tensor:
        """I₀, which is prepared once per photo."""
        if self._prepared is None or self._prepared[0] is not source:
            self._prepared, self._run = (source, self.classifier.prepare(source.image)), None
        return self._prepared[1]

    def _tell_picture(self, source: Source) -> None:
        """Tell the photo as the network sees it, once per photo."""
        if self._pictured is not source:
            self._picture = self.classifier.picture(self._x(source))
            self._tell("photo", np.asarray(self._picture), size=self._picture.size)
            self._pictured = source

    def _line(self, wish: Any, class_index: int) -> Linearisation:
        """The line of one class at I₀: a backward pass, after a forward pass unless the ranking has just made one."""
        x = self._x(wish.source)
        run, self._run = self._run or forward_pass(self.classifier, x), None  # a run holds as much as the network made
        return run.linearise(class_index, keep=False)

    def _wanted_class(self, wish: Any) -> Prediction:
        """The class of the wish with its score and probability; the control follows it."""
        found = next((each for each in self._ranking if each.class_index == wish.class_index), self._ranking[0])
        self._settle(wish, class_index=found.class_index)
        return found


def _palettes() -> bytes:
    """The colours of `figures` for the browser: 256 for maps from 0 up, then 255 for signed values."""
    heat = figures.heat_map(np.arange(256)[None], peak=1.0)
    signed = figures.signed_picture(np.linspace(-1, 1, 255)[None])
    return heat.tobytes() + signed.tobytes()
