"""Text of maps: what a deep image prior has not drawn yet when terrain and roads are there."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from blurnet.bounds import Count, Fraction, Steps, at_least
from blurnet.checks import check_form, one_of
from blurnet.settings import Settings, takes
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings
from blurnet.transforms.deep_image_prior.tiles import tiled_prior

#: Which side of what is drawn counts as text.
Ink = Literal["dark", "light", "any"]

Flags = npt.NDArray[np.bool_]
Gray = npt.NDArray[np.float32]
Thresholds = npt.NDArray[np.float64]

#: The prior's settings for text. It is best seen early, when an average of 0.99 still holds the first outputs' noise;
#: and while the net is slow, which the authors' noise on its input makes a small one.
EARLY = DeepImagePriorSettings(average=0.9, input_noise=1 / 30)

_BINS = 256  # of Otsu's histogram


@dataclass(frozen=True)
class TextMaskSettings(Settings, owner="text_mask"):
    """Of :func:`text_mask`. Sizes are in pixels, of the upright box around a component.

    Args:
        threshold: "quantile" leaves the share ``level`` of each image's pixels below it, "otsu" parts their histogram
            in two, "absolute" is ``level`` itself.
        level: of "quantile" and "absolute"; "otsu" does not read it.
        closing: radius of the disc that joins strokes to letters and letters to words; 0 joins none.
        least: longer side of the smallest component kept: shorter are specks and symbols.
        largest: longer side of the largest component kept: longer are roads and borders.
        aspect: longest side over shortest at most, so that no straight line is kept.
        fill: share of its box that a component takes at least, so that no bent line is kept.
    """

    threshold: Literal["quantile", "otsu", "absolute"] = "quantile"
    level: Fraction = 0.95
    closing: Steps = 2
    least: Count = 8
    largest: Count = 160
    aspect: Annotated[float, at_least(1)] = 12.0
    fill: Fraction = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.largest:
            raise ValueError(f"text_mask: least {self.least} is above largest {self.largest}, so nothing could stay")


@takes(TextMaskSettings)
def text_mask(residual: Tensor, settings: TextMaskSettings) -> Tensor:
    """Where a residual holds text: its mean over the channels above a threshold, in components of a word's shape.

    Pixels above the threshold are closed to components; components that are too small, too large, too long or too
    sparse are dropped; what is returned are the pixels above the threshold in the components that stay.

    Args:
        residual: (N, C, H, W), finite, 0 and above, as :func:`residual` gives it.
        settings: the fields of :class:`TextMaskSettings`, as arguments of their own.

    Returns:
        (N, 1, H, W) bool, on the residual's device; computed on the CPU. Empty where nothing is of a word's shape.

    Raises:
        TypeError, ValueError: a bad residual or bad settings.

    Source: the steps are ours; Kulkarni & Ambati's poster ("Deep Protection") says "with some processing".
    """
    check_form(residual, channels=None, name="text_mask residual")
    low, high = torch.stack(torch.aminmax(residual.detach())).tolist()
    if not (low >= 0 and high < float("inf")):
        raise ValueError(f"text_mask residual: expected finite values from 0, got [{low:g}, {high:g}]")
    gray = residual.detach().mean(1).to("cpu", torch.float32).numpy()
    marked = gray > _thresholds(gray, settings)[:, None, None]
    kept = marked & _of_words_shape(_closed(marked, settings.closing), settings)
    return torch.from_numpy(kept)[:, None].to(residual.device)


def _thresholds(gray: Gray, settings: TextMaskSettings) -> Thresholds:
    """One threshold for each image of (N, H, W)."""
    if settings.threshold == "absolute":
        return np.full(len(gray), settings.level)
    if settings.threshold == "quantile":
        found: Thresholds = np.quantile(gray.reshape(len(gray), -1), settings.level, axis=1)
        return found
    return _otsu(gray)


def _otsu(gray: Gray) -> Thresholds:
    """Otsu's thresholds (N,): the variance between the pixels up to it and those above is largest (Otsu 1979)."""
    flat = gray.reshape(len(gray), -1).astype(np.float64)
    low, high = flat.min(1, keepdims=True), flat.max(1, keepdims=True)
    bins = np.minimum((flat - low) / np.maximum(high - low, 1e-12) * _BINS, _BINS - 1).astype(int)
    bins += _BINS * np.arange(len(flat))[:, None]
    share = np.bincount(bins.ravel(), minlength=_BINS * len(flat)).reshape(-1, _BINS) / flat.shape[1]
    below, mean = share.cumsum(1), (share * np.arange(_BINS)).cumsum(1)
    between = (mean[:, -1:] * below - mean) ** 2 / np.maximum(below * (1 - below), 1e-12)
    best = between.argmax(1)
    found: Thresholds = low[:, 0] + (best + 1) / _BINS * (high - low)[:, 0]
    return found


def _closed(marked: Flags, radius: int) -> Flags:
    """Closing of each of (N, H, W) by a disc; the border counts as marked while shrinking, so that it takes nothing."""
    if radius == 0:
        return marked
    from scipy import ndimage  # takes longer to import than the rest of the package

    away = np.arange(-radius, radius + 1)
    disc = (away[:, None] ** 2 + away**2 <= radius**2)[None]
    grown = ndimage.binary_dilation(marked, disc)
    closed: Flags = ndimage.binary_erosion(grown, disc, border_value=1)
    return closed


def _of_words_shape(closed: Flags, settings: TextMaskSettings) -> Flags:
    """The 8-connected components of each of (N, H, W) whose size, aspect and fill may be a word's."""
    from scipy import ndimage

    neighbours = np.zeros((3, 3, 3), np.bool_)
    neighbours[1] = True  # all images in one pass, none connected to the next
    labels, count = ndimage.label(closed, neighbours)
    boxes = ndimage.find_objects(labels)
    sides = np.array([[rows.stop - rows.start, columns.stop - columns.start] for _, rows, columns in boxes])
    sides = sides.reshape(count, 2)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    long, short = sides.max(1, initial=1), sides.min(1, initial=np.iinfo(int).max)
    kept = (long >= settings.least) & (long <= settings.largest)
    kept &= (long <= settings.aspect * short) & (areas >= settings.fill * long * short)
    found: Flags = np.concatenate(([False], kept))[labels]
    return found


def undrawn(x: Tensor, drawn: Tensor, ink: Ink = "dark") -> Tensor:
    """What of images a prior has not drawn, by its sign.

    Args:
        x: images.
        drawn: what stands in their place, of a shape that broadcasts.
        ink: "any" is the residual as the poster has it, ``|x - drawn|``; "dark" only where the image is darker than
            what is drawn, as print is, which leaves out the gaps between letters that a blurred word covers; "light"
            only where it is lighter.

    Returns:
        From 0, of the common shape.

    Raises:
        ValueError: another ink.
    """
    one_of(ink, Ink, "ink")
    if ink == "any":
        return (x - drawn).abs_()
    return (drawn - x if ink == "dark" else x - drawn).clamp_(min=0)


def residual(
    x: Tensor, iteration: int, ink: Ink = "dark", prior: DeepImagePriorSettings = EARLY, **tiles: Any
) -> Tensor:
    """What a prior has not drawn after a number of iterations: :func:`undrawn` of :func:`tiled_prior`.

    Args:
        x: images (N, C, H, W) in [0, 1].
        iteration: from 1.
        ink: "dark", "light" or "any".
        prior: its settings, but for ``iterations`` and ``stop``.
        tiles: ``tile``, ``overlap`` and ``progress`` of :func:`tiled_prior`.

    Returns:
        (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: see :func:`~blurnet.transforms.deep_image_prior.tiles.tiled_prior`.
    """
    one_of(ink, Ink, "ink")
    return undrawn(x, tiled_prior(x, (iteration,), prior, **tiles)[0], ink)


def extract_text(
    x: Tensor, iteration: int = 50, ink: Ink = "dark", mask: TextMaskSettings | None = None, **options: Any
) -> Tensor:
    """Where maps have text: :func:`text_mask` of the :func:`residual` after a number of iterations.

    Text is harder to draw than terrain and roads, so that a prior that is stopped early leaves it out. The right
    number of iterations depends on the prior and on the map.

    Args:
        x: images of maps (N, C, H, W) in [0, 1].
        iteration: of the prior, from 1.
        ink: "dark" for print darker than the map, "light" or "any".
        mask: how the residual becomes a mask; None takes the defaults.
        options: further arguments of :func:`residual`: ``prior``, ``tile``, ``overlap``, ``progress``.

    Returns:
        (N, 1, H, W) bool.

    Raises:
        TypeError, ValueError: bad images, iteration, tiles or settings.

    Source: Kulkarni & Ambati, "Deep Protection" (poster), "Text extraction from maps".
    """
    return text_mask(residual(x, iteration, ink, **options), mask or TextMaskSettings())
