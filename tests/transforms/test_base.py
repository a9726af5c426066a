"""Which gradient an attacker sees through transformations: alone, chained, inside a model."""

import copy
import threading

import pytest
import torch
from torch import Tensor, nn

from blurnet.transforms.base import Pipeline, Transform, adaptive, defend, identity_bpda, transforms_of


class Rounded(Transform):
    """Not differentiable; its stand-in is a square, so that the gradient tells who was asked."""

    differentiable = False

    def forward(self, x: Tensor) -> Tensor:
        return (x * 8).round() / 8

    def surrogate(self, x: Tensor) -> Tensor:
        return x.square()


class Scaled(Transform):
    """Differentiable, with a parameter."""

    differentiable = True

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class Noisy(Transform):
    """Random; its stand-in gives away the draws that it saw."""

    differentiable, random = False, True

    def draw(self, x: Tensor) -> Tensor:
        return torch.rand(1, *x.shape[1:], generator=self.generator()).to(x)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.draw(x)).clamp(0, 1)

    def surrogate(self, x: Tensor) -> Tensor:
        return x * self.draw(x)


class Halved(Transform):
    """Changes the size."""

    differentiable = True

    def forward(self, x: Tensor) -> Tensor:
        return x[..., ::2, ::2]


def net() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5)).eval()


@pytest.fixture
def x(generator) -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=generator).requires_grad_()


def gradient(model: nn.Module, x: Tensor) -> Tensor:
    return torch.autograd.grad(model(x).square().sum(), x)[0]


MODELS = {
    "front": lambda: defend(net(), Rounded()),
    "chain": lambda: defend(net(), Rounded(), Scaled(), Rounded()),
    "pipeline": lambda: defend(net(), Pipeline(Rounded(), Pipeline(Scaled(), Rounded()))),
    "nested": lambda: nn.Sequential(nn.Identity(), nn.Sequential(Scaled(), nn.Sequential(Rounded())), net()),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_adaptive_keeps_the_numbers_and_changes_the_gradient(make, x):
    model = make()
    model(x)
    for view in (adaptive(model), identity_bpda(model), adaptive(copy.deepcopy(model)), copy.deepcopy(adaptive(model))):
        assert torch.equal(view(x), model(x))
        with torch.no_grad():
            assert torch.equal(view(x), model(x))
        assert gradient(view, x).abs().sum() > 0


def test_a_chain_has_the_chain_of_the_surrogates_gradients_at_the_exact_values(x):
    """Rounded, halved, rounded: d/dx = 2 r(r(x)/2) * 2 (r(x)/2) * 0.5 * 2 x for the square of the result."""
    for chain in (Pipeline(Rounded(), Scaled(), Rounded()), nn.Sequential(Rounded(), Scaled(), Rounded())):
        first = (x.detach() * 8).round() / 8
        last = (first / 2 * 8).round() / 8
        wanted = 2 * last * (2 * first / 2) * 0.5 * (2 * x.detach())
        torch.testing.assert_close(gradient(adaptive(chain), x), wanted)
    pipeline = Pipeline(Rounded(), Scaled(), Rounded())
    result = pipeline.surrogate(x)
    assert torch.equal(result, pipeline(x))
    torch.testing.assert_close(torch.autograd.grad(result.square().sum(), x)[0], wanted)


def test_identity_passes_every_transformation(x):
    chain = Pipeline(Rounded(), Scaled(), Rounded())
    value = chain(x).detach()
    assert torch.equal(gradient(identity_bpda(chain), x), 2 * value)


def test_another_size_has_no_identity_but_the_surrogate(x):
    chain = nn.Sequential(Halved(), Rounded())
    value = chain(x).detach()
    assert torch.equal(identity_bpda(chain)(x), value)
    wanted = torch.zeros_like(x)
    wanted[..., ::2, ::2] = 2 * value
    assert torch.equal(gradient(identity_bpda(chain), x), wanted)


def test_no_gradient_is_an_error_and_not_a_zero(x):
    for model in (Rounded(), defend(net(), Rounded()), Pipeline(Scaled(), Rounded())):
        out = model(x)
        assert out.requires_grad
        with pytest.raises(RuntimeError, match=r"Rounded has no gradient.*adaptive\(model\)"):
            out.sum().backward()
    assert not Rounded()(x.detach()).requires_grad


def test_adaptive_shares_parameters_and_leaves_the_model_alone(x):
    model = defend(net(), Rounded()).train()
    model(x)
    model[1][1].eval()
    modes = [m.training for m in model.modules()]
    view = adaptive(model)
    assert [m.training for m in model.modules()] == modes
    assert view.training
    assert all(p is q for p, q in zip(view.parameters(), model.parameters(), strict=True))
    assert adaptive(view) is view
    identity = identity_bpda(view)
    assert identity.model is model
    gradient(view, x)
    with pytest.raises(RuntimeError, match="no gradient"):
        gradient(model, x)  # the rule holds inside the view only


def test_the_rule_is_dropped_after_an_error(x):
    class Fails(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise MemoryError

    with pytest.raises(MemoryError):
        adaptive(nn.Sequential(Rounded(), Fails()))(x)
    with pytest.raises(RuntimeError, match="no gradient"):
        gradient(Rounded(), x)


def test_threads_do_not_see_each_others_rule(x):
    inside, done, seen = threading.Event(), threading.Event(), []

    class Waits(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            inside.set()
            assert done.wait(10)
            return x

    thread = threading.Thread(target=lambda: seen.append(adaptive(nn.Sequential(Waits(), Rounded()))(x)))
    thread.start()
    assert inside.wait(10)
    with pytest.raises(RuntimeError, match="no gradient"):
        gradient(Rounded(), x)
    done.set()
    thread.join()
    torch.testing.assert_close(torch.autograd.grad(seen[0].sum(), x)[0], 2 * x.detach())


def test_parameters_of_transformations_learn(x):
    chain = Pipeline(Scaled(), Rounded())
    adaptive(chain)(x.detach()).sum().backward()
    assert chain.stages[0].scale.grad.isfinite()


def test_random_ones_are_fresh_at_each_call_and_repeat_from_the_seed(x):
    state = torch.get_rng_state()
    noisy = Noisy(seed=3)
    first, second = noisy(x), noisy(x)
    assert not torch.equal(first, second)
    assert torch.equal(Noisy(seed=3)(x), first)
    assert not torch.equal(Noisy(seed=4)(x), first)
    noisy.reset()
    assert torch.equal(noisy(x), first)
    assert torch.equal(copy.deepcopy(noisy)(x), second)
    chain = Pipeline(Rounded(), noisy)
    assert chain.random
    chain.reset(4)
    assert torch.equal(noisy(x), Noisy(seed=4)(x))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_surrogate_sees_the_draws_of_its_forward_pass(x):
    noisy = Noisy()
    view = adaptive(noisy)
    for _ in range(2):
        (seen,) = torch.autograd.grad(view(x).sum(), x)
        assert torch.equal(seen, noisy.draw(x).expand_as(x))


def test_transforms_of_finds_all_in_order():
    a, b, c = Rounded(), Scaled(), Halved()
    model = nn.Sequential(Pipeline(a, Pipeline(b)), nn.Sequential(net(), c))
    assert transforms_of(model) == [a, b, c]
    assert transforms_of(adaptive(model)) == [a, b, c]
    assert transforms_of(a) == [a]
    assert transforms_of(net()) == []


def test_a_chain_knows_its_stages():
    assert Pipeline(Scaled()).differentiable
    assert not Pipeline(Scaled(), Rounded()).differentiable
    assert not Pipeline(Scaled(), Rounded()).random


def test_an_empty_chain_is_the_identity(x):
    assert Pipeline()(x) is x


def test_hooks_run_once_a_call(x):
    rounded, calls = Rounded(), []
    rounded.register_forward_hook(lambda *_: calls.append(1))
    adaptive(rounded)(x)
    assert calls == [1]


@pytest.mark.filterwarnings("ignore")  # dynamo's own warnings differ by version
def test_compiled_models_follow_the_rule(x):
    model = nn.Sequential(Rounded(), Scaled())
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(compiled(x), model(x))
    torch.testing.assert_close(gradient(adaptive(compiled), x), gradient(adaptive(model), x))
    with pytest.raises(RuntimeError, match="no gradient"):
        gradient(compiled, x)


def test_what_does_not_fit_is_refused(x):
    with pytest.raises(TypeError, match="got function"):
        adaptive(lambda x: x)
    with pytest.raises(ValueError, match="DataParallel"):
        adaptive(nn.DataParallel(net()))
    with pytest.raises(ValueError, match="no transformations"):
        defend(net())
    with pytest.raises(TypeError, match="got Conv2d"):
        defend(net(), nn.Conv2d(3, 3, 1))
    with pytest.raises(TypeError, match="got Flatten"):
        Pipeline(nn.Flatten())


def test_a_transformation_says_what_it_is():
    with pytest.raises(TypeError, match="implement surrogate"):
        type("Bare", (Transform,), {"differentiable": False, "forward": lambda _, x: x})
    with pytest.raises(TypeError, match="differentiable"):
        type("Silent", (Transform,), {"forward": lambda _, x: x})
    with pytest.raises(TypeError, match="abstract"):
        Transform()
