"""Recurrent networks and cells."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from reference.catalog.record import BadInput, Beyond, Make, Record, Sample, bad, leaf, module_pairs
from scratchnet.nn import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNBase, RNNCell, RNNCellBase
from scratchnet.recurrent.elman import ElmanFunction
from scratchnet.recurrent.gru import GRUFunction
from scratchnet.recurrent.lstm import LSTMFunction

__all__ = ["RECORDS"]

TIMES, BATCH, FEATURES, HIDDEN = 3, 2, 3, 2
BOTH = {"num_layers": 2, "bidirectional": True}


def states(make: Make, batch: int, options: dict[str, Any], pair: bool) -> Any:
    """Returns initial states, a pair of them for the LSTM."""
    count = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    h = make.normal(count, batch, options.get("proj_size", HIDDEN))
    return (h, make.normal(count, batch, HIDDEN)) if pair else h


def packed(make: Make, *lengths: int) -> PackedSequence:
    padded = make.normal(max(lengths), len(lengths), FEATURES, grad=False)
    in_order = list(lengths) == sorted(lengths, reverse=True)
    found = pack_padded_sequence(padded, torch.tensor(lengths), enforce_sorted=in_order)
    return found._replace(data=leaf(found.data))


def network_samples(make: Make, *, pair: bool, more: dict[str, Any] | None = None) -> Iterator[Sample]:

    def sample(x: Any, batch: int | None = None, **options: Any) -> Sample:
        sizes = {"input_size": FEATURES, "hidden_size": HIDDEN, "dtype": make.dtype}
        hx = () if batch is None else (states(make, batch, options, pair),)
        # A second layer repeats the first, and finite differences of its parameters are slow.
        return Sample((x, *hx), arguments=sizes | options, smooth=options.get("num_layers", 1) == 1)

    yield sample(make.normal(2, BATCH, FEATURES))
    yield sample(make.normal(TIMES, BATCH, FEATURES), BATCH)
    yield sample(packed(make, 1, 3, 2))
    yield sample(packed(make, 1, 3), 2, **BOTH)
    yield sample(packed(make, 3, 1), 2, bidirectional=True, bias=False)
    if more is not None:
        yield sample(make.normal(TIMES, BATCH, FEATURES), BATCH, **more)
        yield sample(packed(make, 1, 2), 2, **more, **BOTH)
    yield sample(make.normal(BATCH, TIMES, FEATURES), BATCH, **BOTH, batch_first=True)
    yield sample(make.normal(2, BATCH, FEATURES), num_layers=2, dropout=0.5)
    yield sample(make.normal(2, BATCH, FEATURES), num_layers=2, dropout=1.0)
    single = states(make, 1, {"bidirectional": True}, pair)
    one = tuple(leaf(s[:, 0]) for s in single) if pair else leaf(single[:, 0])
    yield Sample((make.normal(TIMES, FEATURES), one), arguments=sample(None, bidirectional=True).arguments)
    yield sample(make.normal(1, FEATURES), batch_first=True)
    yield sample(leaf(make.normal(BATCH, FEATURES, TIMES).permute(2, 0, 1)))
    yield sample(leaf(make.normal(1, BATCH, FEATURES).expand(2, BATCH, FEATURES)))
    yield sample(make.normal(2, BATCH, FEATURES, grad=False), BATCH)
    yield sample(make.normal(TIMES, 0, FEATURES))


def cell_samples(make: Make, *, pair: bool, more: tuple[dict[str, Any], ...] = ()) -> Iterator[Sample]:
    sizes = {"input_size": FEATURES, "hidden_size": HIDDEN, "dtype": make.dtype}

    def state(*leading: int) -> Any:
        return (
            (make.normal(*leading, HIDDEN), make.normal(*leading, HIDDEN))
            if pair
            else make.normal(*leading, HIDDEN)
        )

    for options in ({}, {"bias": False}, *more):
        yield Sample((make.normal(BATCH, FEATURES), state(BATCH)), arguments=sizes | options)
        yield Sample((make.normal(BATCH, FEATURES),), arguments=sizes | options)
    yield Sample((make.normal(FEATURES), state()), arguments=sizes)
    yield Sample((make.normal(FEATURES),), arguments=sizes)
    yield Sample((leaf(make.normal(FEATURES, BATCH).t()), state(BATCH)), arguments=sizes)
    yield Sample((leaf(make.normal(1, FEATURES).expand(BATCH, FEATURES)), state(BATCH)), arguments=sizes)
    yield Sample((make.normal(BATCH, FEATURES, grad=False), state(BATCH)), arguments=sizes)
    yield Sample((make.normal(0, FEATURES), state(0)), arguments=sizes)


bad_module = partial(bad, input_size=FEATURES, hidden_size=HIDDEN)
X = torch.zeros(TIMES, BATCH, FEATURES)


def network_errors(pair: bool) -> list[BadInput]:

    def hx(*shape: int) -> Any:
        return (torch.zeros(shape), torch.zeros(shape)) if pair else torch.zeros(shape)

    return [
        bad_module(ValueError, "expected an input of shape (T, B, I)", torch.zeros(FEATURES)),
        bad_module(
            ValueError, "expected an input of shape (B, T, I)", torch.zeros(1, 1, 1, FEATURES), batch_first=True
        ),
        bad_module(RuntimeError, "of 3 features", torch.zeros(TIMES, BATCH, 2)),
        bad_module(
            RuntimeError, "of 3 features", pack_padded_sequence(torch.zeros(TIMES, BATCH, 2), torch.tensor([3, 2]))
        ),
        bad_module(ValueError, "in the parameters' dtype, torch.float32", X.double()),
        bad_module(TypeError, "expected bidirectional to be True or False", X, bidirectional=2),
        bad_module(RuntimeError, "a state of shape (1, 2, 2)", X, hx(1, BATCH, 3)),
        bad_module(RuntimeError, "a state of shape (2, 2, 2)", X, hx(1, BATCH, HIDDEN), num_layers=2),
        bad_module(RuntimeError, "a state of shape (1, 2, 2)", X, hx(1, HIDDEN)),
        bad_module(RuntimeError, "a state of shape (1, 2)", X[:, 0], hx(1, 1, HIDDEN)),
    ]


def cell_errors(pair: bool) -> list[BadInput]:

    def hx(*shape: int) -> Any:
        return (torch.zeros(shape), torch.zeros(shape)) if pair else torch.zeros(shape)

    return [
        bad_module(ValueError, "expected an input of shape (B, I) or (I,)", X),
        bad_module(ValueError, "expected hx of shape (B, H) or (H,)", X[0], hx(1, BATCH, HIDDEN)),
        bad_module(RuntimeError, "of 3 features", torch.zeros(BATCH, 2)),
        bad_module(RuntimeError, "expected hx of shape (2, 2)", X[0], hx(3, HIDDEN)),
        bad_module(RuntimeError, "expected hx of shape (2, 2)", X[0], hx(BATCH, 3)),
        bad_module(RuntimeError, "of one dtype", X[0].double()),
        *[bad_module(TypeError, "expected hx to be a pair", X[0], torch.zeros(BATCH, HIDDEN))] * pair,
    ]


NO_TIMES = Beyond(
    "sequences of length 0: the output is empty and the final states are the initial ones",
    lambda make: Sample(
        (make.normal(0, 1, grad=False),), arguments={"input_size": 1, "hidden_size": 1, "dtype": make.dtype}
    ),
    [],
)
EVERY = {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.25, "bidirectional": True}

RECORDS = (
    Record(
        "RNN",
        RNN,
        nn.RNN,
        partial(network_samples, pair=False, more={"nonlinearity": "relu"}),
        [ElmanFunction],
        errors=network_errors(pair=False),
        beyond=[NO_TIMES],
        builtin_lacks=frozenset({"vmap"}),
        modules=module_pairs(RNN, nn.RNN, {}, EVERY, {"nonlinearity": "relu"}, sizes=(4, 3)),
    ),
    Record(
        "LSTM",
        LSTM,
        nn.LSTM,
        partial(network_samples, pair=True, more={"proj_size": 1}),
        [LSTMFunction],
        errors=[
            *network_errors(pair=True),
            bad_module(RuntimeError, "expected hx to be a pair", X, torch.zeros(2, BATCH, HIDDEN)),
        ],
        beyond=[NO_TIMES],
        builtin_lacks=frozenset({"vmap"}),
        modules=[
            *module_pairs(LSTM, nn.LSTM, {}, EVERY, {"proj_size": 2}, {**EVERY, "proj_size": 2}, sizes=(4, 3)),
            (partial(RNNBase, "LSTM", 4, 3), partial(nn.RNNBase, "LSTM", 4, 3)),
        ],
    ),
    Record(
        "GRU",
        GRU,
        nn.GRU,
        partial(network_samples, pair=False),
        [GRUFunction],
        errors=network_errors(pair=False),
        beyond=[NO_TIMES],
        builtin_lacks=frozenset({"vmap"}),
        modules=module_pairs(GRU, nn.GRU, {}, EVERY, sizes=(4, 3)),
    ),
    Record(
        "RNNCell",
        RNNCell,
        nn.RNNCell,
        partial(cell_samples, pair=False, more=({"nonlinearity": "relu"},)),
        [ElmanFunction],
        errors=[
            *cell_errors(pair=False),
            bad_module(RuntimeError, "nonlinearity to be", X[0], nonlinearity="gelu"),
        ],
        modules=[
            *module_pairs(RNNCell, nn.RNNCell, {}, {"bias": False, "nonlinearity": "relu"}, sizes=(4, 3)),
            (partial(RNNCellBase, 4, 3, True, 2), partial(nn.RNNCellBase, 4, 3, True, 2)),
        ],
        # In one sample, terms near 1 cancel to 0.09, where a rounding of 1.8e-7 is 17 units. The built-in adds in
        # another order, which rounds less on a processor with AVX-512.
        roundings=18,
    ),
    Record(
        "LSTMCell",
        LSTMCell,
        nn.LSTMCell,
        partial(cell_samples, pair=True),
        [LSTMFunction],
        errors=cell_errors(pair=True),
        modules=module_pairs(LSTMCell, nn.LSTMCell, {}, {"bias": False}, sizes=(4, 3)),
    ),
    Record(
        "GRUCell",
        GRUCell,
        nn.GRUCell,
        partial(cell_samples, pair=False),
        [GRUFunction],
        errors=cell_errors(pair=False),
        modules=module_pairs(GRUCell, nn.GRUCell, {}, {"bias": False}, sizes=(4, 3)),
    ),
)
