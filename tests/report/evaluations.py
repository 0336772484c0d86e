"""Synthetic evaluations, as smix evaluate writes them."""

from pathlib import Path

from smix import files
from smix.evaluation.corruptions.suite import CORRUPTIONS, LABEL
from smix.evaluation.records import FOLDER, Attacked, Corrupted, Evaluation, ObjectAccuracies, write_evaluation


def corrupted(clean: float, suite: str = LABEL) -> Corrupted:
    """Return accuracies that fall by 0.01 with each severity and by 0.001 with each corruption."""
    accuracy = {
        name: tuple(clean - 0.01 * severity - 0.001 * place for severity in (1, 2, 3, 4, 5))
        for place, name in enumerate(CORRUPTIONS)
    }
    return Corrupted(suite, 61, clean, accuracy)


def evaluation(clean: float, suites: tuple[str, ...] = (LABEL,), weights: str = "00" * 32) -> Evaluation:
    return Evaluation(
        data="digits-on-photos",
        fingerprint="bb" * 32,
        images=61,
        weights=weights,
        numbers={"accuracy": clean},
        corruptions=tuple(corrupted(clean, suite) for suite in suites),
        attacks=(
            Attacked("fgsm", 8 / 255, 8 / 255, 1, 61, clean, clean / 2),
            Attacked("pgd", 2 / 255, 0.5 / 255, 10, 61, clean, clean / 4),
            Attacked("pgd", 8 / 255, 2 / 255, 10, 61, clean, clean / 8),
        ),
        objects=ObjectAccuracies("carried", 50, 11, clean, 0.8 * clean, 0.7 * clean, 0.9 * clean),
    )


def write_evaluations(run: Path, clean: float, other: float | None = None) -> None:
    """Write the evaluation of the own test split, and that of another data set if its accuracy is given."""
    file = run / "weights.safetensors"
    weights = files.sha256(file) if file.is_file() else "00" * 32
    write_evaluation(run / FOLDER / "test.json", evaluation(clean, weights=weights))
    if other is not None:
        away = Evaluation("elsewhere", "ff" * 32, 30, weights, {"accuracy": other}, own=False)
        write_evaluation(run / FOLDER / "elsewhere.json", away)
