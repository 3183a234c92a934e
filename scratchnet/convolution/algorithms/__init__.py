r"""The three products of convolution, in any number of dimensions.

Convolution is linear in the image x and in the weight w. For any y of the output's shape, the number

.. math::
    T(x, w, y) = \sum_{b, o, p} y_{b, o, p} \sum_{c, r} w_{o, c, r} \, x_{b, c, p + r}

is linear in all three, and each product of convolution is its gradient in one of them:

.. math::
    \texttt{convolve}(x, w) = \frac{\partial T}{\partial y} \qquad
    \texttt{backward_input}(y, w) = \frac{\partial T}{\partial x} \qquad
    \texttt{correlate}(y, x) = \frac{\partial T}{\partial w}

Convolution is the first, with the other two as its gradients. Transposed convolution is the second, with the first and
the third as its gradients.

Each file of this package computes the products with one algorithm; `scratchnet.convolution.algorithms.dispatch`
chooses among them.

Shapes: B images, C input and O output channels, G groups, H × W pixels, R × S kernel, P × Q outputs.
"""
