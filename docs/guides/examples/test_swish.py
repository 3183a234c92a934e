import pytest
import torch
from swish import Full, Plain

from scratchnet.testing import assert_gradients_match


def test_plain() -> None:
    x = torch.randn(8, 16, dtype=torch.float64)
    assert_gradients_match(Plain.apply, torch.nn.functional.silu, x)


@pytest.mark.gradients(builtin=torch.nn.functional.silu, dtypes=(torch.float64, torch.float32), inputs=[(8, 16)])
def test_full(gradients):
    gradients(Full.apply, forward_mode=True, vmap=True)
