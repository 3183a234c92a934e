"""The fast form of every algorithm gives what its plain form gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from reference.catalog import RECORDS, Make
from scratchnet.convolution.algorithms.winograd import filtering
from scratchnet.function.dispatch import FORMS, Forms
from scratchnet.similarity import distance_tiles
from scratchnet.testing.subject import Call, Subject

TOLERANCES = {torch.float64: (1e-9, 1e-11), torch.float32: (1e-5, 1e-5)}


def tensors(values: object) -> list[Tensor]:
    return [x for x in tree_leaves(values) if isinstance(x, Tensor)]


def held_to_the_plain_form(forms: Forms, calls: dict[str, int]):
    """Returns the fast form, which compares its results with the plain form's."""
    fast, name = forms.fast, f"{forms.fast.__module__}.{forms.fast.__qualname__}"
    calls[name] = 0

    def compare(*args, **options):
        before = [x.clone() for x in tensors((args, options))]
        found = fast(*args, **options)
        for x, same in zip(tensors((args, options)), before, strict=True):
            torch.testing.assert_close(
                x, same, rtol=0, atol=0, equal_nan=True, msg=f"{name} wrote to its arguments"
            )
        if found is not NotImplemented:
            calls[name] += 1
            ours, plain = tensors(found), tensors(forms.plain(*args, **options))
            for one, other in zip(ours, plain, strict=True):
                rtol, atol = TOLERANCES[torch.promote_types(one.dtype, torch.float32)]
                torch.testing.assert_close(one, other, rtol=rtol, atol=atol, equal_nan=True, msg=name)
        return found

    return compare


def run(custom, sample) -> None:
    """Runs an op and its backward pass, each of which may dispatch."""
    parameters = dict(custom.named_parameters()) if isinstance(custom, torch.nn.Module) else {}
    call = Call(sample.inputs, sample.options, parameters)
    call = call.with_leaves([x.detach().clone().requires_grad_() for x in call.leaves()])
    outputs = [y for y in Subject(custom).run(call) if y.requires_grad]
    if outputs and call.leaves():
        torch.autograd.backward(outputs, [torch.randn_like(y) for y in outputs])


@pytest.fixture
def calls(monkeypatch):
    # The images and matrices of the catalog are small.
    monkeypatch.setattr(distance_tiles, "FEW", 0)
    monkeypatch.setattr(filtering, "LEAST_CHANNELS", 1)
    monkeypatch.setattr(filtering, "LEAST_PIXELS", 0)
    monkeypatch.setattr(filtering, "LEAST_ELEMENTS", 0)
    calls: dict[str, int] = {}
    for forms in FORMS:
        monkeypatch.setattr(forms, "fast", held_to_the_plain_form(forms, calls))
    return calls


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_fast_forms_agree_with_plain_ones(calls):
    for record in RECORDS.values():
        for sample in record.samples(Make(torch.float64)):
            run(record.sides(sample)[0], sample)
    for sample in RECORDS["batch_norm"].samples(Make(torch.float32)):  # whose sums of few numbers are in float64
        run(RECORDS["batch_norm"].sides(sample)[0], sample)
    assert not [name for name, count in calls.items() if not count], "no sample of the catalog reaches these"
