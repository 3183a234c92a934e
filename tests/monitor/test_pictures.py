from __future__ import annotations

import pytest
import torch
from torch import nn

from scratchnet.monitor import Monitor
from scratchnet.monitor.pictures import BLUE, RED, confusion_picture, filter_picture

WHITE = (1.0, 1.0, 1.0)


def colour(picture, row, column):
    return tuple(picture[:, row, column].tolist())


def close(expected):
    return pytest.approx(expected, abs=1e-6)


def test_filters_are_blue_and_red_tiles_on_one_scale():
    weight = torch.zeros(3, 1, 2, 2)
    weight[0, 0, 0, 0], weight[0, 0, 1, 1], weight[2, 0, 0, 1] = 4.0, -4.0, 2.0
    picture = filter_picture(weight)
    assert picture.shape == (3, 72, 72)  # two by two tiles of 32 pixels, each in a frame of 2
    assert colour(picture, 0, 0) == WHITE
    assert colour(picture, 2, 2) == colour(picture, 17, 17) == close(BLUE)
    assert colour(picture, 18, 18) == colour(picture, 33, 33) == close(RED)
    assert colour(picture, 2, 18) == colour(picture, 2, 40) == WHITE
    assert colour(picture, 40, 20) == close(tuple((1 + c) / 2 for c in BLUE))


def test_filters_of_three_channels_are_colours():
    weight = torch.zeros(1, 3, 1, 1)
    weight[0, 0], weight[0, 2] = 1.0, -0.5
    assert colour(filter_picture(weight), 10, 10) == (1.0, 0.5, 0.25)


@pytest.mark.parametrize(
    ("weight", "shape"),
    [
        (torch.randn(5, 2, 3, 3), (3, 3 * 37, 4 * 37)),  # 10 tiles of 33 pixels
        (torch.randn(4, 1, 8), (3, 2 * 8, 2 * 36)),  # one-dimensional kernel
        (torch.randn(64, 64, 3, 3), (3, 16 * 37, 16 * 37)),  # the first 256 tiles of 4096
        (torch.randn(1, 1, 50, 40), (3, 54, 44)),
        (torch.zeros(4, 1, 3, 3), (3, 74, 74)),
        (torch.full((4, 1, 3, 3), float("nan")), (3, 74, 74)),
        (torch.randn(4, 1, 3, 3, dtype=torch.float16), (3, 74, 74)),
    ],
)
def test_filters_of_every_shape(weight, shape):
    picture = filter_picture(weight)
    assert picture.shape == shape
    assert 0 <= picture.min() <= picture.max() <= 1
    assert (picture == 1).all() == bool((weight.nan_to_num() == 0).all())


def test_only_the_first_convolution_is_shown(folder, read):
    model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Conv2d(1, 4, 3)), nn.Conv2d(4, 2, 3))
    with Monitor(model, None, folder) as monitor:
        monitor.step()
    assert read().images == ["pictures/filters/1.0"]
    shown = read().image("pictures/filters/1.0")
    torch.testing.assert_close(shown, filter_picture(model[1][0].weight), rtol=0, atol=1 / 255)


def test_confusion_of_counts():
    counts = torch.tensor([[3, 1, 0], [0, 0, 0], [0, 2, 6]])
    picture = confusion_picture(counts)
    cell = 44
    assert picture.shape == (3, 4 * cell, 4 * cell)

    def corner(row, column):
        return colour(picture, (row + 1) * cell + 2, (column + 1) * cell + 2)

    def ink(amount, full):
        return close(tuple(1 - amount * (1 - c) for c in full))

    assert corner(0, 0) == ink(0.75, BLUE)
    assert corner(0, 1) == ink(0.25**0.5, RED)
    assert corner(2, 1) == ink(0.25**0.5, RED)
    assert corner(0, 2) == corner(1, 1) == corner(1, 0) == WHITE


def test_confusion_shows_the_numbers():
    picture = confusion_picture(torch.tensor([[100, 7], [0, 0]]))
    glyph = (picture[:, 44 + 2 : 88, 88 + 2 : 132] == 0).all(0)  # black in the cell of row 0, column 1
    rows, columns = glyph.any(1).nonzero(), glyph.any(0).nonzero()
    drawn = glyph[rows.min() : rows.max() + 1 : 2, columns.min() : columns.max() + 1 : 2]
    assert drawn.int().tolist() == [[1, 1, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]]


@pytest.mark.parametrize(("classes", "edge"), [(1, 88), (10, 484), (40, 902), (100, 808), (1000, 1001)])
def test_confusion_of_any_size(classes, edge):
    picture = confusion_picture(torch.full((classes, classes), 12345))
    assert picture.shape == (3, edge, edge)
    assert 0 <= picture.min() <= picture.max() <= 1


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (torch.zeros(2, 3), r"square matrix of counts.*\(2, 3\)"),
        (torch.zeros(4), r"square matrix of counts.*\(4,\)"),
        (torch.zeros(0, 0), r"square matrix of counts.*\(0, 0\)"),
        (torch.tensor([[0.5, 0.5], [0.0, 1.0]]), "whole numbers"),
        (torch.tensor([[-1, 0], [0, 1]]), "whole numbers"),
        (torch.full((2, 2), float("nan")), "whole numbers"),
        (torch.full((2, 2), float("inf")), "whole numbers"),
    ],
)
def test_confusion_refuses_what_is_no_count(counts, message):
    with pytest.raises(ValueError, match=message):
        confusion_picture(counts)
