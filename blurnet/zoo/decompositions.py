"""Operators that ONNX has not, in terms of some that it has; :mod:`blurnet.zoo.export` puts them in their place."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def median(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """``torch.median(x, dim, keepdim)``: of an even number of values the lower; NaN where there is one."""
    values, order = x.sort(dim)
    middle = (x.shape[dim] - 1) // 2
    value, index = values.narrow(dim, middle, 1), order.narrow(dim, middle, 1)
    value = torch.where(x.isnan().any(dim, keepdim=True), float("nan"), value)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def nanmedian(x: Tensor, dim: int, keepdim: bool = False) -> tuple[Tensor, Tensor]:
    """``torch.nanmedian(x, dim, keepdim)``: of an even number of values the lower; NaN where there is none."""
    missing = x.isnan()
    values, order = torch.where(missing, float("inf"), x).sort(dim)
    count = (~missing).sum(dim, keepdim=True)
    middle = (count - 1).clamp(min=0) // 2
    value = torch.where(count > 0, values.gather(dim, middle), float("nan"))
    index = order.gather(dim, middle)
    return (value, index) if keepdim else (value.squeeze(dim), index.squeeze(dim))


def inverse(matrix: Tensor) -> Tensor:
    """``torch.linalg.inv`` of (..., 3, 3), as between colour spaces, by Cramer's rule.

    Raises:
        ValueError: another size.
    """
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"the inverse of {tuple(matrix.shape)} cannot be exported, only of (..., 3, 3)")
    first, second, third = matrix.unbind(-2)
    columns = torch.linalg.cross(second, third), torch.linalg.cross(third, first), torch.linalg.cross(first, second)
    determinant = (first * columns[0]).sum(-1)
    inverted: Tensor = torch.stack(columns, -1) / determinant[..., None, None]
    return inverted


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    torch.ops.aten.median.dim: median,
    torch.ops.aten.nanmedian.dim: nanmedian,
    torch.ops.aten.linalg_inv.default: inverse,
}
