"""Tells what a Function does not offer from what it does wrong, and says how to offer it.

A plain ``torch.autograd.Function`` has a forward and a backward. Forward mode, vmap, second derivatives and the
compiler ask for more, and torch raises where that is missing. Such an error is no disagreement.
"""

from __future__ import annotations

import re
import sys
import traceback

import torch

__all__ = ["RecordsNoGraph", "lacking", "names_what_lacks"]


class RecordsNoGraph(RuntimeError):
    """Gradients or tangents that a function leaves out without an error of its own."""


GRAPH = "breaks the graph"
# What torch's message says, and what would offer the capability.
LACKS = (
    (r"must implement the jvp function", "no jvp: add a staticmethod jvp(ctx, *tangents)"),
    (
        r"must override the setup_context",
        "no setup_context: split forward(ctx, ...) into forward(...) and setup_context(ctx, inputs, output)",
    ),
    (r"have no tangents", "no forward mode: the outputs have no tangents"),
    (r"does not have vmap support", "no vmap rule: set generate_vmap_rule = True, or add a staticmethod vmap"),
    (r"once_differentiable", "once_differentiable: remove the mark if the backward is differentiable"),
    (
        r"records no graph|an't call numpy\(\) on Tensor that requires grad",
        "a backward that cannot be differentiated: compute it with tensor operations; else mark it "
        "once_differentiable, so that it raises",
    ),
    (r"vmap: .*(\.item\(\)|data-dependent)", "reads the values of tensors, which vmap cannot: use torch.where"),
    (r"accessing `data` under vmap", "no vmap: reads x.data: use x.detach()"),
    (
        r"use forward AD with|[Nn]ested forward mode",
        "no forward mode: torch has none for an operation that it uses",
    ),
    (r"'SparseCPU' backend", "sparse gradients, which torch cannot batch"),
    (
        r"don't yet support saved tensor hooks",
        "saved-tensor hooks, as of a checkpoint, which torch.func does not take",
    ),
    (r"no fake impl registered", "no fake: register one with register_fake, for torch.compile and export"),
    (r"Batching rule not implemented|[Nn]o batching rule", "no batching rule: register one with register_vmap"),
)


def lacking(error: Exception, operator: bool = False) -> str | None:
    """Returns which capability a function lacks and how to add it, or None if the error is a fault of its own."""
    if operator and "setup_context" in str(error):
        return "no torch.func transforms: torch applies none to operators with register_autograd"
    # torch imports its compiler, which takes a second, where it is first named.
    if "torch._dynamo" in sys.modules and (said := _said_by_the_compiler(error)):
        return said
    return next((how for said, how in LACKS if re.search(said, str(error))), None)


def names_what_lacks(note: str) -> bool:
    """Whether the note of a row is one of `lacking`'s, which needs no other cause beside it."""
    return note.startswith((GRAPH, *(how for _, how in LACKS)))


def _said_by_the_compiler(error: Exception) -> str:
    """What the compiler could not do, where an error is one of its own or comes from an assertion in its code."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:120]
    if "custom jvp" in first:
        return f"{GRAPH}: torch.compile takes no Function with a jvp: call one without it while compiling"
    if isinstance(error, torch._dynamo.exc.Unsupported | torch._dynamo.exc.UserError):
        why = re.search(r"Explanation: (.*)", str(error))
        return f"{GRAPH}: {first}" + (f": {why[1].rstrip('.')}" if why else "")
    frames = traceback.extract_tb(error.__traceback__)
    within = bool(frames) and "/torch/_dynamo/" in frames[-1].filename.replace("\\", "/")
    raised = isinstance(error, torch._dynamo.exc.TorchDynamoException)
    return f"the compiler fails: {first}" if within or raised else ""
