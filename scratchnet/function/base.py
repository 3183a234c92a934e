"""`Function`, which gives the author's mathematics whichever form is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.autograd.function import FunctionMeta

from scratchnet.function.mathematics import Mathematics, evaluate
from scratchnet.function.precision import Autocast
from scratchnet.function.protocols import recording, tracing
from scratchnet.function.recording import nested, traced, transformed

__all__ = ["Function", "overwrite"]


class Op(FunctionMeta):
    """The type of ops: the compiler, which takes over `apply` where it finds torch's own type, runs ours."""


class Function(torch.autograd.Function, metaclass=Op):
    """Base class of every op: see the module's docstring for what a subclass writes.

    An op with ``auxiliary = n`` returns a tuple whose last ``n`` outputs carry no gradient (indices, batch
    statistics). ``autocast`` names what `torch.autocast` does to the built-in: ``"low_precision"`` for matrix
    products, ``"float32"`` for reductions that need the range, either with ``_on_cuda`` where only the GPU's list
    has it, ``"widest"`` where the inputs are promoted to the widest dtype among them. An op that is not
    ``holomorphic``, since it takes ``abs``, conjugates in its own backward. An op that ``keeps_output``, and nothing
    else, may overwrite its first input in training too.

    A recorded call costs several times what an arithmetic kernel on a few elements does, and one that is not recorded
    hardly anything; with ``setup_context``, which inspects signatures at each call, it would be several times more.
    """

    autocast: ClassVar[Autocast | None] = None
    native_low_precision: ClassVar[bool] = False
    holomorphic: ClassVar[bool] = True
    auxiliary: ClassVar[int] = 0
    keeps_output: ClassVar[bool] = False

    mathematics: ClassVar[Mathematics]
    eager: ClassVar[type[torch.autograd.Function]]
    traced: ClassVar[type[torch.autograd.Function]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Makes the two classes that speak torch's protocol; the author's methods stay as they are."""
        super().__init_subclass__(**kwargs)
        if cls.forward is torch.autograd.Function.forward:
            return
        parameters = inspect.signature(cls.forward).parameters.values()
        cls.mathematics = Mathematics(
            cls.forward,
            cls.backward,
            cls.jvp,
            tensors=sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters),
            options=tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY),
            auxiliary=cls.auxiliary,
            autocast=cls.autocast,
            native_low_precision=cls.native_low_precision,
            holomorphic=cls.holomorphic,
        )
        cls.eager = _speaking(cls, recording(cls.mathematics))
        cls.traced = _speaking(cls, tracing(cls.mathematics))

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """The op on its tensors and options, recorded for whichever kind of differentiation is under way."""
        if torch.compiler.is_dynamo_compiling():
            return cls._plainly(arguments) if nested() else cls.eager.apply(*_distinct(arguments))
        if transformed():
            return cls.traced.apply(*arguments)
        if type(arguments[0]) is FakeTensor and not traced():
            with arguments[0].fake_mode:
                return cls.apply(*arguments)
        if torch.is_grad_enabled() and torch._C._get_tracing_state() is None:
            return cls.eager.apply(*arguments)
        return cls._plainly(arguments)

    @classmethod
    def _plainly(cls, arguments: Sequence[Any]) -> Any:
        """The op as tensor operations, which autograd differentiates if anybody does.

        `torch.jit.trace` cannot record a Function, and compiled transforms of transforms take its backward for a
        constant.
        """
        inputs, options = cls.mathematics.split(arguments)
        return evaluate(cls.mathematics, inputs, options, cls.mathematics.precision(inputs))[0]


def _distinct(arguments: Sequence[Any]) -> list[Any]:
    """The arguments with a view of each tensor that comes again, which the compiler does not take twice."""
    distinct: list[Any] = []
    for x in arguments:
        again = isinstance(x, Tensor) and any(x is other for other in distinct)
        distinct.append(x.view_as(x) if again else x)
    return distinct


def overwrite(op: type[Function], input: Tensor, *others: Any) -> Tensor:
    """Puts an op's output in the place of its first input, of which a copy is kept if it must be, and returns it."""
    if not torch.is_grad_enabled():
        return input.copy_(op.apply(input, *others))
    if torch.compiler.is_compiling() or traced() or transformed() or not op.keeps_output or _is_special(input):
        return input.copy_(op.apply(input.clone(), *others))
    result: Tensor = _overwriting(op).apply(input, *others)
    return result


def _is_special(input: Tensor) -> bool:
    """Whether autograd needs a copy: a view's history must be rebased, and in-place writes to leaves are rejected."""
    return input._is_view() or (input.is_leaf and input.requires_grad)


@cache
def _overwriting(op: type[Function]) -> type[torch.autograd.Function]:
    """The class that marks its input as overwritten."""
    return _speaking(op, recording(op.mathematics, overwriting=True))


def _speaking(op: type[Function], protocol: dict[str, Any]) -> type[torch.autograd.Function]:
    return type(op.__name__, (torch.autograd.Function,), {"__doc__": op.__doc__, **protocol})
