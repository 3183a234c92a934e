"""`torch.optim.swa_utils`, which works with any optimizer."""

from torch.optim.swa_utils import *  # noqa: F403
from torch.optim.swa_utils import __all__ as __all__
