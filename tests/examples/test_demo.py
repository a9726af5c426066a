from pathlib import Path

import pytest

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


def test_the_table_puts_reports_side_by_side() -> None:
    report = {
        "clean": {"accuracy": {"value": 90.0}},
        "attacks": [{"average": {"asr": 12.5}, "worst": {"asr": {"value": 30.0}}}],
        "per_image": {"robust": {"value": 2.5}},
    }
    assert "| net | 90.0 % | 12.5 % | 30.0 % | 2.5 % |" in demo.render({"net": report})
