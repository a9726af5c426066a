"""One suite for every transformation: enrol one by a line in TRANSFORMS."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.attacks.patch.lavan import LaVAN
from blurnet.transforms.base import Pipeline, Transform, adaptive, defend, identity_bpda, transforms_of
from blurnet.transforms.bilateral import Bilateral, bilateral
from blurnet.transforms.bit_depth import BitDepth, bit_depth
from blurnet.transforms.class_inpainting.class_inpainting import ClassInpainting
from blurnet.transforms.deep_image_prior.deep_image_prior import DeepImagePrior
from blurnet.transforms.gaussian import Gaussian, gaussian_filter
from blurnet.transforms.jpeg.jpeg import JPEG, jpeg
from blurnet.transforms.lgs.lgs import LGS, lgs
from blurnet.transforms.median import Median, median
from blurnet.transforms.non_local_means import NonLocalMeans, non_local_means
from blurnet.transforms.random_resize_pad import RandomResizePad
from blurnet.transforms.total_variation import TotalVariationMin, total_variation_min
from blurnet.transforms.watermark.watermark import DigitalWatermark
from blurnet.transforms.wavelet import Wavelet, wavelet_denoise

H, W = 24, 32


@dataclass
class Case:
    """A transformation and the function that its forward must equal; what does not apply to it is said here."""

    make: Callable[[], Transform]
    function: Callable[[Tensor], Tensor] | None  #: None: random, the function needs a generator
    gradcheck: bool = True  #: False: its surrogate's gradient is meant to differ from the numerical one
    same_size: bool = True  #: False: the result has another height or width
    compiled: bool = True  #: False: calls a library on the CPU, which no compiler enters
    attacked: bool = True  #: False: what it does to few pixels shows after many iterations; its own test attacks it
    atol: float = 0.0  #: alone against in a batch; 0 asks for the same bits


class AnySize(nn.Module):
    """A net without weights for images of any size, channels and dtype."""

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(x.square(), 2).mean(dim=1).flatten(1)


def quick_prior(**settings) -> DeepImagePrior:
    """A prior that comes near small images in few iterations."""
    return DeepImagePrior(5, net="tiny", widths=(8,), skips=(8,), lr=0.1, average=0.0, **settings)


class WithMaps(nn.Module):
    """A net with feature maps of half the size, for images of any size, channels and dtype; it has no parameters."""

    def __init__(self) -> None:
        super().__init__()
        weights = torch.randn(6 + 6 * 6, 9, generator=torch.Generator().manual_seed(0)).split((6, 36))
        self.first, self.second = weights[0].view(6, 1, 3, 3), weights[1].view(6, 6, 3, 3) / 3

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x.mean(1, keepdim=True), self.first.to(x), stride=2, padding=1).relu()
        return F.conv2d(x, self.second.to(x), padding=1).relu().mean((-2, -1))


TRANSFORMS = {
    # Straight through the gate: at a fixed set of windows the true slope of the gate is 0.
    "lgs": Case(LGS, lgs, gradcheck=False),
    "lgs-exact": Case(lambda: LGS(temperature=0), lambda x: lgs(x, temperature=0)),
    "median": Case(Median, median),
    "median-5": Case(lambda: Median(5), lambda x: median(x, 5)),
    "gaussian": Case(Gaussian, gaussian_filter),
    "bilateral": Case(Bilateral, bilateral, atol=1e-6),
    "bilateral-opencv": Case(
        lambda: Bilateral(5, 0.3, rule="opencv"), lambda x: bilateral(x, 5, 0.3, rule="opencv"), atol=1e-6
    ),
    # No gradcheck: slow at this size; their own tests have it on smaller images.
    "non-local-means": Case(lambda: NonLocalMeans(3), lambda x: non_local_means(x, 3), gradcheck=False, atol=1e-6),
    "non-local-means-skimage": Case(
        lambda: NonLocalMeans(3, 3, 0.2, "scikit-image"),
        lambda x: non_local_means(x, 3, 3, 0.2, "scikit-image"),
        gradcheck=False,
        atol=1e-6,
    ),
    "jpeg": Case(JPEG, jpeg, gradcheck=False, compiled=False),  # straight through the rounding
    "jpeg-cubic": Case(lambda: JPEG(30, rounding="cubic"), lambda x: jpeg(x, 30), compiled=False),
    "bit-depth": Case(BitDepth, bit_depth, gradcheck=False),  # straight through the rounding
    "total-variation": Case(TotalVariationMin, total_variation_min, gradcheck=False),
    "total-variation-drop": Case(lambda: TotalVariationMin(33.0, drop=0.5, iterations=3), None, gradcheck=False),
    "wavelet": Case(Wavelet, wavelet_denoise),
    "wavelet-visu-hard": Case(
        lambda: Wavelet("VisuShrink", "hard", sigma=0.05),
        lambda x: wavelet_denoise(x, "VisuShrink", "hard", sigma=0.05),
    ),
    "watermark-blind": Case(lambda: DigitalWatermark(AnySize(), share=0.1), None, compiled=False),
    # No gradcheck: the identity's gradient; that of the unrolled steps has a test of its own.
    "deep-image-prior": Case(lambda: quick_prior(), None, gradcheck=False, attacked=False),
    "deep-image-prior-unrolled": Case(lambda: quick_prior(unroll=3), None, gradcheck=False, attacked=False),
    "deep-image-prior-stopped": Case(lambda: quick_prior(stop="es-wmv"), None, gradcheck=False, attacked=False),
    "class-inpainting": Case(lambda: ClassInpainting(WithMaps()), None, compiled=False, atol=1e-6),
    "random-resize-pad": Case(RandomResizePad, None, same_size=False),
    "random-shrink-pad": Case(lambda: RandomResizePad(1.5, grow=False), None),
    "pipeline": Case(lambda: Pipeline(LGS(1.5), LGS(2.3)), lambda x: lgs(lgs(x, 1.5), 2.3), gradcheck=False),
}

each = pytest.mark.parametrize("case", TRANSFORMS.values(), ids=TRANSFORMS)
without_gradient = pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])


def pictures(n: int = 3, dtype: torch.dtype = torch.float32, size: tuple[int, int] = (H, W), seed: int = 0) -> Tensor:
    """Smooth images in (0, 1) with a noisy square, as a patch makes it."""
    g = torch.Generator().manual_seed(seed)
    x = F.interpolate(torch.rand(n, 3, 3, 4, generator=g), size, mode="bilinear") * 0.9 + 0.05
    side = min(size) // 3
    x[..., :side, -side:] = 0.05 + 0.9 * torch.rand(n, 3, side, side, generator=g)
    return x.to(dtype)


def model() -> nn.Module:
    """A net for images of any size that answers differently to different images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.Tanh(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 5)
        )
    return net.eval()


def fresh(case: Case) -> Transform:
    return case.make().eval()


@each
def test_says_what_it_is(case):
    transform = case.make()
    assert isinstance(transform, Transform)
    assert isinstance(transform.differentiable, bool)
    assert isinstance(transform.random, bool)
    assert transforms_of(transform)
    assert repr(transform).startswith(type(transform).__name__ + "(")
    assert repr(transform) != f"{type(transform).__name__}()"
    assert type(transform).__doc__ != Transform.__doc__


@each
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [(H, W), (33, 17)], ids=str)
def test_shape_dtype_and_range(case, dtype, size):
    x = pictures(2, dtype, size)
    before = x.clone()
    for transform in (case.make().to(dtype).train(), case.make().to(dtype).eval()):
        out = transform(x)
        assert out.shape[:2] == x.shape[:2]
        assert out.ndim == 4
        assert not case.same_size or out.shape == x.shape
        assert out.dtype == dtype
        assert out.isfinite().all()
        assert out.min() >= 0
        assert out.max() <= 1
    assert torch.equal(x, before)


@each
def test_module_equals_function(case):
    if case.function is None:
        pytest.skip("random")
    assert torch.equal(fresh(case)(pictures()), case.function(pictures()))


@each
@without_gradient
@pytest.mark.parametrize("size", [(H, W), (33, 17)], ids=str)
def test_the_numbers_do_not_depend_on_the_mode(case, mode, size):
    x = pictures(size=size)
    wanted = fresh(case)(x)
    assert torch.equal(fresh(case)(x.clone().requires_grad_()), wanted)
    with mode():
        assert torch.equal(fresh(case)(x.clone()), wanted)


@each
def test_the_numbers_do_not_depend_on_the_memory_format(case):
    x = pictures()
    wanted = fresh(case)(x)
    torch.testing.assert_close(fresh(case)(x.to(memory_format=torch.channels_last)), wanted, rtol=0, atol=1e-6)
    every_other = torch.stack([x, x], dim=-1).flatten(-2)[..., ::2]
    torch.testing.assert_close(fresh(case)(every_other), wanted, rtol=0, atol=1e-6)


@each
def test_the_surrogates_gradient_is_the_numerical_one(case):
    if not case.gradcheck:
        pytest.skip("differs from the numerical one on purpose")
    transform = fresh(case).double()
    x = pictures(1, torch.float64, (12, 10), seed=2)
    x = (x * 0.9 + 0.05 * torch.rand(x.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()  # no ties
    assert torch.autograd.gradcheck(transform.surrogate, (x,), atol=1e-4)


@each
def test_the_surrogate_has_the_shape_of_the_result(case):
    transform = fresh(case)
    assert transform(pictures()).shape == transform.surrogate(pictures()).shape


@each
def test_deepcopy(case):
    transform = fresh(case)
    transform(pictures().requires_grad_())
    assert torch.equal(copy.deepcopy(transform)(pictures()), transform(pictures()))


@each
def test_state_dict_round_trip(case):
    transform, other = fresh(case), fresh(case)
    with torch.no_grad():
        for p in transform.parameters():
            p *= 0.5
    file = io.BytesIO()
    torch.save(transform.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    assert torch.equal(transform(pictures()), other(pictures()))
    assert len(transform.state_dict()) == len(list(transform.parameters()))  # constants are no weights


@each
def test_random_only_where_it_says_so(case):
    state = torch.get_rng_state()
    transform = fresh(case)
    first, second = transform(pictures()), transform(pictures())
    assert torch.equal(first, second) != transform.random
    transform.reset()
    assert torch.equal(transform(pictures()), first)
    assert torch.equal(torch.get_rng_state(), state)


@each
def test_alone_equals_in_a_batch(case):
    x = pictures(4)
    together, alone = fresh(case)(x), torch.cat([fresh(case)(one[None]) for one in x])
    torch.testing.assert_close(together, alone, rtol=0, atol=case.atol)
    torch.testing.assert_close(fresh(case)(x.flip(0)).flip(0), together, rtol=0, atol=case.atol)


@each
@without_gradient
def test_autocast(case, mode):
    wanted = fresh(case)(pictures())
    with torch.autocast("cpu", torch.bfloat16):
        out = adaptive(fresh(case))(pictures().requires_grad_())
        assert torch.autograd.grad(out.sum(), next(iter(_leaves(out))))[0].isfinite().all()
        with mode():
            torch.testing.assert_close(fresh(case)(pictures()), wanted, rtol=0, atol=0.01)


def _leaves(out: Tensor) -> list[Tensor]:
    """The tensors that the graph of ``out`` starts from."""
    found, todo, seen = [], [out.grad_fn], set()
    while todo:
        node = todo.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found += [node.variable] if hasattr(node, "variable") else []
            todo += [following for following, _ in node.next_functions]
    return found


@each
def test_adaptive_keeps_the_numbers_and_has_a_gradient(case):
    x = pictures().requires_grad_()
    for make in (lambda: case.make(), lambda: Pipeline(LGS(), case.make()), lambda: Pipeline(case.make(), LGS())):
        defended = defend(model(), make()).eval()
        with torch.no_grad():
            wanted = defended(x)
        _reset(defended)
        logits = adaptive(defended)(x)
        assert torch.equal(logits, wanted)
        (gradient,) = torch.autograd.grad(logits.square().sum(), x)
        assert gradient.isfinite().all()
        assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()


@each
def test_identity_bpda(case):
    x, view = pictures().requires_grad_(), identity_bpda(fresh(case))
    (gradient,) = torch.autograd.grad(view(x).sum(), x)
    assert gradient.isfinite().all()
    assert not case.same_size or torch.equal(gradient, torch.ones_like(x))


@each
def test_a_masked_attack_runs_through_it(case):
    """Alone and chained: the noise stays under the mask, and it raises the loss more than its random start does."""
    if not case.attacked:
        pytest.skip("its own test attacks it")
    x, mask = pictures(), torch.zeros(H, W)
    mask[8:20, 8:20] = 1
    for chain in ((case.make(),), (LGS(), case.make()), (case.make(), LGS())):
        defended = defend(model(), *chain).eval()
        labels = defended(x).argmax(dim=1)
        _reset(defended)

        def loss(images: Tensor, net: nn.Module = defended, y: Tensor = labels) -> Tensor:
            _reset(net)
            with torch.no_grad():
                return F.cross_entropy(net(images), y, reduction="none")

        adversarial, start = (
            LaVAN(None, mask, steps=steps, lr=0.1, confidence=1.0)(adaptive(defended), x, labels) for steps in (10, 0)
        )
        assert torch.equal(adversarial * (1 - mask), x * (1 - mask))
        assert loss(adversarial).mean() > loss(start).mean()


def _reset(net: nn.Module) -> None:
    for transform in transforms_of(net):
        transform.reset()


BAD_IMAGES = {
    "range": lambda x: x * 255,
    "negative": lambda x: x - 0.5,
    "NaN": lambda x: x * torch.nan,
    "one image": lambda x: x[0],
    "bytes": lambda x: (x * 255).byte(),
    "empty": lambda x: x[:0],
}


@each
@pytest.mark.parametrize("spoil", BAD_IMAGES.values(), ids=BAD_IMAGES)
@pytest.mark.parametrize("recorded", [False, True], ids=["forward", "adaptive"])
def test_bad_images_raise(case, spoil, recorded):
    x = spoil(pictures())
    view = adaptive(fresh(case)) if recorded else fresh(case)
    with pytest.raises((TypeError, ValueError), match="images"):
        view(x.requires_grad_() if recorded and x.is_floating_point() else x)


@each
@pytest.mark.parametrize("shape", [(1, 1, H, W), (1, 3, 1, 1), (1, 3, 1, W), (1, 3, H, 1), (1, 3, 2, 3)], ids=str)
def test_unusual_images_work_or_raise_clearly(case, shape):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    try:
        out = fresh(case)(x)
    except ValueError as error:
        assert len(str(error)) > 20  # noqa: PT017  either is right: which one, the transformation's own test says
        return
    assert out.shape == x.shape or not case.same_size
    assert out.isfinite().all()
    assert out.min() >= 0
    assert out.max() <= 1


@each
@pytest.mark.filterwarnings("ignore")  # dynamo's own warnings differ by version
def test_compiled_equals_eager(case):
    _check_compiled(case, "eager")


@pytest.mark.slow
@each
@pytest.mark.filterwarnings("ignore")
def test_compiled_by_inductor_equals_eager(case):
    _check_compiled(case, "inductor")


@pytest.mark.parametrize("name", [name for name, case in TRANSFORMS.items() if case.make().random])
@pytest.mark.filterwarnings("ignore")
def test_compiled_once_for_many_draws(name):
    case = TRANSFORMS[name]
    torch.compiler.reset()
    compiled, eager = torch.compile(fresh(case), backend="eager"), fresh(case)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(4):
            torch.testing.assert_close(compiled(pictures()), eager(pictures()), rtol=0, atol=1e-5)


def _check_compiled(case: Case, backend: str) -> None:
    if not case.compiled:
        pytest.skip("calls a library that no compiler enters")
    torch.compiler.reset()
    compiled = torch.compile(fresh(case), backend=backend)
    torch.testing.assert_close(compiled(pictures()), fresh(case)(pictures()), rtol=0, atol=1e-5)
