"""The bracket: what is proven below, what attacks leave above, and a certificate that an attack breaks."""

import json

import pytest
import torch
from torch import Tensor, nn

import blurnet
from blurnet.certified.base import Certificate
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.minority import MinorityReports
from blurnet.cli import evaluate_main
from blurnet.evaluation.render.html import report_html
from blurnet.evaluation.render.summary import summary
from blurnet.evaluation.report.certified import BROKEN
from blurnet.evaluation.report.report import Report, read_report
from blurnet.transforms.base import defend
from blurnet.transforms.median import Median
from tests.evaluation.tiny_subject import CLASSES, LIGHTNING, MASK, Blot, Counted

pytestmark = [pytest.mark.filterwarnings(text) for text in LIGHTNING]
QUICK = {"sanity": False, "progress": False, "device": "cpu", "classes": CLASSES}


class Smooth(nn.Module):
    """A net whose answer hangs on all of the image, so that masks change few of them."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3)) - 0.48
        return torch.cat([mean, -mean], 1)


class Lying(DoubleMasking):
    """Certifies everything that it answers correctly."""

    def proven(self, images: Tensor, labels: Tensor) -> Certificate:
        found = super().proven(images, labels)
        return found._replace(certified=found.prediction == labels)


def images(n: int = 12) -> tuple[Tensor, Tensor]:
    data = Counted(n)
    x = torch.stack([data[i][0] for i in range(n)])
    x[: n // 2] = 0.6 * x[: n // 2] + torch.tensor([0.4, 0.0, 0.1]).view(3, 1, 1)
    return x, Smooth()(x).argmax(1)


def evaluated(net: nn.Module, out=None, **settings) -> Report:
    x, y = images()
    given = QUICK | {"attacks": [Blot(0.05)], "patch": 0.05, "certify": True, "shard": 5} | settings
    return blurnet.evaluate(net, x, y, groups=[i // 2 for i in range(len(x))], out=out, **given)


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Report:
    torch.set_num_threads(1)
    net = DoubleMasking(Smooth().eval(), area=0.05, masks=3)
    return evaluated(net, tmp_path_factory.mktemp("certified"), curve_areas="0.02,0.1", attacks="lavan:steps=2")


def test_certified_accuracy_stands_below_robust_accuracy(report):
    x, y = images()
    wanted = DoubleMasking(Smooth().eval(), area=0.05, masks=3).certify(x, y)
    part = report.certified
    assert (part.certified.count, part.certified.n) == (int(wanted.certified.sum()), 12)
    assert 0 < part.certified.count < 12
    assert part.certified.groups == 6  # frames of one track are resampled together
    assert part.clean.count == int((wanted.prediction == y).sum())
    assert part.plain.count == 12
    assert part.calls.total == int(wanted.passes.sum())
    assert part.threat == "one 3x3-pixel patch (6.2 % of 12x12), anywhere"
    (bracket,) = part.brackets
    assert (bracket.attacks, bracket.certified) == (["lavan steps=2"], part.certified)
    assert bracket.certified.count <= bracket.attacked.count == report.per_image.robust.count
    assert not report.flags


def test_every_image_has_its_line(report):
    x, y = images()
    wanted = DoubleMasking(Smooth().eval(), area=0.05, masks=3).certify(x, y)
    rows = [row for row in report.records if row.attack == "certificate"]
    assert [row.robust for row in rows] == wanted.certified.tolist()
    assert [row.calls for row in rows] == wanted.passes.tolist()
    assert {row.stage for row in rows} <= {None, "not certified", "wrong before any attack"}


def test_curves_have_both_edges(report):
    """A patch of 2 % is covered, one of 10 % is not."""
    (curve,) = report.per_image.curves
    assert [point.value for point in curve.points] == [0.02, 0.05, 0.1]
    assert [point.certified == report.certified.certified for point in curve.points] == [True, True, False]
    assert curve.points[2].certified is None
    page = report_html(report)
    assert "dashed: certified" in page
    assert "| area | robust accuracy | certified |" in summary(report)


def test_the_report_shows_the_bracket(report, tmp_path):
    page, text = report_html(report), summary(report)
    proof = report.certified
    assert page.index("Certified accuracy") < page.index("Robust accuracy</p>")
    assert f'width:{proof.certified.value}%"></i>' in page
    assert f"{proof.brackets[0].attacked.percent} left by lavan" in page
    assert f"| {proof.certified.value:.1f} to {proof.brackets[0].attacked.percent} |" in text
    assert read_report(report.save(tmp_path)) == report
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["attack"] == "certificate"


def test_no_upper_edge_without_an_attack_that_is_covered():
    report = evaluated(DoubleMasking(Smooth().eval(), area=0.02), attacks=[Blot(0.25)], patch=0.25)
    assert report.certified.brackets == []
    assert "no upper edge" in summary(report)
    assert "no upper edge" in report_html(report)


def test_a_mask_that_the_patch_covers():
    """MASK is 5x5 pixels: it lies inside a mask for a patch of 5x5 pixels, and inside none for 2x2."""
    for patch, count in ((5, 1), (2, 0)):
        net = DoubleMasking(Smooth().eval(), patch=patch, masks=3)
        report = evaluated(net, attacks="lavan:steps=2", mask=MASK, patch="mask")
        assert len(report.certified.brackets) == count


def test_a_broken_certificate_fails_the_run(tmp_path):
    net = Lying(Smooth().eval(), area=0.25)
    with pytest.raises(RuntimeError, match=r"broke images that are certified.*'images': \d+"):
        evaluated(net, tmp_path, attacks="lavan:steps=30", patch=0.25)
    report = read_report(tmp_path)  # written all the same
    assert [flag.name for flag in report.flags] == [BROKEN]
    assert "broken-certificate" in summary(report)


def test_a_broken_certificate_cannot_be_excused(tmp_path, monkeypatch, capsys):
    made = tmp_path / "made.py"
    made.write_text(
        "from tests.evaluation.report.test_certified import Lying\n"
        "import blurnet\n"
        "def net():\n"
        "    plain = blurnet.load_model('lisa_cnn')\n"
        "    lying = Lying(plain, area=0.2)\n"
        "    lying.classes, lying.image_size = plain.classes, (32, 32)\n"
        "    return lying.eval()\n"
    )
    out = tmp_path / "out"
    command = ["--model", f"{made}:net", "--out", str(out), "--attacks", "lavan:steps=10", "--patch", "0.2", "--limit"]
    command += ["4", "--certify", "--no-sanity", "--allow-flags", "--device", "cpu"]
    assert evaluate_main([*command, "--trainer.enable_progress_bar", "false"]) == 3
    assert "broken-certificate" in capsys.readouterr().out


def test_certify_alone_from_the_command_line(tmp_path, capsys):
    """A shipped model behind double masking: no attack, but certificates."""
    command = ["--model", "lisa_cnn-patch", "--out", str(tmp_path), "--attacks", "", "--certify", "--limit", "3"]
    command += ["--defenses", "double_masking:area=0.05:masks=2,median", "--device", "cpu"]
    assert evaluate_main([*command, "--trainer.enable_progress_bar", "false"]) == 0
    assert "one 7x7-pixel patch (4.8 % of 32x32), anywhere" in capsys.readouterr().out
    report = read_report(tmp_path)
    assert report.certified.certified.n == 3
    assert report.settings["certify"] is True


def test_what_is_certified_need_not_be_attacked(report):
    """The same figures; only images that are not certified cost calls, where the certificate covers the attack."""
    net = DoubleMasking(Smooth().eval(), area=0.05, masks=3)
    spared = evaluated(net, attack_certified=False, curve_areas="0.02,0.1", attacks="lavan:steps=2")
    assert spared.certified.certified == report.certified.certified
    assert spared.per_image.robust == report.per_image.robust
    proven = {row.index for row in spared.records if row.attack == "certificate" and row.robust}
    assert 0 < len(proven) < 12
    for name in ("lavan steps=2", "lavan steps=2 area 0.1"):
        free = {row.index for row in spared.records if row.attack == name and row.calls == 0}
        assert (proven <= free) == (name == "lavan steps=2")
    assert "Certified images were not attacked" in report_html(spared)
    assert "certified images were not attacked" in summary(spared)
    assert "ertified images were not attacked" not in report_html(report) + summary(report)
    with pytest.raises(ValueError, match="--no-attack-certified: nothing is certified; add --certify"):
        evaluated(net, certify=False, attack_certified=False)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (lambda: Smooth().eval(), "Smooth is no certified defense; put one in front of it, such as --defenses double"),
        (lambda: MinorityReports(Smooth().eval(), patch=2), "only raises an alarm"),
        (
            lambda: defend(DoubleMasking(Smooth().eval(), patch=2), Median()).eval(),
            "DoubleMasking stands inside Sequential, and what comes before its masks may spread",
        ),
        (lambda: DoubleMasking(Smooth().eval(), patch=12), "fill the 12x12 image"),
    ],
)
def test_what_cannot_be_certified_is_said_before_any_work(net, message):
    with pytest.raises(ValueError, match=message):
        evaluated(net())
