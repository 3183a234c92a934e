"""Lines of Python in which functions and arguments get names: imports, tensors, places to fill in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from keyword import iskeyword
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload, OpOverloadPacket

from scratchnet.testing.subject import parts_of

__all__ = ["Script", "tensor"]

MANY = 64
NUMBERS_AND_TEXT = (bool, int, float, complex, str)
# Their repr() is an expression; torch's need "import torch".
WRITTEN_AS_SHOWN = (type(None), bytes, slice, range, type(...), torch.dtype, torch.layout, torch.memory_format)
TAKEN = (
    "torch",
    "inf",
    "nan",
    "compare",
    "check",
    "custom",
    "builtin",
    "surrogate",
    "upstream",
    "got",
    "expected",
)


class Script:
    """A script in the making.

    Attributes:
        imports: its first lines.
        lines: those after them.
    """

    def __init__(self) -> None:
        self.imports = ["import torch", "from torch import inf, nan"]
        self.lines: list[str] = []

    def name(self, name: str, thing: Any, what: str) -> None:
        """Gives a function, a class or an argument a name: by import, or in one line that says what to fill in."""
        module, path = next((place for place in _places(thing) if _is_at(thing, *place)), ("", ""))
        owner, _, attribute = path.partition(".")
        if attribute:
            self.imports.append(f"from {module} import {owner}")
            self.lines.append(f"{name} = {path}")
        elif path:
            self.imports.append(f"from {module} import {path} as {name}")
        else:
            self.lines.append(f"{name} = ...  # {what}: {_shown(thing)}")

    def argument(self, name: str, x: Any) -> str:
        """An expression for an argument; each tensor in it gets a line of its own, and a name."""
        if isinstance(x, Tensor):
            self.lines.append(f"{(name := _free(name))} = {tensor(x)}")
            return name
        if (parts := parts_of(x)) is None:
            return self._constant(name, x)
        written = {key: self.argument(f"{name}_{key}", part) for key, part in parts.items()}
        if isinstance(x, dict):
            return f"{{{', '.join(f'{key!r}: {part}' for key, part in written.items())}}}"
        if isinstance(x, list):
            return f"[{', '.join(written.values())}]"
        if isinstance(x, tuple) and not hasattr(x, "_fields"):
            return f"({''.join(f'{part}, ' for part in written.values())})"
        self.name(kind := _free(f"{name}_type"), type(x), "a class")
        return f"{kind}({', '.join(f'{key}={part}' for key, part in written.items())})"

    def _constant(self, name: str, x: Any) -> str:
        plain = next((kind for kind in NUMBERS_AND_TEXT if isinstance(x, kind)), None)
        if plain is not None:
            return repr(plain(x))
        if isinstance(x, WRITTEN_AS_SHOWN):
            return repr(x)
        if isinstance(x, torch.device):
            return f"torch.{x!r}"
        self.name(name := _free(name), x, "an argument")
        return name


def _free(name: str) -> str:
    """A name of a variable that the script does not use otherwise."""
    name = re.sub(r"\W", "_", name)
    return f"{name}_" if name in TAKEN or iskeyword(name) else name


def _shown(thing: Any) -> str:
    """What a place to fill in is for: a function's name, or what else there is to see, in one line."""
    owner = getattr(thing, "__self__", None)
    named = owner if isinstance(owner, type) else thing  # the Function of an ``apply``
    anonymous = isinstance(thing, nn.Module | OpOverload | OpOverloadPacket)
    return " ".join((repr(thing) if anonymous else getattr(named, "__qualname__", None) or repr(thing)).split())


def _places(thing: Any) -> Iterator[tuple[str, str]]:
    """Modules and paths under which a function may be found."""
    path, short = (getattr(thing, name, "") for name in ("__qualname__", "__name__"))
    owner = getattr(thing, "__self__", None)
    if isinstance(owner, type):
        path, thing = f"{owner.__qualname__}.{short}", owner
    places = [
        (getattr(thing, "__module__", None) or "", path),
        ("torch", short),
        ("torch.nn.functional", short),
    ]
    # A private module of torch's last.
    yield from sorted(places, key=lambda place: place[0].startswith("torch._"))


def _is_at(thing: Any, module: str, path: str) -> bool:
    """Whether an import of the module finds the function there."""
    found: Any = sys.modules.get(module)
    words = f"{module}.{path}".split(".")
    if found is None or module in ("__main__", "__mp_main__") or not all(map(str.isidentifier, words)):
        return False
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is not None and not any(map(iskeyword, words)) and bool(found == thing)


def tensor(x: Tensor) -> str:
    """An expression for a tensor, in its layout: its values, or, of many, values like them."""
    kind = f"dtype={x.dtype}" + (f", device={str(x.device)!r}" if not x.is_cpu else "")
    grad = ".requires_grad_()" if x.requires_grad else ""
    if x.layout is not torch.strided:
        return f"{tensor(x.detach().to_dense())}.to_sparse(layout={x.layout}){grad}"
    if x.is_contiguous():
        return _values(x, kind + (", requires_grad=True" if grad else ""))
    if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
        own = x[tuple(slice(None) if stride else slice(1) for stride in x.stride())]
        return f"{_values(own, kind)}.expand{tuple(x.shape)}{grad}"
    return f"torch.empty_strided({tuple(x.shape)}, {x.stride()}, {kind}).copy_({_values(x, kind)}){grad}"


def _values(x: Tensor, kind: str) -> str:
    shape = tuple(x.shape)
    if 0 < x.numel() <= MANY:
        return f"torch.tensor({x.detach().cpu().tolist()}, {kind})"
    if x.is_floating_point() or x.is_complex():
        return f"torch.randn({shape}, {kind})"
    if not x.numel() or x.dtype is torch.bool:
        return f"torch.zeros({shape}, {kind})"
    return f"torch.randint({int(x.min())}, {int(x.max()) + 1}, {shape}, {kind})"
