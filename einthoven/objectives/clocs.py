"""CLOCS over leads: CMLC, where the leads of one person attract, and CMSMLC, where leads and segments do; other persons repel.

Source: Kiyasseh et al., "CLOCS: Contrastive learning of cardiac signals across space, time, and patients", ICML 2021. CMSC,
over segments alone, is ``objectives/cmsc.py``; it is ``clocs_loss`` of two views.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from einthoven.layers.gather import gather_rows
from einthoven.models.encoder import Encoder
from einthoven.objectives.cmsc import persons, refuse_one_item, refuse_strangers
from einthoven.objectives.objective import Objective
from einthoven.objectives.step import Moment, Step, valid_of


def clocs_loss(views: Tensor, person: Tensor, present: Tensor | None = None, temperature: float = 0.1, eps: float = 1e-8) -> Tensor:
    """For every two views a and b: cross-entropy of the positives of each item's view a among the views b of all items.

    views       : (item, view, dim)  embeddings; a view is a lead, or a lead of one of two segments
    person      : (item,)            items of equal persons are positives of each other, and each of itself
    present     : (item, view) bool  views that are there; the others attract and repel nobody. None: all are
    temperature : float > 0
    eps         : least norm in a cosine
    returns     : ()                 mean over the positives of an ordered pair of views, then over the pairs that have any

    The paper averages an item's own positive and those of other items of its person apart and adds the two; here, as in
    fairseq-signals' CMSC, every positive weighs the same. Where each person is met once there is no difference.
    """
    n_items, n_views, _ = views.shape
    views = F.normalize(views, dim=-1, eps=eps)
    flat = views.flatten(0, 1)
    similarity = ((flat / temperature) @ flat.T).view(n_items, n_views, n_items, n_views)
    there = torch.ones(n_items, n_views, dtype=views.dtype, device=views.device)
    if present is not None:
        there = present.to(views.dtype)
        similarity = similarity.masked_fill(~present, torch.finfo(views.dtype).min)
    among_all = similarity.logsumexp(dim=2)  # (item, a, b)

    # A sum over positives j of cosines with j is the cosine with the sum over j: no (item, view, item, view) mask is made.
    same = (person[:, None] == person[None, :]).to(views.dtype)
    n_positives = there[:, :, None] * (same @ there)[:, None, :]  # (item, a, b)
    views = views * there[:, :, None]
    attraction = torch.einsum("iad,ibd->iab", views, torch.einsum("ij,jbd->ibd", same, views)) / temperature
    counted = n_positives.sum(dim=0)
    per_pair = (n_positives * among_all - attraction).sum(dim=0) / counted.clamp(min=1)
    pairs = (counted > 0) & ~torch.eye(n_views, dtype=torch.bool, device=views.device)
    return (per_pair * pairs).sum() / pairs.sum().clamp(min=1)


def lead_vectors(encoder: Encoder, batch: Mapping[str, Any], chosen: list[int]) -> tuple[Tensor, Tensor | None]:
    """Each chosen lead's own vector: (batch, chosen, width), and whether the lead is there, (batch, chosen) bool or None.

    An encoder of one lead, as in the paper, takes every lead of the batch as an ECG of its own. An encoder of several leads
    takes, for each of them, the ECG with the other leads at 0, which is how it knows a lead that is missing: so it can be
    fine-tuned on all of its leads afterwards.
    """
    ecg, valid, present = batch["ecg"], valid_of(batch), batch.get("lead_present")
    n_rows, n_leads, n_time = ecg.shape
    if len(encoder.leads) == 1:
        alone = ecg[:, chosen].reshape(-1, 1, n_time)
    else:
        alone = ecg.new_zeros(n_rows, len(chosen), n_leads, n_time)
        alone[:, list(range(len(chosen))), chosen] = ecg[:, chosen]
        alone = alone.flatten(0, 1)
    vectors = encoder.embed(alone, None if valid is None else valid.repeat_interleave(len(chosen), dim=0))
    return vectors.unflatten(0, (n_rows, len(chosen))), None if present is None else present[:, chosen]


def choose_leads(moment: Moment, n_leads: int, n_chosen: int) -> list[int]:
    """Which leads are compared at this moment, in order, the same in every process: all of them where ``n_chosen`` is 0 or too many."""
    if not 0 < n_chosen < n_leads:
        return list(range(n_leads))
    luck = torch.rand(n_leads, generator=moment.generator("clocs/leads"))
    return sorted(luck.argsort()[:n_chosen].tolist())


def joint_loss(views: Tensor, person: Tensor, present: Tensor | None, temperature: float, eps: float, *, over_processes: bool) -> Tensor:
    """``clocs_loss`` in float32, over the items of all processes if so asked."""
    if over_processes:
        views, person = gather_rows(views), gather_rows(person)
        present = None if present is None else gather_rows(present.to(torch.int64)).bool()
    with torch.autocast(views.device.type, enabled=False):
        return clocs_loss(views.to(torch.promote_types(views.dtype, torch.float32)), person, present, temperature, eps)


class CMLC(Objective):
    """Contrastive multi-lead coding: different leads of one person attract, those of other persons repel. Without a projection.

    temperature : of the cosines
    n_leads     : leads that are compared at a step, drawn anew for each and the same for all rows; 0: all. The paper has four, always the same
    eps         : least norm in a cosine

    Persons are patients, negatives come from all processes, and the loss has weight per row.
    """

    def __init__(self, encoder: Encoder, *, temperature: float = 0.1, n_leads: int = 4, eps: float = 1e-8):
        super().__init__()
        if n_leads < 0 or n_leads == 1:
            raise ValueError(f"expected n_leads, the leads that are compared with each other, to be 2 or more, or 0 for all; got {n_leads}")
        self.encoder, self.temperature, self.n_leads, self.eps = encoder, temperature, n_leads, eps

    def check(self, data: Any, n_items: int) -> None:
        refuse_one_item("cmlc", n_items)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        n_rows, n_leads, _ = batch["ecg"].shape
        if n_leads < 2:
            raise ValueError("CMLC compares leads with each other: expected a batch with 2 leads or more; got 1")
        views, present = lead_vectors(self.encoder, batch, choose_leads(moment, n_leads, self.n_leads))
        over_processes = moment.rows(n_rows) != n_rows
        loss = joint_loss(views, persons(batch), present, self.temperature, self.eps, over_processes=over_processes)
        return Step(loss, {"cmlc": loss.detach()}, weight=float(n_rows))


class CMSMLC(Objective):
    """Contrastive multi-segment multi-lead coding: leads of both segments of a pair attract, all those of other persons repel.

    temperature : of the cosines
    n_leads     : leads that are compared at a step, drawn anew for each and the same for all rows; 0: all. The paper has four, always the same
    eps         : least norm in a cosine

    A view is a lead of one segment, so that a pair of views differs in the lead, in the segment, or in both. Otherwise as CMLC.
    """

    view = "pairs"

    def __init__(self, encoder: Encoder, *, temperature: float = 0.1, n_leads: int = 4, eps: float = 1e-8):
        super().__init__()
        if n_leads < 0:
            raise ValueError(f"expected n_leads, the leads that are compared with each other, to be 1 or more, or 0 for all; got {n_leads}")
        self.encoder, self.temperature, self.n_leads, self.eps = encoder, temperature, n_leads, eps

    def check(self, data: Any, n_items: int) -> None:
        refuse_one_item("cmsmlc", n_items)

    def forward(self, batch: Mapping[str, Any], moment: Moment = Moment()) -> Step:  # noqa: B008 - frozen
        n_rows, n_leads, _ = batch["ecg"].shape
        person = persons(batch)
        refuse_strangers(person)
        views, present = lead_vectors(self.encoder, batch, choose_leads(moment, n_leads, self.n_leads))
        views = views.reshape(n_rows // 2, -1, views.shape[-1])  # (pair, segment * lead, width)
        present = None if present is None else present.reshape(n_rows // 2, -1)
        over_processes = moment.rows(n_rows) != n_rows
        loss = joint_loss(views, person[0::2], present, self.temperature, self.eps, over_processes=over_processes)
        return Step(loss, {"cmsmlc": loss.detach()}, weight=float(n_rows))
