"""Wrong Functions to plant under the checker, each beside its correct twin."""

from __future__ import annotations

from . import activations, convolution, losses, norm, pooling, recurrence, reported
from .twin import Fault, Twin

__all__ = ["FAULTS", "TWINS", "Fault", "Twin"]

AREAS = (activations, losses, convolution, norm, pooling, recurrence, *reported.AREAS)
TWINS: dict[str, Twin] = {twin.name: twin for area in AREAS for twin in area.TWINS}
FAULTS: dict[str, Fault] = {fault.name: fault for twin in TWINS.values() for fault in twin.faults}
