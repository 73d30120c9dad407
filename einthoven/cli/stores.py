"""Commands about a store: divide it, look at it, check it, hand it on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from einthoven.cli.terminal import Workers, nearest, print_rich, progress_bar
from einthoven.errors import EinthovenError

TELL_ROOM = 1e9
"""Bytes of disk of which an audit speaks before it begins."""


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
    folds: Annotated[
        int | None,
        typer.Option(help="with --strategy stratified: so many folds by label, sex and age, as PTB-XL's were made", show_default=False),
    ] = None,
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

    einthoven split STORE --strategy stratified --folds 10 --valid 1 --test 2

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
    elif folds is not None:
        from einthoven.store.stratify import parts, stratified_folds

        if strategy != "stratified":
            raise EinthovenError(f"--folds: are made by --strategy stratified; got {strategy}")
        chosen = {"valid": tuple((valid or str(folds - 1)).split(",")), "test": tuple((test or str(folds)).split(","))}
        column = parts(stratified_folds(opened, folds, seed=seed), **chosen)
        held = [len(chosen[part]) / folds for part in ("valid", "test")]
        fractions_of = [1 - sum(held), *held]  # for patients who come later
        rule = {"strategy": "stratified", "folds": folds, "seed": seed, "by": "patient", "fractions": fractions_of, **chosen}
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
    scratch: Annotated[
        Path | None,
        typer.Option(
            help="a folder with free disk while it runs, some 3 GB for a million recordings; by default the machine's for temporary files"
        ),
    ] = None,
    workers: Workers = None,
) -> None:
    """Look at every recording: copies, patients on two sides of a split, units and leads in doubt, flat, clipped and noisy leads, labels.

    einthoven audit STORE --html audit.html

    What is found goes into the table, where it can choose: einthoven pretrain … where="quality.ok and age >= 18"
    """
    from einthoven import whole
    from einthoven.audit.run import audit as run
    from einthoven.audit.run import room
    from einthoven.report.audit import audit_html
    from einthoven.report.audit_table import audit_table
    from einthoven.store.read import Store

    opened = [Store(one) for one in stores]
    if (needed := room(opened)) > TELL_ROOM:
        print(f"needs up to {needed / 1e9:.1f} GB of disk under {scratch or tempfile.gettempdir()} while it runs")
    with progress_bar("auditing") as report:
        found = run(
            opened,
            workers=workers,
            out=out,
            write=not dry,
            scratch=scratch,
            progress=report,
            comparing=lambda n: report(n, None, "comparing what looks alike, pairs"),
        )
    for table in audit_table(found):
        print_rich(table)
    if html is not None:
        with progress_bar("drawing") as report:
            whole.write_text(html, audit_html(found, progress=report))
        print(f"written: {html}")
    if out is not None:
        print(f"written: {out}")


def export(
    store: Annotated[str, typer.Argument(help="a store")],
    folder: Annotated[Path, typer.Argument(help="the folder to write")],
    to: Annotated[
        str,
        typer.Option(
            "--as",
            help="wfdb, edf, dicom, aecg, csv or tsv: a file a recording, with labels.csv; or an old system's files: fairseq-signals, "
            "fairseq-signals-old (the pipeline before it), ecg-selfsupervised",
        ),
    ],
    where: Annotated[
        str | None, typer.Option(help="only these recordings (files only): 'quality.ok and age >= 18'", show_default=False)
    ] = None,
    fs: Annotated[
        float | None, typer.Option(help="Hz; by default 500 for fairseq-signals, 100 for ecg-selfsupervised", show_default=False)
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="length of a segment for fairseq-signals, by default 5", show_default=False)] = None,
) -> None:
    """A store, or a part of it, as files again: what any ECG program opens, or what an old system reads.

    einthoven export STORE wfdb/ --as wfdb --where "quality.ok and sex == female"

    einthoven export STORE old/ --as fairseq-signals
    """
    from importlib import import_module

    from einthoven.io.converting import writable

    old = {
        "fairseq-signals": ("einthoven.export.fairseq_signals", ("fs", "seconds")),
        "fairseq-signals-old": ("einthoven.export.fairseq_signals_old", ("fs", "seconds")),
        "ecg-selfsupervised": ("einthoven.export.ecg_selfsupervised", ("fs",)),
    }
    given = {name: value for name, value in (("where", where), ("fs", fs), ("seconds", seconds)) if value is not None}
    if to in old:
        module, takes = old[to]
    else:
        try:
            writable(to)
        except EinthovenError:
            known = (*old, "wfdb", "edf", "dicom", "aecg", "csv", "tsv")
            raise EinthovenError(f"--as {to}: expected {', '.join(known)}{nearest(to, known)}") from None
        module, takes = "einthoven.export.recordings", ("where",)
        given["to"] = to
    if unfit := sorted(given.keys() - {*takes, "to"}):
        raise EinthovenError(f"--{unfit[0]}: has no meaning with --as {to}; leave it away")
    with progress_bar("writing") as report:
        print(import_module(module).export(store, folder, progress=report, **given))
