"""Convolutions, unfolding, padding and resampling of sequences, images and volumes."""

from __future__ import annotations

from functools import partial
from typing import Any

from reference.catalog import Make, Sample
from reference.speed.workload import Workload, op_workload
from reference.speed.workloads.sized import in_words, sized

__all__ = ["LARGE", "WORKLOADS", "convolution_in_words"]

Shape = tuple[int, ...]


def convolved(image: Shape, kernel: Shape, options: dict[str, Any], make: Make) -> Sample:
    """Makes an image and a kernel, which is (in, out, ...) for a transposed convolution."""
    fan = kernel[1]
    for size in kernel[2:]:
        fan *= size
    return Sample((make.normal(*image), make.normal(*kernel, scale=fan**-0.5), make.normal(options["out"])))


def convolution(op: str, image: Shape, out: int, *window: int) -> Workload:
    channels = image[1]
    kernel = (channels, out, *window) if "transpose" in op else (out, channels, *window)
    sample = partial(convolved, image, kernel, {"out": out})
    return op_workload(op, convolution_in_words(image, out, *window), sample, layouts=len(window) == 2)


def convolution_in_words(image: Shape, out: int, *window: int) -> str:
    """Returns the size of a workload: image, output channels, kernel size."""
    return f"{in_words(image)}·{out}·{'×'.join(map(str, window))}"


def sequences(make: Make) -> Sample:
    return Sample((make.normal(256, 32, 32), make.normal(3, 32, 32, scale=96**-0.5), make.normal(32)))


def windows(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 3


def columns(make: Make, batch: int, rows: int, count: int) -> tuple[Any, ...]:
    """Makes the columns of 3×3 windows for `fold`."""
    side = round(count**0.5) + 2
    return make.normal(batch, rows, count), (side, side), 3


def padded(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), (2, 2, 2, 2)


LARGE = (((128, 32, 26, 26), 64, 3, 3), ((32, 64, 56, 56), 64, 3, 3), ((32, 128, 28, 28), 128, 3, 3))
IMAGES: tuple[Shape, ...] = ((1, 1, 8, 8), (32, 16, 28, 28), (32, 64, 56, 56))

WORKLOADS = (
    convolution("conv2d", (1, 1, 4, 4), 2, 3, 3),
    convolution("conv2d", (128, 1, 28, 28), 32, 3, 3),
    *(convolution("conv2d", *sizes) for sizes in LARGE),
    convolution("conv2d_relu", (1, 1, 4, 4), 2, 3, 3),
    convolution("conv2d_relu", (128, 1, 28, 28), 32, 3, 3),
    convolution("conv2d_relu_max_pool2d", (1, 1, 4, 4), 2, 3, 3),
    *(convolution("conv2d_relu_max_pool2d", *sizes) for sizes in LARGE),
    convolution("conv1d", (32, 64, 256), 64, 3),
    op_workload("conv_tbc", "(256,32,32)·32·3", sequences),
    convolution("conv3d", (4, 16, 16, 16, 16), 32, 3, 3, 3),
    convolution("conv_transpose1d", (32, 64, 256), 64, 3),
    convolution("conv_transpose2d", (32, 64, 26, 26), 32, 3, 3),
    convolution("conv_transpose3d", (4, 16, 14, 14, 14), 32, 3, 3, 3),
    *sized("unfold", IMAGES[:2], windows),
    *sized("fold", ((1, 9, 36), (32, 144, 676)), columns),
    *(w for mode in ("constant", "reflect", "circular") for w in sized("pad", IMAGES, padded, mode=mode)),
    *sized("pixel_shuffle", ((1, 4, 4, 4), (32, 64, 28, 28)), lambda make, *shape: (make.normal(*shape), 2)),
    *sized("pixel_unshuffle", ((1, 1, 8, 8), (32, 16, 56, 56)), lambda make, *shape: (make.normal(*shape), 2)),
    *(
        w
        for op in ("channel_shuffle", "native_channel_shuffle")
        for w in sized(op, ((1, 4, 4, 4), (32, 64, 28, 28)), lambda make, *shape: (make.normal(*shape), 2))
    ),
    *(
        w
        for mode in ("nearest", "bilinear", "bicubic")
        for w in sized("interpolate", IMAGES[:2], layouts=True, scale_factor=2, mode=mode)
    ),
    *sized("interpolate", IMAGES[2:], layouts=True, scale_factor=2, mode="bilinear"),
    *(w for op in ("upsample_nearest", "upsample_bilinear") for w in sized(op, IMAGES[:2], scale_factor=2)),
    *sized("upsample", IMAGES[:2], scale_factor=2, mode="bilinear"),
)
