r"""Convolution as one matrix product with the windows of many images.

The windows of all images in a tile are the rows of a matrix, of C·R·S columns each. With the weight as a matrix W of O
rows and C·R·S columns:

.. math::
    Y = \operatorname{gather}(X)\, W^\top \qquad
    \bar X = \operatorname{scatter}(\bar Y\, W) \qquad
    \bar W = \bar Y^\top \operatorname{gather}(X)

where scatter, the adjoint of gather, adds windows up into images. The product has many rows however small the images
are; im2col's products, one for each image, have few. Large images of few columns have products of their own, which do
not change their memory format.

With stride 1, each product is also the adjoint of a convolution from Y to X, whose kernel is mirrored and whose windows
have O·R·S columns. Gathering reads and writes the windows once, scattering about three times; the cheaper one runs.

The columns are in the order R, S, C, in which windows are read in long pieces from images in channels-last format. If
the weight is larger than the windows, they are in its own order C, R, S instead, and the weight is not copied.

Shapes: B images, C input and O output channels, H × W pixels, R × S kernel, P × Q outputs; b images per tile.

Source: K. Chellapilla, S. Puri and P. Simard, "High performance convolutional neural networks for document processing",
2006.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from scratchnet.convolution.algorithms.polyphase import per_channel
from scratchnet.layout import as_rows, empty_images
from scratchnet.windows import Geometry, col2im

__all__ = ["backward_input", "convolve", "correlate", "gradients", "worthwhile"]

TILE_BYTES = 1 << 22
MOST_BYTES = 1 << 24  # of the windows of an image
LEAST_PIXELS, MOST_COLUMNS = 256, 300  # of products of one image
SCATTERING = 3  # its time over that of gathering


def worthwhile(
    x: Tensor, channels: int, out: int, geometry: Geometry, groups: int, outputs: Sequence[int]
) -> bool:
    """Returns whether the algorithm applies to a convolution, and the windows of an image fit into the cache."""
    return groups == 1 and math.prod(outputs) * channels * geometry.positions * x.element_size() <= MOST_BYTES


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, outputs: Sequence[int], channels_last: bool
) -> Tensor:
    """Convolves images (B, C, H, W) with a weight (O, C, R, S) and adds a bias; returns (B, O, P, Q)."""
    out, channels = weight.shape[:2]
    own = _in_own_order(out, len(x), outputs)
    if channels > SCATTERING * out and _mirrors(geometry) and not own:
        return _scatter(
            x, _mirrored(weight), bias, _mirror(geometry, x.shape[2:], outputs), outputs, channels_last, own
        )
    return _gather(x, weight, bias, geometry, outputs, channels_last, own)


def backward_input(
    y: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, size: Sequence[int], channels_last: bool
) -> Tensor:
    """Multiplies outputs (B, O, P, Q) by the adjoint of `convolve` and adds a bias; returns images (B, C, H, W)."""
    out, channels = weight.shape[:2]
    own = _in_own_order(out, len(y), y.shape[2:])
    if out < SCATTERING * channels and _mirrors(geometry) and not own:
        return _gather(y, _mirrored(weight), bias, _mirror(geometry, size, y.shape[2:]), size, channels_last, own)
    return _scatter(y, weight, bias, geometry, size, channels_last, own)


def correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    """Correlates outputs (B, O, P, Q) with images (B, C, H, W); returns a weight (O, C, R, S)."""
    if y.shape[1] < x.shape[1] and _mirrors(geometry):
        return _mirrored(_correlate(x, y, _mirror(geometry, x.shape[2:], y.shape[2:])))
    return _correlate(y, x, geometry)


def gradients(
    y: Tensor, x: Tensor, weight: Tensor, geometry: Geometry, channels_last: bool
) -> tuple[Tensor, Tensor]:
    """Returns `backward_input` and `correlate`, with windows that are gathered once if the cheaper ways allow it."""
    size, (out, channels) = x.shape[2:], weight.shape[:2]
    own = _in_own_order(out, len(y), y.shape[2:])
    if own or out >= SCATTERING * channels or not _mirrors(geometry):
        return backward_input(y, weight, None, geometry, size, channels_last), _correlate(y, x, geometry)
    back = _mirror(geometry, size, y.shape[2:])
    grad_x, matrix = empty_images(x, len(x), channels, size, channels_last), _matrix(_mirrored(weight), own)
    total = None
    for tile, cols in _windows(y, back, size, own, channels):
        _multiply(cols, matrix, None, grad_x[tile])
        total = _plus_product(total, x[tile], cols)
    assert total is not None
    return grad_x, _mirrored(_weight(total, (channels, out, *geometry.kernel), own))


def _gather(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    outputs: Sequence[int],
    channels_last: bool,
    own: bool,
) -> Tensor:
    y, matrix = empty_images(x, len(x), len(weight), outputs, channels_last), _matrix(weight, own)
    for tile, cols in _windows(x, geometry, outputs, own, len(weight)):
        _multiply(cols, matrix, bias, y[tile])
    return y


def _scatter(
    y: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    geometry: Geometry,
    size: Sequence[int],
    channels_last: bool,
    own: bool,
) -> Tensor:
    outputs, channels = y.shape[2:], weight.shape[1]
    x, matrix = empty_images(y, len(y), channels, size, channels_last), _matrix(weight, own)
    columns = (channels, geometry.positions) if own else (geometry.positions, channels)
    for tile in _tiles(y, math.prod(outputs) * geometry.positions * channels * y.element_size()):
        part = y[tile]
        if _by_image(part, matrix.shape[1]):
            cols = torch.bmm(part.flatten(2).mT, matrix.expand(len(part), -1, -1))
        else:
            cols = as_rows(part) @ matrix
        cols = cols.view(-1, *outputs, *columns).movedim((-2, -1) if own else (-1, -2), (1, 2))
        total = col2im(cols, size, geometry)
        x[tile] = total if bias is None else total + per_channel(bias, total)
        del cols, total  # before the next tile takes as much memory
    return x


def _correlate(y: Tensor, x: Tensor, geometry: Geometry) -> Tensor:
    shape = (y.shape[1], x.shape[1], *geometry.kernel)
    own = _in_own_order(shape[0], len(y), y.shape[2:])
    total = None
    for tile, cols in _windows(x, geometry, y.shape[2:], own, shape[0]):
        total = _plus_product(total, y[tile], cols)
    assert total is not None
    return _weight(total, shape, own)


def _windows(
    x: Tensor, geometry: Geometry, outputs: Sequence[int], own: bool, others: int
) -> Iterator[tuple[tuple[slice, ...], Tensor]]:
    """Yields an index of outputs (B, ·, P, Q) and the windows of these, a tile at a time.

    The windows are rows of R·S·C columns, or C·R·S in the weight's own order; ``others`` is the number of columns of
    the outputs.
    """
    columns = geometry.positions * x.shape[1]
    bytes_of_row = math.prod(outputs[1:]) * max(columns, others) * x.element_size()
    height = max(1, TILE_BYTES // max(1, bytes_of_row))
    for tile in _tiles(x, bytes_of_row * outputs[0]):
        wide = x[tile] if own or geometry.pads else x[tile].movedim(1, -1).contiguous().movedim(-1, 1)
        if geometry.pads:
            extent = (len(wide), *geometry.extent(x.shape[2:]))
            wide = empty_images(x, extent[0], x.shape[1], extent[1:], not own).zero_()
            wide[geometry.inside(x.shape[2:])] = x[tile]
        batch, channel, *steps = wide.stride()
        between = [step * s for step, s in zip(steps, geometry.stride, strict=True)]
        within = [step * d for step, d in zip(steps, geometry.dilation, strict=True)]
        kernel, strides = (
            ((x.shape[1], *geometry.kernel), (channel, *within))
            if own
            else ((*geometry.kernel, x.shape[1]), (*within, channel))
        )
        for top in range(0, max(1, outputs[0]), height):
            rows = slice(top, min(top + height, outputs[0]))
            windows = wide.as_strided(
                (len(wide), rows.stop - top, *outputs[1:], *kernel),
                (batch, *between, *strides),
                wide.storage_offset() + top * between[0],
            )
            yield (tile, slice(None), rows), windows.reshape(-1, columns)


def _tiles(x: Tensor, bytes_of_image: int) -> Iterator[slice]:
    """Yields tiles of images, of as many bytes each, that fit into the cache."""
    step = max(1, TILE_BYTES // max(1, bytes_of_image))
    yield from (slice(start, min(start + step, len(x))) for start in range(0, len(x), step))


def _in_own_order(out: int, batch: int, outputs: Sequence[int]) -> bool:
    """Returns whether a weight of ``out`` output channels is larger than the windows of all images."""
    return out > batch * math.prod(outputs)


def _matrix(weight: Tensor, own: bool) -> Tensor:
    """Returns a weight as a matrix (O, R·S·C), or (O, C·R·S) in its own order."""
    return (weight if own else weight.movedim(1, -1)).flatten(1)


def _weight(matrix: Tensor, shape: Sequence[int], own: bool) -> Tensor:
    """Returns the weight (O, C, R, S) that `_matrix` returns as a matrix."""
    out, channels, *kernel = shape
    return matrix.view(tuple(shape)) if own else matrix.view(out, *kernel, channels).movedim(-1, 1)


def _multiply(cols: Tensor, matrix: Tensor, bias: Tensor | None, y: Tensor) -> None:
    """Writes the product of windows (b·P·Q, …) and a weight (O, …), and a bias, to outputs (b, O, P, Q)."""
    if not _by_image(y, cols.shape[1]):
        rows = cols @ matrix.t() if bias is None else torch.addmm(bias, cols, matrix.t())
        y.movedim(1, -1).copy_(rows.view(len(y), *y.shape[2:], len(matrix)))
        return
    start = matrix.new_zeros(()) if bias is None else bias.unsqueeze(1)
    beta = 0 if bias is None else 1
    if len(y) == 1:
        torch.addmm(start, matrix, cols.t(), beta=beta, out=y[0].flatten(1))
    else:
        of_images = cols.view(len(y), -1, cols.shape[1]).mT
        torch.baddbmm(start, matrix.expand(len(y), -1, -1), of_images, beta=beta, out=y.flatten(2))


def _plus_product(total: Tensor | None, y: Tensor, cols: Tensor) -> Tensor:
    """Adds the product of outputs (b, O, P, Q) and windows (b·P·Q, …) to a total (O, …), in its memory."""
    if _by_image(y, cols.shape[1]) and len(y) > 1:
        product = (y.flatten(2) @ cols.view(len(y), -1, cols.shape[1])).sum(0)
        return product if total is None else total.add_(product)
    rows = y[0].flatten(1) if len(y) == 1 else as_rows(y).t()
    return rows @ cols if total is None else total.addmm_(rows, cols)


def _by_image(y: Tensor, columns: int) -> bool:
    """Returns whether products of one image each, which do not copy it, are faster than that of a tile."""
    image = y[0, 0]
    contiguous = y.is_contiguous() or (len(y) == 1 and image.is_contiguous())
    return columns <= MOST_COLUMNS and image.numel() >= LEAST_PIXELS and contiguous


def _mirrors(geometry: Geometry) -> bool:
    """Returns whether a convolution's adjoint is a convolution with the windows of `_mirror`."""
    along = zip(geometry.kernel, geometry.stride, geometry.padding, geometry.dilation, strict=True)
    return all(s == 1 and max(p) <= d * (k - 1) for k, s, p, d in along)


def _mirror(geometry: Geometry, size: Sequence[int], outputs: Sequence[int]) -> Geometry:
    """Returns the windows on outputs that see what each pixel of H × W images is seen by."""
    edges = [d * (k - 1) for d, k in zip(geometry.dilation, geometry.kernel, strict=True)]
    starts = [edge - before for edge, (before, _) in zip(edges, geometry.padding, strict=True)]
    along = zip(edges, starts, size, outputs, strict=True)
    return geometry._replace(padding=tuple((start, n + edge - count - start) for edge, start, n, count in along))


def _mirrored(weight: Tensor) -> Tensor:
    """Exchanges input and output channels and mirrors the kernel."""
    return weight.transpose(0, 1).flip(tuple(range(2, weight.dim())))
