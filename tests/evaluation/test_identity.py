"""Hashes of what results depend on: equal content, equal hash, and nothing else."""

import dataclasses
import hashlib

import pytest
import torch
from torch import nn

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.wrappers.model import Transfer
from blurnet.attacks.wrappers.worst_of import WorstOf
from blurnet.balls import Ball
from blurnet.evaluation.identity import fingerprint, identity, modules_of, tensor_bytes
from tests.evaluation.tiny_subject import tiny_net

PGD_ATTACK = PGD(Ball("linf", 0.1))


class Nameless:
    """Its repr holds an address in memory."""


def test_by_hand():
    assert tensor_bytes(torch.tensor([[1, 2]])) == b"torch.int64(1, 2)" + bytes([1, *[0] * 7, 2, *[0] * 7])
    parts = [b"tuple(2)", b"'ab'", b"tuple(2)", b"1", b"2.5"]
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8, "big") + part for part in parts))
    assert identity("ab", (1, 2.5)) == digest.hexdigest()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([1, (2,)], [(1,), 2]),
        ([(1, 2)], [(2, 1)]),
        ([{"a": 1}], [{"a": 2}]),
        ([{"a": 1}], [{"b": 1}]),
        ([1], [1.0]),
        ([torch.zeros(2)], [torch.ones(2)]),
        ([torch.zeros(2)], [torch.zeros(1, 2)]),
        ([torch.zeros(2)], [torch.zeros(2).double()]),
        ([Ball("linf", 0.1)], [Ball("linf", 0.2)]),
        ([PatchPGD(torch.ones(2, 2))], [PatchPGD(torch.eye(2))]),  # a field that takes no part in equality
        ([tiny_net(0)], [tiny_net(1)]),
        ([nn.Sequential(nn.ReLU())], [nn.Sequential(nn.GELU())]),
        ([Transfer(PGD_ATTACK, tiny_net(0))], [Transfer(PGD_ATTACK, tiny_net(1))]),
    ],
    ids=lambda values: str(values)[:20],
)
def test_other_content_has_another_hash(one, other):
    assert identity(*one) != identity(*other)


def test_equal_content_has_the_same_hash():
    twice = [
        identity(Transfer(PGD_ATTACK, tiny_net(0)), {"a": torch.arange(4).view(2, 2)}, Nameless()) for _ in range(2)
    ]
    assert twice[0] == twice[1]
    columns = torch.arange(4).view(2, 2).T
    assert identity(columns) == identity(columns.contiguous())
    assert identity(torch.ones(2, requires_grad=True)) == identity(torch.ones(2))


def test_a_fingerprint_follows_every_weight_and_the_structure():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2))
    first = fingerprint(net)
    assert fingerprint(net) == first
    with torch.no_grad():
        net[1].running_mean[1] += 1e-6  # a buffer
    second = fingerprint(net)
    net[1].eps = 1e-3  # a constant outside the state dict
    assert len({first, second, fingerprint(net)}) == 3


def test_modules_are_found_at_any_depth():
    a, b = tiny_net(0), tiny_net(1)
    nested = WorstOf((PGD_ATTACK, Transfer(PGD_ATTACK, a)))
    assert modules_of([nested, {"x": (b,)}]) == [a, b]
    assert modules_of(dataclasses.replace(PGD_ATTACK, steps=3)) == []
