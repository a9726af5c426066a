"""The table of answers under pairs of masks."""

import torch

from blurnet.certified.mask_set import MaskSet
from blurnet.certified.rounds import UNKNOWN, Rounds, different, leads
from blurnet.certified.views import Views
from tests.certified.toys import images_for, random_net

MASKS = MaskSet.of(8, 2, 3).hidden()


def rounds(seed: int = 1, batch: int = 64) -> Rounds:
    return Rounds(Views(random_net(seed), MASKS, 0.5, batch), images_for(30), 0.0)


def test_leads():
    lead, answer = leads(torch.tensor([[1.0, 3.0, 2.5], [2.0, 2.0, 0.0]]))
    assert lead.tolist() == [0.5, 0.0]
    assert answer.tolist() == [1, 0]


def test_all_pairs_of_two():
    one, two = different(4, torch.device("cpu"))
    assert len(one) == 6
    assert (one < two).all()


def test_what_was_asked_is_what_the_model_says():
    table, net = rounds(), random_net(1)
    table.all_pairs(table.majority)
    known = (table.answer != UNKNOWN).nonzero()
    assert len(known) > 30 * 9
    image, one, two = known.unbind(1)
    views = torch.where((MASKS[one] | MASKS[two])[:, None], 0.5, images_for(30)[image])
    assert torch.equal(net(views).argmax(1), table.answer[image, one, two])
    assert torch.equal(table.answer, table.answer.transpose(1, 2))


def test_the_first_round_alone_is_paid_for():
    table = rounds()
    assert (table.passes == 9).all()
    table.second()
    assert (table.passes[table.agreement] == 9).all()
    assert (table.passes[~table.agreement] > 9).all()


def test_weights_of_the_views_that_speak():
    """One for the first round, one more where a second round decided."""
    seen = False
    for seed in range(6):
        table = rounds(seed)
        confirmed = table.second()
        places, weights = table.speaking(confirmed)
        total = torch.zeros(30).index_add(0, places[:, 0], weights)
        torch.testing.assert_close(total, 1 + (confirmed >= 0).float())
        seen |= bool((confirmed >= 0).any())
        answers = table.decided(confirmed)
        assert torch.equal(table.answer[places.unbind(1)], answers[places[:, 0]])
        assert torch.equal(table.deciding(confirmed).argmax(1), answers)
    assert seen
