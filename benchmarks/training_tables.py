"""Tables of a result file of `benchmarks.training`."""

from collections.abc import Callable
from typing import Any

from benchmarks.harness import markdown

Result = dict[str, Any]


def tables(result: Result) -> str:
    """Return the Markdown page of a result."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    data = "noise" if result["data"] == "noise" else f"of {result['data']}"
    lines = [
        f"# Training, {result['date']}",
        "",
        f"{result['hardware']} ({result['processor']}), {result['precision']}; {versions}. Batches of {result['batch']}, {data}. "
        f"Highest load average of the machine during a part: {max(result['load'].values(), default=0)} processes.",
    ]
    if result["threads"] == 1 and result["hardware"].startswith("CPU"):
        lines[-1] += " Times of steps are processor times."
    for part, measured in result.items():
        kind, _, model = part.partition(" of ")
        if kind in SECTIONS:
            title, table = SECTIONS[kind]
            lines += ["", f"## {title}{f', {model}' if model else ''}", "", *table(measured)]
    if "card" not in result:
        lines += ["", "Not measured on a GPU: no such device on this machine."]
    return "\n".join(lines) + "\n"


def _steps(methods: Result) -> list[str]:
    head = [
        "method",
        "ms (minimum)",
        "ms (median)",
        "relative to vanilla (minimum)",
        "relative to vanilla (median)",
        "added, by parts",
        "loader, crops, flips and mixing",
    ]
    rows = [
        [
            name,
            f"{step['min_ms']:.1f}",
            f"{step['median_ms']:.1f}",
            f"{step['min_over_vanilla']:.3f}",
            f"{step['median_over_vanilla']:.3f}",
            f"{step['adds_percent']:+.2f} %",
            f"{step['data_and_mixing_percent']:.2f} %",
        ]
        for name, step in methods.items()
    ]
    return markdown(head, rows)


def _peers(loops: Result) -> list[str]:
    head = [
        "loop",
        "images per second (median)",
        "speed-up (median)",
        "speed-up (best)",
        "processor time per image",
        "processor time saved, as a factor",
    ]
    rows = [
        [
            name,
            f"{loop['images_per_second_median']:.0f}",
            f"{loop['times_as_fast_median']:.2f}",
            f"{loop['times_as_fast_best']:.2f}",
            f"{loop['processor_ms_an_image']:.2f} ms",
            f"{loop['times_as_little_work']:.2f}",
        ]
        for name, loop in loops.items()
        if isinstance(loop, dict)
    ]
    return markdown(head, rows)


def _operations(shares: dict[str, float]) -> list[str]:
    return markdown(["part of a step", "%"], ([name, f"{share:.1f}"] for name, share in shares.items()))


def _start(parts: dict[str, float]) -> list[str]:
    return markdown(["part", "s"], ([name, f"{seconds:.2f}"] for name, seconds in parts.items()))


def _parity(parity: Result) -> list[str]:
    rows = [
        [name, f"{100 * loop['mean']:.2f} %", f"{100 * loop['std']:.2f}"]
        for name, loop in parity.items()
        if isinstance(loop, dict) and "mean" in loop
    ]
    setting = f"{parity['images']['train']:,} images, {parity['epochs']} epochs, batch {parity['batch']}."
    return [*markdown(["loop", "test accuracy, mean", "standard deviation"], rows), "", setting]


def _card(card: Result) -> list[str]:
    rows = []
    for runs in ("one", "four"):
        share = card[f"share_of_peak_{runs}"]
        percent = "unknown" if share is None else f"{100 * share:.1f} %"
        rows.append([f"{runs} at a time", f"{card[f'images_per_second_{runs}']:,.0f}", percent])
    return markdown([card["model"], "images per second", "part of the bfloat16 peak"], rows)


SECTIONS: dict[str, tuple[str, Callable[[Result], list[str]]]] = {
    "steps": ("Training steps", _steps),
    "operations": ("Operations of a step of smix", _operations),
    "peers": ("smix and a plain PyTorch loop", _peers),
    "start": ("Time from the command to the first step", _start),
    "parity": ("Accuracy of both loops", _parity),
    "card": ("GPU", _card),
}
"""Title and table of each part of a result, by the first words of its key."""
