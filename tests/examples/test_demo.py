from pathlib import Path

import pytest

from blurnet.evaluation.report import read_report
from blurnet.zoo.models import list_models, models_root
from examples import demo


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning", "ignore:.*does not have many workers")
def test_the_demo_trains_attacks_and_compares(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        "sys.argv", ["demo", "--out", str(tmp_path), "--epochs", "1", "--images", "170", "--steps", "2"]
    )
    demo.main()
    assert "| baseline (shipped) |" in capsys.readouterr().out
    for folder in ("baseline", "blurnet"):
        assert (tmp_path / folder / "gallery.png").stat().st_size > 1000
        assert (tmp_path / folder / "report.json").exists()
        assert (tmp_path / folder / "report.html").exists()


@pytest.mark.skipif(not list_models(), reason="no models in this checkout")
def test_the_table_puts_reports_side_by_side() -> None:
    report = read_report(models_root() / demo.BASELINE)
    rp2 = report.attacks[0]
    figures = f"{report.clean.percent} | {rp2.average.asr.percent} | {rp2.worst.asr.percent} | {report.robust.percent}"
    assert f"| net | {figures} |" in demo.render({"net": report})
