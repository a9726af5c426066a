import dataclasses

import pytest

from blurnet.attacks.base import Attack
from blurnet.attacks.published import PUBLISHED
from blurnet.evaluation import attacks as table
from blurnet.evaluation.attacks import ATTACKS, Choice, Entry, describe_attacks, parse_attacks
from blurnet.evaluation.context import Context
from blurnet.evaluation.threats import InBall, InMask, Nearest, SquarePatch
from tests.evaluation.sample_jobs import BOX, FREE, MASKED, jobs
from tests.evaluation.tiny_subject import LIGHTNING, evaluation, run

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]


@pytest.mark.parametrize("context", [FREE, MASKED], ids=["free", "masked"])
@pytest.mark.parametrize("name", ATTACKS)
def test_every_attack_runs_and_stays_in_its_threat(tmp_path, name, context):
    if name == "universal-patch" and context is MASKED:
        pytest.skip("refused, see test_bad_settings")
    if name in PUBLISHED and PUBLISHED[name].source != "blurnet":
        needed = {"foolbox": "foolbox", "art": "art.attacks.evasion"}[PUBLISHED[name].source]
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    (job,) = jobs(name, context)
    (records,) = run(evaluation(tmp_path, [job]))
    assert records.calls.min() >= 1
    patch = SquarePatch if context is FREE else InMask
    expected = Nearest if ATTACKS[name].nearest else InBall if ATTACKS[name].whole else patch
    assert isinstance(job.threat, expected)
    assert repr(job.attack) == repr(jobs(name, context)[0].attack)


def test_the_shared_settings_reach_the_attacks():
    pgd, patch = jobs("pgd,patch-pgd", dataclasses.replace(FREE, eps=0.25, restarts=3, seed=7))
    assert (pgd.attack.ball.radius, pgd.attack.restarts, pgd.attack.steps, pgd.attack.seed) == (0.25, 3, 3, 7)
    assert (patch.attack.area, patch.attack.attack.restarts) == (0.1, 3)
    budgets = [jobs("pgd", Context(budget=budget))[0].attack.steps for budget in ("quick", "standard", "full")]
    assert budgets == sorted(set(budgets))


def test_an_attack_has_settings_of_its_own():
    one, two, placed = jobs("lavan,lavan:lr=0.1:optimizer=adam,patch-pgd:loss=dlr:steps=5")
    assert (one.name, one.attack.lr) == ("lavan", 0.05)
    assert (two.name, two.attack.lr, two.attack.optimizer) == ("lavan lr=0.1 optimizer=adam", 0.1, "adam")
    assert (placed.attack.attack.loss, placed.attack.attack.steps) == ("dlr", 5)
    assert parse_attacks("rp2:steps=5:norm=l1") == [Choice("rp2", {"steps": 5, "norm": "l1"})]
    assert parse_attacks("lavan,lavan") == [Choice("lavan", {})]


def test_published_attacks_follow_the_context():
    pytest.importorskip("foolbox", reason="foolbox is not installed")
    context = dataclasses.replace(FREE, eps=0.25, seed=7)
    bim, own, noise = (job.attack for job in jobs("bim,deepfool:steps=9:seed=1,salt-and-pepper", context))
    assert (bim.radius, bim.steps, bim.seed) == (0.25, 3, 7)
    assert (own.steps, own.seed) == (9, 1)
    assert "steps=9" in repr(own)
    assert noise.steps == context.queries
    with pytest.raises(ValueError, match="bim has no 'radius'; it has steps, seed, target"):
        parse_attacks("bim:radius=0.1")


@dataclasses.dataclass(frozen=True)
class Toy(Attack):
    """Paints a square.

    Args:
        shade: how bright.
        seed: without meaning.
    """

    shade: float = 0.5
    seed: int = 0

    def search(self, problem):
        changed = problem.images.clone()
        changed[..., :2, :2] = self.shade
        return problem.record(changed)


def test_an_option_of_an_attack_is_said_once(tmp_path, monkeypatch):
    """A field of a toy attack is an option of the command line, in the help, and in the report's line."""
    monkeypatch.setitem(table.ATTACKS, "toy", Entry(lambda c: Toy(seed=c.seed), "paints a square", Toy))
    assert "options: shade, seed" in describe_attacks()
    (job,) = jobs("toy:shade=0.25")
    assert repr(job.attack) == "Toy(shade=0.25, seed=0)"
    (records,) = run(evaluation(tmp_path, [job], keep=1))
    assert records.kept[0, :, :2, :2].eq(0.25).all()
    with pytest.raises(ValueError, match="toy has no 'shape'; it has shade, seed"):
        parse_attacks("toy:shape=1")
    with pytest.raises(TypeError, match="toy: shade: expected float, got 'dark'"):
        parse_attacks("toy:shade=dark")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: jobs("pgd,pdg"), "unknown 'pdg'; there are: rp2, autopatch, lavan"),
        (lambda: jobs("lavan:lr"), "expected name:argument=value, got 'lr'"),
        (lambda: jobs("lavan:lr=0"), "lr: expected a positive"),
        (lambda: jobs("lavan:area=0.5"), "lavan has no 'area'"),
        (lambda: jobs("lavan", MASKED, areas=[0.1]), "needs a patch that is free"),
        (lambda: jobs("lavan", areas=[0.0]), "got 0.0"),
        (lambda: jobs("transfer", Context()), "--transfer-from"),
        (lambda: jobs("universal-patch", Context()), "name data with --data; .* val split"),
        (lambda: jobs("universal-patch", MASKED), "free to be placed, not a mask"),
        (lambda: jobs("lavan", steps=[0]), "steps: expected from 1"),
        (lambda: Context(0.1, BOX), "one of them"),
        (lambda: Context(None), "one of them"),
        (lambda: Context(eps=0.0), "eps: expected a radius"),
        (lambda: Context(eps=8.0), "such as 8/255, got 8.0"),
        (lambda: Context(restarts=0), "restarts: expected from 1"),
        (lambda: Context(budget="huge"), "'quick', 'standard', 'full'"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()
