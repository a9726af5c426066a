"""The published attacks by name: foolbox's for real, what is theirs to get wrong, settings that raise."""

import random
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from blurnet.attacks.ball.newtonfool import NewtonFool
from blurnet.attacks.ball.pgd import FGSM
from blurnet.attacks.base import STANDING, WRONG, Attack
from blurnet.attacks.external import External
from blurnet.attacks.published import PUBLISHED, PublishedAttack, published_attack
from blurnet.balls import Ball

RADIUS = 0.1
#: Enough for the problem's net, and few.
STEPS = {"carlini-wagner": 20, "salt-and-pepper": 200}
#: Draw random numbers of the batch's shape, so that an image's own depend on who is beside it.
BATCHED_DRAWS = {"pgd-foolbox", "salt-and-pepper"}
#: How far they go on the problem's net at most (L2; its images' norms are about 15).
DISTANCE = {"deepfool": 1.0, "carlini-wagner": 2.0, "newtonfool": 3.0, "salt-and-pepper": 12.0}

FOOLBOX = [name for name in PUBLISHED if name != "jsma"]
each_attack = pytest.mark.parametrize("name", FOOLBOX)


def attack_of(name: str, **settings) -> Attack:
    if PUBLISHED[name].source == "foolbox":
        pytest.importorskip("foolbox", reason="blurnet[foolbox] is not installed")
    return published_attack(name, radius=RADIUS, steps=STEPS.get(name), **settings)


@each_attack
def test_fools_an_undefended_net(name, problem, capsys):
    record = attack_of(name).record(problem.net, problem.images, problem.labels)
    assert (record.stage == 0).sum() >= 7
    with torch.no_grad():
        assert torch.equal(problem.net(record.adversarial).argmax(1) != problem.labels, record.stage == 0)
    if PUBLISHED[name].bounded:
        assert Ball("linf", RADIUS).contains(record.adversarial, problem.images).all()
    else:
        assert (record.adversarial - problem.images).flatten(1).norm(dim=1).max() < DISTANCE[name]
    assert capsys.readouterr().out == ""


@each_attack
def test_repeats_by_seed_and_leaves_the_global_state(name, problem):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    run = lambda **settings: attack_of(name, **settings)(problem.net, problem.images, problem.labels)  # noqa: E731
    first = run()
    assert torch.equal(first, run())
    assert torch.equal(first, run(seed=1)) == (name not in BATCHED_DRAWS)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()


@each_attack
def test_alone_as_in_a_batch(name, problem):
    attack = attack_of(name)
    together = attack(problem.net, problem.images, problem.labels)
    alone = torch.cat([attack(problem.net, problem.images[[i]], problem.labels[[i]]) for i in range(4)])
    same = (together[:4] - alone).abs().amax() < 1e-3
    assert bool(same) == (name not in BATCHED_DRAWS)


@each_attack
def test_images_already_wrong_stay(name, problem):
    labels = problem.labels.clone()
    labels[:2] = (labels[:2] + 1) % 5
    record = attack_of(name).record(problem.net, problem.images, labels)
    assert (record.stage[:2] == WRONG).all()
    assert torch.equal(record.adversarial[:2], problem.images[:2])
    assert (record.stage[2:] == 0).sum() >= 5
    all_wrong = attack_of(name).record(problem.net, problem.images[:2], labels[:2])
    assert torch.equal(all_wrong.adversarial, problem.images[:2])


@pytest.mark.parametrize("name", [n for n in FOOLBOX if PUBLISHED[n].targets == "any"])
def test_a_target(name, problem):
    """Salt and pepper reaches a class by chance only; the others aim."""
    out = attack_of(name, target=0)(problem.net, problem.images, problem.labels)
    with torch.no_grad():
        reached = (problem.net(out).argmax(1) == 0).sum()
    assert reached >= (0 if name == "salt-and-pepper" else 7)


def test_foolboxs_fgsm_is_ours(problem):
    ours = FGSM(Ball("linf", RADIUS))(problem.net, problem.images, problem.labels)
    torch.testing.assert_close(attack_of("fgsm")(problem.net, problem.images, problem.labels), ours)


def test_carlini_wagner_that_finds_nothing_gives_the_image():
    """foolbox gives a black image then, which fools many a net."""
    pytest.importorskip("foolbox")

    class Sure(nn.Module):
        def forward(self, x):
            light = x.mean((1, 2, 3))  # bright: class 0, so surely that small changes never matter
            return torch.stack([light * 1e6, 1e5 - light * 1e3], dim=1)

    images = torch.full((2, 3, 4, 4), 0.5)
    images[1] = 0.12
    net = Sure()
    with torch.no_grad():
        assert net(torch.zeros_like(images)).argmax(1).tolist() == [1, 1], "black fools this net"
    record = published_attack("carlini-wagner", steps=2).record(net, images, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(record.adversarial[0], images[0])
    assert record.stage[0] == STANDING


def test_steps_keep_the_whole_way():
    """More steps are smaller ones: foolbox's step is a share of the radius, whatever their number."""
    pytest.importorskip("foolbox")
    for name in ("bim", "momentum", "pgd-foolbox"):
        few, many = (published_attack(name, steps=n).attack for n in (PUBLISHED[name].steps, 100))
        assert many.steps == 100
        assert many.rel_stepsize * 100 == pytest.approx(few.rel_stepsize * few.steps)


def test_newtonfool_is_our_own():
    assert published_attack("newtonfool", steps=7) == NewtonFool(7)


def test_the_value_is_the_function(problem):
    value = PublishedAttack("bim", radius=RADIUS, steps=3)
    made = published_attack("bim", radius=RADIUS, steps=3)
    images, labels = problem.images, problem.labels
    assert repr(value) == repr(made)
    assert torch.equal(value(problem.net, images, labels), made(problem.net, images, labels))
    assert value.stage_names == ("bim",)


class Jsma:
    """What External asks of ART, and what SaliencyMapMethod does with its labels: it aims at them."""

    def __init__(self, classifier, verbose):
        assert verbose is False
        self.net = classifier.net

    def set_params(self, targeted):
        raise ValueError('The attribute "targeted" cannot be set for this attack.')

    def generate(self, x, y=None):
        changed = torch.from_numpy(x).requires_grad_()
        chosen = self.net(changed)[range(len(y)), y]
        (gradient,) = torch.autograd.grad(chosen.sum(), changed)
        return (changed.detach() + 0.3 * gradient.sign()).clamp(0, 1).numpy()


def art(monkeypatch, attack) -> None:
    classification = ModuleType("art.estimators.classification")
    classification.PyTorchClassifier = lambda net, *_, **__: SimpleNamespace(net=net)
    evasion = ModuleType("art.attacks.evasion")
    evasion.SaliencyMapMethod = attack
    for name in ("art", "art.estimators", "art.attacks"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "art.estimators.classification", classification)
    monkeypatch.setitem(sys.modules, "art.attacks.evasion", evasion)


def test_jsma_aims_at_the_target(problem, monkeypatch):
    art(monkeypatch, Jsma)
    out = published_attack("jsma", target=0)(problem.net, problem.images, problem.labels)
    with torch.no_grad():
        assert (problem.net(out).argmax(1) == 0).sum() >= 6


@pytest.mark.filterwarnings("default")  # ART's
def test_the_real_jsma(problem):
    pytest.importorskip("art.attacks.evasion", reason="ART (blurnet[peers]) is not installed")
    record = published_attack("jsma", target="second").record(problem.net, problem.images[:2], problem.labels[:2])
    assert (record.stage == 0).all()


@pytest.mark.parametrize(("name", "root", "extra"), [("deepfool", "foolbox", "foolbox"), ("jsma", "art", "peers")])
def test_a_missing_library_is_named_at_once(name, root, extra, monkeypatch):
    for module in ("foolbox", "art.attacks.evasion"):
        monkeypatch.setitem(sys.modules, module, None)
    target = "second" if name == "jsma" else None
    with pytest.raises(ImportError, match=rf"External {root}: cannot import .*pip install 'blurnet\[{extra}\]'"):
        published_attack(name, target=target)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "one-pixel"}, r"published attack: expected one of \['fgsm', 'bim'.*'jsma'\], got 'one-pixel'"),
        ({"name": "bim", "radius": 8}, "bim radius: expected above 0 and at most 1, such as 8/255, got 8"),
        ({"name": "deepfool", "radius": 0.0}, "deepfool radius: expected above 0"),
        ({"name": "fgsm", "steps": 3}, "fgsm steps: expected none, it has no such setting, got 3"),
        ({"name": "bim", "steps": 0}, "bim steps: expected at least 1, got 0"),
        ({"name": "fgsm", "target": 0}, "fgsm target: expected none, got 0"),
        ({"name": "newtonfool", "target": "second"}, "newtonfool target: expected none, got 'second'"),
        ({"name": "jsma"}, r"jsma target: expected a class or a rule such as \"second\", got None"),
    ],
    ids=str,
)
def test_bad_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        published_attack(**settings)


def test_foolbox_is_imported_when_asked_for():
    import subprocess

    code = "import sys; from blurnet import published_attack, External; print('foolbox' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_bounded_attack_holds_its_ball():
    pytest.importorskip("foolbox")
    for name in FOOLBOX:
        made = published_attack(name, radius=RADIUS)
        if PUBLISHED[name].bounded:
            assert isinstance(made, External)
            assert made.ball == Ball("linf", RADIUS)
        else:
            assert getattr(made, "ball", None) is None
