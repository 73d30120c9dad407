"""What holds for every objective: its face, that it learns a batch by heart, that it goes on bit for bit, that two processes are one."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from objective_cases import CASES, CaseView, Crash, batch_of

from einthoven.models.encoder import Encoder
from einthoven.objectives import OBJECTIVES
from einthoven.objectives.step import Moment, Step
from einthoven.train.checkpoint import folder_name
from einthoven.train.loop import fit
from einthoven.train.settings import Settings

UPDATES = 2
"""Updates that two processes make together."""


def built(name, seed=0):
    torch.manual_seed(seed)
    return CASES[name].build()


def test_every_objective_has_a_case():
    assert set(CASES) == set(OBJECTIVES)
    assert all(type(built(name)) is kind for name, kind in OBJECTIVES.items())


@pytest.mark.parametrize("name", CASES)
def test_an_objective_keeps_the_contract(name):
    objective, batch = built(name), batch_of(CASES[name])
    assert isinstance(objective.encoder, Encoder) and isinstance(objective.kept, Encoder) and objective.view in ("segments", "pairs")
    before = {key: copy.deepcopy(value) for key, value in batch.items()}
    step = objective(batch, Moment(seed=1))
    assert isinstance(step, Step) and step.loss.shape == () and step.loss.requires_grad
    assert step.weight > 0 and all(part.shape == () and not part.requires_grad for part in step.parts.values())
    assert all(torch.equal(torch.as_tensor(before[key]), torch.as_tensor(batch[key])) for key in before), "the batch was changed"
    step.loss.backward()
    silent = [name for name, weight in objective.named_parameters() if weight.requires_grad and weight.grad is None]
    assert not silent, f"no gradient reaches {silent[:5]}"


@pytest.mark.parametrize("name", CASES)
def test_in_half_precision_the_loss_is_the_same_within_its_rounding(name):
    objective, batch = built(name), batch_of(CASES[name])
    whole = copy.deepcopy(objective)(batch, Moment(seed=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = objective(batch, Moment(seed=1))
    assert half.loss.dtype == torch.float32
    torch.testing.assert_close(half.loss, whole.loss, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("name", CASES)
def test_equal_moments_draw_the_same_and_others_do_not(name):
    objective = built(name)
    losses = [copy.deepcopy(objective)(batch_of(CASES[name]), Moment(seed=1, step=step)).loss.item() for step in (0, 0, 1)]
    assert losses[0] == losses[1]
    if objective.n_views > 1 or objective.needs_context:
        assert losses[0] != losses[2]


@pytest.mark.parametrize("name", CASES)
def test_one_batch_is_learned_by_heart(name):
    case, objective = CASES[name], built(name)
    batch = batch_of(case)
    learning = [weight for weight in objective.parameters() if weight.requires_grad]
    optimiser = torch.optim.Adam(learning, lr=case.lr)
    losses = []
    for number in range(case.updates):
        optimiser.zero_grad()
        step = objective(batch, Moment(seed=1, step=number))
        step.loss.backward()
        optimiser.step()
        objective.after_update(number + 1, case.updates)
        losses.append(step.loss.item() - case.floor)
    first, last = sum(losses[:3]) / 3, sum(losses[-3:]) / 3
    assert last < case.falls_to * first, f"from {first:.3f} to {last:.3f} above the floor"


def train(name: str, folder: Path, crash_at: int = -1, resume: bool = False) -> None:
    case, objective = CASES[name], built(name)
    pairs = objective.view == "pairs"
    settings = Settings(
        steps=6, batch=case.n_rows // (2 if pairs else 1), accumulate=2, save_every=2, log_every=1, keep=3, device="cpu", precision="fp32"
    )
    fit(objective, CaseView(case, pairs, crash_at), settings, folder, progress=False, describe={"name": name}, resume=resume)


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_crashed_goes_on_bit_for_bit(name, tmp_path):
    train(name, tmp_path / "straight")
    with pytest.raises(Crash):
        train(name, tmp_path / "cut", crash_at=2 * 3 + 1)
    train(name, tmp_path / "cut", resume=True)
    last = Path("checkpoints") / folder_name(6)
    files = sorted(path.name for path in (tmp_path / "straight" / last).glob("*.safetensors"))
    assert files
    for file in files:
        assert (tmp_path / "straight" / last / file).read_bytes() == (tmp_path / "cut" / last / file).read_bytes(), file


# ---------------------------------------------------------------------------------------------------- two processes and one


def two_updates(name: str, first_row: int, n_own: int, padded: bool):
    """Two updates by plain gradient descent on rows [first_row, first_row + n_own): values of each, and the state afterwards."""
    torch.set_num_threads(1)
    case, objective = CASES[name], built(name).double().train()
    batch = {
        key: value[first_row : first_row + n_own] if isinstance(value, torch.Tensor) else value
        for key, value in batch_of(case, padded=padded, dtype=torch.float64).items()
    }
    values = []
    for number in range(UPDATES):
        moment = Moment(seed=5, step=number, first_row=first_row, n_rows=case.n_rows)
        step = objective(batch, moment)
        (step.loss * step.weight).backward()
        total = torch.tensor(step.weight, dtype=torch.float64)
        mine = torch.stack([part.double() for part in (step.loss.detach(), *step.parts.values())]) * step.weight
        gradients = [weight.grad for weight in objective.parameters() if weight.requires_grad]
        if dist.is_initialized():
            # As the loop does: sums over processes of weight * what is averaged, over the sum of weights.
            for tensor in (total, mine, *(grad for grad in gradients if grad is not None)):
                dist.all_reduce(tensor)
        values.append(mine / total)
        with torch.no_grad():
            for weight in objective.parameters():
                if weight.grad is not None:
                    weight -= 0.05 * weight.grad / total
                    weight.grad = None
        objective.after_update(number + 1, UPDATES)
    return torch.stack(values), objective.state_dict()


def splits() -> dict[tuple[str, bool], int]:
    """Rows of the first process: an even number, not half of them every time."""
    return {(name, padded): case.n_rows // 2 for name, case in CASES.items() for padded in ((False, True) if case.padded else (False,))}


def work(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for (name, padded), rows in splits().items():
        n_rows = CASES[name].n_rows
        values, state = two_updates(name, rank * rows, rows if rank == 0 else n_rows - rows, padded)
        if rank == 0:
            torch.save({"values": values, "state": state}, f"{folder}/{name}-{padded}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    mp.spawn(work, args=(str(folder),), nprocs=2)
    return folder


@pytest.mark.parametrize("name, padded", list(splits()))
def test_two_processes_are_one_process(name, padded, of_two_processes):
    two = torch.load(of_two_processes / f"{name}-{padded}.pt", weights_only=True)
    values, state = two_updates(name, 0, CASES[name].n_rows, padded)
    torch.testing.assert_close(two["values"], values, rtol=1e-6, atol=1e-7)
    for key, value in state.items():
        torch.testing.assert_close(two["state"][key], value, rtol=1e-6, atol=1e-8, msg=lambda text, key=key: f"{key}: {text}")
