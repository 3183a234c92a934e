"""Operators that stand for whole algorithms in compiled graphs."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.library import opcheck
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import scratchnet.nn
from experiments.backend import CUSTOM
from experiments.data.vision import models
from experiments.models import MODELS
from reference.catalog import RECORDS, Make
from scratchnet import functional
from scratchnet.conversion import convert
from scratchnet.convolution.algorithms.winograd import filtering
from scratchnet.function.opaque import OPERATORS, Opaque
from scratchnet.inspection import purity
from scratchnet.testing.subject import Call, Subject

pytestmark = pytest.mark.filterwarnings("ignore")  # torch's compiler raises warnings of its own
CHEAP, WHOLE = ("test_schema", "test_faketensor"), ("test_schema", "test_faketensor", "test_aot_dispatch_dynamic")


def name_of(opaque: Opaque) -> str:
    return opaque.operator._schema.name


def run(record, sample) -> None:
    """Runs an op and its backward pass."""
    custom = record.sides(sample)[0]
    parameters = dict(custom.named_parameters()) if isinstance(custom, torch.nn.Module) else {}
    call = Call(sample.inputs, sample.options, parameters)
    call = call.with_leaves([x.detach().clone().requires_grad_(x.requires_grad) for x in call.leaves()])
    outputs = [y for y in Subject(custom).run(call) if y.requires_grad]
    if outputs and call.leaves():
        torch.autograd.backward(outputs, [torch.randn_like(y) for y in outputs])


def test_operators_pass_opcheck_wherever_the_catalog_calls_them(monkeypatch):
    monkeypatch.setattr(filtering, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(filtering, "LEAST_PIXELS", 0)
    monkeypatch.setattr(filtering, "LEAST_ELEMENTS", 0)
    calls: dict[str, dict[str, list]] = defaultdict(dict)
    for opaque in OPERATORS:

        def noted(*arguments, opaque=opaque, function=opaque.function):
            packed = opaque.pack(arguments)
            if not any(x.is_complex() for x in packed if isinstance(x, Tensor)):
                shapes = [(x.shape, x.stride(), x.dtype) if isinstance(x, Tensor) else x for x in packed]
                calls[name_of(opaque)][str(shapes)] = packed
            return function(*arguments)

        monkeypatch.setattr(opaque, "function", noted)
    for record in RECORDS.values():
        for sample in record.samples(Make(torch.float64)):
            run(record, sample)
    monkeypatch.undo()
    for opaque in OPERATORS:
        found = list(calls[name_of(opaque)].values())
        assert found, f"no sample of the catalog reaches {name_of(opaque)}"
        for i, packed in enumerate(found[:: len(found) // 12 + 1]):
            detached = [x.detach() if isinstance(x, Tensor) else x for x in packed]
            opcheck(opaque.operator, tuple(detached), test_utils=CHEAP if i else WHOLE)


def conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.conv2d(x, weight, bias, padding=1).relu()


def fused(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.conv2d_relu_max_pool2d(x, weight, bias, padding=1)


def transposed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return functional.conv_transpose2d(x, weight.transpose(0, 1), bias, stride=2).sin()


def builtin(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.conv2d(x, weight, bias, padding=1).relu()


SLOW = pytest.mark.slow
FUNCTIONS = [pytest.param(conv, marks=SLOW), fused, pytest.param(transposed, marks=SLOW)]


def inputs(batch: int = 2, size: int = 6, dtype: torch.dtype = torch.float64, last: bool = False) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, 3, size, size + 1), (4, 3, 3, 3), (4,)
    made = [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]
    if last:
        made[0] = made[0].contiguous(memory_format=torch.channels_last)
    return [x.requires_grad_() for x in made]


def values_and_gradients(function, given: list[Tensor]) -> list[Tensor]:
    y = function(*given)
    upstream = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view(y.shape)
    return [y, *torch.autograd.grad(y, given, upstream)]


def assert_same(compiled, eager, given: list[Tensor], **tolerances: float) -> None:
    for found, wanted in zip(
        values_and_gradients(compiled, given), values_and_gradients(eager, given), strict=True
    ):
        torch.testing.assert_close(found, wanted, check_stride=True, **tolerances)


def operators_in(graphs: list[torch.fx.GraphModule]) -> Counter:
    targets = [str(n.target) for graph in graphs for n in graph.graph.nodes if "scratchnet" in str(n.target)]
    inner = [m for graph in graphs for m in graph.children() if isinstance(m, torch.fx.GraphModule)]
    return Counter(targets) + (operators_in(inner) if inner else Counter())


@pytest.mark.parametrize(
    ("function", "dynamic"),
    [
        (conv, None),
        pytest.param(conv, True, marks=SLOW),
        (fused, True),
        pytest.param(transposed, True, marks=SLOW),
    ],
)
def test_compiled_calls_give_the_eager_results_in_their_strides(function, dynamic):
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(function, backend=counter, fullgraph=True, dynamic=dynamic)
    for batch, size in ((2, 6), (3, 7), (5, 8)):
        assert_same(compiled, function, inputs(batch, size))
    # Both follow the sizes: the second shape makes them dynamic, or the first if they are from the start.
    assert counter.frame_count == (1 if dynamic else 2)
    assert len(operators_in(counter.graphs)) >= 2
    for other in (inputs(last=True), inputs(dtype=torch.float32)):
        assert_same(compiled, function, other, rtol=1e-5, atol=1e-5)
    assert_same(compiled, function, inputs(dtype=torch.bfloat16), rtol=0.02, atol=0.02)


def test_calls_recompile_no_more_often_than_the_built_in():
    counts = []
    for function in (conv, builtin):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        compiled = torch.compile(function, backend=counter)
        for batch, size, last in ((2, 6, False), (3, 6, False), (4, 9, False), (7, 5, False), (2, 6, True)):
            compiled(*inputs(batch, size, last=last)).sum().backward()
        with torch.no_grad():
            compiled(*inputs())
        counts.append(counter.frame_count)
    assert counts[0] <= counts[1]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_needed_gradient_alone_is_computed(function):
    for which in range(3):
        torch._dynamo.reset()
        given = [x.requires_grad_(i == which) for i, x in enumerate(inputs())]
        compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
        pair = [torch.autograd.grad(f(*given).square().sum(), given[which]) for f in (compiled, function)]
        torch.testing.assert_close(*pair)


def test_images_that_are_not_finite_spread_as_eagerly():
    torch._dynamo.reset()
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    for position, value in ((0, float("inf")), (1, float("nan"))):
        given = inputs()
        with torch.no_grad():
            given[position][0, 0, 1, 1] = value
        for found, wanted in zip(
            values_and_gradients(compiled, given), values_and_gradients(conv, given), strict=True
        ):
            torch.testing.assert_close(found, wanted, equal_nan=True)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_transforms_inside_compiled_functions_take_the_plain_form(function):
    def loss(*given: Tensor) -> Tensor:
        return function(*given).pow(3).sum()

    def twice(*given: Tensor) -> Tensor:
        return torch.func.grad(lambda *g: torch.func.grad(loss)(*g).square().sum())(*given)

    def mapped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.func.vmap(lambda one: function(one.unsqueeze(0), weight, bias))(x)

    def pushed(*given: Tensor):
        return torch.func.jvp(lambda x: function(x, *given[1:]), given[:1], given[:1])

    given = [x.detach() for x in inputs()]
    for transform in (torch.func.grad(loss, argnums=(0, 1, 2)), twice, mapped, pushed):
        torch._dynamo.reset()
        counter = CompileCounterWithBackend("aot_eager")
        found = torch.compile(transform, backend=counter, fullgraph=True)(*given)
        for one, wanted in zip(tree_leaves(found), tree_leaves(transform(*given)), strict=True):
            torch.testing.assert_close(one, wanted)
        assert not operators_in(counter.graphs)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_exported_and_traced_graphs_hold_the_plain_form(function):
    class Module(torch.nn.Module):
        def forward(self, *given: Tensor) -> Tensor:
            return function(*given)

    given = tuple(x.detach() for x in inputs())
    exported = [torch.export.export(Module(), given, strict=strict).graph_module for strict in (False, True)]
    assert not operators_in(exported)
    assert "scratchnet::" not in str(torch.jit.trace(function, given).graph)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_checkpoints_and_autocast_compile(function):
    def again(*given: Tensor) -> Tensor:
        return checkpoint(function, *given, use_reentrant=False).sin()

    torch._dynamo.reset()
    assert_same(torch.compile(again, backend="aot_eager", fullgraph=True), again, inputs())
    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(compiled, function, inputs(dtype=torch.float32), rtol=0.02, atol=0.02)


def test_compiled_graphs_without_gradients_run_the_fast_form(monkeypatch):
    torch._dynamo.reset()
    compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
    given = [x.detach() for x in inputs()]
    compiled(*given)
    modes = []
    for opaque in OPERATORS:

        def noted(*arguments, function=opaque.function):
            modes.append(torch.is_grad_enabled())
            return function(*arguments)

        monkeypatch.setattr(opaque, "function", noted)
    compiled(*given)
    assert modes == [False]


def test_a_purity_check_sees_what_an_operator_runs():
    torch._dynamo.reset()
    model = scratchnet.nn.Conv2d(3, 4, 3)
    model.compile(backend="aot_eager")
    found = purity(model, torch.randn(2, 3, 6, 6))
    assert found.pure
    assert found.operators > 10


class Block(torch.nn.Module):
    """A transformer block on tokens, with our modules."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = scratchnet.nn.Embedding(11, 16)
        self.block = scratchnet.nn.TransformerEncoderLayer(
            16, 4, 32, dropout=0.0, batch_first=True, norm_first=True
        )
        self.head = scratchnet.nn.Linear(16, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        mask = torch.full((tokens.shape[1],) * 2, float("-inf"), dtype=self.head.weight.dtype).triu(1)
        return self.head(self.block(self.embed(tokens), src_mask=mask, is_causal=True)).mean(1)


class Rows(torch.nn.Module):
    """An LSTM that reads an image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = scratchnet.nn.LSTM(28, 16, batch_first=True)
        self.head = scratchnet.nn.Linear(16, 10)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.lstm(images.squeeze(1))[0][:, -1])


def resnet() -> torch.nn.Module:
    model = models.resnet18(num_classes=10)
    convert(model)
    return model


def digits() -> Tensor:
    return torch.randn(4, 1, 28, 28, dtype=torch.float64)


WHOLE_MODELS = {
    "cnn": (lambda: MODELS["cnn"](CUSTOM), digits),
    "mlp": (lambda: MODELS["mlp"](CUSTOM), digits),
    "lstm": (Rows, digits),
    "resnet18": (
        resnet,
        lambda: torch.randn(2, 3, 64, 64, dtype=torch.float64),
    ),
    "gpt block": (Block, lambda: torch.randint(11, (4, 9))),
}


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
@pytest.mark.parametrize("name", WHOLE_MODELS)
def test_compiled_models_give_the_eager_gradients_without_graph_breaks(name, backend):
    torch._dynamo.reset()
    torch.manual_seed(0)
    make, example = WHOLE_MODELS[name]
    eager = make().double().train()
    for module in eager.modules():  # the compiler draws other numbers
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    compiled, x, labels = copy.deepcopy(eager), example(), torch.randint(10, (4,))

    def loss(model: torch.nn.Module, x: Tensor) -> Tensor:
        return functional.cross_entropy(model(x), labels[: len(x)])

    explained = torch._dynamo.explain(loss)(copy.deepcopy(eager), x)
    assert explained.graph_break_count == 0, explained.break_reasons
    assert explained.graph_count == 1
    torch.compile(loss, backend=backend, fullgraph=True)(compiled, x).backward()
    loss(eager, x).backward()
    for (which, found), wanted in zip(compiled.named_parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-10, atol=1e-10, msg=which)
