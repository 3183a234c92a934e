"""A wrong solution of each exercise of the course, with a mistake that people make."""

import solutions
import torch
from torch.nn.functional import one_hot

# history


class LinearKernel(solutions.LinearKernel):
    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad @ y, grad @ y  # of the first input twice


class RBFKernel(solutions.RBFKernel):
    @staticmethod
    def backward(ctx, grad):
        x, y, k = ctx.saved_tensors
        push = -(grad * k)[:, :, None] * (x[:, None] - y)  # without the 2
        return push.sum(1), -push.sum(0)


class MultiMargin(solutions.MultiMargin):
    @staticmethod
    def backward(ctx, grad):
        violated, _ = ctx.saved_tensors
        return violated.to(grad) * grad / violated.numel(), None  # nothing pulls the right class up


# neuron


class Neuron(solutions.Neuron):
    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad.T @ x, grad.mean(0)  # of the bias the mean


class SigmoidNeuron(solutions.SigmoidNeuron):
    @staticmethod
    def backward(ctx, grad):
        x, weight, y = ctx.saved_tensors
        delta = grad * y  # half of the slope
        return delta[:, None] * weight, delta @ x, delta.sum()


class Layer(solutions.Layer):
    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad[0].T @ x[0], grad.flatten(0, -2).sum(0)  # the first samples alone


# activations


class Tanh(solutions.Tanh):
    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y)  # without the square


class WrongSoftmax(solutions.Softmax):
    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * y * (1 - y)  # the diagonal of the Jacobian alone


def softmax(x, dim):
    return WrongSoftmax.apply(x)


class LearnedELU(solutions.LearnedELU):
    @staticmethod
    def backward(ctx, grad):
        x, alpha = ctx.saved_tensors
        low = x.clamp(max=0)
        return torch.where(x > 0, grad, grad * alpha * torch.exp(low)), None  # α does not learn


# losses


class SquaredError(solutions.SquaredError):
    @staticmethod
    def backward(ctx, grad):
        x, target = ctx.saved_tensors
        grad_x = 2 * (x - target) * grad / len(x)  # averaged over the samples alone
        return grad_x, -grad_x


class Huber(solutions.Huber):
    @staticmethod
    def backward(ctx, grad):
        x, target = ctx.saved_tensors
        grad_x = (x - target) * grad / x.numel()  # not bounded
        return grad_x, -grad_x


class CrossEntropy(solutions.CrossEntropy):
    @staticmethod
    def backward(ctx, grad):
        logits, labels = ctx.saved_tensors
        p = torch.softmax(logits, 1)
        return (p - one_hot(labels, p.shape[1]).to(p)) * grad, None  # the sum over samples


# back-propagation


class MatMul(solutions.MatMul):
    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad @ b.T, (grad.T @ a).T.clone().mul_(-1)  # a sign


class TwoLayers(solutions.TwoLayers):
    @staticmethod
    def backward(ctx, grad):
        x, w1, w2, hidden, error = ctx.saved_tensors
        delta2 = 2 * error * grad / error.numel()
        delta1 = delta2 @ w2  # without the slope of tanh
        return delta1 @ w1, delta1.T @ x, delta2.T @ hidden, -delta2


class Softplus(solutions.Softplus):
    @staticmethod
    def jvp(ctx, tangent):
        return tangent  # forward mode forgets the slope


# sgd


def decayed(start, gradients, lr, weight_decay):
    w = start
    for g in gradients:
        w = w - lr * g - weight_decay * w  # the decay is not multiplied by the rate
    return w


def momentum(start, gradients, lr, momentum):
    w, b = start, torch.zeros_like(start)
    for g in gradients:
        b = momentum * b + (1 - momentum) * g  # a mean, which PyTorch's is not
        w = w - lr * b
    return w


def nesterov(start, gradients, lr, momentum, nesterov):
    return solutions.momentum(start, gradients, lr, momentum)  # does not look ahead


# regularization


class L1Penalty(solutions.L1Penalty):
    @staticmethod
    def backward(ctx, grad):
        (weight,) = ctx.saved_tensors
        return grad * weight  # the slope of the squares


class MaskedDropout(solutions.MaskedDropout):
    @staticmethod
    def backward(ctx, grad):
        (scale,) = ctx.saved_tensors
        return grad * (scale > 0), None  # not scaled


class Standardize(solutions.Standardize):
    @staticmethod
    def backward(ctx, grad):
        _, rstd = ctx.saved_tensors
        return rstd * grad  # mean and variance taken for constants


# convolutional


class WrongAvgPool(solutions.AvgPool):
    @staticmethod
    def backward(ctx, grad):
        k = ctx.kernel_size
        return grad.repeat_interleave(k, 2).repeat_interleave(k, 3), None  # not divided


def avg_pool(x, kernel_size):
    return WrongAvgPool.apply(x, kernel_size)


class WrongMaxPool(solutions.MaxPool):
    @staticmethod
    def backward(ctx, grad):
        k = ctx.kernel_size
        return grad.repeat_interleave(k, 2).repeat_interleave(k, 3), None  # to all pixels of the window


def max_pool(x, kernel_size):
    return WrongMaxPool.apply(x, kernel_size)


class Conv(solutions.Conv):
    @staticmethod
    def backward(ctx, grad):
        grad_x, grad_weight = solutions.Conv.backward(ctx, grad)
        return grad_x, grad_weight.flip(2, 3)  # turned, as a true convolution would


# recurrent


class RNNStep(solutions.RNNStep):
    @staticmethod
    def backward(ctx, grad):
        *gradients, b_ih, _ = solutions.RNNStep.backward(ctx, grad)
        return *gradients, b_ih, None  # one bias of two


class GRUStep(solutions.GRUStep):
    @staticmethod
    def backward(ctx, grad):
        x, h, w_ih, w_hh, r, z, n, h_n = ctx.saved_tensors
        grad_x, grad_h, *rest = solutions.GRUStep.backward(ctx, grad)
        return grad_x, grad_h - grad * z, *rest  # the direct path through z is missing


class ThroughTime(solutions.ThroughTime):
    @staticmethod
    def backward(ctx, grad):
        weight, *states = ctx.saved_tensors
        delta = grad * (1 - torch.stack(states[1:]) ** 2)  # nothing comes from later times
        return delta, torch.einsum("tbi,tbj->ij", delta, torch.stack(states[:-1]))


# gan


class LogSigmoid(solutions.LogSigmoid):
    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)  # the wrong side


class DiscriminatorLoss(solutions.DiscriminatorLoss):
    @staticmethod
    def backward(ctx, grad):
        logits, target = ctx.saved_tensors
        p = torch.sigmoid(logits)
        each = grad / logits.numel()
        return each * (p - target) * p * (1 - p), -each * logits  # the slope of the sigmoid once too often


class Upsample(solutions.Upsample):
    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        grad_x, grad_weight = solutions.Upsample.backward(ctx, grad)
        return grad_x, grad_weight.flip(2, 3)  # turned


# attention


class Attention(solutions.Attention):
    @staticmethod
    def backward(ctx, grad):
        q, k, v, p = ctx.saved_tensors
        grad_s = q.shape[-1] ** -0.5 * p * (grad @ v.mT)  # the weights always sum to 1, which this forgets
        return grad_s @ k, grad_s.mT @ q, p.mT @ grad


def causal_attention(q, k, v, is_causal):
    p = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, -1)
    return p.tril() @ v  # the rows do not sum to 1


class WrongLayerNorm(solutions.LayerNorm):
    @staticmethod
    def backward(ctx, grad):
        _, rstd = ctx.saved_tensors
        return rstd * (grad - grad.mean(-1, keepdim=True))  # the variance taken for a constant


def layer_norm(x, normalized_shape):
    return WrongLayerNorm.apply(x)
