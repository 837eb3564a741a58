"""Plain aligned tables."""

from collections.abc import Sequence


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table with the first column flush left and the others flush right."""
    cells = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    print(f"\n{title}")
    for row in cells:
        first, *others = [
            c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        print("  ".join(["", first, *others]).rstrip(), flush=True)


def verdict(value: float, target: float, at_least: bool = False) -> str:
    if at_least:
        return "PASS" if value >= target else "under"
    return "PASS" if value <= target else "over"
