"""What defenses that answer masked views have in common: their masks, and how views are shown to the model."""

from dataclasses import dataclass, field
from typing import Annotated

from torch import Tensor

from blurnet.bounds import Count, Fraction, NotNegative, at_least
from blurnet.certified.base import CertifiedModel, Model
from blurnet.certified.mask_set import MaskSet
from blurnet.certified.views import Views
from blurnet.checks import check_form
from blurnet.masks import Area, patch_side
from blurnet.settings import Settings

Masks = Annotated[int, at_least(2)]


@dataclass(frozen=True)
class MaskedSettings(Settings):
    """Of a :class:`MaskedModel`; one of ``area``, ``patch`` and ``mask_set`` is given.

    Args:
        area: the square patch's share of the image, as attacks count it (``blurnet.masks.patch_side``).
        patch: the patch's side, or (height, width), in pixels; every smaller one is covered as well.
        masks: k, masks along each axis: k x k views in the first round, of masks the smaller the larger k.
        fill: value of hidden pixels, in [0, 1].
        mask_set: masks for another threat, ready made.
        batch: views shown to the model at once, and images kept in mind at once; memory grows with it. More is faster
            on a GPU.
        margin: for a certificate, what a view's answer must lead by, as a share of the view's largest logit: no
            rounding, in a batch of another size, then turns it. 0 is the published rule.
    """

    area: Area | None = None
    patch: int | tuple[int, int] | None = None
    masks: Masks = 4
    fill: Fraction = 0.5
    mask_set: MaskSet | None = None
    batch: Count = field(default=64, repr=False)
    margin: NotNegative = field(default=1e-5, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in ("area", "patch", "mask_set") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{self._owner}: give area, patch or mask_set, one of them; got {given or 'none'}")

    def set_for(self, size: tuple[int, int]) -> MaskSet:
        """The masks for images of (H, W) pixels.

        Raises:
            ValueError: a patch that does not fit them, or a set for another size.
        """
        if self.mask_set is None:
            patch = patch_side(size, self.area) if self.area is not None else self.patch
            return MaskSet.of(size, 0 if patch is None else patch, self.masks)
        if self.mask_set.size != size:
            raise ValueError(f"mask_set: made for images of {self.mask_set.size}, got {size} pixels")
        return self.mask_set


class MaskedModel(CertifiedModel):
    """A model whose views are images under the masks of a :class:`~blurnet.certified.mask_set.MaskSet`."""

    settings: MaskedSettings

    def __init__(self, model: Model, settings: MaskedSettings) -> None:
        super().__init__(model)
        self.settings = settings
        self._made: tuple[MaskSet, Tensor] | None = None

    def mask_set_for(self, image_size: tuple[int, int]) -> MaskSet:
        """The masks for images of (H, W) pixels; ValueError where the patch does not fit them."""
        if self._made is None or self._made[0].size != image_size:
            made = self.settings.set_for(image_size)
            self._made = made, made.hidden()
        return self._made[0]

    def threat(self, image_size: tuple[int, int]) -> str:
        """What the certificate holds against, in pixels and percent."""
        return self.mask_set_for(image_size).threat

    def covers(self, image_size: tuple[int, int], patches: Tensor) -> bool:
        """See :class:`~blurnet.certified.base.CertifiedModel`: each patch lies inside a mask, box for box."""
        return self.mask_set_for(image_size).covers(patches)

    def _views(self, images: Tensor) -> Views:
        self.check_model()
        check_form(images, channels=None)
        chosen = self.mask_set_for((images.shape[-2], images.shape[-1]))
        hidden = self._made[1] if self._made is not None else chosen.hidden()
        if hidden.device != images.device:
            self._made = chosen, hidden.to(images.device)
            hidden = self._made[1]
        return Views(self.model, hidden, self.settings.fill, self.settings.batch)

    def shown(self, *without: str) -> str:
        """The settings as text, but for those that were not given."""
        unset = [name for name in ("area", "patch", "mask_set") if getattr(self.settings, name) is None]
        return super().shown(*without, *unset)
