"""The modules, under the names of ``torch.nn``.

Each class derives from the class of torch's of the same name and overrides the method that computes, so that
constructors, parameters, ``state_dict`` and ``isinstance`` are torch's. Containers, parameters, initializers and the
packages below ``torch.nn`` that hold no ops (``init``, ``utils``, ``parallel``, …) are torch's own.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from torch.nn import (
    Buffer,
    Container,
    DataParallel,
    Flatten,
    Identity,
    LinearCrossEntropyOptions,
    Module,
    ModuleDict,
    ModuleList,
    Parameter,
    ParameterDict,
    ParameterList,
    Unflatten,
    UninitializedBuffer,
    UninitializedParameter,
    attention,
    common_types,
    factory_kwargs,
    grad,
    init,
    intrinsic,
    parallel,
    parameter,
    qat,
    quantizable,
    quantized,
    utils,
)

from scratchnet import functional
from scratchnet.nn import moved
from scratchnet.nn.modules import *


class _Lender(MetaPathFinder, Loader):
    """Imports ``scratchnet.nn.utils`` and its like as the modules of ``torch.nn``, not as copies of these."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        parent, _, rest = fullname.partition(f"{__name__}.")
        ours = Path(__file__).parent.joinpath(*rest.split("."))
        if parent or not rest or ours.with_suffix(".py").exists() or ours.is_dir():
            return None
        return ModuleSpec(fullname, self) if find_spec(f"torch.nn.{rest}") else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.name.replace("scratchnet", "torch", 1))
        self.own = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.own  # which the import has replaced by ours


sys.meta_path.insert(0, _Lender())
sys.modules[f"{__name__}.functional"] = functional
