"""A table and a picture of one file of results: `python -m benchmarks.show benchmarks/results/mixing_cpu_DATE.json`."""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

FLOOR = "read two batches, write one"
OURS, PEERS = "#c2185b", "#607d8b"
LARGE = 128
"""From this side on a batch is new memory from the system at most calls and, by luck, used memory at some, three times faster:
so the median counts there, and the least time below."""

Sizes = dict[str, dict[str, dict[str, float]]]


def times(sizes: Sizes) -> dict[str, dict[str, float]]:
    """Milliseconds of each candidate at each size."""
    return {
        side: {name: value["median_ms" if int(side) >= LARGE else "min_ms"] for name, value in values.items()}
        for side, values in sizes.items()
    }


def table(sizes: Sizes) -> list[str]:
    """Milliseconds, and times the cost of reading two batches and writing one."""
    lines = [
        "| what | " + " | ".join(f"{side} px (x floor)" for side in sizes) + " | peak memory, 224 px |",
        "| --- |" + " ---: |" * (len(sizes) + 1),
    ]
    first = next(iter(sizes.values()))
    for name in first:
        cells = [f"{values[name]:.3g} ms ({values[name] / values[FLOOR]:.1f})" for values in times(sizes).values()]
        peak = list(sizes.values())[-1][name].get("peak_batches")
        lines.append(f"| {name} | {' | '.join(cells)} | {'' if peak is None else f'{peak:.2f}'} |")
    return lines


TARGETS: list[tuple[str, str, str, dict[str, float]]] = [
    ("smix Mixup", "torchvision MixUp (per batch)", "at most", {"32": 1.0, "64": 1.0, "224": 1.0}),
    ("smix CutMix", "torchvision CutMix (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("smix HMix", "torchvision CutMix (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("smix GMix", "torchvision MixUp (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("smix SMix", "torchvision MixUp (per batch)", "at most", {"32": 2.0, "64": 2.0, "224": 1.5}),
    ("timm cutmix (per sample, in place)", "smix CutMix", "at least", {"32": 7.0, "64": 4.0}),
    ("FMix's code, 128 masks", "smix FMix", "at least", {"32": 10.0, "64": 10.0, "224": 3.0}),
]


def targets(sizes: Sizes) -> list[str]:
    lines = ["| time of | over that of | " + " | ".join(f"{side} px" for side in sizes) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(sizes))
    for one, other, sense, wanted in TARGETS:
        if not {one, other} <= set(next(iter(sizes.values()))):
            continue  # a peer that is not installed
        cells = []
        for side, values in times(sizes).items():
            ratio = values[one] / values[other]
            limit = wanted.get(side)
            if limit is None:
                cells.append(f"{ratio:.2f}")
                continue
            met = ratio <= limit if sense == "at most" else ratio >= limit
            cells.append(f"{'**' if not met else ''}{ratio:.2f}{'**' if not met else ''} ({sense} {limit:g})")
        lines.append(f"| {one} | {other} | {' | '.join(cells)} |")
    return lines


def picture(result: dict) -> Figure:
    sizes = times(result["sizes"])
    names = [name for name in next(iter(sizes.values())) if ", " not in name or not name.startswith("smix")]
    names.remove(FLOOR)
    figure = Figure(figsize=(13, 0.27 * len(names) + 1.6))
    for place, (side, values) in enumerate(sizes.items()):
        axes = figure.add_subplot(1, len(sizes), place + 1)
        ordered = sorted(names, key=lambda name, values=values: -values[name])
        lengths = [values[name] for name in ordered]
        axes.barh(ordered, lengths, color=[OURS if name.startswith("smix") else PEERS for name in ordered])
        for row, ms in enumerate(lengths):
            axes.text(ms, row, f" {ms:.3g}", va="center", fontsize=7)
        axes.axvline(values[FLOOR], color="black", linewidth=0.8, linestyle=":")
        axes.set_xscale("log")
        axes.set_xlim(right=max(lengths) * 4)
        axes.tick_params(axis="y", labelsize=7, length=0)
        axes.tick_params(axis="x", labelsize=7)
        axes.set_title(f"{side} px, ms a batch of 128 (log)", fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
    where = f"{result['processor']}, {result['threads']} threads" if "CPU" in result["hardware"] else result["hardware"]
    figure.suptitle(
        f"Time to mix a batch, labels included: smix (pink) and others (grey). Dotted: read two batches, write one. {where}",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    figure.tight_layout()
    return figure


def main(path: Path) -> None:
    result = json.loads(path.read_text())
    rounds = ", ".join(f"{count} at {side} px" for side, count in result["rounds"].items())
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"# Mixing a batch of 128, {result['date']}",
        "",
        f"{result['hardware']} ({result['processor']}); {versions}. Rounds: {rounds}. Least times at 32 and 64 px, medians at 224 px.",
        "",
        *(["## Targets", "", *targets(result["sizes"]), ""] if result["hardware"].startswith("CPU") else []),
        "## All",
        "",
        *table(result["sizes"]),
        "",
        "Peak memory: torch's allocations beyond the input and one output, in batches of images.",
    ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")
    picture(result).savefig(path.with_suffix(".png"), dpi=110)
    print(path.with_suffix(".md"), path.with_suffix(".png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
