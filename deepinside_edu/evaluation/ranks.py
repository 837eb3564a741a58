"""Which share of a run is this process's, and the sums over all of them: torch.distributed, started by torchrun."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

PATIENCE = timedelta(days=30)
"""How long a rank that has finished waits for the others; one that dies is noticed at once."""


@dataclass(frozen=True)
class Ranks:
    """One process among those of a run.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: where the numbers lie that are summed.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | None = None

    def meet(self) -> None:
        """Wait until every rank has come here.

        Raises:
            ConnectionError: another rank has ended before.
        """
        self.total([0])

    def total(self, counts: Sequence[int]) -> tuple[int, ...]:
        """Add up whole numbers over all ranks; every rank gets the sums.

        Args:
            counts: of this rank.

        Returns:
            The sums, exact: they are added as 64-bit integers.

        Raises:
            ConnectionError: another rank has ended before.
        """
        if self.size == 1:
            return tuple(counts)
        sums = torch.tensor(counts, dtype=torch.int64, device=self.device)
        with _death_explained():
            distributed.all_reduce(sums)
        return tuple(sums.tolist())

    def gather(self, lines: Sequence[str]) -> tuple[str, ...]:
        """Collect lines of text from all ranks, in the order of the ranks; every rank gets them all.

        Args:
            lines: of this rank.

        Returns:
            All lines.

        Raises:
            ConnectionError: another rank has ended before.
        """
        if self.size == 1:
            return tuple(lines)
        found: list[list[str]] = [[] for _ in range(self.size)]
        with _death_explained():
            distributed.all_gather_object(found, list(lines))
        return tuple(line for each in found for line in each)


@contextmanager
def ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes that torchrun has started, if it has: gloo on the CPU, NCCL on CUDA.

    The group stays for a second run until this process ends: torch does not reliably build one where another was.

    Args:
        device: where this process's network is.

    Yields:
        `Ranks`; one alone without torchrun, that is, if the environment's WORLD_SIZE is 1 or missing.

    Raises:
        ValueError: WORLD_SIZE without RANK.
    """
    if not (distributed.is_available() and distributed.is_initialized()):  # else the caller's own, or an earlier run's
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            yield Ranks()
            return
        if "RANK" not in os.environ:
            raise ValueError(f"WORLD_SIZE is {size} but there is no RANK; expected both. Start it with torchrun.")
        if device.type == "cuda":
            torch.cuda.set_device(device)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
        atexit.register(_leave)
    place = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
    _unfinished.set()
    yield Ranks(distributed.get_rank(), distributed.get_world_size(), place)
    _unfinished.clear()


_unfinished = threading.Event()
"""Set from a run's beginning until it has ended well."""


def _leave() -> None:
    # After an error it would wait for ranks that are gone.
    if distributed.is_initialized() and not _unfinished.is_set():
        distributed.destroy_process_group()


def local_device() -> str | None:
    """Say which accelerator belongs to this process: torchrun's LOCAL_RANK counts them on each host.

    Returns:
        Such as "cuda:1"; nothing without CUDA or without torchrun, where the package chooses.
    """
    if "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return None


@contextmanager
def _death_explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ConnectionError(
            f"another rank ended before its share was done ({reason}). What was finished is kept: start the same "
            "command again, and it goes on."
        ) from error
