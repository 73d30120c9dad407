"""What a run says while it trains: ``metrics.jsonl`` always, TensorBoard when asked, and a live line or plain lines for the person."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from einthoven.errors import EinthovenError
from einthoven.train.run import METRICS, WARNINGS

TIMES = ("seconds", "samples_per_second", "utilisation")
"""The keys of a line that differ between two runs of the same recipe."""
_SHOWN = 5


class Log:
    """The first process's log; for the others, ``Log(None)`` says nothing.

    Every line of metrics.jsonl has ``kind`` ("train" or "valid") and ``step``; see ``TIMES`` for what depends on the machine.
    """

    def __init__(self, run: Path | None, total: int, start: int, progress: bool = True, tensorboard: bool = False, metric: str = "loss"):
        self.run, self.total, self.start, self.progress, self.metric = run, total, start, progress and run is not None, metric
        self.file: TextIO | None = None
        self.bar: Any = None
        self.writer: Any = None
        self.begun = time.monotonic()
        if run is None:
            return
        self.file = open(run / METRICS, "a", encoding="utf-8")
        if tensorboard:
            self.writer = _tensorboard(run, start)
        if self.progress and sys.stderr.isatty():
            self.bar, self.task = _live_line(total, start)

    def line(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """One line of metrics.jsonl; NaN is written as null, JSON has none."""
        if self.file is None:
            return
        entry = {"kind": kind, "step": step, **{name: value if value == value else None for name, value in values.items()}}
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{kind}/{name}", value, step)
        if self.progress and (self.bar is None or kind == "valid"):
            self.say(f"{kind} {step}/{self.total}  {_text(values, self.metric)}{self._eta(step) if kind == 'train' else ''}")

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Move the live line."""
        if self.bar is not None:
            self.bar.update(self.task, completed=step, values=_text(values))

    def say(self, text: str) -> None:
        """A sentence for the person at the terminal."""
        if self.run is None:
            return
        if self.bar is not None:
            self.bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        elif self.progress:
            print(text, file=sys.stderr, flush=True)

    def warn(self, step: int, text: str) -> None:
        """A warning: to the terminal, and kept in warnings.txt of the run."""
        if self.run is None:
            return
        with open(self.run / WARNINGS, "a", encoding="utf-8") as file:
            file.write(f"step {step}: {text}\n")
        if self.bar is not None:
            self.say(f"warning: {text}")
        else:
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def sync(self) -> None:
        """Bring the lines to the disk, before a checkpoint that is later than they are."""
        if self.file is not None:
            os.fsync(self.file.fileno())

    def close(self) -> None:
        for part in (self.file, self.writer):
            if part is not None:
                part.close()
        if self.bar is not None:
            self.bar.stop()

    def _eta(self, step: int) -> str:
        done = step - self.start
        left = (time.monotonic() - self.begun) / done * (self.total - step) if done else 0.0
        return f"  ETA {int(left) // 3600}:{int(left) // 60 % 60:02}:{int(left) % 60:02}"


def speeds(begun: float, waited: float, n_rows: int) -> dict[str, float]:
    """``TIMES``: seconds since ``begun`` (of time.monotonic), rows learned from per second, share of the time not spent waiting for data."""
    seconds = max(time.monotonic() - begun, 1e-9)
    return dict(zip(TIMES, (seconds, n_rows / seconds, 1 - waited / seconds), strict=True))


def _text(values: Mapping[str, float], metric: str = "loss") -> str:
    """loss 0.693  macro_auroc 0.91 …: the first few and the one that chooses the best checkpoint; metrics.jsonl has all."""
    first = ["loss", *TIMES[1:]]
    names = [name for name in values if name not in (*first, "seconds", "epoch", "lr", "gradient_norm", "weight")]
    chosen = [*TIMES[1:], "loss", *names[:_SHOWN], *(name for name in names[_SHOWN:] if name == metric)]
    units = {"samples_per_second": "{:.0f} segments/s", "utilisation": "{:.0%} busy"}
    return "  ".join(units.get(name, name + " {:.4g}").format(values[name]) for name in chosen if name in values)


def _live_line(total: int, start: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(bar_width=12), MofNCompleteColumn(), TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[values]}"))
    bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=4)
    task = bar.add_task("", total=total, completed=start, values="")
    bar.start()
    return bar, task


def _tensorboard(run: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise EinthovenError("tensorboard=true needs the package tensorboard: pip install 'einthoven[tensorboard]'") from None
    return SummaryWriter(str(run / "tensorboard"), purge_step=start + 1 if start else None)
