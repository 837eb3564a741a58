"""Interactive widgets, one file each: thin views that hold state and ask a step function for the next picture.

    widget.py       what every explorer is: classifier, photo, one worker thread, the page, the still picture
    explorer.py     an explorer of a photo: a wish, and the stages that work on it
    settings.py     the traits that a learner sets, and what each of them refuses
    language.py     every text that a person sees, by its name in texts/en.json
    stills.py       the still picture for a page without a kernel
    joined.py       puts a browser half together from the modules in front/
    scores.py …     one explorer each

What may an explorer touch? It imports steps, `figures` and `evaluation`, and no step imports it. Cells and the page set
traits. The worker thread runs the stages: it calls step functions, keeps their results in attributes, and tells them to
the page (`_tell`). It cannot set a trait (`settings.Setting` raises), except by `_settle`. Nobody changes the network.

How do I add one? Copy `saliency.py`, the shortest:

1. A trait for each control (`Choice`, `Number`, `Whole`), observed by a method that calls `self._ask()`.
2. A `NamedTuple`, the wish: `source`, `class_index`, then the controls, slowest first; `_wish` fills it in.
3. `stages`, in order: a method `_<stage>(wish)` for each, and the last field of the wish that it depends on.
4. Its texts in `texts/en.json`, as `say("<room>.<name>", …)` puts them together.
5. `still`, the picture without a kernel, and its view in `front/views`, which draws what `_tell` sends.
6. Its function in `__all__` here, and a line in `docs/explorers.md`.

Example:
    >>> di.explore.scores(di.photo("panda"), classifier).result
    ScoresResult('panda', 1000 scores, top: 'giant panda')
"""

from .class_model import class_model
from .localisation import localisation
from .microscope import microscope
from .saliency import saliency
from .sanity import sanity
from .scores import scores
from .taylor import taylor

__all__ = ["class_model", "localisation", "microscope", "saliency", "sanity", "scores", "taylor"]
