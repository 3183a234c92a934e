"""What maxout is, and who uses it."""

from __future__ import annotations

from collections import Counter

import torch

from experiments.chapters.claims.finding import Bench, Finding
from experiments.data.vision import models
from experiments.figures.columns import columns

__all__ = ["activations_in_use", "maxout_is_no_default"]

PIECES = 4
ARCHITECTURES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "maxvit_t", "mnasnet1_0",
    "mobilenet_v2", "mobilenet_v3_large", "resnet50", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_0",
    "swin_t", "vgg16", "vit_b_16", "wide_resnet50_2",
)  # fmt: skip
COUNTED = {
    "ELU",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "LeakyReLU",
    "Maxout",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Tanh",
}


def activations_in_use() -> tuple[int, Counter[str]]:
    """Architectures of torchvision, one of each family, and how many of them use which activation."""
    users: Counter[str] = Counter()
    for name in ARCHITECTURES:
        with torch.device("meta"):
            model = models.get_model(name, weights=None)
        users.update({type(module).__name__ for module in model.modules()} & COUNTED)
    return len(ARCHITECTURES), users


def maxout_is_no_default(bench: Bench) -> Finding:
    """A maxout unit beside its linear pieces, and the activations of well-known networks."""
    torch.manual_seed(bench.seed)
    slope, offset = torch.randn(PIECES, dtype=torch.float64), torch.randn(PIECES, dtype=torch.float64)
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None]
    pieces = x * slope + offset
    unit = bench.backend.nn.Maxout(PIECES)(pieces)[:, 0]
    apart = (unit - pieces.amax(1)).abs().max().item()
    count, users = activations_in_use()
    shown = {**dict(users.most_common()), "Maxout": users["Maxout"]}
    numbers = {f"{name.lower()}_architectures": float(number) for name, number in shown.items()}
    return Finding(
        "maxout is the default activation of deep networks",
        "true" if users["Maxout"] > count / 2 else "false",
        f"it is the maximum over several linear pieces ({apart:g} apart from it at {len(x)} points). Of {count} "
        f"architectures of torchvision, one a family, {users['Maxout']} use it; "
        + ", ".join(f"{name} {number}" for name, number in users.most_common()),
        {**numbers, "architectures": float(count), "apart_from_maximum_of_pieces": apart},
        columns(f"Of {count} architectures of torchvision, how many use it", shown, y="architectures"),
    )
