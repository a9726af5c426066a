"""Training on masked images: which masks, and what is minimised."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.mask_set import MaskSet
from blurnet.training.objectives.adversarial import TRADES, PGDTraining
from blurnet.training.objectives.base import Natural
from blurnet.training.objectives.masked import MaskTraining
from blurnet.transforms.random_resize_pad import RandomResizePad
from tests.training.objectives.by_hand import numbers, value_of

MASKS = MaskSet.of(16, 4, 3).hidden()
SETTINGS = {"area": None, "patch": 4, "masks": 3}
OTHERS = (TRADES(beta=2.0, radius=0.05, steps=2), PGDTraining(radius=0.05, steps=2), Natural())


def losses(net, images, labels, masks):
    """The loss of every image under every mask, (M, n); to classes (n,) or to their shares (n, classes)."""
    with torch.no_grad():
        return torch.stack(
            [F.cross_entropy(net(torch.where(mask, 0.5, images)), labels, reduction="none") for mask in masks]
        )


def test_greedy_masks_are_the_worst_one_after_the_other(net, batch):
    """With as many tries as masks each is tried; the second is the worst given the first."""
    images, labels = batch
    net.eval()
    masked = MaskTraining(**SETTINGS, tries=9).adversarial(net, images, labels, numbers())
    first = MASKS[losses(net, images, labels, MASKS).argmax(0)]
    one = torch.where(first[:, None], 0.5, images)
    second = MASKS[losses(net, one, labels, MASKS).argmax(0)]
    assert torch.equal(masked, torch.where(second[:, None], 0.5, one))
    single = MaskTraining(**SETTINGS, tries=9, count=1).adversarial(net, images, labels, numbers())
    assert torch.equal(single, one)


def test_few_tries_lie_between_random_and_all(net, batch):
    images, labels = batch
    net.eval()

    def harm(tries: int) -> float:
        made = MaskTraining(**SETTINGS, tries=tries, count=1)
        generator = numbers()
        pictures = [made.adversarial(net, images, labels, generator) for _ in range(40)]
        with torch.no_grad():
            return sum(float(F.cross_entropy(net(x), labels)) for x in pictures) / 40

    assert harm(1) < harm(3) < harm(9)


def test_random_masks_ask_nothing_and_differ(net, batch):
    images, labels = batch
    shown: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: shown.append(len(inputs[0])))
    made, generator = MaskTraining(**SETTINGS, tries=1), numbers()
    one, two = (made.adversarial(net, images, labels, generator) for _ in range(2))
    assert shown == []
    assert not torch.equal(one, two)
    assert torch.equal(one, made.adversarial(net, images, labels, numbers()))
    hidden = (one != images).any(1)
    pairs = [a | b for a in MASKS for b in MASKS]
    assert all(any(not bool((mine & ~pair).any()) for pair in pairs) for mine in hidden)


def test_clean_share_and_the_net_s_own_answers(net, batch):
    images, labels = batch
    objective = MaskTraining(**SETTINGS, tries=9, clean=0.25, distill=0.4)
    masked = objective.adversarial(net.eval(), images, labels, numbers())
    own = F.cross_entropy(net(masked), net(images).detach().softmax(1))
    mixed = 0.6 * F.cross_entropy(net(masked), labels) + 0.4 * own
    wanted = 0.25 * F.cross_entropy(net(images), labels) + 0.75 * mixed
    torch.testing.assert_close(value_of(objective, net, batch), wanted)


@pytest.fixture
def moved(net):
    """The net some steps after a run began: another one."""
    later = copy.deepcopy(net)
    with torch.no_grad():
        later[0].weight.add_(0.1 * torch.randn(later[0].weight.shape, generator=numbers()))
    return later


@pytest.mark.parametrize("teacher", ["self", "start"])
@pytest.mark.parametrize("tries", [1, 4, 9])
def test_with_distillation_alone_no_label_is_used(teacher, tries, net, moved, batch):
    images, labels = batch
    objective = MaskTraining(**SETTINGS, tries=tries, distill=1.0, teacher=teacher).begin(net)
    values = [value_of(objective, moved, (images, truth)) for truth in (labels, (labels + 1) % 5, labels - 9)]
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2]), "not even whether they are classes"


@pytest.mark.parametrize("clean", [0.0, 0.25])
@pytest.mark.parametrize("distill", [0.4, 1.0])
def test_the_start_net_teaches(clean, distill, net, moved, batch):
    """Masks are those that lead furthest from the labels, or where these do not count, from the teacher's answers."""
    images, labels = batch
    begun = MaskTraining(**SETTINGS, tries=9, count=1, clean=clean, distill=distill, teacher="start").begin(net)
    answers = net.eval()(images).detach().softmax(1)
    moved.eval()
    hidden = MASKS[losses(moved, images, labels if distill < 1 else answers, MASKS).argmax(0)]
    masked = moved(torch.where(hidden[:, None], 0.5, images))
    pull = (1 - distill) * F.cross_entropy(masked, labels) + distill * F.cross_entropy(masked, answers)
    wanted = clean * F.cross_entropy(moved(images), labels) + (1 - clean) * pull
    torch.testing.assert_close(value_of(begun, moved, batch), wanted)


def test_the_teacher_stays_as_it_was(net, batch):
    objective = MaskTraining(**SETTINGS, distill=1.0, teacher="start")
    with pytest.raises(ValueError, match=r"call begin\(net\) first"):
        value_of(objective, net, batch)
    net.train()
    begun = objective.begin(net)
    assert net[1].training
    assert begun == objective, "settings are what counts"
    loss, logits = begun.loss(net, *batch, numbers())
    assert len(logits) == 7, "the accuracy is that of the masked images"
    loss.backward()
    assert net[0].weight.grad.any()
    torch.optim.SGD(net.parameters(), 0.1).step()
    assert begun.begin(net) is begun, "a second fit keeps it"
    teacher = begun._start
    assert not any(m.training for m in teacher.modules())
    assert not any(p.requires_grad or p.grad is not None for p in teacher.parameters())
    assert not torch.equal(teacher[0].weight, net[0].weight)
    assert teacher[1].num_batches_tracked == 0
    assert net[1].num_batches_tracked == 1, "of the masked images alone"


def test_the_teacher_follows_the_images_to_their_device(net, batch):
    """Begun on the CPU, before the strategy moves the net; the device without storage stands for any other."""
    begun = MaskTraining(**SETTINGS, tries=9, distill=0.5, teacher="start").begin(net)
    assert begun._answers(net, batch[0]).device.type == "cpu"
    assert begun._answers(net, batch[0].to("meta")).device.type == "meta"
    assert {p.device.type for p in begun._start.parameters()} == {"meta"}


def test_a_teacher_of_random_weights_is_refused(net):
    objective = MaskTraining(**SETTINGS, distill=1.0, teacher="start")
    objective.check(net, trained=True)
    with pytest.raises(ValueError, match="a net of random weights; give weights"):
        objective.check(net, trained=False)
    MaskTraining(**SETTINGS, distill=1.0).check(net, trained=False)


@pytest.mark.parametrize("teacher", ["self", "start"])
@pytest.mark.parametrize("distill", [0.0, 0.4])
@pytest.mark.parametrize("other", OTHERS)
def test_another_objective_takes_the_whole_images(teacher, distill, other, net, moved, batch):
    if not distill and teacher == "start":
        return
    settings = {**SETTINGS, "tries": 9, "distill": distill, "teacher": teacher}
    objective = MaskTraining(**settings, clean=0.3, unmasked=other).begin(net)
    images, labels = batch
    answers = (net if teacher == "start" else moved).eval()(images).detach().softmax(1)
    moved.eval()
    masked = moved(objective.adversarial(moved, images, labels, numbers()))
    pull = (1 - distill) * F.cross_entropy(masked, labels) + distill * F.cross_entropy(masked, answers)
    wanted = 0.3 * value_of(other, moved, batch) + 0.7 * pull  # with nine tries of nine no mask is drawn
    torch.testing.assert_close(value_of(objective, moved, batch), wanted)
    alone = MaskTraining(**settings, clean=1.0, unmasked=other)
    assert torch.equal(value_of(alone, moved, batch), value_of(other, moved, batch))
    assert objective.parts == (objective, other)


def test_certified_is_what_double_masking_certifies(net, batch):
    """Of a net that has learned its batch under masks, so that some images are certified."""
    images, labels = batch
    objective = MaskTraining(**SETTINGS, tries=9, fill=0.4)
    adam, generator = torch.optim.Adam(net.parameters(), 0.02), numbers()
    for _ in range(60):
        adam.zero_grad()
        objective.loss(net, images, labels, generator)[0].backward()
        adam.step()
    net.eval()
    (name,) = objective.measures
    held = objective.validate(net, images, labels)
    wanted = DoubleMasking(net, patch=4, masks=3, fill=0.4).certify(images, labels).certified
    assert list(held) == [name]
    assert torch.equal(held[name], wanted)
    assert int(wanted.sum()) > 0
    assert not objective.validate(net, images, (labels + 1) % 5)[name].any()
    assert objective.monitor == "val/certified"
    plain = MaskTraining(**SETTINGS, certify=False)
    assert (plain.measures, plain.monitor, plain.validate(net, images, labels)) == ((), "val/accuracy", {})


def test_a_net_that_draws_has_no_certificate(net):
    drawing = nn.Sequential(RandomResizePad(), net)
    with pytest.raises(ValueError, match=r"RandomResizePad draws random numbers.*certify=False"):
        MaskTraining(**SETTINGS).check(drawing, trained=True)
    MaskTraining(**SETTINGS, certify=False).check(drawing, trained=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"area": 0.0}, "area: expected a share"),
        ({"patch": 3}, "give area, patch or mask_set, one of them"),
        ({"masks": 1}, "masks: expected from 2"),
        ({"count": 3}, "count: expected one of"),
        ({"tries": 0}, "tries: expected from 1"),
        ({"distill": 1.5}, "distill: expected in"),
        ({"teacher": "start"}, "'start' is asked nothing with distill=0"),
        ({"distill": 1.0, "teacher": "other"}, "teacher: expected one of"),
        ({"unmasked": Natural()}, "its weight is clean, expected above 0.* clean=0.0"),
        ({"unmasked": Natural(), "clean": 0.5, "pairing": 1.0}, "pairing=1.0"),
        ({"unmasked": MaskTraining(), "clean": 0.5}, "expected an objective of whole images"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        MaskTraining(**settings)
