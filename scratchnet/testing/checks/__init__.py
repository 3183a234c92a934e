"""Everything that `compare` examines, by the keyword that turns it on or off."""

from __future__ import annotations

from collections.abc import Callable

from scratchnet.testing.checks import inputs, memory, operator, side_effects, transforms, values
from scratchnet.testing.examination import Examination

__all__ = ["ALWAYS", "CHECKS", "DEFAULT"]

CHECKS: dict[str, Callable[[Examination], object]] = {
    "output": values.output,
    "gradients": values.gradients,
    "no_grad": values.no_grad,
    "each_alone": values.each_alone,
    "double_backward": values.double_backward,
    "third_derivative": values.third_derivative,
    "forward_mode": values.forward_mode,
    "forward_over_reverse": values.forward_over_reverse,
    "vmap": transforms.vmap,
    "vmap_each": transforms.vmap_each,
    "compile": transforms.compiled,
    "opcheck": operator.opcheck,
    "autocast": transforms.autocast,
    "dtypes": inputs.dtypes,
    "special_values": inputs.special_values,
    "empty": inputs.empty,
    "strided": inputs.strided,
    "saved_unchanged": side_effects.saved_unchanged,
    "fresh_memory": side_effects.fresh_memory,
    "deterministic": side_effects.deterministic,
    "threads": side_effects.threads,
    "memory": memory.memory,
    "leaks": memory.leaks,
}
ALWAYS = ("output", "gradients")
DEFAULT = (*ALWAYS, "no_grad", "double_backward", "forward_mode", "vmap", "opcheck")
