"""What every command needs of a terminal: progress, tables, and a word for what was probably meant."""

from __future__ import annotations

import difflib
import os
import sys
import time
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from einthoven.errors import EinthovenError

Workers = Annotated[int | None, typer.Option("--workers", "-j", min=1, help="processes; by default one per core")]

LINE_EVERY = 30.0
"""Seconds between two lines of progress in a log file."""


def progress_bar(what: str) -> Any:
    """Progress on standard error, as a context manager that gives ``report(done, total)``: a bar, or now and then a line where nobody watches.

    ``report(done, total, what)`` goes on with something else; a total of None is not known.
    """
    from contextlib import contextmanager

    @contextmanager
    def bar():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            rows = {what: progress.add_task(what, total=None, rate="")}

            def report(done: int, total: int | None, what: str = what) -> None:
                if what not in rows:
                    rows[what] = progress.add_task(what, total=None, rate="")
                speed = progress.tasks[rows[what]].speed
                progress.update(rows[what], completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

            yield report

    @contextmanager
    def lines():
        begun, spoke = {what: time.monotonic()}, time.monotonic()

        def report(done: int, total: int | None, what: str = what) -> None:
            nonlocal spoke
            now = time.monotonic()
            begun.setdefault(what, now)
            if now - spoke >= LINE_EVERY:
                spoke = now
                far = f"{done} of {total}" if total else f"{done} so far"
                print(f"{what}: {far}, {done / max(now - begun[what], 1e-9):.0f}/s", file=sys.stderr, flush=True)

        yield report

    return bar() if sys.stderr.isatty() else lines()


def parts_of(shards: str | None) -> tuple[int, int] | None:
    """``--shards 3/16`` as (2, 16)."""
    if shards is None:
        return None
    first, slash, count = shards.partition("/")
    if not (slash and first.isdigit() and count.isdigit() and 1 <= int(first) <= int(count)):
        raise EinthovenError(f"--shards: expected i/n with 1 <= i <= n, such as 3/16; got {shards}")
    return int(first) - 1, int(count)


def nearest(name: str, names: Iterable[str]) -> str:
    """What was probably meant, for the end of a sentence."""
    close = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {close[0]}?" if close else ""


def print_rich(table: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140).print(table)
