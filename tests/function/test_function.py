"""The base of every op: what an author's three methods gain from it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx

from scratchnet import functional, nn
from scratchnet.function import Elementwise, Function, recorded


class Scale(Function):
    """x · weight^power, which returns the scale as an auxiliary output and saves it as an intermediate."""

    auxiliary = 1

    @staticmethod
    def forward(x: Tensor, weight: Tensor, *, power: float) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, ...]]:
        scale = weight**power
        return (x * scale, scale), (x, weight, scale)

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, power: float
    ) -> tuple[Tensor, Tensor]:
        x, weight, scale = saved
        return grad * scale, (grad * x * power * weight ** (power - 1)).sum_to_size(weight.shape)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, power: float) -> Tensor:
        x, weight, scale = saved
        return tangents[0] * scale + x * power * weight ** (power - 1) * tangents[1]


class Square(Elementwise):
    """x²."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        return 2 * x


PATHS: list[bool] = []


class Watched(Elementwise):
    """x², which takes down whether it may work in place."""

    @staticmethod
    def value(x: Tensor) -> Tensor:
        PATHS.append(not recorded())
        return x * x

    @staticmethod
    def slope(x: Tensor) -> Tensor:
        PATHS.append(not recorded())
        return 2 * x


class Product(Function):
    """A matrix product, which keeps short dtypes and goes low under autocast."""

    native_low_precision = True
    autocast = "low_precision"

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return x @ y, (x, y)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor, Tensor]:
        x, y = saved
        return grad @ y.mT, x.mT @ grad

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        x, y = saved
        return tangents[0] @ y + x @ tangents[1]


class Total(Function):
    """The sum, which float16 would overflow, so that autocast takes it to float32."""

    autocast = "float32"

    @staticmethod
    def forward(x: Tensor) -> tuple[Tensor, tuple[Tensor]]:
        return x.sum(), (x,)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> Tensor:
        return grad.expand(saved[0].shape)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        return tangents[0].sum()


class Pair(Function):
    """2x and x², of which a user may need only one."""

    @staticmethod
    def forward(x: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor]]:
        return (2 * x, x * x), (x,)

    @staticmethod
    def backward(grad: Sequence[Tensor], saved: Sequence[Tensor], needs: Sequence[bool]) -> Tensor:
        return 2 * grad[0] + 2 * saved[0] * grad[1]

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        return 2 * tangents[0], 2 * saved[0] * tangents[0]


def scale(x: Tensor, weight: Tensor) -> Tensor:
    return Scale.apply(x, weight, 2.5)[0]


def leaves(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(s, generator=generator, dtype=dtype) + 0.5).requires_grad_() for s in shapes]


CASES = [
    pytest.param(scale, leaves((4, 3), (3,)), id="intermediate"),
    pytest.param(Square.apply, leaves((4, 3)), id="elementwise"),
    pytest.param(lambda x: sum(Pair.apply(x)), leaves((4, 3)), id="two outputs"),
    pytest.param(Product.apply, leaves((4, 3), (3, 2)), id="product"),
]


@pytest.mark.parametrize(("function", "inputs"), CASES)
def test_every_derivative_agrees_with_finite_differences(function, inputs):
    assert gradcheck(
        function, inputs, check_forward_ad=True, check_batched_grad=True, check_batched_forward_grad=True
    )
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize(("function", "inputs"), CASES)
def test_transforms_compose(function, inputs):
    values = [x.detach() for x in inputs]

    def energy(*xs):
        return function(*xs).sin().sum()

    plain = torch.autograd.functional.hessian(energy, tuple(values))
    by_reverse = torch.func.jacrev(torch.func.jacrev(energy))(*values)
    by_both = torch.func.hessian(energy)(*values)
    torch.testing.assert_close(by_reverse, plain[0][0])
    torch.testing.assert_close(by_both, plain[0][0])
    stacked = torch.stack([values[0], 2 * values[0]])
    batched = torch.func.vmap(torch.func.grad(energy), in_dims=(0, *[None] * (len(values) - 1)))
    torch.testing.assert_close(batched(stacked, *values[1:])[1], torch.func.grad(energy)(stacked[1], *values[1:]))


@pytest.mark.parametrize(("function", "inputs"), CASES)
@pytest.mark.parametrize("recorded", [True, False])
def test_compiles_to_one_graph_without_gradients(function, inputs, recorded):
    inputs = [x.detach() for x in inputs]
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    with torch.set_grad_enabled(recorded):
        torch.testing.assert_close(compiled(*inputs), function(*inputs))


@pytest.mark.parametrize(("function", "inputs"), CASES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_compiles_to_one_graph(function, inputs, dtype):
    inputs = [x.detach().to(dtype).requires_grad_() for x in inputs]
    torch._dynamo.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    expected, got = function(*inputs), compiled(*inputs)
    torch.testing.assert_close(got, expected)
    upstream = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, upstream), torch.autograd.grad(expected, inputs, upstream)
    )


@pytest.mark.parametrize(("function", "inputs"), CASES)
def test_forward_mode_over_forward_mode_sees_the_tangent_move(function, inputs):
    def total(*inputs: Tensor) -> Tensor:
        return function(*inputs).sin().sum()

    jacfwd, jacrev = torch.func.jacfwd, torch.func.jacrev
    torch.testing.assert_close(jacfwd(jacfwd(total))(*inputs), jacrev(jacrev(total))(*inputs))
    torch.testing.assert_close(
        jacfwd(jacfwd(jacfwd(total)))(*inputs), jacrev(jacrev(jacrev(total)))(*inputs), rtol=1e-6, atol=1e-9
    )


def test_a_saved_intermediate_is_no_constant_in_the_second_derivative():
    x, weight = leaves((3,), (3,))
    (grad,) = torch.autograd.grad(scale(x, weight).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(grad.sum(), weight)
    torch.testing.assert_close(second, 2.5 * weight.detach() ** 1.5)


def test_the_inplace_path_is_taken_only_where_nothing_records():
    (x,) = leaves((3,))
    PATHS.clear()
    y = Watched.apply(x)
    torch.autograd.grad(y, x, torch.ones(3, dtype=x.dtype), retain_graph=True)
    assert PATHS == [True, True]
    PATHS.clear()
    torch.autograd.grad(y, x, torch.ones(3, dtype=x.dtype), retain_graph=True, create_graph=True)
    torch.autograd.grad(y, x, torch.ones(2, 3, dtype=x.dtype), is_grads_batched=True)
    torch.func.vmap(torch.func.grad(lambda x: Watched.apply(x).sum()))(x.detach())
    assert PATHS
    assert not any(PATHS)
    assert recorded()
    with torch.no_grad():
        assert not recorded()


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("tracing_mode", ["real", "fake", "symbolic"])
def test_a_graph_is_made_of_the_plain_form(tracing_mode):
    x = leaves((3, 4))[0].detach()
    PATHS.clear()
    with torch.no_grad():
        graph = make_fx(Watched.apply, tracing_mode=tracing_mode)(x)
        traced = torch.jit.trace(Watched.apply, x, check_trace=False)  # whose check runs eagerly
    assert PATHS
    assert not any(PATHS)
    for function in (graph, traced):
        torch.testing.assert_close(function(x + 1), Square.apply(x + 1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_dtypes_are_computed_in_float32_and_stored_short(dtype):
    x, weight = leaves((64,), (64,), dtype=torch.float32)
    x, weight = x.detach().to(dtype).requires_grad_(), weight.detach().to(dtype).requires_grad_()
    stored = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: stored.append(t.dtype) or t, lambda t: t):
        y = scale(x, weight)
    assert stored == [dtype, dtype, torch.float32]
    assert y.dtype is dtype
    torch.testing.assert_close(y, (x.float() * weight.float() ** 2.5).to(dtype), rtol=0, atol=0)
    grads = torch.autograd.grad(y, (x, weight), torch.ones_like(y))
    assert [g.dtype for g in grads] == [dtype, dtype]


def test_a_matrix_product_stays_short():
    x, y = (t.detach().bfloat16() for t in leaves((4, 3), (3, 2)))
    torch.testing.assert_close(Product.apply(x, y), x @ y, rtol=0, atol=0)


@pytest.mark.parametrize("backward_inside", [True, False])
def test_autocast_lowers_products_and_widens_reductions(backward_inside):
    x, y = (t.detach().float().requires_grad_() for t in leaves((4, 3), (3, 2)))
    with torch.autocast("cpu", torch.bfloat16):
        product = Product.apply(x, y)
        total = Total.apply(product)
        if backward_inside:
            total.backward()
    if not backward_inside:
        total.backward()
    assert product.dtype is torch.bfloat16
    assert total.dtype is torch.float32
    assert x.grad is not None
    assert x.grad.dtype is torch.float32
    torch.testing.assert_close(x.grad, y.detach().sum(1).expand(4, 3), rtol=1e-2, atol=0)


def test_an_output_without_upstream_counts_as_zero():
    (x,) = leaves((3,))
    double, square = Pair.apply(x)
    (grad,) = torch.autograd.grad(double, x, torch.ones_like(double), retain_graph=True)
    torch.testing.assert_close(grad, torch.full_like(x, 2.0))
    (grad,) = torch.autograd.grad(square, x, torch.ones_like(square))
    torch.testing.assert_close(grad, 2 * x.detach())


def test_without_recording_nothing_is_saved():
    (x,) = leaves((3,))
    with torch.no_grad():
        assert Square.apply(x).grad_fn is None
    assert Square.apply(x.detach()).grad_fn is None


def test_a_wrong_number_of_arguments_is_told():
    with pytest.raises(TypeError, match=r"expected 2 tensor\(s\) and the option\(s\) power"):
        Scale.apply(torch.ones(1), torch.ones(1))


def test_methods_of_an_op_are_those_that_its_author_wrote():
    (x,) = leaves((3,))
    y, saved = Square.forward(x)
    assert torch.equal(y, x * x)
    assert saved[0] is x
    assert torch.equal(Square.backward(torch.ones(3), saved, (True,)), 2 * x)
    assert torch.equal(Square.jvp((torch.ones(3),), saved), 2 * x)

    class Cubes(Function):
        @staticmethod
        def forward(x):
            return Square.forward(x)[0] * x, (x,)

        @staticmethod
        def backward(grad, saved, needs):
            return Square.backward(grad, saved, needs) * saved[0] * 1.5

        @staticmethod
        def jvp(tangents, saved):
            return Square.jvp(tangents, saved) * saved[0] * 1.5

    for apply in (Cubes.apply, torch.compile(Cubes.apply, backend="aot_eager", fullgraph=True)):
        y = apply(x)
        torch.testing.assert_close(y, x**3)
        torch.testing.assert_close(torch.autograd.grad(y.sum(), x)[0], 3 * x**2)


def test_ops_are_autograd_functions_with_their_own_names():
    assert issubclass(Scale, torch.autograd.Function)
    (x,) = leaves((3,))
    assert Square.apply(x).grad_fn.name() == "SquareBackward"


@pytest.mark.parametrize(
    ("module", "size"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.LayerNorm(5), nn.Softmax(dim=-1)), (3, 4)),
        (
            lambda: nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(3).eval()),
            (2, 2, 9, 8),
        ),
        (lambda: nn.GRUCell(4, 5), (3, 4)),
    ],
    ids=["linear", "convolution", "recurrent"],
)
@pytest.mark.parametrize("strict", [False, True])
def test_modules_can_be_exported(module, size, strict):
    made, x = module(), torch.randn(size)
    exported = torch.export.export(made, (x,), strict=strict)
    torch.testing.assert_close(exported.module()(x), made(x))


@pytest.mark.parametrize("frozen", [False, True])
def test_autocast_inside_of_a_compiled_function(frozen):
    def run(x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return functional.linear(x, weight).float()

    x, weight = torch.randn(3, 4, requires_grad=not frozen), torch.randn(5, 4, requires_grad=True)
    needed = [t for t in (x, weight) if t.requires_grad]
    torch._dynamo.reset()
    found, expected = torch.compile(run, fullgraph=True, backend="aot_eager")(x, weight), run(x, weight)
    torch.testing.assert_close(found, expected)
    upstream = torch.randn_like(expected)
    gradients = [torch.autograd.grad(y, needed, upstream) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("op", [functional.relu, functional.sigmoid, functional.gelu])
def test_compiled_transforms_of_transforms_see_the_backward(op):
    """Dynamo takes the backward of any Function for a constant there."""

    def second(x: Tensor, weight: Tensor) -> Tensor:
        def total(x: Tensor) -> Tensor:
            return (op(functional.linear(x, weight)) ** 3).sum()

        return torch.func.grad(lambda x: torch.func.grad(total)(x).square().sum())(x)

    given = torch.randn(3, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    torch._dynamo.reset()
    compiled = torch.compile(second, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*given), second(*given))
