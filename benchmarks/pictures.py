"""The images that benchmarks run on."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.data.images import Split
from blurnet.data.module import get_data


def pictures(count: int, size: int, device: str = "cpu") -> Tensor:
    """Smooth random images with a noisy square of 2 % of the area, as a patch attack leaves them."""
    g = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand(count, 3, 40, 40, generator=g), size, mode="bilinear")
    side = round(0.14 * size)
    x[..., :side, -side:] = torch.rand(count, 3, side, side, generator=g)
    return x.to(device)


def held_out(source: str, split: Split, count: int, side: int) -> tuple[Tensor, Tensor]:
    """Images (N, 3, side, side), evenly spaced over a split of the data that ``get_data`` knows by name, and labels."""
    data = get_data(source, image_size=(side, side))
    data.setup("validate" if split == "val" else split)
    items = data.split(split)
    chosen = [items[place] for place in torch.linspace(0, len(items) - 1, min(count, len(items))).long().tolist()]
    return torch.stack([item[0] for item in chosen]), torch.tensor([int(item[1]) for item in chosen])
