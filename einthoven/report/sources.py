"""What can be taken in: the corpora with their facts and options, and the file formats."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from einthoven import io
from einthoven.sources import SOURCES, Facts
from einthoven.sources.options import meanings_of, parameters_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

_WIDEST = 110
"""Columns; in longer lines an eye loses its place."""

_FROM_WIDTH = {"labels": 96, "licence": 120, "options": 136}
"""Column of the table of corpora -> the width from which there is room for it."""

_ITEM = re.compile(r" {3,}")


def corpora_table() -> RenderableType:
    """Every source with the numbers that its publishers give, and with as much more as the terminal has room for."""
    return _Corpora()


class _Corpora:
    """A table whose columns depend on the width that it is given."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.table import Table

        more = [name for name, least in _FROM_WIDTH.items() if options.max_width >= least]
        table = Table(
            title="Corpora: einthoven ingest NAME FOLDER STORE", title_justify="left", box=None, pad_edge=False, header_style="dim"
        )
        table.add_column("name", no_wrap=True)
        table.add_column("corpus", overflow="fold")
        for name in ("recordings", "patients", "Hz"):
            table.add_column(name, justify="right", no_wrap=True)
        for name in more:
            table.add_column(name, overflow="fold")
        for name, module in SOURCES.items():
            facts: Facts = module.FACTS
            texts = {"labels": facts.label_system or "", "licence": facts.licence or "", "options": ", ".join(parameters_of(name))}
            table.add_row(
                name,
                f"{facts.name} {facts.version or ''}".strip() if name != "folder" else "any folder of ECG files",
                *("" if number is None else f"{number:,.10g}" for number in (facts.records, facts.patients, facts.fs)),
                *(texts[column] for column in more),
            )
        yield table
        yield "[dim]einthoven sources NAME: where to get it, its licence, how its folder looks, its options[/dim]"


def corpus_table(name: str) -> RenderableType:
    """One source, to read before it is fetched: what it is, where it is, how its folder looks, the command, its options, what is known of it.

    Lines are as long as the terminal, up to a length that can be read.
    """
    from rich.console import Group
    from rich.constrain import Constrain
    from rich.text import Text

    module = SOURCES[name]
    facts: Facts = module.FACTS
    what, _, more = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    title = facts.name if facts.version is None else f"{facts.name} {facts.version}"
    options = parameters_of(name)
    # An option without a usable default has to be there.
    needed = "".join(f" --option {option}=…" for option, parameter in options.items() if parameter.default == "")
    said = {
        "get it from": facts.url,
        "licence": facts.licence,
        "cite": facts.citation,
        "recordings": _counted(facts.records, facts.patients),
        "other versions": "\n".join(
            f"{version} has {_counted(of.records, of.patients)}" for version, of in getattr(module, "VERSIONS", {}).items()
        ),
        "rate": " or ".join(f"{fs:g} Hz" for fs in (facts.fs, *getattr(module, "OTHER_FS", ())) if fs is not None),
        "labels": facts.label_system,
        "its parts": _parts(getattr(module, "DATASETS", {})),
        "the folder": module.LAYOUT,
        "the command": f"einthoven ingest {name} FOLDER STORE{needed}",
    }
    grid = _grid()
    for key, value in said.items():
        if value:
            grid.add_row(key, Text(value))
    blocks: list[RenderableType] = [Text(name if name == title else f"{name}: {title}", "bold"), _reflowed(what), Text(), grid]
    if options:
        table, meanings = _grid(), meanings_of(name)
        for option, parameter in options.items():
            table.add_row(f"--option {option}=", Text(f"{_plain(meanings.get(option, ''))} ({_default(parameter.default)})"))
        blocks += [Text(), table]
    for paragraph in more.split("\n\n"):
        if paragraph:
            blocks += [Text(), _reflowed(paragraph)]
    return Constrain(Group(*blocks), _WIDEST)


def formats_table() -> Table:
    """The formats by name: read, and written."""
    from rich.table import Table

    table = Table(title="File formats, found by content", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for name in ("format", "written by einthoven convert-signal"):
        table.add_column(name)
    endings = {kind: suffix for suffix, kind in reversed(io.SUFFIXES.items())}
    for name in io.READERS:
        table.add_row(name, f"yes, {endings[name]}" if name in io.WRITERS and name in endings else "")
    return table


def _grid() -> Table:
    from rich.table import Table

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _counted(records: int | None, patients: int | None) -> str:
    if records is None:
        return ""
    return f"{records:,}" if patients is None else f"{records:,} of {patients:,} patients"


def _parts(datasets: Mapping[str, Facts]) -> str:
    return ", ".join(f"{name} ({part.records:,} at {part.fs:g} Hz)" for name, part in datasets.items())


def _reflowed(paragraph: str) -> RenderableType:
    """A paragraph of a docstring without its line breaks; "- item" and "name   what it is" begin lines of their own."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    pieces: list[str] = []
    for line in paragraph.splitlines():
        if not pieces or line.startswith("- ") or _ITEM.search(line):
            pieces.append(line)
        else:
            pieces[-1] = f"{pieces[-1]} {line.strip()}"
    lines: list[RenderableType] = []
    for piece in pieces:
        is_item = piece.startswith("- ") or _ITEM.search(piece) is not None
        text = Text(_plain(_ITEM.sub(": ", piece.removeprefix("- "))))
        lines.append(Padding(text, (0, 0, 0, 2)) if is_item else text)
    return Group(*lines)


def _plain(text: str) -> str:
    return text.replace("``", "")


def _default(default: object) -> str:
    if default == "":
        return "needed"
    if default is None or default == ():
        return f"default: {'none' if default is None else 'all'}"
    return f"default: {str(default).lower() if isinstance(default, bool) else default}"
