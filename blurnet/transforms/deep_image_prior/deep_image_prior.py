"""Deep Protection: an image as an untrained net draws it, before it has drawn the noise too."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

from blurnet.checks import check_mask
from blurnet.settings import takes
from blurnet.transforms._blocks import prepare
from blurnet.transforms.base import Transform
from blurnet.transforms.deep_image_prior.fit import fit_prior
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.stopping import Snapshots, SnapshotWatcher
from blurnet.transforms.deep_image_prior.unroll import unrolled


@takes(DeepImagePriorSettings)
def deep_image_prior(x: Tensor, settings: DeepImagePriorSettings) -> Tensor:
    """Draw each image with a net of its own, by Adam on the mean squared error, and stop early.

    Structure is drawn before noise. On a CPU one of torch's threads fits an image, as many images side by side as there
    are threads; elsewhere ``chunk`` nets run as one. An image's result does not depend on the rest of the batch: on a
    CPU to the bit, on a GPU up to rounding, which grows with the iterations. Memory does not grow with the batch.

    Args:
        x: images (N, C, H, W) in [0, 1]; any size: they are continued by reflection to what the net needs, which has
            fewer scales where an image is small, and cut back.
        settings: the fields of :class:`DeepImagePriorSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1], without a gradient.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Kulkarni & Ambati, "Deep Protection" (poster: Adam, swish, 1750 iterations); Ulyanov et al. 2018 (the nets,
    the perturbed input, the average of outputs). The poster names no net and no rate.
    """
    return _drawn(x, settings, settings.seed)


def prior_outputs(
    x: Tensor, at: Sequence[int], settings: DeepImagePriorSettings | None = None, *, progress: bool = False
) -> Tensor:
    """What :func:`deep_image_prior` draws at several iterations of one run.

    Args:
        x: images (N, C, H, W) in [0, 1].
        at: iterations from 1, rising; the run ends with the last.
        settings: of the run but for ``iterations`` and ``stop``; None: the defaults.
        progress: whether to show a bar.

    Returns:
        Images (len(at), N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images, settings or iterations.
    """
    settings = DeepImagePriorSettings() if settings is None else settings
    if not at or list(at) != sorted(set(at)):
        raise ValueError(f"prior_outputs: at: expected rising iterations from 1, got {list(at)}")
    images = prepare(x)
    run = replace(settings, iterations=at[-1], stop="fixed", unroll=0)
    found = fit_prior(images, run, [Snapshots(tuple(at))], progress="deep image prior" if progress else "")
    chunks = [torch.stack(cast(SnapshotWatcher, watcher).taken) for (watcher,) in found]
    return torch.cat(chunks, 1).clamp(0, 1).to(x.dtype)


def prior_inpaint(x: Tensor, mask: Tensor, settings: DeepImagePriorSettings | None = None) -> Tensor:
    """Fill a region with what a net draws there that has seen the rest only.

    Args:
        x: images (N, C, H, W) in [0, 1].
        mask: the pixels to fill, zeros and ones that broadcast over images.
        settings: of the run; None: the defaults.

    Returns:
        Images (N, C, H, W) in [0, 1], outside the mask bit for bit those that came.

    Raises:
        TypeError, ValueError: bad images, mask or settings.

    Source: Ulyanov et al. 2018, section 3.2: the mask multiplies both sides of the error.
    """
    settings = DeepImagePriorSettings() if settings is None else settings
    images = prepare(x)
    check_mask(mask, images, "prior_inpaint: mask")
    holes = mask.to(images.device).bool().expand(len(x), 1, *x.shape[-2:])
    drawn = _drawn(x, settings, settings.seed, known=~holes)
    return torch.where(holes, drawn, x.detach())


class DeepImagePrior(Transform):
    """:func:`deep_image_prior` as a module, with its settings: the defense of Deep Protection.

    It has no gradient of its own. Its surrogate is the identity, for what it draws is near the image; with ``unroll``
    the gradient through the last iterations, for an attacker who can pay: a call then costs two runs, and memory that
    grows with ``unroll``. Every call draws other weights and noise, the same for all its images, so an attack averages
    over draws (EoT); ``reset`` begins anew.

    Args:
        settings: the fields of :class:`DeepImagePriorSettings`, as arguments of their own.

    Raises:
        TypeError, ValueError: bad settings.
    """

    differentiable = False
    random = True

    @takes(DeepImagePriorSettings)
    def __init__(self, settings: DeepImagePriorSettings) -> None:
        super().__init__(settings.seed)
        self.settings = settings

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        return _drawn(x, self.settings, self._draw())

    def surrogate(self, x: Tensor) -> Tensor:
        """The images themselves, or with ``unroll`` what the last iterations make of them."""
        return unrolled(prepare(x), self.settings, self._draw()).to(x.dtype) if self.unroll else x

    def _draw(self) -> int:
        return self.generator().initial_seed()


def _drawn(x: Tensor, settings: DeepImagePriorSettings, seed: int, known: Tensor | None = None) -> Tensor:
    found = fit_prior(prepare(x), settings, [settings.rule], seed=seed, known=known)
    return torch.cat([watcher.best for (watcher,) in found]).clamp(0, 1).to(x.dtype)
