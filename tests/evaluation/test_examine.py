import json

import pytest
import torch
from torch import nn

from blurnet.balls import Ball
from blurnet.evaluation.examine import Suspect, all_flags, examine, suspects
from blurnet.evaluation.per_image import ImageCampaign
from blurnet.evaluation.robustness import Robustness
from blurnet.evaluation.threats import InBall, InMask, SquarePatch
from tests.evaluation.tiny_attacks import campaigns, labelled, per_image
from tests.evaluation.tiny_subject import tiny_campaign, tiny_net, tiny_victims

CPU = torch.device("cpu")


class Hard(nn.Module):
    """A hard quantiser in front of a net: its gradient is zero."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net((x * 3).round() / 3)


def suspect(net: nn.Module, threat) -> Suspect:
    images, labels = labelled(net, 16).read(range(16))
    return Suspect(net, net, threat, images, labels)


@pytest.mark.parametrize("threat", [SquarePatch(0.25), InBall(Ball("linf", 0.1))], ids=["patch", "ball"])
def test_a_masked_gradient_is_flagged_and_an_honest_one_is_not(tmp_path, threat):
    honest, masked = suspect(tiny_net(), threat), suspect(Hard(tiny_net()), threat)
    rows = examine([honest, masked], tmp_path, CPU)
    assert [row["images"] for row in rows] == [16, 16]
    assert rows[0]["flags"] == []
    assert "zero-gradient" in [flag["name"] for flag in rows[1]["flags"]]
    assert all_flags(rows)[0]["threat"] == threat.text


def test_checks_are_done_once(tmp_path, monkeypatch):
    one = suspect(tiny_net(), InBall(Ball("linf", 0.1)))
    first = examine([one], tmp_path, CPU)
    monkeypatch.setattr("blurnet.evaluation.examine.check", lambda *_, **__: pytest.fail("checked again"))
    assert examine([suspect(tiny_net(), InBall(Ball("linf", 0.1)))], tmp_path, CPU) == first
    assert len(list(tmp_path.rglob("sanity-*.json"))) == 1
    assert one.key() != suspect(tiny_net(1), InBall(Ball("linf", 0.1))).key()


def test_a_model_that_is_always_wrong_has_nothing_to_check(tmp_path):
    one = suspect(tiny_net(), SquarePatch(0.25))
    wrong = Suspect(one.net, one.net, one.threat, one.images, (one.labels + 1) % 6)
    assert examine([wrong], tmp_path, CPU) == [{"threat": one.threat.text, "images": 0, "flags": []}]


def test_every_threat_is_listed_once(tmp_path):
    robustness = Robustness(tiny_net(), tiny_victims(), [tiny_campaign((0,))], tmp_path)
    module = per_image(tmp_path)
    module.campaigns += (ImageCampaign("pgd", campaigns()[0].attack, InBall(Ball("linf", 0.1))),)
    listed = suspects(robustness, module, "stickers", 0, None)
    assert [type(one.threat) for one in listed] == [SquarePatch, InBall, InMask]
    assert len(listed[0].images) == 7
    assert suspects(Robustness(tiny_net(), None, [], tmp_path, classes=6), None, "stickers", 0, None) == []


def test_damaged_results_are_named(tmp_path):
    one = suspect(tiny_net(), SquarePatch(0.25))
    path = tmp_path / "work" / f"sanity-{one.key()[:12]}.json"
    path.parent.mkdir()
    path.write_text(json.dumps([])[:1])
    with pytest.raises(ValueError, match=r"sanity-.*not JSON"):
        examine([one], tmp_path, CPU)
