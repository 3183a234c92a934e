"""How a figure is printed: accuracy in percent, everything else as a number."""

from __future__ import annotations

__all__ = ["shown"]


def shown(name: str, value: float, digits: int = 4) -> str:
    """The value of a figure as text.

    >>> shown("accuracy", 0.98765), shown("loss", 0.98765), shown("loss", 0.98765, digits=1)
    ('98.77%', '0.9877', '1.0')
    """
    return f"{value:.2%}" if name == "accuracy" else f"{value:.{digits}f}"
