"""A correct Function, and the wrong ones that differ from it in one method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from scratchnet.function import Function

__all__ = ["Fault", "Twin", "normal", "unwritten"]


@dataclass
class Fault:
    """A wrong function.

    Attributes:
        name: the twin's name, and what is wrong with it.
        kind: the kind of mistake.
        checks: the checks of `compare` of which each must catch it.
        apply: the function.
        twin: the correct one.
        cause: words of the likely cause that `explain` should give.
    """

    name: str
    kind: str
    checks: tuple[str, ...]
    apply: Callable[..., Any]
    twin: Twin
    cause: str


@dataclass
class Twin:
    """A correct function.

    Attributes:
        name: that of the built-in.
        mathematics: its three methods, and attributes of the Function; or a Function in PyTorch's own protocol.
        builtin: what it equals.
        inputs: makes inputs to try it on.
        derivable: whether its gradients are the derivatives of its values.
        faults: its wrong versions.
    """

    name: str
    mathematics: type
    builtin: Callable[..., Any]
    inputs: Callable[[torch.Generator], tuple[Any, ...]]
    derivable: bool = True
    faults: list[Fault] = field(default_factory=list)

    def __post_init__(self) -> None:
        plain = issubclass(self.mathematics, torch.autograd.Function)
        self.apply = self.mathematics.apply if plain else self._function({}).apply

    def _function(self, changed: dict[str, Any]) -> type[Function]:
        names = ("forward", "backward", "jvp")
        methods: dict[str, Any] = {name: vars(self.mathematics)[name] for name in names}
        methods |= {
            name: x for name, x in vars(self.mathematics).items() if name in ("autocast", "native_low_precision")
        }
        methods |= {name: staticmethod(x) if callable(x) else x for name, x in changed.items()}
        return type(Function)(self.name, (Function,), methods)

    def fault(
        self, kind: str, *checks: str, cause: str = "", **attributes: Any
    ) -> Callable[[Callable[..., Any]], None]:
        """Registers the function below as a wrong version of the method whose name it bears."""

        def register(method: Callable[..., Any]) -> None:
            wrong = self._function({method.__name__: method, **attributes}).apply
            self._add(method.__doc__, kind, checks, wrong, cause)

        return register

    def plain(
        self, kind: str, *checks: str, cause: str = ""
    ) -> Callable[[type[torch.autograd.Function]], type[torch.autograd.Function]]:
        """Registers a wrong version in PyTorch's own protocol."""

        def register(wrong: type[torch.autograd.Function]) -> type[torch.autograd.Function]:
            self._add(wrong.__doc__, kind, checks, wrong.apply, cause)
            return wrong

        return register

    def around(
        self, kind: str, *checks: str, cause: str = ""
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Registers a wrong functional form, which may call the right Function."""

        def register(wrong: Callable[..., Any]) -> Callable[..., Any]:
            self._add(wrong.__doc__, kind, checks, wrong, cause)
            return wrong

        return register

    def _add(
        self, what: str | None, kind: str, checks: tuple[str, ...], wrong: Callable[..., Any], cause: str
    ) -> None:
        assert what
        self.faults.append(Fault(f"{self.name} {what.rstrip('.')}", kind, checks, wrong, self, cause))


def unwritten(*shape, dtype=torch.float64):
    """Returns memory that nobody wrote; zero unless `FreshMemoryIsNaN` fills it.

    What is left in memory that was used before could be NaN, and show a fault by chance.
    """
    memory, mark = torch.empty(shape, dtype=dtype), torch.empty(4, dtype=torch.int64)
    filled = bool((mark == torch.iinfo(mark.dtype).max).all())
    mark.zero_()
    return memory if filled else memory.zero_()


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Normal values in float64."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)
