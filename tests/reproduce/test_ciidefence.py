"""CIIDefence's table: whom its attacks see, what is counted, the verdict, and nets by name with a library's weights."""

from argparse import Namespace

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from blurnet.evaluation.images import Pool
from blurnet.nets.vision import timm_net
from blurnet.zoo.spec import ModelSpec
from reproduce import ciidefence
from reproduce._common.cells import Cells
from reproduce._common.photos import Setup, named_net

CLASSES = tuple("abcdefg")
OPTIONS = Namespace(radius=8.0, steps=2, queries=2, budget="quick", seed=0)


class Photos:
    """Six of them, labelled by the net's own answers."""

    def __init__(self, net: nn.Module) -> None:
        self.images = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            self.labels = net(self.images).argmax(1).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


@pytest.fixture
def setup() -> Setup:
    pytest.importorskip("timm")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = timm_net("mobilenetv2_050", len(CLASSES)).eval().requires_grad_(False)
    return Setup(Pool(Photos(net), CLASSES, "photos", shard=4), net, CLASSES, torch.device("cpu"), "")


def test_a_table_of_two_batches(setup, tmp_path, monkeypatch):
    pytest.importorskip("foolbox")
    attacks = ("BPDA", "exact", "steered", "hard label", "FGSM")
    options = Namespace(**vars(OPTIONS), attacks=attacks)
    found = ciidefence.table(setup, Cells(tmp_path, "ciidefence", {}), options)
    assert found["plain"]["clean"] == "111111"
    assert set(found["defended"]) == {"clean", *attacks, "transfer", "worst of all"}
    for texts in found.values():
        assert all(len(text) == 6 for text in texts.values())
        for column, text in texts.items():  # what is wrong without attack does not stand against one
            assert all(mark <= clean for mark, clean in zip(text, texts["clean"], strict=True)), column
    worst = found["defended"]["worst of all"]
    each = [text for column, text in found["defended"].items() if column not in ("clean", "worst of all")]
    assert worst == "".join("1" if set(marks) == {"1"} else "0" for marks in zip(*each, strict=True))
    monkeypatch.setattr(ciidefence, "measured", None)  # finished batches are not attacked again
    assert ciidefence.table(setup, Cells(tmp_path, "ciidefence", {}), options) == found


def test_without_attack(setup, tmp_path):
    found = ciidefence.table(setup, Cells(tmp_path, "clean", {}), Namespace(**vars(OPTIONS), attacks=()))
    assert set(found["defended"]) == {"clean"}
    found = {"plain": {"clean": "1111"}, "defended": {"clean": "1011"}}
    assert "costs 25.0 points" in ciidefence.cost(found)


@pytest.mark.parametrize(
    ("standing", "answer"), [(0, "does not survive"), (30, "survives"), (15, "is neither refuted nor confirmed")]
)
def test_the_verdict_looks_at_the_interval(standing, answer):
    marks = "1" * standing + "0" * (30 - standing)
    said = ciidefence.verdict({"clean": "1" * 30, "BPDA": marks, "exact": marks, "worst of all": "0" * 30})
    assert f'"withstands BPDA" {answer}:' in said


def test_evidence_under_the_patch_is_what_the_steered_attack_pays_for(setup):
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    place = ciidefence.Place(ciidefence.AREA, "border", 0)
    cost = ciidefence.PatchEvidence(setup.net, place, classes=3)(images)
    assert cost.shape == (2,)
    assert ((cost >= 0) & (cost <= 1)).all()
    assert torch.autograd.grad(cost.sum(), images)[0].abs().amax() > 0
    everywhere = ciidefence.PatchEvidence(setup.net, ciidefence.Place(1.0, "border", 0), classes=3)(images)
    assert (everywhere >= cost).all()
    assert everywhere.max() == 1


def test_a_net_by_name_takes_the_weights_of_the_librarys_own(tmp_path):
    """Their keys have no prefix, and no counters of BatchNorm; the normalisation is the library's for this net."""
    pytest.importorskip("timm")
    net, spec = timm_net("tf_efficientnet_lite0", len(CLASSES)), ModelSpec("timm/tf_efficientnet_lite0", list(CLASSES))
    assert net[0].mean.flatten().tolist() == net[0].std.flatten().tolist() == [0.5] * 3
    weights = {key: value for key, value in net[1].state_dict().items() if not key.endswith("num_batches_tracked")}
    safetensors.torch.save_file(weights, tmp_path / "own.safetensors")
    safetensors.torch.save_file(net.state_dict(), tmp_path / "ours.safetensors")
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        for name in ("own", "ours"):
            assert torch.equal(named_net(spec, str(tmp_path / f"{name}.safetensors")).eval()(x), net.eval()(x))
    weights.pop("bn1.weight")
    safetensors.torch.save_file(weights, tmp_path / "short.safetensors")
    with pytest.raises(ValueError, match=r"short.safetensors does not fit.*missing bn1.weight"):
        named_net(spec, str(tmp_path / "short.safetensors"))
