"""Commands about recordings: make them, take them in, look at them, check them, hand them on."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
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
    append: Annotated[bool, typer.Option("--append", help="add the corpus to a store that is there")] = False,
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
    from einthoven.sources import SOURCES
    from einthoven.sources.options import options_of
    from einthoven.store.cluster import cluster
    from einthoven.store.ingest import ingest as run

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
    for line in summary.differences:
        print(f"note: {line}")


def split(
    store: Annotated[str, typer.Argument(help="a store")],
    strategy: Annotated[
        str,
        typer.Option(help="random, stratified (by label), fold (the published folds), or source (whole data sets are left for testing)"),
    ] = "random",
    fractions: Annotated[str, typer.Option(help="train, valid, test")] = "0.8,0.1,0.1",
    seed: Annotated[int, typer.Option(help="the same seed gives the same split")] = 1,
    valid: Annotated[str | None, typer.Option(help="the folds (9) or data sets that validate, separated by commas")] = None,
    test: Annotated[str | None, typer.Option(help="the folds (10) or data sets that test")] = None,
    table: Annotated[
        Path | None, typer.Option(help="a CSV that says it: columns split, and save_file as ECG-FM published it, or record")
    ] = None,
    absent: Annotated[
        str, typer.Option(help="with --table, recordings that it does not name: none (in no part), keep, train, valid, test")
    ] = "none",
    shared: Annotated[
        str, typer.Option(help="with --table, where it parts a patient's recordings: refuse, or allow (all go where most are)")
    ] = "refuse",
) -> None:
    """Divide a store into train, valid and test, always by patient.

    einthoven split STORE --strategy source --test georgia,ptb-xl

    einthoven split STORE --table meta_split_physionet.csv
    """
    from einthoven.store.published_split import split_from_table
    from einthoven.store.read import Store
    from einthoven.store.split import assign
    from einthoven.store.split import split as divide

    opened = Store(store)
    rule: dict[str, Any]
    if table is not None:
        column, rule = split_from_table(opened, table, absent=absent, shared=shared)
    else:
        try:
            shares = tuple(float(share) for share in fractions.split(","))
        except ValueError:
            raise EinthovenError(f"--fractions: expected three numbers such as 0.8,0.1,0.1; got {fractions}") from None
        if abs(sum(shares) - 1) > 1e-6:
            raise EinthovenError(f"--fractions: expected three numbers that sum to 1; {fractions} sum to {sum(shares):g}")
        if strategy not in ("fold", "source") and (valid or test):
            raise EinthovenError(f"--valid and --test name folds or data sets: add --strategy fold or --strategy source; got {strategy}")
        named: dict[str, Any] = {
            f"{part}_{strategy}": tuple(names.split(",")) for part, names in (("valid", valid), ("test", test)) if names
        }
        column = divide(opened, strategy=strategy, fractions=shares, seed=seed, **named)
        rule = {"strategy": strategy, "fractions": shares, "seed": seed, "by": "patient", **named}
    assign(store, column, rule)
    outside = sum(part is None for part in column.tolist())
    said = ", ".join(f"{name} {(column == name).sum()}" for name in ("train", "valid", "test"))
    print(f"{said}, in no part {outside}" if outside else said)


def store(
    store: Annotated[str, typer.Argument(help="a store: its folder, or a URL (s3://…)")],
    html: Annotated[
        Path | None, typer.Option(help="write a page: how labels, ages and lengths are spread, and tracings of a sample")
    ] = None,
    records: Annotated[int, typer.Option(min=1, max=1000, help="tracings on the page")] = 24,
    where: Annotated[str | None, typer.Option(help="draw the sample from these: 'age >= 18 and sex == female'")] = None,
    seed: Annotated[int, typer.Option(help="another seed, another sample")] = 1,
) -> None:
    """Print what is inside a store; with --html a page to look through."""
    from einthoven import whole
    from einthoven.report.samples import samples_html
    from einthoven.report.table import store_table
    from einthoven.store.read import Store
    from einthoven.store.where import select

    opened = Store(store)
    if html is None:
        if where is not None:
            raise EinthovenError("--where chooses what --html draws; add --html PAGE.html")
        print_rich(store_table(opened))
        return
    rows = None if where is None else select(opened, where)
    if rows is not None and not len(rows):
        raise EinthovenError(f"--where {where!r}: none of the {len(opened):,} recordings is such")
    with progress_bar("drawing") as report:
        text = samples_html(opened, rows=rows, n_records=records, seed=seed, progress=report)
    whole.write_text(html, text)
    print(f"written: {html}")


def audit(
    stores: Annotated[list[str], typer.Argument(help="one store or several: copies are looked for across them")],
    html: Annotated[Path | None, typer.Option(help="write a page: counts, and tracings of the worst, with what to do")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="a folder for audit.json, suspicions.csv and copies.csv")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="leave the stores' tables as they are")] = False,
    workers: Workers = None,
) -> None:
    """Look at every recording: copies, patients on two sides of a split, units and leads in doubt, flat, clipped and noisy leads, labels.

    einthoven audit STORE --html audit.html

    What is found goes into the table, where it can choose: einthoven pretrain … where="quality.ok and age >= 18"
    """
    from einthoven import whole
    from einthoven.report.audit import audit_html
    from einthoven.report.audit_table import audit_table
    from einthoven.store.audit import audit as run

    with progress_bar("auditing") as report:
        found = run(stores, workers=workers, out=out, write=not dry, progress=report)
    for table in audit_table(found):
        print_rich(table)
    if html is not None:
        with progress_bar("drawing") as report:
            whole.write_text(html, audit_html(found, progress=report))
        print(f"written: {html}")
    if out is not None:
        print(f"written: {out}")


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


def export(
    store: Annotated[str, typer.Argument(help="a store")],
    folder: Annotated[Path, typer.Argument(help="the folder to write")],
    to: Annotated[str, typer.Option("--as", help="fairseq-signals, fairseq-signals-old (the pipeline before it), or ecg-selfsupervised")],
    fs: Annotated[
        float | None, typer.Option(help="Hz; by default 500 for fairseq-signals, 100 for ecg-selfsupervised", show_default=False)
    ] = None,
    seconds: Annotated[float, typer.Option(help="length of a segment (fairseq-signals)")] = 5.0,
) -> None:
    """A store as the files that an old system reads: .mat, tables, manifests, labels; or memory maps."""
    from importlib import import_module

    modules = {
        "fairseq-signals": "einthoven.store.export_fairseq",
        "fairseq-signals-old": "einthoven.store.export_fairseq_old",
        "ecg-selfsupervised": "einthoven.store.export_ecg_selfsupervised",
    }
    if to not in modules:
        raise EinthovenError(f"--as {to}: expected {', '.join(modules)}{nearest(to, modules)}")
    options: dict[str, Any] = {} if fs is None else {"fs": fs}
    if to != "ecg-selfsupervised":
        options["seconds"] = seconds
    with progress_bar("writing") as report:
        print(import_module(modules[to]).export(store, folder, progress=report, **options))


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
