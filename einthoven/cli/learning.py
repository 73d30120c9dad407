"""Commands that learn, and those that judge what was learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from einthoven.cli.terminal import parts_of, print_rich, progress_bar
from einthoven.errors import EinthovenError

ConfigDir = Annotated[
    Path | None, typer.Option(help="a folder with recipes of your own: NAME.yaml holds 'base: <recipe>' and what differs")
]
ConfigName = Annotated[str | None, typer.Option(help="the recipe's name, as fairseq-hydra-train took it")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="show the resolved recipe with the meaning of every key, and stop")]


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


def methods(
    name: Annotated[
        str | None, typer.Argument(help="of which to show the options: an objective, an encoder or an augmentation", show_default=False)
    ] = None,
) -> None:
    """What there is: recipes, objectives, encoders, augmentations, protocols; with a name, its options and what they mean."""
    from einthoven.report.methods import everything, options_tables

    for table in everything() if name is None else options_tables(name):
        print_rich(table)


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


def resume(run: Annotated[Path, typer.Argument(help="a run's folder")]) -> None:
    """Go on with a run that was stopped, from its last whole checkpoint, to the same weights bit for bit."""
    from einthoven.recipes.run import resume

    resume(run)


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
