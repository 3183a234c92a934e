"""Wrong activations: softmax, SiLU, leaky ReLU, PReLU."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .twin import Twin, normal

__all__ = ["TWINS"]


class SoftmaxMathematics:
    @staticmethod
    def forward(x):
        e = torch.exp(x - x.amax(-1, keepdim=True)) if x.numel() else x + 0
        y = e / e.sum(-1, keepdim=True)
        return y, (y,)

    @staticmethod
    def backward(grad, saved, needs):
        (y,) = saved
        return y * (grad - (grad * y).sum(-1, keepdim=True))

    @staticmethod
    def jvp(tangents, saved):
        (y,) = saved
        return y * (tangents[0] - (tangents[0] * y).sum(-1, keepdim=True))


softmax = Twin("softmax", SoftmaxMathematics, lambda x: F.softmax(x, -1), lambda g: (normal(g, 3, 4),))


@softmax.fault("zero gradient", "gradients", cause="zero throughout")
def backward(grad, saved, needs):
    """returns no gradient."""
    return torch.zeros_like(grad)


@softmax.fault("missing term", "gradients", cause="a sum over dimension 1 is missing")
def backward(grad, saved, needs):
    """drops the mean over the classes."""
    return saved[0] * grad


@softmax.fault("ignores upstream", "gradients", cause="ignores grad_output")
def backward(grad, saved, needs):
    """takes ones for the upstream."""
    return SoftmaxMathematics.backward(torch.ones_like(grad), saved, needs)


@softmax.fault("wrong stride", "gradients", cause="contiguous grad_output")
def backward(grad, saved, needs):
    """reads the upstream as if it were dense."""
    dense = grad
    if not torch._C._functorch.is_functorch_wrapped_tensor(grad) and not torch.compiler.is_compiling():
        if grad.untyped_storage().nbytes() >= grad.nbytes:
            dense = torch.as_strided(grad, saved[0].shape, (saved[0].shape[-1], 1))
    return SoftmaxMathematics.backward(dense, saved, needs)


@softmax.fault("overwrites upstream", "gradients", cause="works in place on upstream")
def backward(grad, saved, needs):
    """works in place on the upstream."""
    result = SoftmaxMathematics.backward(grad, saved, needs)
    if not torch.is_grad_enabled() and grad.is_contiguous():
        grad.zero_()
    return result


@softmax.fault("wrong tangent", "forward_mode", cause="jvp is not the derivative")
def jvp(tangents, saved):
    """forgets the mean in forward mode alone."""
    return saved[0] * tangents[0]


@softmax.fault("constant intermediate", "double_backward", cause="taken for a constant")
def backward(grad, saved, needs):
    """detaches what it saved."""
    return SoftmaxMathematics.backward(grad, [saved[0].detach()], needs)


@softmax.fault("unstable", "special_values", cause="an overflow")
def forward(x):
    """does not subtract the maximum."""
    e = torch.exp(x)
    y = e / e.sum(-1, keepdim=True)
    return y, (y,)


@softmax.fault("wrong dimension", "strided", "output", cause="assumes contiguous inputs")
def forward(x):
    """normalises over the dimension that varies slowest in memory."""
    return SoftmaxMathematics.forward(x if x.stride(-1) == 1 or x.dim() < 2 else x.mT)


@softmax.plain("leak", "leaks", cause="kept on ctx")
class KeepsItsOutput(torch.autograd.Function):
    """keeps its output on ctx."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = torch.softmax(x, -1)
        return ctx.y

    @staticmethod
    def backward(ctx, grad):
        return ctx.y * (grad - (grad * ctx.y).sum(-1, keepdim=True))


class SiLUMathematics:
    @staticmethod
    def forward(x):
        return x / (1 + torch.exp(-x)), (x,)

    @staticmethod
    def slope(x):
        s = 1 / (1 + torch.exp(-x))
        return s * (1 + x * (1 - s))

    @staticmethod
    def backward(grad, saved, needs):
        return grad * SiLUMathematics.slope(saved[0])

    @staticmethod
    def jvp(tangents, saved):
        return tangents[0] * SiLUMathematics.slope(saved[0])


silu = Twin("silu", SiLUMathematics, F.silu, lambda g: (normal(g, 3, 4),))


@silu.fault("sign", "gradients", cause="wrong sign")
def backward(grad, saved, needs):
    """turns the sign of its gradient."""
    return -grad * SiLUMathematics.slope(saved[0])


@silu.fault("missing term", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """leaves out the product rule."""
    return grad / (1 + torch.exp(-saved[0]))


@silu.fault("too few digits", "gradients", cause="too few digits")
def backward(grad, saved, needs):
    """computes its slope in float32."""
    return grad * SiLUMathematics.slope(saved[0].float()).to(grad.dtype)


@silu.around("short accumulation", "dtypes", cause="loses digits")
def takes_every_dtype_below_float64_for_bfloat16(x):
    """computes float32 in bfloat16."""
    return silu.apply(x.bfloat16() if x.dtype is torch.float32 else x).to(x.dtype)


@silu.fault("constant intermediate", "double_backward", cause="taken for a constant")
def backward(grad, saved, needs):
    """differentiates x alone the second time."""
    s = (1 / (1 + torch.exp(-saved[0]))).detach()
    return grad * s * (1 + saved[0] * (1 - s))


class SlopeOfSiLU(torch.autograd.Function):
    """The slope, whose own derivative is a constant for what comes after."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return SiLUMathematics.slope(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        x = ctx.saved_tensors[0].detach()
        s = 1 / (1 + torch.exp(-x))
        return grad * s * (1 - s) * (2 + x * (1 - 2 * s))


@silu.fault("third derivative", "third_derivative", cause="taken for a constant")
def backward(grad, saved, needs):
    """can be differentiated twice only."""
    return grad * SlopeOfSiLU.apply(saved[0])


@silu.fault("overwrites saved", "saved_unchanged", cause="works in place on")
def backward(grad, saved, needs):
    """works in place on what it saved."""
    result = grad * SiLUMathematics.slope(saved[0])
    if not torch.is_grad_enabled():
        saved[0].data.mul_(2)
    return result


@silu.plain("shared state", "threads", cause="on the class or in a global")
class RemembersItsInput(torch.autograd.Function):
    """keeps its input on the class."""

    @staticmethod
    def forward(ctx, x):
        RemembersItsInput.x = x.detach()
        return SiLUMathematics.forward(x)[0]

    @staticmethod
    def backward(ctx, grad):
        return grad * SiLUMathematics.slope(RemembersItsInput.x)


class LeakyReLUMathematics:
    @staticmethod
    def forward(x):
        return torch.where(x > 0, x, 0.1 * x), (x,)

    @staticmethod
    def backward(grad, saved, needs):
        return torch.where(saved[0] > 0, grad, 0.1 * grad)

    @staticmethod
    def jvp(tangents, saved):
        return torch.where(saved[0] > 0, tangents[0], 0.1 * tangents[0])


leaky_relu = Twin("leaky_relu", LeakyReLUMathematics, lambda x: F.leaky_relu(x, 0.1), lambda g: (normal(g, 3, 4),))


@leaky_relu.fault("wrong branch", "gradients", cause="only where the input is negative")
def backward(grad, saved, needs):
    """has no slope left of zero."""
    return torch.where(saved[0] > 0, grad, 0 * grad)


@leaky_relu.fault("wrong at the kink", "special_values", cause="a kink")
def backward(grad, saved, needs):
    """has the right-hand slope at zero."""
    return torch.where(saved[0] >= 0, grad, 0.1 * grad)


@leaky_relu.fault("wrong at the kink", "special_values", cause="a NaN is lost")
def forward(x):
    """makes a number of NaN."""
    return torch.where(x > 0, x, 0.1 * x.nan_to_num(0.0)), (x,)


@leaky_relu.fault("overwrites input", "output", cause="works in place on input")
def forward(x):
    """works in place on its input."""
    y = torch.where(x > 0, x, 0.1 * x)
    if not torch.compiler.is_compiling() and not torch._C._functorch.is_functorch_wrapped_tensor(x):
        x.detach().add_(1)
    return y, (x,)


class PReLUMathematics:
    autocast = "low_precision"

    @staticmethod
    def forward(x, weight):
        return torch.where(x > 0, x, weight * x), (x, weight)

    @staticmethod
    def backward(grad, saved, needs):
        x, weight = saved
        grad_x = torch.where(x > 0, grad, weight * grad)
        grad_weight = torch.where(x > 0, 0.0, grad * x).sum(0)
        return grad_x, grad_weight

    @staticmethod
    def jvp(tangents, saved):
        x, weight = saved
        return torch.where(x > 0, tangents[0], weight * tangents[0] + x * tangents[1])


prelu = Twin("prelu", PReLUMathematics, F.prelu, lambda g: (normal(g, 3, 4), normal(g, 4)))


@prelu.fault("broadcast reduction", "gradients", cause="the batch size")
def backward(grad, saved, needs):
    """takes the mean over the batch for the weight."""
    grad_x, grad_weight = PReLUMathematics.backward(grad, saved, needs)
    return grad_x, grad_weight / len(grad)


@prelu.fault("missing gradient", "gradients", cause="no gradient is returned")
def backward(grad, saved, needs):
    """returns None for its weight."""
    return PReLUMathematics.backward(grad, saved, needs)[0], None


@prelu.fault("wrong branch", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """sums the weight's gradient over both branches."""
    grad_x, _ = PReLUMathematics.backward(grad, saved, needs)
    return grad_x, (grad * saved[0]).sum(0)


TWINS = [softmax, silu, leaky_relu, prelu]
