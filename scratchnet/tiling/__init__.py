"""Cache blocking of elementwise mathematics, which its authors write as if memory cost nothing."""

from scratchnet.tiling.program import recording
from scratchnet.tiling.tiles import tilewise

__all__ = ["recording", "tilewise"]
