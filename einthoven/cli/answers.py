"""Commands that answer: a model asked about recordings, other people's weights taken over, and the whole path at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from einthoven.cli.terminal import print_rich, progress_bar

Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps; auto takes what is there")]


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


def demo(
    folder: Annotated[Path, typer.Argument(help="where to write everything")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="another seed, another corpus")] = 1,
) -> None:
    """The whole path on the synthetic heart, in minutes: simulate, ingest, pretrain, fine-tune, evaluate, predict, report."""
    from einthoven.infer.demo import demo
    from einthoven.ingest.workers import available

    report = demo(folder, seed=seed, workers=available())
    print(f"report: {report}")
