"""Tables of a result file of `benchmarks.mixing`."""

from typing import Any

from benchmarks.harness import markdown

FLOOR = "read two batches, write one"
"""Candidate with the minimum memory traffic of a mix."""
LARGE = 128
"""Side in pixels from which medians are shown instead of minima. Batches this large get new memory from the system in most calls and, by
chance, used memory in some, which is three times faster."""

Sizes = dict[str, dict[str, dict[str, float]]]
"""Measurements by side and candidate."""

TARGETS: list[tuple[str, str, str, dict[str, float]]] = [
    ("smix Mixup", "torchvision MixUp (per batch)", "at most", {"32": 1.0, "64": 1.0, "224": 1.0}),
    ("smix CutMix", "torchvision CutMix (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("smix HMix", "torchvision CutMix (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("smix GMix", "torchvision MixUp (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("smix SMix", "torchvision MixUp (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("timm cutmix (per sample, in place)", "smix CutMix", "at least", {"32": 7.0, "64": 4.0}),
    ("FMix's code, 128 masks", "smix FMix", "at least", {"32": 10.0, "64": 10.0, "224": 3.0}),
]
"""Two candidates, and the limits of the ratio of their times by side."""


def times(sizes: Sizes) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each candidate at each size: minima of small images, medians of large ones."""
    return {
        side: {name: value["median_ms" if int(side) >= LARGE else "min_ms"] for name, value in values.items()}
        for side, values in sizes.items()
    }


def page(result: dict[str, Any]) -> str:
    """Return the Markdown page of a result."""
    rounds = ", ".join(f"{count} at {side} px" for side, count in result["rounds"].items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"# Mixing a batch of 128, {result['date']}",
        "",
        f"{result['hardware']} ({result['processor']}); {versions}. Rounds: {rounds}. Minimum times at 32 and 64 px, medians at 224 px.",
        "",
        *(["## Targets", "", *_targets(result["sizes"]), ""] if result["hardware"].startswith("CPU") else []),
        "## All candidates",
        "",
        *_all_candidates(result["sizes"]),
        "",
        "Peak memory: torch's allocations in addition to the input and one output, in batches of images.",
    ]
    return "\n".join(lines) + "\n"


def _targets(sizes: Sizes) -> list[str]:
    measured = times(sizes)
    rows = []
    for numerator, denominator, sense, limits in TARGETS:
        if not {numerator, denominator} <= set(next(iter(sizes.values()))):
            continue  # a peer that is not installed
        ratios = {side: values[numerator] / values[denominator] for side, values in measured.items()}
        rows.append(
            [numerator, denominator, *(_ratio(ratio, sense, limits.get(side)) for side, ratio in ratios.items())]
        )
    return markdown(["time of", "divided by that of", *(f"{side} px" for side in sizes)], rows, text_columns=2)


def _ratio(ratio: float, sense: str, limit: float | None) -> str:
    """Return a ratio with its limit; bold if it misses the limit."""
    if limit is None:
        return f"{ratio:.2f}"
    met = ratio <= limit if sense == "at most" else ratio >= limit
    return f"{ratio:.2f} ({sense} {limit:g})" if met else f"**{ratio:.2f}** ({sense} {limit:g})"


def _all_candidates(sizes: Sizes) -> list[str]:
    """Return the table of milliseconds, each also as a multiple of the time to read two batches and write one."""
    head = ["candidate", *(f"{side} px (x floor)" for side in sizes), "peak memory, 224 px"]
    measured, last = times(sizes), list(sizes.values())[-1]
    rows = []
    for name in next(iter(sizes.values())):
        cells = [f"{values[name]:.3g} ms ({values[name] / values[FLOOR]:.1f})" for values in measured.values()]
        peak = last[name].get("peak_batches")
        rows.append([name, *cells, "" if peak is None else f"{peak:.2f}"])
    return markdown(head, rows)
