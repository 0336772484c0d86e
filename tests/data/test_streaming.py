"""Test images that are read anew in each epoch: masks follow them, and batches do not depend on the number of processes, on an
interruption or on the number of ranks.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2

from smix import rng
from smix.data import streaming
from smix.data.batches import Normalisation, TrainingBatch
from smix.data.pictures import OBJECT_ABOVE, Pictures, common_size
from smix.data.sets import ImageSet, load_data
from smix.data.streaming import Reader, Streamed, as_evaluated, fits_on_device
from smix.errors import DataError, MaskError
from tests.conftest import make_set

PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)
CPU = torch.device("cpu")
MORE_THAN_CORES = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


def discs(count: int, size: tuple[int, int], seed: int = 0) -> NDArray[np.bool_]:
    """Return round masks, so that a shift by half a pixel changes many pixels."""
    draws = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    places = draws.uniform(0.2, 0.8, (count, 2)) * size
    radii = draws.uniform(0.15, 0.4, count) * min(size)
    return (y - places[:, :1, None]) ** 2 + (x - places[:, 1:, None]) ** 2 < radii[:, None, None] ** 2


def white_objects(masks: NDArray[np.bool_]) -> ImageSet:
    """Return images whose three channels equal their masks."""
    images = masks[..., None].repeat(3, -1).astype(np.uint8) * 255
    return ImageSet(images, np.arange(len(masks)) % 2, ("a", "b"), name="made", split="train")


TRANSFORMS = {
    "random resized crop and flip": ((23, 31), (16, 16), 4, True),
    "random resized crop of odd size": ((40, 17), (15, 15), 1, False),
    "random resized crop of a small image": ((9, 7), (13, 13), 4, True),
    "padded crop and flip": ((15, 21), (15, 21), 3, True),
    "padded crop": ((15, 21), (15, 21), 2, False),
    "hflip": ((15, 21), (15, 21), 0, True),
    "resize, centre crop and flip": ((23, 31), (16, 16), 0, True),
    "resize and centre crop": ((31, 20), (11, 11), 0, False),
    "nothing": ((15, 21), (15, 21), 0, False),
}
"""Size of the images, output size, crop, flip."""


@pytest.mark.parametrize("name", TRANSFORMS)
def test_an_image_that_equals_its_mask_equals_it_after_200_draws(name):
    before, after, crop_padding, hflip = TRANSFORMS[name]
    masks = discs(4, before)
    reader = Reader(white_objects(masks), after, crop_padding, hflip, masks)
    pixels_of = set()
    for epoch in range(50):
        images, found = dataclasses.replace(reader, key=(0, epoch)).__getitems__([0, 1, 2, 3])
        assert images.shape == (4, *after, 3)
        assert (images.dtype, found.dtype, found.shape) == (torch.uint8, torch.bool, (4, *after))
        assert torch.equal(images > OBJECT_ABOVE, found[..., None].expand(-1, -1, -1, 3))
        pixels_of |= {mask.numpy().tobytes() for mask in found}
    assert len(pixels_of) > 60 if crop_padding else len(pixels_of) == (8 if hflip else 4)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_evaluation_transforms_image_and_mask_alike(name):
    before, after, crop_padding, hflip = TRANSFORMS[name]
    masks = discs(4, before)
    images, found = Reader(white_objects(masks), after, crop_padding, hflip, masks).__getitems__([0, 1, 2, 3])
    assert torch.equal(images > OBJECT_ABOVE, found[..., None].expand(-1, -1, -1, 3))


@pytest.mark.parametrize("stored", [(8, 8), (64, 48), (23, 17)])
@pytest.mark.parametrize("crop_padding", [0, 4])
def test_masks_of_another_size_cover_the_whole_image_in_every_draw(stored, crop_padding):
    """The image is white where its resized mask is object."""
    masks = discs(4, stored)
    stretched = [
        np.array(Image.fromarray(mask.astype(np.uint8) * 255).resize((31, 23), Image.Resampling.BILINEAR))
        for mask in masks
    ]
    images = np.stack(stretched)[..., None].repeat(3, -1)
    data = ImageSet(images, np.arange(4) % 2, ("a", "b"), name="made", split="train")
    for epoch in range(50):
        reader = Reader(data, (16, 16), crop_padding, True, masks, (0, epoch))
        pixels_of, found = reader.__getitems__([0, 1, 2, 3])
        differ = (pixels_of[..., 0] > OBJECT_ABOVE) != found
        # Pillow and torch round grey levels differently: only pixels at the threshold may differ.
        assert (pixels_of[..., 0][differ].int() - OBJECT_ABOVE).abs().max().item() <= 2 if differ.any() else True
        assert differ.float().mean() < 0.01


def test_an_enlarged_half_plane_mask_is_a_half_plane():
    """The left half of a mask of 2 x 2 pixels is the left half of its image."""
    masks = np.array([[[True, False], [True, False]]])
    data = ImageSet(np.zeros((1, 20, 30, 3), np.uint8), np.zeros(1, np.int64), ("a",), name="made", split="train")
    _, found = Reader(data, (20, 30), masks=masks).__getitems__([0])
    assert found[0, :, :15].all()
    assert not found[0, :, 15:].any()


# Files


SIZES = ((20, 24), (17, 31), (40, 19), (16, 16), (9, 11))


def write_folder(home: Path, train: int = 40, test: int = 12, same: bool = False) -> str:
    """Write JPEG and PNG files of different sizes in two classes of different brightness, and return the name of the data set."""
    for split, count in (("train", train), ("test", test)):
        draws = np.random.default_rng(count)
        for number in range(count):
            size, label = (16, 16) if same else SIZES[number % len(SIZES)], number % 2
            pixels = (draws.integers(0, 90, (*size, 3)) + 120 * label).astype(np.uint8)
            path = home / split / f"class {label}" / f"{number:03d}.{'png' if number % 3 else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return f"folder:{home}"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> ImageSet:
    return load_data(write_folder(tmp_path_factory.mktemp("folder")))


def stream(data: ImageSet, workers: int = 0, masks: bool = True, crop_padding: int = 4) -> Streamed:
    stored = discs(len(data), (10, 14)) if masks else None
    valid = torch.arange(len(data)) % 3 > 0 if masks else None
    reader = Reader(data, (16, 16), crop_padding, True, stored)
    return Streamed(reader, PLAIN, CPU, workers, valid)


def assert_same(one: list[TrainingBatch], other: list[TrainingBatch]) -> None:
    assert len(one) == len(other) > 0
    for mine, theirs in zip(one, other, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a is None) == (b is None)
            assert a is None or torch.equal(a, b)


def test_evaluation_equals_resize_and_centre_crop_of_torchvision_for_any_size(data):
    composed = v2.Compose([v2.PILToTensor(), v2.Resize(18, antialias=True), v2.CenterCrop(16)])
    expected = []
    for name in data.images.names:
        with Image.open(data.images.home / name) as picture:
            # This includes images of the requested size: all images of a set are transformed alike.
            expected.append(composed(picture))
    images, labels = zip(*stream(data).in_order(), strict=True)
    assert torch.equal((torch.cat(images) * 255).round().to(torch.uint8), torch.stack(expected))
    assert torch.cat(labels).tolist() == data.labels.tolist()


@pytest.mark.parametrize("before", [(50, 40), (40, 50), (28, 72), (90, 36), (11, 9), (28, 36)])
@pytest.mark.parametrize("larger", [1.0, 1.25])
def test_images_are_resized_to_cover_a_rectangle_and_centre_cropped(before, larger):
    """A ramp along each axis keeps its slope and its middle."""
    size = (28, 36)
    y, x = np.mgrid[: before[0], : before[1]]
    ramps = np.stack([2 * y, 2 * x, np.full_like(x, 9)], -1).astype(np.uint8)
    data = ImageSet(ramps[None], np.zeros(1, np.int64), ("a",), name="made", split="test")
    image, mask = Reader(data, size, masks=np.ones((1, 7, 5), bool), enlargement=larger).read(0)
    assert image.shape == (*size, 3)
    assert mask is not None
    assert mask.all()  # no padding
    assert (image[..., 2] == 9).all()
    if before == size:
        assert torch.equal(image, torch.from_numpy(ramps))
        return
    scale = larger * max(size[0] / before[0], size[1] / before[1])
    for axis, ramp in enumerate((image[..., 0], image[..., 1].T)):
        inner = ramp[:, ramp.shape[1] // 2].double()
        middle = (before[axis] - 1) / 2
        assert abs(inner[[size[axis] // 2 - 1, size[axis] // 2]].mean() / 2 - middle) < 0.8 / scale + 0.5
        assert abs((inner[-6] - inner[5]) / 2 - (size[axis] - 11) / scale) < 1.2


def test_pixels_are_the_images_before_normalisation_in_any_order(data, monkeypatch):
    monkeypatch.setattr(streaming, "AT_ONCE", 7)
    loader = stream(data)
    parts = list(loader.pixels())
    assert [len(part.images) for part in parts] == [7, 7, 7, 7, 7, 5]
    for part, (images, labels) in zip(parts, loader.in_order(), strict=True):
        assert part.images.dtype == torch.uint8
        assert torch.equal(loader.normalise(part.images), images)
        assert torch.equal(part.labels, labels)
    whole = [torch.cat(each) for each in zip(*parts, strict=True)]
    rows = torch.tensor([9, 3, 39, 3, 0, 21, 5, 30])
    chosen = [torch.cat(each) for each in zip(*loader.pixels(rows), strict=True)]
    for one, other in zip(whole, chosen, strict=True):
        assert torch.equal(one[rows], other)


def test_images_of_224_pixels_are_cropped_from_256(data):
    found = Reader(data, (224, 224)).read(1)[0]
    with Image.open(data.images.home / data.images.names[1]) as picture:
        expected = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])(picture)
    # Pillow and torch round grey levels differently.
    assert np.abs(found.numpy().astype(int) - np.array(expected)).max() <= 1


def test_an_epoch_shows_each_image_at_most_once_in_the_order_of_all_loaders(data):
    order = torch.randperm(40, generator=rng.generator(3, "order", 2)).tolist()
    labels = torch.cat([batch.labels for batch in stream(data).shuffled(3, 2, 8)])
    assert labels.tolist() == data.labels[order].tolist()
    assert [len(batch.labels) for batch in stream(data).shuffled(3, 2, 12)] == [12, 12, 12, 4]
    dropping = dataclasses.replace(stream(data), drop_last=True)
    assert [len(batch.labels) for batch in dropping.shuffled(3, 2, 12)] == [12, 12, 12]


@pytest.mark.slow
@MORE_THAN_CORES
@pytest.mark.parametrize("workers", [1, 3])
def test_the_number_of_processes_does_not_change_batches(data, workers):
    alone, many = stream(data), stream(data, workers)
    assert_same(list(alone.shuffled(0, 1, 12)), list(many.shuffled(0, 1, 12)))
    for (one, mine), (other, theirs) in zip(alone.in_order(), many.in_order(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(mine, theirs)


@pytest.mark.slow
@MORE_THAN_CORES
@pytest.mark.parametrize("workers", [0, 3])
def test_an_epoch_that_is_resumed_has_the_batches_of_an_uninterrupted_epoch(data, workers):
    assert_same(list(stream(data, workers).shuffled(0, 1, 8, 2)), list(stream(data).shuffled(0, 1, 8))[2:])


@pytest.mark.parametrize("masks", [True, False])
def test_batches_of_two_ranks_together_are_those_of_one(data, masks):
    loader = stream(data, masks=masks)
    whole = list(loader.shuffled(5, 0, 10))
    parts = [list(loader.shuffled(5, 0, 10, rank=rank, world=2)) for rank in range(2)]
    joined = [
        TrainingBatch(*(None if a is None else torch.cat([a, b]) for a, b in zip(first, second, strict=True)))
        for first, second in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)
    shown = [torch.cat([images for images, _ in loader.in_order(rank, 3)]) for rank in range(3)]
    everything = torch.cat([images for images, _ in loader.in_order()])
    assert [len(part) for part in shown] == [14, 13, 13]
    for rank, part in enumerate(shown):
        assert torch.equal(part, everything[rank::3])


def test_crops_differ_between_epochs_seeds_and_images(data):
    same = dataclasses.replace(data, images=Pictures(data.images.home, np.repeat(data.images.names[:1], 40)))

    def pixels_of(seed: int, epoch: int) -> set[bytes]:
        (batch,) = stream(same, masks=False).shuffled(seed, epoch, 40)
        return {image.numpy().tobytes() for image in batch.images}

    one = pixels_of(0, 0)
    assert len(one) == 40
    assert one == pixels_of(0, 0)
    assert len(one & pixels_of(0, 1)) < 5  # some crops of these small images are equal by chance
    assert len(one & pixels_of(1, 0)) < 5


def test_masks_do_not_change_crops_and_flips(data):
    with_masks, without = (list(stream(data, masks=masks).shuffled(0, 0, 10)) for masks in (True, False))
    for one, other in zip(with_masks, without, strict=True):
        assert torch.equal(one.images, other.images)
        assert other.masks is None


def test_validity_stays_with_its_image(data):
    order = torch.randperm(40, generator=rng.generator(0, "order", 0))
    valid = torch.cat([batch.valid for batch in stream(data).shuffled(0, 0, 10)])
    assert torch.equal(valid, order % 3 > 0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_named_in_one_line(tmp_path, workers):
    data = load_data(write_folder(tmp_path))
    (tmp_path / "train" / "class 1" / "005.png").write_bytes(b"none")
    with pytest.raises(DataError, match=r"class 1/005\.png: the image cannot be read \(Unident") as info:
        list(stream(data, workers).shuffled(0, 0, 8))
    assert "\n" not in str(info.value)
    with pytest.raises(DataError, match=r"005\.png"):
        list(stream(data, workers).in_order())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_masks_are_one_line_errors(data, workers):
    loader = stream(data, workers)
    loader = dataclasses.replace(loader, reader=dataclasses.replace(loader.reader, masks=Broken()))
    with pytest.raises(DataError, match=r"^a shard: expected what its checksum says$"):
        list(loader.shuffled(0, 0, 8))


class Broken:
    def __getitem__(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        raise MaskError("a shard: expected what its checksum says")


# Choice between streaming and the device


@pytest.mark.parametrize(
    ("size", "asked", "expected"),
    [((10, 14), None, True), ((10, 10), 10, True), ((10, 14), 10, False), ((10, 10), 12, False), ((10,), 10, True)],
)
def test_images_of_one_size_are_kept_on_the_device_unless_another_size_is_requested(size, asked, expected):
    images = np.zeros((4, *size, 1), np.uint8)
    assert (
        fits_on_device(ImageSet(images, np.zeros(4, np.int64), ("a",), name="made", split="train"), asked) == expected
    )


def test_images_of_different_sizes_are_not_kept_on_the_device(data, tmp_path):
    assert data.size is None
    assert not fits_on_device(data, None)
    same = load_data(write_folder(tmp_path, same=True))
    assert common_size(same.images.home, same.images.names) == (16, 16)
    assert fits_on_device(same, None)
    assert fits_on_device(same, 16)
    assert not fits_on_device(same, 32)


def test_sets_of_up_to_two_gibibytes_are_kept_on_the_device(monkeypatch):
    data = make_set(40)
    bytes_ = 40 * 10 * 14 * 3
    monkeypatch.setattr(streaming, "RESIDENT_BYTES", bytes_)
    assert fits_on_device(data, None)
    monkeypatch.setattr(streaming, "RESIDENT_BYTES", bytes_ - 1)
    assert not fits_on_device(data, None)
    monkeypatch.undo()
    assert streaming.RESIDENT_BYTES == 2 * 1024**3


def test_sample_images_are_those_of_evaluation_and_are_spread_over_the_set(data, monkeypatch):
    masks = discs(40, (10, 14))
    rows = np.array([30, 1, 7])
    images, shown = as_evaluated(data, (16, 16), rows, masks)
    everything = torch.cat([batch for batch, _ in stream(data).in_order()])
    assert np.array_equal(images.array, (everything[rows].movedim(1, -1) * 255).round().to(torch.uint8).numpy())
    assert (images.index.tolist(), images.labels.tolist()) == ([30, 1, 7], data.labels[rows].tolist())
    assert shown.shape == (3, 16, 16)
    monkeypatch.setattr(streaming, "STATISTICS", 15)
    assert as_evaluated(data, (16, 16))[0].index.tolist() == list(range(0, 40, 3))
