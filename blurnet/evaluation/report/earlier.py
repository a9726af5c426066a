"""Reports of earlier versions, turned into the present format.

Format 1 lacked attacks on single images, the adaptive note, sanity checks and flags; earlier reports of formats 1 and 2
lack the defenses. Both wrote an average as a value with its interval, without a count.
"""

from blurnet.rates import Rate
from blurnet.strict import JSON

FORMATS = (1, 2, 3)

#: What every report has, whatever its format.
NEEDED = {"blurnet": str, "versions": dict, "command": str, "model": dict, "attacks": list}


def present(data: JSON, where: str) -> dict[str, JSON]:
    """The content of a report.json of any format as the present format has it.

    Raises:
        ValueError: no report of a known format, or a damaged one; the message begins with ``where``.
    """
    found = data.get("format") if isinstance(data, dict) else type(data).__name__
    if type(found) is not int or found not in FORMATS:
        raise ValueError(f'{where}: no report: expected "format" 1, 2 or 3, got {found!r}')
    if wrong := [key for key, kind in NEEDED.items() if not isinstance(data.get(key), kind)]:
        raise ValueError(f"{where}: no report of an evaluation: {', '.join(wrong)} missing or of another kind")
    if found == 3:
        return dict(data)
    try:
        return _converted(data)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"{where}: a damaged report ({type(error).__name__}: {error})") from error


def _converted(data: dict[str, JSON]) -> dict[str, JSON]:
    transfer = data.get("transfer")
    changed = {
        "format": 3,
        "clean": _accuracy(data.get("clean")),
        "victims_clean": _accuracy(data.get("victims_clean")),
        "attacks": [_attack(attack, None) for attack in data["attacks"]],
        "transfer": transfer and _attack(transfer, transfer["source"]),
    }
    return data | changed


def _accuracy(part: JSON) -> JSON:
    return part and part["accuracy"]


def _attack(attack: dict[str, JSON], source: str | None) -> dict[str, JSON]:
    rows, old = attack["per_target"], attack["average"]
    reached = [row["targeted"] for row in rows if row["targeted"]]
    average = {
        "asr": _pooled([row["asr"] for row in rows]).as_dict(),
        "targeted": _pooled(reached).as_dict() if reached else None,
        "dissimilarity": old["dissimilarity"],
    }
    return attack | {"source": source, "average": average}


def _pooled(rates: list[dict[str, JSON]]) -> Rate:
    """Over all targets; a victim is no new trial for each of them."""
    n = sum(rate["n"] for rate in rates)
    return Rate.pooled(sum(rate["count"] for rate in rates), n, max(rate["n"] for rate in rates))
