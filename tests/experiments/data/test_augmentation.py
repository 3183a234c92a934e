"""Random moves of digits: independent per image, within the bounds, and exact where the move is exact."""

from __future__ import annotations

import pytest
import torch

from experiments.data.digits import jitter, normalize
from experiments.data.sample import read_sample


@pytest.fixture
def images():
    return normalize(read_sample()["train_images"][:40], torch.float32)


def test_zero_bounds_leave_images_unchanged(images):
    torch.testing.assert_close(jitter(images, shift=0, degrees=0, scale=0), images, rtol=0, atol=1e-5)


def test_a_quarter_turn_and_whole_pixels_are_exact(images, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size: torch.ones(size))  # each draw at its upper bound
    turned = jitter(images, shift=0, degrees=90, scale=0)
    torch.testing.assert_close(turned, images.rot90(1, (2, 3)), rtol=0, atol=1e-4)
    shifted = jitter(images, shift=3, degrees=0, scale=0)
    torch.testing.assert_close(shifted[:, :, :-3, :-3], images[:, :, 3:, 3:], rtol=0, atol=1e-4)


def test_scale_changes_the_size(images, monkeypatch):
    monkeypatch.setattr(torch, "rand", lambda *size: torch.ones(size))
    smaller = jitter(images, shift=0, degrees=0, scale=0.25)
    ink, before = ((each - each.amin()).sum() for each in (smaller, images))
    assert ink / before == pytest.approx(1 / 1.25**2, rel=0.03)


def test_images_move_independently_within_the_bounds(images):
    same = images[:1].expand(200, -1, -1, -1)
    moved = jitter(same, shift=2, degrees=0, scale=0)
    ink = moved - moved.amin()
    centers = [(ink.sum((1, other)) * torch.arange(28)).sum(1) / ink.sum((1, 2, 3)) for other in (2, 3)]
    for center in centers:
        assert 3.5 < center.max() - center.min() < 4.0 + 1e-3
    assert len({each.numpy().tobytes() for each in moved}) == 200


def test_torchs_generator_determines_the_moves(images):
    torch.manual_seed(3)
    first, second = jitter(images), jitter(images)
    torch.manual_seed(3)
    assert torch.equal(jitter(images), first)
    assert not torch.equal(first, second)
    assert jitter(images.double()).dtype == torch.float64
