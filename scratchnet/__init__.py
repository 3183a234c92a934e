"""Neural-network components for PyTorch, rebuilt from tensor arithmetic with hand-written backward passes.

``scratchnet.nn`` stands in for ``torch.nn``, ``scratchnet.functional`` for ``torch.nn.functional`` and
``scratchnet.optim`` for ``torch.optim``. ``scratchnet.testing`` holds any function against the one that it should
equal; ``scratchnet.monitor`` watches any module train, and needs tensorboard. These two are imported when first asked
for.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from scratchnet import functional, kernels, nn, optim
from scratchnet.conversion import Conversion, convert, revert
from scratchnet.inspection import Purity, purity
from scratchnet.interception import intercept

__all__ = [
    "Conversion",
    "Purity",
    "convert",
    "functional",
    "intercept",
    "kernels",
    "nn",
    "optim",
    "purity",
    "revert",
    "testing",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    if name in ("monitor", "testing"):
        return importlib.import_module(f"scratchnet.{name}")
    raise AttributeError(f"module 'scratchnet' has no attribute {name!r}")
