"""Turns the modules of any PyTorch model into ours, in place, and back.

Nothing changes but the class of each module: every class of `scratchnet.nn` derives from the class of ``torch.nn`` that
it replaces, with the same attributes, and overrides the method that computes. So parameters, buffers, hooks,
parametrizations and flags stay, and optimizers and state dicts stay valid. Code that asks ``type(m) is nn.Conv2d``
finds another class; ``isinstance`` finds what it did.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from scratchnet.interception import replacements
from scratchnet.nn import modules

__all__ = ["Conversion", "convert", "revert"]

# Ours by torch's. What has no class of torch's, such as Maxout, has nothing to go back to.
OURS: dict[type[nn.Module], type[nn.Module]] = {
    theirs: ours
    for ours in vars(modules).values()
    if isinstance(ours, type) and issubclass(ours, nn.Module) and ours.__module__.startswith("scratchnet.")
    for theirs in ours.__mro__
    if theirs.__module__.startswith("torch.") and theirs.__name__ == ours.__name__
}
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
# What each subclass of a class of torch's became.
SUBCLASSES: dict[Any, type[nn.Module]] = {}
# Classes of torch.nn that compute nothing.
EMPTY = (
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.ModuleList,
    nn.ModuleDict,
    nn.ParameterList,
    nn.ParameterDict,
    nn.DataParallel,
    nn.parallel.DistributedDataParallel,
)


@dataclass(frozen=True)
class Conversion:
    """The result of `convert` or `revert`; ``str()`` of it is a summary to read.

    Attributes:
        converted: the class that each changed module has now, by the module's name; the model's own name is "".
        left: why a module was left as it is, by its name.
        others: how many modules are of other classes, whose ``forward`` is their author's.
        verb: ``"converted"`` or ``"reverted"``.
    """

    converted: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    others: int = 0
    verb: str = "converted"

    def __str__(self) -> str:
        kinds = Counter(self.converted.values())
        counts = ", ".join(
            f"{n} {kind}" for kind, n in sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
        )
        lines = [f"{self.verb} {len(self.converted)} modules" + (f": {counts}" if counts else "")]
        lines += [f"left {name or 'the model'}: {reason}" for name, reason in self.left.items()]
        if self.others:
            lines.append(f"{self.others} modules of other classes keep their own forward")
        return "\n".join(lines)


def convert(model: nn.Module) -> Conversion:
    """Turns every module of a ``torch.nn`` class into ours, in place.

    A subclass becomes a subclass of ours under the same name, unless it overrides what ours computes with: then its
    own method runs anyway, and the module is left. A method that calls ``super()`` reaches ours, so that its module
    is converted. Modules of other classes keep their ``forward``; their submodules are converted, and functions of
    ``torch`` and ``torch.nn.functional`` that they hold, also in partials, lists and dicts, become ours. What a
    ``forward`` calls by name, `scratchnet.intercept` reaches. Converting twice is the same as once.

    Args:
        model: any module. Convert it before ``torch.compile``, ``fully_shard`` and DistributedDataParallel, or after.

    Returns:
        What was converted and what was left, by module name. Left, with the reason, are ScriptModules, quantized
        modules, classes that have a name of torch's and are not torch's, and the whole model if it has parameters on
        several devices or on the meta device.

    Raises:
        TypeError: if ``model`` is no module.

    Example:
        >>> import torch
        >>> from scratchnet import convert, revert
        >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU())
        >>> print(convert(model))
        converted 3 modules: 1 Linear, 1 ReLU, 1 Sequential
        >>> type(model[0])
        <class 'scratchnet.nn.modules.linear.Linear'>
        >>> print(revert(model))
        reverted 3 modules: 1 Linear, 1 ReLU, 1 Sequential
    """
    _expect_module("convert", model)
    found = Conversion()
    devices = sorted({str(tensor.device) for tensor in (*model.parameters(), *model.buffers())})
    if len(devices) > 1 or devices == ["meta"]:
        found.left[""] = (
            f"expected parameters on one device that holds values, got them on {' and '.join(devices)}"
        )
        return found
    others, forms = 0, {id(theirs): ours for theirs, ours in replacements()}
    for name, module in _walk(model):
        if not isinstance(module, torch.jit.ScriptModule):
            _exchange_functions(module, forms)
        if (reason := _reason_to_leave(module)) is not None:
            found.left[name] = reason
        elif (ours := _converted(type(module))) is not None:
            module.__class__ = ours
            found.converted[name] = ours.__name__
        elif not isinstance(module, EMPTY):
            others += not any(map(_is_ours, type(module).__mro__))
    return Conversion(found.converted, found.left, others)


def revert(model: nn.Module) -> Conversion:
    """Turns every module of ours into torch's, in place: the opposite of `convert`.

    A model that was built from `scratchnet.nn` becomes one of ``torch.nn`` likewise.

    Raises:
        TypeError: if ``model`` is no module.
    """
    _expect_module("revert", model)
    found = Conversion(verb="reverted")
    forms = {id(ours): theirs for theirs, ours in reversed(replacements())}
    for name, module in _walk(model):
        if not isinstance(module, torch.jit.ScriptModule):
            _exchange_functions(module, forms)
        if (theirs := _reverted(type(module))) is not None:
            module.__class__ = theirs
            found.converted[name] = theirs.__name__
    return found


def _expect_module(function: str, model: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function}: expected a torch.nn.Module, got {type(model).__name__}")


def _walk(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yields all modules by name, a shared one once, and none from inside a ScriptModule."""
    scripted: list[str] = []
    for name, module in model.named_modules():
        if name.startswith(tuple(scripted)):
            continue
        if isinstance(module, torch.jit.ScriptModule):
            scripted.append(f"{name}." if name else "")
        yield name, module


def _reason_to_leave(module: nn.Module) -> str | None:
    kind = _unparametrized(type(module))
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(module, torch.jit.ScriptModule):
        return "it is a ScriptModule, whose program is fixed"
    if any(base.__module__.startswith("torch.ao.") for base in kind.__mro__):
        return f"{name} is quantized"
    base = _replaced(kind)
    if base is None:
        namesake = getattr(nn, kind.__name__, None)
        alike = namesake in OURS and not _is_ours(kind)
        return f"{name} is not torch's {kind.__name__}" if alike else None
    if overridden := _overridden(kind, base):
        return f"{name} overrides {', '.join(overridden)}"
    if own := [method for method in _computing(base) if method in vars(module)]:
        return f"it has a {', '.join(own)} of its own"
    return None


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("scratchnet.") or "_converted_from" in vars(kind)


def _replaced(kind: type[nn.Module]) -> type[nn.Module] | None:
    """The class of torch's that a class is or derives from, unless it derives from ours already."""
    if any(map(_is_ours, kind.__mro__)):
        return None
    return next((base for base in kind.__mro__ if base in OURS), None)


def _computing(base: type[nn.Module]) -> list[str]:
    """The methods in which ours does what a class of torch's does."""
    added = [kind for kind in OURS[base].__mro__ if kind.__module__.startswith("scratchnet.")]
    methods = {name for kind in added for name, value in vars(kind).items() if isinstance(value, FunctionType)}
    return sorted(methods - {"__init__", "__setstate__"})


def _overridden(kind: type[nn.Module], base: type[nn.Module]) -> list[str]:
    """The methods of ours that a subclass has of its own, without a call of ``super()``."""
    between = kind.__mro__[: kind.__mro__.index(base)]
    found = []
    for name in _computing(base):
        method = next((vars(k)[name] for k in between if name in vars(k)), None)
        if method is not None and "super" not in getattr(getattr(method, "__code__", None), "co_names", ()):
            found.append(name)
    return found


def _converted(kind: type[nn.Module]) -> type[nn.Module] | None:
    """Returns the class that a class becomes: ours, or a subclass of itself and ours; None if we have none."""
    if _is_parametrized(kind):
        return _parametrized(kind, _converted(kind.__bases__[0]))
    base = _replaced(kind)
    if base is None or kind is base:
        return None if base is None else OURS[base]
    if kind not in SUBCLASSES:
        SUBCLASSES[kind] = _subclass(kind, OURS[base])
    return SUBCLASSES[kind]


def _reverted(kind: type[nn.Module]) -> type[nn.Module] | None:
    """Returns the class that a class was, or would have been, before it was converted."""
    if _is_parametrized(kind):
        return _parametrized(kind, _reverted(kind.__bases__[0]))
    return THEIRS.get(kind) or vars(kind).get("_converted_from")


def _is_parametrized(kind: type) -> bool:
    """Whether torch made the class for one module, over the class that removing the parametrizations goes back to."""
    return kind.__module__ == parametrize.__name__


def _unparametrized(kind: type[nn.Module]) -> type[nn.Module]:
    return kind.__bases__[0] if _is_parametrized(kind) else kind


def _parametrized(kind: type[nn.Module], base: type[nn.Module] | None) -> type[nn.Module] | None:
    if base is None:
        return None
    namespace = {name: value for name, value in vars(kind).items() if name not in ("__dict__", "__weakref__")}
    return _made(kind, (base,), namespace)


def _subclass(kind: type[nn.Module], ours: type[nn.Module]) -> type[nn.Module]:
    def __reduce_ex__(self: nn.Module, protocol: Any) -> Any:
        reduced: Any = super(made, self).__reduce_ex__(protocol)
        # The class itself cannot be imported, but made again from the user's.
        return (_blank, (kind,), *reduced[2:]) if reduced[0].__name__ == "__newobj__" else reduced

    same = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    made = _made(kind, (kind, ours), same | {"_converted_from": kind, "__reduce_ex__": __reduce_ex__})
    return made


def _made(kind: type[nn.Module], bases: tuple[type[nn.Module], ...], namespace: dict[str, Any]) -> type[nn.Module]:
    metaclass: Any = type(kind)
    return metaclass(kind.__name__, bases, namespace)


def _blank(kind: type[nn.Module]) -> nn.Module:
    made = _converted(kind) or kind
    return made.__new__(made)


def _exchange_functions(module: nn.Module, counterparts: dict[Any, Any]) -> None:
    """Exchanges the functions that a module holds, such as the activation of a transformer's layer."""
    for name, value in list(vars(module).items()):
        if (exchanged := _exchanged(value, counterparts)) is not value:
            setattr(module, name, exchanged)


def _exchanged(value: Any, counterparts: dict[Any, Any]) -> Any:
    """The counterpart of a function, and of a partial, a list, a tuple or a dict that holds some; or else the value."""
    if type(value) is partial:
        function = _exchanged(value.func, counterparts)
        return value if function is value.func else partial(function, *value.args, **value.keywords)
    if type(value) in (list, tuple, dict):
        parts = value.values() if type(value) is dict else value
        new = [_exchanged(part, counterparts) for part in parts]
        if all(map(operator.is_, new, parts)):
            return value
        return dict(zip(value, new, strict=True)) if type(value) is dict else type(value)(new)
    held = callable(value) and not isinstance(value, nn.Module | Tensor)
    return counterparts.get(id(value), value) if held else value
