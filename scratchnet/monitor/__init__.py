"""Watches any `torch.nn.Module` train, and writes what it sees to TensorBoard.

A loss curve says that a network does not learn; these curves say where and why::

    with Monitor(model, optimizer, "runs/first", every=50) as monitor:
        for x, target in batches:
            optimizer.zero_grad()
            loss = criterion(model(x), target)
            loss.backward()
            optimizer.step()
            monitor.step(loss=loss)
        monitor.evaluate(loss=test_loss, accuracy=test_accuracy, confusion=counts)
        monitor.hparams({"lr": 0.1}, {"accuracy": test_accuracy})

The first step and then each ``every``-th one is watched; the scalars passed to `Monitor.step` are kept for
all steps. In between no hook is attached, so the network runs as if the monitor were not there, and a watched
step computes the same bits as any other. TensorBoard's Time Series page opens the first two groups of tags in
alphabetical order, which is why no other group sorts before ``loss``.

=====================================  ========================================  ===========================
tag                                    meaning                                   healthy
=====================================  ========================================  ===========================
``accuracy/train``, ``accuracy/test``  share of correct answers                  rising, the two together
``loss/train``, ``loss/test``          the loss; log(classes) before training    falling, the two together
``metrics/NAME/train``, ``…/test``     whatever else is passed by name
``nonfinite/weights/PARAMETER``,       share of NaN and infinite values;         absent
``nonfinite/weights_gradient/…``       written only where there are some
``optimizer/learning_rate``            the rate used; ``…/group_0`` and on for   as scheduled
                                       several parameter groups
``optimizer/gradient_norm``            Euclidean norm of the whole gradient, as  steady, without jumps to
                                       the optimizer sees it (after clipping)    a hundred times as much
``over_layers/GROUP/largest``,         the extremes over all layers, for each     as for the group
``…/smallest``                         group of tags by layer or module below
``outputs_mean/MODULE``                mean of the outputs over the batch        within their deviation of 0
``outputs_std/MODULE``                 their standard deviation                  0.1 to 10 at all depths
``per_layer_gradient_norm/LAYER``      the norm for the parameters that the      within a factor of 100
                                       layer itself holds                        between layers
``per_layer_update_ratio_log10/…``     log10(‖Δw‖ / ‖w‖) of these parameters;    -4 to -1.5 with momentum;
                                       Δw is what the step really changed        slow below, rash above
``pictures/confusion/…``               test counts by true and predicted class   a blue diagonal
``pictures/filters/LAYER``             weights of the first convolution          different from each other
``units_dead/MODULE``                  share of units not above zero for any     below 0.5; a dead ReLU has
                                       sample of the batch (ReLU and its kin)    no gradient
``units_saturated/MODULE``             share of outputs on the flat ends: tanh   below 0.5 in hidden layers;
                                       beyond ±0.97, sigmoid beyond 0.03 and     flat ends pass little
                                       0.97, ELU within 3 % of its limit         gradient
``not_seen``                           text: what is missing here, and why;      absent
                                       written when it changes
``weights/PARAMETER``                  histogram of the weights                  spread, no lone peak
``weights_gradient/PARAMETER``         histogram of their gradients              around 0, not only 0
=====================================  ========================================  ===========================

A unit is a feature (the last dimension), or a channel (dimension 1) in outputs of four and more dimensions,
and also of three where the network holds a ``Conv1d``. Activations are known by the names of their classes,
so `scratchnet.nn.ReLU` and `torch.nn.ReLU` are the same to it; those called as plain functions pass unseen.
Histograms of 2¹⁶ and more values are estimated from an even sample of about 2¹⁵.

A monitor never stops a training: what it cannot see, it names with the reason in the text ``not_seen``. Names are
those of the module without `torch.compile`, DistributedDataParallel or another wrapper around it or its parts.

Compiled modules: weights, gradients and updates are seen as ever, outputs only of modules outside the compiled ones
    and of those compiled by themselves. Hooks inside would be compiled along, and change how the network is rounded.
    In a function or a step of an optimizer that is compiled, the monitor sees nothing, and causes at most one more
    compilation.
Several processes: a parameter that is sharded (`fully_shard`, DTensor) has the figures of the full tensor if each
    process makes a monitor at the same point of the program and calls `Monitor.step` after each step; give None as
    the writer to all but one. Where only some processes make one, it finds that out within ten seconds, once, makes no
    collective, and reads the part of its own process. Outputs are those of the process: its share of the batch, and,
    between layers of tensor parallelism, its features.
`torch.func`, scripted and traced modules: their outputs are not seen.
Checkpointed modules: a pass that is repeated for the backward counts as another pass, with the same figures.
Parametrized weights: the parameters behind them are seen; filters are not, since computing them may change state.

References:
    "CS231n: Neural Networks Part 3: Learning and Evaluation", Stanford, for the ratio of updates to weights.
    X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural networks", AISTATS
    2010, for saturation and the spread of activations by depth.
"""

from __future__ import annotations

from scratchnet.monitor.monitor import Monitor

__all__ = ["Monitor"]
