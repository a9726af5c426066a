"""Cards for people: a model's README.md and the leaderboard, generated so that they cannot drift from the data."""

from collections.abc import Iterable

from blurnet.zoo.card import Card, Published, RP2Figures


def render_readme(card: Card) -> str:
    """README.md of a model, in Markdown with the front matter of the Hugging Face Hub."""
    license_id = card.license.lower() if " " not in card.license else "other"
    parts = [
        f"---\nlibrary_name: blurnet\nlicense: {license_id}\npipeline_tag: image-classification\n---",
        f"# {card.title}",
        f"`{card.name}`: {card.net} with {card.classes} classes, {card.parameters:,} parameters; "
        f"{card.lineage}. Images are RGB in [0, 1], outputs are logits.",
        _figures(card),
        f'```python\nimport blurnet\n\nnet = blurnet.load_model("{card.name}")\n'
        "logits = net(images)  # (N, 3, H, W) in [0, 1]; net.classes names the outputs\n```",
        "## Where it comes from",
        _origin(card),
    ]
    if card.notes:
        parts += ["## Notes", "\n".join(f"- {note}" for note in card.notes)]
    return "\n\n".join([*parts, "This file is generated from card.json."]) + "\n"


def render_leaderboard(cards: Iterable[Card]) -> str:
    """models/README.md: one table a data set, the least fooled by RP2 first."""
    cards = sorted(cards, key=lambda c: (c.dataset, c.rp2 is None, c.rp2.average if c.rp2 else 0.0, c.name))
    parts = [
        "# Models",
        "Rates in percent with 95 % intervals. RP2 is made on each model itself; its success is any change of label, "
        "on average over the targets and for the worst target (lower is more robust). "
        "Compare a defended net with a baseline of its own lineage; each model's card has settings and commands.",
    ]
    header = ("model", "defense", "lineage", "clean", "RP2 average", "RP2 worst", "dissimilarity", "parameters", "file")
    for dataset in dict.fromkeys(card.dataset for card in cards):
        rows = [_leaderboard_row(card) for card in cards if card.dataset == dataset]
        parts += [f"## {dataset}", _table(header, rows)]
    return "\n\n".join([*parts, "This file is generated from the cards."]) + "\n"


def _leaderboard_row(card: Card) -> tuple[str, ...]:
    rp2 = card.rp2
    return (
        f"[{card.name}]({card.name}/README.md)",
        card.defense,
        card.lineage,
        str(card.clean or "-"),
        _average(rp2) if rp2 else "-",
        str(rp2.worst) if rp2 else "-",
        f"{rp2.dissimilarity:.3f}" if rp2 else "-",
        f"{card.parameters:,}",
        f"[model.safetensors]({card.name}/model.safetensors)",
    )


def _figures(card: Card) -> str:
    rp2, published = card.rp2, card.published or Published("")
    measured = (
        (f"clean accuracy, {card.clean_set}" if card.clean_set else "clean accuracy", card.clean, published.accuracy),
        ("RP2 success, average over targets", rp2 and _average(rp2), published.average),
        ("RP2 success, worst target", rp2 and f"{rp2.worst}, {rp2.worst_target}", published.worst),
        ("L2 dissimilarity", rp2 and f"{rp2.dissimilarity:.3f}", published.dissimilarity),
    )
    if not card.published:
        rows = [(what, str(value or "not measured")) for what, value, _ in measured]
        return "\n\n".join(filter(None, [_table(("", "measured"), rows), _settings(card)]))
    lines = []
    for what, value, other in measured:
        unit = "" if what.startswith("L2") else " %"
        lines.append((what, str(value or "not measured"), "-" if other is None else f"{other:g}{unit}"))
    source = f"Published: {published.source}."
    return "\n\n".join(filter(None, [_table(("", "measured", "published"), lines), _settings(card), source]))


def _settings(card: Card) -> str:
    return f"RP2 on {card.rp2.victims}: `{card.rp2.settings}`." if card.rp2 else ""


def _average(rp2: RP2Figures) -> str:
    return f"{rp2.average:.1f} % ({rp2.average_low:.1f}-{rp2.average_high:.1f}, {rp2.targets} targets x {rp2.n})"


def _origin(card: Card) -> str:
    rows = [
        ("data", card.data),
        ("lineage", card.lineage),
        ("seed", str(card.seed)),
        ("trained by", f"`{card.command}`"),
        ("evaluated by", f"`{card.evaluate_command}`" if card.evaluate_command else "-"),
        ("training time", "-" if card.training_seconds is None else f"{card.training_seconds:,.0f} s"),
        ("license", card.license),
        ("SHA-256 of model.safetensors", f"`{card.sha256}`"),
    ]
    return _table(("", ""), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
