"""Cache blocking: of elementwise mathematics, written as if memory cost nothing, and of what runs along a dimension."""

from scratchnet.tiling.along import slabs
from scratchnet.tiling.program import recording
from scratchnet.tiling.recorder import BITS
from scratchnet.tiling.tiles import tilewise

__all__ = ["BITS", "recording", "slabs", "tilewise"]
