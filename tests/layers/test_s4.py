"""The state-space layer against its definition: dense matrices, plain recurrences, direct convolutions, laws of linear systems."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from einthoven.layers import s4
from einthoven.layers.s4 import SSM, S4Layer, convolve, fast_length, hippo_legs, tied_dropout

KINDS = ("s4", "s4d_lin", "s4d_legs")


def system(kind="s4", dim=3, state=8, **options):
    torch.manual_seed(0)
    return SSM(dim, state, dynamics=kind, **options).double()


def whole(values):
    """Both halves of conjugate pairs, (dim, state, 2) real -> (dim, N) complex."""
    kept = torch.view_as_complex(values.detach().contiguous())
    return torch.cat([kept, kept.conj()], dim=1)


def dense(ssm):
    """A of each feature over both halves, discrete by the bilinear rule with explicit inverses: (dim, N, N), (dim, N) complex."""
    w = torch.complex(-ssm.log_decay.detach().exp(), ssm.frequency.detach())
    w, p, b = torch.cat([w, w.conj()], dim=1), whole(ssm.P), whole(ssm.B)
    step, identity = ssm.log_step.detach().exp()[:, None, None], torch.eye(w.shape[1], dtype=w.dtype)
    a = torch.diag_embed(w) - p[:, :, None] * p.conj()[:, None, :]
    left = torch.linalg.inv(identity - step / 2 * a)
    return left @ (identity + step / 2 * a), (step * left @ b[:, :, None])[:, :, 0]


def kernel_by_recurrence(ssm, length):
    """C A^l B, one l after the other: (channel, dim, length)"""
    a, x = dense(ssm)
    c = torch.stack([whole(one) for one in ssm.C])
    out = []
    for _ in range(length):
        out.append((c * x).sum(dim=-1).real)
        x = (a @ x[:, :, None])[:, :, 0]
    return torch.stack(out, dim=-1)


def convolve_directly(u, kernel, ahead=None):
    """The two sums, written down."""
    y = torch.zeros_like(u)
    for t in range(u.shape[-1]):
        for at in range(u.shape[-1]):
            if at <= t:
                y[..., t] += kernel[:, t - at] * u[..., at]
            elif ahead is not None:
                y[..., t] += ahead[:, at - t - 1] * u[..., at]
    return y


# ---------------------------------------------------------------------------------------------------- the system


def test_legs_has_the_eigenvalues_that_are_known_for_eight_states():
    w, _, _ = hippo_legs(8)
    np.testing.assert_allclose(w.imag.numpy(), [19.857410, 5.354208, 1.957794, 0.427489], atol=5e-7)
    np.testing.assert_array_equal(w.real.numpy(), -0.5)


@pytest.mark.parametrize("n", [2, 8, 16])
def test_the_diagonal_form_is_hippo_legs_in_another_basis(n):
    k = np.arange(n)
    b = np.sqrt(2 * k + 1)
    p = np.sqrt(k + 0.5)
    a = -np.tril(np.outer(b, b), -1) - np.diag(k + 1.0)
    w, ours_p, ours_b = (np.concatenate([value.numpy(), value.numpy().conj()]) for value in hippo_legs(n))
    ours = np.diag(w) - np.outer(ours_p, ours_p.conj())
    for s in (0.3, 1 + 2j, 20j):  # what a change to another orthonormal basis leaves alone
        for left, right, our_left, our_right in ((b, b, ours_b, ours_b), (p, b, ours_p, ours_b), (p, p, ours_p, ours_p)):
            expected = left @ np.linalg.solve(s * np.eye(n) - a, right)
            np.testing.assert_allclose(our_left.conj() @ np.linalg.solve(s * np.eye(n) - ours, our_right), expected, rtol=1e-9)


def test_the_same_system_comes_out_wherever_it_is_computed():
    _, _, b = hippo_legs(8)
    assert bool((b.real > 0).all()) and float(b.imag.abs().max()) < 1e-12


def test_an_odd_number_of_state_variables_is_refused():
    with pytest.raises(ValueError, match="even number"):
        SSM(4, 7)
    with pytest.raises(ValueError, match="s4d_lin"):
        SSM(4, 8, dynamics="s5")


@pytest.mark.parametrize("kind", KINDS)
def test_the_discrete_system_is_stable_at_every_step(kind):
    ssm = system(kind, dim=40)
    ssm.log_step.copy_(torch.linspace(math.log(1e-5), math.log(1e3), 40))
    assert float(torch.linalg.eigvals(ssm.discrete()[0]).abs().max()) < 1


def test_a_system_that_learns_stays_stable_whatever_it_learns():
    ssm = system(dim=50, train_dynamics=True)
    with torch.no_grad():
        for parameter in ssm.parameters():
            parameter.add_(3 * torch.randn_like(parameter))
        assert float(torch.linalg.eigvals(ssm.discrete()[0]).abs().max()) < 1


# ---------------------------------------------------------------------------------------------------- the kernel


@pytest.mark.parametrize("length", [1, 2, 75, 600])
@pytest.mark.parametrize("kind", KINDS)
def test_basis_generating_function_and_plain_recurrence_give_one_kernel(kind, length):
    ssm = system(kind, bidirectional=True)
    expected = kernel_by_recurrence(ssm, length)
    torch.testing.assert_close(ssm.kernel(length), expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(ssm.kernel_by_generating_function(length), expected, rtol=0, atol=1e-10)
    single, largest = copy.deepcopy(ssm).float(), float(expected.detach().abs().max())
    for kernel in (single.kernel(length), single.kernel_by_generating_function(length)):
        assert kernel.dtype == torch.float32 and float((kernel.detach().double() - expected).abs().max()) < 1e-5 * largest


@pytest.mark.parametrize("path", ["basis", "kernel_by_generating_function"])
def test_the_kernel_of_a_length_is_the_beginning_of_that_of_twice_the_length(path):
    for first, second in ((300, 600), (600, 300)):
        ssm = system()
        short, long = sorted((getattr(ssm, path)(first).detach(), getattr(ssm, path)(second).detach()), key=lambda kernel: kernel.shape[-1])
        torch.testing.assert_close(long[..., :300], short, rtol=0, atol=1e-12)


def test_the_dynamics_rest_unless_they_are_asked_to_learn():
    rest, learn = system(), system(train_dynamics=True)
    assert {name for name, _ in rest.named_parameters()} == {"C", "D"}
    assert {name for name, _ in learn.named_parameters()} == {"C", "D", "log_step", "log_decay", "frequency", "P", "B"}
    assert rest.state_dict().keys() == learn.state_dict().keys()
    assert "P" not in {name for name, _ in system("s4d_lin", train_dynamics=True).named_parameters()}


def test_a_system_that_learns_starts_as_the_one_at_rest():
    u = torch.randn(2, 3, 50, dtype=torch.float64)
    torch.testing.assert_close(system(train_dynamics=True)(u), system()(u))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_all_that_learns_are_right(kind):
    ssm = system(kind, dim=2, state=4, train_dynamics=True, bidirectional=True)
    u = torch.randn(1, 2, 9, dtype=torch.float64, requires_grad=True)
    names, values = zip(*((name, value.detach().clone().requires_grad_()) for name, value in ssm.named_parameters()))

    def out(u, *values):
        return torch.func.functional_call(ssm, dict(zip(names, values)), (u,))

    assert torch.autograd.gradcheck(out, (u, *values))


def test_the_gradient_of_c_through_the_kept_basis_is_right():
    ssm = system(dim=2, state=4)
    c, d = (value.detach().clone().requires_grad_() for value in (ssm.C, ssm.D))
    u = torch.randn(1, 2, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda c, d: torch.func.functional_call(ssm, {"C": c, "D": d}, (u,)), (c, d))


def test_the_basis_is_kept_follows_the_weights_and_is_no_part_of_them():
    ssm, other = system(), SSM(3, 8).double()
    first = ssm.basis(40)
    assert ssm.basis(40).data_ptr() == first.data_ptr() == ssm.basis(7).data_ptr()
    assert set(ssm.state_dict()) == {"log_step", "log_decay", "frequency", "P", "B", "C", "D"}
    other.load_state_dict(ssm.state_dict())
    torch.testing.assert_close(other.basis(40), first, rtol=0, atol=0)
    ssm.log_step.add_(0.5)
    assert not torch.allclose(ssm.basis(40), first)
    torch.testing.assert_close(ssm.kernel(40), kernel_by_recurrence(ssm, 40))
    assert ssm.float().basis(40).dtype == torch.float32


def test_a_basis_that_would_be_large_is_not_kept(monkeypatch):
    monkeypatch.setattr(s4, "CACHE_VALUES", 3 * 8 * 50)
    ssm = system()
    ssm.basis(51)
    assert ssm._kept is None
    ssm.basis(50)
    assert ssm._kept is not None


def test_what_was_used_for_answers_can_learn_afterwards():
    ssm, u = system(), torch.randn(1, 3, 20, dtype=torch.float64)
    with torch.inference_mode():
        ssm(u)
    ssm(u).sum().backward()
    assert float(ssm.C.grad.abs().sum()) > 0


# ---------------------------------------------------------------------------------------------------- convolution and recurrence


@pytest.mark.parametrize("both", [False, True])
def test_convolution_by_spectra_is_the_convolution(both):
    u, kernel, ahead = torch.randn(2, 3, 17, dtype=torch.float64), *torch.randn(2, 3, 17, dtype=torch.float64)
    ahead = ahead if both else None
    torch.testing.assert_close(convolve(u, kernel, ahead), convolve_directly(u, kernel, ahead))


def test_an_impulse_at_the_end_does_not_come_back_at_the_start():
    u, kernel = torch.zeros(1, 1, 64, dtype=torch.float64), torch.ones(1, 64, dtype=torch.float64)
    u[..., -1] = 1
    torch.testing.assert_close(convolve(u, kernel), u, rtol=0, atol=1e-14)
    u = u.flip(-1)
    torch.testing.assert_close(convolve(u, torch.zeros_like(kernel), kernel), torch.zeros_like(u), rtol=0, atol=1e-14)


def test_transforms_have_lengths_of_small_primes():
    assert [fast_length(n) for n in (1, 7, 600, 1201, 2400)] == [1, 8, 600, 1215, 2400]


@pytest.mark.parametrize("kind", KINDS)
def test_recurrence_from_sample_to_sample_is_the_convolution(kind):
    ssm = system(kind)
    u = torch.randn(2, 3, 150, dtype=torch.float64)
    stepper, state, out = ssm.stepper(), torch.zeros(2, 3, 8, dtype=torch.float64), []
    for t in range(150):
        y, state = ssm.step(u[:, :, t], state, stepper)
        out.append(y)
    torch.testing.assert_close(torch.stack(out, dim=2), ssm(u), rtol=0, atol=1e-10)


def test_what_comes_later_changes_nothing_before_unless_it_may():
    u = torch.randn(1, 3, 120)
    changed = u.clone()
    changed[..., 60:] += 1
    causal, both = system().float(), system(bidirectional=True).float()
    torch.testing.assert_close(causal(u)[..., :60], causal(changed)[..., :60], rtol=0, atol=1e-5)
    assert bool(((both(u) - both(changed))[..., :60].abs() > 0.01).any())
    with pytest.raises(ValueError, match="bidirectional=False"):
        both.stepper()


def test_signals_that_run_backwards_swap_the_two_kernels():
    ssm = system(bidirectional=True)
    u, (kernel, ahead) = torch.randn(1, 3, 40, dtype=torch.float64), ssm.kernel(40).detach()
    forwards = convolve(u, kernel, ahead)
    backwards = convolve(u.flip(-1), ahead, kernel)
    # Lag 0 is the first kernel's alone, so that turned round both are one sample off.
    torch.testing.assert_close(backwards.flip(-1)[..., 1:], forwards[..., :-1])


def test_state_and_error_stay_bounded_over_many_memories():
    # The slowest memory lasts 1 / 0.001 samples; 20 of them, in float32, against the same in float64.
    torch.manual_seed(0)
    single = SSM(2, 8, step_range=(0.001, 0.00100001))
    double = copy.deepcopy(single).double()
    u = torch.sign(torch.sin(torch.arange(20_000) / 700))[:, None, None] + 0.1 * torch.randn(20_000, 1, 2)
    with torch.inference_mode():
        low, high = single.stepper(), double.stepper()
        x, exact, errors, sizes = torch.zeros(1, 2, 8), torch.zeros(1, 2, 8, dtype=torch.float64), [], []
        for now in u:
            _, x = single.step(now, x, low)
            _, exact = double.step(now.double(), exact, high)
            errors.append(float((x - exact).abs().max()))
            sizes.append(float(x.abs().max()))
    assert max(sizes[15_000:]) < 1.5 * max(sizes[:5_000]) < 15
    assert max(errors[15_000:]) < max(3 * max(errors[2_000:7_000]), 1e-5) and max(errors) < 1e-3


# ---------------------------------------------------------------------------------------------------- the layer


def test_a_layer_is_its_definition():
    torch.manual_seed(0)
    layer = S4Layer(4, 8).double().eval()
    x = torch.randn(2, 30, 4, dtype=torch.float64)
    y = convolve_directly(x.transpose(1, 2), layer.ssm.kernel(30)[0].detach()) + layer.ssm.D[:, None] * x.transpose(1, 2)
    value, gate = F.linear(F.gelu(y.transpose(1, 2)), layer.mix.weight, layer.mix.bias).split(4, dim=2)
    torch.testing.assert_close(layer(x), value * torch.sigmoid(gate))


def test_parameters_are_as_many_as_published():
    count = lambda module: sum(p.numel() for p in module.parameters() if p.requires_grad)  # noqa: E731
    assert count(S4Layer(512)) + 1024 == 530_944 and count(S4Layer(512, bidirectional=True)) + 1024 == 535_040


def test_under_autocast_the_system_itself_stays_in_single_precision():
    torch.manual_seed(0)
    ssm, u = SSM(4), torch.randn(1, 4, 300)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = ssm(u.to(torch.bfloat16))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, ssm(u.to(torch.bfloat16).float()))


def test_tied_dropout_takes_whole_channels():
    torch.manual_seed(0)
    x = torch.ones(3, 50, 400)
    tied, free = tied_dropout(x, 0.25, True), tied_dropout(x, 0.25, True, tied=False)
    assert bool((tied == tied[:, :1]).all()) and not bool((free == free[:, :1]).all())
    assert sorted(tied.unique().tolist()) == pytest.approx([0, 4 / 3]) and 0.2 < float((tied == 0).float().mean()) < 0.3
    assert tied_dropout(x, 0.25, False) is x
