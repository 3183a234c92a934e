"""The pytest plugin, in runs of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from scratchnet.testing import pytest_plugin

pytest_plugins = ["pytester"]

FUNCTIONS = Path(__file__).with_name("user_functions.py").read_text()


@pytest.fixture
def run(pytester):
    def run(tests):
        pytester.makepyfile(f"import pytest\n{FUNCTIONS}\n{tests}")
        # The plugin may be installed, too, as an entry point.
        return pytester.runpytest("--strict-markers", "-p", "no:scratchnet", plugins=[pytest_plugin])

    return run


def test_the_fixture_compares_and_the_summary_says_what_was_found(run):
    result = run(
        """
def test_right(gradients):
    assert gradients(Tanh.apply, torch.tanh, torch.randn(3), thorough=False).ok

def test_wrong(gradients):
    gradients(Twice.apply, torch.tanh, torch.randn(3), thorough=False)
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*gradient of input: differs*",
            "*= gradients =*",
            "*::test_right: * equal: output*not offered: forward mode, vmap",
            "*::test_wrong: * disagree, first: gradient of input",
        ]
    )


def test_a_marked_test_runs_in_each_dtype_on_its_inputs(run):
    result = run(
        """
@pytest.mark.gradients(
    builtin=torch.tanh, dtypes=(torch.float64, torch.float32), inputs=[(3, 4)], thorough=False
)
def test_tanh(gradients):
    gradients(Tanh.apply)

@pytest.mark.gradients(builtin=torch.take, inputs=[torch.ones(4), torch.tensor([0, 2])], thorough=False)
def test_integers(gradients):
    gradients(lambda x, index: x.flatten()[index])

@pytest.mark.gradients(builtin=torch.tanh, inputs=[(3,)], thorough=False)
def test_required(gradients):
    gradients(Tanh.apply, forward_mode=True)
"""
    )
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines_random(
        ["*::test_tanh[[]torch.float64]: *equal*", "*::test_tanh[[]torch.float32]: *equal*"]
    )


def test_a_marked_test_runs_under_each_upstream_that_it_names(run):
    result = run(
        """
class Dense(Tanh):
    @staticmethod
    def backward(ctx, grad):
        return Tanh.backward(ctx, torch.as_strided(grad, grad.shape, ctx.saved_tensors[0].stride()))

@pytest.mark.gradients(
    builtin=torch.tanh, upstreams=("random", "sliced"), inputs=[(3, 4)], thorough=False, double_backward=False
)
def test_dense(gradients):
    gradients(Dense.apply)
"""
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines_random(
        ["*::test_dense[[]torch.float64-random]: *equal*", "*::test_dense[[]torch.float64-sliced]: *disagree*"]
    )


def test_positional_arguments_of_the_marker_are_an_error(run):
    result = run("@pytest.mark.gradients(torch.tanh, torch.float64)\ndef test_tanh(gradients): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*expected keywords*"])


def test_a_marker_without_its_fixture_is_an_error(run):
    result = run("@pytest.mark.gradients(builtin=torch.tanh)\ndef test_tanh(): pass")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*def test_tanh(gradients)*"])


def test_a_run_without_comparisons_has_no_section(run):
    result = run("def test_nothing(): pass")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*= gradients =*")


def test_workers_send_what_they_found(pytester):
    pytester.makeconftest("pytest_plugins = ['scratchnet.testing.pytest_plugin']")
    pytester.makepyfile(FUNCTIONS + "def test_right(gradients): gradients(Tanh.apply, torch.tanh, torch.randn(3))")
    result = pytester.runpytest("-p", "no:scratchnet", "-n", "1")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*::test_right: * equal: output*"])
