"""Shared parts of the benchmarks: timing, the facts that each result names, Markdown tables and result files."""

import datetime
import importlib
import importlib.util
import json
import platform
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

T = TypeVar("T")
RESULTS = Path(__file__).parent / "results"


def seconds(run: Callable[[], object], device: torch.device | None = None) -> float:
    """Return the wall-clock seconds of a call, including the work that it starts on a CUDA device."""
    _synchronise(device)
    start = time.perf_counter()
    run()
    _synchronise(device)
    return time.perf_counter() - start


def _synchronise(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize()


def take_turns(runs: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Call each function once per round and return its results.

    The order is random and changes with each round, so that the load of the machine affects all functions alike.
    """
    results: dict[str, list[T]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name in random.sample(list(runs), len(runs)):
            results[name].append(runs[name]())
    return results


def environment(hardware: str, *packages: str) -> dict[str, Any]:
    """Return the facts that each result names: date, hardware, processor, threads, and versions of installed packages.

    Args:
        hardware: Device that was measured, as `smix.device` describes it.
        packages: Import names, in addition to torch, numpy and smix. Packages that are not installed are left out.
    """
    installed = [name for name in ("smix", "torch", "numpy", *packages) if importlib.util.find_spec(name)]
    versions = {name: str(importlib.import_module(name).__version__) for name in installed}
    return {
        "date": datetime.date.today().isoformat(),
        "hardware": hardware,
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **versions},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor())


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int = 1) -> list[str]:
    """Return the lines of a Markdown table whose first `text_columns` columns are left-aligned and the others right-aligned."""
    rule = ["---" if column < text_columns else "---:" for column in range(len(head))]
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *escaped)]


def write(folder: Path, name: str, result: Mapping[str, Any], page: str) -> Path:
    """Write `name.json` and `name.md`, and return the path of the JSON file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    path.with_suffix(".md").write_text(page)
    return path
