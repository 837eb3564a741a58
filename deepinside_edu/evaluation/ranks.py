"""The share of a run that this process has, and sums over all processes: torch.distributed, started by torchrun."""

from __future__ import annotations

import atexit
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

JOIN = timedelta(minutes=10)
"""How long a rank waits for the others to join; one whose start failed never does."""

PATIENCE = timedelta(days=30)
"""How long a rank that has finished waits for the others; one that dies is noticed by its connection."""


@dataclass(frozen=True)
class Ranks:
    """One process among those of a run.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: the device of the numbers that are summed.
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
            distributed.all_reduce(sums, group=_patient_group())
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
            distributed.all_gather_object(found, list(lines), group=_patient_group())
        return tuple(line for each in found for line in each)

    def agree(self, facts: Mapping[str, object]) -> None:
        """Check that every rank was given the same. Otherwise some images would count twice and others never.

        Args:
            facts: what has to be the same, by name, short enough for a message.

        Raises:
            ValueError: a fact that differs; on every rank.
            ConnectionError: another rank has ended before.
        """
        given = [json.loads(each) for each in self.gather([json.dumps(dict(facts))])]
        for rank, other in enumerate(given):
            if other != given[0]:
                name = next(each for each in given[0] if given[0][each] != other[each])
                _unfinished.clear()  # all ranks are here and raise the same, so none is left behind
                raise ValueError(
                    f"the ranks were not given the same: {name} {given[0][name]} on rank 0, {other[name]} on rank "
                    f"{rank}. Give all of them the same images, annotations, network and options."
                )


@contextmanager
def ranks(device: torch.device) -> Iterator[Ranks]:
    """Join the other processes that torchrun has started, if it has: gloo on the CPU, NCCL on CUDA.

    The group stays for a second run until this process ends: torch does not reliably build one where another was.
    Processes that share a GPU use gloo too, because NCCL needs one GPU per process.

    Args:
        device: where this process's network is.

    Yields:
        `Ranks`; one alone without torchrun, that is, if the environment's WORLD_SIZE is 1 or missing.

    Raises:
        ValueError: WORLD_SIZE without RANK, or not a number.
        ConnectionError: the others did not come.
    """
    if not (distributed.is_available() and distributed.is_initialized()):  # else the caller's own, or an earlier run's
        size = os.environ.get("WORLD_SIZE", "1")
        if size == "1":
            yield Ranks()
            return
        if not (size.isdecimal() and os.environ.get("RANK", "").isdecimal()):
            raise ValueError(
                f"WORLD_SIZE is {size} and RANK {os.environ.get('RANK', 'missing')}; expected two numbers. Start it "
                "with torchrun."
            )
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with _absence_explained(size):
            distributed.init_process_group(_backend(device), timeout=JOIN)
        atexit.register(_leave)
    with _absence_explained(str(distributed.get_world_size())):
        _patient_group()
    place = torch.device("cuda" if distributed.get_backend() == "nccl" else "cpu")
    _unfinished.set()
    yield Ranks(distributed.get_rank(), distributed.get_world_size(), place)
    _unfinished.clear()


_unfinished = threading.Event()
"""Set from a run's beginning until it has ended well."""

_patient: list[Any] = []
"""The default group, and one of the same processes that waits longer."""


def _backend(device: torch.device) -> str:
    alone = device.type == "cuda" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count()
    return "nccl" if alone else "gloo"


def _patient_group() -> Any:
    everyone = distributed.group.WORLD
    if not _patient or _patient[0] is not everyone:
        _patient[:] = everyone, distributed.new_group(timeout=PATIENCE)
        atexit.register(_patient.clear)  # a group that is still referenced as Python ends aborts the process
    return _patient[1]


def _leave() -> None:
    # After an error, it would wait for ranks that are gone.
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
def _absence_explained(size: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ConnectionError(
            f"the {size} ranks did not come together ({reason}). Look at what the others say; between hosts, "
            "GLOO_SOCKET_IFNAME (NCCL_SOCKET_IFNAME on GPUs) may have to name the network's interface, such as eth0."
        ) from error


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
