"""Which attacks a certificate answers, and which images it settles."""

import torch
from torch import Tensor, nn

from blurnet.certified.base import CertifiedModel
from blurnet.evaluation.threats import Threat


def certifying(net: nn.Module) -> CertifiedModel:
    """The model as one whose certificate is a lower edge of its robust accuracy.

    Raises:
        ValueError: it certifies nothing, or only that an alarm is raised, or what it certifies stands behind something
            that would spread a patch.
    """
    if isinstance(net, CertifiedModel):
        if net.recovers:
            return net
        raise ValueError(f"--certify: {type(net).__name__} only raises an alarm; it certifies no right answer")
    inside = [type(module).__name__ for module in net.modules() if isinstance(module, CertifiedModel)]
    if inside:
        raise ValueError(
            f"--certify: {inside[0]} stands inside {type(net).__name__}, and what comes before its masks may spread a "
            "patch beyond them; put it in front of everything"
        )
    raise ValueError(
        f"--certify: {type(net).__name__} is no certified defense; put one in front of it, such as "
        "--defenses double_masking:area=0.05, or blurnet.DoubleMasking(model, area=0.05)"
    )


def covers(net: nn.Module, threat: Threat | None, size: tuple[int, int]) -> bool:
    """Whether certificates of images of (H, W) pixels hold against all that a threat allows."""
    patches = None if threat is None else threat.patches(size)
    return patches is not None and certifying(net).covers(size, patches)


def settled(net: nn.Module, threat: Threat | None, images: Tensor, labels: Tensor) -> Tensor:
    """Images (N, 3, H, W) of these labels (N,) that no change which the threat allows can break, (N,) bool."""
    if not covers(net, threat, (images.shape[-2], images.shape[-1])):
        return torch.zeros_like(labels, dtype=torch.bool)
    return certifying(net).certify(images, labels).certified
