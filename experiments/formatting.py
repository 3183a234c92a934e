"""How a figure is printed: accuracy in percent, everything else as a number."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["in_line", "shown"]


def shown(name: str, value: float, digits: int = 4) -> str:
    """The value of a figure as text.

    >>> shown("accuracy", 0.98765), shown("loss", 0.98765), shown("loss", 0.98765, digits=1)
    ('98.77%', '0.9877', '1.0')
    """
    return f"{value:.2%}" if name == "accuracy" else f"{value:.{digits}f}"


def in_line(figures: Mapping[str, float], prefix: str = "") -> str:
    """Figures as one line has them.

    >>> in_line({"accuracy": 0.98765, "loss": 0.5}, "test ")
    'test accuracy 98.77%  test loss 0.5000'
    """
    return "  ".join(f"{prefix}{name} {shown(name, value)}" for name, value in figures.items())
