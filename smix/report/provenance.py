"""The provenance of a comparison as facts: the options that all of its runs share, data, masks, versions and devices."""

from pathlib import Path

from smix.report.masks import input_size
from smix.report.page import Facts
from smix.report.records import Comparison, ReportAssets, by_method

NOT_SHARED = ("method", "seed", "masks")
UNSET = {"train_limit": "all", "test_limit": "all", "image_size": "their own", "init_weights": "random weights"}
"""Meaning of options without a value."""


def options(comparison: Comparison, assets: ReportAssets) -> Facts:
    """Return options, data and masks, by name."""
    first = comparison.begun[0]
    config = {name: value for name, value in first.config.to_json().items() if name not in NOT_SHARED}
    config["milestones"] = list(first.config.drops)
    config["data"] = _without_path(first.config.data)
    if first.config.init_weights is not None:
        config["init_weights"] = Path(first.config.init_weights).name
    rows = [(name.replace("_", "-"), _text(name, value)) for name, value in config.items()]
    counts = first.provenance["data"]["images"]
    rows.append(("images", ", ".join(f"{count:,} {part}" for part, count in counts.items())))
    if masks := next((run.provenance["masks"] for run in comparison.begun if run.provenance["masks"]), None):
        source, refine = masks["source"], masks["refine"]
        size = f", input size {input_size(source)}" if input_size(source) != "own" else ""
        rows.append(("masks", f"{source['name']}{size}" + (f", refinement {refine['name']}" if refine else "")))
        rows.append(("masks that show no object", f"{100 * masks['empty']:.1f} % of the training images"))
    for method, own in by_method(comparison.runs).items():
        shares = [epoch.fell_back for run in own for epoch in run.metrics]
        if any(shares):
            share = 100 * sum(shares) / len(shares)
            rows.append((f"{method} fell back to its second method", f"for {share:.1f} % of its samples"))
    return Facts(tuple(rows), "Options, data and masks")


def versions(comparison: Comparison, assets: ReportAssets) -> Facts:
    """Return versions of packages, and devices; several values where the runs differ."""
    values: dict[str, dict[str, None]] = {}
    for run in comparison.begun:
        settings = {name: run.provenance.get(name) for name in ("threads", "processes", "precision", "compile")}
        for name, value in (run.provenance["versions"] | settings).items():
            if value is not None:
                values.setdefault(name, {})[str(value)] = None
    for run in comparison.runs:
        if run.result is not None:
            values.setdefault("device", {})[run.result.device] = None
    return Facts(tuple((name, ", ".join(each)) for name, each in values.items()), "Versions and devices")


def _without_path(data: str) -> str:
    """Return npz:FILE and folder:DIR without their folders: where a file lay is private. hf:OWNER/NAME is no path."""
    kind, colon, place = data.partition(":")
    is_path = kind != "hf" or place.startswith(("/", ".", "~"))
    return f"{kind}:{Path(place).name if is_path else place}" if colon else kind


def _text(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return UNSET.get(name, "none") if value is None else str(value)
