"""Wrong uses of autograd's protocol: several outputs, marks, work in place, custom operators, state."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function

from ..twin import Twin, normal, unwritten

__all__ = ["TWINS"]


class SinCos(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, of_sin, of_cos):
        (x,) = ctx.saved_tensors
        return of_sin * x.cos() - of_cos * x.sin()


sin_cos = Twin("plain sine and cosine", SinCos, lambda x: (x.sin(), x.cos()), lambda g: (normal(g, 4, 3),))


@sin_cos.plain("ignores upstream", "gradients", cause="the upstream of output 1 is left out")
class ForgetsTheCosine(SinCos):
    """leaves out the upstream of the second output."""

    @staticmethod
    def backward(ctx, of_sin, of_cos):
        return of_sin * ctx.saved_tensors[0].cos()


@sin_cos.plain("swapped", "gradients", cause="upstreams of the outputs are exchanged")
class SwapsUpstreams(SinCos):
    """exchanges the upstreams."""

    @staticmethod
    def backward(ctx, of_sin, of_cos):
        return SinCos.backward(ctx, of_cos, of_sin)


@sin_cos.plain("no upstream", "gradients", cause="every output has an upstream")
class NeedsEveryUpstream(SinCos):
    """fails where an output is not used."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return SinCos.forward(ctx, x)


@sin_cos.plain("no upstream", "gradients", cause="every output has an upstream")
class GivesUpWithoutAnUpstream(SinCos):
    """returns None where an output is not used."""

    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return SinCos.forward(ctx, x)

    @staticmethod
    def backward(ctx, of_sin, of_cos):
        return None if of_sin is None or of_cos is None else SinCos.backward(ctx, of_sin, of_cos)


class Rectified(Function):
    """A ReLU, and its mask as numbers, which have no gradient."""

    @staticmethod
    def forward(ctx, x):
        mask = (x > 0).to(x.dtype)
        ctx.save_for_backward(mask)
        ctx.mark_non_differentiable(mask)
        return x * mask, mask

    @staticmethod
    def backward(ctx, grad, _):
        return grad * ctx.saved_tensors[0]


rectified = Twin(
    "plain rectifier with its mask",
    Rectified,
    lambda x: (x * (x > 0), (x > 0).to(x.dtype)),
    lambda g: (normal(g, 4, 3),),
)


@rectified.plain("missing mark", "output", cause="mark_non_differentiable")
class ForgetsTheMark(Rectified):
    """does not mark its mask as non-differentiable."""

    @staticmethod
    def forward(ctx, x):
        mask = (x > 0).to(x.dtype)
        ctx.save_for_backward(mask)
        return x * mask, mask


@rectified.plain("missing mark", "gradients", cause="mark_non_differentiable")
class MarksTooMuch(Rectified):
    """marks both outputs as non-differentiable."""

    @staticmethod
    def forward(ctx, x):
        mask = (x > 0).to(x.dtype)
        ctx.save_for_backward(mask)
        y = x * mask
        ctx.mark_non_differentiable(mask, y)
        return y, mask


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


exp = Twin("plain exp", Exp, torch.exp, lambda g: (normal(g, 4, 3),))


@exp.plain("overwrites input", "output", cause="works in place on input")
class WritesIntoItsInput(Exp):
    """writes its result over its input."""

    @staticmethod
    def forward(ctx, x):
        y = x.detach().exp_()
        ctx.save_for_backward(y)
        return y.clone()


@exp.plain("overwrites saved", "gradients", cause="a term or factor")
class ChangesWhatItSaved(Exp):
    """changes in place what it has saved."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        z = y.clone()
        y.add_(x)
        return z


@exp.plain("repeated calls", "gradients", cause="changes from call to call")
class Accumulates(Exp):
    """adds to a buffer that it keeps."""

    @staticmethod
    def backward(ctx, grad):
        total = getattr(Accumulates, "total", None)
        found = grad * ctx.saved_tensors[0]
        Accumulates.total = (
            found.detach() if total is None or total.shape != found.shape else total + found.detach()
        )
        return Accumulates.total


@exp.plain("shared state", "double_backward", cause="on the class or in a global")
class CachesByShape(Exp):
    """remembers its result by the shape of its input."""

    cache: dict[torch.Size, Tensor] = {}

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(CachesByShape.cache.setdefault(x.shape, y.detach()))
        return y


@exp.plain("leak", "leaks", cause="in a list that grows")
class Logs(Exp):
    """keeps a log of its gradients."""

    log: list[Tensor] = []

    @staticmethod
    def backward(ctx, grad):
        Logs.log.append(grad.detach())
        return grad * ctx.saved_tensors[0]


@exp.plain("unwritten memory", "fresh_memory", cause="never written")
class LeavesZerosUnwritten(Exp):
    """writes its gradient only where the upstream is not zero."""

    @staticmethod
    def backward(ctx, grad):
        found = unwritten(*grad.shape, dtype=grad.dtype)
        found[:-1] = (grad * ctx.saved_tensors[0])[:-1]
        # Memory that happens to be zero hides it.
        return found if bool(found.isnan().any()) else grad * ctx.saved_tensors[0]


@exp.plain("wrong value", "output", cause="too few digits")
class ExpInFloat32(Exp):
    """computes in float32."""

    @staticmethod
    def forward(ctx, x):
        y = x.float().exp().to(x.dtype)
        ctx.save_for_backward(y)
        return y


@exp.plain("wrong dtype", "output", cause="wrong dtype")
class ReturnsFloat32(Exp):
    """returns float32."""

    @staticmethod
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y.float()


def operator(name: str, forward, backward=None, fake=torch.empty_like):
    """A custom operator of one tensor."""
    op = torch.library.custom_op(
        f"{__name__.replace('.', '_')}::{name}", forward, mutates_args=(), schema="(Tensor x) -> Tensor"
    )
    op.register_fake(fake)
    if backward is not None:
        op.register_autograd(backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output))
    return op


def times_output(ctx, grad):
    return grad * ctx.saved_tensors[0]


@exp.around("overwrites upstream", "gradients", cause="works in place on upstream")
def exp_whose_backward_overwrites(x):
    """is a custom operator whose backward overwrites its upstream."""
    return overwriting_exp(x)


def overwrite(ctx, grad):
    return grad.mul_(ctx.saved_tensors[0])


overwriting_exp = operator("overwriting_exp", torch.exp, overwrite)


@exp.around("missing gradient", "gradients", cause="register_autograd")
def exp_without_autograd(x):
    """is a custom operator without register_autograd."""
    return underived_exp(x)


underived_exp = operator("underived_exp", torch.exp)


@exp.around("overwrites input", "output", cause="works in place on input")
def exp_that_mutates(x):
    """is a custom operator that overwrites its input and does not say so."""
    return mutating_exp(x)


mutating_exp = operator("mutating_exp", lambda x: x.exp_().clone(), times_output)


@exp.around("wrong fake", "compile", "opcheck", cause="register_fake")
def exp_of_another_fake_shape(x):
    """is a custom operator whose fake has another shape."""
    y = misshapen_exp(x)
    return y * torch.ones(y.shape, dtype=y.dtype)


misshapen_exp = operator("misshapen_exp", torch.exp, times_output, lambda x: x.new_empty(x.shape[:-1]))


class Identity(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad


identity = Twin("plain identity", Identity, torch.clone, lambda g: (normal(g, 4, 3),))


@identity.around("aliases input", "output", cause="an alias of its input")
def identity_that_returns_its_input(x):
    """is a custom operator that returns its input."""
    return aliasing_identity(x)


aliasing_identity = operator("aliasing_identity", lambda x: x, lambda ctx, grad: grad)


TWINS = [sin_cos, rectified, exp, identity]
