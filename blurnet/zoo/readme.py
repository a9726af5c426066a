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
    """models/README.md: one table a data set, the most robust first: by AutoPatch, then by RP2."""
    cards = sorted(cards, key=_rank)
    parts = [
        "# Models",
        "Rates in percent with 95 % intervals. AutoPatch is robust accuracy: the share of images answered rightly with "
        "and without the attack (higher is more robust). RP2 is made on each model itself; its success is any change "
        "of label, on average over the targets and for the worst target (lower is more robust). "
        "Compare a defended net with a baseline of its own lineage; each model's card has settings and commands.",
    ]
    header = (
        "model",
        "defense",
        "lineage",
        "clean",
        "AutoPatch",
        "RP2 average",
        "RP2 worst",
        "dissimilarity",
        "parameters",
        "file",
    )
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
        _robust(card, "autopatch"),
        _average(rp2) if rp2 else "-",
        str(rp2.worst) if rp2 else "-",
        f"{rp2.dissimilarity:.3f}" if rp2 else "-",
        f"{card.parameters:,}",
        f"[model.safetensors]({card.name}/model.safetensors)",
    )


def _rank(card: Card) -> tuple[str, float, float, str]:
    patch = card.under("autopatch")
    return (
        card.dataset,
        -patch.robust.value if patch else 1.0,
        card.rp2.average if card.rp2 else 101.0,
        card.name,
    )


def _robust(card: Card, attack: str) -> str:
    figures = card.under(attack)
    return f"{figures.robust}, {figures.threat}" if figures else "-"


def _figures(card: Card) -> str:
    rp2, published = card.rp2, card.published or Published("")
    measured = (
        (f"clean accuracy, {card.clean_set}" if card.clean_set else "clean accuracy", card.clean, published.accuracy),
        ("RP2 success, average over targets", rp2 and _average(rp2), published.average),
        ("RP2 success, worst target", rp2 and f"{rp2.worst}, {rp2.worst_target}", published.worst),
        ("L2 dissimilarity", rp2 and f"{rp2.dissimilarity:.3f}", published.dissimilarity),
        *(
            (f"robust accuracy under {f.attack}, {f.threat}", f"{f.robust}; {f.calls:,} model calls an image", None)
            for f in card.per_image
        ),
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
    lines = [f"RP2 on {card.rp2.victims}: `{card.rp2.settings}`."] if card.rp2 else []
    lines += [f"{f.attack} on {f.images}: `{f.settings}`." for f in card.per_image]
    if card.flags is not None:
        raised = ", ".join(card.flags)
        lines.append(f"Sanity checks raised: {raised}." if raised else "Sanity checks of the attacks raised no flag.")
    return "\n\n".join(lines)


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
