"""Cache blocking: of elementwise mathematics, written as if memory cost nothing, and of what runs along a dimension."""

from scratchnet.tiling.program import recording
from scratchnet.tiling.slabs import slabs
from scratchnet.tiling.tiles import tilewise

__all__ = ["recording", "slabs", "tilewise"]
