"""Packages import only from lower layers, and no files import each other in a circle."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {
    "scratchnet.kernels": 0,
    "scratchnet.nested": -1,
    "scratchnet.arguments": 0,
    "scratchnet.layout": -1,
    "scratchnet.tiling": 0,
    "scratchnet.function": 1,
    "scratchnet.windows": 2,
    "scratchnet.optim": 1,
    "scratchnet.testing": 1,
    "scratchnet.monitor": 1,
    "scratchnet.similarity": 2,
    "scratchnet.activations": 3,
    "scratchnet.convolution": 3,
    "scratchnet.dropout": 3,
    "scratchnet.embedding": 3,
    "scratchnet.linear": 3,
    "scratchnet.normalization": 3,
    "scratchnet.padding": 3,
    "scratchnet.pooling": 3,
    "scratchnet.attention": 4,
    "scratchnet.fused": 4,
    "scratchnet.losses": 4,
    "scratchnet.recurrent": 4,
    "scratchnet.resampling": 4,
    "scratchnet.functional": 5,
    "scratchnet.nn": 6,
    "scratchnet.conversion": 7,
    "scratchnet.inspection": 0,
    "scratchnet.interception": 6,
    "scratchnet": 8,
    "experiments": 8,
    "reference": 9,
}
FILES = [p for package in ("scratchnet", "reference", "experiments") for p in (ROOT / package).rglob("*.py")]


def package(module: str) -> str:
    parts = module.split(".")
    depth = 2 if parts[0] == "scratchnet" else 1
    return ".".join(parts[:depth])


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            base = node.module
            found |= {f"{base}.{alias.name}" if base == "scratchnet" else base for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("scratchnet", "reference", "experiments")}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_from_lower_layers(path):
    here = package(module_name(path))
    for name in imports(path):
        there = package(name)
        assert there == here or LAYERS[there] < LAYERS[here], f"{here} imports {there}"


def test_no_file_imports_itself_by_way_of_others():
    files = {module_name(path): path for path in FILES}
    graph = {}
    for name, path in files.items():
        found = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # A name is a module of its own, or stands in the one that it is imported from.
                found |= {
                    module if (module := f"{node.module}.{a.name}") in files else node.module for a in node.names
                }
        graph[name] = sorted(found & files.keys() - {name})
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError, which names the files


def test_importing_scratchnet_brings_torch_alone():
    heavy = ["torchvision", "tensorboard", "matplotlib", "rich", "tyro", "reference", "experiments"]
    script = f"import sys, scratchnet, scratchnet.monitor; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert run.stdout.strip() == "[]"


def test_ops_leave_to_function_how_their_mathematics_runs():
    """`dispatch` asks whether anything records an op's operations; these formulas ask too, and say why."""
    asking = [
        module_name(path)
        for path in (ROOT / "scratchnet").rglob("*.py")
        for _ in range(path.read_text().count("recorded()"))
        if path.parent.name != "function"
    ]
    assert sorted(asking) == ["scratchnet.activations.elu", "scratchnet.activations.hard"]
