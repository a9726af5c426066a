import pytest
import torch

from blurnet.transforms.deep_image_prior.nets import NETS, Hourglass, PriorNets

SHAPE = Hourglass((6, 8), (3, 0), 2)


def nets(count: int, shape: Hourglass = SHAPE, seed: int = 0) -> PriorNets:
    return PriorNets(shape, 3, count, torch.Generator().manual_seed(seed), torch.zeros(1))


def spread(grouped: PriorNets, seed: int) -> list[PriorNets]:
    """Other weights for each of the grouped nets, and single nets with the same."""
    g = torch.Generator().manual_seed(seed)
    singles = [nets(1) for _ in range(grouped.nets)]
    with torch.no_grad():
        for (name, all_of_them), *ones in zip(
            grouped.named_parameters(), *(single.parameters() for single in singles), strict=True
        ):
            all_of_them.add_(torch.randn(all_of_them.shape, generator=g) * 0.2)
            for one, part in zip(ones, all_of_them.chunk(grouped.nets), strict=True):
                assert one.shape == part.shape, name
                one.copy_(part)
    return singles


def test_grouped_nets_are_independent_ones():
    grouped, noise = nets(3), torch.rand(1, 2, 16, 24, generator=torch.Generator().manual_seed(1))
    singles = spread(grouped, 2)
    wanted = torch.cat([single(noise) for single in singles])
    assert (wanted[0] - wanted[1]).abs().max() > 0.01
    torch.testing.assert_close(grouped(noise), wanted, rtol=0, atol=1e-5)


def test_all_begin_alike_and_from_the_seed_alone():
    state = torch.get_rng_state()
    drawn, again, other = (nets(2, seed=seed)(torch.ones(1, 2, 8, 8)) for seed in (0, 0, 1))
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_are_drawn_as_pytorch_draws_them():
    weight = nets(1, Hourglass((64,), (0,), 4)).scales.down[0][0].weight.detach()
    bound = 1 / (4 * 9) ** 0.5
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.05)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (31, 33), (32, 32), (224, 224), (7, 200)], ids=str)
def test_every_size_has_a_canvas_with_two_pixels_at_the_deepest_scale(name, size):
    shape = NETS[name].fitted(*size)
    canvas, cell = shape.canvas(*size), 2 ** len(shape.widths)
    assert len(shape.skips) == len(shape.widths) >= 1
    assert all(side % cell == 0 and side >= 2 * cell for side in canvas)
    assert all(0 <= big - small < 2 * cell for big, small in zip(canvas, size, strict=True))
    assert len(NETS[name].fitted(1024, 1024).widths) == len(NETS[name].widths)


def test_a_net_of_five_scales_draws_small_images():
    shape = NETS["reference"].fitted(32, 32)
    assert len(shape.widths) == 4
    assert nets(1, NETS["snail"].fitted(4, 4))(torch.rand(1, 3, 4, 4)).shape == (1, 3, 4, 4)


@pytest.mark.parametrize("name", ["small", "tiny", "snail"])
def test_memory_is_about_what_autograd_keeps(name):
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    net, noise = nets(1, NETS[name]), torch.rand(1, NETS[name].inputs, 64, 96)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        out = net(noise)
    kept_in_all = sum(kept.values()) - sum(p.numel() for p in net.parameters())
    assert out.shape == (1, 3, 64, 96)
    assert 0.5 < NETS[name].memory(64, 96) / kept_in_all < 2


@pytest.mark.parametrize(("widths", "skips"), [((), ()), ((4, 4), (4,)), ((4,), (4, 4))], ids=str)
def test_scales_and_skips_must_match(widths, skips):
    with pytest.raises(ValueError, match="a skip for each scale"):
        Hourglass(widths, skips, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"widths": (0,), "skips": (0,)}, "Hourglass widths: expected from 1, got 0"),
        ({"skips": (-1,), "widths": (4,)}, "Hourglass skips: expected from 0, got -1"),
        ({"activation": "gelu"}, "Hourglass activation: expected one of"),
    ],
    ids=str,
)
def test_bad_shapes(settings, message):
    with pytest.raises(ValueError, match=message):
        Hourglass(**{"widths": (4,), "skips": (0,), "inputs": 1} | settings)
