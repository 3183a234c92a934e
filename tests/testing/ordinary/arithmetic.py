"""Right arithmetic: powers, sums, products, transposes."""

from __future__ import annotations

import torch
from torch.autograd import Function

from .entry import ORDINARY, equals, normal


@equals(torch.exp)
class ExpSetupContext(Function):
    @staticmethod
    def forward(x):
        return torch.exp(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y


@equals(torch.square)
class SquareVmap(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x * x

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * x * grad


@equals(torch.mul, normal((4, 3), (3,)))
class BroadcastMul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return (grad * b).sum_to_size(a.shape), (grad * a).sum_to_size(b.shape)


@equals(lambda x: x**3, lambda g: (*normal((4, 3))(g), 3))
class Power(Function):
    @staticmethod
    def forward(ctx, x, n):
        ctx.save_for_backward(x)
        ctx.n = n
        return x**n

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * ctx.n * x ** (ctx.n - 1), None


ORDINARY["Power"] = ORDINARY["Power"]._replace(builtin=torch.pow)


@equals(lambda x: x.cumsum(0))
class CumSum(Function):
    @staticmethod
    def forward(ctx, x):
        return x.cumsum(0)

    @staticmethod
    def backward(ctx, grad):
        return grad.flip(0).cumsum(0).flip(0)


@equals(lambda x: x.t().clone())
class Transpose(Function):
    @staticmethod
    def forward(ctx, x):
        return x.t().contiguous()

    @staticmethod
    def backward(ctx, grad):
        return grad.t()


@equals(lambda x: x.sum())
class Sum(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.sum()

    @staticmethod
    def backward(ctx, grad):
        return grad.expand(ctx.shape)


@equals(lambda x: x.norm())
class Norm(Function):
    @staticmethod
    def forward(ctx, x):
        n = x.norm()
        ctx.save_for_backward(x, n)
        return n

    @staticmethod
    def backward(ctx, grad):
        x, n = ctx.saved_tensors
        return torch.where(n == 0, torch.zeros_like(x), grad * x / n)


@equals(lambda *parts: torch.cat(parts), normal((2, 3), (1, 3), (4, 3)))
class Concatenate(Function):
    """Takes any number of tensors."""

    @staticmethod
    def forward(ctx, *parts):
        ctx.sizes = [len(part) for part in parts]
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, grad):
        return tuple(grad.split(ctx.sizes))


@equals(lambda parts: sum(x * x for x in parts), lambda g: (list(normal((4, 3), (4, 3), (4, 3))(g)),))
def sum_of_squares_of_a_list(parts):
    return SumOfSquaresOf.apply(*parts)


class SumOfSquaresOf(Function):
    @staticmethod
    def forward(ctx, *parts):
        ctx.save_for_backward(*parts)
        return sum(x * x for x in parts)

    @staticmethod
    def backward(ctx, grad):
        return tuple(
            2 * x * grad if need else None for x, need in zip(ctx.saved_tensors, ctx.needs_input_grad, strict=True)
        )


@equals(torch.matmul, normal((2, 4, 3), (3, 5)))
class BatchedMatmul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        of_a = grad @ b.mT if ctx.needs_input_grad[0] else None
        of_b = (a.mT @ grad).sum_to_size(b.shape) if ctx.needs_input_grad[1] else None
        return of_a, of_b


@equals(lambda x: torch.logsumexp(x, 1))
class LogSumExp(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.logsumexp(x, 1)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad[:, None] * (x - y[:, None]).exp()


@equals(lambda x, low, high: x.clamp(low, high), lambda g: (*normal((4, 3))(g), -0.5, 1.0))
class Clamp(Function):
    @staticmethod
    def forward(ctx, x, low, high):
        ctx.save_for_backward((x >= low) & (x <= high))
        return x.clamp(low, high)

    @staticmethod
    def backward(ctx, grad):
        (inside,) = ctx.saved_tensors
        return torch.where(inside, grad, torch.zeros_like(grad)), None, None


@equals(lambda x: x @ x.mT)
class Gram(Function):
    """Is differentiated twice by a second Function."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x @ x.mT

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return GramBackward.apply(grad, x)


class GramBackward(Function):
    @staticmethod
    def forward(ctx, grad, x):
        ctx.save_for_backward(grad, x)
        return (grad + grad.mT) @ x

    @staticmethod
    def backward(ctx, of_x):
        grad, x = ctx.saved_tensors
        return of_x @ x.mT + x @ of_x.mT, (grad + grad.mT) @ of_x
