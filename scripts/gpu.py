"""Run the tests and benchmarks that need a GPU: `make gpu PYTHON=...` or `python -m scripts.gpu`.

The interpreter needs torch with CUDA and nothing else: smix is imported from the source tree, nothing is installed, and parts whose
packages are missing are named and left out. Every part is a process of at most eight minutes with a record and a log; started again,
the command runs what is not done. The folder of results ends with summary.md and summary.json. `--rehearse` runs the same parts on the
CPU, with tiny sizes, so that a mistake is found before a GPU is paid for.
"""

import argparse
import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scripts.gpu_parts import ROOT, STANDINS, Part, all_parts, installed

DEVICE = """
import json, torch
facts = {"torch": torch.__version__, "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version()}
facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
print(json.dumps(facts))
"""


@dataclass(frozen=True)
class Record:
    """Result of one part."""

    name: str
    state: str
    """done, failed, left out, or not started."""
    seconds: float = 0.0
    returncode: int | None = None
    reason: str = ""
    device: str = "cuda"
    failed_tests: tuple[str, ...] = ()
    made_with: str = ""
    """Commit, torch and GPUs: a part is run again when one of them has changed."""


def run_parts(
    parts: Sequence[Part],
    out: Path,
    device: str = "cuda",
    unable: str = "",
    minutes: float | None = None,
    say: Callable[[str], None] = print,
    made_with: str = "",
) -> list[Record]:
    """Run the parts that are not done and return the records of all.

    Args:
        device: cuda, or cpu in a rehearsal; a part that is done on another device is run again.
        unable: Why no part can be run; empty if they can.
        made_with: What the results depend on: a part that was done with something else is run again.
        minutes: Start no part after this time; None: no limit.
    """
    (out / "records").mkdir(parents=True, exist_ok=True)
    begun, records = time.monotonic(), []
    for number, part in enumerate(parts, 1):
        file = out / "records" / f"{part.name}.json"
        before = read_record(file)
        title = f"[{number:2}/{len(parts)}] {part.name}:"
        if before is not None and (before.state, before.device, before.made_with) == ("done", device, made_with):
            say(f"{title} already done")
            records.append(before)
            continue
        missing = part.missing()
        if unable or missing:
            record = Record(part.name, "left out", reason=unable or f"missing: {', '.join(missing)}", device=device)
        elif minutes is not None and time.monotonic() - begun > 60 * minutes:
            records.append(Record(part.name, "not started", reason=f"after {minutes:g} minutes", device=device))
            continue
        else:
            say(f"{title} running, at most {part.seconds:.0f} s")
            record = dataclasses.replace(run_part(part, out, device), made_with=made_with)
        say(f"{title} {record.state}{f' in {record.seconds:.0f} s' if record.seconds else ''}{_because(record)}")
        file.write_text(json.dumps(dataclasses.asdict(record), indent=1) + "\n")
        records.append(record)
    return records


def run_part(part: Part, out: Path, device: str) -> Record:
    """Run one part in a process of its own, and kill all that it started when it ends or its time is over."""
    log = out / "logs" / f"{part.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if part.junit is not None:
        part.junit.unlink(missing_ok=True)  # of an earlier attempt
    begun = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, *part.words],
            cwd=ROOT,
            env=environment(part, device),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(part.seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            with contextlib.suppress(ProcessLookupError):  # all have ended
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    failed = failed_tests(part.junit)
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    reason = ""
    if code is None:
        reason = f"not done after {part.seconds:g} s"
    elif code:
        reason = f"failed tests: {len(failed)}" if failed else lines[-1][:200] if lines else f"exit code {code}"
    state = "failed" if reason else "done"
    return Record(part.name, state, round(time.monotonic() - begun, 1), code, reason, device, failed)


def environment(part: Part, device: str) -> dict[str, str]:
    """Return the environment variables of a part: the source tree on the path, and what keeps its result from depending on others."""
    standins = [str(folder) for name, folder in STANDINS.items() if not installed(name)]
    paths = [str(ROOT), *standins, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    if part.junit is not None:
        # Plugins of pytest that happen to be installed, and TF32, have no part in whether a test passes.
        found |= {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "NVIDIA_TF32_OVERRIDE": "0"}
    return found | ({"SMIX_REHEARSE": "1", "CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {})


def read_record(file: Path) -> Record | None:
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text())
        return Record(**{**found, "failed_tests": tuple(found["failed_tests"])})
    except (ValueError, KeyError, TypeError):  # cut off while it was written
        return None


def failed_tests(junit: Path | None) -> tuple[str, ...]:
    """Return the names of the tests of a JUnit file that failed or could not be set up."""
    if junit is None or not junit.is_file():
        return ()
    try:
        cases = ElementTree.parse(junit).iter("testcase")
    except ElementTree.ParseError:  # cut off when the part was killed
        return ()
    broken = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return tuple(f"{case.get('classname')}::{case.get('name')}" for case in broken)


def machine(parts: Sequence[Part], device: str) -> dict[str, Any]:
    """Return the hardware, the driver, the commit and the versions of the packages that the parts need."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    said = _output([sys.executable, "-c", DEVICE], hidden)
    needed = sorted(set().union(*(part.needs() | set(part.optional) for part in parts)))
    names = importlib.metadata.packages_distributions()
    return {
        "date": time.strftime("%Y-%m-%d"),
        "device": device,
        "system": platform.platform(),
        "python": f"{platform.python_version()} ({sys.executable})",
        "smix": runpy.run_path(str(ROOT / "smix/version.py"))["__version__"],  # smix itself may lack a package
        "commit": _output(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]),
        "nvidia-smi": _output(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]),
        **{"torch": None, "cuda": None, "cudnn": None, "gpus": [], **(json.loads(said) if said else {})},
        "packages": {name: importlib.metadata.version(names[name][0]) for name in needed if name in names},
        "missing": [name for name in needed if not installed(name)],
    }


def _output(words: Sequence[str], variables: dict[str, str] | None = None) -> str:
    """Return what a command prints; nothing if it cannot be run or fails."""
    if shutil.which(words[0]) is None:
        return ""
    done = subprocess.run(words, cwd=ROOT, env={**os.environ, **(variables or {})}, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def missing_table(parts: Sequence[Part], missing: Sequence[str]) -> list[str]:
    """Return a Markdown table of the missing packages and of what is left out without them."""
    lines = ["| missing package | consequence |", "| --- | --- |"]
    for name in missing:
        without = [part.name for part in parts if name in part.needs()]
        less = [part.name for part in parts if name in part.optional]
        what = [f"left out: {_few(without, len(parts))}"] if without else []
        what += [f"less in: {_few(less, len(parts))}"] if less else []
        if name in STANDINS:
            what = [f"replaced by {STANDINS[name].relative_to(ROOT)}"]
        lines.append(f"| {name} | {'; '.join(what)} |")
    return lines if missing else ["No package is missing."]


def summary(records: Sequence[Record], parts: Sequence[Part], facts: dict[str, Any], out: Path) -> str:
    """Return the whole result as Markdown."""
    gpus = ", ".join(facts["gpus"])
    title = (
        "Rehearsal on the CPU"
        if facts["device"] == "cpu"
        else f"Run on {gpus}"
        if gpus
        else "Run without a CUDA device"
    )
    shown = {
        name: facts[name] for name in ("nvidia-smi", "torch", "cuda", "cudnn", "python", "smix", "commit", "system")
    }
    states = [record.state for record in records]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    names = [name for record in records for name in record.failed_tests]
    versions = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
    tables = [file.name for file in sorted(out.glob("*.md")) if file.name != "summary.md"]
    return "\n".join(
        [
            f"# {title}, {facts['date']}",
            "",
            f"{len(records)} parts: {counts}.",
            "",
            *(f"- {name}: {value or 'unknown'}" for name, value in shown.items()),
            f"- packages: {versions}",
            "",
            "| part | state | seconds | reason |",
            "| --- | --- | ---: | --- |",
            *(f"| {r.name} | {r.state} | {r.seconds or ''} | {r.reason.replace('|', '/')} |" for r in records),
            "",
            *missing_table(parts, facts["missing"]),
            *(["", "Failed tests:", "", *(f"- {name}" for name in names)] if names else []),
            *(["", "Tables of the benchmarks:", "", *(f"- [{name}]({name})" for name in tables)] if tables else []),
            "",
        ]
    )


def _few(names: Sequence[str], count: int) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} of {count} parts"


def _because(record: Record) -> str:
    return f" ({record.reason})" if record.reason else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rehearse", action="store_true", help="run the same parts on the CPU, with tiny sizes")
    parser.add_argument("--out", type=Path, help="folder of the results; default: gpu-results, gpu-rehearsal")
    parser.add_argument("--again", nargs="+", default=[], metavar="PART", help="run these parts though they are done")
    parser.add_argument("--minutes", type=float, help="start no part after so many minutes")
    options = parser.parse_args()
    device = "cpu" if options.rehearse else "cuda"
    out = (options.out or ROOT / ("gpu-rehearsal" if options.rehearse else "gpu-results")).resolve()
    parts = all_parts(out, options.rehearse)
    if unknown := set(options.again) - {part.name for part in parts}:
        parser.error(f"unknown part {sorted(unknown)[0]}; choose from {', '.join(part.name for part in parts)}")
    for name in options.again:
        (out / "records" / f"{name}.json").unlink(missing_ok=True)
    facts = machine(parts, device)
    print(
        f"torch {facts['torch']}, CUDA {facts['cuda']}, {', '.join(facts['gpus']) or 'no CUDA device'}; results in {out}"
    )
    print("\n".join(missing_table(parts, facts["missing"])))
    unable = "" if options.rehearse or facts["gpus"] else "no CUDA device"
    made_with = " ".join(str(facts[name]) for name in ("commit", "torch", "gpus"))
    records = run_parts(parts, out, device, unable, options.minutes, made_with=made_with)
    text = summary(records, parts, facts, out)
    (out / "summary.md").write_text(text)
    whole = {**facts, "parts": [dataclasses.asdict(record) for record in records]}
    (out / "summary.json").write_text(json.dumps(whole, indent=1) + "\n")
    left = sum(record.state == "not started" for record in records)
    print(f"{out / 'summary.md'}{f'; {left} parts are left: start it again' if left else ''}")
    return int(any(record.state == "failed" for record in records))


if __name__ == "__main__":
    sys.exit(main())
