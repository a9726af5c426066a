"""Figures for cards."""

import dataclasses

import torch

from blurnet.rates import Rate
from blurnet.zoo.card import Card, ImageFigures, RP2Figures

RATE = Rate.of(20, 40)
GROUPED = Rate.over(torch.tensor([True, False, False]), "aab")


def figures(attack: str, threat: str, images: str = "40 images of rp2", robust: Rate = RATE) -> ImageFigures:
    return ImageFigures(attack, robust, threat, 42, images, "Settings()")


def rp2(**changes) -> RP2Figures:
    given = {
        "average": Rate.pooled(32, 80, 40),
        "worst": RATE,
        "worst_target": "class 1",
        "dissimilarity": 0.21,
        "targets": 2,
        "n": 40,
        "victims": "40 victims of rp2, mask stickers",
        "settings": "RP2(lam=0.002)",
    }
    return RP2Figures(**given | changes)


def measured(card: Card, **changes) -> Card:
    given = {"clean": RATE, "clean_set": "held-out tracks", "rp2": rp2(), "sha256": "ab"}
    return dataclasses.replace(card, **given | changes)
