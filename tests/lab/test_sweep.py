"""Test sweeps: file, grid, names; runs that crash or are in use; status messages, and the script for SLURM."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from smix import files, signals
from smix.config import RunOptions, TrainConfig
from smix.errors import BUG, DataError, MaskError, OptionError, RunError, TemporaryError
from smix.lab import engines
from smix.lab import run_all as module
from smix.lab.cost import Cost, jobs_that_fit, makespan
from smix.lab.run_all import Resources, run_all, run_one, sbatch_script
from smix.lab.status import Status, last_error, status
from smix.lab.sweep import cross, parse_grid, read_sweep, write_sweep
from smix.training.runs import train
from tests.lab.test_compare import TaskRecorder, interrupt_it, train_it
from tests.sealed import edit
from tests.training.small import EPOCHS, OPTIONS, assert_equal_runs, small_config

GOLDEN = Path(__file__).parents[1] / "golden"
TINY = ["--model", "resnet8", "--epochs", "2", "--batch-size", "16"]


@pytest.fixture
def task_recorder(monkeypatch) -> TaskRecorder:
    task_recorder = TaskRecorder()
    monkeypatch.setattr(engines, "run_tasks", task_recorder.run_tasks)
    return task_recorder


# The file


def test_a_sweep_is_read_back_in_its_order(tmp_path):
    made = cross(TrainConfig(data="cifar10"), ["smix(alpha=0.7)+fmix", "vanilla"], [0, 3], {"lr": [0.1, 0.05]})
    assert write_sweep(tmp_path / "s.jsonl", made) == made
    assert list(read_sweep(tmp_path / "s.jsonl").items()) == list(made.items())
    lines = (tmp_path / "s.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == list(made)


def test_omitted_options_of_a_line_have_their_default(tmp_path):
    (tmp_path / "s.jsonl").write_text('{"name": "one", "config": {"lr": 1}}\n')
    assert read_sweep(tmp_path / "s.jsonl") == {"one": TrainConfig(lr=1.0)}


BAD_LINES = {
    "no JSON": ("{", 'expected {"name": ..., "config": {...}}, got {'),
    "empty": ("", "got an empty line"),
    "a list": ("[1]", "got [1]"),
    "no name": ('{"config": {}}', 'expected {"name": ...'),
    "no options": ('{"name": "a", "config": 3}', '"config": {...}'),
    "number as name": (
        '{"name": 3, "config": {}}',
        "name: expected a folder path relative to the sweep folder",
    ),
    "outside": ('{"name": "../a", "config": {}}', 'got "../a"'),
    "absolute": ('{"name": "/a", "config": {}}', 'got "/a"'),
    "hidden": ('{"name": "a/.b", "config": {}}', 'got "a/.b"'),
    "no folder": ('{"name": "a//b", "config": {}}', 'got "a//b"'),
    "unknown option": ('{"name": "a", "config": {"lrr": 1}}', "the options lrr are unknown"),
    "text for a number": ('{"name": "a", "config": {"lr": "big"}}', "lr: expected float, got str"),
    "decimal": ('{"name": "a", "config": {"epochs": 1.5}}', "epochs: expected int, got float"),
    "truth": ('{"name": "a", "config": {"epochs": true}}', "epochs: expected int, got bool"),
    "out of range": ('{"name": "a", "config": {"epochs": 0}}', "epochs: expected 1 or more, got 0"),
    "twice": ('{"name": "first", "config": {}}', "the name first is used twice"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_an_invalid_line_is_reported_with_file_and_number(tmp_path, case):
    line, message = BAD_LINES[case]
    (tmp_path / "s.jsonl").write_text(f'{{"name": "first", "config": {{}}}}\n{line}\n')
    with pytest.raises(OptionError) as info:
        read_sweep(tmp_path / "s.jsonl")
    assert str(info.value).startswith(f"{tmp_path / 's.jsonl'}, line 2: ")
    assert message in str(info.value)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_file_that_is_not_a_sweep_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "s.jsonl").write_bytes(content)
    with pytest.raises(OptionError, match=r"s\.jsonl: expected .*smix sweep write"):
        read_sweep(tmp_path / "s.jsonl")


def test_runs_are_appended_and_neither_overwritten_nor_written_twice(tmp_path):
    one, two = cross(TrainConfig(), ["smix"], [0]), cross(TrainConfig(), ["smix"], [1])
    write_sweep(tmp_path / "s.jsonl", one)
    with pytest.raises(OptionError, match="the file exists; add to it with --append"):
        write_sweep(tmp_path / "s.jsonl", two)
    assert list(write_sweep(tmp_path / "s.jsonl", two, append=True)) == ["smix-0", "smix-1"]
    with pytest.raises(OptionError, match="the file already has a run named smix-0"):
        write_sweep(tmp_path / "s.jsonl", one, append=True)
    assert read_sweep(tmp_path / "s.jsonl") == {**one, **two}


# The grid


def test_a_grid_contains_all_combinations_with_a_folder_per_cell_to_report():
    sweep = cross(
        TrainConfig(epochs=9), ["vanilla", "smix(alpha=0.7)"], [0, 1], {"lr": [0.1, 5e-5], "model": ["resnet8"]}
    )
    assert list(sweep)[:4] == [
        "lr-0.1--model-resnet8/vanilla-0",
        "lr-0.1--model-resnet8/smix-alpha-0.7-0",
        "lr-5e-05--model-resnet8/vanilla-0",
        "lr-5e-05--model-resnet8/smix-alpha-0.7-0",
    ]
    assert len(sweep) == 8
    assert sweep["lr-5e-05--model-resnet8/vanilla-1"] == TrainConfig(
        epochs=9, method="vanilla", seed=1, lr=5e-5, model="resnet8"
    )


def test_values_are_parsed_by_the_type_of_their_field():
    texts = ["lr=0.1,1e-3,1", "batch-size=16", "train_limit=none,100", "hflip=true,False", "milestones=(1,2),(3,)"]
    assert parse_grid([*texts, "model=resnet8"]) == {
        "lr": [0.1, 1e-3, 1],
        "batch_size": [16],
        "train_limit": [None, 100],
        "hflip": [True, False],
        "milestones": [(1, 2), (3,)],
        "model": ["resnet8"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr", 'expected FIELD=VALUE,VALUE, each field once, got "lr"'),
        ("lrr=1", 'got "lrr"; did you mean "lr"?'),
        ("lr=fast", 'expected float for lr, got "fast"'),
        ("epochs=1.5", 'expected int for epochs, got "1.5"'),
        ("epochs=true", 'expected int for epochs, got "true"'),
        ("model=", 'expected str for model, got ""'),
        ("milestones=3", "for milestones"),
        ("hflip=maybe", 'expected bool for hflip, got "maybe"'),
        ("seed=1,2", "seed is set by --seeds"),
        ("method=smix", "method is set by --methods"),
        ("lr=0.1,0.1", "expected distinct methods and seeds"),
        ("lr=0", "lr: expected a finite learning rate above 0, got 0"),
    ],
)
def test_an_invalid_grid_is_a_one_line_error_and_writes_nothing(smix, tmp_path, text, message):
    code, out, err = smix("sweep", "write", tmp_path / "s.jsonl", "--methods", "smix", "--grid", text)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert not (tmp_path / "s.jsonl").exists()


# Runs that crash


def crash_seed_0(times: int, code: int = BUG):
    """Return a task function that ends seed 0 with this code, `times` times, and trains all other runs."""
    left = [times]

    def act(config: TrainConfig, folder: Path) -> int:
        if config.seed == 0 and left[0]:
            left[0] -= 1
            return code
        return train_it(config, folder)

    return act


def sweep_of(data: str, seeds: int = 2) -> dict[str, TrainConfig]:
    return dict(cross(small_config(data, epochs=1), ["vanilla"], range(seeds)))


@pytest.mark.parametrize(
    ("code", "tries"),
    [
        (BUG, 2),
        (TemporaryError.exit_code, 2),
        (-signal.SIGKILL, 2),
        (engines.LOST, 2),
        (-signal.SIGSEGV, 2),
        (126, 2),
        (-signal.SIGINT, 1),
        (1, 1),
        (2, 1),
        (signals.INTERRUPTED, 1),
        (-signal.SIGTERM, 1),
    ],
)
def test_the_exit_code_decides_whether_a_run_is_retried(data, tmp_path, task_recorder, code, tries):
    task_recorder.act = crash_seed_0(9, code)
    runs = run_all(sweep_of(data), tmp_path, OPTIONS, jobs=2)
    assert task_recorder.folders == ["vanilla-0", "vanilla-1", "vanilla-0"][: 1 + tries]
    assert [run.result is None for run in runs] == [True, False]


@pytest.mark.slow
def test_messages_of_an_earlier_command_in_the_log_are_ignored(data, tmp_path, task_recorder):
    task_recorder.act = crash_seed_0(1)
    assert all(run.result is not None for run in run_all(sweep_of(data), tmp_path, OPTIONS))
    assert task_recorder.folders == ["vanilla-0", "vanilla-1", "vanilla-0"]


@pytest.mark.slow
def test_a_run_that_crashes_once_ends_like_any_other(smix, npz, tmp_path, monkeypatch):
    """Real processes are used. The first one kills itself just before it renames its first checkpoint."""
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch" / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        f"mark = {str(tmp_path / 'crashed')!r}\n"
        "def kill_at_the_first_checkpoint(event, args):\n"
        "    if event == 'os.rename' and str(args[1]).endswith('checkpoint.pt') and not os.path.exists(mark):\n"
        "        open(mark, 'w').close(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(kill_at_the_first_checkpoint)\n"
    )
    path = os.pathsep.join([str(tmp_path / "patch"), str(Path(signals.__file__).parents[1])])
    monkeypatch.setenv("PYTHONPATH", path)
    file, out = tmp_path / "s.jsonl", tmp_path / "out"
    assert smix("sweep", "write", file, "--data", npz, "--methods", "vanilla", "--seeds", "1", *TINY)[0] == 0
    code, printed, err = smix("sweep", "run", file, "--out", out, "--device", "cpu", "--threads", "1")
    assert (code, (tmp_path / "crashed").exists()) == (0, True), err
    assert "crashed, retrying once: vanilla-0" in err
    assert "1 of 1 runs are done" in printed
    train(read_sweep(file)["vanilla-0"], tmp_path / "alone", replace(OPTIONS, threads=1))
    (out / "vanilla-0" / "log.txt").unlink()
    assert_equal_runs(out / "vanilla-0", tmp_path / "alone")


# The command line


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
def test_a_sweep_from_write_to_report(smix, npz, tmp_path, task_recorder):
    file, out = tmp_path / "s.jsonl", tmp_path / "out"
    words = ["--data", npz, "--methods", "vanilla,smix", "--seeds", "1", *TINY, "--grid", "lr=0.1,0.05"]
    code, printed, _ = smix("sweep", "write", file, *words)
    assert (code, "4 runs, such as lr-0.1/vanilla-0" in printed) == (0, True)
    task_recorder.act = lambda config, folder: (
        train_it(config, folder) if config.lr == 0.1 else interrupt_it(config, folder)
    )
    code, printed, err = smix("sweep", "run", file, "--out", out, "--quiet", "--device", "cpu")
    assert (code, "2 of 4 runs are done" in printed, err.count("\n")) == (1, True, 2)
    assert f"{out}/lr-0.05/smix-0: expected a finished run, got 1 of 2 epochs; run the same command again" in err
    code, printed, _ = smix("sweep", "status", file, "--out", out)
    assert (code, "4 runs: 2 done, 2 interrupted; time left if run one after the other: " in printed) == (0, True)
    task_recorder.act = train_it
    code, printed, _ = smix("sweep", "run", file, "--out", out, "--quiet", "--device", "cpu")
    assert (code, f"smix report {out}/lr-0.05 or smix report {out}/lr-0.1" in printed) == (0, True)
    assert sorted(task_recorder.folders[4:]) == ["smix-0", "vanilla-0"]
    assert smix("report", out / "lr-0.1")[0] == 0
    task_recorder.folders.clear()
    compare = ["compare", "--data", npz, *TINY, "--seeds", "1", "--methods", "vanilla,smix", "--lr", "0.05", "--quiet"]
    assert smix(*compare, "--out", out / "lr-0.05")[0] == 0
    assert task_recorder.folders == []


@pytest.mark.slow
def test_a_line_is_trained_in_this_process_and_its_error_is_in_its_log(smix, npz, tmp_path, task_recorder, monkeypatch):
    file, out = tmp_path / "s.jsonl", tmp_path / "out"
    smix("sweep", "write", file, "--data", npz, "--methods", "vanilla", "--seeds", "2", *TINY)
    words = ["sweep", "run", file, "--out", out, "--quiet", "--threads", "1", "--device", "cpu"]
    with files.lock(out, shared=True):
        code, printed, _ = smix(*words, "--index", "1")
    assert (code, printed.startswith(f"{out}/vanilla-1: test accuracy ")) == (0, True)
    assert [path.name for path in out.iterdir() if path.is_dir()] == ["vanilla-1"]
    assert smix(*words, "--index", "1")[0] == 0
    for index, others, text in [
        ("2", [], "index: expected 0 to 1, got 2"),
        ("-1", [], "index: expected 0 to 1, got -1"),
        ("0", ["--jobs", "2"], "--index 0 is one run in this process; omit --jobs and --engine"),
        ("0", ["--engine", "ray"], "--index 0 is one run in this process; omit --jobs and --engine"),
    ]:
        code, _, err = smix(*words, f"--index={index}", *others)
        assert (code, err.count("\n"), text in err) == (2, 1, True)
    with monkeypatch.context() as patch:
        patch.setattr("smix.training.runs.fit", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_one(read_sweep(file), 0, out, OPTIONS)
    assert (out / "vanilla-0" / "log.txt").read_text().endswith("ZeroDivisionError: division by zero\n")
    assert task_recorder.folders == []
    [_, one] = read_sweep(file).values()
    train(one, tmp_path / "alone", replace(OPTIONS, threads=1))
    assert_equal_runs(out / "vanilla-1", tmp_path / "alone")


def test_a_second_command_on_the_same_folder_is_refused(smix, npz, tmp_path, task_recorder, monkeypatch):
    monkeypatch.setattr(files, "SHARED_PATIENCE", 0.1)
    file, out = tmp_path / "s.jsonl", tmp_path / "out"
    smix("sweep", "write", file, "--data", npz, "--methods", "vanilla", "--seeds", "1", *TINY)
    words = ["sweep", "run", file, "--out", out, "--quiet", "--device", "cpu"]
    for shared in (True, False):  # one line, or all lines
        with files.lock(out, shared=shared):
            code, _, err = smix(*words)
        assert (code, "in use by another smix process; wait for it to finish" in err) == (2, True)
    with files.lock(out):
        assert smix(*words, "--index", "0")[0] == 2
    assert task_recorder.folders == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": "resnet9"}, OptionError),
        ({"data": "npz:not-there.npz"}, DataError),
        ({"masks": "not/there", "method": "smix"}, MaskError),
        ({"method": "smixx"}, OptionError),
    ],
)
def test_an_error_of_any_run_is_reported_before_any_starts(data, tmp_path, task_recorder, changes, error):
    sweep = {"a": small_config(data), "b": small_config(data, **changes)}
    with pytest.raises(error):
        run_all(sweep, tmp_path / "out", OPTIONS)
    with pytest.raises(error):
        sbatch_script(sweep, tmp_path / "s", tmp_path / "out", OPTIONS)
    assert task_recorder.folders == []
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_read_only_folder_or_one_with_other_runs_is_refused(data, tmp_path, task_recorder):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write to this folder"):
        run_all(sweep_of(data), tmp_path / "file", OPTIONS)
    task_recorder.act = train_it
    run_all(sweep_of(data), tmp_path / "out", OPTIONS)
    other = {name: replace(one, lr=0.3) for name, one in sweep_of(data).items()}
    for act in (lambda: run_all(other, tmp_path / "out", OPTIONS), lambda: status(other, tmp_path / "out")):
        with pytest.raises(RunError, match=r"started with --lr 0\.1 instead of 0\.3"):
            act()


# Status and messages


@pytest.mark.slow
def test_each_state_follows_from_the_folder_alone(data, tmp_path, task_recorder):
    sweep = sweep_of(data, 6)
    names = dict(zip(sweep, [tmp_path / name for name in sweep], strict=True))
    done, cut, failed, running, waiting, broken = names.values()
    train_it(sweep[done.name], done)
    for folder in (cut, failed, running):
        sweep[folder.name] = replace(sweep[folder.name], epochs=EPOCHS)
        interrupt_it(sweep[folder.name], folder)
    (cut / "log.txt").write_text("smix: interrupted; run the same command again to resume\n")
    (failed / "log.txt").write_text("Traceback\nValueError: no\n\n")
    broken.mkdir()
    shutil.copy(failed / "config.json", broken)
    edit(broken / "config.json", config=sweep[broken.name].to_json())
    (broken / "result.json").write_text("{")
    with files.lock(running):
        statuses = {tmp_path / name: one for name, one in status(sweep, tmp_path).items()}
    assert [one.state for one in statuses.values()] == ["done", "interrupted", "failed", "running", "waiting", "failed"]
    assert [one.epochs for one in statuses.values()] == [1, 1, 1, 1, 0, 0]
    assert statuses[failed].error == "ValueError: no"
    assert "expected a run file written by this version of smix" in statuses[broken].error
    assert statuses[done].seconds == 0
    assert statuses[done].accuracy is not None
    assert isinstance(statuses[waiting], Status)
    assert 0 < statuses[waiting].seconds < 60  # estimated from the other runs
    assert files.in_use(running) is False


def test_status_of_a_sweep_that_has_not_started_creates_no_files(smix, npz, tmp_path):
    smix("sweep", "write", tmp_path / "s.jsonl", "--data", npz, "--methods", "vanilla", "--seeds", "2", *TINY)
    code, printed, _ = smix("sweep", "status", tmp_path / "s.jsonl", "--out", tmp_path / "out")
    assert (code, "2 runs: 2 waiting; time left if run one after the other: unknown" in printed) == (0, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("seconds", "jobs", "expected"), [([3, 3, 3], 2, 6), ([3, 3, 3], 3, 3), ([1, 5, 1, 1], 2, 5), ([2], 4, 2)]
)
def test_the_estimated_end_is_that_of_the_last_parallel_run(seconds, jobs, expected):
    assert makespan(seconds, jobs) == expected


@pytest.mark.parametrize(
    ("jobs", "each", "free", "expected"), [(4, 10, 100, 4), (4, 30, 100, 3), (4, 200, 100, 1), (4, 0, 0, 4)]
)
def test_runs_share_a_gpu_as_far_as_its_memory_allows(jobs, each, free, expected):
    assert jobs_that_fit(jobs, each, free) == expected


def test_fewer_runs_share_a_small_gpu_and_a_message_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * 2**30, 80 * 2**30))
    costs = {(("a", "1"),): Cost(1.0, 2**30), (("a", "2"),): Cost(1.0, 3 * 2**30)}
    resources = Resources("local", 8, torch.device("cuda"), None, costs)
    assert module._fit_memory(resources, RunOptions()).jobs == 3
    assert capsys.readouterr().err == "8 runs of 3.0 GiB do not fit into 10.0 GiB of GPU memory: 3 in parallel\n"
    assert module._fit_memory(replace(resources, jobs=3), RunOptions()).jobs == 3
    assert module._fit_memory(replace(resources, engine="slurm"), RunOptions()).jobs == 8
    assert capsys.readouterr().err == ""


def test_the_cost_on_a_cluster_is_estimated_on_this_machine(data, tmp_path, monkeypatch, capsys):
    seen = []

    def on_slurm(tasks, jobs, poll):
        seen.append((jobs, [any(word.startswith("--threads") for word in task.words) for task in tasks]))
        return [2] * len(tasks)

    monkeypatch.setattr("smix.lab.slurm.run_on_slurm", on_slurm)
    monkeypatch.setattr("smix.lab.cost.seconds_per_image", lambda *args: 1.0)
    monkeypatch.setattr("smix.lab.run_all.time.process_time", lambda: 3.0)  # because this process has run other tests
    run_all(sweep_of(data, 3), tmp_path, replace(OPTIONS, quiet=False), "slurm")
    messages = capsys.readouterr().err
    assert messages.startswith("3 runs, 3 in parallel on slurm: about 1 min ")
    assert "if those machines are as fast as this one, CPU with " in messages
    if not torch.cuda.is_available():
        run_all(sweep_of(data, 3), tmp_path, RunOptions(device="cuda"), "slurm", 2)
        assert (
            "2 in parallel on slurm; the time is unknown, since there is no such device on this machine"
            in capsys.readouterr().err
        )
        assert seen == [(3, [False] * 3), (2, [False] * 3)]


# The script for SLURM


@pytest.mark.slow
def test_the_sbatch_script_is_pinned_and_valid(data, tmp_path, task_recorder):
    sweep = cross(small_config(data, epochs=1), ["vanilla", "mixup"], range(3))
    out = tmp_path / "100 % mine"
    script = sbatch_script(sweep, tmp_path / "my sweep.jsonl", out, replace(OPTIONS, data_root=Path("data sets")), 2)
    shown = script.replace(str(tmp_path), "FOLDER").replace(shlex.quote(sys.executable), "PYTHON")
    shown = shown.replace(shlex.quote(str(Path.cwd())), "HERE")
    assert shown == (GOLDEN / "sweep.sh").read_text()
    assert out.is_dir()
    subprocess.run(["bash", "-n"], input=script, text=True, check=True, timeout=30)
    for name in ("vanilla-0", "vanilla-1", "mixup-2"):
        train_it(sweep[name], out / name)
    assert "#SBATCH --array=1,3-4\n" in sbatch_script(sweep, tmp_path / "s.jsonl", out, OPTIONS)
    for name in ("mixup-0", "mixup-1", "vanilla-2"):
        train_it(sweep[name], out / name)
    with pytest.raises(OptionError, match="all 6 runs are done; there is nothing to submit"):
        sbatch_script(sweep, tmp_path / "s.jsonl", out, OPTIONS)
    with pytest.raises(OptionError, match="jobs: expected 1 or more, got 0"):
        sbatch_script(sweep, tmp_path / "s.jsonl", out, OPTIONS, 0)


@pytest.mark.parametrize(
    ("number", "restarts", "requeued"), [("USR1", 0, True), ("USR1", 20, False), ("TERM", 0, False)]
)
def test_the_script_forwards_the_signal_waits_and_requeues(data, tmp_path, number, restarts, requeued):
    """`smix` and `scontrol` are replaced. SIGTERM reaches every process of a job, USR1 only the script."""
    script = sbatch_script(cross(small_config(data), ["vanilla"], [0]), tmp_path / "s", tmp_path / "out", OPTIONS)
    fake = "bash -c 'trap \"sleep 0.3; echo checkpoint > done; exit 130\" USR1 TERM; touch up; while :; do sleep 0.02; done'"
    [command] = [line for line in script.splitlines() if line.endswith(" &")]
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" > requeued\n')
    (tmp_path / "scontrol").chmod(0o755)
    process = subprocess.Popen(
        ["bash", "-c", script.replace(command, f"{fake} &")],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_RESTART_COUNT": str(restarts),
        },
        start_new_session=True,
    )
    deadline = time.monotonic() + 20
    while not (tmp_path / "up").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    if number == "USR1":
        process.send_signal(signal.SIGUSR1)
    else:
        os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(20) == 130
    assert (tmp_path / "done").exists()
    assert (tmp_path / "requeued").exists() == requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 7\n"


# The file that tasks read


def test_tasks_read_a_copy_of_the_sweep_so_that_edits_during_a_run_change_nothing(data, tmp_path, task_recorder):
    file = tmp_path / "sweep.jsonl"
    file.write_text("mine")
    task_recorder.act = train_it
    runs = run_all(sweep_of(data), tmp_path, OPTIONS)
    assert all(run.result is not None for run in runs)
    assert file.read_text() == "mine"
    [copy] = tmp_path.glob(".sweep-*.jsonl")
    assert read_sweep(copy) == sweep_of(data)


@pytest.mark.parametrize("name", ["../a", "x" * 251, "a b", ""])
def test_a_name_that_is_no_folder_is_refused_before_anything_starts(data, tmp_path, task_recorder, name):
    with pytest.raises(OptionError, match="name: expected a folder path"):
        run_all({name: small_config(data)}, tmp_path / "out", OPTIONS)
    with pytest.raises(OptionError, match="name: expected a folder path"):
        write_sweep(tmp_path / "s.jsonl", {name: small_config(data)})
    assert task_recorder.folders == []
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("log", "error"),
    [
        ("", ""),
        ("UserWarning: slow\n", ""),
        ("smix: lr: too high\n", "lr: too high"),
        ("smix: interrupted; start again\n", ""),
        (
            "smix: interrupted; start again\nTraceback (most recent call last):\n  File\nValueError: no\n\n",
            "ValueError: no",
        ),
        ("Traceback (most recent call last):\nValueError: no\nsmix: interrupted; start again\n", ""),
        ("Traceback (most recent call last):\nValueError: no\njob of SLURM: done\nuse sacct\n", "ValueError: no"),
    ],
)
def test_the_last_error_of_a_log(tmp_path, log, error):
    (tmp_path / "log.txt").write_text(log)
    assert last_error(tmp_path / "log.txt") == error
