"""`smix masks build`, `check` and `export`: build, inspect and export mask stores."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from smix.cli.options import DataRoot, Engine, Machine, Quiet
from smix.config import MachineOptions, MaskConfig
from smix.errors import MaskError
from smix.report.terminal import show

masks_app = App(name="masks", help="Build, check and export the object masks of a data set.")


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
    """Segment the objects in a data set and store the masks. Run the command again to resume.

    Parameters
    ----------
    strict
        Stop at the first image that cannot be read or has no mask. Default: store an empty mask, mark it as invalid, and
        report the number of such images.
    shard
        Build only part I/N, such as 3/8, to split the work between jobs of any scheduler; the last part to finish completes
        the store.
    jobs
        Number of processes or cluster jobs that share the work.
    out
        Folder for the mask store.
    """
    from smix.lab.mask_build import build_store
    from smix.report.mask_check import build_summary

    store = build_store(config, out, options, strict, shard, engine, jobs)
    if store is None:
        show(f"{out}: part {shard} is built; the store is complete once all parts are built")
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
    """Report how many masks are valid, and draw charts and contact sheets with the masks in pink.

    Parameters
    ----------
    store
        Folders of one or more mask stores; the charts compare them.
    verify
        Only check that every file matches its checksum.
    only
        "invalid": draw contact sheets of all invalid masks, sorted by reason, instead of a selection of all masks.
    data
        Data set that the masks were built for. Default: the name saved in the store.
    out
        Output folder for the images. Default: next to the first store, with "-check" appended to its name.
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
    """Export the masks of a store as image files or COCO annotations, to edit them and read them back with --source
    masks:DIR.

    Parameters
    ----------
    store
        Folder of the store.
    out
        Output folder for the masks.
    format
        png: one image file per mask, with values 0 and 255; coco: one annotations.json with run-length encodings.
    data
        Data set that the masks were built for; files are named after its images. Default: the name saved in the store.
    """
    from smix.data import load_data
    from smix.masks import MaskStore
    from smix.masks.export import export as write

    masks = MaskStore(store)
    split = masks.manifest.data
    images = load_data(data or split.name, data_root, split.split)
    count = write(masks, images, out, format, quiet)
    show(f"{out}: {count:,} masks", f"Read them back: smix masks build --source masks:{out} ...")
