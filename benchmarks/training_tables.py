"""The tables of a file of results of `benchmarks.training`."""

from typing import Any

Result = dict[str, Any]


def tables(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    lines = [
        f"# Training, {result['date']}",
        "",
        f"{result['hardware']} ({result['processor']}), load of the machine {result['load'][0]}; {versions}. "
        f"Batch {result['batch']}, {result['images']:,} images ({result['data']}).",
    ]
    for model in ("resnet8", "resnet18"):
        if model in result:
            precision = result[model]["peers"]["precision"]
            lines += ["", f"## {model}, {precision}", "", *_steps(result[model]["steps"])]
            lines += ["", *_peers(result[model]["peers"]), "", *_operations(result[model]["operations"])]
    lines += ["", "## From the command to the first step", "", *_start(result["start"])]
    if "parity" in result:
        lines += ["", "## Accuracy of both loops", "", *_parity(result["parity"])]
    lines += ["", "## GPU", "", *_card(result["card"])]
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
    lines = ["| loop | images a second (median) | times as fast (median) | (best) |", "| --- | ---: | ---: | ---: |"]
    for name, one in found.items():
        if isinstance(one, dict):
            lines.append(
                f"| {name} | {one['images_per_second_median']:.0f} | {one['times_as_fast_median']:.2f} "
                f"| {one['times_as_fast_best']:.2f} |"
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


def _card(found: Result | None) -> list[str]:
    if found is None:
        return ["No GPU at hand: not measured."]
    lines = ["| ResNet-18 | images a second | of the bfloat16 peak |", "| --- | ---: | ---: |"]
    for runs in ("one", "four"):
        share = found[f"share_of_peak_{runs}"]
        shown = "unknown" if share is None else f"{100 * share:.1f} %"
        lines.append(f"| {runs} at a time | {found[f'images_per_second_{runs}']:,.0f} | {shown} |")
    return lines
