"""What a denoising block does to feature maps: means over positions, weighted by likeness, and a median.

Weighted means take queries and keys (N, D, H, W), which give the weights, and values (N, C, H, W), which are averaged.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.checks import check_odd
from blurnet.filters import shifted


def non_local_gaussian(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Mean over all positions with weights ``softmax_j(q_i . k_j / sqrt(D))``, which sum to 1.

    The H W x H W weights are never held in memory: this is attention with positions as tokens.

    Args:
        query: (N, D, H, W).
        key: (N, D, H, W).
        value: (N, C, H, W).

    Returns:
        (N, C, H, W).

    Source: Xie et al. 2019, section 4.1, "Gaussian (softmax)"; their code divides by the root of the queries' width,
    which is C / 2 with embeddings and C without.
    """
    width, channels = query.shape[1], value.shape[1]
    q, k, v = (_rows(maps) for maps in (query, key, value))
    if value.device.type == "cpu" and width < channels:
        # The fused kernel for CPUs wants one width throughout; zeros add nothing to a product.
        q, k = (F.pad(rows, (0, channels - width)) for rows in (q, k))
    mean = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=width**-0.5)
    return _maps(mean[:, 0], value)


def non_local_dot(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """``sum_j (q_i . k_j) v_j / (H W)`` over all positions j; arguments as in :func:`non_local_gaussian`.

    The product of three matrices begins with the pair that leaves the smaller matrix: position by position where the
    maps have more channels than positions, else key by value.

    Source: Xie et al. 2019, section 4.1, "Dot product".
    """
    q, k, v = (_rows(maps) for maps in (query, key, value))
    positions = k.shape[1]
    k = k / positions  # before the sum, which half precision could not hold
    mean = (q @ k.mT) @ v if value.shape[1] > positions else q @ (k.mT @ v)
    return _maps(mean, value)


def bilateral(query: Tensor, key: Tensor, value: Tensor, kernel_size: int = 3, *, softmax: bool = True) -> Tensor:
    """The two means above over the positions of a window around each, as far as they lie on the map.

    Args:
        query: (N, D, H, W).
        key: (N, D, H, W).
        value: (N, C, H, W).
        kernel_size: odd side of the window in pixels.
        softmax: Gaussian weights, which sum to 1; False: products over the number of positions in the window.

    Returns:
        (N, C, H, W).

    Source: Xie et al. 2019, section 4.2.
    """
    check_odd(kernel_size)
    scores = torch.stack([(query * near).sum(dim=1) for near in _windows(key, kernel_size)], dim=1)
    inside = torch.stack(_windows(torch.ones_like(value[:1, 0]), kernel_size), dim=1) > 0
    if softmax:
        weights = (scores * query.shape[1] ** -0.5).masked_fill(~inside, float("-inf")).softmax(dim=1)
    else:
        weights = scores / inside.sum(dim=1, keepdim=True)  # a key beyond the border is zero
    pairs = zip(weights.split(1, dim=1), _windows(value, kernel_size), strict=True)
    return torch.stack([weight * near for weight, near in pairs]).sum(dim=0)


def local_mean(x: Tensor, kernel_size: int = 3) -> Tensor:
    """Mean of the window around each position of maps (N, C, H, W), over the positions that exist."""
    check_odd(kernel_size)
    return F.avg_pool2d(x, kernel_size, stride=1, padding=kernel_size // 2, count_include_pad=False)


def local_median(x: Tensor, kernel_size: int = 3) -> Tensor:
    """Median of the window around each position of maps (N, C, H, W), channel by channel, borders repeated."""
    check_odd(kernel_size)
    padded = F.pad(x, (kernel_size // 2,) * 4, mode="replicate")
    windows = padded.unfold(2, kernel_size, 1).unfold(3, kernel_size, 1)
    return windows.flatten(-2).median(dim=-1).values


def _rows(maps: Tensor) -> Tensor:
    """(N, C, H, W) as one row a position, (N, H W, C); a view where the maps are channels last."""
    return maps.flatten(2).mT.contiguous()


def _maps(rows: Tensor, like: Tensor) -> Tensor:
    """Inverse of `_rows`, for the height and width of ``like``."""
    return rows.view(rows.shape[0], *like.shape[-2:], -1).permute(0, 3, 1, 2)


def _windows(maps: Tensor, kernel_size: int) -> list[Tensor]:
    """For each place in the window, the maps (..., H, W) moved by it, zero beyond the border."""
    return shifted(F.pad(maps, (kernel_size // 2,) * 4), kernel_size)
