"""The published tables on the real victims, and the shape of what the scripts write."""

import json
from pathlib import Path

import pytest
import torch

from blurnet.data.sources.victims import load_victims
from reproduce import blurnet_table1
from reproduce._common.arguments import victims_folder
from reproduce._common.rp2 import attack_victims
from reproduce.blurnet_table2 import lineage_rows


def test_table_1_within_one_image_of_the_published_rates(shared_data: Path) -> None:
    rows = blurnet_table1.table(victims_folder(shared_data))
    assert [row.name for row in rows] == [row[0] for row in blurnet_table1.PUBLISHED]
    assert (rows[0].accuracy.value, rows[0].asr.value) == (100.0, 90.0)
    for row in rows:
        assert abs(row.asr.value - row.published["asr"]) <= 2.5
        assert abs(row.accuracy.value - row.published["accuracy"]) <= 5.0
        assert row.asr.n == 40
    kept = json.loads((Path(blurnet_table1.__file__).parent / "results" / "blurnet_table1.json").read_text())["rows"]
    assert [row.plain() for row in rows] == kept


def test_table_1_writes_the_rows_it_prints(shared_data: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    file = tmp_path / "deep" / "table1.json"
    monkeypatch.setattr("sys.argv", ["table1", "--root", str(shared_data), "--json", str(file)])
    blurnet_table1.main()
    written = json.loads(file.read_text())["rows"]
    assert {"row", "published", "measured"} == set(written[0])
    assert "L1 maps 5x5" in capsys.readouterr().out


@pytest.mark.slow
def test_white_box_rp2_on_the_authors_net(shared_data: Path, authors_net: torch.nn.Module) -> None:
    victims = load_victims(f"rp2:{victims_folder(shared_data)}")
    result = attack_victims(authors_net.to(memory_format=torch.channels_last), victims, 100)
    altered = result["altered"]
    assert len(altered) == 17
    assert 2.5 * sum(altered) / len(altered) >= 53
    assert 2.5 * max(altered) >= 92.5
    assert result["dissimilarity"] <= 0.275


def test_lineages_are_summed_up_over_seeds() -> None:
    shared = {"lineage": "a", "row": "lisa_cnn", "name": "", "altered_last": [0, 2], "dissimilarity": 0.25}
    runs = [
        {**shared, "seed": 0, "accuracy": 90.0, "altered": [4, 8]},
        {**shared, "seed": 1, "accuracy": 94.0, "altered": [8, 16]},
        {**shared, "seed": 2, "accuracy": 30.0, "altered": [0, 0]},  # answers one class: counted, not averaged
    ]
    (row,) = lineage_rows(runs)
    assert (row["row"], row["seeds"]) == ("a/lisa_cnn", 2)
    assert row["collapsed_seeds"] == [2]
    assert row["measured"]["accuracy"] == {"mean": 92.0, "low": 90.0, "high": 94.0}
    assert row["measured"]["asr"] == {"mean": 22.5, "low": 15.0, "high": 30.0}
    assert row["measured"]["worst"] == {"mean": 30.0, "low": 20.0, "high": 40.0}
