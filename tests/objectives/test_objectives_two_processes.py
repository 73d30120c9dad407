"""Two processes with half of the rows each get what one process gets from all: loss, parts and gradients."""

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from einthoven.augment import RandomLeadMask
from einthoven.models import SIZES, ECGTransformer
from einthoven.objectives import OBJECTIVES
from einthoven.objectives.step import Moment

N_ROWS = 8
CASES = {
    "w2v": {"cross_sample_negatives": 4, "n_negatives": 5, "final_dim": 8, "latent_vars": 6, "mask": {"length": 4}},
    "cmsc": {},
    "w2v_cmsc": {"n_negatives": 5, "final_dim": 8, "latent_vars": 6, "mask": {"length": 4}, "channel_mask": {"prob": 0.2, "length": 2}},
}


def batch_of(padded):
    person = torch.tensor([0, 0, 1, 1, 0, 0, 2, 2])  # patient 0 is met by both processes
    batch = {"ecg": torch.randn(N_ROWS, 12, 320, generator=torch.Generator().manual_seed(0)), "patient": person, "record": person}
    if padded:
        # Only the second process's rows are padded.
        batch["valid"] = torch.arange(320) < torch.tensor([320, 320, 320, 320, 320, 200, 320, 180])[:, None]
    return batch


def one_update(name, first_row, n_own, padded):
    """Loss, parts, weight and gradients of weight * loss, for rows [first_row, first_row + n_own)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    encoder = ECGTransformer(**{**SIZES["tiny"], "dim": 32, "depth": 1})
    objective = OBJECTIVES[name](encoder, **CASES[name]).double().train()
    batch = {key: value[first_row : first_row + n_own] for key, value in batch_of(padded).items()}
    batch["ecg"] = batch["ecg"].double()
    moment = Moment(seed=5, step=7, first_row=first_row, n_rows=N_ROWS)
    step = objective(RandomLeadMask(at_least=1)(batch, moment), moment)
    (step.loss * step.weight).backward()
    return step, [parameter.grad for parameter in objective.parameters()]


def work(rank, folder, splits):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for (name, padded), rows in splits.items():
        step, grads = one_update(name, rank * rows, rows if rank == 0 else N_ROWS - rows, padded)
        # As the loop does: sums over processes of weight * what is averaged, over the sum of weights.
        total = torch.tensor(step.weight)
        mine = [step.loss.detach(), *step.parts.values()]
        values = torch.stack([value.double() for value in mine]) * step.weight
        for tensor in (total, values, *grads):
            dist.all_reduce(tensor)
        if rank == 0:
            torch.save({"values": values / total, "grads": [grad / total for grad in grads]}, f"{folder}/{name}-{padded}.pt")
    dist.destroy_process_group()


def test_two_processes_are_one_process(tmp_path):
    # 6 rows and 2: processes need not have equally many.
    splits = {("w2v", False): 4, ("w2v", True): 4, ("cmsc", False): 4, ("w2v_cmsc", False): 6, ("w2v_cmsc", True): 4}
    mp.spawn(work, args=(str(tmp_path), splits), nprocs=2)
    for name, padded in splits:
        step, grads = one_update(name, 0, N_ROWS, padded)
        two = torch.load(tmp_path / f"{name}-{padded}.pt", weights_only=True)
        expected = torch.stack([step.loss.detach(), *(part.double() for part in step.parts.values())])
        torch.testing.assert_close(two["values"], expected, rtol=1e-7, atol=1e-7, msg=lambda text, n=name, p=padded: f"{n} {p}: {text}")
        for ours, grad in zip(two["grads"], grads, strict=True):
            torch.testing.assert_close(ours, grad / step.weight, rtol=1e-7, atol=1e-9)
