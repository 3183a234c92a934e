"""Counts what the lines of op files are; ``python -m tests.test_share_of_mathematics`` prints it by package.

Each line, blank ones too, is of one kind:

- mathematics: the bodies of ``forward``, ``backward``, ``jvp``, ``value``, ``slope`` and ``chain`` in all classes, and
  of the functions and classes in op files that these name, directly or by way of others, fast forms of `dispatch`
  included; without signatures, docstrings and comments. What a functional form computes before it calls a Function,
  such as a mask, is not among them;
- derivation: the docstrings of files;
- documentation: all other docstrings, and comments;
- signature: from a decorator or ``def`` to the body, and the first lines of classes;
- imports, with ``__all__``; blank lines;
- other: checks of arguments and their messages, options, memory formats, constants, ops composed of others.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPS = """activations attention convolution dropout embedding fused linear losses normalization padding.py pooling
recurrent resampling similarity""".split()
METHODS = {"forward", "backward", "jvp", "value", "slope", "chain"}
KINDS = ("mathematics", "derivation", "documentation", "signature", "imports", "blank", "other")
CODE = ("mathematics", "signature", "other")
# Percent of the lines that are mathematics, as they stood when last written here, rounded down: they may only rise.
OF_LINES, OF_CODE = 17, 35


class File:
    """An op file: its functions, classes and constants by name, and where the names that it imports come from."""

    def __init__(self, path: Path) -> None:
        source = path.read_text()
        self.lines, self.tree = source.splitlines(), ast.parse(source)
        self.module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        self.defined: dict[str, ast.stmt] = {}
        self.imported: dict[str, tuple[str, str]] = {}
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.defined[node.name] = node
            elif isinstance(node, ast.Assign):
                self.defined |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
            elif isinstance(node, ast.ImportFrom):
                self.imported |= {
                    alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names
                }

    def methods(self) -> list[ast.stmt]:
        classes = [node for node in self.defined.values() if isinstance(node, ast.ClassDef)]
        return [x for c in classes for x in c.body if isinstance(x, ast.FunctionDef) and x.name in METHODS]


def lines(*nodes: ast.stmt) -> set[int]:
    return {i for node in nodes for i in range(node.lineno, (node.end_lineno or 0) + 1)}


def names(node: ast.stmt) -> set[tuple[str, str]]:
    """Returns the names in a function or class, each with the attribute that follows it, if any; no annotations."""
    parts = [*node.body, *node.decorator_list] if isinstance(node, ast.FunctionDef) else [node]
    found = set()
    for x in (x for part in parts for x in ast.walk(part)):
        if isinstance(x, ast.Attribute) and isinstance(x.value, ast.Name):
            found.add((x.value.id, x.attr))
        elif isinstance(x, ast.Name):
            found.add((x.id, ""))
    return found


def mathematics(files: dict[str, File]) -> dict[str, set[int]]:
    """Returns the lines that methods of Functions, and what they name, take up in each file."""
    found: dict[str, set[int]] = {module: set() for module in files}
    waiting = [(file, method) for file in files.values() for method in file.methods()]
    reached = {id(method) for _, method in waiting}
    while waiting:
        file, node = waiting.pop()
        found[file.module] |= lines(node)
        for name, attribute in names(node):
            module, name = (file.module, name) if name in file.defined else file.imported.get(name, ("", ""))
            if f"{module}.{name}" in files:
                module, name = f"{module}.{name}", attribute
            there = files[module].defined.get(name) if module in files else None
            if there is not None and id(there) not in reached and not name.endswith("Function"):
                reached.add(id(there))
                waiting.append((files[module], there))
    return found


def kinds(file: File, mathematical: set[int]) -> Counter[str]:
    of = dict.fromkeys(range(1, len(file.lines) + 1), "other") | dict.fromkeys(mathematical, "mathematics")
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = min(x.lineno for x in (node, *node.decorator_list))
            of |= dict.fromkeys(range(first, node.body[0].lineno), "signature")
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module) and ast.get_docstring(node) is not None:
            kind = "derivation" if isinstance(node, ast.Module) else "documentation"
            of |= dict.fromkeys(lines(node.body[0]), kind)
        if isinstance(node, ast.Import | ast.ImportFrom):
            of |= dict.fromkeys(lines(node), "imports")
    of |= dict.fromkeys(lines(file.defined["__all__"]) if "__all__" in file.defined else (), "imports")
    of |= {i: "blank" for i, line in enumerate(file.lines, 1) if not line.strip()}
    of |= {i: "documentation" for i, line in enumerate(file.lines, 1) if line.strip().startswith("#")}
    return Counter(of.values())


def count() -> dict[str, Counter[str]]:
    """Returns how many lines of each kind the packages have."""
    tops = [ROOT / "scratchnet" / op for op in OPS]
    files = {f.module: f for top in tops for f in map(File, [top] if top.is_file() else sorted(top.rglob("*.py")))}
    found = mathematics(files)
    counts: dict[str, Counter[str]] = {}
    for module, file in files.items():
        counts.setdefault(module.split(".")[1], Counter()).update(kinds(file, found[module]))
    return counts


def shares(found: Counter[str]) -> tuple[float, float]:
    """Returns percentages of mathematics in all lines, and in those of code."""
    return 100 * found["mathematics"] / found.total(), 100 * found["mathematics"] / sum(found[k] for k in CODE)


def test_the_share_of_mathematics_does_not_fall():
    of_lines, of_code = shares(sum(count().values(), Counter()))
    assert of_lines >= OF_LINES
    assert of_code >= OF_CODE
    page = " ".join((ROOT / "ARCHITECTURE.md").read_text().split())
    assert f"{OF_LINES} % of the lines of op files are mathematics, and {OF_CODE} % of their lines of code" in page


if __name__ == "__main__":
    print(f"{'lines':15}", *(f"{kind:>13}" for kind in (*KINDS, "all", "share", "of code")))
    counts = count()
    for package, found in {**counts, "all": sum(counts.values(), Counter())}.items():
        numbers = [*(found[kind] for kind in KINDS), found.total()]
        print(f"{package:15}", *(f"{n:13,}" for n in numbers), *(f"{share:11.1f} %" for share in shares(found)))
