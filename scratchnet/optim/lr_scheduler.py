"""`torch.optim.lr_scheduler`, which works with any optimizer."""

from torch.optim.lr_scheduler import *  # noqa: F403
from torch.optim.lr_scheduler import __all__ as __all__
