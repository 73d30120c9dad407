"""What can be taken in: the corpora with their facts and options, and the file formats."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from einthoven import io
from einthoven.sources import SOURCES
from einthoven.sources.options import parameters_of

if TYPE_CHECKING:
    from rich.table import Table


def corpora_table() -> Table:
    """Every source with the numbers that its publishers give."""
    from rich.table import Table

    table = Table(title="Corpora: einthoven ingest NAME ROOT STORE", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for name in ("name", "corpus"):
        table.add_column(name, no_wrap=name == "name")
    for name in ("recordings", "patients", "Hz"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("labels", "licence", "options"):
        table.add_column(name)
    for name, module in SOURCES.items():
        facts = module.FACTS
        table.add_row(
            name,
            f"{facts.name} {facts.version or ''}".strip() if name != "folder" else (module.__doc__ or "").split(":")[0].split("\n")[0],
            *("" if number is None else f"{number:,.10g}" for number in (facts.records, facts.patients, facts.fs)),
            facts.label_system or "",
            facts.licence or "",
            ", ".join(parameters_of(name)),
        )
    return table


def corpus_table(name: str) -> Table:
    """One source: what it says of itself, its layout, and its options with what they mean."""
    from rich.table import Table
    from rich.text import Text

    module = SOURCES[name]
    facts = module.FACTS
    table = Table(title=f"{name}: {facts.name}", title_justify="left", show_header=False, box=None, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    said = {
        "version": facts.version,
        "recordings": None if facts.records is None else f"{facts.records:,}",
        "patients": None if facts.patients is None else f"{facts.patients:,}",
        "labels": facts.label_system,
        "licence": facts.licence,
        "cite": facts.citation,
        "from": facts.url,
        "expected": module.LAYOUT,
    }
    for key, value in said.items():
        if value:
            table.add_row(key, Text(value))
    for option, parameter in parameters_of(name).items():
        table.add_row(f"--option {option}=", Text(f"{_meaning(module.records, option)} (default: {_shown(parameter.default)})"))
    table.add_row("about", Text(inspect.cleandoc(module.__doc__ or "")))
    return table


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


def _meaning(function: object, option: str) -> str:
    """The line of a docstring that begins with the option's name."""
    for line in inspect.cleandoc(getattr(function, "__doc__", "") or "").splitlines():
        names, colon, rest = line.partition(":")
        if colon and option in [name.strip() for name in names.split(",")]:
            return rest.strip()
    return ""


def _shown(default: object) -> str:
    return "all" if default == () else "none" if default in (None, "") else str(default)
