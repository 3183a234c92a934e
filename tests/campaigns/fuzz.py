"""Random calls of every op of the catalog, forward and backward, against the built-in.

A case is a sample of the catalog with changes: other sizes (0 and 1 among them), memory layouts, values, options, and
wrong arguments. `scratchnet.testing` judges it: short dtypes against float64, NaN to NaN. Where the built-in raises,
ours must raise an error that says what was expected. Cases run in a child process, since some built-ins crash.
"""

from __future__ import annotations

import inspect
import random
import re
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from reference.catalog import DTYPES, RECORDS, Make, Record, Sample
from scratchnet.testing.checks import inputs, values
from scratchnet.testing.comparison import Row
from scratchnet.testing.examination import Examination, summary
from scratchnet.testing.findings import Findings
from scratchnet.testing.quantities import Recording
from scratchnet.testing.subject import Call, Subject, continuous, mapped
from scratchnet.testing.tolerances import UNITS_OF_FEW

from .known import known

SECONDS = 60  # for one case
BYTES = 6 << 30  # of address space beyond what torch takes
SIZES = (0, 0, 1, 1, 2, 3, 5, 8)
NUMBERS: dict[type, list[Any]] = {
    int: [-1, 0, 1, 2, 3, 4],
    float: [-1.0, 0.0, 0.25, 0.5, 1.0, 2.0, 3.0],
    bool: [False, True],
    str: ["none", "mean", "sum"],
}
WRONG = ["a", None, [], 1 + 2j, 10**400, 2**70, -7, (1, 2, 3, 4), 2.5, torch.zeros(2, 2)]
DRAWS = 16  # of inputs moved by some roundings, which tell a built-in's luck from its accuracy
CLEAN = (TypeError, ValueError, RuntimeError, IndexError)
CLEAR = re.compile(r"\w+: expected |[\w.]+\(\) (got|missing|takes)")  # ours, and Python's of wrong signatures


@dataclass
class Case:
    """A call: an op, the arguments, and what was changed in them."""

    seed: int
    number: int

    def __post_init__(self) -> None:
        rng = self.rng = random.Random(f"{self.seed}/{self.number}")
        self.record: Record = rng.choice(list(RECORDS.values()))
        lacks = self.record.builtin_lacks
        self.dtype = rng.choice([d for d in DTYPES if str(d).removeprefix("torch.") not in lacks])
        self.samples = list(self.record.samples(Make(self.dtype, seed=rng.getrandbits(30))))
        self.sample, self.changes = rng.choice(self.samples), []
        harness = of_catalog(self.record.custom)
        for change, chance in CHANGES.items():
            if rng.random() < chance and not (harness and change in SIGNATURE):
                self.sample = change(rng, self.sample, self)
                self.changes.append(change.__name__)
        self.in_place = rng.random() < 0.15 and not of_catalog(self.record.builtin) and not self.record.of_modules

    def __str__(self) -> str:
        changes = [*self.changes, *["in place"] * self.in_place]
        called = " ".join(f"{self.record.name}({self.sample})".split())[:400]
        return f"{called} in {self.dtype}, {', '.join(changes) or 'as it is'}"

    @property
    def composed(self) -> bool:
        """Whether the catalog composed the built-in of tensor operations, which checks nothing."""
        return of_catalog(unwrapped(self.record.builtin))

    @property
    def empty(self) -> bool:
        """Whether a tensor has no elements."""
        return any(x.numel() == 0 for x in self.tensors)

    @property
    def infinite(self) -> bool:
        """Whether a tensor holds an infinity or NaN."""
        return not all(bool(x.isfinite().all()) for x in self.tensors)

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments."""
        return tensors(self.sample)

    @property
    def line(self) -> str:
        return f"from tests.campaigns.fuzz import show; show({self.seed}, {self.number})"


def of_catalog(function: Any) -> bool:
    """Whether the catalog wrote it: a composition of operations, or a function that makes a module's call."""
    return str(getattr(function, "__module__", "")).startswith("reference")


def unwrapped(builtin: Any) -> Any:
    """Returns the built-in that the catalog computes in float32 for short dtypes, and any other one as it is."""
    wraps = getattr(builtin, "__qualname__", "").startswith("rounded_once")
    return inspect.getclosurevars(builtin).nonlocals["builtin"] if wraps else builtin


def tensors(sample: Sample) -> list[Tensor]:
    found: list[Tensor] = []
    with_tensors(sample, lambda x: found.append(x) or x)
    return found


def with_tensors(sample: Sample, function: Callable[[Tensor], Any]) -> Sample:
    def change(x: Any) -> Any:
        return function(x) if isinstance(x, Tensor) else x

    # The tensors of a packed sequence belong together.
    given = tuple(x if isinstance(x, PackedSequence) else mapped(change, x) for x in sample.inputs)
    return replace(sample, inputs=given, options=mapped(change, sample.options))


def with_one(rng: random.Random, sample: Sample, function: Callable[[Tensor], Any], first: float = 0.0) -> Sample:
    """Changes one tensor: the first with some probability."""
    count = len(tensors(sample))
    chosen = 0 if rng.random() < first else rng.randrange(max(count, 1))
    numbers = iter(range(count))
    return with_tensors(sample, lambda x: function(x) if next(numbers) == chosen else x)


def like(x: Tensor, old: Tensor) -> Tensor:
    return x.detach().requires_grad_(old.requires_grad)


def resized(x: Tensor, dim: int, size: int) -> Tensor:
    old = x.shape[dim]
    if not old:
        return like(x.new_ones((*x.shape[:dim], size, *x.shape[dim + 1 :])), x)
    return like(x.detach().index_select(dim, torch.arange(size) % old), x)


def sizes(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Gives all dimensions of one size another one, as a batch or channels have in all tensors."""
    found = sorted({n for x in tensors(sample) for n in x.shape})
    if not found:
        return sample
    old, new = rng.choice(found), rng.choice(SIZES)

    def change(x: Tensor) -> Tensor:
        for dim, n in enumerate(x.shape):
            x = resized(x, dim, new) if n == old else x
        return x

    return with_tensors(sample, change)


def one_size(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Resizes a dimension of one tensor, which may then broadcast."""

    def change(x: Tensor) -> Tensor:
        return resized(x, rng.randrange(x.dim()), rng.choice(SIZES)) if x.dim() else x

    return with_one(rng, sample, change)


def options(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Mixes the options of samples, and changes a number, flag or reduction among them."""
    other = rng.choice(case.samples)
    given = list(inspect.signature(case.record.custom).parameters)[: len(sample.inputs)]
    changed = {}
    for part in ("options", "arguments"):
        mixed = dict(getattr(sample, part))
        mixed |= {key: value for key, value in getattr(other, part).items() if rng.random() < 0.5}
        if part == "options":
            mixed = {key: value for key, value in mixed.items() if key not in given}
        simple = [key for key, value in mixed.items() if type(value) in NUMBERS]
        if simple and rng.random() < 0.3:
            key = rng.choice(simple)
            mixed[key] = rng.choice(NUMBERS[type(mixed[key])])
        changed[part] = mixed
    rest = [
        b if type(a) is type(b) and type(a) in (int, float, bool, str) and rng.random() < 0.3 else a
        for a, b in zip(sample.inputs, (*other.inputs, *sample.inputs[len(other.inputs) :]), strict=False)
    ]
    # The types of the fields that change are known when it runs.
    return replace(sample, inputs=tuple(rest), **changed)  # type: ignore[arg-type]


def layouts(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Lays tensors out otherwise: transposed, strided, expanded, channels last, behind an offset."""

    def change(x: Tensor) -> Tensor:
        return like(rng.choice(LAYOUTS)(x.detach()), x)

    return with_tensors(sample, change)


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1) if x.dim() > 2 else x


def offset(x: Tensor) -> Tensor:
    return torch.cat([x.flatten()[:1], x.flatten()])[x.numel() and 1 :].view(x.shape)


def overlapping(x: Tensor) -> Tensor:
    if x.dim() < 2 or not x.numel():
        return x
    return x.flatten()[: sum(x.shape)].clone().as_strided(x.shape, (1,) * x.dim())


def gaps(x: Tensor) -> Tensor:
    return (
        inputs.LAYOUTS["sliced"](x)
        if x.is_floating_point()
        else x.repeat_interleave(2, -1)[..., ::2]
        if x.dim()
        else x
    )


LAYOUTS = [
    inputs.LAYOUTS["transposed"],
    inputs.LAYOUTS["expanded"],
    gaps,
    channels_last,
    offset,
    overlapping,
    Tensor.clone,
]


def extremes(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Puts extreme values into one tensor, mostly the first: in one place, in some, or throughout."""

    def change(x: Tensor) -> Tensor:
        if x.dtype not in DTYPES or not x.numel():
            return x
        info = torch.finfo(x.dtype)
        tiny = info.smallest_normal
        special = [float("inf"), float("-inf"), float("nan"), 0.0, -0.0, tiny / 4, -tiny]
        special += [1.0, -1.0, 0.5, 100.0, -100.0]
        y = x.detach().contiguous().clone()
        kind = rng.randrange(5)
        if kind == 0:
            y.view(-1)[rng.randrange(y.numel())] = rng.choice(special)
        elif kind == 1:
            y.fill_(rng.choice(special))
        elif kind == 2:
            for i in range(y.numel()):
                if rng.random() < 0.3:
                    y.view(-1)[i] = rng.choice(special)
        elif kind == 3:
            y += rng.choice([4096.0, -4096.0, 1e4])
        else:
            y *= rng.choice([1e-4, 1e3, 1e4, tiny / 8, info.max**0.25])
        return like(y, x)

    return with_one(rng, sample, change, first=0.7)


def some_constant(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Lets some tensors need no gradient."""
    return with_tensors(sample, lambda x: x.detach() if rng.random() < 0.5 else x)


def spoiled(rng: random.Random, sample: Sample, case: Case) -> Sample:
    """Puts something wrong in the place of one argument."""

    def wrong(x: Tensor) -> Any:
        kind = rng.randrange(7)
        if kind == 0:
            return rng.choice([None, [1.0], "a", 1.5, 3])
        if kind == 1:
            return like(x.detach()[None], x)
        if kind == 2:
            return like(x.detach()[0], x) if x.dim() and x.shape[0] else x.flatten()
        if kind == 3:
            return like(x.detach().flatten(), x)
        if kind == 4 and x.numel() and not x.is_floating_point():
            y = x.clone(memory_format=torch.contiguous_format)
            y.view(-1)[rng.randrange(y.numel())] = torch.tensor(rng.choice([-1, -100, 7, 1000]))  # bytes wrap
            return y
        dtypes = [torch.bool, torch.int64, torch.int32, torch.uint8, torch.complex64, *DTYPES]
        return torch.where(x.detach().double().abs() < 9, x.detach(), 9).to(rng.choice(dtypes))

    places = [("options", key) for key in sample.options] + [("arguments", key) for key in sample.arguments]
    plain = [i for i, x in enumerate(sample.inputs) if not isinstance(x, Tensor)]
    if rng.random() < 0.5 and tensors(sample):
        return with_one(rng, sample, wrong)
    if plain and (rng.random() < 0.5 or not places):
        changed, i = list(sample.inputs), rng.choice(plain)
        changed[i] = rng.choice(WRONG)
        return replace(sample, inputs=tuple(changed))
    if places:
        part, key = rng.choice(places)
        return replace(sample, **{part: {**getattr(sample, part), key: rng.choice(WRONG)}})
    return with_one(rng, sample, wrong)


CHANGES = {
    sizes: 0.45,
    one_size: 0.12,
    options: 0.5,
    extremes: 0.3,
    layouts: 0.4,
    some_constant: 0.15,
    spoiled: 0.15,
}
SIGNATURE = (sizes, one_size, options, spoiled, extremes)  # what must not change in calls that the catalog wraps


class InPlace(Subject):
    """A subject whose outputs are changed in place."""

    def _call(self, call: Any) -> Any:
        return mapped(lambda y: y.mul_(-0.5) if continuous(y) else y, super()._call(call))


def attempt(action: Callable[[], Any]) -> Any:
    try:
        return action()
    except Exception as error:
        return error


def judge(case: Case) -> tuple[str, str]:
    """Makes a case's call on both sides; returns ``equal``, ``refused``, or a kind of difference and its words."""
    record = case.record
    theirs = attempt(lambda: replace(record, custom=record.builtin).call(case.sample))
    ours = attempt(lambda: record.call(case.sample))
    if isinstance(theirs, Exception) or isinstance(ours, Exception):
        return refusal(record, ours, theirs)
    kind = InPlace if case.in_place else Subject
    call = theirs[1]
    units = max(record.roundings, UNITS_OF_FEW)
    e = Examination(kind(ours[0].function), kind(theirs[0].function), call, Findings(units))
    expected = attempt(lambda: mixture(case) or e.recording(e.theirs, call))
    upstreams = [] if isinstance(expected, Exception) else attempt(lambda: e.upstreams)
    if isinstance(expected, Exception) and case.in_place:
        case.in_place = False
        return judge(case)
    if isinstance(expected, Exception):
        return refusal(record, attempt(lambda: e.recording(e.ours, call)), expected)
    if isinstance(upstreams, Exception):
        upstreams = []
    if not of_catalog(record.custom):  # a network has roundings that one upstream alone may hide
        upstreams = upstreams[:1] + case.rng.sample(upstreams[1:], min(1, len(upstreams[1:])))
    e.upstreams = upstreams
    if values.output(e):
        values.gradients(e)
        values.no_grad(e)
    failed = [row for row in e.findings.rows() if row.fails and not as_good(row, case, e)]
    if not failed:
        return "equal", ""
    row = failed[0]
    kind = "refuses" if row.verdict == "raises" and row.quantity == "output" else "differs"
    said = f"{row.quantity}: {row.note}"
    if row.index is not None:
        said += f" got {row.got:.6g}, expected {row.expected:.6g} ± {row.tolerance:.1e}"
    return kind, said


def mixture(case: Case) -> Exception | None:
    """Returns the error that a built-in has for two dtypes where the catalog widens one of them to the other."""
    builtin = unwrapped(case.record.builtin)
    dtypes = {x.dtype for x in case.tensors if x.is_floating_point()}
    if builtin is case.record.builtin or len(dtypes) < 2 or case.composed:
        return None
    wide = with_tensors(case.sample, lambda x: x.double() if x.dtype in DTYPES[2:] else x)
    found = attempt(lambda: builtin(*wide.inputs, **wide.options))
    return found if isinstance(found, Exception) else None


def as_good(row: Row, case: Case, e: Examination) -> bool:
    """Whether ours is at most twice as far from the truth as a built-in that has lost its digits.

    In float64 saturated functions of extreme values lose up to half of the digits. Where the built-in overflows, ours
    may too.
    """
    if row.evidence is None or row.index is None:
        return False
    finding = row.evidence.findings[row.evidence.worst]
    if finding.got.dtype is torch.float64:
        return "extremes" in case.changes and row.relative < 2**-26
    if finding.truth is None:  # of float8
        return row.relative < 64 * torch.finfo(torch.float32).eps
    ours, own = ((side.double() - finding.truth.double()).abs() for side in (finding.got, finding.expected))
    ours = ours.masked_fill(finding.truth.isfinite() & ~own.isfinite(), 0)
    mine, lost = float(ours.max()), float(own.nan_to_num(float("inf")).max())
    return bool(ours.isfinite().all()) and (mine <= 2 * lost or attempt(lambda: lucky(row.quantity, e)) is True)


def lucky(quantity: str, e: Examination) -> bool:
    """Whether the built-in is nearer to the truth by luck: of inputs moved by some roundings it is half as near.

    In 6,000 draws of gumbel_softmax each side was off by 1e-7 on average and by 7e-7 at most, where a sum near 2
    cancels with one term; in 3 of 20,000 calls ours was off by 10 times as much. Scores of a thousand, whose softmax
    has lost three more digits, did the same to attention, and distances that float16 rounds to even numbers to
    triplets. Neither side is better there; one draw does not show it, and the largest errors of several do. Inputs
    moved by single roundings of float32 round alike: in 4,000 such draws beside a distance of 100 ours was off by
    1.5e-5 at most and the built-in by 7e-7, and where 64 roundings moved them, by 1.8e-5 and 1.1e-5.
    """
    errors = {e.ours: 0.0, e.theirs: 0.0}
    for draw in range(DRAWS):
        generator = torch.Generator().manual_seed(draw)

        def moved(x: Tensor, generator: torch.Generator = generator) -> Tensor:
            reach = max(1, round(2**-17 / torch.finfo(x.dtype).eps))
            steps = torch.randint(-reach, reach + 1, x.shape, generator=generator)
            return (x.detach() * (1 + steps * torch.finfo(x.dtype).eps)).to(x.dtype).requires_grad_()

        def found(side: Subject, at: Call, draw: int = draw) -> Tensor:
            pass_ = Recording(side, at)
            generator = torch.Generator().manual_seed(draw)
            # Numbers that all dtypes have.
            given = [torch.randn(y.shape, generator=generator).bfloat16() for y in pass_.outputs]
            upstream = [
                g.to(y.dtype) if y.requires_grad else None for y, g in zip(pass_.outputs, given, strict=True)
            ]
            every = pass_.forward() | (pass_.gradients(upstream) if quantity.startswith("gradient") else {})
            return every[quantity.replace(" without grad", "")].double()

        call = e.call.with_leaves([moved(x) for x in e.call.leaves()])
        truth = found(e.theirs, call.to(torch.float64))
        for side in errors:
            errors[side] = max(
                errors[side], float((found(side, call) - truth).abs().nan_to_num(0, float("inf")).max())
            )
    return errors[e.ours] <= 2 * errors[e.theirs]


def refusal(record: Record, ours: Any, theirs: Any) -> tuple[str, str]:
    """Judges a call that one side or both refuse; ours may raise what the built-in raises for some arguments."""
    if not isinstance(ours, Exception):
        return "accepts", f"built-in: {summary(theirs)}"
    said = f"ours: {summary(ours)}; built-in: "
    if not isinstance(theirs, Exception):
        return "refuses" if isinstance(ours, CLEAN) and CLEAR.match(str(ours)) else "unclean", said + "takes it"
    errors = (*CLEAN, type(theirs), *(bad.error for bad in record.errors))
    clean = isinstance(ours, errors) and CLEAR.match(str(ours))
    return ("refused", "") if clean or str(ours) == str(theirs) else ("unclean", said + summary(theirs))


def show(seed: int, number: int) -> None:
    """Prints a case and the verdict."""
    case = Case(seed, number)
    print(case, "in place" if case.in_place else "")
    print(*judge(case))


def _work(pipe: Any, seed: int, numbers: range, alone: str) -> None:
    import resource

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with open("/proc/self/statm") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + BYTES,) * 2)
    for number in numbers:
        signal.alarm(SECONDS)
        case = Case(seed, number)
        if alone:
            side = getattr(case.record, alone)
            case.record = replace(case.record, custom=side, builtin=side)
        kind, said = judge(case)
        if "memory" in said and ("alloc" in said or "MemoryError" in said):
            kind = "refused"
        reason = known(case, kind, said) if kind not in ("equal", "refused") else ""
        pipe.send((number, f"known: {reason}" if reason else kind, said))


def outcomes(seed: int, first: int, count: int, alone: str = "") -> Iterator[tuple[int, str, str]]:
    """Yields number, kind and words of each case; one side ``alone``, custom or builtin, is compared with itself.

    A case that ends or holds up ours is of the kind ``crashes``, unless the built-in is held up, too.
    """
    done, end, context = first, first + count, get_context("fork")
    while done < end:
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_work, args=(sender, seed, range(done, end), alone))
        child.start()
        sender.close()
        try:
            while True:
                yield receiver.recv()
                done += 1
        except EOFError:
            child.join()
        if done < end:
            theirs = not alone and not crashes(seed, done, "custom")
            if not alone and not theirs and child.exitcode == -signal.SIGALRM:
                theirs = crashes(seed, done, "builtin")
            yield done, "built-in crashes" if theirs else "crashes", f"exit status {child.exitcode}"
            done += 1


def crashes(seed: int, number: int, side: str) -> bool:
    """Whether one side of a case alone ends its process, or holds it up."""
    return [kind for _, kind, _ in outcomes(seed, number, 1, side)] == ["crashes"]


def run(cases: int, seed: int, first: int = 0) -> int:
    """Runs the campaign, prints each finding and the figures, and returns the number of findings."""
    counts: Counter[str] = Counter()
    found = 0
    for number, kind, said in outcomes(seed, first, cases):
        counts[kind] += 1
        if kind not in ("equal", "refused") and not kind.startswith(("known", "built-in")):
            case = Case(seed, number)
            print(f"{kind}: {case}: {said}\n    {case.line}", flush=True)
            found += 1
    for kind, count in sorted(counts.items()):
        print(f"{count:7d} {kind}")
    print(f"{found} findings in {cases} cases from seed {seed}")
    return found
