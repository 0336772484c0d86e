"""Load the images of a run: those in its split.csv if smix has drawn its test images, so that files that are added do not matter."""

from contextlib import suppress
from pathlib import Path

from smix.data.csv_sets import listed_paths, load_csv
from smix.data.image_files import real_path, real_paths
from smix.data.sets import ImageSet, Split, is_listed, load_data
from smix.errors import DataError, OptionError
from smix.training.inputs import training_images
from smix.training.records import SPLIT, Run
from smix.untrusted import is_file


def load_own(run: Run, data_root: Path, split: Split) -> ImageSet:
    """Load a split of the data set of a run. It may differ from that of the run; its fingerprint tells.

    Args:
        run: The run, finished or not.
        data_root: Root folder of the data sets.
        split: "train" or "test".

    Raises:
        SmixError: The data set cannot be loaded. If a file in split.csv is missing, the message names it.
    """
    name, file = run.config.data, run.path / SPLIT
    if not is_file(file):
        return load_data(name, data_root, split)
    expected, problem = run.provenance["data"][f"fingerprint_{split}"], None
    try:
        kept = load_csv(name, str(file), split, run.provenance["data"]["classes"])
        if kept.fingerprint == expected:
            return kept
    except DataError as error:
        problem = error
    # Paths in split.csv are relative: they lead nowhere if the folder of the run was moved and the images were not.
    with suppress(DataError):
        images = load_data(name, data_root, split)
        if images.fingerprint == expected or problem is None:
            return images
    raise problem or DataError(f"{file}: the files that it lists were changed; restore them")


def check_not_trained_on(run: Run, images: ImageSet, data_root: Path) -> str:
    """Check that no test image is a file that a run was trained on. Data sets without files are not checked.

    Returns:
        A note on what could not be checked; empty if there is nothing to say.

    Raises:
        OptionError: Some were; the message counts them.
    """
    if images.files is None or not is_listed(run.config.data):
        return ""
    note = ""
    try:
        own = load_own(run, data_root, "train")
        if own.fingerprint == run.provenance["data"]["fingerprint_train"]:
            own = training_images(run.config, own, data_root)
        assert own.files is not None
        trained = set(real_paths(own.files))
    except DataError as error:  # training images were moved or deleted
        known, folders = run.path / SPLIT, dict[str, str]()
        trained = {real_path(path, folders) for path in listed_paths(known, "train")} if is_file(known) else set()
        note = (
            f"{images.name}: whether {run.path} was trained on some of these images is checked only by the paths of its training images, "
            f"since they cannot be loaded ({error})"
        )
    count = len(trained & set(real_paths(images.files)))
    if count:
        kept = run.path / SPLIT
        advice = f", or csv:{kept} for the images that the run was tested on" if is_file(kept) else ""
        raise OptionError(
            f"data: {count:,} of {len(images):,} test images of {images.name} were trained on by {run.path}; name other data{advice}"
        )
    return note
