"""Interactive widgets, one file each: they hold the state of the controls and ask step functions for the results.

    widget.py       what every explorer has: classifier, photo, one worker thread, the page, the still picture
    explorer.py     an explorer of a photo: a wish, and the stages that work towards it
    settings.py     the traits that a learner sets, and the values that each of them refuses
    language.py     every text that a person sees, by its name in texts/en.json
    stills.py       the still picture for a page without a kernel
    joined.py       joins the modules in front/ into one browser half
    scores.py …     one explorer each

What may an explorer touch? It imports steps, `figures` and `evaluation`, and no step imports it. Cells and the page set
traits. The worker thread runs the stages: it calls step functions, keeps their results in attributes, and sends them to
the page (`_tell`). It cannot set a trait (`Setting.set` raises) except by `_settle`, and it never changes the network.

How do I add one? Copy `saliency.py`, the shortest:

1. Write a trait for each control (`Choice`, `Number`, `Whole`).
2. Write a `NamedTuple`, the wish: `source`, `class_index`, then the controls, slowest first. `_wish` fills it in.
3. List the `stages` in order, each with the last field of the wish that it depends on, and write `_<stage>(wish)`.
4. End `__init__` with `_do_now`, for the stages whose errors are errors of the call, and `_begin` with the controls.
5. Write its texts in `texts/en.json`; `say("<name>.<text>", …)` fills them in.
6. Write `still` and `__repr__`, and its view in `front/views`, which draws what `_tell` sends.
7. Add its function to `__all__` here, and a line to `docs/explorers.md`.

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
