from pathlib import Path

import pytest

from examples import demo
from tests.evaluation.sample_report import sample_report, universal


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning", "ignore:.*does not have many workers")
def test_the_demo_trains_attacks_and_compares(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        "sys.argv", ["demo", "--out", str(tmp_path), "--epochs", "1", "--images", "170", "--steps", "2"]
    )
    demo.main()
    printed = capsys.readouterr().out
    assert "| baseline (shipped) |" in printed
    certified = next(line for line in printed.splitlines() if line.startswith("| masked net")).split("|")[-2]
    assert certified.strip().endswith("%")
    assert (tmp_path / "demo.png").stat().st_size > 1000
    for folder in ("baseline", "blurnet", "masked"):
        assert (tmp_path / folder / "gallery.png").stat().st_size > 1000
        assert (tmp_path / folder / "report.json").exists()
        assert (tmp_path / folder / "report.html").exists()


def test_the_table_puts_reports_side_by_side() -> None:
    rp2 = universal("rp2", None, 1, 7, 3)
    text = demo.render({"net": sample_report(attacks=[rp2])})
    assert "| net | 97.5 % | 52.4 % | 100.0 % | 50.0 % | - |" in text
    assert demo.standing(sample_report(attacks=[rp2])) == [97.5, 0.0, 50.0, None]
    assert len(demo.picture({"net": sample_report(attacks=[rp2])}).axes) == 1
