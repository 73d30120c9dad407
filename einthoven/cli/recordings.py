"""Commands about recordings as they are: draw one, write it in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from einthoven.cli.terminal import progress_bar
from einthoven.errors import EinthovenError


def show(
    file: Annotated[Path, typer.Argument(help="a recording")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG, PDF or SVG; by default <recording>.png in this folder")] = None,
    layout: Annotated[str, typer.Option(help="3x4, 6x2, 12x1; auto takes what suits the leads and the length")] = "auto",
    start: Annotated[float, typer.Option(min=0.0, help="first second to show")] = 0.0,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="how many seconds to show; with --pages on each page")] = None,
    speed: Annotated[float, typer.Option(min=1.0, help="mm/s")] = 25.0,
    gain: Annotated[float, typer.Option(min=0.1, help="mm/mV")] = 10.0,
    pages: Annotated[bool, typer.Option("--pages", help="the whole recording, page after page, as one PDF")] = False,
) -> None:
    """The tracing on ECG paper (25 mm/s, 10 mm/mV), as PNG, PDF or SVG."""
    from einthoven.io import read
    from einthoven.plot.paper import draw_pages, draw_paper, save

    record = read(file)
    target = out or Path(f"{file.stem}.{'pdf' if pages else 'png'}")
    if pages and target.suffix.lower() != ".pdf":
        raise EinthovenError(f"--out {target}: pages go into one PDF; give a name that ends in .pdf, or leave --pages away")
    draw: Any = draw_pages if pages else draw_paper
    save(draw(record, speed=speed, gain=gain, layout=None if layout == "auto" else layout, start=start, seconds=seconds), target)
    print(f"{record}\nwritten: {target}")


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
    if failed:
        raise typer.Exit(1)
