"""The checker: whether a custom function, forward and backward, equals the one it replaces."""

from scratchnet.testing.check import check
from scratchnet.testing.compare import compare
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.models import ModelComparison, compare_models
from scratchnet.testing.upstreams import upstreams
from scratchnet.testing.verdict import assert_gradients_match, explain
from scratchnet.testing.watch import watch

__all__ = [
    "Comparison",
    "ModelComparison",
    "Row",
    "assert_gradients_match",
    "check",
    "compare",
    "compare_models",
    "explain",
    "upstreams",
    "watch",
]
