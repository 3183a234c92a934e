"""Right Functions as people write them: a forward and a backward with ``ctx``, or none at all, and nothing more.

Each comes with what it equals and with inputs. None has a ``jvp``, and few have a ``setup_context`` or a vmap rule.
"""

from __future__ import annotations

from . import activations, arithmetic, estimators, idioms, layers, losses, memory, norms, protocol
from .entry import ORDINARY, Ordinary

__all__ = ["AREAS", "ORDINARY", "Ordinary"]

AREAS = (activations, arithmetic, estimators, idioms, layers, losses, memory, norms, protocol)
