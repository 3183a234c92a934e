"""Figures have a title, axis labels and the given data."""

from __future__ import annotations

import torch

from experiments.data.synthetic import SURFACES, two_moons
from experiments.figures.bars import bars, columns
from experiments.figures.contours import Panel, boundary, paths
from experiments.figures.curves import curves, lines
from experiments.figures.pictures import gallery, pictures


def labeled(axes):
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    return axes.get_title()


def test_boundary():
    x, y = two_moons(40, 0.1, 0)
    panels = [Panel("left", lambda p: p[:, 0], x, y), Panel("right", lambda p: p[:, 1] * 9, x, y, support=y > 0)]
    figure = boundary("both", panels)
    left, right = figure.axes
    assert [labeled(axes) for axes in (left, right)] == ["left", "right"]
    assert figure.get_suptitle() == "both"
    (line,) = [
        each for each in left.collections if getattr(each, "levels", None) is not None and len(each.levels) == 1
    ]
    (path,) = [path for path in line.get_paths() if len(path.vertices)]
    assert abs(path.vertices[:, 0]).max() < 1e-6  # the score of the left panel is 0 there


def test_a_boundary_outside_the_panel_is_not_drawn():
    x, y = two_moons(40, 0.1, 0)
    (axes,) = boundary("one", [Panel("all alike", lambda p: p[:, 0] + 50, x, y)]).axes
    assert not [each for each in axes.collections if getattr(each, "levels", None) is not None]


def test_curves():
    (axes,) = curves(
        "some", {"a": ([1, 2], [3.0, 4.0]), "b": ([1, 2], [5.0, 6.0])}, x="step", y="loss", log="y"
    ).axes
    assert labeled(axes) == "some"
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert [line.get_label() for line in axes.lines] == ["a", "b"]
    assert list(axes.lines[1].get_ydata()) == [5, 6]


def test_letters_are_legible_on_a_card():
    """At the width of a card, 400 pixels, captions are at least 9 pixels tall."""
    x, y = two_moons(40, 0.1, 0)
    panels = [Panel("panel", lambda p: p[:, 0], x, y)] * 4
    images = torch.rand(12, 28, 28)
    bytes_ = (255 * images).to(torch.uint8)
    for figure in (
        boundary("four", panels),
        gallery(images, ["4 → 9  0.98"] * 12, "mistakes"),
        pictures("film", {str(row): bytes_ for row in range(8)}, x="sample", y="step"),
        columns("counts", dict.fromkeys("abcdefgh", 1.0), y="count"),
        bars("gap", dict.fromkeys("abcdefgh", (1.0, 0.8)), ("seen", "unseen"), "accuracy"),
        curves("curves", {"a": ([1, 2], [3.0, 4.0])}, x="step", y="loss"),
        lines("fits", x[:, :1], x[:, :1], y > 0, {}),
    ):
        pixels_per_point = 400 / figure.get_figwidth() / 72
        texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, *axes.texts)]
        sizes = [
            text.get_fontsize() for text in texts if text.get_text() and text.get_text() not in ("1.000", "0.800")
        ]
        assert min(sizes) * pixels_per_point > 9, sizes


def test_paths_show_the_distance_to_the_minimum():
    surface = SURFACES["ravine"]
    path = torch.tensor([surface.start, (3.0, 0.0)])
    (axes,) = paths("down", surface, {"plain": path}).axes
    assert labeled(axes) == "down"
    assert "plain: ends 3 away" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_bars():
    (axes,) = bars("gap", {"none": (1.0, 0.8), "l2": (0.9, 0.85)}, ("seen", "unseen"), "accuracy").axes
    assert labeled(axes) == "gap"
    assert [bar.get_width() for bar in axes.patches] == [1.0, 0.9, 0.8, 0.85]


def test_lines():
    x = torch.linspace(-1, 1, 20).unsqueeze(1)
    (axes,) = lines("fits", x, 2 * x, torch.arange(20) > 15, {"double": lambda x: 2 * x}).axes
    assert labeled(axes) == "fits"
    (line,) = axes.lines
    assert line.get_label() == "double"
    assert float(line.get_ydata()[-1]) == 2
