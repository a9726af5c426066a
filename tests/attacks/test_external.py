"""Attacks of other libraries: each calling convention with a fake, the real libraries where installed, the guards."""

import random
import re
import sys
from functools import partial
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from blurnet.attacks.external import External
from blurnet.balls import Ball

RADIUS = 0.1
BALL = Ball("linf", RADIUS)
LIBRARIES = ["foolbox", "art", "torchattacks"]


def step(net, x: Tensor, classes: Tensor, targeted: bool, eps: float) -> Tensor:
    """What each fake does: a random start, one sign step, clipped to ball and box."""
    start = (x + (torch.rand_like(x) - 0.5) * 0.02).clamp(0, 1).requires_grad_()
    loss = torch.nn.functional.cross_entropy(net(start), classes)
    (gradient,) = torch.autograd.grad(loss, start)
    moved = start.detach() + (-1 if targeted else 1) * eps * gradient.sign()
    return (x + (moved - x).clamp(-eps, eps)).clamp(0, 1)


class FoolboxAttack:
    """``attack(model, inputs, criterion, *, epsilons)`` returns raw, clipped, success; model under its own wrapper."""

    def __call__(self, model, inputs, criterion, *, epsilons):
        assert model.bounds == (0, 1)
        targeted = hasattr(criterion, "target_classes")
        classes = criterion.target_classes if targeted else criterion.labels
        clipped = step(model.net, inputs, classes, targeted, epsilons)
        return inputs * torch.nan, clipped, None


class ArtAttack:
    """Built on a classifier; ``generate(x, y)`` on NumPy arrays; ``set_params`` for settings it declares."""

    def __init__(self, estimator, eps=RADIUS, targeted=False):
        self.estimator, self.eps, self.targeted = estimator, eps, targeted

    def set_params(self, **settings):
        for name, value in settings.items():
            setattr(self, name, value)

    def generate(self, x, y=None):
        assert x.dtype == np.float32
        assert y.dtype == np.int64
        noise = np.random.rand(*x.shape).astype(np.float32) * 0  # noqa: NPY002 (ART draws from the global state)
        x = torch.from_numpy(x + noise)
        return step(self.estimator.net, x, torch.from_numpy(y), self.targeted, self.eps).numpy()


class TorchAttack:
    """Built on a module with parameters; called with images and labels; targets by a function, with a message."""

    def __init__(self, model, eps=RADIUS):
        self.model, self.eps, self.of = model, eps, None
        self.device = next(model.parameters()).device
        assert not model.training

    def set_mode_targeted_by_function(self, function):
        self.of = function
        print("Attack mode is changed to 'targeted(custom).'")

    def __call__(self, images, labels):
        targeted = self.of is not None
        return step(self.model, images, self.of(images, labels) if targeted else labels, targeted, self.eps)


FAKES = {"foolbox": FoolboxAttack(), "art": ArtAttack, "torchattacks": TorchAttack}


def module(name: str, **content) -> ModuleType:
    out = ModuleType(name)
    vars(out).update(content)
    return out


@pytest.fixture
def fakes(monkeypatch):
    """Modules with what External asks of each library."""

    def classifier(net, loss, input_shape, nb_classes, clip_values, device_type):
        assert (input_shape, nb_classes, clip_values, device_type) == ((3, 16, 16), 5, (0, 1), "cpu")
        return SimpleNamespace(net=net)

    criteria = SimpleNamespace(
        Misclassification=lambda labels: SimpleNamespace(labels=labels),
        TargetedMisclassification=lambda classes: SimpleNamespace(target_classes=classes),
    )
    wrapper = lambda net, bounds, device: SimpleNamespace(net=net, bounds=bounds)  # noqa: E731
    modules = [
        module("foolbox", PyTorchModel=wrapper, criteria=criteria),
        module("art"),
        module("art.estimators"),
        module("art.estimators.classification", PyTorchClassifier=classifier),
        module("torchattacks"),
    ]
    for one in modules:
        monkeypatch.setitem(sys.modules, one.__name__, one)


each_library = pytest.mark.parametrize("library", LIBRARIES)


@each_library
@pytest.mark.parametrize("target", [None, 0, "second"])
def test_calling_conventions(library, target, problem, fakes, capsys):
    attack = External(library, FAKES[library], BALL, target=target)
    images, labels = problem.images, problem.labels
    out = attack(problem.net, images, labels)
    with torch.no_grad():
        clean, answer = problem.net(images), problem.net(out)
    assert BALL.contains(out, images).all()
    if target is None:
        assert (answer.argmax(1) != labels).sum() >= 6
    else:
        wanted = clean.scatter(1, labels[:, None], -100).argmax(1) if target == "second" else torch.zeros_like(labels)
        assert (answer.argmax(1) == wanted).sum() >= 6
    assert capsys.readouterr().out == ""
    assert torch.equal(out, attack(lambda x: problem.net(x), images, labels))  # any callable is a model


@each_library
def test_random_states_are_seeded_and_put_back(library, problem, fakes):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    make = partial(External, library, FAKES[library], BALL)
    first, again, other = (make(seed=s)(problem.net, problem.images, problem.labels) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # noqa: NPY002
    assert states[2] == random.getstate()


@each_library
def test_works_without_gradients_and_leaves_the_model(library, problem, fakes):
    net = problem.net
    wanted = [(p.requires_grad, p.grad) for p in net.parameters()]
    names = [name for name, _ in net.named_modules()]
    with torch.inference_mode():
        External(library, FAKES[library], BALL)(net, problem.images.clone(), problem.labels.clone())
    assert [(p.requires_grad, p.grad) for p in net.parameters()] == wanted
    assert [name for name, _ in net.named_modules()] == names


def returning(change):
    """A torchattacks attack whose result is ``change(images)``."""
    return lambda net: lambda images, labels: change(images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x * torch.nan, "NaN or infinite"),
        (lambda x: x - x.mean(), r"expected pixels in \[0, 1\], got \[-"),
        (lambda x: (x * 255).byte(), r"expected pixels in \[0, 1\]"),
        (lambda x: x[:, :1], r"expected images \(8, 3, 16, 16\), got \(8, 1, 16, 16\)"),
        (lambda x: [x], "got list"),
        (lambda x: (x + 0.2).clamp(0, 1), r"8 of 8 images lie outside Ball.*farthest at 0\.2"),
        (lambda x: x.add_(0.2).clamp_(0, 1), "8 of 8 images lie outside"),  # in place, the guard's images are its own
    ],
    ids=["NaN", "range", "bytes", "shape", "type", "ball", "in place"],
)
def test_bad_results_raise(change, message, problem, fakes):
    with pytest.raises(ValueError, match=f"^External torchattacks: .*{message}"):
        External("torchattacks", returning(change), BALL)(problem.net, problem.images, problem.labels)


def test_a_result_outside_the_mask_raises(problem, fakes):
    attack = External("torchattacks", returning(lambda x: (x + 0.05).clamp(0, 1)), mask=problem.mask)
    with pytest.raises(ValueError, match="8 of 8 images change outside the mask"):
        attack(problem.net, problem.images, problem.labels)
    with pytest.raises(ValueError, match="External mask: expected one of"):
        External("torchattacks", TorchAttack, mask=torch.ones(3, 3))(problem.net, problem.images, problem.labels)


def test_rounding_is_mended(problem, fakes):
    """Normalising and back is off by rounding: in range and bit-identical outside the mask all the same."""
    mask = problem.mask.bool()

    def rounded(x: Tensor) -> Tensor:
        return torch.where(mask, 1.0, x * 3.3 / 3.3) + 1e-6

    out = External("torchattacks", returning(rounded), mask=mask)(problem.net, problem.images, problem.labels)
    assert torch.equal(out[..., ~mask], problem.images[..., ~mask])
    assert out.max() == 1


class Painter:
    """Paints row ``i`` of image ``i`` white; notes how many images it saw."""

    def __init__(self, sizes, masks):
        self.sizes, self.masks = sizes, masks

    def set_mode_targeted_by_function(self, function):
        """Paints all the same."""

    def __call__(self, images, labels):
        self.sizes.append(len(images))
        rows = range(8) if len(images) == 8 else [0, 2, 3, 5, 6, 7]
        return torch.where(self.masks[list(rows)].bool(), 1.0, images)


def test_wrong_images_are_not_shown_to_the_library(problem, fakes):
    """Without a target they are fooled as they are; a mask of their own follows the others."""
    labels, sizes, masks = problem.labels.clone(), [], torch.eye(8, 16)[:, None, :, None].repeat(1, 1, 1, 16)
    labels[[1, 4]] = (labels[[1, 4]] + 1) % 5
    make = lambda net: Painter(sizes, masks)  # noqa: E731
    record = External("torchattacks", make, mask=masks).record(problem.net, problem.images, labels)
    assert (record.adversarial != problem.images).flatten(1).any(1).tolist() == [i not in (1, 4) for i in range(8)]
    assert record.box[3].tolist() == [3, 4, 0, 16]
    External("torchattacks", make, mask=masks, target=0)(problem.net, problem.images, problem.labels)
    assert sizes == [6, 8]
    wrong, images = External("torchattacks", make, mask=masks[[1, 4]]), problem.images[[1, 4]]
    assert torch.equal(wrong(problem.net, images, labels[[1, 4]]), images)
    assert sizes == [6, 8]


def test_a_targeted_attack_needs_a_target(problem, fakes):
    attack = External("art", partial(ArtAttack, targeted=True), BALL)
    with pytest.raises(ValueError, match=r"ArtAttack\(targeted=True\) is targeted; give External a target"):
        attack(problem.net, problem.images, problem.labels)


@each_library
def test_a_missing_library_names_the_extra(library, problem, monkeypatch):
    for name in (library, "art.estimators.classification"):
        monkeypatch.setitem(sys.modules, name, None)
    extra = "foolbox" if library == "foolbox" else "peers"
    with pytest.raises(ImportError, match=rf"External {library}: .*pip install 'blurnet\[{extra}\]'"):
        External(library, FAKES[library], BALL)(problem.net, problem.images, problem.labels)


def test_bad_settings_raise():
    with pytest.raises(ValueError, match=r"'foolbox', 'art', 'torchattacks'.*'cleverhans'"):
        External("cleverhans", FoolboxAttack())
    with pytest.raises(TypeError, match="External attack: expected a callable"):
        External("foolbox", "LinfPGD")
    with pytest.raises(ValueError, match="External target"):
        External("foolbox", FoolboxAttack(), target="third")


def test_repr_has_no_address():
    line = "External('torchattacks', TorchAttack(eps=0.5), ball=Ball(norm='linf', radius=0.1), target=None, seed=7)"
    assert repr(External("torchattacks", partial(TorchAttack, eps=0.5), BALL, seed=7)) == line
    for attack in (FoolboxAttack(), lambda net: TorchAttack(net)):
        assert not re.search("0x|tensor", repr(External("torchattacks", attack, mask=torch.ones(2, 2))))


def real(library: str) -> tuple[External, ...]:
    """PGD of a library, untargeted and towards class 0; skips where it is not installed."""
    pytest.importorskip(library)
    if library == "foolbox":
        import foolbox

        attack = foolbox.attacks.LinfPGD(steps=20, rel_stepsize=1 / 8)
    elif library == "art":
        from art.attacks.evasion import ProjectedGradientDescent

        settings = {"eps": RADIUS, "eps_step": RADIUS / 8, "max_iter": 20, "num_random_init": 1, "verbose": False}
        attack = partial(ProjectedGradientDescent, **settings)
    else:
        import torchattacks

        attack = partial(torchattacks.PGD, eps=RADIUS, alpha=RADIUS / 8, steps=20)
    return External(library, attack, BALL), External(library, attack, BALL, target=0)


@each_library
@pytest.mark.filterwarnings("default")  # theirs
def test_the_real_library(library, problem):
    untargeted, targeted = real(library)
    images, labels = problem.images, problem.labels
    state = torch.get_rng_state()
    out = untargeted(problem.net, images, labels)
    assert torch.equal(out, untargeted(problem.net, images, labels))
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        assert (problem.net(out).argmax(1) != labels).all()
        assert (problem.net(targeted(problem.net, images, labels)).argmax(1) == 0).all()
