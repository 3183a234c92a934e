"""The base of every op, and the only file that knows autograd's plumbing.

The author of an op writes mathematics: three static methods on tensors, with no ``ctx``::

    class Scale(Function):
        @staticmethod
        def forward(x, weight, *, power):                   # the output, and what the backward needs
            scale = weight**power
            return x * scale, (x, weight, scale)

        @staticmethod
        def backward(grad, saved, needs, *, power):         # one gradient per tensor, None where not needed
            x, weight, scale = saved
            grad_x = grad * scale
            grad_weight = (grad * x * power * weight ** (power - 1)).sum_to_size(weight.shape)
            return grad_x, grad_weight

        @staticmethod
        def jvp(tangents, saved, *, power):                 # one tangent per differentiable output
            x, weight, scale = saved
            return tangents[0] * scale + x * power * weight ** (power - 1) * tangents[1]

    y = Scale.apply(x, weight, 2.0)

Positional parameters of ``forward`` are tensors (or ``None``), keyword-only ones are options; ``apply`` takes
all of them by position, as ``torch.autograd.Function.apply`` does. The contract:

- ``saved`` may hold inputs, outputs and intermediates. Inputs and outputs are told apart by identity, and
  stored as they came. When the backward is itself differentiated, the intermediates are computed again from
  the saved inputs with autograd watching, so a saved mean or log-sum-exp never turns into a constant.
  ``forward`` must then run with ``None`` for each input that it does not save. Indices and masks have no
  derivative: an op whose intermediates are all integers or booleans is never computed again.
- ``forward`` is deterministic: random numbers come in as tensors.
- float16 and bfloat16 are computed in float32 and rounded once at the end, unless the op is a matrix product
  (``native_low_precision``), whose kernel already accumulates in float32.
- In-place and ``out=`` writes are allowed only where `unobserved` says so, and never on ``grad`` or ``saved``.

Each op becomes three classes over the same mathematics, because no single one can do all of this:

=============  =======================================  ==============================================
class          used                                     why
=============  =======================================  ==============================================
``op.eager``   eagerly                                  ``forward(ctx, …)`` skips ``inspect.signature``
``op.traced``  under `torch.func` and in forward mode   ``setup_context``, ``jvp`` and vmap rule
``op``         under `torch.compile`                    a ``jvp`` would break ``fullgraph=True``
=============  =======================================  ==============================================
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor
from torch.autograd import forward_ad

from scratchnet.tiling import recording, tilewise

__all__ = ["Elementwise", "Function", "batched", "elementwise", "readable", "unobserved"]

LOW_PRECISION = (torch.float16, torch.bfloat16)
_MODE = torch._C._TorchDispatchModeKey
TRACERS = (_MODE.FAKE, _MODE.FUNCTIONAL, _MODE.PROXY)

Autocast = Literal["low_precision", "low_precision_on_cuda", "float32", "float32_on_cuda", "widest"]
Maybe = Tensor | None
Place = int | None


class _Thread(threading.local):
    """Whether this thread runs a backward over batched upstreams, which no transform stack shows."""

    batched = False


_thread = _Thread()


def _transformed() -> bool:
    """Whether a `torch.func` transform or a forward-mode level is active."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def unobserved() -> bool:
    """Whether nothing records the operations, so that in-place and blocked code cannot be seen from outside.

    False while autograd builds a graph (a differentiable backward), under `torch.func` transforms, for batched
    upstreams (``is_grads_batched``), in forward mode, while ``make_fx`` or `torch.jit.trace` takes down a graph,
    and while `torch.compile` traces, which fuses the plain form better than we could.
    """
    return not (
        torch.compiler.is_compiling()
        or torch.is_grad_enabled()
        or _transformed()
        or _thread.batched
        or _taken_down()
    )


def _taken_down() -> bool:
    """Whether a graph is made of the operations, or fake tensors stand in for their results."""
    if torch._C._get_tracing_state() is not None:
        return True
    if not torch._C._len_torch_dispatch_stack():
        return False
    return any(torch._C._get_dispatch_mode(tracer) is not None for tracer in TRACERS)


def elementwise(
    mathematics: Callable[..., Tensor], *tensors: Tensor, out: Tensor | None = None, **options: Any
) -> Tensor:
    """``mathematics(*tensors, **options)``, which acts on each element, in tiles where nothing records it.

    The mathematics is a function of a module or class, not made anew for each call. It is run once as a rehearsal,
    and then decides by `unobserved` alone what it does; ``out`` may be given under the same condition.
    """
    if unobserved() and not recording():
        result = tilewise(mathematics, *tensors, out=out, **options)
        if result is not None:
            return result
    result = mathematics(*tensors, **options)
    return result if out is None else out.copy_(result)


def readable(tensor: Tensor) -> bool:
    """Whether values can be looked at, to check them: not while tracing, nor on a device one has to wait for."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling() and not _transformed()


def batched(tensor: Tensor) -> bool:
    """Whether `torch.func.vmap` maps over the tensor."""
    while not torch.compiler.is_compiling() and torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_batchedtensor(tensor):
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False


@dataclass(frozen=True)
class Mathematics:
    """What the author wrote, and how its arguments are laid out."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    jvp: Callable[..., Any]
    tensors: int
    options: tuple[str, ...]
    auxiliary: int
    autocast: Autocast | None
    native_low_precision: bool

    def split(self, arguments: Sequence[Any]) -> tuple[tuple[Maybe, ...], dict[str, Any]]:
        """Tensors and options of one flat argument list."""
        count = self.tensors
        if len(arguments) != count + len(self.options):
            raise TypeError(
                f"expected {count} tensor(s) and the option(s) {', '.join(self.options) or 'none'}, all by "
                f"position, got {len(arguments)} argument(s)"
            )
        return tuple(arguments[:count]), dict(zip(self.options, arguments[count:], strict=True))


class Precision(NamedTuple):
    """The dtypes of one call: what it computes in, and what its outputs are rounded to."""

    compute: torch.dtype | None
    output: torch.dtype | None

    def enter(self, tensor: Maybe) -> Maybe:
        """The tensor in the dtype of the computation."""
        if self.compute is None or tensor is None or not tensor.is_floating_point():
            return tensor
        return tensor.to(self.compute)

    def leave(self, tensor: Tensor) -> Tensor:
        """An output, rounded once."""
        return tensor if self.output is None or not tensor.is_floating_point() else tensor.to(self.output)


AS_GIVEN = Precision(None, None)


class Function(torch.autograd.Function):
    """Base class of every op: see the module's docstring for what a subclass writes.

    An op with ``auxiliary = n`` returns a tuple whose last ``n`` outputs carry no gradient (indices, batch
    statistics). ``autocast`` names what `torch.autocast` does to the built-in: ``"low_precision"`` for matrix
    products, ``"float32"`` for reductions that need the range, either with ``_on_cuda`` where only the GPU's list
    has it, ``"widest"`` where the inputs are promoted to the widest dtype among them.

    A call costs about 8 µs on top of the op's arithmetic when a gradient is recorded, and 1 µs when none is
    (``python -m reference speed --targets`` measures the first); ``setup_context`` alone would cost 40.
    """

    autocast: ClassVar[Autocast | None] = None
    native_low_precision: ClassVar[bool] = False
    auxiliary: ClassVar[int] = 0

    mathematics: ClassVar[Mathematics]
    eager: ClassVar[type[torch.autograd.Function]]
    traced: ClassVar[type[torch.autograd.Function]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Moves the author's methods aside and puts torch's protocol in their place."""
        super().__init_subclass__(**kwargs)
        if "forward" not in cls.__dict__:
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
        )
        forward, backward = _recording_forward(cls.mathematics), _recording_backward(cls.mathematics)
        protocol = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
        for name, method in protocol.items():
            setattr(cls, name, method)
        del cls.jvp
        cls.eager = type(cls.__name__, (torch.autograd.Function,), {"__doc__": cls.__doc__, **protocol})
        cls.traced = type(
            cls.__name__, (torch.autograd.Function,), {"__doc__": cls.__doc__, **_tracing(cls.mathematics)}
        )

    @classmethod
    def apply(cls, *arguments: Any) -> Any:
        """The op on its tensors and options, recorded for whichever kind of differentiation is under way."""
        if torch.compiler.is_compiling():
            return cls.apply(*arguments)  # not a recursion: the compiler has its own `apply` for Functions
        if _transformed():
            return cls.traced.apply(*arguments)
        if torch.is_grad_enabled():
            return cls.eager.apply(*arguments)
        inputs, options = cls.mathematics.split(arguments)
        return _evaluate(cls.mathematics, inputs, options, _precision(cls.mathematics, inputs))[0]


class Elementwise(Function):
    """An op of one tensor that acts on each element: the author writes its value and its slope.

    ``value(x, *, …)`` is the output and ``slope(x, *, …)`` the derivative; with ``slope_from_output`` the slope
    is written in terms of the output, and the input need not be kept. Backward is ``grad * slope``, forward
    mode is ``tangent * slope``.
    """

    slope_from_output: ClassVar[bool] = False
    value: ClassVar[Callable[..., Tensor]]
    slope: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Derives forward, backward and jvp from the value and the slope."""
        value, slope, from_output = cls.value, cls.slope, cls.slope_from_output

        def forward(x: Tensor, **options: Any) -> tuple[Tensor, tuple[Tensor]]:
            y = elementwise(value, x, **options)
            return y, (y if from_output else x,)

        def chain(x: Tensor, v: Tensor, **options: Any) -> Tensor:
            return slope(x, **options) * v

        def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], **options: Any) -> Tensor:
            return elementwise(chain, saved[0], grad, **options)

        def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
            return chain(saved[0], tangents[0], **options)

        forward.__signature__ = inspect.signature(value)  # type: ignore[attr-defined]
        for method in (forward, backward, jvp):
            setattr(cls, method.__name__, staticmethod(method))
        super().__init_subclass__(**kwargs)


def _precision(op: Mathematics, inputs: Sequence[Maybe]) -> Precision:
    """The dtype policy of one call: autocast first, then float32 for what is too short to compute in."""
    dtype, mixed = None, False
    for tensor in inputs:
        if tensor is not None and tensor.is_floating_point():
            if dtype is None:
                dtype = tensor.dtype
            elif tensor.dtype is not dtype:
                mixed = True
    if dtype is None:
        return AS_GIVEN
    target = None
    if op.autocast is not None and not _no_autocast():
        floating = [t for t in inputs if t is not None and t.is_floating_point()]
        target = _autocast_target(op.autocast, floating, mixed)
    output = target or dtype
    if output in LOW_PRECISION and not op.native_low_precision:
        return Precision(torch.float32, output)
    return Precision(output, output) if mixed or target is not None else AS_GIVEN


def _no_autocast() -> bool:
    """Whether no device has autocast on, which is asked in no time; the compiler has to ask for each device."""
    return not torch.compiler.is_compiling() and not torch._C._is_any_autocast_enabled()


def _autocasts(device: str) -> bool:
    """Whether autocast is on; tensors without data have no autocast of their own."""
    return device != "meta" and torch.is_autocast_enabled(device)


def _autocast_target(policy: Autocast, floating: Sequence[Tensor], mixed: bool) -> torch.dtype | None:
    """The dtype that `torch.autocast` wants for a call, None where it has no say."""
    device = floating[0].device.type
    if not _autocasts(device) or any(t.dtype is torch.float64 for t in floating):
        return None
    if policy == "low_precision" or (policy == "low_precision_on_cuda" and device == "cuda"):
        return torch.get_autocast_dtype(device)
    if policy == "float32" or (policy == "float32_on_cuda" and device == "cuda") or (policy == "widest" and mixed):
        return torch.float32
    return None


def _outside_autocast(mathematics: Callable[..., Any], tensors: Sequence[Maybe]) -> Callable[..., Any]:
    """The author's code, called with the tensors' autocast off, which has had its say in the arguments' dtypes."""
    if _no_autocast():
        return mathematics
    device = next(t for t in tensors if t is not None).device.type
    if not _autocasts(device):
        return mathematics

    def call(*arguments: Any, **options: Any) -> Any:
        with torch.autocast(device, enabled=False):
            return mathematics(*arguments, **options)

    return call


def _evaluate(
    op: Mathematics, inputs: Sequence[Maybe], options: dict[str, Any], precision: Precision
) -> tuple[Any, tuple[Maybe, ...], tuple[Place, ...]]:
    """Runs the author's forward: the rounded output, what to store, and the place each stored tensor has.

    A place is ``i`` for input ``i``, ``-1 - j`` for output ``j``, ``None`` for an intermediate. An auxiliary
    output counts as an intermediate: autograd takes it for a constant, which it is not.
    """
    computed = inputs if precision is AS_GIVEN else [precision.enter(t) for t in inputs]
    output, saved = _outside_autocast(op.forward, inputs)(*computed, **options)
    raw = output if isinstance(output, tuple) else (output,)
    differentiable = raw[: len(raw) - op.auxiliary] if op.auxiliary else raw
    places: list[Place] = []
    for tensor in saved:
        places.append(_place(tensor, computed, differentiable, places))
    if precision is AS_GIVEN:
        return output, saved, tuple(places)
    rounded = (*map(precision.leave, differentiable), *raw[len(differentiable) :])
    stored = [
        tensor if place is None else inputs[place] if place >= 0 else rounded[-1 - place]
        for tensor, place in zip(saved, places, strict=True)
    ]
    return (rounded if isinstance(output, tuple) else rounded[0]), tuple(stored), tuple(places)


def _place(tensor: Tensor, inputs: Sequence[Maybe], outputs: Sequence[Tensor], taken: Sequence[Place]) -> Place:
    """Where a saved tensor comes from; of a tensor that is passed twice, each copy has a place of its own."""
    for i, candidate in enumerate(inputs):
        if tensor is candidate and i not in taken:
            return i
    for j, candidate in enumerate(outputs):
        if tensor is candidate:
            return -1 - j
    return None


def _differentiate(
    op: Mathematics,
    grads: Sequence[Maybe],
    saved: Sequence[Maybe],
    needs: Sequence[bool],
    options: dict[str, Any],
    precision: Precision,
    dtypes: Sequence[torch.dtype | None],
) -> tuple[Maybe, ...]:
    """Runs the author's backward, and gives each gradient the dtype of its input."""
    differentiable = grads[: len(grads) - op.auxiliary] if op.auxiliary else grads
    entered = differentiable if precision is AS_GIVEN else [precision.enter(grad) for grad in differentiable]
    upstream = entered if len(entered) > 1 else entered[0]
    if upstream is None or all(grad is None for grad in entered):
        return (None,) * len(needs)
    result = _outside_autocast(op.backward, entered)(upstream, saved, needs, **options)
    gradients = result if isinstance(result, tuple) else (result,)
    return tuple(
        [
            None if gradient is None or not need else gradient if gradient.dtype is dtype else gradient.to(dtype)
            for gradient, need, dtype in zip(gradients, needs, dtypes, strict=True)
        ]
    )


def _has_intermediate(saved: Sequence[Maybe], places: Sequence[Place]) -> bool:
    """Whether a stored tensor is neither input nor output, and has a derivative that autograd cannot see."""
    return any(
        place is None and tensor is not None and tensor.is_floating_point()
        for tensor, place in zip(saved, places, strict=True)
    )


def _owned(output: Tensor) -> Tensor:
    """The output in memory of its own: of a view, forward mode demands a tangent of the same strides."""
    return output.clone() if output._is_view() else output


def _primal(tensor: Maybe) -> Maybe:
    """The tensor without its tangent of the innermost forward-mode level; those of outer levels stay."""
    return None if tensor is None else forward_ad.unpack_dual(tensor).primal


def _recording_forward(op: Mathematics) -> Callable[..., Any]:
    def forward(ctx: Any, *arguments: Any) -> Any:
        inputs, options = op.split(arguments)
        precision = _precision(op, inputs)
        output, stored, places = _evaluate(op, inputs, options, precision)
        ctx.save_for_backward(*stored)
        if not isinstance(output, tuple) or len(output) - op.auxiliary == 1:
            ctx.set_materialize_grads(False)
        dtypes = tuple([None if t is None else t.dtype for t in inputs])
        ctx.call = places, options, precision, dtypes
        if op.auxiliary:
            ctx.mark_non_differentiable(*output[-op.auxiliary :])
        return output

    # Where no gradient is recorded, torch.compile counts the parameters to tell whether there is a ctx among them.
    names = ("ctx", *(f"argument_{i}" for i in range(op.tensors + len(op.options))))
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in names]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return forward


def _recording_backward(op: Mathematics) -> Callable[..., Any]:
    tensors, options = op.tensors, len(op.options)

    def backward(ctx: Any, *grads: Maybe) -> Any:
        saved = ctx.saved_tensors
        places, given, precision, dtypes = ctx.call
        compiling = torch.compiler.is_compiling()
        if not compiling and torch.is_grad_enabled() and _has_intermediate(saved, places):
            known: list[Maybe] = [None] * tensors
            for tensor, place in zip(saved, places, strict=True):
                if place is not None and place >= 0:
                    known[place] = tensor
            fresh = _evaluate(op, known, given, precision)[1]
            saved = [f if place is None else s for f, s, place in zip(fresh, saved, places, strict=True)]
        if precision is not AS_GIVEN:
            saved = [precision.enter(tensor) for tensor in saved]
        needs = ctx.needs_input_grad[:tensors]
        batched = not compiling and any([g is not None and is_legacy_batchedtensor(g) for g in grads])
        if not batched:
            return _differentiate(op, grads, saved, needs, given, precision, dtypes) + (None,) * options
        _thread.batched = True
        try:
            return _differentiate(op, grads, saved, needs, given, precision, dtypes) + (None,) * options
        finally:
            _thread.batched = False

    return backward


def _tracing(op: Mathematics) -> dict[str, Any]:
    """Torch's ``setup_context`` protocol: stores inputs and outputs alone, and computes the rest again."""
    tensors, option_count = op.tensors, len(op.options)

    def forward(*arguments: Any) -> Any:
        inputs, options = op.split(arguments)
        output = _evaluate(op, inputs, options, _precision(op, inputs))[0]
        return tuple(map(_owned, output)) if isinstance(output, tuple) else _owned(output)

    def setup_context(ctx: Any, arguments: tuple[Any, ...], output: Any) -> None:
        inputs, ctx.options = op.split(arguments)
        outputs = output if isinstance(output, tuple) else (output,)
        ctx.precision = _precision(op, inputs)
        ctx.dtypes = tuple(None if t is None else t.dtype for t in inputs)
        ctx.save_for_backward(*inputs, *outputs)
        ctx.save_for_forward(*inputs, *outputs)
        if op.auxiliary:
            ctx.mark_non_differentiable(*outputs[-op.auxiliary :])

    def recall(ctx: Any, see: Callable[[Maybe], Maybe] = lambda tensor: tensor) -> list[Maybe]:
        stored = [see(tensor) for tensor in ctx.saved_tensors]
        inputs, outputs = stored[:tensors], stored[tensors:]
        _, fresh, places = _evaluate(op, inputs, ctx.options, ctx.precision)
        saved = [
            f if place is None or place >= 0 else outputs[-1 - place]
            for f, place in zip(fresh, places, strict=True)
        ]
        return [ctx.precision.enter(tensor) for tensor in saved]

    def backward(ctx: Any, *grads: Maybe) -> Any:
        needs = ctx.needs_input_grad[:tensors]
        gradients = _differentiate(op, grads, recall(ctx), needs, ctx.options, ctx.precision, ctx.dtypes)
        return gradients + (None,) * option_count

    def jvp(ctx: Any, *tangents: Maybe) -> Any:
        # Torch turns forward mode off in here, and an outer level would take the tangent for a constant.
        with forward_ad._set_fwd_grad_enabled(True):
            entered = [ctx.precision.enter(tangent) for tangent in tangents[:tensors]]
            result = op.jvp(entered, recall(ctx, _primal), **ctx.options)
            if not op.auxiliary and not isinstance(result, tuple):
                return ctx.precision.leave(result)
            results = result if isinstance(result, tuple) else (result,)
            return (*map(ctx.precision.leave, results), *(None,) * op.auxiliary)

    protocol = {"forward": forward, "setup_context": setup_context, "backward": backward, "jvp": jvp}
    return {"generate_vmap_rule": True, **{name: staticmethod(f) for name, f in protocol.items()}}
