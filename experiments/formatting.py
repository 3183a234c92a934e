"""Formats metrics as text and tables as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["format_metric", "format_metrics", "markdown_table", "printable"]


def format_metric(name: str, value: float, digits: int = 4) -> str:
    """Formats accuracy in percent and everything else as a number.

    >>> format_metric("accuracy", 0.98765), format_metric("loss", 0.98765), format_metric("loss", 0.98765, digits=1)
    ('98.77%', '0.9877', '1.0')
    """
    return f"{value:.2%}" if name == "accuracy" else f"{value:.{digits}f}"


def format_metrics(metrics: Mapping[str, float], prefix: str = "") -> str:
    """Formats several metrics on one line.

    >>> format_metrics({"accuracy": 0.98765, "loss": 0.5}, "test ")
    'test accuracy 98.77%  test loss 0.5000'
    """
    return "  ".join(f"{prefix}{name} {format_metric(name, value)}" for name, value in metrics.items())


def printable(text: object) -> str:
    r"""Replaces line breaks and control sequences, which names and values from files may hold, by spaces.

    >>> printable("two\nlines")
    'two lines'
    """
    return "".join(c if c.isprintable() else " " for c in str(text))


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Formats a table that TensorBoard and GitHub both render.

    >>> print(markdown_table(("a", "b"), [(1, 2)]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = ["| " + " | ".join(map(str, line)) + " |" for line in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
