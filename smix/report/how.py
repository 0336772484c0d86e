"""Describe how a comparison was made: the options that all of its runs share."""

from pathlib import Path

from smix.report.comparison import Comparison
from smix.report.tables import by_method

NOT_SHARED = ("method", "seed", "masks")
NOT_GIVEN = {"train_limit": "all", "test_limit": "all", "image_size": "their own", "init_weights": "random weights"}
"""Meaning of options without a value."""


def how(comparison: Comparison) -> list[tuple[str, str]]:
    """Options, data and masks, by name."""
    first = comparison.begun[0]
    config = {name: value for name, value in first.config.to_json().items() if name not in NOT_SHARED}
    config["milestones"] = list(first.config.drops)
    config["data"] = _without_path(first.config.data)
    if first.config.init_weights is not None:
        config["init_weights"] = Path(first.config.init_weights).name
    facts = [(name.replace("_", "-"), _text(name, value)) for name, value in config.items()]
    counts = first.provenance["data"]["images"]
    facts.append(("images", ", ".join(f"{count:,} {part}" for part, count in counts.items())))
    if masks := next((run.provenance["masks"] for run in comparison.begun if run.provenance["masks"]), None):
        source, refine = masks["source"], masks["refine"]
        side = source.get("input_size", "own")
        size = "" if side == "own" else f", input size {' x '.join(map(str, side))}"
        facts.append(("masks", f"{source['name']}{size}" + (f", refinement {refine['name']}" if refine else "")))
        facts.append(("masks that show no object", f"{100 * masks['empty']:.1f} % of the training images"))
    for method, mine in by_method(comparison.runs).items():
        shares = [epoch.fell_back for run in mine for epoch in run.metrics]
        if any(shares):
            facts.append(
                (f"{method} gave to its second method", f"{100 * sum(shares) / len(shares):.1f} % of its samples")
            )
    return facts


def versions(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the versions of packages and devices; several where the runs differ."""
    found: dict[str, dict[str, None]] = {}
    for run in comparison.begun:
        for name, version in run.provenance["versions"].items():
            found.setdefault(name, {})[str(version)] = None
        for name in ("threads", "processes", "precision", "compile"):
            if name in run.provenance:
                found.setdefault(name, {})[str(run.provenance[name])] = None
    for run in comparison.runs:
        if run.result is not None:
            found.setdefault("device", {})[run.result.device] = None
    return [(name, ", ".join(values)) for name, values in found.items()]


def _without_path(data: str) -> str:
    """Return the last part of npz:FILE and folder:DIR: where a file lay is nobody's business. hf:OWNER/NAME is no path."""
    kind, colon, place = data.partition(":")
    is_path = kind != "hf" or place.startswith(("/", ".", "~"))
    return f"{kind}:{Path(place).name if is_path else place}" if colon else kind


def _text(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return NOT_GIVEN.get(name, "none") if value is None else str(value)
