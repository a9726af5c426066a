"""Operators that ONNX has not, against those of torch."""

import pytest
import torch

from blurnet.zoo.decompositions import inverse, median, nanmedian


def test_decompositions_are_torchs_own_functions():
    draw = torch.Generator().manual_seed(0)
    values = torch.rand(4, 3, 8, generator=draw)
    values[0, 0] = torch.nan
    values[1, :, ::3] = torch.nan
    for keepdim in (True, False):
        found, index = nanmedian(values, -1, keepdim)
        torch.testing.assert_close(found, values.nanmedian(-1, keepdim).values, rtol=0, atol=0, equal_nan=True)
        assert index.shape == found.shape
        found, index = median(values, -1, keepdim)
        torch.testing.assert_close(found, values.median(-1, keepdim).values, rtol=0, atol=0, equal_nan=True)
        assert index.shape == found.shape
    matrix = torch.rand(3, 3, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(inverse(matrix), torch.linalg.inv(matrix))
    with pytest.raises(ValueError, match="only of"):
        inverse(torch.eye(4))
