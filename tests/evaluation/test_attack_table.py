import dataclasses

import pytest
import torch

from blurnet.evaluation.attack_table import ATTACKS, Options, image_campaigns
from blurnet.evaluation.judge import judge
from blurnet.evaluation.threats import InBall, InMask, SquarePatch
from blurnet.masks import rectangles
from tests.evaluation.tiny_subject import tiny_net, tiny_victims

MASK = rectangles((12, 12), [(2, 5, 3, 9)])
OTHERS = (torch.rand(5, 3, 12, 12, generator=torch.Generator().manual_seed(9)), torch.arange(5))
FREE = Options(0.1, steps=3, source=tiny_net(1), source_name="other", held_out=OTHERS, held_out_name="others")
MASKED = dataclasses.replace(FREE, area=None, mask=MASK, mask_name="box")


@pytest.mark.parametrize("options", [FREE, MASKED], ids=["free", "masked"])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_runs_and_stays_in_its_threat(name, options):
    if name == "universal-patch" and options is MASKED:
        pytest.skip("refused, see test_bad_settings")
    images, net = tiny_victims(5).images, tiny_net()
    labels = net(images).argmax(1)
    (campaign,) = image_campaigns([name], options)
    work, _ = judge(net, net, campaign.attack, campaign.threat, images, labels)
    assert work.calls.min() >= 1
    expected = InBall if ATTACKS[name].whole else SquarePatch if options is FREE else InMask
    assert isinstance(campaign.threat, expected)
    assert repr(campaign.attack) == repr(image_campaigns([name], options)[0].attack)


def test_the_options_reach_the_attacks():
    options = dataclasses.replace(FREE, eps=0.25, restarts=3, seed=7)
    pgd, patch = image_campaigns(["pgd", "patch-pgd"], options)
    assert (pgd.attack.ball.radius, pgd.attack.restarts, pgd.attack.steps, pgd.attack.seed) == (0.25, 3, 3, 7)
    assert (patch.attack.area, patch.attack.attack.restarts) == (0.1, 3)
    budgets = [
        image_campaigns(["pgd"], Options(budget=budget))[0].attack.steps for budget in ("quick", "standard", "full")
    ]
    assert budgets == sorted(set(budgets))


def test_curves_vary_size_and_steps_where_an_attack_has_them():
    made = image_campaigns(["lavan", "pgd"], FREE, areas=[0.05, 0.1], steps=[3, 9])
    named = {campaign.name: campaign for campaign in made}
    assert list(named) == ["lavan", "lavan area 0.05", "lavan steps 9", "pgd", "pgd steps 9"]
    assert named["lavan"].at == (("area", 0.1), ("steps", 3))
    assert named["lavan"].point is None
    assert named["lavan area 0.05"].point == ("lavan", "area", 0.05)
    assert named["lavan area 0.05"].threat == SquarePatch(0.05)
    assert named["pgd steps 9"].attack.steps == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: image_campaigns(["pgd", "pdg"], FREE), "unknown attack 'pdg'; there are: autopatch, lavan"),
        (lambda: image_campaigns(["lavan"], MASKED, areas=[0.1]), "needs a patch that is free"),
        (lambda: image_campaigns(["lavan"], FREE, areas=[0.0]), "got 0.0"),
        (lambda: image_campaigns(["transfer"], Options()), "--transfer-from"),
        (lambda: image_campaigns(["universal-patch"], Options()), "name data with --data; .* val split"),
        (lambda: image_campaigns(["universal-patch"], MASKED), "free to be placed, not a mask"),
        (lambda: image_campaigns(["lavan"], FREE, steps=[0]), "steps from 1"),
        (lambda: Options(), None),
        (lambda: Options(0.1, MASK), "one of them"),
        (lambda: Options(None), "one of them"),
        (lambda: Options(eps=0.0), "eps: expected a radius"),
        (lambda: Options(eps=8.0), "such as 8/255, got 8.0"),
        (lambda: Options(restarts=0), "restarts and steps from 1"),
        (lambda: Options(budget="huge"), "quick, standard, full"),
    ],
)
def test_bad_settings(make, message):
    if message is None:
        assert make() == Options(0.05)
        return
    with pytest.raises(ValueError, match=message):
        make()


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        SquarePatch(0.9).broken(torch.zeros(1, 3, 4, 12), torch.zeros(1, 3, 4, 12))
