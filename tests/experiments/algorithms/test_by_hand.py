"""Back-propagation by hand compared with autograd."""

from __future__ import annotations

import torch

from experiments.algorithms.by_hand import Layer, back_propagate, differences, error_of, forward

SIZES = (5, 4, 3, 2)


def layers_and_examples():
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    layers = [Layer(draw(b, a), draw(b)) for a, b in zip(SIZES, SIZES[1:], strict=False)]
    return layers, draw(7, SIZES[0]), draw(7, SIZES[-1])


def test_gradients_equal_autograds():
    layers, x, y = layers_and_examples()
    leaves = [tensor.requires_grad_() for layer in layers for tensor in (layer.weight, layer.bias)]
    expected = torch.autograd.grad(error_of(layers, x, y), leaves)
    with torch.no_grad():
        found = [g for t in back_propagate(layers, x, y) for g in (t.weight_gradient, t.bias_gradient)]
    torch.testing.assert_close(found, list(expected), rtol=1e-12, atol=1e-15)


def test_deltas_are_derivatives_with_respect_to_the_sums():
    layers, x, y = layers_and_examples()
    sums = [z.detach() for z, _ in forward(layers, x)]
    for place, trace in enumerate(back_propagate(layers, x, y)):
        z = sums[place].clone().requires_grad_()
        a = 1 / (1 + torch.exp(-z))
        rest = layers[place + 1 :]
        error = error_of(rest, a, y) if rest else ((a - y) ** 2).mean()
        (slope,) = torch.autograd.grad(error, z)
        torch.testing.assert_close(trace.deltas, slope, rtol=1e-12, atol=1e-15)
        torch.testing.assert_close(trace.sums, z.detach())


def test_differences_approximate_gradients_and_restore_the_weights():
    layers, x, y = layers_and_examples()
    before = [layer.weight.clone() for layer in layers]
    found = differences(layers, x, y, step=1e-5)
    expected = [g for t in back_propagate(layers, x, y) for g in (t.weight_gradient, t.bias_gradient)]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    assert all(torch.equal(layer.weight, kept) for layer, kept in zip(layers, before, strict=True))
