"""What the catalog's samples do not show: vmap where PyTorch has none, dtypes under autocast, saturated gates."""

from __future__ import annotations

import warnings
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from reference.catalog import RECORDS, Make
from scratchnet import nn
from scratchnet.recurrent import gates
from scratchnet.recurrent.in_place import Numbers, tanh_of_half_
from scratchnet.recurrent.steps import Carry, Steps, previous, previous_rows
from scratchnet.testing import quantities

NETWORKS, CELLS = ("RNN", "LSTM", "GRU"), ("RNNCell", "LSTMCell", "GRUCell")


def flat(output) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    return [x for part in output if part is not None for x in flat(part)]


@pytest.mark.parametrize("name", NETWORKS)
def test_vmap_over_packed_sequences_equals_a_loop(name):
    checked = 0
    for sample in RECORDS[name].samples(Make(torch.float64)):
        subject, call = RECORDS[name].call(sample)
        if isinstance(sample.inputs[0], Tensor):
            continue
        for _, upstream in list(quantities.choose_upstreams(quantities.Recording(subject, call), call.seed))[:1]:
            expected = quantities.over_batches(subject, call, upstream, loop=True)
            got = quantities.over_batches(subject, call, upstream)
            assert got.keys() == expected.keys()
            for quantity, tensor in expected.items():
                torch.testing.assert_close(got[quantity], tensor, rtol=1e-10, atol=1e-12, msg=quantity)
        checked += 1
    assert checked >= 3


# Of what crosses a break of the graph, the compiler looks at the gradient.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_packed_sequences_pass_where_the_rest_is_compiled():
    torch.manual_seed(0)
    network = nn.LSTM(3, 2, num_layers=2, bidirectional=True, dtype=torch.float64)

    def run(sequences: Tensor, lengths: Tensor) -> list[Tensor]:
        output, final = network(pack_padded_sequence(2 * sequences, lengths, enforce_sorted=False))
        return flat((pad_packed_sequence(output)[0], final))

    backend = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(run, backend=backend)
    for lengths in ((3, 1, 2), (2, 3)):
        x = torch.randn(3, len(lengths), 3, dtype=torch.float64, requires_grad=True)
        found = []
        for function in (compiled, run):
            outputs = function(x, torch.tensor(lengths))
            total = sum(y.pow(2).sum() for y in outputs)
            found.append([*outputs, *torch.autograd.grad(total, [x, *network.parameters()])])
        torch.testing.assert_close(*found)
    assert backend.frame_count > 0


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("lengths", [(3, 1, 2), (2, 2), (1,), (4, 4, 1)])
def test_a_packed_batch_is_each_sequence_alone(name, lengths):
    torch.manual_seed(0)
    network = getattr(nn, name)(3, 2, num_layers=2, bidirectional=True, dtype=torch.float64)
    sequences = torch.randn(max(lengths), len(lengths), 3, dtype=torch.float64)
    packed = pack_padded_sequence(sequences, torch.tensor(lengths), enforce_sorted=False)
    output, final = network(packed)
    padded, _ = pad_packed_sequence(output)
    for b, length in enumerate(lengths):
        alone, alone_final = network(sequences[:length, b])
        torch.testing.assert_close(padded[:length, b], alone)
        assert not padded[length:, b].any()
        for state, expected in zip(flat(final), flat(alone_final), strict=True):
            torch.testing.assert_close(state[:, b], expected)


@pytest.mark.parametrize("name", [*NETWORKS, *CELLS])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cast", [(), ("input",), ("state",), ("input", "state")], ids=str)
def test_dtypes_under_autocast(name, dtype, cast):
    ours, theirs = getattr(nn, name)(3, 2), getattr(torch.nn, name)(3, 2)
    x = torch.randn(4, 3) if name in CELLS else torch.randn(5, 4, 3)
    state = torch.randn(4, 2) if name in CELLS else torch.randn(1, 4, 2)
    x, state = x.to(dtype if "input" in cast else x.dtype), state.to(dtype if "state" in cast else state.dtype)
    hx = (state, state) if "LSTM" in name else state
    with torch.autocast("cpu", dtype=dtype):
        got = ours(x, hx)
        if name == "LSTM":  # for which oneDNN has no kernel in these dtypes on every processor
            assert {y.dtype for y in flat(got)} == {dtype}
        else:
            assert [y.dtype for y in flat(got)] == [y.dtype for y in flat(theirs(x, hx))]
        flat(got)[0].sum().backward()
    assert all(p.grad is not None and p.grad.dtype is torch.float32 for p in ours.parameters())


@pytest.mark.parametrize("name", ["LSTM", "LSTMCell"])
def test_one_tensor_as_both_states(name):
    def second_derivative(module, x, state):
        output = flat(module(x, (state, state)))[0]
        (first,) = torch.autograd.grad(output.square().sum(), state, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [state, x])

    torch.manual_seed(0)
    ours, theirs = (getattr(library, name)(3, 2, dtype=torch.float64) for library in (nn, torch.nn))
    theirs.load_state_dict(ours.state_dict())
    shape = (4,) if name in CELLS else (1, 4)
    x = torch.randn(*shape, 3, dtype=torch.float64, requires_grad=True)
    state = torch.randn(*shape, 2, dtype=torch.float64, requires_grad=True)
    got, expected = second_derivative(ours, x, state), second_derivative(theirs, x, state)
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_saturated_units_have_finite_derivatives_of_every_order(name):
    network = getattr(nn, name)(1, 2, dtype=torch.float64)
    x = torch.tensor([1e3, -1e3, 0.0, 50.0], dtype=torch.float64).view(4, 1, 1).requires_grad_()
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1.0)
    (first,) = torch.autograd.grad(network(x)[0].sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert first.isfinite().all()
    assert second.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_on_the_meta_device(name):
    network = getattr(nn, name)(3, 2, bidirectional=True, device="meta")
    output, final = network(torch.empty(5, 4, 3, device="meta"))
    assert output.shape == (5, 4, 4)
    assert {state.shape for state in flat(final)} == {(2, 4, 2)}


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_on_a_single_layer_warns(name):
    with pytest.warns(UserWarning, match="expects num_layers greater than 1"):
        getattr(nn, name)(3, 2, dropout=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(nn, name)(3, 2, num_layers=2, dropout=0.5).flatten_parameters()


@pytest.mark.parametrize("name", NETWORKS)
def test_all_weights_are_the_parameters_by_layer_and_direction(name):
    torch.manual_seed(0)
    ours = getattr(nn, name)(3, 2, num_layers=2, bidirectional=True)
    torch.manual_seed(0)
    theirs = getattr(torch.nn, name)(3, 2, num_layers=2, bidirectional=True)
    for mine, expected in zip(ours.all_weights, theirs.all_weights, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, expected, strict=True))
    assert ours.all_weights[1][0] is ours.weight_ih_l0_reverse


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gates_are_accurate_from_tiny_to_huge(dtype):
    magnitudes = torch.logspace(-30, 4, 400, dtype=dtype)
    x = torch.cat((magnitudes, -magnitudes, torch.tensor([0.0, float("inf"), -float("inf")], dtype=dtype)))
    few = {"rtol": 4 * torch.finfo(dtype).eps, "atol": torch.finfo(dtype).tiny}
    for got, expected in (
        (gates.sigmoid(x), torch.sigmoid(x)),
        (gates.tanh(x), torch.tanh(x)),
        (tanh_of_half_(2 * x, torch.empty_like(x), torch.empty_like(x), Numbers.like(x)), torch.tanh(x)),
    ):
        torch.testing.assert_close(got, expected, **few)
    nan = torch.tensor([float("nan")], dtype=dtype)
    assert all(f(nan).isnan().all() for f in (gates.sigmoid, gates.tanh))
    assert tanh_of_half_(nan, nan.clone(), nan.clone(), Numbers.like(nan)).isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("length", [1, 2])
@pytest.mark.parametrize("units", [1, 2, 9, 33])
def test_saturated_units_have_no_slope(name, dtype, length, units):
    torch.manual_seed(0)
    network = getattr(nn, name)(1, units, dtype=dtype)
    x = torch.full((length, 2, 1), 1e20, dtype=dtype, requires_grad=True)
    final = flat(network(x)[1])[0]
    # Nothing moves a saturated unit, and the input would make much of a rounding.
    assert not torch.autograd.grad(final.sum(), network.weight_ih_l0)[0].any()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("sizes", [(3, 2, 2, 1), (2, 2), (2,)])
def test_states_come_from_the_step_before(sizes, reverse):
    steps, rows = Steps(sizes, reverse), sum(sizes)
    states = torch.arange(rows, dtype=torch.float64).view(rows, 1)
    initial = -1 - torch.arange(sizes[0], dtype=torch.float64).view(-1, 1)
    starts = [sum(sizes[:t]) for t in range(len(sizes))]
    expected = []
    for t, size in enumerate(sizes):
        before = t + 1 if reverse else t - 1
        for b in range(size):
            inside = 0 <= before < len(sizes) and b < sizes[before]
            expected.append(states[starts[before] + b] if inside else initial[b])
    found = steps.join(list(previous(states, initial, steps)))
    assert torch.equal(found, torch.stack(expected))
    assert torch.equal(previous_rows(states, initial, steps), found)


def test_a_carry_returns_every_sequence_in_its_place():
    carry = Carry(torch.arange(4.0))
    for size in (3, 1, 1):
        carry.state = carry.rows(size) + 10
    assert carry.final().tolist() == [30.0, 11.0, 12.0]


@pytest.mark.parametrize("name", NETWORKS)
def test_long_sequences_of_few_units_keep_their_digits(name):
    torch.manual_seed(0)
    ours, theirs = (getattr(module, name)(8, 8) for module in (nn, torch.nn))
    ours.load_state_dict(theirs.state_dict())
    x, upstream = torch.randn(4000, 1, 8), torch.ones(4000, 1, 8)
    exact = deepcopy(theirs).double()
    for module, at in ((ours, x), (theirs, x), (exact, x.double())):
        module(at)[0].backward(upstream.to(at.dtype))
    for mine, builtin, truth in zip(ours.parameters(), theirs.parameters(), exact.parameters(), strict=True):
        eps = torch.finfo(torch.float32).eps * truth.grad.abs().max()
        mistake, own = ((p.grad.double() - truth.grad).abs().max() for p in (mine, builtin))
        assert mistake <= 2 * own + eps
