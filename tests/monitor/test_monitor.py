"""That a monitor disturbs nothing, watches when it should, and leaves when it is told to."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from watched import hooks, line, network, train

from scratchnet.monitor import Monitor


def test_training_is_the_same_to_the_last_bit(folder):
    plain, plain_optimizer = network()
    train(plain, plain_optimizer, 5)
    expected_random = torch.rand(3)
    watched, optimizer = network()
    with Monitor(watched, optimizer, folder, every=2) as monitor:
        train(watched, optimizer, 5, monitor)
    assert torch.equal(torch.rand(3), expected_random)
    for (name, value), other in zip(plain.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    for parameter, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, other.grad)


def test_only_each_nth_step_is_watched_and_carries_hooks(folder, read):
    model, optimizer = network()
    with Monitor(model, optimizer, folder, every=3) as monitor:
        hooked = []
        for seed in range(5):
            hooked.append(hooks(model, optimizer) > 0)
            train(model, optimizer, 1, monitor, seed)
    assert hooked == [True, False, False, True, False]
    assert list(read().curve("optimizer/gradient_norm")) == [1, 4]
    assert list(read().curve("outputs_mean/hidden")) == [1, 4]
    assert list(read().curve("loss/train")) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_close_takes_all_hooks_off(steps, folder):
    model, optimizer = network()
    monitor = Monitor(model, optimizer, folder, every=2)
    train(model, optimizer, steps, monitor)
    monitor.close()
    monitor.close()
    assert monitor.writer.file_writer is None
    assert hooks(model, optimizer) == 0
    x = torch.randn(2, 1, 6, 6)
    clone = pickle.loads(pickle.dumps(copy.deepcopy(model))).eval()
    assert torch.equal(clone(x), model.eval()(x))


def test_ctrl_c_takes_all_hooks_off_and_keeps_the_records(folder, read):
    model, optimizer = network()

    def interrupted():
        with Monitor(model, optimizer, folder, every=2) as monitor:
            train(model, optimizer, 3, monitor)
            model(torch.ones(1, 1, 6, 6))
            raise KeyboardInterrupt

    pytest.raises(KeyboardInterrupt, interrupted)
    assert hooks(model, optimizer) == 0
    assert list(read().curve("loss/train")) == [1, 2, 3]


def test_a_copy_made_on_a_watched_step_is_not_watched(folder, read):
    model = nn.Sequential(nn.ReLU())
    with Monitor(model, None, folder) as monitor:
        clones = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        model(torch.ones(2, 2))
        for clone in clones:
            assert torch.equal(clone(9 * torch.ones(2, 2)), 9 * torch.ones(2, 2))
            assert [probe.calls for probe in clone[0]._forward_hooks.values()] == [None]
        monitor.step()
    assert read().curve("outputs_mean/0") == {1: 1.0}


def test_a_given_writer_stays_open(folder, read):
    writer = SummaryWriter(str(folder))
    with Monitor(line(), None, writer) as monitor:
        monitor.step(loss=1.0)
    assert read().curve("loss/train") == {1: 1.0}
    writer.add_scalar("loss/train", 2.0, 2)
    writer.close()
    assert read().curve("loss/train") == {1: 1.0, 2: 2.0}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize("call", ["step", "evaluate", "hparams"])
def test_a_closed_monitor_says_so(call, folder):
    monitor = Monitor(line(), None, folder)
    monitor.close()
    with pytest.raises(RuntimeError, match=f"Monitor.{call}: the monitor is closed"):
        getattr(monitor, call)(*(({}, {}) if call == "hparams" else ()))


def test_tensorboard_is_imported_only_for_a_folder(folder, monkeypatch):
    source = "import sys, scratchnet.monitor; print([m for m in sys.modules if 'tensorboard' in m])"
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(
        ImportError, match=r"pip install tensorboard, or in a checkout pip install -e '.\[experiments\]'"
    ):
        Monitor(line(), None, folder)
