"""Minority reports: the alarm, and the corner that the original left open."""

import itertools

import pytest
import torch

from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.minority import MinorityReports
from tests.certified.toys import PATCH, Worst, images_for, random_net, worst_images


def test_an_alarm_is_a_masked_view_that_contradicts_with_confidence():
    net, images = random_net(1), images_for(30)
    for threshold in (0.0, 0.7, 0.99):
        model = MinorityReports(net, patch=PATCH, masks=3, threshold=threshold)
        answer, wanted = net(images).argmax(1), torch.zeros(30, dtype=torch.bool)
        for mask in model.mask_set_for((8, 8)).hidden():
            probability, vote = net(torch.where(mask, 0.5, images)).softmax(1).max(1)
            wanted |= (vote != answer) & (probability > threshold)
        assert torch.equal(model.alarm(images), wanted)
        assert torch.equal(model(images), net(images))


def test_fewer_alarms_mean_fewer_certificates():
    net, images = random_net(1), images_for(60)
    models = [MinorityReports(lambda x: net(x) / 50, patch=PATCH, masks=3, threshold=t) for t in (0.0, 0.6, 0.9)]
    labels = models[0](images).argmax(1)
    alarms = [int(model.alarm(images).sum()) for model in models]
    certified = [int(model.certify(images, labels).certified.sum()) for model in models]
    assert alarms == sorted(alarms, reverse=True)
    assert certified == sorted(certified, reverse=True)
    assert certified[0] > certified[-1]
    assert alarms[0] > alarms[-1]


def test_double_masking_certifies_no_more():
    """A certificate of double masking has one-mask answers that agree, which is all that detection needs."""
    images = images_for(60)
    both = DoubleMasking(random_net(2), patch=PATCH, masks=3, margin=0.0)
    labels = both(images).argmax(1)
    recovered = both.certify(images, labels).certified
    detects = MinorityReports(random_net(2), patch=PATCH, masks=3, margin=0.0)
    right = detects(images).argmax(1) == labels
    assert recovered[right].any()
    assert (recovered[right] <= detects.certify(images, labels).certified[right]).all()


@pytest.mark.parametrize(("row", "column"), list(itertools.product((0, 6), repeat=2)))
def test_a_patch_in_a_corner_raises_the_alarm(row, column):
    model, images = MinorityReports(Worst().eval(), patch=PATCH, masks=3), worst_images()[2:6]
    attacked = images.clone()
    attacked[..., row : row + 2, column : column + 2] = 0.47  # tells the net class 1
    assert (model(attacked).argmax(1) == 1).all()
    assert model.alarm(attacked).all()
    assert not model.alarm(images).any()


def test_passes():
    certificate = MinorityReports(random_net(1), patch=PATCH, masks=3).certify(images_for(2), torch.tensor([0, 1]))
    assert (certificate.passes == 10).all()
