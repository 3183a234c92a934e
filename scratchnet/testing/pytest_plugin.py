"""The fixture and the marker ``gradients`` of pytest: custom functions must match what they replace.

Example::

    @pytest.mark.gradients(builtin=torch.nn.functional.gelu, dtypes=(torch.float64, torch.float32), inputs=[(8, 16)])
    def test_gelu(gradients):
        gradients(MyGELU.apply)  # unmarked: gradients(MyGELU.apply, torch.nn.functional.gelu, torch.randn(8, 16))

``inputs`` are shapes, of normal values, and tensors, which get the dtype if they are floating-point. With
``upstreams=("random", "sliced")`` the test runs once under each of these kinds, otherwise under all of them in one run.
Other options of the marker and the call go to `assert_gradients_match`. The run ends with a line for each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from scratchnet.testing.comparison import Comparison
from scratchnet.testing.verdict import assert_gradients_match

SECTION = "gradients"


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marker."""
    config.addinivalue_line(
        "markers", "gradients(builtin, dtypes, upstreams, inputs, **options): what `gradients` compares with"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a marked test once in each dtype, and under each kind of upstream that the marker names."""
    if (marker := metafunc.definition.get_closest_marker(SECTION)) is None:
        return
    name = metafunc.definition.name
    if SECTION not in metafunc.fixturenames:
        pytest.fail(f"{name}: expected the marker's fixture among the arguments: def {name}(gradients)", False)
    if marker.args:
        pytest.fail(f"{name}: expected keywords, as in @pytest.mark.gradients(builtin=torch.tanh)", False)
    dtypes, kinds = marker.kwargs.get("dtypes", (torch.float64,)), marker.kwargs.get("upstreams", (None,))
    cases = [(dtype, kind) for dtype in dtypes for kind in kinds]
    ids = ["-".join(str(part) for part in case if part) for case in cases]
    metafunc.parametrize(SECTION, cases, indirect=True, ids=ids)


@pytest.fixture
def gradients(request: pytest.FixtureRequest) -> Callable[..., Comparison]:
    """Returns `assert_gradients_match`, with the built-in and the inputs of the marker where there is one."""
    marker = request.node.get_closest_marker(SECTION)
    marked = dict(marker.kwargs) if marker else {}
    marked.pop("dtypes", None)
    dtype, kind = getattr(request, "param", (torch.float64, None))
    if kind is not None:
        marked["upstreams"] = (kind,)
    inputs = [_tensor(x, dtype) for x in marked.pop("inputs", ())]
    builtin = [marked.pop("builtin")] if "builtin" in marked else []

    recorded = request.node.user_properties  # part of the report, which the workers of pytest-xdist send

    def assert_match(custom: Callable[..., Any], *arguments: Any, **options: Any) -> Comparison:
        __tracebackhide__ = True
        try:
            result = assert_gradients_match(custom, *builtin, *arguments, *inputs, **{**marked, **options})
        except AssertionError as error:
            recorded.append((SECTION, str(error).partition("\n")[0]))
            raise
        recorded.append((SECTION, f"{result.name}: {result.headline}"))
        return result

    return assert_match


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints what was found, a line for each call."""
    reports = [r for found in terminalreporter.stats.values() for r in found if getattr(r, "when", None) == "call"]
    lines = [f"{r.nodeid}: {found}" for r in reports for key, found in r.user_properties if key == SECTION]
    if lines:
        terminalreporter.section(SECTION)
        terminalreporter.write("".join(f"{line}\n" for line in lines))


def _tensor(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return torch.randn(value, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
