"""Test `fit` alone: the order of events, the learning rate, stopping between steps, losses that are not finite."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smix import rng
from smix.config import TrainConfig
from smix.data.batches import Batches, Normalisation
from smix.errors import RunError
from smix.evaluation.accuracy import accuracy, cross_entropy
from smix.mixing import FMix, Method, SMix, Vanilla, parse_method
from smix.training import loop
from smix.training.checkpoint import load_checkpoint, save_checkpoint
from smix.training.distributed import ALONE
from smix.training.learner import Learner
from smix.training.loop import Epoch, Progress, fit

COUNT = 22
STEPS = 5  # of 5 images, the last of 2
CONFIG = TrainConfig(epochs=3, batch_size=5, milestones=(2,))


@dataclass(frozen=True, kw_only=True, repr=False)
class Recorder(Vanilla):
    """Method that mixes nothing and records the labels, which number the images."""

    seen: list[list[int]] = field(default_factory=list)

    def __call__(self, x, y, **others):
        self.seen.append(y.tolist())
        return super().__call__(x, y, **others)


class Net(nn.Module):
    """Network with dropout and batch norm, in which resumed training differs most easily."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 5 * 7, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5), nn.Linear(12, COUNT)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def batches(count: int = COUNT, seed: int = 0) -> Batches:
    """Return random images whose labels are their row numbers."""
    generator = np.random.default_rng(seed)
    images = torch.from_numpy(generator.integers(0, 256, (count, 5, 7, 3)).astype(np.uint8))
    masks = torch.zeros(count, 5, 7, dtype=torch.bool)
    masks[:, 1:4, 2:6] = True
    valid = torch.arange(count) % 3 > 0
    return Batches(
        images, torch.arange(count), Normalisation((0.5,) * 3, (0.25,) * 3), masks, valid, crop_padding=1, hflip=True
    )


TRAIN, VALIDATION = batches(), batches(6, seed=1)


@dataclass
class Training:
    """A training run with all its state. After a stop `go` can be called again."""

    config: TrainConfig = CONFIG
    method: Method = field(default_factory=Recorder)
    model: nn.Module = field(default_factory=Net)
    progress: Progress = field(default_factory=Progress)
    train: Batches = TRAIN

    def __post_init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed)
            for module in self.model.modules():
                if isinstance(module, nn.Linear | nn.BatchNorm1d):
                    module.reset_parameters()
        self.learner = Learner.of(self.model, self.config, ALONE)
        self.optimizer = self.learner.optimizer

    def go(self, stop: Callable[[], bool] = lambda: False) -> list[Epoch]:
        with torch.random.fork_rng(devices=[]):
            return list(
                fit(
                    self.learner,
                    self.method,
                    self.train,
                    VALIDATION,
                    self.config,
                    self.progress,
                    stop,
                )
            )

    def state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.model.state_dict().items()}


@pytest.fixture(autouse=True)
def _keep_the_global_generator():
    with torch.random.fork_rng(devices=[]):
        yield


def stop_after_calls(steps: int) -> Callable[[], bool]:
    """Return a `stop` function that allows this number of steps."""
    asked = iter([False] * steps)
    return lambda: next(asked, True)


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_seconds(epochs: list[Epoch]) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in epochs]


def per_epoch(seen: list[list[int]]) -> list[list[int]]:
    """Return the image numbers of each epoch."""
    return [list(chain(*seen[start : start + STEPS])) for start in range(0, len(seen), STEPS)]


@pytest.mark.parametrize("method", ["vanilla", "mixup", "cutmix(prob=0.5)", "fmix", "smix", "smix+fmix"])
def test_fit_equals_the_literal_loop(method):
    training = Training(method=parse_method(method))
    epochs = training.go()

    literal = Training(method=parse_method(method))
    model, optimizer, lr = literal.model, literal.optimizer, CONFIG.lr
    for epoch in range(CONFIG.epochs):
        order = torch.randperm(COUNT, generator=rng.generator(CONFIG.seed, "order", epoch))
        losses, right, fell_back, counts = [], [], [], []
        if epoch == 2:
            lr /= 10
        optimizer.param_groups[0]["lr"] = lr
        for part, (images, labels, masks, valid) in enumerate(TRAIN.shuffled(CONFIG.seed, epoch, 5)):
            assert labels.tolist() == order[part * 5 : part * 5 + 5].tolist()
            step = epoch * STEPS + part
            torch.manual_seed(rng.key(CONFIG.seed, "model", step))
            mixed, target = literal.method(
                images, labels, masks=masks, valid=valid, generator=rng.generator(CONFIG.seed, "mix", step)
            )
            model.zero_grad()
            logits = model(mixed)
            loss = target.loss(logits)
            loss.backward()
            optimizer.step()
            counts.append(len(images))
            losses.append(loss.item())
            right.append(target.accuracy(logits.detach()).item())
            fell_back += target.fell_back.tolist()
        model.eval()
        with torch.no_grad():
            logits = model(VALIDATION.normalise(VALIDATION.images))
        model.train()
        assert epochs[epoch].epoch == epoch + 1
        assert epochs[epoch].lr == pytest.approx(lr, rel=1e-12)
        assert epochs[epoch].train_loss == pytest.approx(np.average(losses, weights=counts), rel=1e-6)
        assert epochs[epoch].train_accuracy == pytest.approx(np.average(right, weights=counts), rel=1e-6)
        assert epochs[epoch].fell_back == pytest.approx(np.mean(fell_back), rel=1e-6)
        assert epochs[epoch].val_loss == pytest.approx(cross_entropy(logits, VALIDATION.labels), rel=1e-6)
        assert epochs[epoch].val_accuracy == accuracy(logits, VALIDATION.labels)
    for mine, theirs in zip(training.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert (epochs[0].fell_back > 0) == (method == "smix+fmix")


def test_an_epoch_shows_each_image_once_and_orders_differ_between_epochs():
    training = Training()
    training.go()
    epochs = per_epoch(training.method.seen)
    assert len(epochs) == CONFIG.epochs
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == CONFIG.epochs


def test_with_drop_last_other_images_are_left_out_of_each_epoch():
    training = Training(train=replace(TRAIN, drop_last=True))
    records = training.go()
    seen = training.method.seen
    assert [len(batch) for batch in seen] == [5] * 4 * CONFIG.epochs
    epochs = [sorted(chain(*seen[start : start + 4])) for start in range(0, len(seen), 4)]
    assert all(len(set(epoch)) == 20 for epoch in epochs)
    assert len(set(map(tuple, epochs))) > 1
    assert all(math.isfinite(record.train_loss) for record in records)


@pytest.mark.parametrize("steps", [0, 1, STEPS - 1, STEPS, STEPS + 2, CONFIG.epochs * STEPS - 1])
def test_interrupted_and_resumed_training_equals_uninterrupted_training(steps, tmp_path):
    whole, cut, resumed = Training(), Training(), Training()
    expected = whole.go()
    first = cut.go(stop_after_calls(steps))
    assert len(cut.method.seen) == steps
    assert len(first) == steps // STEPS
    save_checkpoint(tmp_path / "c.pt", cut.learner, cut.progress, CONFIG)
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.fill_(7.0)  # all values of the new model must be replaced
    resumed.progress = load_checkpoint(tmp_path / "c.pt", resumed.learner, CONFIG)
    rest = resumed.go()
    assert cut.method.seen + resumed.method.seen == whole.method.seen
    assert without_seconds(first + rest) == without_seconds(expected)
    assert equal(resumed.state(), whole.state())


@pytest.mark.slow
def test_training_interrupted_at_every_step_equals_uninterrupted_training(tmp_path):
    whole = Training(method=SMix(alpha=(1.0, 1.0)))
    expected, path, found = whole.go(), tmp_path / "c.pt", []
    for _ in range(CONFIG.epochs * STEPS + 1):
        part = Training(method=SMix(alpha=(1.0, 1.0)))
        if path.is_file():
            part.progress = load_checkpoint(path, part.learner, CONFIG)
        found += part.go(stop_after_calls(1))
        save_checkpoint(path, part.learner, part.progress, CONFIG)
    assert without_seconds(found) == without_seconds(expected)
    assert equal(part.state(), whole.state())


def test_stop_is_called_once_before_each_step():
    asked = []
    training = Training()
    training.go(lambda: asked.append(len(training.method.seen)) or False)
    assert asked == list(range(CONFIG.epochs * STEPS))


def test_a_stop_before_the_first_step_changes_nothing():
    training = Training()
    before = training.state()
    assert training.go(stop_after_calls(0)) == []
    assert equal(training.state(), before)
    assert replace(training.progress, seconds=0.0) == Progress()


def test_finished_training_computes_nothing():
    training = Training()
    training.go()
    before = training.state()
    assert training.go() == []
    assert equal(training.state(), before)


def test_an_interrupted_epoch_keeps_its_sums_and_yields_no_record():
    training = Training(method=parse_method("smix+fmix"))
    assert len(training.go(stop_after_calls(STEPS + 3))) == 1
    assert (training.progress.epoch, training.progress.step) == (1, 3)
    assert training.progress.loss_sum > 0
    assert training.progress.fell_back_sum > 0


def test_the_seconds_of_an_epoch_exclude_the_pause_of_an_interruption(monkeypatch):
    now = 0.0
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now))

    def stop_at(steps: int) -> Callable[[], bool]:
        left = steps

        def stop() -> bool:
            nonlocal now, left
            now += 1.0  # so that each step seems to take a second
            left -= 1
            return left < 0

        return stop

    training = Training()
    training.go(stop_at(2))
    assert training.progress.seconds == 3.0
    now += 1000.0
    epochs = training.go(stop_at(10**6))
    assert [epoch.seconds for epoch in epochs] == [3.0 + 3.0, 5.0, 5.0]


@pytest.mark.parametrize(
    ("epochs", "milestones", "expected"),
    [
        (3, (), [0.1, 0.01, 0.001]),
        (6, (), [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]),
        (4, (1,), [0.1, 0.01, 0.01, 0.01]),
        (4, (1, 2, 3), [0.1, 0.01, 0.001, 0.0001]),
        (1, (), [0.1]),
    ],
)
def test_the_learning_rate_falls_to_a_tenth_after_each_milestone(epochs, milestones, expected):
    training = Training(config=replace(CONFIG, epochs=epochs, milestones=milestones))
    used = []
    training.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    said = [epoch.lr for epoch in training.go()]
    assert said == pytest.approx(expected, rel=1e-9)
    assert used == [lr for lr in said for _ in range(STEPS)]


def all_nan(logits: Tensor) -> Tensor:
    return logits * math.nan


def too_large(logits: Tensor) -> Tensor:
    """Return losses that are finite, but whose sum is not."""
    return torch.where(torch.arange(COUNT) == 0, 2e38, logits)


@pytest.mark.parametrize(("broken", "got"), [(all_nan, "nan"), (too_large, "inf")])
@pytest.mark.parametrize("step", [0, STEPS + 1])
def test_a_loss_that_is_not_finite_raises_before_the_update_and_names_the_step(broken, got, step):
    class BreakingNet(Net):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            logits = super().forward(x)
            if self.training:
                if self.calls == step:
                    self.before = [parameter.detach().clone() for parameter in self.parameters()]
                    logits = broken(logits)
                self.calls += 1
            return logits

    training = Training(model=BreakingNet())
    updates = []
    training.optimizer.register_step_post_hook(lambda *_: updates.append(1))
    with pytest.raises(
        RunError,
        match=rf"^step {step} \(epoch {step // STEPS + 1}, learning rate 0.1\): expected a finite loss, got {got};",
    ) as info:
        training.go()
    assert "\n" not in str(info.value)
    assert str(info.value).endswith("; lower --lr")
    assert len(updates) == step
    for now, before in zip(training.model.parameters(), training.model.before, strict=True):
        assert torch.equal(now, before)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_same_seed_gives_the_same_training_for_any_state_of_the_global_generators(seed):
    config, states, records = replace(CONFIG, seed=seed), [], []
    for scramble in (1, 2):
        torch.manual_seed(scramble)
        training = Training(config=config, method=FMix())
        records.append(without_seconds(training.go()))
        states.append(training.state())
    assert records[0] == records[1]
    assert equal(*states)


def test_another_seed_changes_order_crops_mixes_and_dropout():
    def first_step(seed: int) -> tuple[list[int], Tensor, Tensor]:
        training, drops = Training(config=replace(CONFIG, seed=seed), method=FMix()), []
        images, labels, _, _ = next(TRAIN.shuffled(seed, 0, 5))
        training.model.layers[4].register_forward_hook(lambda _, inputs, output: drops.append(output == 0))
        mixed = []
        training.model.register_forward_pre_hook(lambda _, inputs: mixed.append(inputs[0]))
        training.go(stop_after_calls(2))
        assert not torch.equal(drops[0], drops[1]), "two steps drop the same units"
        return labels.tolist(), images, mixed[0]

    (order, crops, mixes), (other_order, other_crops, other_mixes) = first_step(0), first_step(1)
    assert order != other_order
    assert not torch.equal(crops, other_crops)
    assert not torch.equal(mixes, other_mixes)


def test_all_methods_of_a_seed_see_the_same_images_in_the_same_order():
    seen = []

    @dataclass(frozen=True, kw_only=True, repr=False)
    class RecordingMethod(FMix):
        def __call__(self, x, y, **others):
            seen.append((x.clone(), y.clone()))
            return super().__call__(x, y, **others)

    recorder = Recorder()
    Training(method=recorder).go()
    Training(method=RecordingMethod()).go()
    assert [labels.tolist() for _, labels in seen] == recorder.seen
    first = next(TRAIN.shuffled(CONFIG.seed, 0, 5))
    assert torch.equal(seen[0][0], first[0])


def test_validation_shows_unchanged_images_to_a_network_in_evaluation_mode():
    training, shown = Training(method=FMix()), []
    training.model.register_forward_pre_hook(lambda model, inputs: shown.append((model.training, inputs[0])))
    training.go()
    validated = [images for trained, images in shown if not trained]
    assert sum(trained for trained, _ in shown) == CONFIG.epochs * STEPS
    assert len(validated) == CONFIG.epochs
    for images in validated:
        assert torch.equal(images, VALIDATION.normalise(VALIDATION.images))
    assert training.model.training


def test_a_network_in_evaluation_mode_is_switched_to_training_mode():
    training, expected = Training(), Training()
    training.model.eval()
    assert without_seconds(training.go()) == without_seconds(expected.go())
    assert equal(training.state(), expected.state())


def test_validation_does_not_change_training(monkeypatch):
    plain, blind = Training(), Training()
    plain.go()

    def no_look(model, images):
        return torch.zeros(6, COUNT), VALIDATION.labels

    monkeypatch.setattr(loop, "predict", no_look)
    blind.go()
    assert equal(plain.state(), blind.state())


def test_a_data_set_smaller_than_a_batch_is_one_step():
    training = Training(config=replace(CONFIG, batch_size=64))
    training.go()
    assert [sorted(seen) for seen in training.method.seen] == [list(range(COUNT))] * CONFIG.epochs


def test_the_method_receives_masks_with_their_images():
    seen = []

    @dataclass(frozen=True, kw_only=True, repr=False)
    class RecordingMethod(Vanilla):
        def __call__(self, x, y, *, masks, valid, generator):
            seen.append((y, masks, valid))
            return super().__call__(x, y, masks=masks, valid=valid, generator=generator)

    own = torch.arange(COUNT).view(-1, 1, 1) > torch.arange(35).view(1, 5, 7) % COUNT  # a different mask for each image
    Training(method=RecordingMethod(), train=replace(TRAIN, masks=own, crop_padding=0, hflip=False)).go()
    for labels, masks, valid in seen:
        assert torch.equal(masks, own[labels])
        assert torch.equal(valid, TRAIN.valid[labels])


def test_progress_can_be_stored_as_plain_numbers(tmp_path: Path):
    training = Training()
    training.go(stop_after_calls(STEPS + 1))
    assert {type(value) for value in asdict(training.progress).values()} <= {int, float}
