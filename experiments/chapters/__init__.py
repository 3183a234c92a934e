"""The chapters, by name, each with the line that ``python -m experiments`` lists it under.

A chapter is a module of this package, imported only when it is asked for. It defines ``Config``, a frozen
dataclass whose fields are its flags, and ``main(config)``.
"""

from __future__ import annotations

__all__ = ["CHAPTERS"]

CHAPTERS: dict[str, str] = {
    "mnist": "a convolutional or fully connected network learns to read handwritten digits",
}
