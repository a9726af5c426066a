"""Fitting untrained nets to images, each image with a net of its own."""

import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from blurnet.transforms._blocks import reflected, side_by_side
from blurnet.transforms.deep_image_prior.nets import PriorNets
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.stopping import Rule, Watcher

#: Values in single precision that a GPU may keep for the backward pass: 4 GiB.
_MEMORY = 2**30

#: How often, in iterations, a run looks whether all is done, and moves its bar.
_LOOK = 25


class Fit:
    """A run: N nets, their noise and Adam, on N images.

    The images are continued by reflection to a size that the net can draw; what it draws is cut back. Each image's mean
    squared error is its own: the sum over images is what goes down, so that no image's step depends on the others.

    Args:
        images: (N, C, H, W) in [0, 1], float32 or float64.
        settings: net, rate and draws.
        seed: of weights, noise and its perturbation, which are the same for all images.
        known: (N, 1, H, W) of zeros and ones: pixels that count; None: all.
    """

    def __init__(
        self, images: Tensor, settings: DeepImagePriorSettings, seed: int, known: Tensor | None = None
    ) -> None:
        size = images.shape[-2:]
        shape = settings.shape.fitted(*size)
        self.canvas, self.size, self.settings = shape.canvas(*size), size, settings
        # On a CPU channels last is by far the faster layout for few channels; grouped convolutions want the other.
        layout = torch.channels_last if len(images) == 1 and images.is_cpu else torch.contiguous_format
        self.target = self.continued(images).contiguous(memory_format=layout)
        self.known = None if known is None else self.continued(known.to(images))
        generator = torch.Generator().manual_seed(seed)
        self.nets = PriorNets(shape, images.shape[1], len(images), generator, images).to(memory_format=layout)
        noise = torch.rand(1, shape.inputs, *self.canvas, generator=generator).mul_(0.1)
        self.noise = noise.to(images).contiguous(memory_format=layout)
        # What is drawn at every iteration is drawn on the device.
        self.generator = torch.Generator(images.device)
        self.generator.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        self.adam = torch.optim.Adam(self.nets.parameters(), settings.lr, fused=True)
        self.average: Tensor | None = None  #: of the outputs so far

    def step(self) -> tuple[Tensor, Tensor]:
        """One iteration: the output that it began with and the average with it, both (N, C, H, W)."""
        drawn: Tensor = self.nets(self.perturbed())
        gradients = torch.autograd.grad(self.loss(drawn, self.target), list(self.nets.parameters()))
        for parameter, gradient in zip(self.nets.parameters(), gradients, strict=True):
            parameter.grad = gradient
        self.adam.step()
        output = self.cut(drawn.detach())
        self.average = self.moved(self.average, output)
        return output, self.average

    def perturbed(self) -> Tensor:
        """The nets' input of an iteration: the noise (1, inputs, *canvas) and a fresh little more."""
        if not self.settings.input_noise:
            return self.noise
        fresh = torch.empty_like(self.noise).normal_(0, self.settings.input_noise, generator=self.generator)
        return fresh.add_(self.noise)

    def loss(self, drawn: Tensor, target: Tensor) -> Tensor:
        """The mean squared error of each image over its known pixels, summed over the images."""
        error = (drawn - target).square()
        if self.known is None:
            return error.mean((1, 2, 3)).sum()
        share = self.known.mean((1, 2, 3)).clamp(min=1e-12)
        return ((error * self.known).mean((1, 2, 3)) / share).sum()

    def moved(self, average: Tensor | None, output: Tensor) -> Tensor:
        """The moving average of the outputs with one more."""
        return output if average is None else average.lerp(output, 1 - self.settings.average)

    def continued(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) continued to the canvas below and on the right, mirrored as often as needed."""
        for dim, side in zip((-2, -1), self.canvas, strict=True):
            x = reflected(x, dim, 0, side)
        return x

    def cut(self, drawn: Tensor) -> Tensor:
        """The image's part of a canvas."""
        return drawn[..., : self.size[0], : self.size[1]]


def fit_prior(
    images: Tensor,
    settings: DeepImagePriorSettings,
    rules: Sequence[Rule],
    *,
    seed: int | None = None,
    known: Tensor | None = None,
    progress: str = "",
) -> list[list[Watcher]]:
    """Fit a net to each image and let rules watch; a run ends when all have stopped.

    On a CPU every image is fitted by a thread of its own with one of torch's, since rounding, which more of them
    change, grows from step to step: what comes out is the same, to the bit, whatever else is in the batch. Elsewhere
    the nets of ``chunk`` images run as one.

    Args:
        images: (N, C, H, W) in [0, 1], float32 or float64, checked.
        settings: net, iterations, rate and draws.
        rules: what watches every run.
        seed: in place of the settings'.
        known: (N, 1, H, W) of zeros and ones: pixels that count; None: all.
        progress: name of a bar over images and iterations; "" shows none.

    Returns:
        For each chunk of images, in their order, the watchers of the rules.
    """
    count = settings.chunk or _together(images, settings)
    starts = range(0, len(images), count)
    seed = settings.seed if seed is None else seed
    lock = threading.Lock()
    with tqdm(total=len(images) * settings.iterations, desc=progress, unit="it", disable=not progress) as bar:

        def tell(iterations: int) -> None:
            with lock:
                bar.update(iterations)

        def run(i: int) -> list[Watcher]:
            part = slice(starts[i], starts[i] + count)
            return _run(images[part], settings, rules, seed, None if known is None else known[part], tell)

        if images.is_cpu:
            return side_by_side(run, len(starts), each=1)
        return [run(i) for i in range(len(starts))]


def _run(
    images: Tensor,
    settings: DeepImagePriorSettings,
    rules: Sequence[Rule],
    seed: int,
    known: Tensor | None,
    tell: Callable[[int], None],
) -> list[Watcher]:
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(images.device.type, enabled=False):
        fit = Fit(images.detach().clone(), settings, seed, known)
        watchers = [rule.watch(fit.cut(fit.target), settings.iterations) for rule in rules]
        for iteration in range(1, settings.iterations + 1):
            output, average = fit.step()
            for watcher in watchers:
                watcher.see(iteration, output, average)
            if iteration % _LOOK == 0:
                tell(len(images) * _LOOK)
                if all(bool(watcher.done.all()) for watcher in watchers):
                    break
    tell(len(images) * (settings.iterations - iteration // _LOOK * _LOOK))
    return watchers


def _together(images: Tensor, settings: DeepImagePriorSettings) -> int:
    if images.is_cpu:
        return 1
    shape = settings.shape.fitted(*images.shape[-2:])
    return max(1, _MEMORY // shape.memory(*shape.canvas(*images.shape[-2:]), images.shape[1]))
