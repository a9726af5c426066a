"""The general masked ascent: climbs, restarts, stopping, views, records; on PatchPGD."""

import copy
import dataclasses

import pytest
import torch

from blurnet.attacks.engine.losses import objective
from blurnet.attacks.engine.views import Brightness, Noise, Rotation
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.masks import Place, mask_boxes


def leads(problem, adversarial):
    with torch.no_grad():
        return objective("margin", problem.net(adversarial), problem.labels)


def sizes_of_batches(net):
    sizes: list[int] = []

    def counted(x):
        sizes.append(len(x))
        return net(x)

    return counted, sizes


@pytest.mark.parametrize("optimizer", ["sign", "adam", "auto"])
@pytest.mark.parametrize("loss", ["margin", "cross-entropy", "dlr"])
def test_every_climb_beats_its_start(optimizer, loss, problem):
    attack = PatchPGD(problem.mask, steps=25, optimizer=optimizer, loss=loss, stop=False)
    start = dataclasses.replace(attack, steps=0)(problem.net, problem.images, problem.labels)
    out = attack(problem.net, problem.images, problem.labels)
    assert (leads(problem, out) >= leads(problem, start)).all()
    assert (leads(problem, out) > 0).sum() >= 7


def test_solved_images_leave_with_all_their_restarts(problem):
    counted, sizes = sizes_of_batches(problem.net)
    attack = PatchPGD(torch.ones(16, 16), steps=60, restarts=3)
    record = attack.record(counted, problem.images, problem.labels)
    assert sizes[:2] == [8, 24]  # clean logits, then every restart
    assert sizes[1:] == sorted(sizes[1:], reverse=True)
    assert all(size % 3 == 0 for size in sizes[1:])
    assert len(sizes) < 60
    assert record.calls.sum() == sum(sizes)
    assert (record.stage == 0).all()
    counted, sizes = sizes_of_batches(problem.net)
    dataclasses.replace(attack, stop=False)(counted, problem.images, problem.labels)
    assert sizes == [8] + [24] * 61


def test_more_restarts_are_not_weaker(problem):
    small = torch.zeros(16, 16)
    small[5:8, 5:8] = 1
    before = torch.full((8,), -torch.inf)
    for restarts in (1, 2, 4):
        attack = PatchPGD(small, steps=6, restarts=restarts, start="gray", stop=False)
        after = leads(problem, attack(problem.net, problem.images, problem.labels))
        assert (after >= before - 1e-5).all()
        before = after


def test_records(problem):
    labels = problem.labels.clone()
    labels[0] = labels[0] % 4 + 1  # the net is wrong about it
    place = Place(0.02, "anywhere")
    record = PatchPGD(place, steps=2).record(problem.net, problem.images, labels)
    assert torch.equal(record.box, mask_boxes(place.masks(problem.images)))
    with torch.no_grad():
        fooled = problem.net(record.adversarial).argmax(1) != labels
    assert record.stage[0] == -2
    assert torch.equal(record.stage[1:] == 0, fooled[1:])
    assert torch.equal(record.stage[1:] == -1, ~fooled[1:])
    assert (record.calls <= 1 + 3).all()
    assert PatchPGD().stage_names == ("PatchPGD",)


@pytest.mark.parametrize("rule", ["second", "least-likely", "random"])
def test_targets_by_rule(rule, problem):
    out = PatchPGD(torch.ones(16, 16), rule, steps=60)(problem.net, problem.images, problem.labels)
    with torch.no_grad():
        answers, order = problem.net(out).argmax(1), problem.net(problem.images).argsort(1, descending=True)
    assert (answers != problem.labels).all()
    if rule != "random":
        assert torch.equal(answers, order[:, 1 if rule == "second" else -1])


def test_any_wrong_answer_is_kept_before_a_nearer_target():
    """Bright pictures are class 1, dark ones class 0; class 2 is the target, nearest in the dark and out of reach."""

    def model(x):
        light = x.flatten(1).sum(1)
        return torch.stack([light * 0, light - 10, -100 - light], 1)

    x, y = torch.zeros(2, 3, 4, 4), torch.zeros(2, dtype=torch.int64)
    attack = PatchPGD(torch.ones(4, 4), 2, steps=10, optimizer="sign", lr=0.2)
    record = attack.record(model, x, y)
    assert (model(record.adversarial).argmax(1) == 1).all()
    assert (record.stage == -1).all()


def test_views_are_the_same_for_every_image(problem):
    seen: list[torch.Tensor] = []

    def model(x):
        seen.append(x.detach())
        return problem.net(x)

    twins = problem.images[:1].expand(3, -1, -1, -1)
    moves = (Rotation(10), Brightness(0.5, 1.5), Noise(0.02))
    attack = PatchPGD(problem.mask, steps=1, eot_samples=4, transformations=moves, stop=False)
    attack(model, twins, problem.labels[:1].expand(3))
    views = seen[1].view(4, 3, 3, 16, 16)  # the first look after the clean logits, view by view
    assert torch.equal(views[:, :1].expand_as(views), views)
    assert not torch.equal(views[0], views[1])
    assert views.min() >= 0
    assert views.max() <= 1


def test_transformed_attacks_do_not_depend_on_the_batch(problem):
    net, images = copy.deepcopy(problem.net).double(), problem.images.double()
    attack = PatchPGD(problem.mask, steps=8, eot_samples=3, transformations=(Rotation(10), Noise(0.02)), restarts=2)
    together = attack(net, images, problem.labels)
    alone = [attack(net, x[None], y[None]) for x, y in zip(images, problem.labels, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_a_model_that_draws_is_seen_as_often_as_asked(problem):
    counted, sizes = sizes_of_batches(problem.net)
    PatchPGD(problem.mask, steps=1, eot_samples=5, stop=False)(counted, problem.images, problem.labels)
    assert sizes == [8, 40, 40]
