"""Two ways of doing one thing, timed in turn: the ratio of a pair outlives a machine whose speed drifts.

We take CPU time, not wall time: everything here runs in one thread, so other work on the machine disturbs least.
"""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Paired(NamedTuple):
    """Medians: milliseconds of each, their ratio, and the ratio's quartiles."""

    ours: float
    theirs: float
    ratio: float
    lower: float
    upper: float


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return 1000 * (time.process_time() - start)


def alone(work: Callable[[], object], times: int) -> float:
    work()
    return statistics.median(milliseconds(work) for _ in range(times))


def in_turn(ours: Callable[[], object], theirs: Callable[[], object], pairs: int) -> Paired:
    ours(), theirs()
    taken = []
    for i in range(pairs):
        if i % 2:
            after, before = milliseconds(theirs), milliseconds(ours)
            taken.append((before, after))
        else:
            taken.append((milliseconds(ours), milliseconds(theirs)))
    lower, ratio, upper = statistics.quantiles([a / b for a, b in taken], n=4, method="inclusive")
    return Paired(statistics.median(a for a, _ in taken), statistics.median(b for _, b in taken), ratio, lower, upper)
