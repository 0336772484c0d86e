"""Test the programs for a user's own pictures: that of the README, and those for other libraries."""

import ast
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import smix
from smix.masks import build_masks, load_source

ROOT = Path(smix.__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples" / "pictures").glob("*.py"))
NEEDS = {
    "with_composer": ["composer"],
    "with_hf_trainer": ["transformers", "accelerate"],
    "with_lightning": ["lightning"],
    "with_timm": ["timm"],
}
PACKAGES = {"composer": "mosaicml"}
"""Name of the package of a module on PyPI, where it differs."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Return a folder with pictures of two classes and of different sizes in birds, and their masks in birds-masks."""
    home, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(12):
        height, width = ((40, 60), (32, 32), (50, 30))[number % 3]
        picture, mask = rng.integers(0, 60, (height, width, 3)).astype(np.uint8), np.zeros((height, width), np.uint8)
        box = slice(height // 4, height // 2), slice(width // 4, width // 2)
        picture[box], mask[box] = 220, 255
        name = f"train/{('owl', 'wren')[number % 2]}/{number}"
        for folder, suffix, pixels in (("birds", "jpg", picture), ("birds-masks", "png", mask)):
            (home / folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(home / folder / f"{name}.{suffix}")
    return home


def run(code: str, folder: Path) -> str:
    """Run a program in a new process, with a small network and small crops so that it takes seconds."""
    code = code.replace("RandomResizedCrop(224)", "RandomResizedCrop(32)")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    (folder / "program.py").write_text(code)
    words = [sys.executable, "program.py"]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def readme_block() -> str:
    """Return the program under "Mix in your own training loop"."""
    section = (ROOT / "README.md").read_text().partition("## Mix in your own training loop")[2]
    match = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert match is not None
    return match[1]


def test_the_program_of_the_readme_has_few_lines():
    assert 10 <= sum(bool(line.strip()) for line in readme_block().splitlines()) <= 17


@pytest.mark.slow
def test_the_program_of_the_readme_runs_as_it_stands(pictures):
    checks = (
        "print(len(data), mixed.shape, masks.dtype, bool(masks.flatten(1).any(1).sum() > 6), loss.isfinite().item())"
    )
    out = run(f"{readme_block()}\n{checks}\n", pictures)
    assert out == "12 torch.Size([12, 3, 32, 32]) torch.bool True True\n"
    assert (pictures / "masks/birds/images.tsv").is_file()


def test_the_list_of_examples():
    assert [example.stem for example in EXAMPLES] == sorted(NEEDS)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_trains(example: Path, pictures: Path, tmp_path: Path):
    if missing := [package for package in NEEDS[example.stem] if importlib.util.find_spec(package) is None]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    data = smix.load_data(f"folder:{pictures / 'birds'}", split="all")
    build_masks(data, load_source(f"masks:{pictures / 'birds-masks'}"), tmp_path / "masks/birds")
    (tmp_path / "birds").symlink_to(pictures / "birds")
    loss = re.search(r"^loss (\d+\.\d\d)$", run(example.read_text(), tmp_path), re.MULTILINE)
    assert loss is not None
    assert 0 < float(loss[1]) < 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_to_run_it(example: Path):
    source = example.read_text()
    assert len(source.splitlines()) < 70
    described = ast.get_docstring(ast.parse(source))
    assert described is not None
    assert f"Run:     python examples/pictures/{example.name}" in described
    packages = " ".join([".", *(PACKAGES.get(package, package) for package in NEEDS[example.stem])])
    assert f"Install: pip install {packages}" in described.splitlines()
