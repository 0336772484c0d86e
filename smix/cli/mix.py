"""`smix mix`: draw the same images mixed by several methods."""

from pathlib import Path

from smix.cli.options import DataRoot
from smix.config import MachineOptions, SharedConfig
from smix.report.terminal import show

METHODS = "vanilla,mixup,cutmix,fmix,smix,smix+fmix"


def mix(
    *,
    data: str = SharedConfig.data,
    masks: str = SharedConfig.masks,
    methods: str = METHODS,
    count: int = 8,
    seed: int = 0,
    data_root: DataRoot = MachineOptions.data_root,
    out: Path = Path("mix.png"),
) -> None:
    """Draw the same images mixed by several methods, with labels and weight maps.

    Parameters
    ----------
    data
        Data set: a name, npz:FILE, folder:DIR, csv:FILE or hf:NAME_OR_DIR.
    masks
        Object masks: the folder of a mask store, or "carried" to use the masks included in the data set.
    methods
        Methods, comma-separated and in quotes, such as "cutmix,smix(alpha=0.7),smix+fmix,mixup|cutmix" (docs/methods.md).
    count
        Number of images, from 2 to 16.
    seed
        Random seed for mixing.
    out
        PNG file to write.
    """
    from smix.mixing import split_methods
    from smix.report.pictures import write_mixes

    show(f"Written: {write_mixes(out, split_methods(methods), data, masks, count, seed, data_root)}")
