"""What the README and the docs say exists, exists; their snippets run."""

import argparse
import json
import re
from pathlib import Path

import pytest
import torch

import blurnet
from blurnet.cli.options import config_of
from blurnet.cli.options import parser as evaluate_parser
from blurnet.evaluation.attacks import parse_attacks
from blurnet.rates import Rate
from blurnet.strict import from_dict
from blurnet.zoo.parse import parse_defenses
from reproduce._common.table2 import RESULTS
from reproduce._common.tables import shown
from reproduce.blurnet_baselines import print_table, table
from reproduce.blurnet_table2 import lineage_rows, print_lineages, print_shipped

REPO = Path(__file__).parents[1]
TEXTS = [
    REPO / "README.md",
    REPO / "CONTRIBUTING.md",
    REPO / "data" / "README.md",
    *sorted((REPO / "docs").glob("*.md")),
]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(REPO)))
def test_what_a_text_names_exists(path: Path) -> None:
    text = path.read_text()
    for config in re.findall(r"configs/train/[\w.-]+\.yaml", text):
        assert (REPO / config).is_file() or "NAME" in config, config
    for target in re.findall(r"make (\w+)`", text):
        assert f"\n{target}:" in (REPO / "Makefile").read_text(), target
    for module in re.findall(r"python -m ((?:reproduce|benchmarks|examples|tools)[\w.]*)", text):
        assert (REPO / (module.replace(".", "/") + ".py")).is_file(), module
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (path.parent / link).exists(), link
    assert "@" not in re.sub(r"\S+@\S+\.\S+|@[\w.]+\(", "", text), "a placeholder was left"


def test_every_evaluate_command_parses() -> None:
    commands = [c for p in TEXTS for c in re.findall(r"^python evaluate\.py (.+)$", p.read_text(), re.MULTILINE)]
    assert commands
    for command in commands:
        config = config_of(evaluate_parser().parse_args(command.split()))
        assert parse_attacks(config.attacks)
        parse_defenses(config.defenses)


def test_models_that_the_readme_loads_are_shipped() -> None:
    names = re.findall(r"load_model\(\"([\w.-]+)\"\)", (REPO / "README.md").read_text())
    assert names
    assert set(names) <= set(blurnet.list_models())


def test_the_snippet_for_your_own_net_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    (snippet,) = [block for block in blocks if "insert_after" in block]
    scope = {"images": torch.rand(2, 3, 64, 64), "labels": torch.tensor([1, 2])}
    exec(snippet.replace('weights="DEFAULT"', "weights=None"), scope)  # the same lines, without a download
    assert scope["loss"].requires_grad
    assert len(blurnet.penalties(scope["net"])) == 1  # that of the kernel; the maps' was read


def test_the_snippet_for_a_robustness_number_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "README.md").read_text(), re.DOTALL)
    (snippet,) = [block for block in blocks if "blurnet.evaluate" in block]
    monkeypatch.chdir(tmp_path)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 3))
    images = torch.rand(2, 3, 16, 16)
    scope = {"net": net, "images": images, "labels": net(images).argmax(1)}
    exec(snippet, scope)
    assert scope["report"].robust.n == 2
    assert (tmp_path / "runs" / "mine" / "report.html").is_file()


@pytest.mark.parametrize("name", blurnet.list_models())
def test_the_table_of_models_says_what_the_cards_say(name: str) -> None:
    card = blurnet.load_model(name).card
    held_out = card.under_held_out("autopatch")
    proven = max((figures.certified for figures in card.certified), key=lambda rate: rate.n, default=None)
    row = (
        f"| [`{name}`](models/{name}/README.md) | {card.clean.value:.1f} | {card.under('autopatch').robust.value:.1f} "
        f"| {held_out.robust.value:.1f} | {'-' if proven is None else f'{proven.value:.1f}'} "
        f"| {card.under('pgd').robust.value:.1f} "
        f"| {'-' if card.rp2 is None else f'{card.rp2.average.value:.1f}'} "
        f"| {'-' if card.rp2 is None else f'{card.rp2.worst.value:.1f}'} |"
    )
    assert row in (REPO / "README.md").read_text()


def test_the_lineages_in_the_docs_are_those_measured(capsys: pytest.CaptureFixture[str]) -> None:
    print_lineages(lineage_rows(json.loads(RESULTS.read_text())))
    assert capsys.readouterr().out.strip() in (REPO / "docs" / "reproduction.md").read_text()


def test_the_baselines_in_the_docs_are_those_of_the_cards(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(table(argparse.Namespace(attack=False, rows=None)))
    assert capsys.readouterr().out.strip() in (REPO / "docs" / "reproduction.md").read_text()


def test_how_much_wider_tracks_make_the_cards_is_as_the_docs_say() -> None:
    ratios = []
    for name in blurnet.list_models():
        clean = blurnet.load_model(name).card.clean
        alone = Rate.of(clean.count, clean.n)
        if clean.groups is not None:
            ratios.append((clean.high - clean.low) / (alone.high - alone.low))
    said = f"the cards' clean accuracies {min(ratios):.1f} to {max(ratios):.1f} times as wide"
    assert " ".join((REPO / "docs" / "reproduction.md").read_text().split()).count(said) == 2


def test_table_2_in_the_docs_is_what_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    print_shipped(json.loads((RESULTS.parent / "blurnet_table2.json").read_text())["rows"])
    assert capsys.readouterr().out.strip() in (REPO / "docs" / "reproduction.md").read_text()


def _rates(value: object) -> list[Rate]:
    """Every rate of a row but those of its curve, which is drawn and not printed."""
    if isinstance(value, dict) and {"value", "low", "high"} <= set(value):
        return [from_dict(Rate, value, "rate")]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [rate for key, item in items if key != "curve" for rate in _rates(item)]


@pytest.mark.parametrize(
    "name",
    [
        "certified_masking",
        "ciidefence",
        "deep_protection",
        "deep_protection_adaptive",
        "map_text",
        "masked_imagenet",
        "masked_imagenet_k6",
        "masked_imagenet_mobilenetv2",
    ],
)
def test_the_docs_show_every_rate_that_a_script_measured(name: str) -> None:
    results = json.loads((RESULTS.parent / f"{name}.json").read_text())
    text = (REPO / "docs" / "reproduction.md").read_text()
    rates = _rates(results["rows"])
    assert rates
    assert [shown(rate) for rate in rates if shown(rate) not in text] == []
    assert results["command"].split(" --")[0] in text
