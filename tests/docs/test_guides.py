"""The guides' commands exit as they say, and their code prints what they show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils.cpp_extension import include_paths, library_paths

from scratchnet.testing.commandline import main

CHECKOUT = Path(__file__).parents[2]
GUIDES = CHECKOUT / "docs" / "guides"
COMMAND = re.compile(r"scratchnet-check (.*?) +# exit status (\d)$", re.MULTILINE)
COMMANDS = [found for page in sorted(GUIDES.glob("*.md")) for found in COMMAND.findall(page.read_text())]
PYTHON = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n\n```text\n(?P<shown>.*?)^```$)?", re.MULTILINE | re.DOTALL
)
LIBRARY = """
#include <ATen/ATen.h>
#include <torch/library.h>

at::Tensor swish(const at::Tensor& x) { return x * x.sigmoid(); }

at::Tensor swish_backward(const at::Tensor& grad, const at::Tensor& x) {
  const auto s = x.sigmoid();
  return grad * s * (1 + x * (1 - s));
}

TORCH_LIBRARY(mykernels, m) {
  m.def("swish(Tensor x) -> Tensor");
  m.def("swish_backward(Tensor grad, Tensor x) -> Tensor");
}

TORCH_LIBRARY_IMPL(mykernels, CPU, m) {
  m.impl("swish", swish);
  m.impl("swish_backward", swish_backward);
}
"""


@pytest.mark.slow
@pytest.mark.parametrize(("words", "status"), COMMANDS)
def test_the_checker_exits_as_the_guide_says(words: str, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GUIDES / "examples")
    monkeypatch.syspath_prepend(GUIDES / "examples")
    assert main(shlex.split(words)) == int(status)


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["convert", "kinks", "monitor", "speed"])
def test_the_code_of_a_guide_prints_what_it_shows(guide: str, tmp_path: Path) -> None:
    blocks = [*PYTHON.finditer((GUIDES / f"{guide}.md").read_text())]
    assert blocks
    ran = subprocess.run(
        [sys.executable, "-c", "\n".join(block["code"] for block in blocks)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr
    shown = [line for block in blocks for line in (block["shown"] or "").splitlines()]
    assert [line for line in shown if not re.search(re.escape(line).replace("…", ".*"), ran.stdout)] == []


@pytest.mark.slow
def test_an_operator_of_a_library_is_checked_as_the_guide_says(tmp_path: Path) -> None:
    page = (GUIDES / "check.md").read_text()
    (code,) = (found["code"] for found in PYTHON.finditer(page) if "load_library" in found["code"])
    (words,) = re.findall("^scratchnet-check (mykernels:.*)$", page, re.MULTILINE)
    (tmp_path / "mykernels.py").write_text(code)
    (tmp_path / "mykernels.cpp").write_text(LIBRARY)
    (tmp_path / "build").mkdir()
    where = [*(f"-I{folder}" for folder in include_paths()), *(f"-L{folder}" for folder in library_paths())]
    options = ["-shared", "-fPIC", "-std=c++20", "-o", "build/libmykernels.so"]
    subprocess.run(["g++", *options, *where, "mykernels.cpp", "-ltorch_cpu", "-lc10"], cwd=tmp_path, check=True)
    command = [
        sys.executable,
        "-m",
        "scratchnet.testing.commandline",
        *shlex.split(words.replace("--device cuda", "")),
    ]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
