"""Which items make which update, and how they are read. The step number alone says all of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from einthoven.errors import RecipeError
from einthoven.train.batch import to_batch, to_tensors

_AHEAD = 2
"""Batches that are read before they are asked for, per worker."""


class View(Protocol):
    """What can be trained on: numbered items, several at a time as one raw batch (docs/architecture.md).

    A view whose items differ from epoch to epoch has ``by_epoch = True`` and is asked for item + epoch * len(view).
    """

    def __len__(self) -> int: ...

    def __getitems__(self, indices: list[int], /) -> dict[str, Any]: ...


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, n_items: int) -> np.ndarray:
    """The order of the items in an epoch (from 0): a function of seed and epoch."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(n_items)


@dataclass(frozen=True)
class Order:
    """The order of the data: update n has the n-th ``batch`` items of its epoch's permutation.

    A batch does not reach into the next epoch: the items that are left over at the end of an epoch (fewer than a batch,
    others every epoch) wait for the next one. An update's items are divided, in order, into ``accumulate`` micro-batches,
    and each of these among the processes.
    """

    seed: int
    n_items: int
    batch: int
    accumulate: int = 1
    world: int = 1

    def __post_init__(self):
        if self.n_items < self.batch:
            raise RecipeError(
                f"batch={self.batch} is more than there is to train on ({self.n_items} items); expected batch={max(1, self.n_items)} or less"
            )
        if self.batch < self.accumulate * self.world:
            raise RecipeError(
                f"batch={self.batch} cannot be divided into {self.accumulate} micro-batches over {self.world} processes: some would be empty; "
                f"expected batch={self.accumulate * self.world} or more"
            )

    @property
    def per_epoch(self) -> int:
        """Updates in an epoch."""
        return self.n_items // self.batch

    def epoch(self, step: int) -> int:
        """The epoch, from 0, of the update that follows ``step`` finished ones."""
        return step // self.per_epoch

    def items(self, step: int) -> np.ndarray:
        """(batch,) the items of the update that follows ``step`` finished ones."""
        first = step % self.per_epoch * self.batch
        return permutation(self.seed, self.epoch(step), self.n_items)[first : first + self.batch]

    def bounds(self, micro: int, rank: int) -> tuple[int, int, int]:
        """First item and end, within a micro-batch, of what a process has, and the size of the micro-batch."""
        size = _share(self.batch, micro, self.accumulate)
        n_items = size[1] - size[0]
        first, end = _share(n_items, rank, self.world)
        return first, end, n_items

    def own(self, step: int, micro: int, rank: int) -> list[int]:
        """The items of a process in a micro-batch."""
        start, (first, end, _) = _share(self.batch, micro, self.accumulate)[0], self.bounds(micro, rank)
        return self.items(step)[start + first : start + end].tolist()


def _share(n: int, part: int, n_parts: int) -> tuple[int, int]:
    """First and end of one of ``n_parts`` consecutive, nearly equal shares of n."""
    return n * part // n_parts, n * (part + 1) // n_parts


class _Batches(Sampler[list[int]]):
    """The item lists of one process, micro-batch by micro-batch, from one update to another."""

    def __init__(self, order: Order, first: int, end: int, rank: int, by_epoch: bool = False):
        self.order, self.first, self.end, self.rank, self.by_epoch = order, first, end, rank, by_epoch

    def __len__(self) -> int:
        return (self.end - self.first) * self.order.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.end):
            ahead = self.order.epoch(step) * self.order.n_items if self.by_epoch else 0
            for micro in range(self.order.accumulate):
                yield [item + ahead for item in self.order.own(step, micro, self.rank)]


class _Items(Dataset):
    """A view as torch's loader wants it: it asks for lists of items, and leaves the raw batch as it is."""

    def __init__(self, view: View):
        self.view = view

    def __getitems__(self, indices: list[int]) -> dict[str, Any]:
        return self.view.__getitems__(indices)


def micro_batches(view: View, order: Order, first: int, end: int, rank: int, workers: int, pin: bool) -> Iterator[dict[str, Any]]:
    """Raw micro-batches of a process, as CPU tensors, for the updates from ``first`` to ``end``; read ahead of the training.

    workers : processes that read; 0: a thread of this one. The batches are the same.
    """
    batches = _Batches(order, first, end, rank, getattr(view, "by_epoch", False))
    if workers == 0:
        yield from _read_ahead(view, batches, pin)
        return
    loader: DataLoader = DataLoader(
        _Items(view),
        batch_sampler=batches,
        collate_fn=partial(to_tensors, pin=False),  # pinned in this process, by the loader's own thread
        num_workers=workers,
        worker_init_fn=_worker,
        prefetch_factor=_AHEAD,
        generator=torch.Generator(),  # its own: torch's loader would else draw from the generator of the training
        pin_memory=pin,
    )
    yield from loader


def _read_ahead(view: View, batches: _Batches, pin: bool) -> Iterator[dict[str, Any]]:
    """Read the next batches in one thread while the current one is trained on."""

    def read(indices: list[int]) -> dict[str, Any]:
        return to_tensors(view.__getitems__(indices), pin)

    with ThreadPoolExecutor(1, thread_name_prefix="reader") as thread:
        waiting = []
        try:
            for indices in batches:
                waiting.append(thread.submit(read, indices))
                if len(waiting) > _AHEAD:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            thread.shutdown(wait=True, cancel_futures=True)


def _worker(_: int) -> None:
    """A reading process leaves Ctrl-C to the training process, and ends when it is told to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)


def in_order(view: View, batch: int, device: torch.device | str = "cpu", items: Sequence[int] | None = None) -> Iterator[dict[str, Any]]:
    """The whole view (or some items of it) once, in order, in batches on the device: for validation and evaluation."""
    chosen = list(range(len(view))) if items is None else list(items)
    for first in range(0, len(chosen), batch):
        yield to_batch(view.__getitems__(chosen[first : first + batch]), device)
