"""``python -m reference zoo``: converted models against the originals."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import pytest
import torch
from torch import nn

from reference import __main__ as command
from reference.zoo import command as zoo
from reference.zoo.entry import Entry, Subject, normal, thin
from reference.zoo.from_torchvision import suppress
from reference.zoo.trial import attempt

# Small ones of each family, the slow ones first, so that processes share them evenly.
SLOW = """
    maskrcnn_resnet50_fpn keypointrcnn_resnet50_fpn fasterrcnn_mobilenet_v3_large_320_fpn vgg11_bn raft_large
    retinanet_resnet50_fpn fcos_resnet50_fpn r3d_18 mc3_18 r2plus1d_18 swin3d_t lraspp_mobilenet_v3_large
    deeplabv3_mobilenet_v3_large raft_small ssdlite320_mobilenet_v3_large maxvit_t convnext_tiny convnext_small swin_t
    swin_s swin_v2_t swin_v2_s vit_b_16 vit_b_32 resnet18 resnet34 resnet50 resnext50_32x4d densenet121 densenet169
    efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_v2_s inception_v3 googlenet regnet_x_400mf
    regnet_x_800mf regnet_y_400mf regnet_y_800mf regnet_y_1_6gf mobilenet_v2 mobilenet_v3_large mobilenet_v3_small
    mnasnet0_5 mnasnet1_0 shufflenet_v2_x0_5 shufflenet_v2_x1_0 squeezenet1_0 squeezenet1_1
""".split()


class Rounded(nn.Module):
    """A model that uses PyTorch's kernels under names that nothing reaches."""

    def __init__(self, off=0.0):
        super().__init__()
        self.linear, self.off = nn.Linear(4, 3), off

    def forward(self, x):
        y = torch.ops.aten._softmax(self.linear(x), 1, False)
        return y + self.off * type(self.linear).__module__.startswith("scratchnet")


class Amplified(nn.Linear):
    """A network that amplifies what rounding leaves."""

    def forward(self, x):
        return (1e9 * super().forward(x).sigmoid()).sin()


def trial(model, *inputs):
    return attempt(Entry("mine.model", lambda: Subject(model, inputs)), rounds=1)


def test_interrupt_leaves_the_trials_before(capsys, monkeypatch):
    def interrupt():
        raise KeyboardInterrupt

    linear = Entry("mine.linear", lambda: Subject(nn.Linear(4, 3), (normal(2, 4),)))
    monkeypatch.setattr(zoo, "entries", lambda: [linear, Entry("mine.endless", interrupt)])
    assert command.main(["zoo", "mine.*"]) == 130
    out = capsys.readouterr().out
    assert "interrupted after 1 of 2" in out
    assert "1 models: 1 equal" in out


def test_an_equal_model_is_pure():
    found = trial(nn.Sequential(nn.Linear(4, 3), nn.Hardsigmoid(), nn.Dropout()), normal(2, 4))
    assert (found.verdict, found.kernels, found.parameters) == ("equal", (), 15)
    assert max(found.differences.values()) < 1e-14
    assert found.ratio > 0


def test_kernels_and_differences_are_found():
    found = trial(Rounded(), normal(2, 4))
    assert found.verdict == "equal"
    assert not found.ok
    assert found.kernels == (
        "_softmax in the model (forward)",
        "_softmax_backward_data in the model (backward)",
    )
    assert trial(Rounded(off=1e-8), normal(2, 4)).verdict == "differs"


def test_an_ill_conditioned_model_is_judged_by_its_own_rounding():
    torch.manual_seed(0)
    found = trial(Amplified(64, 32), normal(8, 64))
    assert found.verdict == "ill-conditioned"
    assert max(found.differences.values()) > 1e-9
    assert found.ok


def test_what_the_original_does_not_run_is_not_run():
    found = trial(nn.Linear(4, 3), normal(2, 5))
    assert found.verdict == "not run"
    assert "shapes cannot be multiplied" in found.reason
    assert trial(nn.Linear(4, 3), normal(2, 4) * torch.inf).reason == "its outputs or gradients are not finite"
    large = attempt(Entry("mine.model", lambda: Subject(nn.Linear(1000, 1000))), limit=1e6)
    assert large.reason == "1 M parameters are more than the limit"
    assert (torch.get_default_dtype(), torch.float32.itemsize, torch.zeros(1).float().dtype) == (
        torch.float32,
        4,
        torch.float32,
    )


def test_thin_keeps_two_of_equal_layers():
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(5)), nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.Linear(3, 2))
    assert [type(m).__name__ for m in thin(model)] == ["Linear", "Linear", "ReLU", "ReLU", "ReLU", "Linear"]
    assert thin(model)(torch.zeros(3)).shape == (2,)


def test_suppression_keeps_what_no_better_box_overlaps():
    torch.manual_seed(0)
    corners = 10 * torch.rand(60, 2)
    boxes, scores = torch.cat([corners, corners + 1 + 3 * torch.rand(60, 2)], dim=1), torch.rand(60)
    kept = suppress(boxes, scores, 0.3)
    overlaps = import_module("torchvision.ops").box_iou(boxes, boxes) > 0.3
    assert torch.equal(scores[kept], scores[kept].sort(descending=True).values)
    for i in range(60):
        better = [int(j) for j in kept if overlaps[i, j] and scores[j] > scores[i]]
        assert (i in kept) == (not better)
    assert 0 < len(kept) < 60


def test_command_writes_table_json_and_page(capsys, tmp_path):
    data, page = tmp_path / "zoo.json", tmp_path / "zoo.html"
    assert command.main(["zoo", "torchvision.shufflenet_v2_x0_5", "--json", str(data), "--html", str(page)]) == 0
    assert "1 models: 1 equal; 0 impure" in capsys.readouterr().out
    assert json.loads(data.read_text())["trials"][0]["verdict"] == "equal"
    assert "torchvision.shufflenet_v2_x0_5" in page.read_text()


def test_patterns_and_libraries_choose_models(capsys):
    assert command.main(["zoo", "--list", "torchvision.resnet*", "vgg1?"]) == 0
    names = capsys.readouterr().out.split()
    assert {"torchvision.resnet18", "torchvision.vgg16"} <= set(names)
    assert command.main(["zoo", "--list", "torchvision"]) == 0
    assert len(capsys.readouterr().out.split()) > 100


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["torchvision.resnet17"], "expected the name of a model, got 'torchvision.resnet17'; did you mean"),
        (["nothing*"], "see python -m reference zoo --list"),
        (["--limit", "-1"], "--limit: expected a positive number, got -1"),
        (["shufflenet_v2_x0_5", "--limit", "0.1", "--json", "/nowhere/at/all.json"], "expected a writable file"),
    ],
)
def test_misuse_gives_status_2_and_says_what_is_wrong(arguments, says, capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["zoo", *arguments])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


def test_a_library_that_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SystemExit):
        command.main(["zoo", "timm"])
    assert "timm is not installed; pip install -e '.[zoo]' brings what is missing" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_models_of_torchvision_are_equal_and_pure(name):
    entry = next(entry for entry in zoo.entries() if entry.name == f"torchvision.{name}")
    found = attempt(entry, rounds=0)
    assert found.verdict in ("equal", "ill-conditioned"), found
    assert not found.kernels
