"""Wrong activations."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch.autograd import Function

from ..twin import Twin, normal

__all__ = ["TWINS"]


def matrix(g):
    return (normal(g, 6, 5),)


class ReLU(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad.masked_fill(x <= 0, 0)


relu = Twin("plain relu", ReLU, F.relu, matrix)


@relu.plain("overwrites upstream", "gradients", cause="works in place on upstream")
class OverwritesGradient(ReLU):
    """sets elements of the upstream to zero."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        grad[x <= 0] = 0
        return grad


@relu.plain("wrong at the kink", "special_values", cause="kink")
class ReLUWithSlopeAtZero(ReLU):
    """has a slope of one at zero."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad.masked_fill(x < 0, 0)


@relu.plain("missing factor", "gradients", cause="only where the input is negative")
class PassesEverything(ReLU):
    """passes its upstream on."""

    @staticmethod
    def backward(ctx, grad):
        return grad.clone()


@relu.plain("mask of the upstream", "gradients", cause="a branch or a clamp")
class MasksByTheUpstream(ReLU):
    """lets negative gradients through nowhere."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad.masked_fill((x <= 0) | (grad < 0), 0)


class LeakyReLU(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x > 0, x, 0.2 * x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, grad, 0.2 * grad)


leaky_relu = Twin("plain leaky_relu", LeakyReLU, lambda x: F.leaky_relu(x, 0.2), matrix)


@leaky_relu.plain("ignored option", "gradients", cause="only where the input is negative")
class ForgetsTheSlope(LeakyReLU):
    """has the usual slope of 0.01 on the left."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return torch.where(x > 0, grad, 0.01 * grad)


class Sigmoid(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y * (1 - y)


sigmoid = Twin("plain sigmoid", Sigmoid, torch.sigmoid, matrix)


@sigmoid.plain("input for output", "gradients", cause="with the input in place of the output")
class SlopeOfTheInput(Sigmoid):
    """saves its input and takes it for the output."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.sigmoid(x)


@sigmoid.plain("missing factor", "gradients", cause="a term or factor")
class ForgetsAFactor(Sigmoid):
    """leaves out 1 − y."""

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


@sigmoid.plain("too few digits", "gradients", cause="too few digits")
class SlopeInFloat32(Sigmoid):
    """computes its slope in float32."""

    @staticmethod
    def backward(ctx, grad):
        y = ctx.saved_tensors[0].float()
        return grad * (y * (1 - y))


@sigmoid.plain("constant intermediate", "double_backward", cause="taken for a constant")
class DetachedOutput(Sigmoid):
    """detaches its output in the backward."""

    @staticmethod
    def backward(ctx, grad):
        y = ctx.saved_tensors[0].detach()
        return grad * y * (1 - y)


@sigmoid.plain("overwrites saved", "saved_unchanged", cause="in place")
class OverwritesItsOutput(Sigmoid):
    """writes the slope over the saved output."""

    @staticmethod
    def backward(ctx, grad):
        y = ctx.saved_tensors[0]
        return grad * (y.data.mul_(1 - y.data) if not torch.is_grad_enabled() else y * (1 - y))


class Tanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y * y)


tanh = Twin("plain tanh", Tanh, torch.tanh, matrix)


@tanh.plain("missing factor", "gradients", cause="a term or factor")
class ForgetsTheSquare(Tanh):
    """takes 1 − y for the slope."""

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - ctx.saved_tensors[0])


@tanh.plain("input for output", "gradients", cause="with the input in place of the output")
class TanhSlopeOfTheInput(Tanh):
    """saves its input and takes it for the output."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.tanh(x)


@tanh.plain("leak", "leaks", cause="kept on ctx")
class TanhKeepsItsOutput(Tanh):
    """keeps its output on ctx."""

    @staticmethod
    def forward(ctx, x):
        ctx.y = torch.tanh(x)
        return ctx.y

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - ctx.y * ctx.y)


@tanh.plain("shared state", "threads", cause="on the class or in a global")
class TanhOfTheLastCall(Tanh):
    """keeps its output on the class."""

    @staticmethod
    def forward(ctx, x):
        TanhOfTheLastCall.y = torch.tanh(x)
        return TanhOfTheLastCall.y.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - TanhOfTheLastCall.y**2)


class GELU(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return F.gelu(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        density = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return grad * (0.5 * (1 + torch.erf(x / math.sqrt(2))) + x * density)


gelu = Twin("plain gelu", GELU, F.gelu, matrix)


@gelu.plain("approximation", "gradients", cause="approximate")
class GradientOfTheApproximation(GELU):
    """has the slope of the approximation by tanh."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        k = math.sqrt(2 / math.pi)
        t = torch.tanh(k * (x + 0.044715 * x**3))
        return grad * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * k * (1 + 3 * 0.044715 * x * x))


@gelu.plain("missing term", "gradients", cause="a term or factor")
class ForgetsTheDensity(GELU):
    """leaves out the product rule."""

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


class Softmax(Function):
    """With a temperature."""

    @staticmethod
    def forward(ctx, x, temperature):
        y = torch.softmax(x / temperature, -1)
        ctx.temperature = temperature
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True)) / ctx.temperature, None


softmax = Twin("plain softmax", Softmax, lambda x, t: F.softmax(x / t, -1), lambda g: (normal(g, 5, 4), 2.5))


@softmax.plain("missing term", "gradients", cause="a sum over dimension 1 is missing")
class SoftmaxOfEachElement(Softmax):
    """takes its elements for independent of each other."""

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y * (1 - y) / ctx.temperature, None


@softmax.plain("ignored option", "gradients", cause="argument 1, which is 2.5, is left out")
class ForgetsTheTemperature(Softmax):
    """forgets the temperature."""

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True)), None


@softmax.plain("wrong dimension", "gradients", cause="wrong dimension")
class SumsOverTheBatch(Softmax):
    """sums over the batch instead of the classes."""

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(0, keepdim=True)) / ctx.temperature, None


@softmax.plain("number of gradients", "gradients", cause="number of gradients")
class ForgetsTheNumber(Softmax):
    """returns nothing for the temperature."""

    @staticmethod
    def backward(ctx, grad):
        return Softmax.backward(ctx, grad)[:1]


class LogSoftmax(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.log_softmax(x, -1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad - y.exp() * grad.sum(-1, keepdim=True)


log_softmax = Twin("plain log_softmax", LogSoftmax, lambda x: F.log_softmax(x, -1), lambda g: (normal(g, 5, 4),))


@log_softmax.plain("missing term", "gradients", cause="a sum over dimension 1 is missing")
class ForgetsTheSum(LogSoftmax):
    """does not sum the upstream over the classes."""

    @staticmethod
    def backward(ctx, grad):
        return grad - ctx.saved_tensors[0].exp() * grad


@log_softmax.plain("output for input", "gradients", cause="a term or factor")
class LogForProbability(LogSoftmax):
    """takes the logarithm for the probability."""

    @staticmethod
    def backward(ctx, grad):
        return grad - ctx.saved_tensors[0] * grad.sum(-1, keepdim=True)


class PReLU(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return torch.where(x > 0, x, weight * x)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        of_weight = torch.where(x > 0, 0.0, grad * x).sum(0)
        return torch.where(x > 0, grad, weight * grad), of_weight


prelu = Twin("plain prelu", PReLU, F.prelu, lambda g: (normal(g, 5, 3), normal(g, 3)))


@prelu.plain("missing gradient", "each_alone", cause="no gradient is returned")
class NeedsBoth(PReLU):
    """returns gradients only where both are needed."""

    @staticmethod
    def backward(ctx, grad):
        return PReLU.backward(ctx, grad) if all(ctx.needs_input_grad) else (None, None)


TWINS = [relu, leaky_relu, sigmoid, tanh, gelu, softmax, log_softmax, prelu]
