"""The tables of a file of results of `benchmarks.training`."""

from collections.abc import Callable
from typing import Any

Result = dict[str, Any]


def tables(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    data = "noise" if result["data"] == "noise" else f"of {result['data']}"
    lines = [
        f"# Training, {result['date']}",
        "",
        f"{result['hardware']} ({result['processor']}), {result['precision']}; {versions}. Batches of {result['batch']}, {data}. Others "
        f"used the machine, too: a mean of {max(result['load'].values(), default=0)} processes at most.",
    ]
    if result["threads"] == 1 and result["hardware"].startswith("CPU"):
        lines[-1] += " A step's time is that of the processor."
    for part, found in result.items():
        kind, _, model = part.partition(" of ")
        if kind in SHOWN:
            title, table = SHOWN[kind]
            lines += ["", f"## {title}{f', {model}' if model else ''}", "", *table(found)]
    if "card" not in result:
        lines += ["", "No GPU at hand: not measured."]
    return "\n".join(lines) + "\n"


def _steps(found: Result) -> list[str]:
    lines = [
        "| a step of | ms (least) | ms (median) | over vanilla (least) | over vanilla (median) | adds, by its parts "
        "| loader, crops, flips and mixing |",
        "| --- |" + " ---: |" * 6,
    ]
    for name, one in found.items():
        lines.append(
            f"| {name.replace('|', chr(92) + '|')} | {one['min_ms']:.1f} | {one['median_ms']:.1f} | {one['min_over_vanilla']:.3f} "
            f"| {one['median_over_vanilla']:.3f} | {one['adds_percent']:+.2f} % | {one['data_and_mixing_percent']:.2f} % |"
        )
    return lines


def _peers(found: Result) -> list[str]:
    lines = [
        "| loop | images a second (median) | times as fast (median) | (best) | processor time an image | times as little |",
        "| --- |" + " ---: |" * 5,
    ]
    for name, one in found.items():
        if isinstance(one, dict):
            lines.append(
                f"| {name} | {one['images_per_second_median']:.0f} | {one['times_as_fast_median']:.2f} "
                f"| {one['times_as_fast_best']:.2f} | {one['processor_ms_an_image']:.2f} ms | {one['times_as_little_work']:.2f} |"
            )
    return lines


def _operations(shares: dict[str, float]) -> list[str]:
    return ["| part of a step | % |", "| --- | ---: |", *(f"| {name} | {each:.1f} |" for name, each in shares.items())]


def _start(found: dict[str, float]) -> list[str]:
    return ["| | s |", "| --- | ---: |", *(f"| {name} | {each:.2f} |" for name, each in found.items())]


def _parity(found: Result) -> list[str]:
    lines = ["| loop | test accuracy, mean | standard deviation |", "| --- | ---: | ---: |"]
    lines += [
        f"| {name} | {100 * one['mean']:.2f} % | {100 * one['std']:.2f} |"
        for name, one in found.items()
        if isinstance(one, dict) and "mean" in one
    ]
    return [*lines, "", f"{found['images']['train']:,} images, {found['epochs']} epochs, batch {found['batch']}."]


def _card(found: Result) -> list[str]:
    lines = [f"| {found['model']} | images a second | of the bfloat16 peak |", "| --- | ---: | ---: |"]
    for runs in ("one", "four"):
        share = found[f"share_of_peak_{runs}"]
        shown = "unknown" if share is None else f"{100 * share:.1f} %"
        lines.append(f"| {runs} at a time | {found[f'images_per_second_{runs}']:,.0f} | {shown} |")
    return lines


SHOWN: dict[str, tuple[str, Callable[[Result], list[str]]]] = {
    "steps": ("A step", _steps),
    "operations": ("What a step of smix is made of", _operations),
    "peers": ("smix beside what people write", _peers),
    "start": ("From the command to the first step", _start),
    "parity": ("Accuracy of both loops", _parity),
    "card": ("The GPU", _card),
}
