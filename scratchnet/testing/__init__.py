"""The checker: whether a custom function, forward and backward, equals the one it replaces."""

from scratchnet.testing.check import check
from scratchnet.testing.compare import compare
from scratchnet.testing.comparison import Comparison, Row
from scratchnet.testing.upstreams import upstreams
from scratchnet.testing.verdict import assert_gradients_match, explain
from scratchnet.testing.watch import watch

__all__ = ["Comparison", "Row", "assert_gradients_match", "check", "compare", "explain", "upstreams", "watch"]
