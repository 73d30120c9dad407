"""The command line. Each command is a few lines over a function that can be called from Python as well.

This module imports neither torch nor anything else that is slow, so that help and completion are there at once.
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from einthoven.errors import EinthovenError


class Commands(TyperGroup):
    """The commands, of which each ends in one line on Ctrl-C; typer alone would end it without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("einthoven: stopped", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    name="einthoven",
    cls=Commands,
    help="Self-supervised learning on the electrocardiogram, from raw files to an answer one can check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="First steps: einthoven demo. Each command explains itself: einthoven ingest --help",
)

Workers = Annotated[int | None, typer.Option("--workers", "-j", help="processes; by default one per core")]
ConfigDir = Annotated[
    Path | None, typer.Option(help="a folder with recipes of your own: NAME.yaml holds 'base: <recipe>' and what differs")
]
ConfigName = Annotated[str | None, typer.Option(help="the recipe's name, as fairseq-hydra-train took it")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="show the resolved recipe with the meaning of every key, and stop")]
LINE_EVERY = 30.0
"""Seconds between two lines of progress in a log file."""

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes what is there")]


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


def progress_bar(what: str) -> Any:
    """Progress on standard error, as a context manager that gives ``report(done, total)``: a bar, or now and then a line where nobody watches."""
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
            task = progress.add_task(what, total=None, rate="")

            def report(done: int, total: int | None) -> None:
                speed = progress.tasks[task].speed
                progress.update(task, completed=done, total=total, rate=f"{speed:.0f}/s" if speed else "")

            yield report

    @contextmanager
    def lines():
        begun = spoke = time.monotonic()

        def report(done: int, total: int | None) -> None:
            nonlocal spoke
            now = time.monotonic()
            if now - spoke >= LINE_EVERY:
                spoke = now
                print(f"{what}: {done} of {total or '?'}, {done / (now - begun):.0f}/s", file=sys.stderr, flush=True)

        yield report

    return bar() if sys.stderr.isatty() else lines()


@app.command()
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


@app.command()
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


@app.command()
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


@app.command(name="store")
def show_store(store: Annotated[Path, typer.Argument(help="a store")]) -> None:
    """Print what is inside a store."""
    from einthoven.report.table import store_table
    from einthoven.store.read import Store

    print_rich(store_table(Store(store)))


def train(
    names: Iterable[str],
    run: Callable[[Any], Any],
    recipe: str | None,
    overrides: list[str] | None,
    config_dir: Path | None,
    config_name: str | None,
    show: bool,
):
    """Compose a recipe and run it, or only show it."""
    from einthoven.recipes import RECIPES
    from einthoven.recipes import recipe as compose

    texts = list(overrides or [])
    if recipe is not None and "=" in recipe:
        texts, recipe = [recipe, *texts], None
    names = list(names)
    name = recipe or config_name
    if name is None:
        raise EinthovenError(f"which recipe? {', '.join(names)}")
    if name in RECIPES and name not in names:
        raise EinthovenError(f"{name} is a recipe of `einthoven {RECIPES[name]().kind}`; here there are {', '.join(names)}")
    resolved = compose(name, texts, config_dir, of=names)
    if show:
        from einthoven.recipes.show import as_yaml

        print(as_yaml(resolved))
        return
    from einthoven.recipes.claim import claimed

    with claimed(resolved) as claim:
        run(claim)


@app.command()
def pretrain(
    recipe: Annotated[
        str | None,
        typer.Argument(help="w2v_cmsc_rlm, simclr, cpc, jepa, …: `einthoven methods` lists them; or one of your own", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="what differs: data=STORE encoder=tiny steps=300 batch=16 …")
    ] = None,
    config_dir: ConfigDir = None,
    config_name: ConfigName = None,
    print_config: PrintConfig = False,
) -> None:
    """Learn an encoder without labels.

    einthoven pretrain w2v_cmsc_rlm data=STORE encoder=tiny steps=300 batch=16 run=runs/pretrain

    Ctrl-C saves and stops; einthoven resume RUN goes on, bit for bit. Several GPUs: torchrun --nproc-per-node 8 -m einthoven pretrain …
    """
    from einthoven.recipes import PRETRAIN

    def run(resolved):
        from einthoven.recipes.run import pretrain

        return pretrain(resolved, resume=True)

    train(PRETRAIN, run, recipe, overrides, config_dir, config_name, print_config)


@app.command()
def finetune(
    recipe: Annotated[
        str | None,
        typer.Argument(help="diagnosis, identification, age, …: `einthoven methods` lists them; or one of your own", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="what differs: data=STORE init=RUN epochs=20 …")
    ] = None,
    config_dir: ConfigDir = None,
    config_name: ConfigName = None,
    print_config: PrintConfig = False,
) -> None:
    """Learn a task from labels, from a pretrained encoder or from nothing.

    einthoven finetune diagnosis data=STORE init=runs/pretrain run=runs/diagnosis
    """
    from einthoven.recipes import FINETUNE

    def run(resolved):
        from einthoven.recipes.run import finetune

        return finetune(resolved, resume=True)

    train(FINETUNE, run, recipe, overrides, config_dir, config_name, print_config)


@app.command()
def methods(
    name: Annotated[
        str | None, typer.Argument(help="of which to show the options: an objective, an encoder or an augmentation", show_default=False)
    ] = None,
) -> None:
    """What there is: recipes, objectives, encoders, augmentations, protocols; with a name, its options and what they mean."""
    from einthoven.report.methods import everything, options_tables

    for table in everything() if name is None else options_tables(name):
        print_rich(table)


@app.command()
def bench(
    grid: Annotated[str, typer.Argument(help="what to compare: all, quick, or a YAML file of your own (--print-config shows its keys)")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="data=STORE [KEY=VALUE]...",
            help="data, run, device, workers; and keys of the grid: pretraining.steps=2000 seeds=[1, 2, 3] …",
        ),
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="lines of the table that are worked on at once")] = 1,
    devices: Annotated[str | None, typer.Option(help="one for each job in turn: cuda:0,cuda:1")] = None,
    shards: Annotated[
        str | None, typer.Option(help="i/n: work on every n-th line from the i-th on (a job array); the last one writes the table")
    ] = None,
    print_config: PrintConfig = False,
) -> None:
    """A fair table: methods × encoders × protocols on one store, with equal budgets, intervals and paired differences.

    einthoven bench quick data=STORE run=bench/quick

    Rows for an untrained encoder and for training from labels alone are always there. Stopped and run again, it goes on.
    """
    from einthoven.bench.grid import grid as compose_grid
    from einthoven.bench.grid import show_grid
    from einthoven.recipes.compose import parse

    changes = parse(overrides or [])
    data, folder = changes.pop("data", None), changes.pop("run", None)
    device, workers = str(changes.pop("device", "auto")), changes.pop("workers", 0)
    if not isinstance(workers, int) or workers < 0:
        raise EinthovenError(f"workers: expected a number of processes that read, 0 or more; got {workers!r}")
    wanted = compose_grid(grid, changes)
    if print_config:
        print(show_grid(wanted))
        return
    if data is None:
        raise EinthovenError("compare on what? add data=STORE")
    part = parts_of(shards)
    from einthoven.bench.run import bench as run
    from einthoven.bench.work import Place
    from einthoven.report.bench import on_terminal

    place = Place(Path(str(folder or f"bench/{wanted.name}")), Path(str(data)), device, workers)
    with progress_bar("comparing") as report:
        table = run(wanted, place, jobs=jobs, devices=devices.split(",") if devices else (), shards=part, progress=report)
    if table is not None:
        for section in on_terminal(table):
            print_rich(section)
        print(f"table: {place.folder / 'table.md'}, {place.folder / 'table.csv'}; report: {place.folder / 'report.html'}")


@app.command()
def resume(run: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Go on with a run that was stopped, from its last whole checkpoint, to the same weights bit for bit."""
    from einthoven.recipes.run import resume

    resume(run)


@app.command()
def evaluate(
    model: Annotated[str, typer.Argument(help="a run, a model's folder, or a checkpoint of an older system")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="data=STORE [split=test]...",
            help="data, split, where, batch, device, bootstrap, run, noise=1…6, shown=[I, II], task=identification",
        ),
    ] = None,
) -> None:
    """What a model is worth on a store: a table here, JSON, CSV per class and figures in the run.

    einthoven evaluate runs/diagnosis data=STORE split=test

    Made harder on purpose: noise=1 … 6 adds what electrodes and mains add; shown=[I, II] shows these leads alone.
    """
    from einthoven.infer.evaluate import evaluate
    from einthoven.recipes.evaluation import evaluation

    wanted = evaluation(overrides or [])
    with progress_bar("evaluating") as report:
        result = evaluate(model, wanted, report)
    from einthoven.infer.evaluate_numbers import Scored
    from einthoven.report.scores import scores_table
    from einthoven.report.table import evaluation_table

    print_rich(scores_table(result.scores, result.about) if isinstance(result, Scored) else evaluation_table(result.evaluation))
    print(f"report: {result.folder / 'report.html'}")


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="a run, a model's folder, or a checkpoint of an older system")],
    files: Annotated[list[Path], typer.Argument(help="recordings, or folders of recordings")],
    out: Annotated[Path | None, typer.Option(help="write the answers as .json or .csv")] = None,
    html: Annotated[Path | None, typer.Option(help="write a report with the tracings")] = None,
    device: Device = "auto",
) -> None:
    """Named findings with probabilities for recordings.

    A file that cannot be answered is listed with its reason, and the others go on; the exit code is then 1.
    """
    from einthoven.infer.answer import answer

    with progress_bar("predicting") as report:
        answers = answer(model, files, out=out, html=html, device=device, progress=report)
    from einthoven.report.table import prediction_table

    for item in answers[:20]:
        print_rich(prediction_table(item))
    if len(answers) > 20:
        print(f"… and {len(answers) - 20} more; --out FILE.json or --html FILE.html has them all")
    for path in (out, html):
        if path:
            print(f"written: {path}")
    if any(item.get("reason") for item in answers):
        raise typer.Exit(1)


@app.command()
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


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="a .pt of fairseq-signals (ECG-FM), or a .ckpt or .pt of ecg-selfsupervised")],
    folder: Annotated[Path, typer.Argument(help="the model's folder to write")],
    scaling: Annotated[
        str | None,
        typer.Option(
            help="what the weights were trained on: record_zscore or none (mV) for fairseq-signals; none, ptbxl or benchmark for ecg-selfsupervised; by default what that system did",
            show_default=False,
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="names of the classes: label_def.csv, or a text file with one a line")] = None,
    builder: Annotated[
        str | None, typer.Option(help="ecg-selfsupervised, PTB-XL benchmark: the network, where the tensors leave it open")
    ] = None,
) -> None:
    """Other people's weights as a model of ours. Their pickle is read, not executed."""
    from einthoven.convert.open import convert_checkpoint

    for note in convert_checkpoint(checkpoint, folder, scaling=scaling, labels=labels, builder=builder):
        print(note)
    print(f"written: {folder}")


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="where to write everything")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="another seed, another corpus")] = 1,
) -> None:
    """The whole path on the synthetic heart, in minutes: simulate, ingest, pretrain, fine-tune, evaluate, predict, report."""
    from einthoven.infer.demo import demo

    report = demo(folder, seed=seed, workers=cores())
    print(f"report: {report}")


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


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def print_rich(table: Any) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 140).print(table)


def main() -> None:
    """Run the command line; an error that a person can mend is one line and exit code 2. EINTHOVEN_TRACEBACK=1 shows where it was raised."""
    try:
        app()
    except (EinthovenError, OSError) as error:
        if os.environ.get("EINTHOVEN_TRACEBACK"):
            raise
        print(f"einthoven: {' '.join(explain(error).split())}", file=sys.stderr)
        sys.exit(2)


def explain(error: Exception) -> str:
    """The text of an error; that of the operating system begins with the file, as ours do."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}; is the path right, may it be read or written, is there room on the disk?"
    return str(error)
