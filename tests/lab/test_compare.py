"""Test comparisons: their runs and folders, the runs that are still to train, and the messages about failed runs.

Tasks are not started as processes. They are recorded and, where a test needs it, trained in this process.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smix import progress
from smix.config import RunOptions, SharedConfig, TrainConfig
from smix.errors import DataError, MaskError, OptionError, RunError
from smix.lab import engines
from smix.lab import run_all as module
from smix.lab.cost import cost_of
from smix.lab.run_all import compare
from smix.lab.sweep import cross, read_sweep, slug
from smix.report.comparison import summarise
from smix.report.verdict import conclusion
from smix.report.write import write_report
from smix.training.inputs import prepare
from smix.training.records import Run, read_result, read_run
from smix.training.runs import train
from tests.training.small import (
    EPOCHS,
    OPTIONS,
    STEPS,
    assert_equal_runs,
    contents,
    small_config,
    stop_after,
    write_data,
)
from tests.words import names, read_words

METHODS = ["vanilla", "smix+fmix"]


@dataclass
class TaskRecorder:
    """Stand-in for `run_tasks` that records the tasks of `compare` and acts on them."""

    act: Callable[[TrainConfig, Path], int] = lambda config, folder: 0
    """Stand-in for the command line that returns an exit code."""
    jobs: list[int] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    configs: list[TrainConfig] = field(default_factory=list)
    options: list[RunOptions] = field(default_factory=list)

    def run_tasks(self, tasks: Sequence[engines.Task], jobs: int, poll: Callable[[], None] = lambda: None) -> list[int]:
        self.jobs.append(jobs)
        codes = []
        for task in tasks:
            assert task.words[:2] == ["sweep", "run"]
            file, out, *words, index = task.words[2:]
            name, config = list(read_sweep(file).items())[int(index.removeprefix("--index="))]
            folder = Path(out.removeprefix("--out=")) / name
            assert task.log == folder / "log.txt"
            [options] = read_words(words, RunOptions)
            self.folders.append(folder.name)
            self.configs.append(config)
            self.options.append(options)
            codes.append(self.act(config, folder))
            poll()
        return codes


@pytest.fixture
def task_recorder(monkeypatch) -> TaskRecorder:
    task_recorder = TaskRecorder()
    monkeypatch.setattr(engines, "run_tasks", task_recorder.run_tasks)
    return task_recorder


def cross_folders(
    config: SharedConfig, methods: Sequence[str], seeds: Sequence[int], out: Path
) -> dict[Path, TrainConfig]:
    """Return the configuration of each run by folder."""
    return {out / name: one for name, one in cross(config, methods, seeds).items()}


def train_it(config: TrainConfig, folder: Path) -> int:
    train(config, folder, OPTIONS)
    return 0


def interrupt_it(config: TrainConfig, folder: Path) -> int:
    """Train until the second epoch and interrupt."""
    with pytest.MonkeyPatch.context() as patch:
        stop_after(STEPS + 1, patch)
        with pytest.raises(KeyboardInterrupt):
            train(config, folder, OPTIONS)
    return -15


@pytest.fixture(scope="module")
def done(data, tmp_path_factory) -> tuple[TrainConfig, Path, list[Run]]:
    """Return a finished comparison of two methods with two seeds. Tests must not change it."""
    config, out = small_config(data, epochs=2), tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "run_tasks", TaskRecorder(train_it).run_tasks)
        return config, out, compare(config, METHODS, 2, out, OPTIONS)


# Runs and folders


def test_runs_are_ordered_by_seed_so_that_an_interrupted_comparison_is_balanced(tmp_path):
    config = TrainConfig(data="cifar10", epochs=7)
    plan = cross_folders(config, ["vanilla", "smix(alpha=0.7)+fmix"], [0, 5], tmp_path)
    assert list(plan.items()) == [
        (tmp_path / "vanilla-0", replace(config, method="vanilla", seed=0)),
        (tmp_path / "smix-alpha-0.7+fmix-0", replace(config, method="smix(alpha=0.7)+fmix", seed=0)),
        (tmp_path / "vanilla-5", replace(config, method="vanilla", seed=5)),
        (tmp_path / "smix-alpha-0.7+fmix-5", replace(config, method="smix(alpha=0.7)+fmix", seed=5)),
    ]


def test_runs_of_a_comparison_differ_only_in_method_and_seed(tmp_path):
    config = TrainConfig(data="cifar10", epochs=7)
    for one in cross_folders(config, METHODS, [0, 1], tmp_path).values():
        assert {name for name in names(TrainConfig) if getattr(one, name) != getattr(config, name)} <= {
            "method",
            "seed",
        }


SLUGS = {
    "vanilla": "vanilla",
    "smix+fmix": "smix+fmix",
    "smix(alpha=0.7,labels=area)+fmix": "smix-alpha-0.7-labels-area+fmix",
    "smix(alpha=(1.0,2.0))": "smix-alpha-1.0-2.0",
    "smix(alpha=0.7)": "smix-alpha-0.7",
    "smix(labels=half)": "smix-labels-half",
    "smix": "smix",
    "fmix(decay=3)+cutmix(prob=0.5)": "fmix-decay-3+cutmix-prob-0.5",
    "cutmix(per_batch=True)": "cutmix-per-batch-true",
    "fmix(alpha=1e-5)": "fmix-alpha-1e-5",
}


@pytest.mark.parametrize("method", SLUGS)
def test_a_slug_is_the_text_of_the_method_as_a_file_name(method):
    assert slug(method) == SLUGS[method]
    assert re.fullmatch(r"[a-z0-9.+-]+", slug(method))


def test_different_methods_have_different_folders(tmp_path):
    methods = [method for method in SLUGS if method != "smix(labels=half)"]  # which is smix
    assert len(cross_folders(TrainConfig(), methods, [0, 1, 10, 11], tmp_path)) == 4 * len(methods)


@pytest.mark.parametrize(
    ("methods", "seeds"),
    [
        (["smix", "fmix", "smix"], [0]),
        (["smix(alpha=0.7)", "smix( alpha = 0.7 )"], [0]),
        (["smix", "smix(labels=half)"], [0]),
        (["smix"], [0, 1, 0]),
    ],
)
def test_runs_that_would_share_a_folder_are_refused(tmp_path, methods, seeds):
    with pytest.raises(OptionError, match=r"^sweep: expected distinct methods and seeds, got "):
        cross_folders(TrainConfig(), methods, seeds, tmp_path)


@pytest.mark.parametrize(("methods", "seeds"), [([], 2), (["smix"], 0), (["smix"], []), (["smix"], -1)])
def test_an_empty_comparison_is_refused(tmp_path, task_recorder, methods, seeds):
    with pytest.raises(OptionError, match="expected at least one method, one seed"):
        compare(TrainConfig(), methods, seeds, tmp_path / "out", OPTIONS)
    assert not (tmp_path / "out").exists()


# Started tasks


def test_the_command_line_of_a_run_contains_all_its_options(data, tmp_path, task_recorder):
    shared = SharedConfig(data=data, model="resnet8", epochs=4, milestones=(1, 3), lr=1e-5, hflip=False, crop_padding=0)
    compare(shared, METHODS, [0, 3], tmp_path, replace(OPTIONS, data_root=tmp_path / "my data"))
    assert task_recorder.configs == list(cross_folders(shared, METHODS, [0, 3], tmp_path).values())
    assert task_recorder.folders == ["vanilla-0", "smix+fmix-0", "vanilla-3", "smix+fmix-3"]
    assert all(one.data_root == tmp_path / "my data" for one in task_recorder.options)
    assert all(one.device == "cpu" and one.quiet for one in task_recorder.options)


@pytest.mark.parametrize(("seeds", "expected"), [(3, [0, 1, 2]), ([4, 2], [4, 2])])
def test_seeds_are_a_count_or_a_list(data, tmp_path, task_recorder, seeds, expected):
    compare(small_config(data, method="mixup", seed=99), ["vanilla"], seeds, tmp_path, OPTIONS)
    assert [(config.method, config.seed) for config in task_recorder.configs] == [
        ("vanilla", seed) for seed in expected
    ]


@pytest.mark.parametrize(
    ("cores", "jobs", "threads", "expected_jobs", "expected_threads"),
    [
        (2, None, None, 2, 1),
        (8, None, None, 4, 2),
        (8, 2, None, 2, 4),
        (1, None, None, 1, 1),
        (4, 1, 3, 1, 3),
        (2, 9, None, 4, 1),
    ],
)
def test_runs_share_the_cores(
    data, tmp_path, task_recorder, monkeypatch, cores, jobs, threads, expected_jobs, expected_threads
):
    monkeypatch.setattr(module, "cores", lambda: cores)
    compare(small_config(data), METHODS, 2, tmp_path, replace(OPTIONS, threads=threads), jobs)
    assert task_recorder.jobs == [expected_jobs]
    assert {one.threads for one in task_recorder.options} <= {expected_threads, None}
    assert [one.threads or 1 for one in task_recorder.options] == [expected_threads] * 4


@pytest.mark.parametrize("jobs", [0, -1])
def test_zero_jobs_are_refused(data, tmp_path, task_recorder, jobs):
    with pytest.raises(OptionError, match=f"^jobs: expected 1 or more, got {jobs}$"):
        compare(small_config(data), METHODS, 1, tmp_path, OPTIONS, jobs)
    assert task_recorder.jobs == []


@pytest.mark.slow
def test_the_cost_is_printed_before_any_run_starts(data, tmp_path, task_recorder, monkeypatch, capsys):
    monkeypatch.setattr("smix.lab.cost.seconds_per_image", lambda *args: 1.0)
    monkeypatch.setattr(module, "IMPORT_SECONDS", 3.0)
    monkeypatch.setattr(module.time, "process_time", lambda: 50.0)  # earlier work does not count
    task_recorder.act = train_it
    options = replace(OPTIONS, quiet=False)
    compare(small_config(data, epochs=1), ["vanilla"], 1, tmp_path, options, jobs=1)
    capsys.readouterr()
    compare(small_config(data, epochs=1), METHODS, 2, tmp_path, options, jobs=3)
    printed = capsys.readouterr()
    expected = f"3 runs (1 of 4 are done), 3 in parallel on CPU with {task_recorder.options[-1].threads or 1} thread"
    assert printed.out == ""
    assert printed.err.startswith(expected)
    assert printed.err.split(": about ")[1].startswith("1 min 18 s")  # 3 runs of 72 + 8/3 images and 3 s, 3 at a time


def test_quiet_prints_nothing(data, tmp_path, task_recorder, capsys):
    compare(small_config(data), METHODS, 1, tmp_path, OPTIONS)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_progress_counts_the_epochs_of_trained_runs(data, tmp_path, task_recorder, monkeypatch):
    counts, totals = [], []

    @contextmanager
    def bar(
        title: str, total: int, unit: str = "images", quiet: bool = False, expected: float | None = None
    ) -> Iterator[Callable[..., None]]:
        if unit == "epochs":
            totals.append(total)
        yield lambda done, name="": counts.append(done) if unit == "epochs" else None

    task_recorder.act = lambda config, folder: {0: train_it, 1: interrupt_it}[config.seed](config, folder)
    compare(small_config(data), ["vanilla"], 2, tmp_path, OPTIONS)
    monkeypatch.setattr(progress, "bar", bar)
    task_recorder.act = train_it
    compare(small_config(data), ["vanilla"], 3, tmp_path, OPTIONS)
    assert totals == [2 * EPOCHS]
    assert counts == [EPOCHS, 2 * EPOCHS]


# Unfinished comparisons


@pytest.mark.slow
def test_a_comparison_equals_its_separately_trained_runs(done, tmp_path):
    config, out, runs = done
    plan = cross_folders(config, METHODS, [0, 1], out)
    assert [run.path for run in runs] == list(plan)
    assert [run.config for run in runs] == list(plan.values())
    assert all(run.result is not None and len(run.metrics) == 2 for run in runs)
    train(replace(config, method="smix+fmix", seed=1), tmp_path, OPTIONS)
    assert_equal_runs(out / "smix+fmix-1", tmp_path)


def test_a_finished_comparison_is_only_read(done, task_recorder):
    config, out, runs = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert compare(config, METHODS, 2, out, OPTIONS) == runs
    assert task_recorder.jobs == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.slow
@pytest.mark.usefixtures("blank_figures")
def test_a_finished_comparison_is_read_and_reported_without_its_data(smix, tmp_path, task_recorder):
    task_recorder.act = train_it
    name = write_data(tmp_path)
    words = ["--data", name, "--methods", "vanilla,smix", "--seeds", "1", "--epochs", "1", "--model", "resnet8"]
    words = ["compare", *words, "--batch-size", "16", "--device", "cpu", "--quiet", "--out", tmp_path / "runs"]
    code, first, _ = smix(*words)
    assert (code, task_recorder.folders) == (0, ["vanilla-0", "smix-0"])
    (tmp_path / "made.npz").unlink()
    code, again, err = smix(*words)
    assert (code, again, task_recorder.folders) == (0, first, ["vanilla-0", "smix-0"])
    assert err.count("what shows them is left out") == 2  # images and masks
    code, _, err = smix(*words, "--lr", "0.02")
    assert (code, "started with --lr 0.1 instead of 0.02; choose another --out" in err) == (2, True)


def test_part_of_a_finished_comparison_can_be_read(done, task_recorder):
    config, out, runs = done
    assert compare(config, ["smix+fmix"], [1], out, OPTIONS) == runs[-1:]
    assert task_recorder.jobs == []


@pytest.mark.slow
def test_only_missing_runs_are_started_and_an_interrupted_run_resumes(data, done, tmp_path, task_recorder):
    config, finished, _ = done
    task_recorder.act = lambda config, folder: {0: train_it, 1: interrupt_it}[config.seed](config, folder)
    first = compare(config, ["vanilla"], 2, tmp_path, OPTIONS)
    assert [run.result is None for run in first] == [False, True]
    assert len(first[1].metrics) == 1
    task_recorder.folders.clear()
    task_recorder.act = train_it
    second = compare(config, METHODS, 2, tmp_path, OPTIONS)
    assert task_recorder.folders == ["smix+fmix-0", "vanilla-1", "smix+fmix-1"]
    assert all(run.result is not None for run in second)
    assert second[0] == first[0]
    for run in second:
        assert_equal_runs(run.path, finished / run.path.name)


@pytest.mark.slow
def test_a_failed_run_is_listed_without_a_result_and_started_again(done, tmp_path, task_recorder):
    config, _, _ = done

    def break_one(config: TrainConfig, folder: Path) -> int:
        if (config.method, config.seed) != ("smix+fmix", 0):
            return train_it(config, folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("smix.training.runs.fit", raise_in_fit)
            with pytest.raises(RunError):
                train(config, folder, OPTIONS)
        return 2

    def raise_in_fit(*args: object) -> None:
        raise RunError("step 3 (epoch 1): expected a finite loss, got nan")

    task_recorder.act = break_one
    runs = compare(config, METHODS, 2, tmp_path, OPTIONS)
    assert [run.path.name for run in runs] == ["vanilla-0", "smix+fmix-0", "vanilla-1", "smix+fmix-1"]
    assert [run.result is None for run in runs] == [False, True, False, False]
    task_recorder.folders.clear()
    compare(config, METHODS, 2, tmp_path, OPTIONS)
    assert task_recorder.folders == ["smix+fmix-0"]


@pytest.mark.slow
def test_a_run_that_ended_before_it_wrote_anything_is_listed_without_a_result(data, tmp_path, task_recorder):
    task_recorder.act = lambda config, folder: 1 if config.method == "vanilla" else train_it(config, folder)
    runs = compare(small_config(data, epochs=1), METHODS, 1, tmp_path, OPTIONS)
    assert [(run.config.method, run.result is None) for run in runs] == [("vanilla", True), ("smix+fmix", False)]
    assert "Runs are missing of vanilla" in conclusion(summarise(runs))
    assert "0 of 1" in write_report(runs, tmp_path / "report").text.read_text()


@pytest.mark.parametrize("changed", ["images", "masks"])
def test_no_runs_are_added_after_the_data_has_changed(tmp_path, task_recorder, changed):
    name = write_data(tmp_path)
    task_recorder.act = train_it
    compare(small_config(name, epochs=1), ["smix"], 1, tmp_path / "runs", OPTIONS)
    with np.load(tmp_path / "made.npz") as file:
        arrays = dict(file)
    key = {"images": "x_test", "masks": "mask_train"}[changed]
    arrays[key] = arrays[key][::-1]
    np.savez(tmp_path / "made.npz", **arrays)
    task_recorder.folders.clear()
    with pytest.raises(RunError, match=r"fingerprint.*choose another --out"):
        compare(small_config(name, epochs=1), ["smix"], 2, tmp_path / "runs", OPTIONS)
    assert task_recorder.folders == []


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"train_limit": 40}, {"lr": 0.2}, {"epochs": 1}])
def test_runs_of_other_options_are_not_reported_as_one_comparison(data, done, tmp_path, monkeypatch, changed):
    monkeypatch.setattr("smix.report.write.SECTIONS", ())  # only omitted options are compared
    _, _, runs = done
    train(small_config(data, **{"epochs": 2, "seed": 7, **changed}), tmp_path / "other", OPTIONS)
    written = write_report([*runs, read_run(tmp_path / "other")], tmp_path / "report")
    assert [problem.path.name for problem in written.problems] == ["other"]
    assert "expected runs that differ only in method and seed, got one with" in written.problems[0].why
    assert [run.path for run in written.comparisons[0].runs] == sorted(run.path for run in runs)


@pytest.mark.slow
def test_an_interrupt_is_raised_and_loses_nothing(done, tmp_path, task_recorder):
    config, finished, _ = done

    def interrupt(config: TrainConfig, folder: Path) -> int:
        if len(task_recorder.folders) == 2:
            interrupt_it(config, folder)
            raise KeyboardInterrupt
        return train_it(config, folder)

    task_recorder.act = interrupt
    with pytest.raises(KeyboardInterrupt):
        compare(config, METHODS, 1, tmp_path, OPTIONS)
    task_recorder.act = train_it
    for run in compare(config, METHODS, 1, tmp_path, OPTIONS):
        assert_equal_runs(run.path, finished / run.path.name)


# Errors before any run starts


def test_a_folder_with_runs_of_another_configuration_is_refused_and_unchanged(done, task_recorder):
    config, out, _ = done
    before = {path: contents(path) for path in out.iterdir() if path.is_dir()}
    with pytest.raises(RunError, match=r"--lr 0\.1 instead of 0\.05; choose another --out"):
        compare(replace(config, lr=0.05), ["mixup", *METHODS], 3, out, OPTIONS)
    assert task_recorder.jobs == []
    assert {path: contents(path) for path in out.iterdir() if path.is_dir()} == before


@pytest.mark.parametrize(
    ("changes", "methods", "error"),
    [
        ({}, ["vanilla", "smixx"], OptionError),
        ({"model": "resnet9"}, METHODS, OptionError),
        ({"data": "npz:not-there.npz"}, METHODS, DataError),
        ({"masks": "not/there"}, ["vanilla", "smix"], MaskError),
        ({"train_limit": 1000}, METHODS, DataError),
    ],
)
def test_invalid_configurations_are_refused_before_any_run_starts(
    data, tmp_path, task_recorder, changes, methods, error
):
    with pytest.raises(error) as info:
        compare(small_config(data, **changes), methods, 2, tmp_path / "out", OPTIONS)
    assert "\n" not in str(info.value)
    assert task_recorder.jobs == []
    assert not (tmp_path / "out").exists()


def test_masks_that_no_method_uses_need_not_exist(data, tmp_path, task_recorder):
    compare(small_config(data, masks="not/there"), ["vanilla", "mixup"], 1, tmp_path, OPTIONS)
    assert task_recorder.folders == ["vanilla-0", "mixup-0"]


def test_a_run_with_a_broken_result_is_refused_and_not_trained_again(done, tmp_path, task_recorder):
    config, _, _ = done
    task_recorder.act = train_it
    compare(config, ["vanilla"], 1, tmp_path, OPTIONS)
    (tmp_path / "vanilla-0" / "result.json").write_text("{")
    task_recorder.jobs.clear()
    with pytest.raises(RunError, match=r"vanilla-0/result\.json: expected a run file written by this version"):
        compare(config, ["vanilla"], 1, tmp_path, OPTIONS)
    assert task_recorder.jobs == []
    with pytest.raises(RunError):
        read_result(tmp_path / "vanilla-0")


# Timing


@pytest.mark.slow
def test_timing_changes_neither_the_network_nor_the_threads_nor_the_global_generator(data):
    config = small_config(data, model="wrn-10-1-drop0.3")
    material = prepare(config, OPTIONS)
    before = {name: tensor.clone() for name, tensor in material.model.state_dict().items()}
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    cost = cost_of(material, torch.device("cpu"), OPTIONS, threads + 1)
    assert 0 < cost.epoch < 60 * len(material.training)
    assert cost.memory == 0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in material.model.state_dict().items())
    assert all(parameter.grad is None for parameter in material.model.parameters())
