"""Neural-network components for PyTorch, rebuilt from tensor arithmetic with hand-written backward passes.

``scratchnet.nn`` stands in for ``torch.nn``, ``scratchnet.functional`` for ``torch.nn.functional`` and
``scratchnet.optim`` for ``torch.optim``. ``scratchnet.testing`` holds any function against the one that it should
equal; ``scratchnet.monitor`` watches any module train, and needs tensorboard.
"""

from scratchnet import functional, nn, optim, testing

__all__ = ["functional", "nn", "optim", "testing"]
