"""Localisation given the true class on the shipped photos: the defaults, what else was tried, and what needs no cut.

The defaults were chosen on one part of the photos; the other part was kept aside and chose nothing.
"""

from collections.abc import Sequence

import numpy as np

from .cases import BASELINES, Settings, agreement, shipped
from .table import show

ASIDE = ("hens", "komodo_dragon", "duck", "jaguars", "panda", "red_panda", "macaw")
RANDOM_STATES = (0, 1, 2)
DEFAULT = Settings()
ALTERNATIVES = {
    "default": (DEFAULT,),
    "one map, no crops": (Settings(crops=1),),
    "hard seeds": (Settings(hard_seeds=True),),
    "components": tuple(Settings(components=k) for k in (1, 3, 5, 8)),
    "neighbours": tuple(Settings(neighbours=n) for n in (4, 8)),
    "smoothness": tuple(Settings(smoothness=s) for s in (20, 40, 60, 80, 120)),
    "contrast": tuple(Settings(contrast=c) for c in (0.5, 1.0, 2.5, 5.0)),
}


def hits_and_mean(values: Sequence[Sequence[float]]) -> tuple[str, str]:
    """Of (runs, photos): hits a run, and the mean IoU."""
    v = np.asarray(values, float).reshape(len(values), -1)
    hits = (v >= 0.5).sum(1).mean()
    return f"{hits:.1f}".removesuffix(".0"), f"{v.mean():.3f}"


def main() -> None:
    parts = [[c for c in shipped() if (c.name in ASIDE) == aside] for aside in (False, True)]

    def row(name: str, of: object, states: Sequence[int]) -> list[str]:
        cells = [name]
        for part in (*parts, [*parts[0], *parts[1]]):
            cells += hits_and_mean([[of(case, state) for case in part] for state in states])
        return cells

    found = {case.name: [agreement(case, DEFAULT, state) for state in RANDOM_STATES] for case in shipped()}
    show(
        "IoU with the true box, given the true class, defaults",
        ["photo", "part", *(f"random_state {state}" for state in RANDOM_STATES), "hits"],
        [
            [
                name,
                "aside" if name in ASIDE else "chosen on",
                *(f"{v:.3f}" for v in values),
                sum(v >= 0.5 for v in values),
            ]
            for name, values in found.items()
        ],
    )
    rows = []
    for name, tried in ALTERNATIVES.items():
        for settings in tried:
            value = f" {getattr(settings, name):g}" if len(tried) > 1 else ""
            mark = " *" if len(tried) > 1 and settings == DEFAULT else ""
            rows.append(row(f"{name}{value}{mark}", lambda c, s, how=settings: agreement(c, how, s), RANDOM_STATES))
    rows += [row(name, lambda case, _, how=how: how(case), [0]) for name, how in BASELINES.items()]
    counts = [len(part) for part in parts]
    show(
        f"Hits (IoU ≥ 0.5) and mean IoU, average of {len(RANDOM_STATES)} random states; * is the default",
        ["", f"chosen on: of {counts[0]}", "IoU", f"aside: of {counts[1]}", "IoU", f"all: of {sum(counts)}", "IoU"],
        rows,
    )


if __name__ == "__main__":
    main()
