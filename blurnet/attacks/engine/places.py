"""Which places of an image a patch is tried at, and in what order."""

import math

import torch.nn.functional as F
from torch import Tensor

from blurnet.masks import grid_boxes


def covering_grid(size: tuple[int, int], side: int, across: int) -> Tensor:
    """Places of a square on the finest grid that has at most ``across`` of them along each axis.

    Args:
        size: (H, W) in pixels.
        side: of the square, in pixels.
        across: from 2.

    Returns:
        Boxes (P, 4) int64, row by row; every place where there are few enough, the image's corners always among them.
    """
    stride = max(1, math.ceil((max(size) - side) / (across - 1)))
    return grid_boxes(size, side, stride)


def steepest(gradient: Tensor, grid: Tensor, count: int) -> Tensor:
    """For each image the places with the largest sum of squared gradients, the first the largest.

    Args:
        gradient: in the pixels of the images, (N, C, H, W).
        grid: boxes (P, 4) of one size.
        count: how many; more than there are gives all.

    Returns:
        Indices into the grid, (N, count).
    """
    # Scaled first: squares of very small gradients vanish in float32.
    largest = gradient.flatten(1).abs().amax(dim=1).view(-1, 1, 1, 1)
    square = (gradient / largest.where(largest > 0, 1.0)).square().sum(dim=1, keepdim=True)
    top, bottom, left, right = grid.unbind(1)
    window = (int(bottom[0] - top[0]), int(right[0] - left[0]))
    sums = F.avg_pool2d(square, window, stride=1)[:, 0, top, left]
    return sums.topk(min(count, len(grid)), dim=1).indices
