"""Commands about recordings: make them, take them in, look at them, check them, hand them on."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any

import typer

from einthoven.cli.terminal import cores, nearest, parts_of, print_rich, progress_bar
from einthoven.errors import EinthovenError

Workers = Annotated[int | None, typer.Option("--workers", "-j", help="processes; by default one per core")]


def simulate(
    folder: Annotated[Path, typer.Argument(help="where to write the corpus")],
    records: Annotated[int, typer.Option(min=1, help="number of recordings")] = 500,
    patients: Annotated[int | None, typer.Option(min=1, help="number of persons; by default two recordings each")] = None,
    seed: Annotated[int, typer.Option(help="the same seed gives the same files")] = 1,
    seconds: Annotated[float, typer.Option(min=1.0, help="length of a recording")] = 10.0,
    fs: Annotated[float, typer.Option(min=100.0, help="sampling frequency, Hz")] = 500.0,
    workers: Workers = None,
) -> None:
    """The synthetic heart: a WFDB corpus in the PhysioNet 2021 layout, with its truth.

    A dipole model projected to twelve leads: rhythms, conduction, ischaemia, hypertrophy, noise; persons who are recognisable
    between visits. Labels are SNOMED CT codes in the headers; wave boundaries are WFDB annotations (.atr); truth.csv has the rest.
    """
    from einthoven.simulate.corpus import write_corpus

    persons = patients or max(1, records // 2)
    with progress_bar("simulating") as report:
        try:
            write_corpus(
                folder, records=records, patients=persons, seed=seed, seconds=seconds, fs=fs, workers=workers or cores(), progress=report
            )
        except ValueError as error:  # more patients than records, or another corpus in the folder
            raise EinthovenError(str(error)) from error
    print(f"{records} recordings in {folder}")
    print(f"next: einthoven ingest physionet2021 {folder} STORE")


def ingest(
    source: Annotated[str, typer.Argument(help="ptbxl, physionet2021, cinc2020, cpsc2018, zheng, ribeiro, or folder for your own")],
    path: Annotated[Path, typer.Argument(help="the corpus as it was downloaded, or your own folder")],
    store: Annotated[Path, typer.Argument(help="the store to write")],
    fs: Annotated[float, typer.Option(min=20.0, help="the store's sampling frequency, Hz; other recordings are resampled")] = 500.0,
    resampling: Annotated[
        str, typer.Option(help="polyphase (anti-aliased); linear, linear-fractional, fft, image and spline are the old systems' ways")
    ] = "polyphase",
    subset: Annotated[str | None, typer.Option(help="only these parts of the corpus, e.g. cpsc_2018,georgia")] = None,
    workers: Workers = None,
    shards: Annotated[
        str | None, typer.Option(help="i/n: make only the i-th of n parts (a job array); run once without it to finish")
    ] = None,
) -> None:
    """Read, check and convert recordings once, into a store.

    One pass: read, check, order the leads, resample, int16. Stopped at any moment and run again, it goes on where it was. What
    cannot be used is listed with its reason in STORE/rejected.csv; nothing is lost without a word.
    """
    from einthoven.sources import SOURCES
    from einthoven.store.ingest import ingest as run

    if source not in SOURCES:
        raise EinthovenError(f"there is no source {source!r}; there are {', '.join(SOURCES)}{nearest(source, SOURCES)}")
    if subset and "subset" not in inspect.signature(SOURCES[source].records).parameters:
        raise EinthovenError(f"--subset: {source} has no named parts; leave it away, or give the folder of the part as PATH")
    part = parts_of(shards)
    options = {"subset": tuple(subset.split(","))} if subset else {}
    with progress_bar("ingesting") as report:
        summary = run(
            source,
            path,
            store,
            fs=fs,
            resampling=resampling,
            workers=workers,
            shards=part,
            progress=lambda at: report(at.n_done, at.n_total),
            source_options=options,
        )
    print(summary)


def split(
    store: Annotated[Path, typer.Argument(help="a store")],
    strategy: Annotated[str, typer.Option(help="random, stratified (by label), or fold (the published folds)")] = "random",
    fractions: Annotated[str, typer.Option(help="train, valid, test")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="the same seed gives the same split")] = 1,
) -> None:
    """Divide a store into train, valid and test, always by patient."""
    from einthoven.store.read import Store
    from einthoven.store.split import assign
    from einthoven.store.split import split as divide

    try:
        shares = tuple(float(share) for share in fractions.split(","))
    except ValueError:
        raise EinthovenError(f"--fractions: expected three numbers such as 0.8,0.1,0.1; got {fractions}") from None
    if abs(sum(shares) - 1) > 1e-6:
        raise EinthovenError(f"--fractions: expected three numbers that sum to 1; {fractions} sum to {sum(shares):g}")
    column = divide(Store(store), strategy=strategy, fractions=shares, seed=seed)
    assign(store, column, {"strategy": strategy, "fractions": shares, "seed": seed, "by": "patient"})
    print(", ".join(f"{name} {(column == name).sum()}" for name in ("train", "valid", "test")))


def store(store: Annotated[Path, typer.Argument(help="a store")]) -> None:
    """Print what is inside a store."""
    from einthoven.report.table import store_table
    from einthoven.store.read import Store

    print_rich(store_table(Store(store)))


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
