"""Commands about recordings as they are: draw one, write it in another format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from einthoven.cli.terminal import progress_bar
from einthoven.errors import EinthovenError

if TYPE_CHECKING:
    from einthoven.record import Record


def show(
    file: Annotated[str, typer.Argument(help="a recording; or a store, or a file of many recordings, with --record")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG, PDF or SVG; by default <recording>.png in this folder")] = None,
    layout: Annotated[str, typer.Option(help="3x4, 6x2, 12x1; auto takes what suits the leads and the length")] = "auto",
    start: Annotated[float, typer.Option(min=0.0, help="first second to show")] = 0.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="how many seconds to show; with --pages on each page")] = None,
    speed: Annotated[float, typer.Option(min=1.0, help="mm/s")] = 25.0,
    gain: Annotated[float, typer.Option(min=0.1, help="mm/mV")] = 10.0,
    pages: Annotated[bool, typer.Option("--pages", help="the whole recording, page after page, as one PDF")] = False,
    record: Annotated[
        str | None, typer.Option(help="which one of a store (its id, or its number in the table), or of a file of many", show_default=False)
    ] = None,
) -> None:
    """The tracing on ECG paper (25 mm/s, 10 mm/mV), as PNG, PDF or SVG.

    einthoven show recording.xml

    einthoven show STORE --record JS20014
    """
    from einthoven.plot.paper import draw_pages, draw_paper, save

    shown = _recording(file, record)
    name = Path(file).stem if record is None else (shown.record or record).replace("/", "_")
    target = out or Path(f"{name}.{'pdf' if pages else 'png'}")
    if pages and target.suffix.lower() != ".pdf":
        raise EinthovenError(f"--out {target}: pages go into one PDF; give a name that ends in .pdf, or leave --pages away")
    draw: Any = draw_pages if pages else draw_paper
    save(draw(shown, speed=speed, gain=gain, layout=None if layout == "auto" else layout, start=start, seconds=seconds), target)
    print(f"{shown}\nwritten: {target}")


def _recording(place: str, record: str | None) -> Record:
    """A recording of its own file, of a store, or of a file that holds many."""
    from einthoven.io import read
    from einthoven.store.layout import FACTS, store_location

    where = store_location(place)
    if isinstance(where, Path) and not (where / FACTS).is_file():
        return read(where) if record is None else read(where, record=record)
    from einthoven.store.read import Store

    store = Store(place)
    if record is None:
        raise EinthovenError(f"{place} is a store of {len(store):,} recordings: name one with --record; its records.parquet lists them")
    rows = store.where(record=record).tolist()
    if not rows and record.isdigit() and int(record) < len(store):
        rows = [int(record)]
    if not rows:
        raise EinthovenError(f"{place}: has no recording {record!r}; its ids look like {store.column('record')[0]!r}")
    if len(rows) > 1:
        raise EinthovenError(
            f"{place}: {len(rows)} corpora have a recording {record!r}; name one by its number: {', '.join(map(str, rows))}"
        )
    return store.record(rows[0])


def convert_signal(
    files: Annotated[list[Path], typer.Argument(help="recordings of any format, or folders of them")],
    out: Annotated[Path, typer.Option("--out", "-o", help="a folder; or, for one recording, a file whose ending says the format")],
    to: Annotated[
        str | None,
        typer.Option(
            help="wfdb, edf, dicom, aecg, csv, tsv (or an ending): the format that is written into the folder", show_default=False
        ),
    ] = None,
    fs: Annotated[float | None, typer.Option(help="Hz, of files that do not say it")] = None,
    unit: Annotated[str | None, typer.Option(help="mV, uV or V, of files that do not say it")] = None,
    leads: Annotated[str | None, typer.Option(help="names, separated by commas, of files that do not say them: I,II,V1")] = None,
    workers: Annotated[int, typer.Option("--workers", "-j", min=1, help="processes")] = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="make again what is there")] = False,
) -> None:
    """Recordings from any format that is read into any that is written.

    einthoven convert-signal exports/ --to dicom --out dicom/

    einthoven convert-signal recording.xml --out recording.edf

    A file that cannot be converted is listed with its reason, and the others go on; the exit code is then 1.
    """
    from einthoven import io
    from einthoven.io.converting import convert_files
    from einthoven.io.keeping import lost

    said = {"fs": fs, "unit": unit, "names": None if leads is None else tuple(leads.split(","))}
    told: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
    if to is None:
        if out.suffix.lower() not in io.SUFFIXES:
            raise EinthovenError(f"--out {out}: a folder needs --to FORMAT; a file ends in {', '.join(io.SUFFIXES)}")
        if len(files) != 1 or files[0].is_dir():
            raise EinthovenError(f"--out {out}: is one file; for several recordings give a folder and --to {out.suffix[1:].lower()}")
        if out.exists() and not overwrite:
            raise EinthovenError(f"--out {out}: is there already; add --overwrite, or give another name")
        record = io.read(files[0], **told)
        io.write(record, out)
        print(f"{record}\nwritten: {out}")
        if missing := lost(record, io.SUFFIXES[out.suffix.lower()]):
            print(without(missing, out.suffix[1:]))
        return
    with progress_bar("converting") as report:
        outcomes = convert_files(files, out, to, progress=report, workers=workers, overwrite=overwrite, told=told)
    failed = [item for item in outcomes if item.problem is not None]
    there = sum(item.was_there for item in outcomes)
    for item in failed[:20]:
        print(f"not converted: {item.source}: {item.problem}")
    if len(failed) > 20:
        print(f"… and {len(failed) - 20} more")
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} recordings in {out}{f', {there} were there already' if there else ''}")
    if gone := Counter(field for item in outcomes for field in item.lost):
        print(without([f"{field} of {n:,}" for field, n in gone.items()], to))
    if failed:
        raise typer.Exit(1)


def without(fields: Sequence[str], format: str) -> str:
    return f"without {', '.join(fields)}: {format} has no place for {'it' if len(fields) == 1 else 'them'}"
