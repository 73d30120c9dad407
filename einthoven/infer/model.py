"""A trained model as a person uses it: give it a recording, get named findings, or an embedding.

>>> model = Model.from_pretrained("runs/diagnosis")
>>> print(model.predict("A0001.hea"))
A0001: atrial fibrillation 0.93
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from einthoven.convert.open import open_weights
from einthoven.errors import CheckpointError, ContractError, EinthovenError
from einthoven.infer.prediction import Prediction, aggregate, findings_of
from einthoven.io import read
from einthoven.models.folder import build, load_weights
from einthoven.objectives.step import valid_of
from einthoven.record import Record
from einthoven.signal import quality
from einthoven.signal.contract import SignalContract
from einthoven.signal.gaps import without_gaps
from einthoven.train.distributed import choose_device

UNCALIBRATED = 0.5
"""The threshold of a model that has none: said to be what it is, an arbitrary number."""
LIMB_RESIDUAL = 0.1
"""mV by which the limb leads may break Einthoven's and Goldberger's laws before it is said; rounding leaves thousandths, a swapped electrode tenths."""


@dataclass(frozen=True, eq=False)
class Ready:
    """A recording as the model takes it: ``signal`` (window, lead, time), ``valid`` (window, time), ``lead_present`` (lead,)."""

    record: str
    file: str
    signal: np.ndarray
    valid: np.ndarray
    lead_present: np.ndarray
    steps: tuple[str, ...]
    notes: tuple[str, ...]


class Model:
    """A model with its signal contract.

    contract   : what a signal must be; ``predict`` and ``embed`` bring recordings there by named steps, or refuse them
    classes    : the configuration's classes, each with ``name``, ``codes``, …; empty for an encoder alone
    thresholds : per class; ``calibrated`` is False where they are only 0.5 for want of better
    notes      : what was assumed when the model was converted from another system's file
    """

    def __init__(self, module: nn.Module, config: dict[str, Any], name: str = "", device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.module = module.to(self.device).eval()
        self.config, self.name = config, name
        self.contract = SignalContract.from_dict(config["contract"])
        self.classes: list[dict[str, Any]] = config.get("classes", [])
        given = config.get("thresholds")
        self.calibrated = given is not None
        self.thresholds: list[float] = list(given) if given is not None else [UNCALIBRATED] * len(self.classes)
        self.aggregation: list[str] = config.get("aggregation", [])
        self.notes: tuple[str, ...] = tuple(config["provenance"].get("notes", ()))

    @classmethod
    def from_pretrained(cls, name: str | Path, device: str = "cpu") -> Model:
        """A model from its folder, from a run, from the hub, or from a ``.pt`` of fairseq-signals (converted in memory).

        device : "cpu", "cuda", "cuda:1", "mps", or "auto", which takes what is there
        Raises CheckpointError where there is no model, or it is damaged or contradictory.
        """
        state, config = open_weights(name)
        return cls(load_weights(build(config), state, str(name)), config, str(name), choose_device(device))

    @property
    def encoder(self) -> nn.Module:
        return self.module if self.config["kind"] == "encoder" else self.module.encoder  # type: ignore[return-value]

    def __repr__(self) -> str:
        what = f"{len(self.classes)} classes" if self.classes else "an encoder without a head"
        return f"Model({self.name}: {what}, {len(self.contract.leads)} leads at {self.contract.fs:g} Hz, windows of {self.contract.seconds:g} s)"

    def prepare(self, recording: Record | str | Path, **told: Any) -> Ready:
        """Read, check, bring to the contract, cut into windows. ``told`` is for ``einthoven.read``. Raises FormatError or ContractError, naming the
        file or record."""
        record = recording if isinstance(recording, Record) else read(recording, **told)
        file = "" if isinstance(recording, Record) else str(recording)
        name = file or record.record or "the record"
        found = quality.check(record.signal, record.fs, record.leads)
        if found.problem is not None:
            raise ContractError(f"{name}: {found.problem}")
        try:
            record, filled = without_gaps(record)
        except EinthovenError as error:
            raise ContractError(f"{name}: {error}") from error
        prepared = self.contract.apply(record)
        windows = self.contract.windows(prepared)
        notes = []
        missing = [lead for lead, there in zip(self.contract.leads, prepared.lead_present) if not there]
        if missing:
            notes.append(f"answered without {' '.join(missing)}: set to 0, as in training with masked leads; expect it to be less sure")
        if found.flat_leads:
            notes.append(f"flat: {' '.join(found.flat_leads)} (an electrode that was off?)")
        if found.clipped_leads:
            notes.append(f"clipped at the amplifier's limit: {' '.join(found.clipped_leads)}")
        if found.limb_residual is not None and found.limb_residual > LIMB_RESIDUAL:
            notes.append(f"the limb leads contradict one another by {found.limb_residual:.2g} mV: swapped or wrongly named leads?")
        n_samples, step = prepared.signal.shape[1], round((self.contract.stride or self.contract.seconds) * self.contract.fs)
        n_used = (windows.signal.shape[0] - 1) * step + windows.signal.shape[2]
        if n_used > n_samples:
            notes.append(f"only {n_samples / self.contract.fs:.3g} s long, padded to the {self.contract.seconds:g} s that the model takes")
        elif n_used < n_samples:
            notes.append(
                f"the last {(n_samples - n_used) / self.contract.fs:.3g} s were not used: no whole window of {self.contract.seconds:g} s"
            )
        return Ready(record.record, file, windows.signal, windows.valid, prepared.lead_present, (*filled, *prepared.steps), tuple(notes))

    def predict(self, recording: Record | str | Path) -> Prediction:
        """The findings of one recording, a Record or a file. Raises as ``prepare`` does, and CheckpointError for an encoder without a head."""
        return next(self.predict_many([recording]))

    def predict_many(self, recordings: Iterable[Record | str | Path | Ready], batch: int = 64) -> Iterator[Prediction]:
        """The findings of many recordings, in their order; windows of different recordings share batches of ``batch`` windows."""
        self.need_classes()
        for group in _groups(self._ready(recordings), batch):
            answers = self._run(group, self._probabilities, batch)
            for ready, windows in zip(group, answers, strict=True):
                yield self._prediction(ready, windows)

    def need_classes(self) -> None:
        """Raise CheckpointError, saying what to do, when this is a model that names no findings."""
        if self.classes:
            return
        name, kind = self.name or "MODEL", self.config["kind"]
        if kind != "encoder":
            raise CheckpointError(
                f"{name} is a model of {kind} and names no findings; ask it about a store: einthoven evaluate {name} data=STORE"
            )
        raise CheckpointError(
            f"{name} is an encoder without a head and names no findings; fine-tune it first: einthoven finetune diagnosis init={name} data=STORE"
        )

    def embed(self, recording: Record | str | Path) -> np.ndarray:
        """One vector for a recording: (dim,) float32, the mean over its windows of the vector that the head sees (mean over valid frames)."""
        return self.embed_windows(recording).mean(axis=0)

    def embed_windows(self, recording: Record | str | Path) -> np.ndarray:
        """One vector per window: (window, dim) float32."""
        return self._run([self.prepare(recording)], self.vectors, 64)[0]

    def frames(self, recording: Record | str | Path) -> np.ndarray:
        """The encoder's frames: (window, frame, dim) float32; NaN where a frame is padding."""
        return self._run([self.prepare(recording)], self._frames, 64)[0]

    def _ready(self, recordings: Iterable[Record | str | Path | Ready]) -> Iterator[Ready]:
        for one in recordings:
            yield one if isinstance(one, Ready) else self.prepare(one)

    def _prediction(self, ready: Ready, windows: np.ndarray) -> Prediction:
        notes = ready.notes
        if not self.calibrated:
            notes = (*notes, f"the model has no thresholds of its own: {UNCALIBRATED} is not calibrated, judge by the probabilities")
        if not np.isfinite(windows).all():
            raise CheckpointError(
                f"{self.name or 'this model'} answers NaN to {ready.file or ready.record or 'a recording'}: its weights are not finite"
            )
        findings = findings_of(aggregate(windows, self.aggregation), self.classes, self.thresholds)
        return Prediction(
            ready.record, ready.file, self.name, findings, ready.steps, notes, windows, self.contract.stride or self.contract.seconds
        )

    def _run(self, group: Sequence[Ready], function, batch: int) -> list[np.ndarray]:
        """What a function of batches says of each recording's windows."""
        signal, valid = np.concatenate([one.signal for one in group]), np.concatenate([one.valid for one in group])
        present = np.concatenate([np.broadcast_to(one.lead_present, (len(one.signal), len(one.lead_present))) for one in group])
        parts = []
        with torch.inference_mode():
            for first in range(0, len(signal), batch):
                rows = slice(first, first + batch)
                padded = not valid[rows].all()
                made = {
                    "ecg": torch.from_numpy(signal[rows]).to(self.device),
                    "valid": torch.from_numpy(valid[rows]).to(self.device),
                    "lead_present": torch.from_numpy(present[rows]).to(self.device),
                    "padded": padded,
                }
                parts.append(function(made).float().cpu().numpy())
        ends = np.cumsum([len(one.signal) for one in group])[:-1]
        return np.split(np.concatenate(parts), ends)

    def _probabilities(self, made: dict[str, Any]) -> Tensor:
        return self.module.predict(made)  # type: ignore[operator]

    def vectors(self, made: dict[str, Any]) -> Tensor:
        """One vector per window of a batch, as the head sees it: (window, width)."""
        if self.config["kind"] != "encoder":
            return self.module.embed(made)  # type: ignore[operator]
        return self.encoder.embed(made["ecg"], valid_of(made))  # type: ignore[operator]

    def _frames(self, made: dict[str, Any]) -> Tensor:
        valid = valid_of(made)
        frames = self.encoder(made["ecg"], valid)
        return frames if valid is None else frames.masked_fill(~self.encoder.frame_valid(valid)[:, :, None], float("nan"))  # type: ignore[operator]


def _groups(ready: Iterable[Ready], n_windows: int) -> Iterator[list[Ready]]:
    """Recordings until their windows fill a batch, so that memory does not grow with the number of files."""
    group: list[Ready] = []
    for one in ready:
        group.append(one)
        if sum(len(each.signal) for each in group) >= n_windows:
            yield group
            group = []
    if group:
        yield group
