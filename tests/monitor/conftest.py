from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (
    STORE_EVERYTHING_SIZE_GUIDANCE,
    EventAccumulator,
)


class Events:
    """What a run's folder holds."""

    def __init__(self, folder: Path) -> None:
        self.accumulator = EventAccumulator(str(folder), size_guidance=STORE_EVERYTHING_SIZE_GUIDANCE).Reload()
        kinds = self.accumulator.Tags()
        self.histograms, self.images = kinds["histograms"], kinds["images"]
        # The extremes over the layers follow from the others.
        self.scalars = [tag for tag in kinds["scalars"] if not tag.startswith("over_layers/")]

    def not_seen(self) -> dict[int, str]:
        """What the monitor says that it could not see, by step."""
        if "not_seen/text_summary" not in self.accumulator.Tags()["tensors"]:
            return {}
        events = self.accumulator.Tensors("not_seen/text_summary")
        return {event.step: event.tensor_proto.string_val[0].decode() for event in events}

    def curve(self, tag: str) -> dict[int, float]:
        points = self.accumulator.Scalars(tag)
        assert len({point.step for point in points}) == len(points)
        return {point.step: point.value for point in points}

    def image(self, tag: str) -> torch.Tensor:
        png = self.accumulator.Images(tag)[-1].encoded_image_string
        return torch.from_numpy(np.array(Image.open(io.BytesIO(png)))).permute(2, 0, 1) / 255


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def read(folder: Path):
    return lambda: Events(folder)


@pytest.fixture
def events():
    return Events
