"""Shipped cards held against a fresh attack: a sample of victims per model may not fall where the card says it stands.

The sample is attacked with AutoPatch's quick budget. Where more stands than the card says, what stands is attacked with
the card's own settings, so that a card which claims too little is found out as well as one which claims too much.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from blurnet.attacks.autopatch import AutoPatch
from blurnet.data.loader import seed_from
from blurnet.data.sources.victims import load_victims
from blurnet.rates import Rate
from blurnet.transforms.base import adaptive, identity_bpda, transforms_of
from blurnet.zoo.card import ImageFigures
from blurnet.zoo.models import list_models, load_model

VICTIMS = 8

#: Where ``tools.ship`` leaves an evaluation's samples.jsonl, with a line for each attacked image.
EVALUATIONS = Path(__file__).parents[2] / "runs" / "ship"


def sample(name: str, shared_data: Path, net: nn.Module) -> tuple[list[int], Tensor, Tensor]:
    """Indices of some victims, drawn by the model's name, with their images and labels."""
    victims = load_victims(f"rp2:{shared_data / 'rp2-lisa'}").numbered_as(net.classes)
    generator = torch.Generator().manual_seed(seed_from("reattack", name))
    chosen = torch.randperm(len(victims.labels), generator=generator)[:VICTIMS].sort().values
    return chosen.tolist(), victims.images[chosen], victims.labels[chosen]


def standing(net: nn.Module, images: Tensor, labels: Tensor, budget: str) -> Tensor:
    """Where the net answers with the label, without and under AutoPatch as ``evaluate.py`` sets it, (N,) bool."""
    views = (identity_bpda(net),) if transforms_of(net) else ()
    attack = AutoPatch(budget=budget, views=views)
    with torch.no_grad():
        right = net(images).argmax(dim=1) == labels
        adversarial = attack(adaptive(net), images[right], labels[right]) if bool(right.any()) else images[right]
        right[right.clone()] = net(adversarial).argmax(dim=1) == labels[right]
    return right


def contradictions(card: Rate, quick: Tensor, full: Tensor) -> list[str]:
    """How a card's robust rate disagrees with the same victims attacked again; empty where it does not.

    Args:
        card: the rate of the card, of all victims.
        quick: (n,) bool, what stands after the quick budget.
        full: what stands after the card's own settings too.
    """
    weak, strong, n = int(quick.sum()), int(full.sum()), len(quick)
    found = []
    if Rate.of(weak, n).high < card.value:
        found.append(f"{weak} of {n} stand under the quick attack, the card claims {card}")
    if n - weak > card.n - card.count:
        found.append(f"the quick attack breaks {n - weak}, the card says only {card.n - card.count} ever fall")
    if exceeds(full, card):
        found.append(f"{strong} of {n} stand under the card's own attack, the card says {card}")
    return found


def exceeds(stands: Tensor, card: Rate) -> bool:
    """Whether clearly more of the victims (n,) stand than the card's rate allows."""
    return Rate.of(int(stands.sum()), len(stands)).low > Rate.of(card.count, card.n).high


def recorded(name: str, sha256: str) -> dict[int, bool]:
    """Which victims stood in the evaluation that the card was made from, by index; empty where it is not here."""
    file = EVALUATIONS / name / "samples.jsonl"
    report = file.with_name("report.json")
    if not file.is_file() or json.loads(report.read_text())["model"]["sha256"] != sha256:
        return {}
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {row["index"]: row["robust"] for row in rows if row.get("attack") == "autopatch" and "robust" in row}


@pytest.fixture
def figures(request: pytest.FixtureRequest) -> ImageFigures:
    """AutoPatch's figures of a model's card; the test skips where it has none."""
    found = load_model(request.param).card.under("autopatch")
    if found is None:
        pytest.skip(f"the card of {request.param} has no AutoPatch figures")
    if found.settings != repr(AutoPatch()) or "rp2 victims" not in found.images:
        pytest.skip(f"the card of {request.param} was made with {found.settings} on {found.images}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "figures"), [(name, name) for name in list_models()], indirect=["figures"])
def test_the_card_withstands_another_attack(name: str, figures: ImageFigures, shared_data: Path) -> None:
    net = load_model(name)
    indices, images, labels = sample(name, shared_data, net)
    quick = standing(net, images, labels, "quick")
    full = quick.clone()
    if exceeds(quick, figures.robust):
        full[quick] = standing(net, images[quick], labels[quick], "standard")
    assert contradictions(figures.robust, quick, full) == []
    before = recorded(name, net.card.sha256)
    fell = [index for index, stands in zip(indices, quick.tolist(), strict=True) if not stands]
    assert [index for index in fell if before.get(index, False)] == []


def test_a_card_that_claims_too_much_or_too_little_is_found_out() -> None:
    all_fall, all_stand = torch.zeros(8, dtype=torch.bool), torch.ones(8, dtype=torch.bool)
    none, most, some = (
        Rate(0.0, 40, 0, 0.0, 8.81),
        Rate(95.0, 40, 38, 83.1, 99.4),
        Rate(25.0, 40, 10, 12.7, 41.2),
    )
    assert contradictions(none, all_fall, all_fall) == []
    assert contradictions(some, all_fall, all_fall) == []  # 8 victims do not tell a quarter from none
    assert contradictions(most, all_stand, all_stand) == []
    assert len(contradictions(most, all_fall, all_fall)) == 2
    assert "claims 95.0 %" in contradictions(most, all_fall, all_fall)[0]
    assert "the card says 0.0 %" in contradictions(none, all_stand, all_stand)[0]
    assert contradictions(none, all_stand, all_fall) == []  # the quick attack may be weaker


def test_an_undefended_net_falls_and_an_impossible_claim_is_refused(shared_data: Path) -> None:
    net = load_model("lisa_cnn")
    indices, images, labels = sample("lisa_cnn", shared_data, net)
    assert indices == sorted(set(indices))
    assert len(indices) == VICTIMS
    quick = standing(net, images[:4], labels[:4], "quick")
    claim = Rate(95.0, 40, 38, 83.1, 99.4)
    assert contradictions(claim, quick, quick)
