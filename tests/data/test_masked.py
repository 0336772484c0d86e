"""Test data sets that return image, label and mask for a user's own loop."""

import multiprocessing
import pickle
import shutil
from pathlib import Path

import jaxtyping
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchvision import transforms, tv_tensors
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

import smix
from smix.data import MaskedDataset, MaskedFolder
from smix.errors import DataError, MaskError, OptionError
from smix.masks import MaskStore, build_masks, load_source

SIZES = [(40, 60), (32, 32), (50, 30)]
"""Height and width of the pictures."""


def draw(number: int, size: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Return a dark picture with a bright box, and the mask of the box; each number has another one."""
    rng = np.random.default_rng(number)
    picture, mask = rng.integers(0, 40, (*size, 3)).astype(np.uint8), np.zeros(size, np.uint8)
    top, left = (int(rng.integers(0, side // 2)) for side in size)
    box = slice(top, top + size[0] // 3), slice(left, left + size[1] // 3)
    picture[box], mask[box] = 220, 255
    return picture, mask


def save(picture: NDArray, path: Path, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, **options)


@pytest.fixture
def birds(tmp_path) -> Path:
    """Write train and test pictures of different sizes, with masks in a folder of their own."""
    number = 0
    for folder in ("train/cat", "train/dog", "train/dog/old", "test/cat", "test/dog"):
        for name in ("b.jpg", "a.PNG", "c.tif"):
            picture, mask = draw(number, SIZES[number % 3])
            save(picture, tmp_path / "birds" / folder / name, **({"quality": 95} if name == "b.jpg" else {}))
            save(mask, tmp_path / "drawn" / folder / f"{name[0]}.png")
            number += 1
    return tmp_path / "birds"


@pytest.fixture
def store(birds) -> MaskStore:
    data = smix.load_data(f"folder:{birds}", split="all")
    return build_masks(
        data, load_source(f"masks:{birds.parent / 'drawn'}"), birds.parent / "store", "none", size=(64, 64)
    )


def overlap(image: torch.Tensor, mask: torch.Tensor) -> float:
    """Return the intersection over union of a mask with the bright box of its picture."""
    bright = image.float().mean(0) > image.max() / 2
    return float((bright & mask).sum() / (bright | mask).sum())


def check_masks(masked: MaskedDataset, count: int) -> None:
    assert len(masked) == count
    for image, label, mask in (masked[index] for index in range(count)):
        assert isinstance(image, tv_tensors.Image)
        assert isinstance(mask, tv_tensors.Mask)
        assert (mask.dtype, mask.shape) == (torch.bool, image.shape[-2:])
        assert label in (0, 1)
        assert overlap(image, mask) > 0.8


def test_a_folder_has_the_mask_of_each_picture(birds, store):
    masked = MaskedFolder(birds / "train", store)
    check_masks(masked, 9)
    assert masked.classes == ["cat", "dog"]
    assert [path for path, _ in masked.samples] == [path for path, _ in ImageFolder(str(birds / "train")).samples]
    check_masks(MaskedFolder(birds / "test", store), 6)


def test_an_image_folder_has_the_mask_of_each_picture_in_any_order(birds, store):
    folder = ImageFolder(str(birds / "train"))
    check_masks(MaskedDataset(folder, store), 9)
    check_masks(MaskedDataset(Subset(folder, [8, 0, 3, 3]), store), 4)
    check_masks(MaskedDataset(ConcatDataset([ImageFolder(str(birds / "test")), folder]), store), 15)
    folder.samples.reverse()
    check_masks(MaskedDataset(folder, store), 9)


def test_a_data_set_that_changes_after_its_masks_were_looked_up_is_refused(birds, store):
    folder = ImageFolder(str(birds / "train"))
    for dataset in (folder, Subset(folder, list(range(9))), ConcatDataset([folder])):
        masked = MaskedDataset(dataset, store)
        folder.samples.reverse()
        with pytest.raises(
            MaskError, match=r"expected the image .*, whose mask was looked up, got .*; make the Masked"
        ):
            masked[0]
        folder.samples.reverse()
        check_masks(masked, 9)
    inside = MaskedFolder(birds / "train", store)
    inside.samples.reverse()
    with pytest.raises(MaskError, match="whose mask was looked up"):
        inside[0]


class Rows(Dataset):
    """A data set of a user: arrays without paths."""

    def __init__(self, items) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_a_data_set_without_paths_needs_rows(tmp_path, monkeypatch):
    """Its order is never guessed: shuffled, sorted, and another split of equal length look alike."""
    data = smix.load_data("digits-on-photos")
    store = build_masks(data, load_source("carried"), tmp_path / "store")
    items = Rows(list(zip(data.array, data.labels.tolist(), strict=True)))
    for each in (items, items.items, Subset(items, range(len(items))[::-1])):
        with pytest.raises(
            MaskError, match=r"rows=range\(len\(dataset\)\) only if it is the very split .*not shuffled"
        ):
            MaskedDataset(each, store)
    masked = MaskedDataset(items, store, rows=range(len(items)))
    assert all(np.array_equal(masked[row][2].numpy(), data.masks[row]) for row in (0, 7, 1296))
    turned = MaskedDataset(Rows(items.items[::-1]), store, rows=np.arange(len(data))[::-1])
    assert np.array_equal(turned[0][2].numpy(), data.masks[-1])
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse other types first
    for rows, message in (
        ([0, 1, 1297], "rows from 0 to 1296, got 1297"),
        ([0, 1, -1], "rows from 0 to 1296, got -1"),
        ([0.0, 1.7, 2.2], "integers, got float64"),
        ([True, False, True], "integers, got bool"),
        ([0, 1], r"one row for each of 3 images, got shape \(2,\)"),
    ):
        with pytest.raises(MaskError, match=rf"rows: expected .*{message}"):
            MaskedDataset(Rows(items.items[:3]), store, rows=rows)
    assert len(MaskedDataset(Rows([]), store, rows=[])) == 0


def test_a_store_of_files_is_not_indexed_by_the_order_of_another_data_set(birds, store):
    pictures = [Image.open(path).convert("RGB") for path, _ in ImageFolder(str(birds / "train")).samples]
    with pytest.raises(
        MaskError, match=r"Rows: expected a data set that lists the paths of its images, .*rows=store\.lookup"
    ):
        MaskedDataset(Rows([(picture, 0) for picture in pictures]), store)
    rows = store.lookup([path for path, _ in ImageFolder(str(birds / "train")).samples])
    check_masks(MaskedDataset(Rows([(picture, 0) for picture in pictures]), store, rows=rows), 9)
    with pytest.raises(MaskError, match=r"rows: expected one row for each of 9 images, got shape \(8,\)"):
        MaskedDataset(Rows([(picture, 0) for picture in pictures]), store, rows=rows[:8])


def test_a_picture_without_a_mask_is_refused(birds, store):
    save(draw(99, (30, 30))[0], birds / "train/cat/new.jpg")
    with pytest.raises(MaskError, match=r"a mask for each of 10 images, got none for 1, such as .*train/cat/new\.jpg"):
        MaskedFolder(birds / "train", store)
    with pytest.raises(MaskError, match=r"new\.jpg"):
        MaskedDataset(ImageFolder(str(birds / "train")), store)


def test_a_picture_that_was_replaced_is_refused(birds, store):
    save(draw(99, (31, 31))[0], birds / "train/cat/b.jpg")
    with pytest.raises(MaskError, match=r"train/cat/b\.jpg with .* bytes instead of"):
        MaskedFolder(birds / "train", store)


def test_masks_that_are_not_built_are_refused(birds):
    data = smix.load_data(f"folder:{birds}", split="all")
    source = load_source(f"masks:{birds.parent / 'drawn'}")
    with pytest.raises(MaskError, match=r"only \d of 9 images have masks \(4 are built\); build the rest"):
        MaskedFolder(birds / "train", build_masks(data, source, birds.parent / "part", limit=4))


PIPELINE = v2.Compose(
    [
        v2.RandomResizedCrop(24, scale=(0.3, 1)),
        v2.RandomHorizontalFlip(),
        v2.RandomRotation(20),
        v2.ColorJitter(0.1),
        v2.ToDtype(torch.float32, scale=True),
    ]
)


@pytest.mark.slow
def test_a_pipeline_moves_image_and_mask_together_and_batches_are_stacked(birds, store):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        masked = MaskedFolder(birds / "train", store, PIPELINE)
        image, label, mask = next(iter(DataLoader(masked, 9, shuffle=True)))
        assert (image.shape, image.dtype) == ((9, 3, 24, 24), torch.float32)
        assert (label.shape, label.dtype) == ((9,), torch.int64)
        assert (mask.shape, mask.dtype) == ((9, 24, 24), torch.bool)
        shares = [overlap(*each) for each in zip(image, mask, strict=True) if each[1].float().mean() > 0.1]
        assert len(shares) > 4
        assert min(shares) > 0.6
        mixed, target = smix.SMix()(image, label, masks=mask)
        assert mixed.shape == image.shape
        assert target.loss(torch.zeros(9, 2)).isfinite()


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in multiprocessing.get_all_start_methods() if name != "forkserver"])
def test_worker_processes_return_the_same_items(birds, store, method):
    resize = v2.Resize((16, 16))
    masked = MaskedDataset(ImageFolder(str(birds / "train")), store, resize)
    generator = torch.Generator()
    alone = list(DataLoader(masked, 4, generator=generator))
    others = list(DataLoader(masked, 4, num_workers=2, multiprocessing_context=method, generator=generator))
    for first, second in zip(alone, others, strict=True):
        assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_a_store_is_pickled_as_its_path(store):
    store[:]
    assert len(pickle.dumps(store)) < 100 + len(str(store.path.resolve()))


def test_items_of_hugging_face_are_dictionaries(birds, store):
    data = ImageFolder(str(birds / "train"))
    items = [{"image": data[place][0], "label": data[place][1], "id": place} for place in range(9)]
    rows = store.align(data)
    check_masks(MaskedDataset(Rows(items), store, rows=rows), 9)
    with pytest.raises(DataError, match=r"expected items .*, got a dictionary of img, label; rename"):
        MaskedDataset(Rows([{"img": 0, "label": 1}]), store, rows=rows[:1])[0]
    with pytest.raises(DataError, match=r"expected items .*, got int"):
        MaskedDataset(Rows([5]), store, rows=rows[:1])[0]
    with pytest.raises(DataError, match=r"expected images as PIL images, .*got a tensor of shape \(4, 4\)"):
        MaskedDataset(Rows([(torch.zeros(4, 4), 0)]), store, rows=rows[:1])[0]
    with pytest.raises(DataError, match=r"expected tensors \(C, H, W\), got shape \(40, 60, 3\); use image\.permute"):
        MaskedDataset(Rows([(torch.zeros(40, 60, 3), 0)]), store, rows=rows[:1])[0]
    with pytest.raises(DataError, match=r"expected images as PIL images, .*got str"):
        MaskedDataset(Rows([("x", 0)]), store, rows=rows[:1])[0]


def test_grey_and_transparent_pictures_become_tensors(store):
    rows = np.arange(5)
    shapes = {"L": 1, "RGB": 3, "RGBA": 3, "P": 3, "1": 3}
    items = [(Image.new(mode, (6, 4)), 0) for mode in shapes]
    masked = MaskedDataset(Rows(items), store, rows=rows)
    assert [masked[place][0].shape for place in range(5)] == [(count, 4, 6) for count in shapes.values()]
    arrays = [(np.zeros(shape, np.uint8), 0) for shape in ((4, 6), (4, 6, 3))]
    masked = MaskedDataset(Rows(arrays), store, rows=rows[:2])
    assert [masked[place][0].shape for place in range(2)] == [(1, 4, 6), (3, 4, 6)]


@pytest.mark.parametrize(
    "options",
    [
        {"transform": v2.ToImage()},
        {"transform": transforms.ToTensor()},
        {"transforms": lambda image, label: (image, label)},
    ],
    ids=["v2", "v1", "both"],
)
def test_a_transform_of_the_data_set_is_refused(birds, store, options):
    folder = ImageFolder(str(birds / "train"), transform=options.get("transform"))
    if "transforms" in options:
        folder.transforms = options["transforms"]
    for dataset in (folder, Subset(folder, [0]), ConcatDataset([folder])):
        with pytest.raises(OptionError, match=r"without its own transform, .*pass it to MaskedDataset"):
            MaskedDataset(dataset, store)


def test_a_transform_of_labels_is_kept(birds, store):
    masked = MaskedDataset(ImageFolder(str(birds / "train"), target_transform=lambda label: label + 5), store)
    assert masked[0][1] == 5


def test_a_pipeline_of_the_first_version_is_refused(birds, store):
    with pytest.raises(OptionError, match=r"expected a pipeline of torchvision\.transforms\.v2, .*import v2"):
        MaskedFolder(birds / "train", store, transforms.Compose([transforms.ToTensor()]))


def test_a_transform_that_moves_the_image_alone_is_refused(birds, store):
    masked = MaskedFolder(birds / "train", store, lambda image, mask: (image[:, :5], mask))
    with pytest.raises(DataError, match=r"transform: expected an image and a mask of equal size, got \(5, "):
        masked[0]


def test_an_empty_folder_is_refused(tmp_path, store):
    (tmp_path / "none/cat").mkdir(parents=True)
    for folder in ("none", "none/cat"):
        with pytest.raises(DataError, match="expected images in class folders"):
            MaskedFolder(tmp_path / folder, store)
    with pytest.raises(DataError, match="nowhere: there is no such folder; check the path"):
        MaskedFolder(tmp_path / "nowhere", store)


def test_a_class_without_images_is_refused(birds, store):
    """The classes after it would have other numbers than in the other split."""
    (birds / "train/bat").mkdir()
    with pytest.raises(
        DataError, match=r"birds/train: expected images in each class folder, got none in bat; add images"
    ):
        MaskedFolder(birds / "train", store)


def test_a_folder_without_a_class_has_the_labels_of_the_given_classes(birds, store):
    shutil.rmtree(birds / "test/cat")
    train = MaskedFolder(birds / "train", store)
    test = MaskedFolder(birds / "test", store, classes=train.classes)
    assert (test.classes, {label for _, label in test.samples}) == (["cat", "dog"], {1})
    check_masks(test, 3)
    with pytest.raises(DataError, match="the class folders dog are not in classes; add them"):
        MaskedFolder(birds / "test", store, classes=["cat"])


def test_what_is_not_a_store_is_refused(birds, store, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # which would refuse other types first
    for path in (store.path, str(store.path)):
        with pytest.raises(
            MaskError, match=r"expected a smix\.MaskStore, got a path; pass smix\.MaskStore\('/.*store'\)"
        ):
            MaskedFolder(birds / "train", path)
    with pytest.raises(MaskError, match=r"expected a smix\.MaskStore, got ndarray"):
        MaskedFolder(birds / "train", store[:])
    with pytest.raises(DataError, match=r"nowhere: there is no such folder; check the path"):
        MaskedFolder(birds / "nowhere", store)


def rotated(birds: Path, orientation: int, size: tuple[int, int] = (40, 60)) -> Path:
    """Replace a picture by a rotated photograph and its mask by that of the upright picture."""
    picture, mask = draw(3, size)
    exif = Image.Exif()
    exif[0x0112] = orientation
    undo = {6: Image.Transpose.ROTATE_90, 3: Image.Transpose.ROTATE_180}[orientation]
    stored = Image.fromarray(picture).transpose(undo)
    stored.save(birds / "train/cat/b.jpg", exif=exif, quality=95)
    save(mask, birds.parent / "drawn/train/cat/b.png")
    return birds / "train/cat/b.jpg"


@pytest.mark.parametrize("orientation", [6, 3])
def test_rotated_photographs_are_turned_upright_or_refused(birds, orientation):
    rotated(birds, orientation)
    data = smix.load_data(f"folder:{birds}", split="all")
    _, mask = draw(3, (40, 60))

    class Drawn:
        """Return the masks of upright pictures."""

        def describe(self, data):
            return {"name": "drawn"}

        needs_images = False

        def __call__(self, data, index):
            masks = np.zeros((len(index), 40, 60), np.float32)
            masks[:] = mask / 255
            return smix.masks.sources.Segmentation(torch.from_numpy(masks), None)

    store = build_masks(data, Drawn(), birds.parent / f"store{orientation}", "none", size=(40, 60))
    folder = ImageFolder(str(birds / "train"))
    place = [path.endswith("cat/b.jpg") for path, _ in folder.samples].index(True)
    image, _, found = MaskedDataset(folder, store)[place]
    assert image.shape == (3, 40, 60)
    assert overlap(image, found) > 0.8

    class AsTensors(ImageFolder):
        def __getitem__(self, index):
            picture, label = super().__getitem__(index)
            return v2.functional.pil_to_tensor(picture), label

    with pytest.raises(DataError, match=rf"cat/b\.jpg: expected an upright image, got EXIF orientation {orientation}"):
        MaskedDataset(AsTensors(str(birds / "train")), store)[place]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_tensors_of_rotated_photographs_are_taken_only_if_their_size_shows_that_they_are_upright(
    tmp_path, suffix, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path, masks = tmp_path / f"birds/cat/1.{suffix}", tmp_path / "drawn/cat/1.png"
    save(np.zeros((40, 60, 3), np.uint8), path, exif=exif)
    sizes = {True: (60, 40), False: (40, 60)}
    turned = orientation > 4
    save(np.full(sizes[turned], 255, np.uint8), masks)
    source = load_source(f"masks:{tmp_path / 'drawn'}", mask_frame="upright")
    store = build_masks(smix.load_data(f"folder:{tmp_path / 'birds'}", split="all"), source, tmp_path / "store", "none")

    class Tensors(Rows):
        paths = (str(path),)

    upright = MaskedDataset(Tensors([(torch.zeros(3, *sizes[turned]), 0)]), store)
    stored = MaskedDataset(Tensors([(torch.zeros(3, *sizes[False]), 0)]), store)
    assert MaskedFolder(tmp_path / "birds", store)[0][0].shape[1:] == sizes[turned]
    assert MaskedDataset(ImageFolder(str(tmp_path / "birds")), store)[0][0].shape[1:] == sizes[turned]
    if orientation == 1 or turned:
        assert upright[0][0].shape[1:] == sizes[turned]
    if orientation > 1:
        with pytest.raises(DataError, match=f"got EXIF orientation {orientation}"):
            stored[0]
