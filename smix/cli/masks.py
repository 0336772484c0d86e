"""`smix masks build`, `check` and `export`: build, inspect and export mask stores."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from smix.cli.options import DataRoot, Engine, Machine, Quiet
from smix.config import MachineOptions, MaskConfig
from smix.errors import MaskError
from smix.report.terminal import show

masks_app = App(name="masks", help="Segment the objects of a data set once, and store their masks.")


@masks_app.command
def build(
    *,
    config: Annotated[MaskConfig, Parameter(name="*")],
    options: Machine = MachineOptions(),  # noqa: B008
    strict: bool = False,
    shard: str | None = None,
    engine: Engine = "local",
    jobs: int = 1,
    out: Path,
) -> int:
    """Segment the object of every image of a data set and store the masks. Run the command again to resume.

    Parameters
    ----------
    strict
        Stop at the first image that cannot be read or has no mask. Default: its mask is empty, flagged and counted.
    shard
        Build only part I of N, such as 3/8, to split the work with any scheduler; the last part to finish completes the store.
    jobs
        Number of processes or cluster jobs that share the work.
    out
        Folder of the store.
    """
    from smix.lab.mask_build import build_store
    from smix.report.mask_check import build_summary

    store = build_store(config, out, options, strict, shard, engine, jobs)
    if store is None:
        show(f"{out}: part {shard} is done; the store is complete when all other parts are")
        return 0
    show(*build_summary(store), f"Next: smix masks check {out}")
    return 0


@masks_app.command
def check(
    store: Annotated[tuple[Path, ...], Parameter(required=True)],
    /,
    *,
    verify: bool = False,
    only: Literal["invalid"] | None = None,
    data: str | None = None,
    out: Path | None = None,
    data_root: DataRoot = MachineOptions.data_root,
) -> None:
    """Report how many masks are valid, with charts and contact sheets of images with the mask in pink.

    Parameters
    ----------
    store
        Folders of one or more stores, which the chart compares.
    verify
        Only compare every file with its checksum.
    only
        invalid: draw contact sheets of all masks that are not valid, sorted by reason, instead of a part of all masks.
    data
        Data set of the store. Default: the name that it was built with.
    out
        Folder of the pictures. Default: next to the first store, with "-check" appended to its name.
    """
    if verify:
        from smix.masks.store import verify as read_all

        intact, damaged = read_all(store)
        show(*(f"{path}: all files match their checksums" for path in intact))
        if damaged:
            raise MaskError("; ".join(map(str, damaged)))
        return
    from smix.report.mask_check import write_check

    summary, written = write_check(store, data, out, data_root, quiet=False, only_invalid=only == "invalid")
    show(*summary, "Written:", *(f"  {file}" for file in written))


@masks_app.command
def export(
    store: Path,
    /,
    *,
    out: Path,
    format: Literal["png", "coco"] = "png",
    data: str | None = None,
    data_root: DataRoot = MachineOptions.data_root,
    quiet: Quiet = False,
) -> None:
    """Write the masks of a store as pictures or COCO annotations, which can be edited and read back with --source masks:DIR.

    Parameters
    ----------
    store
        Folder of the store.
    out
        Folder of the masks.
    format
        png: one picture per image, 0 and 255; coco: one annotations.json with run-length codes.
    data
        Data set of the store, which names the files. Default: the name that it was built with.
    """
    from smix.data import load_data
    from smix.masks import MaskStore
    from smix.masks.export import export as write

    masks = MaskStore(store)
    split = masks.manifest.data
    images = load_data(data or split.name, data_root, split.split)
    count = write(masks, images, out, format, quiet)
    show(f"{out}: {count:,} masks", f"Read them back: smix masks build --source masks:{out} ...")
