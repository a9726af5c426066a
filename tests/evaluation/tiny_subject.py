"""A tiny net and tiny victims: evaluation is about bookkeeping, which needs no good model."""

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import TensorDataset

from blurnet.attacks.universal.rp2 import RP2
from blurnet.data.sources.victims import Victims
from blurnet.evaluation.campaign import Campaign

#: Lightning 2.6 on torch 2.15, and its advice for data that is in memory.
LIGHTNING = ("ignore:.*treespec, LeafSpec", "ignore:.*does not have many workers")
CLASSES = ("a", "b", "c", "d", "e", "f")


def tiny_net(seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 25, len(CLASSES)))
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return net.eval()


def tiny_victims(n: int = 7) -> Victims:
    images = torch.rand(n, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(1, 1, 12, 12)
    mask[..., 3:8, 4:9] = 1
    return Victims(images, torch.full((n,), 2), {"stickers": mask}, CLASSES, "tiny")


def tiny_campaign(targets=(0, 1, 3, 4, 5), chunk=2, **settings) -> Campaign:
    options = {"steps": 5, "lam": 0.002} | settings
    attack = RP2(target=None, mask=tiny_victims().masks["stickers"], **options)
    return Campaign("rp2", attack, tuple(targets), chunk=chunk)


def clean_set(n: int = 7) -> TensorDataset:
    generator = torch.Generator().manual_seed(2)
    return TensorDataset(torch.rand(n, 3, 12, 12, generator=generator), torch.randint(6, (n,), generator=generator))


def trainer(folder, **options) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "barebones": False}
    quiet |= {"enable_model_summary": False, "use_distributed_sampler": False, "default_root_dir": folder}
    return pl.Trainer(accelerator="cpu", **quiet, **options)
