"""``python -m reference speed [NAME ...]``: times the ops against the built-ins, on this machine.

Exit status 0 if everything was timed and, with ``--targets``, every target is met, or with ``--scaling`` no op grows
faster than the built-in's; 1 if an op was not timed because its comparison failed, or a target is missed or not
measured; 2 for misuse; 130 after Ctrl-C, which ends the timing and leaves what was timed.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from rich.console import Console

from reference.commandline import expect_name, fail, write_files
from reference.report import console, gather
from reference.speed.machine import Machine, measure_machine
from reference.speed.measure import Measurement, Refused, measure
from reference.speed.report import (
    Results,
    growth_table,
    table,
    target_table,
    write_html,
    write_json,
    write_markdown,
)
from reference.speed.report.results import about
from reference.speed.scaling import AXES, Growth, grow
from reference.speed.targets import TARGETS, Key, Target, judge, needs
from reference.speed.workload import Workload
from reference.speed.workloads import WORKLOADS, layer_shapes
from scratchnet import kernels

__all__ = ["main"]

PROGRAM = "python -m reference speed"
WRITERS: dict[str, Callable[[Path, Results], None]] = {
    "json": write_json,
    "markdown": write_markdown,
    "html": write_html,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parser().parse_args(arguments)
    screen = console()
    names = dict.fromkeys([*(w.op for w in WORKLOADS), layer_shapes.OP])
    if options.list:
        screen.print("\n".join(names), highlight=False)
        return 0
    growing_alone = options.scaling and not options.targets
    known = [axis.op for axis in AXES] if growing_alone else names
    what = "an op that --scaling times" if growing_alone else "an op or a step"
    for name in options.names:
        expect_name(PROGRAM, what, name, known)
    if not options.seconds > 0:
        fail(PROGRAM, f"--seconds: expected a positive number, got {options.seconds:g}")
    if options.threads is not None:
        if not 1 <= options.threads <= 1024:
            fail(PROGRAM, f"--threads: expected 1 to 1024, got {options.threads}")
        torch.set_num_threads(options.threads)
    if options.kernels:
        try:
            kernels.enable()
        except RuntimeError as error:
            fail(PROGRAM, str(error))
        kernels.disable()
    targets = _select_targets(options.names) if options.targets else []
    if options.targets and not targets:
        fail(PROGRAM, f"--targets: expected a name that a target measures, got {' or '.join(options.names)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # each timed call would repeat the warnings
        growth, interrupted = _show_growth(options, screen) if options.scaling else ([], False)
        workloads = [] if growing_alone or interrupted else _select(options, targets)
        machine = measure_machine()
        timed = _timed(workloads, targets, options, machine)
        outcomes, stopped = gather(screen, timed, len(workloads), "timing") if workloads else ([], False)
    found = {key: outcome for key, outcome in outcomes if isinstance(outcome, Measurement)}
    refused = {key: str(outcome) for key, outcome in outcomes if isinstance(outcome, Refused)}
    verdicts = [judge(target, found, refused, options.compile, options.kernels) for target in targets]
    results = Results(machine, tuple(found.values()), tuple(dict.fromkeys(refused.values())), verdicts, growth)
    for sentence in about(machine):
        screen.print(sentence, highlight=False)
    if not growing_alone:
        screen.print(table(results))
    if verdicts:
        screen.print(target_table(verdicts))
    for text in results.refusals:
        screen.print(text, style="red", markup=False, highlight=False)
    write_files(PROGRAM, options, WRITERS, results)
    if interrupted or stopped:
        return 130
    return 1 if refused or any(g.worse for g in growth) or not all(v.met for v in verdicts) else 0


def _timed(
    workloads: Iterable[Workload], targets: Sequence[Target], options: argparse.Namespace, machine: Machine
) -> Iterator[tuple[Key, Measurement | Refused]]:
    """Yields the measurement of each workload, or why there is none; modes that only targets need, for these alone."""
    for workload in workloads:
        needed = [t for t in targets if needs(t, workload)]
        compiled = options.compile and (not targets or any(t.compiled for t in needed))
        in_kernels = options.kernels and (not targets or any(t.kernels for t in needed))
        try:
            outcome: Measurement | Refused = measure(
                workload, machine, compiled=compiled, in_kernels=in_kernels, budget=options.seconds
            )
        except Refused as refusal:
            outcome = refusal
        yield (workload.op, workload.size), outcome


def _show_growth(options: argparse.Namespace, screen: Console) -> tuple[list[Growth], bool]:
    """Times the named ops, or all that have an axis, at growing sizes; also returns whether Ctrl-C ended it."""
    axes = [axis for axis in AXES if not options.names or axis.op in options.names]
    grown, interrupted = gather(screen, (grow(axis, options.seconds) for axis in axes), len(axes), "growing")
    for growth in grown:
        screen.print(growth_table(growth))
    for growth in (g for g in grown if g.worse):
        ours, theirs = growth.exponents()
        sentence = (
            f"{growth.axis.op} grows with {growth.axis.name} to the {ours:.2f}, the built-in's to the {theirs:.2f}"
        )
        screen.print(sentence, style="red", highlight=False)
    return grown, interrupted


def _select(options: argparse.Namespace, targets: Iterable[Target]) -> list[Workload]:
    """Returns the workloads with the given names, or those that the targets need."""
    if options.targets:
        return [w for w in (*WORKLOADS, *layer_shapes.workloads()) if any(needs(t, w) for t in targets)]
    layers = layer_shapes.workloads() if layer_shapes.OP in options.names else ()
    return [w for w in (*WORKLOADS, *layers) if not options.names or w.op in options.names]


def _select_targets(names: Sequence[str]) -> list[Target]:
    """Returns the targets that measure one of the names, or all of them without names."""
    return [t for t in TARGETS if not names or any(op in names for op, _ in t.keys)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Time the ops and whole training steps against PyTorch's, forward and backward, in turns.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops and steps to time; all of them by default")
    parser.add_argument("--list", action="store_true", help="list the ops and steps and exit")
    parser.add_argument(
        "--targets",
        action="store_true",
        help="time the workloads of the targets and mark the targets that are missed",
    )
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="time ops at growing batch, channels, length, classes, kernel or image, and fit the exponents",
    )
    parser.add_argument("--compile", action="store_true", help="time both sides under torch.compile too (minutes)")
    parser.add_argument("--kernels", action="store_true", help="time ours with compiled kernels too")
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        metavar="S",
        help="seconds to spend on timing each workload (default 1)",
    )
    parser.add_argument("--threads", type=int, metavar="N", help="number of threads (torch's default)")
    written = parser.add_argument_group("files to write")
    written.add_argument("--json", type=Path, metavar="FILE", help="every percentile of every measurement")
    written.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    written.add_argument("--html", type=Path, metavar="FILE", help="a page with tables and plots")
    return parser
