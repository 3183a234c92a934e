"""A right solution of each exercise of the course, under the name that the exercise asks for."""

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.functional import one_hot

# history


class LinearKernel(Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x @ y.T

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        return grad @ y, grad.T @ x


class RBFKernel(Function):
    @staticmethod
    def forward(ctx, x, y):
        k = torch.exp(-((x[:, None] - y) ** 2).sum(-1))
        ctx.save_for_backward(x, y, k)
        return k

    @staticmethod
    def backward(ctx, grad):
        x, y, k = ctx.saved_tensors
        push = -2 * (grad * k)[:, :, None] * (x[:, None] - y)
        return push.sum(1), -push.sum(0)


class MultiMargin(Function):
    @staticmethod
    def forward(ctx, scores, labels):
        right = scores.gather(1, labels[:, None])
        wrong = 1 - one_hot(labels, scores.shape[1]).to(scores)
        margins = (1 - right + scores).clamp(min=0) * wrong
        ctx.save_for_backward(margins > 0, labels)
        return margins.mean()

    @staticmethod
    def backward(ctx, grad):
        violated, labels = ctx.saved_tensors
        push = violated.to(grad) * grad / violated.numel()
        return push.scatter_add(1, labels[:, None], -push.sum(1, keepdim=True)), None


# neuron


class Neuron(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        return grad @ weight, grad.T @ x, grad.sum(0)


class SigmoidNeuron(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        y = torch.sigmoid(x @ weight + bias)
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, weight, y = ctx.saved_tensors
        delta = grad * y * (1 - y)
        return delta[:, None] * weight, delta @ x, delta.sum()


class Layer(Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        rows = grad.flatten(0, -2)
        return grad @ weight, rows.T @ x.flatten(0, -2), rows.sum(0)


# activations


class Tanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return grad * (1 - y**2)


class Softmax(Function):
    @staticmethod
    def forward(ctx, x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        y = e / e.sum(-1, keepdim=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True))


def softmax(x, dim):
    return Softmax.apply(x.movedim(dim, -1)).movedim(-1, dim)


class LearnedELU(Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.save_for_backward(x, alpha)
        return torch.where(x > 0, x, alpha * torch.expm1(x))

    @staticmethod
    def backward(ctx, grad):
        x, alpha = ctx.saved_tensors
        low = x.clamp(max=0)
        grad_x = torch.where(x > 0, grad, grad * alpha * torch.exp(low))
        return grad_x, (grad * torch.expm1(low)).sum().reshape(alpha.shape)


# losses


class SquaredError(Function):
    @staticmethod
    def forward(ctx, x, target):
        ctx.save_for_backward(x, target)
        return ((x - target) ** 2).mean()

    @staticmethod
    def backward(ctx, grad):
        x, target = ctx.saved_tensors
        grad_x = 2 * (x - target) * grad / x.numel()
        return grad_x, -grad_x


class Huber(Function):
    @staticmethod
    def forward(ctx, x, target):
        ctx.save_for_backward(x, target)
        size = (x - target).abs()
        return torch.where(size < 1, 0.5 * size**2, size - 0.5).mean()

    @staticmethod
    def backward(ctx, grad):
        x, target = ctx.saved_tensors
        grad_x = (x - target).clamp(-1, 1) * grad / x.numel()
        return grad_x, -grad_x


class CrossEntropy(Function):
    @staticmethod
    def forward(ctx, logits, labels):
        ctx.save_for_backward(logits, labels)
        return (logits.logsumexp(1) - logits.gather(1, labels[:, None])[:, 0]).mean()

    @staticmethod
    def backward(ctx, grad):
        logits, labels = ctx.saved_tensors
        p = torch.softmax(logits, 1)
        return (p - one_hot(labels, p.shape[1]).to(p)) * grad / len(labels), None


# backpropagation


class MatMul(Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a @ b

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        return grad @ b.T, a.T @ grad


class TwoLayers(Function):
    @staticmethod
    def forward(ctx, x, w1, w2, target):
        hidden = torch.tanh(x @ w1.T)
        output = hidden @ w2.T
        ctx.save_for_backward(x, w1, w2, hidden, output - target)
        return ((output - target) ** 2).mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, w1, w2, hidden, error = ctx.saved_tensors
        delta2 = 2 * error * grad / error.numel()
        delta1 = (delta2 @ w2) * (1 - hidden**2)
        return delta1 @ w1, delta1.T @ x, delta2.T @ hidden, -delta2


class Softplus(Function):
    @staticmethod
    def forward(x):
        return torch.logaddexp(x, torch.zeros_like(x))

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(x)

    @staticmethod
    def jvp(ctx, tangent):
        (x,) = ctx.saved_tensors
        return tangent * torch.sigmoid(x)


# sgd


def decayed(start, gradients, lr, weight_decay):
    w = start
    for g in gradients:
        w = w - lr * (g + weight_decay * w)
    return w


def momentum(start, gradients, lr, momentum):
    w, b = start, torch.zeros_like(start)
    for g in gradients:
        b = momentum * b + g
        w = w - lr * b
    return w


def nesterov(start, gradients, lr, momentum, nesterov):
    w, b = start, torch.zeros_like(start)
    for g in gradients:
        b = momentum * b + g
        w = w - lr * (g + momentum * b)
    return w


# regularization


class L1Penalty(Function):
    @staticmethod
    def forward(ctx, weight):
        ctx.save_for_backward(weight)
        return weight.abs().sum()

    @staticmethod
    def backward(ctx, grad):
        (weight,) = ctx.saved_tensors
        return grad * weight.sign()


class MaskedDropout(Function):
    @staticmethod
    def forward(ctx, x, noise):
        scale = (noise > 0).to(x) * 2
        ctx.save_for_backward(scale)
        return x * scale

    @staticmethod
    def backward(ctx, grad):
        (scale,) = ctx.saved_tensors
        return grad * scale, None


class Standardize(Function):
    @staticmethod
    def forward(ctx, x):
        rstd = (x.var(0, correction=0) + 1e-5) ** -0.5
        y = (x - x.mean(0)) * rstd
        ctx.save_for_backward(y, rstd)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        y, rstd = ctx.saved_tensors
        return rstd * (grad - grad.mean(0) - y * (grad * y).mean(0))


# convolutional


class AvgPool(Function):
    @staticmethod
    def forward(ctx, x, kernel_size):
        ctx.kernel_size = kernel_size
        return x.unfold(2, kernel_size, kernel_size).unfold(3, kernel_size, kernel_size).mean((-2, -1))

    @staticmethod
    def backward(ctx, grad):
        k = ctx.kernel_size
        return (grad / k**2).repeat_interleave(k, 2).repeat_interleave(k, 3), None


def avg_pool(x, kernel_size):
    return AvgPool.apply(x, kernel_size)


class MaxPool(Function):
    @staticmethod
    def forward(ctx, x, kernel_size):
        windows = x.unfold(2, kernel_size, kernel_size).unfold(3, kernel_size, kernel_size).flatten(-2)
        y, argmax = windows.max(-1)
        ctx.save_for_backward(argmax)
        ctx.kernel_size = kernel_size
        return y

    @staticmethod
    def backward(ctx, grad):
        (argmax,) = ctx.saved_tensors
        k = ctx.kernel_size
        windows = one_hot(argmax, k * k).to(grad) * grad[..., None]
        b, c, p, q = grad.shape
        return windows.view(b, c, p, q, k, k).transpose(3, 4).reshape(b, c, p * k, q * k), None


def max_pool(x, kernel_size):
    return MaxPool.apply(x, kernel_size)


class Conv(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        p, q = x.shape[2] - 2, x.shape[3] - 2
        return sum(
            torch.einsum("bcpq,oc->bopq", x[:, :, r : r + p, s : s + q], weight[:, :, r, s])
            for r in range(3)
            for s in range(3)
        )

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        p, q = grad.shape[2:]
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        for r in range(3):
            for s in range(3):
                grad_x[:, :, r : r + p, s : s + q] += torch.einsum("bopq,oc->bcpq", grad, weight[:, :, r, s])
                grad_weight[:, :, r, s] = torch.einsum("bopq,bcpq->oc", grad, x[:, :, r : r + p, s : s + q])
        return grad_x, grad_weight


# recurrent


class RNNStep(Function):
    @staticmethod
    def forward(ctx, x, h, w_ih, w_hh, b_ih, b_hh):
        y = torch.tanh(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh)
        ctx.save_for_backward(x, h, w_ih, w_hh, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, h, w_ih, w_hh, y = ctx.saved_tensors
        delta = grad * (1 - y**2)
        return delta @ w_ih, delta @ w_hh, delta.T @ x, delta.T @ h, delta.sum(0), delta.sum(0)


class GRUStep(Function):
    @staticmethod
    def forward(ctx, x, h, w_ih, w_hh, b_ih, b_hh):
        i_r, i_z, i_n = (x @ w_ih.T + b_ih).chunk(3, 1)
        h_r, h_z, h_n = (h @ w_hh.T + b_hh).chunk(3, 1)
        r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        ctx.save_for_backward(x, h, w_ih, w_hh, r, z, n, h_n)
        return (1 - z) * n + z * h

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, h, w_ih, w_hh, r, z, n, h_n = ctx.saved_tensors
        delta_n = grad * (1 - z) * (1 - n**2)
        delta_z = grad * (h - n) * z * (1 - z)
        delta_r = delta_n * h_n * r * (1 - r)
        into_x = torch.cat((delta_r, delta_z, delta_n), 1)
        into_h = torch.cat((delta_r, delta_z, delta_n * r), 1)
        return (
            into_x @ w_ih,
            into_h @ w_hh + grad * z,
            into_x.T @ x,
            into_h.T @ h,
            into_x.sum(0),
            into_h.sum(0),
        )


class ThroughTime(Function):
    @staticmethod
    def forward(ctx, x, weight):
        states = [torch.zeros_like(x[0])]
        for x_t in x:
            states.append(torch.tanh(x_t + states[-1] @ weight.T))
        ctx.save_for_backward(weight, *states)
        return torch.stack(states[1:])

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weight, *states = ctx.saved_tensors
        grad_x, grad_weight, later = [], torch.zeros_like(weight), torch.zeros_like(states[0])
        for t in range(len(states) - 1, 0, -1):
            delta = (grad[t - 1] + later) * (1 - states[t] ** 2)
            grad_x.append(delta)
            grad_weight = grad_weight + delta.T @ states[t - 1]
            later = delta @ weight
        return torch.stack(grad_x[::-1]), grad_weight


# gan


class LogSigmoid(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(max=0) - torch.log1p(torch.exp(-x.abs()))

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(-x)


class DiscriminatorLoss(Function):
    @staticmethod
    def forward(ctx, logits, target):
        ctx.save_for_backward(logits, target)
        return (logits.clamp(min=0) - logits * target + torch.log1p(torch.exp(-logits.abs()))).mean()

    @staticmethod
    def backward(ctx, grad):
        logits, target = ctx.saved_tensors
        each = grad / logits.numel()
        return each * (torch.sigmoid(logits) - target), -each * logits


class Upsample(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        b, _, p, q = x.shape
        y = x.new_zeros(b, weight.shape[1], p + 1, q + 1)
        for r in range(2):
            for s in range(2):
                y[:, :, r : r + p, s : s + q] += torch.einsum("bcpq,co->bopq", x, weight[:, :, r, s])
        return y

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        p, q = x.shape[2:]
        grad_x, grad_weight = torch.zeros_like(x), torch.zeros_like(weight)
        for r in range(2):
            for s in range(2):
                part = grad[:, :, r : r + p, s : s + q]
                grad_x += torch.einsum("bopq,co->bcpq", part, weight[:, :, r, s])
                grad_weight[:, :, r, s] = torch.einsum("bopq,bcpq->co", part, x)
        return grad_x, grad_weight


# attention


class Attention(Function):
    @staticmethod
    def forward(ctx, q, k, v):
        scale = q.shape[-1] ** -0.5
        p = torch.softmax(scale * q @ k.mT, -1)
        ctx.save_for_backward(q, k, v, p)
        return p @ v

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        q, k, v, p = ctx.saved_tensors
        grad_p = grad @ v.mT
        grad_s = q.shape[-1] ** -0.5 * p * (grad_p - (grad_p * p).sum(-1, keepdim=True))
        return grad_s @ k, grad_s.mT @ q, p.mT @ grad


def causal_attention(q, k, v, is_causal):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    future = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, float("-inf")), -1) @ v


class LayerNorm(Function):
    @staticmethod
    def forward(ctx, x):
        rstd = (x.var(-1, correction=0, keepdim=True) + 1e-5) ** -0.5
        y = (x - x.mean(-1, keepdim=True)) * rstd
        ctx.save_for_backward(y, rstd)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        y, rstd = ctx.saved_tensors
        return rstd * (grad - grad.mean(-1, keepdim=True) - y * (grad * y).mean(-1, keepdim=True))


def layer_norm(x, normalized_shape):
    return LayerNorm.apply(x)
