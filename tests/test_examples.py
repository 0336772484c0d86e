"""Test that the examples run and learn, stay short, and use only public names of smix."""

import ast
import importlib.util
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data._utils.pin_memory import pin_memory

import smix
from tests.training.processes import in_processes

ROOT = Path(smix.__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
NEEDS = {"timm_step": ["timm"], "lightning_module": ["lightning"], "hf_trainer": ["transformers", "accelerate"]}
BY_NAME = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


def missing_packages(example: Path) -> list[str]:
    return [package for package in NEEDS.get(example.stem, []) if importlib.util.find_spec(package) is None]


def test_the_list_of_examples():
    names = ["collate", "hf_trainer", "lightning_module", "plain_loop", "timm_step", "torchvision_v2"]
    assert [example.stem for example in EXAMPLES] == names


@pytest.mark.slow
@BY_NAME
def test_an_example_trains(example: Path, tmp_path: Path):
    if packages := missing_packages(example):
        pytest.skip(f"{' and '.join(packages)} not installed")

    def run(rank: int) -> None:
        os.chdir(tmp_path)
        os.environ["HF_HUB_OFFLINE"] = "1"
        sys.argv = [str(example)]
        runpy.run_path(str(example), run_name="__main__")

    (done,) = in_processes(1, tmp_path / "logs", run)
    assert done.code == 0, done.err
    loss = re.search(r"^train loss (\d\.\d\d) -> (\d\.\d\d)", done.out, re.MULTILINE)
    accuracy = re.search(r"^accuracy (\d\.\d\d) on 300 held-out images \(chance 0\.10\)$", done.out, re.MULTILINE)
    assert loss is not None, done.out
    assert accuracy is not None, done.out
    first, last = map(float, loss.groups())
    assert last < first - 0.2
    assert float(accuracy[1]) > 0.3
    if example.stem not in NEEDS:
        assert done.err == ""  # no warning of smix or PyTorch
        assert len(done.out.splitlines()) == 2


@BY_NAME
def test_an_example_is_short_and_says_how_to_run_it(example: Path):
    source = example.read_text()
    assert len(source.splitlines()) < 80
    described = ast.get_docstring(ast.parse(source))
    assert described is not None
    assert f"Run:     python examples/{example.name}" in described
    packages = " ".join([".", *NEEDS.get(example.stem, [])])
    assert f"Install: pip install {packages}" in described.splitlines()


@BY_NAME
def test_an_example_uses_public_names_only(example: Path):
    used = set()
    for node in ast.walk(ast.parse(example.read_text())):
        if isinstance(node, ast.Import):
            assert all(not name.name.startswith("smix.") for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "smix":
            assert node.module == "smix"
            used |= {name.name for name in node.names}
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "smix":
            used.add(node.attr)
    assert used
    assert used <= set(smix.__all__)


WORKERS = """
import torch
from collate import mix_and_collate
from torch.utils.data import DataLoader

sample = torch.ones(3, 8, 8), torch.tensor(1), torch.ones(8, 8, dtype=torch.bool)


def draws(seed):
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(
        [sample] * 32, 8, num_workers=2, collate_fn=mix_and_collate, generator=generator, persistent_workers=True
    )
    return torch.cat([target.share[target.mixed] for _ in range(2) for _, target in loader])


if __name__ == "__main__":
    first = draws(0)
    print(len(first), len(first.unique()), torch.equal(first, draws(0)), torch.equal(first, draws(1)))
"""


@pytest.mark.slow
def test_workers_and_epochs_draw_different_mixes_that_one_seed_repeats(tmp_path: Path):
    """All samples are equal, so that equal draws would give equal label weights."""
    (tmp_path / "workers.py").write_text(WORKERS)
    path = os.pathsep.join([str(ROOT), str(ROOT / "examples")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "workers.py"]
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    drawn, distinct, repeated, same = done.stdout.split()
    assert int(drawn) > 30
    assert drawn == distinct
    assert (repeated, same) == ("True", "False")


def test_a_target_is_pinned_by_the_data_loader(monkeypatch: pytest.MonkeyPatch):
    x, y = torch.zeros(4, 3, 8, 8), torch.arange(4)
    batch = smix.Mixup()(x, y, generator=torch.Generator().manual_seed(0))
    pinned = []
    # Without an accelerator there is no pinned memory, so record the tensors that would be pinned.
    monkeypatch.setattr(
        torch.Tensor, "pin_memory", lambda tensor, *device: pinned.append(tensor.shape) or tensor.clone()
    )
    mixed, target = pin_memory(batch)
    assert isinstance(target, smix.Target)
    assert pinned == [mixed.shape, *[(4,)] * 5]
    assert torch.equal(target.share, batch[1].share)
