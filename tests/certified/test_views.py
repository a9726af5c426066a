"""Masked views: nothing of what is hidden is left."""

import pytest
import torch
from torch import nn

from blurnet.certified.mask_set import MaskSet
from blurnet.certified.views import Views, layout_of
from tests.certified.toys import images_for, random_net

HIDDEN = MaskSet.of(8, 2, 3).hidden()


def test_hidden_pixels_have_one_value_and_others_their_own():
    images = images_for(2)
    images[:, :, :4, :4] = torch.nan
    views = Views(random_net(0), HIDDEN, 0.25, 8)
    made = views.made(images, torch.tensor([[0, 0], [1, 0]]))
    assert (made[:, :, HIDDEN[0]] == 0.25).all()
    assert torch.equal(made[:, :, ~HIDDEN[0]], images[:, :, ~HIDDEN[0]])
    assert made.isfinite().all()


def test_the_gradient_is_that_of_the_weighted_sum():
    """In batches of any size, as if all views were kept."""
    net, images = random_net(0), images_for(3)
    places = torch.tensor([[0, 1, 2], [2, 0, 0], [2, 3, 8], [0, 5, 5], [1, 1, 1]])
    weights = torch.tensor([1.0, 0.5, 2.0, 0.25, 1.0])
    upstream = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    x = images.clone().requires_grad_()
    hidden = HIDDEN[places[:, 1]] | HIDDEN[places[:, 2]]
    whole = net(torch.where(hidden[:, None], 0.5, x[places[:, 0]])) * weights[:, None]
    (wanted,) = torch.autograd.grad((whole * upstream[places[:, 0]]).sum(), x)
    for batch in (1, 2, 100):
        leaf = images.clone().requires_grad_()
        value = Views(net, HIDDEN, 0.5, batch).steered(leaf, torch.zeros(3, 4), places, weights)
        assert (value == 0).all()
        (found,) = torch.autograd.grad((value * upstream).sum(), leaf)
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


def test_views_lie_in_memory_as_the_weights_do():
    """A net whose convolutions are channels last is shown such views; any other, and a function, plain ones."""
    net = nn.Conv2d(3, 4, 3)
    assert layout_of(net) == torch.contiguous_format
    assert layout_of(net.to(memory_format=torch.channels_last)) == torch.channels_last
    assert layout_of(lambda x: x) == torch.contiguous_format
    seen = []
    whole = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    whole.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    list(Views(whole, HIDDEN, 0.5, 8).answers(images_for(2), torch.tensor([[0, 0], [1, 1]])))
    assert seen == [True]


def test_a_model_that_gives_no_logits():
    views = Views(nn.Identity(), HIDDEN, 0.5, 8)
    with pytest.raises(ValueError, match=r"must return logits \(1, classes\), got \(1, 3, 8, 8\)"):
        list(views.answers(images_for(1), torch.tensor([[0, 0]])))
