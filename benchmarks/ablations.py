"""What each part of the method is worth, on the shipped photos and on composites of cut-outs with exact masks.

The cut-outs come from Debian's package tuxpaint-stamps-default; stamps.csv lists them. Without the package, only the
photos are used.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import deepinside_edu as di
from deepinside_edu.evaluation.ablations import ABLATIONS, AblationRuns, AblationTable, tabulate, try_ablations
from deepinside_edu.evaluation.composites import BACKGROUNDS, STAMPS, Composite, composites, read_cutouts

from .cases import classifier
from .table import show

LIST = Path(__file__).parent / "stamps.csv"
AGAIN = ("smoothness 60", "smoothness 150", "background 50 %", "background 70 %")
HOW = "No composites: `apt-get install tuxpaint-stamps-default` (of Debian 12: 2022.06.04-1), or --stamps FOLDER."


def of_background(runs: AblationRuns, which: Sequence[int]) -> AblationRuns:
    images = tuple(runs.images[i] for i in which)
    parts = {name: getattr(runs, name)[:, which] for name in ("iou", "mask_iou", "found")}
    return replace(runs, images=images, **parts)


def report(title: str, runs: AblationRuns) -> AblationTable:
    table = tabulate(runs)
    print(f"\n{title}\n{table}", flush=True)
    # Among many rows, one or two exclude 0 by chance; with Bonferroni's intervals at most one table in twenty has any.
    strict = tabulate(runs, confidence=1 - 0.05 / (len(table.rows) - 1))
    for measure in ("difference", "hit_difference", "mask_difference"):
        found = {row.name: getattr(row, measure) for row in strict.rows if getattr(row, measure)}
        better = [f"{name} ({d.mean:+.3f})" for name, d in found.items() if d.low > 0]
        worse = [name for name, d in found.items() if d.high < 0]
        print(f"{measure}, {strict.confidence:.2%} intervals: better {better or 'none'}; worse {worse or 'none'}")
    return table


def by_background(runs: AblationRuns, made: Sequence[Composite]) -> None:
    kinds = {kind: [i for i, each in enumerate(made) if each.background == kind] for kind in BACKGROUNDS}
    tables = [tabulate(of_background(runs, which)) for which in kinds.values()]
    show(
        "IoU of the box by kind of background; * differs from the full method (95 % intervals)",
        ["", *kinds],
        [
            [
                name,
                *(
                    f"{row.iou.mean:.3f}{' ' if row.difference.low <= 0 <= row.difference.high else '*'}"
                    for row in rows
                ),
            ]
            for name, rows in ((row.name, [table[row.name] for table in tables]) for row in tables[0].rows)
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablations")
    parser.add_argument("--stamps", metavar="FOLDER", type=Path, default=STAMPS)
    folder = parser.parse_args().stamps
    report("Shipped photos", try_ablations(classifier(), di.photos(), ABLATIONS))
    if not folder.is_dir():
        print(f"\n{HOW}")
        return
    made = composites(read_cutouts(folder, LIST))
    runs = try_ablations(classifier(), made, ABLATIONS)
    report("Composites", runs)
    by_background(runs, made)
    shares = [classifier().top(each.picture, 1)[0].class_index == classifier().find(each.wordnet_id) for each in made]
    sizes = [each.mask.mean() for each in made]
    again = {name: ABLATIONS[name] for name in AGAIN}
    for state in (1, 2):
        drawn = composites(read_cutouts(folder, LIST), random_state=state)
        title = f"Composites drawn again (random state {state}): the rows that were best, and the former default"
        report(title, try_ablations(classifier(), drawn, again))
    print(f"The network's first guess is right in {np.mean(shares):.0%} of them; objects cover {np.median(sizes):.0%}.")


if __name__ == "__main__":
    main()
