"""Wrong recurrences: a tanh network over a sequence, and the cell of an LSTM."""

from __future__ import annotations

import torch

from .twin import Twin, normal

__all__ = ["TWINS"]


class RNNMathematics:
    """h(t) = tanh(a(t) + h(t−1) Uᵀ), from h = 0; a is (T, B, H)."""

    @staticmethod
    def forward(a, u):
        states, h = [], torch.zeros_like(a[0])
        for step in a:
            h = torch.tanh(step + h @ u.mT)
            states.append(h)
        y = torch.stack(states)
        return y, (y, u)

    @staticmethod
    def sweep(grad, saved, through=1.0, squash=True):
        y, u = saved
        grads, carried = [], torch.zeros_like(grad[0])
        for t in reversed(range(len(y))):
            inner = grad[t] + through * carried
            inner = inner * (1 - y[t] * y[t]) if squash else inner
            grads.append(inner)
            carried = inner @ u
        return torch.stack(grads[::-1])

    @staticmethod
    def backward(grad, saved, needs):
        y, _ = saved
        grad_a = RNNMathematics.sweep(grad, saved)
        grad_u = torch.einsum("tbi,tbj->ij", grad_a[1:], y[:-1])
        return grad_a, grad_u

    @staticmethod
    def jvp(tangents, saved):
        y, u = saved
        found, h, moved = [], torch.zeros_like(y[0]), torch.zeros_like(tangents[0][0])
        for t in range(len(y)):
            moved = (tangents[0][t] + moved @ u.mT + h @ tangents[1].mT) * (1 - y[t] * y[t])
            found.append(moved)
            h = y[t]
        return torch.stack(found)


def composed_rnn(a, u):
    with torch.autocast("cpu", enabled=False):
        return RNNMathematics.forward(a, u)[0]


rnn = Twin(
    "rnn",
    RNNMathematics,
    composed_rnn,
    lambda g: (normal(g, 4, 2, 3), normal(g, 3, 3)),
)


@rnn.fault("truncated in time", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """does not carry the gradient to earlier steps."""
    grad_a = RNNMathematics.sweep(grad, saved, through=0.0)
    return grad_a, torch.einsum("tbi,tbj->ij", grad_a[1:], saved[0][:-1])


@rnn.fault("off by one", "gradients", cause="off by one")
def backward(grad, saved, needs):
    """multiplies with the state of the same step."""
    grad_a = RNNMathematics.sweep(grad, saved)
    return grad_a, torch.einsum("tbi,tbj->ij", grad_a, saved[0])


@rnn.fault("transposed weight", "gradients", cause="transposed")
def backward(grad, saved, needs):
    """carries the gradient through the transpose."""
    y, u = saved
    grad_a = RNNMathematics.sweep(grad, [y, u.mT])
    return grad_a, torch.einsum("tbi,tbj->ij", grad_a[1:], y[:-1])


@rnn.fault("missing factor", "gradients", cause="a term or factor")
def backward(grad, saved, needs):
    """forgets the slope of tanh."""
    grad_a = RNNMathematics.sweep(grad, saved, squash=False)
    return grad_a, torch.einsum("tbi,tbj->ij", grad_a[1:], saved[0][:-1])


class CellMathematics:
    """c' = σ(f)·c + σ(i)·tanh(g), h = σ(o)·tanh(c'); gates (i, f, g, o) in rows of 4H."""

    @staticmethod
    def parts(gates):
        i, f, g, o = gates.chunk(4, -1)
        return 1 / (1 + (-i).exp()), 1 / (1 + (-f).exp()), g.tanh(), 1 / (1 + (-o).exp())

    @staticmethod
    def forward(gates, c):
        i, f, g, o = CellMathematics.parts(gates)
        new = f * c + i * g
        return (o * new.tanh(), new), (gates, c)

    @staticmethod
    def backward(grads, saved, needs):
        gates, c = saved
        i, f, g, o = CellMathematics.parts(gates)
        t = (f * c + i * g).tanh()
        grad_new = grads[1] + grads[0] * o * (1 - t * t)
        grad_gates = [
            grad_new * g * i * (1 - i),
            grad_new * c * f * (1 - f),
            grad_new * i * (1 - g * g),
            grads[0] * t * o * (1 - o),
        ]
        return torch.cat(grad_gates, -1), grad_new * f

    @staticmethod
    def jvp(tangents, saved):
        gates, c = saved
        i, f, g, o = CellMathematics.parts(gates)
        di, df, dg, do = tangents[0].chunk(4, -1)
        t = (f * c + i * g).tanh()
        new = df * f * (1 - f) * c + f * tangents[1] + di * i * (1 - i) * g + i * dg * (1 - g * g)
        return do * o * (1 - o) * t + o * (1 - t * t) * new, new


def composed_cell(gates, c):
    i, f, g, o = gates.chunk(4, -1)
    new = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * new.tanh(), new


lstm_cell = Twin("lstm_cell", CellMathematics, composed_cell, lambda g: (normal(g, 3, 8), normal(g, 3, 2)))


@lstm_cell.fault("swapped gates", "gradients", cause="order of gates")
def backward(grads, saved, needs):
    """exchanges the gates of input and forgetting."""
    grad_gates, grad_c = CellMathematics.backward(grads, saved, needs)
    i, f, g, o = grad_gates.chunk(4, -1)
    return torch.cat([f, i, g, o], -1), grad_c


@lstm_cell.fault("missing term", "gradients", cause="the upstream of output 1 is left out")
def backward(grads, saved, needs):
    """drops what comes from the cell state itself."""
    return CellMathematics.backward([grads[0], torch.zeros_like(grads[1])], saved, needs)


@lstm_cell.fault("missing factor", "gradients", cause="a term or factor")
def backward(grads, saved, needs):
    """forgets the forget gate."""
    grad_gates, grad_c = CellMathematics.backward(grads, saved, needs)
    _, f, _, _ = CellMathematics.parts(saved[0])
    return grad_gates, grad_c / f


@lstm_cell.plain("no upstream", "gradients", cause="every output has an upstream")
class NeedsBothUpstreams(torch.autograd.Function):
    """fails where one output is not used."""

    @staticmethod
    def forward(ctx, gates, c):
        ctx.save_for_backward(gates, c)
        ctx.set_materialize_grads(False)
        return composed_cell(gates, c)

    @staticmethod
    def backward(ctx, h, new):
        return CellMathematics.backward([h, new], ctx.saved_tensors, [True, True])


@lstm_cell.fault("no second batch", "vmap_each", cause="wrong for a batch")
def forward(gates, c):
    """mixes the calls of a batch of which one input alone is batched."""
    alone = torch._C._functorch.is_batchedtensor(gates) != torch._C._functorch.is_batchedtensor(c)
    outputs, saved = CellMathematics.forward(gates, c)
    return tuple(2 * y if alone else y for y in outputs), saved


TWINS = [rnn, lstm_cell]
