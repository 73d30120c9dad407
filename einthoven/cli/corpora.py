"""Commands that bring recordings into a store: made, listed, taken in."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from einthoven.cli.terminal import Workers, nearest, parts_of, print_rich, progress_bar
from einthoven.errors import EinthovenError

REASONS = 10
"""Reasons of rejected recordings that ingest prints; rejected.csv has them all."""


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
    from einthoven.ingest.workers import available
    from einthoven.simulate.corpus import write_corpus

    persons = patients or max(1, records // 2)
    with progress_bar("simulating") as report:
        try:
            write_corpus(
                folder,
                records=records,
                patients=persons,
                seed=seed,
                seconds=seconds,
                fs=fs,
                workers=workers or available(),
                progress=report,
            )
        except ValueError as error:  # more patients than records, or another corpus in the folder
            raise EinthovenError(str(error)) from error
    print(f"{records} recordings in {folder}")
    print(f"next: einthoven ingest physionet2021 {folder} STORE")


def sources(
    name: Annotated[str | None, typer.Argument(help="a corpus, to see its layout and options", show_default=False)] = None,
) -> None:
    """The corpora that can be ingested, with their facts and options, and the file formats that are read and written."""
    from einthoven.report.sources import corpora_table, corpus_table, formats_table
    from einthoven.sources import SOURCES

    if name is not None and name not in SOURCES:
        raise EinthovenError(f"there is no source {name!r}; there are {', '.join(SOURCES)}{nearest(name, SOURCES)}")
    for table in (corpora_table(), formats_table()) if name is None else (corpus_table(name),):
        print_rich(table)


def ingest(
    source: Annotated[
        str, typer.Argument(help="a corpus such as ptbxl or mimic_iv_ecg (einthoven sources lists them), or folder for your own")
    ],
    path: Annotated[Path, typer.Argument(help="the corpus as it was downloaded, or your own folder")],
    store: Annotated[Path, typer.Argument(help="the store to write")],
    fs: Annotated[
        float | None, typer.Option(min=20.0, help="the store's sampling frequency, Hz; other recordings are resampled", show_default="500")
    ] = None,
    resampling: Annotated[
        str | None,
        typer.Option(
            help="polyphase (anti-aliased); linear, linear-fractional, fft, image and spline are the old systems' ways",
            show_default="polyphase",
        ),
    ] = None,
    subset: Annotated[str | None, typer.Option(help="only these parts of the corpus, e.g. cpsc_2018,georgia")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="KEY=VALUE", help="an option of the source: einthoven sources NAME lists them"),
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="add to the store that is there: another corpus, or what came to this one since")
    ] = False,
    name: Annotated[
        str | None,
        typer.Option(help="what the corpus is called in the store, where two of one source would be mixed", show_default="SOURCE"),
    ] = None,
    workers: Workers = None,
    scheduler: Annotated[
        str | None, typer.Option(help="several machines: the address of a dask scheduler, tcp://host:8786; local:4 tries it here")
    ] = None,
    shards: Annotated[
        str | None, typer.Option(help="i/n: make only the i-th of n parts (a job array); run once without it to finish")
    ] = None,
) -> None:
    """Read, check and convert recordings once, into a store.

    One pass: read, check, order the leads, resample, int16. Stopped at any moment and run again, it goes on where it was. What
    cannot be used is listed with its reason in STORE/rejected.csv; nothing is lost without a word.
    """
    from einthoven.ingest.cluster import cluster
    from einthoven.ingest.run import ingest as run
    from einthoven.sources import SOURCES
    from einthoven.sources.options import options_of

    if source not in SOURCES:
        raise EinthovenError(f"there is no source {source!r}; there are {', '.join(SOURCES)}{nearest(source, SOURCES)}")
    if subset and "subset" not in inspect.signature(SOURCES[source].records).parameters:
        raise EinthovenError(f"--subset: {source} has no named parts; leave it away, or give the folder of the part as PATH")
    part = parts_of(shards)
    options = options_of(source, [*(option or []), *([f"subset={subset}"] if subset else [])])
    with progress_bar("ingesting") as report, nullcontext() if scheduler is None else cluster(scheduler) as executor:
        summary = run(
            source,
            path,
            store,
            fs=fs,
            resampling=resampling,
            workers=workers,
            executor=executor,
            shards=part,
            append=append,
            name=name,
            progress=lambda at: report(at.n_done, at.n_total),
            source_options=options,
        )
    print(summary)
    for reason, n in summary.rejections[:REASONS]:
        print(f"{n:>7,} × {reason}")
    if len(summary.rejections) > REASONS:
        print(f"        … and {len(summary.rejections) - REASONS} more reasons")
    for line in summary.differences:
        print(f"note: {line}")
