"""`smix masks build`, `check` and `export`: typed functions, thin over the library, as in cli.py."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from smix.config import MachineOptions, MaskConfig
from smix.errors import MaskError
from smix.report.terminal import show

masks_app = App(name="masks", help="Find the objects of a data set once, and store their masks.")

Options = Annotated[MachineOptions, Parameter(name="*")]


@masks_app.command
def build(
    *,
    config: Annotated[MaskConfig, Parameter(name="*")],
    options: Options = MachineOptions(),  # noqa: B008
    strict: bool = False,
    shard: str | None = None,
    engine: Literal["local", "slurm", "ray"] = "local",
    jobs: int = 1,
    out: Path,
) -> int:
    """Find the object of every image of a data set and store the masks. Started again, it goes on where it stopped.

    Parameters
    ----------
    strict
        Stop at the first image that cannot be read or has no mask; else its mask is empty, flagged and counted.
    shard
        I/N, such as 3/8: only this part, for any scheduler; whichever ends last makes the store.
    engine
        Where the jobs run: as processes here, on SLURM, or on Ray; see docs/cluster.md.
    jobs
        How many processes, or jobs, share the work.
    out
        Folder of the store.
    """
    from smix.lab.mask_build import build_store
    from smix.report.mask_check import build_summary

    store = build_store(config, out, options, strict, shard, engine, jobs)
    if store is None:
        show(f"{out}: part {shard} is done, others are not yet; the last one makes the store")
        return 0
    show(*build_summary(store), f"Next: smix masks check {out}")
    return 0


@masks_app.command
def check(
    store: Annotated[tuple[Path, ...], Parameter(required=True)],
    /,
    *,
    verify: bool = False,
    data: str | None = None,
    out: Path | None = None,
    data_root: Path = MachineOptions.data_root,
) -> None:
    """Say how many masks are valid; draw them as charts and as contact sheets of images with the mask in pink.

    Parameters
    ----------
    store
        Folders of one or more stores; the chart shows them side by side.
    verify
        Only read every file and compare it with its checksum.
    data
        The data set of the store; none given: the name it was built with.
    out
        Folder of the pictures; none given: beside the first store, with "-check" at its name.
    root
        Folder of the data sets that are looked for by name.
    """
    if verify:
        from smix.masks.store import verify as read_all

        whole, damaged = read_all(store)
        show(*(f"{path}: every file is what its checksum says" for path in whole))
        if damaged:
            raise MaskError("; ".join(map(str, damaged)))
        return
    from smix.report.mask_check import write_check

    said, written = write_check(store, data, out, data_root, quiet=False)
    show(*said, "Written:", *(f"  {file}" for file in written))


@masks_app.command
def export(
    store: Path,
    /,
    *,
    out: Path,
    format: Literal["png", "coco"] = "png",
    data: str | None = None,
    data_root: Path = MachineOptions.data_root,
    quiet: bool = False,
) -> None:
    """Write the masks of a store as pictures or as COCO annotations, to be corrected by hand and read by masks:DIR.

    Parameters
    ----------
    store
        Folder of the store.
    out
        Folder of the masks.
    format
        png: a picture an image, 0 and 255; coco: one annotations.json with run-length codes.
    data
        The data set of the store, which names the files; none given: the name it was built with.
    root
        Folder of the data sets that are looked for by name.
    quiet
        No progress on the terminal.
    """
    from smix.data import load_data
    from smix.masks import MaskStore
    from smix.masks.export import export as write

    masks = MaskStore(store)
    provenance_of = masks.manifest.data
    images = load_data(data or provenance_of.name, data_root, provenance_of.split)
    count = write(masks, images, out, format, quiet)
    show(f"{out}: {count:,} masks", f"Read them back: smix masks build --source masks:{out} ...")
