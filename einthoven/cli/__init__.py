"""The command line. Each command is a few lines over a function that can be called from Python as well.

This package imports neither torch nor anything else that is slow, so that help and completion are there at once.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from einthoven.cli import answers, corpora, learning, recordings, stores
from einthoven.errors import EinthovenError

__all__ = ["app", "main"]


GOES_ON = ("ingest", "export", "convert-signal", "bench")
"""Commands that, stopped and given again, go on where they were. Training says for itself how it goes on."""


class Terminated(KeyboardInterrupt):
    """Somebody else's Ctrl-C: SIGTERM, by which a queue or a container ends a process. Workers are ended and files closed as on Ctrl-C."""


class Commands(TyperGroup):
    """The commands, of which each ends in one line on Ctrl-C; typer alone would end it without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            kept = "; what is done is kept, and the same command goes on from there" if ctx.invoked_subcommand in GOES_ON else ""
            print(f"einthoven: stopped{kept}", file=sys.stderr)
            raise typer.Exit(143 if isinstance(stop, Terminated) else 130) from None


app = typer.Typer(
    name="einthoven",
    cls=Commands,
    help="Self-supervised learning on the electrocardiogram, from raw files to an answer one can check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: einthoven demo. Each command explains itself: einthoven ingest --help",
)


def version(wanted: bool) -> None:
    if wanted:
        from einthoven import __version__

        print(f"einthoven {__version__}")
        raise typer.Exit


@app.callback()
def common(
    _: Annotated[bool, typer.Option("--version", callback=version, is_eager=True, help="print the version and stop")] = False,
) -> None:
    """Self-supervised learning on the electrocardiogram, from raw files to an answer one can check."""


for panel, commands in {
    "Recordings": (
        *(corpora.simulate, corpora.sources, corpora.ingest, stores.split, stores.store, stores.audit),
        *(recordings.show, recordings.convert_signal, stores.export),
    ),
    "Learning": (learning.pretrain, learning.finetune, learning.resume, learning.evaluate, learning.bench, learning.methods),
    "Answers": (answers.predict, answers.convert, answers.demo),
}.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def main() -> None:
    """Run the command line; an error that a person can mend is one line and exit code 2. EINTHOVEN_TRACEBACK=1 shows where it was raised."""
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except (EinthovenError, OSError) as error:
        if os.environ.get("EINTHOVEN_TRACEBACK"):
            raise
        print(f"einthoven: {' '.join(explain(error).split())}", file=sys.stderr)
        sys.exit(2)
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: Any) -> None:
    raise Terminated


def explain(error: Exception) -> str:
    """The text of an error; that of the operating system begins with the file, as ours do."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; is the path right, may it be read or written, is there room on the disk?"
    if isinstance(error, OSError) and error.strerror:  # a full disk is told without the file's name
        return f"{error.strerror}; make room or mend it, and run the same again."
    return str(error)
