"""The adaptive softmax: frequent classes in the head, rare ones in clusters of smaller features.

Source: E. Grave et al., "Efficient softmax approximation for GPUs", 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.modules.adaptive import _ASMoutput

from scratchnet import functional as F
from scratchnet.arguments import describe
from scratchnet.nn.modules.adoption import adopting
from scratchnet.nn.modules.container import Sequential
from scratchnet.nn.modules.linear import Linear

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class AdaptiveLogSoftmaxWithLoss(torch.nn.AdaptiveLogSoftmaxWithLoss):
    __init__ = adopting(torch.nn.AdaptiveLogSoftmaxWithLoss.__init__, Linear, Sequential)

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        name, batched = "AdaptiveLogSoftmaxWithLoss", target_.dim() == 1
        if target_.dim() > 1 or input_.dim() != target_.dim() + 1 or input_.shape[:-1] != target_.shape:
            raise RuntimeError(
                f"{name}: expected an input of shape (N, {self.in_features}) and a target of shape (N,), or one sample "
                f"of both, got {describe(input_)} and {describe(target_)}"
            )
        input, target = (input_, target_) if batched else (input_[None], target_[None])
        if bool(((target < 0) | (target >= self.n_classes)).any()):
            raise RuntimeError(
                f"{name}: expected targets from 0 to {self.n_classes - 1}, got targets from {target.min()} to "
                f"{target.max()}"
            )
        # Each sample asks the head for its class or the column of its cluster, and that cluster for its share.
        cluster = torch.bucketize(target, torch.tensor(self.cutoffs, device=target.device), right=True)
        column = torch.where(cluster == 0, target, cluster + self.shortlist_size - 1)
        output = F.log_softmax(self.head(input), 1).gather(1, column[:, None]).squeeze(1)
        for i, tail in enumerate(self.tail):
            rows = (cluster == i + 1).nonzero().squeeze(1)
            if rows.numel():
                within = target.index_select(0, rows) - self.cutoffs[i]
                shares = F.log_softmax(tail(input.index_select(0, rows)), 1).gather(1, within[:, None])
                output = output.index_add(0, rows, shares.squeeze(1))
        return _ASMoutput(output if batched else output.squeeze(0), (-output).mean())

    def _get_full_log_prob(self, input: Tensor, head_output: Tensor) -> Tensor:
        head = F.log_softmax(head_output, 1)
        clusters = [
            F.log_softmax(tail(input), 1) + head[:, self.shortlist_size + i, None]
            for i, tail in enumerate(self.tail)
        ]
        return torch.cat((head[:, : self.shortlist_size], *clusters), 1)
