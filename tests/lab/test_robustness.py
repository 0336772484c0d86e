"""Test that robustness results equal those of direct calls of the library."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from smix import EvaluateConfig, build_masks, evaluate, load_data
from smix.data import streaming
from smix.data.batches import Batches, Normalisation
from smix.data.streaming import Reader, Streamed
from smix.errors import DataError, MaskError, RunError
from smix.evaluation import robustness
from smix.evaluation.accuracy import accuracy
from smix.evaluation.attacks import NormalisedModel, fgsm, pgd
from smix.evaluation.cifar_c import LABEL as OFFICIAL
from smix.evaluation.corruptions.suite import CORRUPTIONS, LABEL, SEVERITIES, corrupt, corrupt_batches
from smix.evaluation.occlusion import occlude, partners, swap_backgrounds
from smix.evaluation.predict import predict
from smix.evaluation.robustness import ATTACKS, on_corrupted
from smix.lab import suites
from smix.lab.label_map import Grouped
from smix.lab.target import EvalTarget, load_target
from smix.masks import load_source
from tests.conftest import make_set
from tests.lab.trained import ALL, CLASSES, QUIET, SIZE, TEST, sets, train_run, write_sets
from tests.training.small import arrays

pytestmark = pytest.mark.usefixtures("read_here")


def measure(run: Path, config: EvaluateConfig = ALL) -> tuple[EvalTarget, Batches]:
    target = load_target(run, config, QUIET)
    loader = target.loader()
    assert isinstance(loader, Batches)
    return target, loader


@pytest.mark.slow
def test_severity_0_is_the_clean_accuracy_exactly(finished, full_evaluation):
    target, loader = measure(finished)
    accuracies = on_corrupted(target.model, loader, target.data.index, 0, lambda count: None, (0, 5))
    assert {each[0] for each in accuracies.values()} == {full_evaluation[1].numbers["accuracy"]}
    assert full_evaluation[1].corruptions[0].clean == full_evaluation[1].numbers["accuracy"]
    assert accuracies["contrast"][1] == full_evaluation[1].corruptions[0].accuracy["contrast"][4]


@pytest.mark.slow
def test_corruptions_equal_those_of_the_suite_at_each_severity(finished, full_evaluation):
    target, loader = measure(finished)
    (suite,) = full_evaluation[1].corruptions
    assert suite.suite == LABEL
    assert suite.images == TEST
    assert list(suite.accuracy) == list(CORRUPTIONS)
    assert len({each for values in suite.accuracy.values() for each in values}) > 3
    for name in ("gaussian_noise", "snow", "contrast", "jpeg_compression"):
        for severity in SEVERITIES:
            changed = corrupt_batches(loader, name, severity, target.data.index.tolist())
            assert suite.accuracy[name][severity - 1] == accuracy(*predict(target.model, changed.in_order()))


def test_corruption_depends_only_on_the_row_in_the_split(finished):
    """The corruption of an image depends only on its row in the complete split, not on the subset or the batch size."""
    target, loader = measure(finished)
    few = load_target(finished, EvaluateConfig(limit=7), QUIET)
    assert few.data.index.tolist() != list(range(7))
    hits = 0
    for row in few.data.index.tolist():
        image = loader.images[[row]]
        logits = target.model(loader.normalise(corrupt(image, "gaussian_noise", 5, [row])))
        hits += int(logits.argmax(1) == loader.labels[row])
    batches = few.loader()
    assert isinstance(batches, Batches)
    accuracies = on_corrupted(few.model, replace(batches, at_once=3), few.data.index, 0, lambda count: None, (5,))
    assert accuracies["gaussian_noise"] == (hits / 7,)


@pytest.mark.slow
def test_at_most_one_batch_is_corrupted_at_a_time(finished, monkeypatch):
    seen = []

    def record_call(images, *rest):
        seen.append(len(images))
        return corrupt(images, *rest)

    monkeypatch.setattr(robustness, "corrupt", record_call)
    target, loader = measure(finished)
    on_corrupted(target.model, replace(loader, at_once=5), target.data.index, 0, lambda count: None, (1,))
    assert max(seen) == 5
    assert sum(seen) == TEST * len(CORRUPTIONS)


@pytest.mark.slow
def test_attacks_equal_those_of_the_library_on_all_images_at_once(finished, full_evaluation):
    target, loader = measure(finished)
    network = NormalisedModel(target.model, target.classifier.normalise)
    images = loader.images.movedim(-1, 1).float() / 255
    for attack, attacked in zip(ATTACKS, full_evaluation[1].attacks, strict=True):
        start = target.data.index.tolist() if attack.steps > 1 else None
        changed = pgd(network, images, loader.labels, attack.eps, attack.step_size, attack.steps, start)
        with torch.no_grad():
            right = (network(changed).argmax(1) == loader.labels).double().mean().item()
        assert attacked.accuracy == pytest.approx(right, abs=1.01 / TEST)  # rounding may change one prediction
        assert attacked.accuracy <= attacked.clean == full_evaluation[1].numbers["accuracy"]
        assert (attacked.name, attacked.eps, attacked.step_size, attacked.steps) == tuple(attack)
    assert {(one.name, one.steps) for one in full_evaluation[1].attacks} == {("fgsm", 1), ("pgd", 10)}


def test_images_are_attacked_in_small_batches_from_starts_that_depend_on_the_row(
    finished, full_evaluation, monkeypatch
):
    monkeypatch.setattr(robustness, "MAX_VALUES", 5 * 28 * 36 * 3)
    monkeypatch.setattr(robustness, "ATTACKS", (ATTACKS[0], ATTACKS[2]._replace(steps=2)))
    seen = []

    def record_call(model, images, *rest):
        seen.append((len(images), rest[1:]))
        return pgd(model, images, *rest)

    monkeypatch.setattr(robustness, "pgd", record_call)
    target, loader = measure(finished)
    index = np.arange(100, 100 + TEST)
    accuracies = robustness.on_attacked(target.model, loader, index, 7, lambda count: None)
    assert [count for count, _ in seen[::2]] == [5, 5, 5, 5, 4]
    assert {rest for _, rest in seen[::2]} == {(1 / 255, 1 / 255, 1, None, 7)}
    assert [rest[3].tolist() for _, rest in seen[1::2]] == [some.tolist() for some in np.split(index, [5, 10, 15, 20])]
    assert accuracies[0] == pytest.approx(full_evaluation[1].attacks[0].accuracy, abs=1.01 / TEST)


def test_objects_are_swapped_and_hidden_as_by_the_library(finished, full_evaluation):
    target, loader = measure(finished)
    masks = torch.from_numpy(target.data.masks)
    objects = full_evaluation[1].objects
    assert objects is not None
    assert (objects.images, objects.left_out, objects.masks) == (TEST, 0, "carried")
    assert objects.clean == full_evaluation[1].numbers["accuracy"]
    changed = {
        "swapped": swap_backgrounds(loader.images, masks, loader.labels),
        "object_hidden": occlude(loader.images, masks, "object"),
        "background_hidden": occlude(loader.images, masks, "background"),
    }
    for name, one in changed.items():
        logits, labels = predict(target.model, replace(loader, images=one.images).in_order())
        assert getattr(objects, name) == accuracy(logits, labels), name
    # Batch by batch.
    few = replace(loader, masks=masks, at_once=7)
    assert robustness.on_objects(target.model, few, target.data.index, 0, lambda count: None) == (
        *(objects.images, objects.clean, objects.swapped, objects.object_hidden, objects.background_hidden),
    )


# Images in files


@pytest.mark.slow
def test_images_in_files_are_read_corrupted_and_attacked_batch_by_batch(files, tmp_path, monkeypatch):
    run = Path(shutil.copytree(files[1], tmp_path / "run"))
    evaluation = evaluate(run, EvaluateConfig(), QUIET)
    assert evaluation.numbers["accuracy"] == json.loads((run / "result.json").read_text())["test_accuracy"]
    monkeypatch.setattr(streaming, "AT_ONCE", 5)
    target = load_target(run, EvaluateConfig(limit=8), QUIET)
    streamed = target.loader()
    assert isinstance(streamed, Streamed)
    index = target.data.index
    shown = on_corrupted(target.model, streamed, index, 0, lambda count: None, (0, 3))
    # The same images, loaded in advance.
    pixels = torch.cat([some.images for some in streamed.pixels()])
    held = Batches(pixels, torch.from_numpy(target.data.labels), target.classifier.normalise)
    assert {each[0] for each in shown.values()} == {accuracy(*predict(target.model, held.in_order()))}
    for name in ("fog", "gaussian_noise", "pixelate"):
        changed = corrupt_batches(held, name, 3, index.tolist())
        assert shown[name][1] == accuracy(*predict(target.model, changed.in_order()))
    attacked, expected = (
        robustness.on_attacked(target.model, loader, index, 0, lambda count: None) for loader in (streamed, held)
    )
    assert attacked == pytest.approx(expected, abs=1.01 / 8)


def test_attacks_target_grouped_classes(finished, monkeypatch):
    monkeypatch.setattr(robustness, "ATTACKS", ATTACKS[1:2])
    target, loader = measure(finished)
    outputs = ((0, 1, 2), (3, 4, 5))
    model, labels = Grouped(target.model, outputs).eval(), loader.labels // 3
    images = loader.images.movedim(-1, 1).float() / 255
    changed = fgsm(NormalisedModel(model, loader.normalise), images, labels, 8 / 255)
    with torch.no_grad():
        right = (NormalisedModel(model, loader.normalise)(changed).argmax(1) == labels).double().mean().item()
    accuracies = robustness.on_attacked(model, replace(loader, labels=labels), target.data.index, 0, lambda count: None)
    assert accuracies == (pytest.approx(right, abs=1.01 / TEST),)


@pytest.mark.slow
def test_objects_of_image_files_are_taken_from_a_store(files, tmp_path):
    name, run = files
    run = Path(shutil.copytree(run, tmp_path / "run"))
    data = load_data(name, split="test")
    drawn = tmp_path / "drawn"
    for place in range(len(data)):
        height, width = data.images[place].shape[:2]
        mask = np.zeros((height, width), np.uint8)
        mask[height // 4 : height // 2 + place % 3, width // 4 : width // 2] = 255
        if place == 5:
            mask[:] = 0
        file = drawn / f"{data.stem(place)}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    store = tmp_path / "store"
    build_masks(data, load_source(f"masks:{drawn}"), store, "none", quiet=True)
    objects = evaluate(run, EvaluateConfig(masks=str(store)), QUIET).objects
    assert objects is not None
    assert (objects.images, objects.left_out) == (TEST - 1, 1)
    assert objects.masks.startswith("masks:")
    # The same images, loaded in advance.
    target = load_target(run, ALL, QUIET)
    chosen, masks = suites._with_masks(target.data, str(store))
    reader = Reader(chosen, (28, 28), masks=masks.masks)
    pairs = [reader.read(row) for row in range(len(chosen))]
    images, cut = torch.stack([image for image, _ in pairs]), torch.stack([mask for _, mask in pairs])
    labels = torch.from_numpy(chosen.labels)
    normalise = target.classifier.normalise
    for part, name in (("object", "object_hidden"), ("background", "background_hidden")):
        changed = Batches(occlude(images, cut, part).images, labels, normalise)
        assert getattr(objects, name) == accuracy(*predict(target.model, changed.in_order()))


# Masks


@pytest.mark.slow
def test_images_without_mask_in_a_partly_built_store_are_omitted(run, data_name, tmp_path, monkeypatch):
    test = load_data(data_name, split="test")
    store = tmp_path / "store"
    build_masks(test, load_source("carried"), store, "none", limit=10, quiet=True)
    evaluation = evaluate(run, EvaluateConfig(masks=str(store)), QUIET)
    assert evaluation.objects is not None
    assert (evaluation.objects.images, evaluation.objects.left_out) == (10, TEST - 10)
    rows = np.sort(test.take(10).index)
    logits = torch.from_numpy(arrays(run / "predictions.npz")["logits"])[rows]
    labels = torch.from_numpy(test.labels[rows])
    assert evaluation.objects.clean == accuracy(logits, labels)
    # The other backgrounds depend on the row in the complete split.
    drawn = []

    def record_call(*measure):
        drawn.append(measure)
        return partners(*measure)

    monkeypatch.setattr(robustness, "partners", record_call)
    again = evaluate(run, EvaluateConfig(masks=str(store)), QUIET, tmp_path / "again")
    assert again.objects == evaluation.objects
    assert [(theirs.tolist(), index.tolist(), seed) for theirs, index, seed in drawn] == [
        (labels.tolist(), rows.tolist(), 0)
    ]
    # An extended store counts as another store.
    build_masks(test, load_source("carried"), store, "none", limit=12, quiet=True)
    assert evaluate(run, EvaluateConfig(masks=str(store)), QUIET).objects.images == 12


def test_a_store_of_empty_masks_is_refused(run, data_name, tmp_path):
    test = load_data(data_name, split="test")
    assert test.masks is not None
    empty = replace(test, masks=np.zeros_like(test.masks))
    build_masks(empty, load_source("carried"), tmp_path / "store", "none", quiet=True)
    with pytest.raises(MaskError, match="expected masks for the 24 evaluated images, got none; build them"):
        evaluate(run, EvaluateConfig(masks=str(tmp_path / "store")), QUIET)


@pytest.mark.parametrize("split", ["train", "other"])
def test_masks_of_other_images_are_refused(run, data_name, tmp_path, split):
    images = load_data(data_name) if split == "train" else make_set(TEST, SIZE, CLASSES, seed=3, split="test")
    build_masks(images, load_source("carried"), tmp_path / "store", "none", quiet=True)
    with pytest.raises(MaskError, match=f"got masks of another {'split' if split == 'train' else 'data set'}"):
        evaluate(run, EvaluateConfig(masks=str(tmp_path / "store")), QUIET)
    assert not (run / "evaluation").exists()


# The official arrays


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> tuple[Path, Path]:
    """Write arrays of images that become brighter with the severity, and train a run on the images themselves."""
    folder = tmp_path_factory.mktemp("official")
    train, test = sets((32, 32), 10)
    name = write_sets(folder, train, test)
    arrays = folder / "CIFAR-10-C"
    arrays.mkdir()
    np.save(arrays / "labels.npy", np.tile(test.labels, 5).astype(np.uint8))
    for shift, corruption in enumerate(CORRUPTIONS):
        each = [np.clip(test.array.astype(int) + 3 * severity * shift, 0, 255) for severity in SEVERITIES]
        np.save(arrays / f"{corruption}.npy", np.concatenate(each).astype(np.uint8))
    return arrays, train_run(folder / "vanilla-0", name)


@pytest.mark.slow
def test_the_official_arrays_are_read_row_by_row(official, tmp_path):
    folder, run = official
    run = Path(shutil.copytree(run, tmp_path / "run"))
    evaluation = evaluate(run, EvaluateConfig(official=folder, limit=7), QUIET)
    (suite,) = evaluation.corruptions
    assert (suite.suite, suite.images, suite.clean) == (OFFICIAL, 7, evaluation.numbers["accuracy"])
    assert list(suite.accuracy) == list(CORRUPTIONS)
    # The first of them does not change images.
    assert suite.accuracy["gaussian_noise"] == (suite.clean,) * 5
    target = load_target(run, EvaluateConfig(limit=7), QUIET)
    brighter = np.clip(target.data.array.astype(int) + 3 * 4 * 14, 0, 255).astype(np.uint8)
    changed = Batches.of(replace(target.data, images=brighter), target.classifier.normalise, torch.device("cpu"))
    assert suite.accuracy["jpeg_compression"][3] == accuracy(*predict(target.model, changed.in_order()))
    (tmp_path / "map.json").write_text(json.dumps({"class 5": [0, 5], "class 2": 2, "class 3": 3}))
    mapped = evaluate(run, EvaluateConfig(official=folder, label_map=tmp_path / "map.json"), QUIET)
    assert mapped.images == 5
    assert mapped.corruptions[0].accuracy["gaussian_noise"] == (mapped.numbers["accuracy"],) * 5
    both = evaluate(run, EvaluateConfig(official=folder, corruptions=True, limit=7), QUIET)
    assert [one.suite for one in both.corruptions] == [OFFICIAL, LABEL]


def test_official_arrays_of_other_images_are_refused(official, run, files, tmp_path):
    folder, other = official
    with pytest.raises(
        RunError, match=r"expected a network for images of 32 x 32 for the arrays in .*, got one for 28 x 28"
    ):
        evaluate(files[1], EvaluateConfig(official=folder), QUIET)
    with pytest.raises(DataError, match=r"the corrupted images differ from npz:.* test in size, number or"):
        evaluate(run, EvaluateConfig(official=folder), QUIET)
    wrong = Path(shutil.copytree(folder, tmp_path / "wrong"))
    np.save(wrong / "labels.npy", np.roll(np.load(folder / "labels.npy"), 1))
    with pytest.raises(DataError, match="use CIFAR-10-C with cifar10"):
        evaluate(other, EvaluateConfig(official=wrong), QUIET, tmp_path / "out")
    with pytest.raises(DataError, match=r"expected a \.npy file of CIFAR-10-C"):
        evaluate(other, EvaluateConfig(official=tmp_path), QUIET, tmp_path / "out")


def test_overflowing_logits_of_changed_images_are_one_line_errors():
    class Bright(torch.nn.Module):
        def forward(self, images):
            return images.flatten(2).mean(2) / (1 - images.flatten(1).amax(1, keepdim=True)).clamp(min=0)

    images = torch.full((4, 28, 28, 3), 100, dtype=torch.uint8)
    batches = Batches(images, torch.zeros(4, dtype=torch.long), Normalisation((0.0,) * 3, (1.0,) * 3))
    with pytest.raises(DataError, match="logits: expected finite numbers, got NaN or infinity"):
        on_corrupted(Bright(), batches, np.arange(4), 0, lambda count: None)
