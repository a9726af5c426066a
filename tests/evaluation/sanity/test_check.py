"""Planted gradient masking raises its flag; an honest net raises none."""

import dataclasses

import pytest
import torch

from blurnet.data.sources.victims import load_victims
from blurnet.evaluation.sanity.check import CHECKS, check
from blurnet.masks import Place
from blurnet.zoo.models import list_models, load_model
from tests.evaluation.sanity.planted import ALONE, BALL, NOISE, PLANTED, STEPS, Defended, detached

THREATS = {"ball": {"ball": BALL}, "patch": {"mask": Place(0.1, "anywhere")}}
each_threat = pytest.mark.parametrize("threat", THREATS.values(), ids=THREATS)


@each_threat
@pytest.mark.parametrize("defense", PLANTED, ids=lambda f: f.__name__)
def test_planted_masking_raises_its_flag(defense, threat, honest):
    net, images, labels = honest
    NOISE.manual_seed(0)
    flags = check(Defended(net, defense), images, labels, steps=STEPS, **threat)
    names = {flag.name for flag in flags}
    assert names >= PLANTED[defense], names
    assert defense not in ALONE or names == PLANTED[defense]


@each_threat
def test_an_honest_net_raises_none(threat, honest):
    net, images, labels = honest
    state, before = torch.get_rng_state(), [p.requires_grad for p in net.parameters()]
    assert check(net, images, labels, source=net, steps=STEPS, **threat) == ()
    assert check(lambda x: net(x), images, labels, steps=STEPS, **threat) == ()  # any callable is a model
    assert torch.equal(state, torch.get_rng_state())
    assert [p.requires_grad for p in net.parameters()] == before


def test_bad_input_raises(honest):
    net, images, labels = honest
    with pytest.raises(ValueError, match="sanity steps: expected at least 4, got 3"):
        check(net, images, labels, steps=3)
    with pytest.raises(ValueError, match="sanity mask: expected one of"):
        check(net, images, labels, mask=torch.ones(3, 3))
    with pytest.raises(ValueError, match="images: expected pixels"):
        check(net, images * 255, labels)


def test_flags_name_their_check_and_are_plain_data(honest):
    net, images, labels = honest
    flags = check(Defended(net, detached), images, labels, steps=STEPS, mask=Place(0.1))
    order = list(CHECKS)
    assert [order.index(flag.name) for flag in flags] == sorted(order.index(flag.name) for flag in flags)
    for flag in flags:
        plain = dataclasses.asdict(flag)
        assert set(plain) == {"name", "cause", "cure", "evidence"}
        assert all(isinstance(v, int | float | str | list) for v in plain["evidence"].values())
        assert plain["cause"].endswith(".")
        assert plain["cure"].endswith(".")
    assert "does not require grad" in flags[0].evidence["error"]


@pytest.mark.slow
@each_threat
@pytest.mark.parametrize("name", list_models())
def test_shipped_nets_are_honest(name, threat):
    """No flag but those that the card states: LGS in front hides the gradient, and its card says so."""
    victims, net = load_victims("synthetic", 32), load_model(name)
    settings = threat if "mask" in threat else {}
    flags = check(net, victims.images, victims.labels, source=load_model("lisa_cnn"), **settings)
    assert {flag.name for flag in flags} <= set(net.card.flags or ())
    assert not net.card.flags or name == "lisa_cnn-lgs"
