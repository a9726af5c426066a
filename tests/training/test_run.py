"""What a trained net's card says of its training."""

import pytest
import pytorch_lightning as pl
import torch

from blurnet.data.module import LisaCropsData, SyntheticData
from blurnet.quiet import quiet
from blurnet.rates import Rate
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec
from blurnet.training.run import check_image_size, check_monitor, clean_accuracy, export_model
from blurnet.zoo.models import load_model
from blurnet.zoo.spec import DefenseSpec


@pytest.mark.parametrize(
    ("objective", "said", "defense"),
    [
        (None, "natural", "lgs"),
        (ObjectiveSpec("pgd", {"radius": 0.0314, "steps": 7}), "pgd(radius=0.0314, steps=7)", "lgs+pgd"),
        (ObjectiveSpec("pgd"), "pgd(radius=0.0313725, steps=7)", "lgs+pgd"),  # what it costs by default
        (ObjectiveSpec("trades", {"beta": 3.0}), "trades(radius=0.0313725, steps=10, beta=3)", "lgs+trades"),
        (ObjectiveSpec("patch", {"steps": 4}), "patch(area=0.05, steps=4)", "lgs+patch"),
        (ObjectiveSpec("clp"), "clp", "lgs+clp"),
        (
            ObjectiveSpec("masked", {"clean": 0.5, "unmasked": {"name": "trades", "args": {"beta": 3.0}}}),
            "masked(area=0.05, clean=0.5, unmasked=trades(radius=0.0313725, steps=10, beta=3))",
            "lgs+masked+trades",
        ),
    ],
)
def test_the_card_states_objective_and_defenses(objective, said, defense, tmp_path):
    data = SyntheticData(train_size=20, val_size=20, test_size=20)
    data.setup("fit")
    data.setup("test")
    front = DefenseSpec("lgs", args={"smoothing": 2.3})
    classifier = Classifier(data.classes, defenses=[front], objective=objective)
    folder = export_model(classifier, data, tmp_path / "x", accuracy=Rate.of(1, 20), seed=0, command="c", seconds=61.04)
    card = load_model(folder).card
    assert (card.objective, card.defense, card.defenses, card.training_seconds) == (said, defense, [front], 61.0)
    assert card.title.startswith("lisa_cnn with lgs(smoothing=2.3) in front")
    assert (f"and {said} training" in card.title) == (objective is not None)
    readme = (folder / "README.md").read_text()
    assert f"| objective | `{said}` |" in readme
    assert "| defenses | lgs(smoothing=2.3) in front |" in readme


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("n", [0, 1, 5, 12])
def test_images_of_all_processes_end_in_the_order_of_the_data(world, n, monkeypatch):
    flags = torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.5
    parts = [flags[rank::world] for rank in range(world)]
    longest = max(map(len, parts))
    logs = {}
    for rank in range(world):
        classifier = Classifier(["a", "b"])
        answers = {
            (): torch.tensor([len(part) for part in parts]),
            (longest,): torch.stack([torch.nn.functional.pad(part.long(), (0, longest - len(part))) for part in parts]),
        }
        monkeypatch.setattr(classifier, "all_gather", lambda mine, answers=answers: answers[tuple(mine.shape)])
        monkeypatch.setattr(classifier, "log_dict", lambda metrics, **_: logs.update(metrics))
        classifier.on_test_epoch_start()
        classifier._correct = list(parts[rank].split(2))
        classifier.on_test_epoch_end()
        assert torch.equal(classifier.test_correct, flags)
        assert (logs["test/correct"], logs["test/n"]) == (float(flags.sum()), float(n))


def test_the_rate_resamples_tracks(crops):
    data = LisaCropsData(crops)
    classifier = Classifier(data.classes)
    with pytest.raises(ValueError, match="was not tested"):
        clean_accuracy(classifier, data)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, use_distributed_sampler=False)
    with quiet():
        trainer.test(classifier, data, verbose=False)
    images, labels = data.split("test").tensors()
    with torch.no_grad():
        correct = classifier.eval()(images).argmax(1) == labels
    assert torch.equal(classifier.test_correct, correct)
    rate = clean_accuracy(classifier, data)
    assert rate == Rate.over(correct, data.split("test").groups)
    assert rate.groups == 17


def test_an_image_size_that_does_not_fit_is_named():
    net = Classifier(["a", "b"]).net
    check_image_size(net, 32)
    with pytest.raises(ValueError, match=r"no images of 48x48 pixels; it is made for 32x32: set --data\.image_size"):
        check_image_size(net, 48)
    assert net.training
    resnet = Classifier(["a", "b"], net="torchvision/resnet18").net
    check_image_size(resnet, 48)
    assert all(module.training for module in resnet.modules())


def test_a_run_goes_on_by_what_it_kept_its_best_by(tmp_path):
    old, new = tmp_path / "old.ckpt", tmp_path / "new.ckpt"
    torch.save({"epoch": 3}, old)  # as runs were before objectives named their monitor
    torch.save({"epoch": 3, "monitor": "val/certified"}, new)
    check_monitor(old, "val/accuracy")
    check_monitor(new, "val/certified")
    with pytest.raises(ValueError, match=r"best epoch by val/accuracy, now asked for is val/certified.*certify false"):
        check_monitor(old, "val/certified")
    with pytest.raises(ValueError, match=r"by val/certified, now asked for is val/accuracy; --overwrite starts again"):
        check_monitor(new, "val/accuracy")
