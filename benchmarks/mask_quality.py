"""Measure the quality of masks for the tables of docs/masks.md: `python -m benchmarks.mask_quality --data DIR --networks FILE.onnx ...`.

- Refinement: masks of full photographs, shrunk to 32, 64 and 128 pixels, refined and compared with the true masks.
- Resolution: masks of photographs that were shrunk first, then enlarged and segmented.
- Validity: how many good and bad masks are accepted as valid.

Constants were chosen on one half of the photographs (`--chosen` shows it); the tables are of the other half. Outputs of the networks are
cached (`--cache`), so that a second run takes two minutes. benchmarks/mask_data.py describes the contents of DIR.

`--targets builtin` measures one source instead, on images that no fit of the network of smix has seen (benchmarks/mask_targets.py).
"""

import argparse
import itertools
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool

from benchmarks import mask_targets
from benchmarks.harness import RESULTS, environment, write
from benchmarks.mask_data import (
    SIDE,
    Network,
    Photographs,
    Table,
    discs,
    in_boxes,
    invert_pixels,
    iou,
    noise,
    photographs,
    shrunk,
)
from smix.data.digits import digits_on_photos
from smix.masks import load_source
from smix.masks.criteria import StoreValidity
from smix.masks.refine import REFINEMENTS, label_pieces, refine, sizes
from smix.masks.sources.network import auto_size
from smix.mixing import Validity

SIDES = (32, 64, 128)
DISC_SIDES = (32, 64, 128, 224, 513)
DENSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
INVERTED = 0.02
TRUE_MASKS, BOXES = ("people", "shapes16"), "tiny-imagenet-20"
INPUT_SIZES = (96, 128, 160, 193, 257, 320, 385, 513)
CRITERIA = {"figure14": Validity.figure14(), "published": Validity.published(), "default": Validity()}

BoolMasks = Bool[np.ndarray, "N side side"]


def refinement(sets: Sequence[Photographs], boxes: Photographs, networks: Sequence[Network], half: bool) -> list[Table]:
    """Return the tables that compare the refinements. half: True for the reported half of the photographs."""
    return [
        *_refined_maps(sets, networks, half),
        _refined_truth(sets, half),
        _refined_in_boxes(boxes, networks, half),
        _refined_discs(half),
    ]


def _refined_maps(sets: Sequence[Photographs], networks: Sequence[Network], half: bool) -> tuple[Table, Table]:
    rows = []
    lost, large = dict.fromkeys(REFINEMENTS, 0), dict.fromkeys(REFINEMENTS, 0)
    for data, network in itertools.product(sets, networks):
        chosen = data.reported == half
        masks = network.segment(data.images, network.native)
        cells: list[float] = []
        for side in SIDES:
            truth, known = (part[chosen] for part in data.truth_at(side))
            raw = shrunk(masks, side)[chosen]
            is_large = sizes(label_pieces(raw)).max((1, 2)) >= 0.01 * side**2
            for name in REFINEMENTS:
                refined = refine(raw, name)
                cells.append(float(iou(refined, truth, known).mean()))
                lost[name] += int((refined.mean((1, 2)) < 0.01)[is_large].sum())
                large[name] += int(is_large.sum())
        rows.append([data.name, network.name, *cells])
    columns = [f"{name}, {side} px" for side in SIDES for name in REFINEMENTS]
    return (
        Table("Maps of full photographs, shrunk and refined: mean IoU", ["set", "network", *columns], rows),
        Table(
            "Lost: the largest piece of the raw map covers 1 % of the image, the refined mask does not",
            ["refinement", "lost", "of"],
            [[name, lost[name], large[name]] for name in REFINEMENTS],
        ),
    )


def _refined_truth(sets: Sequence[Photographs], half: bool) -> Table:
    rows = []
    for data, name in itertools.product(sets, REFINEMENTS):
        cells = []
        for side in SIDES:
            truth, known = (part[data.reported == half] for part in data.truth_at(side))
            for masks in (invert_pixels(truth, INVERTED, seed=int(half)), truth):
                cells.append(float(iou(refine(masks, name), truth, known).mean()))
        rows.append([data.name, name, *cells])
    columns = [f"{kind}, {side} px" for side in SIDES for kind in ("2 % inverted", "unchanged")]
    title = "True masks, with 2 % of their pixels inverted and unchanged: mean IoU"
    return Table(title, ["set", "refinement", *columns], rows)


def _refined_in_boxes(boxes: Photographs, networks: Sequence[Network], half: bool) -> Table:
    rows = []
    for network in networks:
        some = boxes.few(network.count)
        chosen = some.reported == half
        assert some.boxes is not None
        raw = shrunk(network.segment(some.images, network.native), some.side)[chosen]
        measured = [in_boxes(refine(raw, name), some.boxes[chosen], some.side) for name in REFINEMENTS]
        inside, overlap = zip(*measured, strict=True)
        rows.append(
            [network.name, *(float(np.nanmean(part)) for part in inside), *(float(part.mean()) for part in overlap)]
        )
    columns = [f"{score}, {name}" for score in ("inside", "box") for name in REFINEMENTS]
    title = f"{BOXES}, 64 px: share of the mask inside the box; IoU of its bounding box with the box"
    return Table(title, ["network", *columns], rows)


def _refined_discs(half: bool) -> Table:
    rows = []
    for side in DISC_SIDES:
        drawn = discs(side, 300 if side < 500 else 60, seed=int(half))
        scores = [iou(refine(drawn, name), drawn) for name in REFINEMENTS]
        rows.append([side, *(float(score.mean()) for score in scores), *(float(score.min()) for score in scores)])
    columns = [f"{statistic}, {name}" for statistic in ("mean", "minimum") for name in REFINEMENTS]
    return Table("Discs cut by the border: IoU, mean and minimum", ["side", *columns], rows)


def _native(limit: int, native: int, side: int) -> int:
    return min(native, limit)


RULES: dict[str, Callable[[int, int], int | str]] = {
    "native": lambda native, side: native,
    "own": lambda native, side: "own",
    **{f"native, at most {limit}": partial(_native, limit) for limit in (160, 193, 257, 320)},
    "native, at most 257 up to 64 px (auto)": lambda native, side: auto_size((native, native), (side, side))[0],
}
"""Input size by the native input size of the network and the side of the images."""


def resolution(sets: Sequence[Photographs], boxes: Photographs, networks: Sequence[Network], half: bool) -> list[Table]:
    """Return the tables of IoU by input size. Masks have the default refinement; of sets with boxes the bounding boxes are compared."""

    @cache
    def score(network: Network, data: Photographs, side: int, size: int | str, hflip_tta: bool = False) -> float:
        some = data.few(network.count)
        chosen = some.reported == half
        masks = refine(shrunk(network.segment(some.shrunk(side), size, hflip_tta), side)[chosen], "default")
        if some.boxes is not None:
            return float(in_boxes(masks, some.boxes[chosen], some.side)[1].mean())
        return float(iou(masks, *(part[chosen] for part in some.truth_at(side))).mean())

    all_sides = (*SIDES, SIDE)
    cases = [
        (network, data, side)
        for network in networks
        for data in (*sets, boxes)
        for side in all_sides
        if side <= data.side
    ]
    by_size = []
    for network, data, side in cases:
        cells = [score(network, data, side, size) if size <= network.native else "" for size in INPUT_SIZES]
        by_size.append([network.name, data.name, side, score(network, data, side, "own"), *cells])
    by_rule = []
    for name, rule in RULES.items():
        scores = {side: [score(n, d, s, rule(n.native, s)) for n, d, s in cases if s == side] for side in all_sides}
        by_rule.append([name, *(float(np.mean(each)) for each in scores.values())])
    mirrored = []
    for network, data in itertools.product(networks, (*sets, boxes)):
        size = min(network.native, 257)
        cells = [score(network, data, side, size, hflip_tta) for side in (32, 64) for hflip_tta in (False, True)]
        mirrored.append([network.name, data.name, *cells])
    return [
        Table(
            "Photographs shrunk first: by input size",
            ["network", "set", "side", "own", *map(str, INPUT_SIZES)],
            by_size,
        ),
        Table("Rules: mean over networks and sets", ["input size", *(f"{side} px" for side in all_sides)], by_rule),
        Table(
            "Mean over the image and its mirror image, at most 257 px",
            ["network", "set", "32 px", "32 px, with mirror image", "64 px", "64 px, with mirror image"],
            mirrored,
        ),
    ]


def validity(sets: Sequence[Photographs], networks: Sequence[Network], half: bool) -> list[Table]:
    """Return the tables of accepted and rejected masks."""
    return [_validity_of_known_masks(sets, half), _validity_of_network_masks(sets, networks, half)]


def _validity_of_known_masks(sets: Sequence[Photographs], half: bool) -> Table:
    good: dict[str, BoolMasks] = {}
    bad: dict[str, BoolMasks] = {}
    for data, side in itertools.product(sets, SIDES):
        truth = data.truth_at(side)[0][data.reported == half]
        good[f"{data.name}, {side} px"], bad[f"{data.name} inverted, {side} px"] = truth, ~truth
    for density, side in itertools.product(DENSITIES, SIDES):
        bad[f"noise {density}, {side} px"] = refine(noise(side, density, 100, seed=int(half)), "default")
    digits = digits_on_photos("test" if half else "train")[2]
    accepted = {name: shares_valid(masks) for name, masks in bad.items()}
    rejected = {name: [1 - share for share in shares_valid(masks)] for name, masks in good.items()}
    rows: list[list[Any]] = []
    for title, masks, shares in (("good: rejected", good, rejected), ("bad: accepted", bad, accepted)):
        counts = {name: len(some) for name, some in masks.items()}
        means = np.average(list(shares.values()), axis=0, weights=list(counts.values()))
        rows.append([title, sum(counts.values()), *means.tolist()])
        rows.extend([name, counts[name], *line] for name, line in shares.items())
    rows.append(["digits-on-photos: rejected", len(digits), *(1 - share for share in shares_valid(digits))])
    return Table("Share rejected of good masks, accepted of bad ones", ["masks", "number", *CRITERIA], rows)


def _validity_of_network_masks(sets: Sequence[Photographs], networks: Sequence[Network], half: bool) -> Table:
    rules = {
        "default": StoreValidity(),
        "2 pieces": StoreValidity(max_pieces=2),
        "score 0.8": StoreValidity(min_score=0.8),
    }
    rows: list[list[Any]] = []
    for network, data, side in itertools.product(networks, sets, (32, 64)):
        some = data.few(network.count)
        reported = some.reported == half
        predicted = network.segment(some.shrunk(side), auto_size((network.native,) * 2, (side, side))[0])
        masks, score = refine(shrunk(predicted, side)[reported], "default"), predicted.score[reported]
        quality = iou(masks, *(part[reported] for part in some.truth_at(side)))
        low, high = (quality < 0.2) & masks.any((1, 2)), quality >= 0.5
        line: list[Any] = [network.name, data.name, side, int(low.sum()), int(high.sum())]
        for rule in rules.values():
            valid = rule(masks, score)
            line += [float(valid[group].mean()) if group.any() else "" for group in (low, high)]
        rows.append(line)
    columns = [f"{group}, {rule}" for rule in rules for group in ("below 0.2", "0.5 or more")]
    return Table(
        "Masks of networks that are not empty: share accepted, by IoU with the truth",
        ["network", "set", "side", "below 0.2", "0.5 or more", *columns],
        rows,
    )


def shares_valid(masks: BoolMasks) -> list[float]:
    """Return the share of masks that each criterion accepts."""
    batch = torch.from_numpy(masks)[:, None].float()
    return [float(criterion(batch).float().mean()) for criterion in CRITERIA.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of people, shapes16 and tiny-imagenet-20")
    parser.add_argument("--networks", type=Path, nargs="+", default=[], help="ONNX files, each with its JSON file")
    parser.add_argument(
        "--targets", metavar="SOURCE", help="measure this source instead, by the tables of benchmarks/mask_targets.py"
    )
    parser.add_argument(
        "--each-half",
        type=int,
        nargs="+",
        default=[80],
        help="photographs of each half to segment at many input sizes: one number, or one per network",
    )
    parser.add_argument("--limit", type=int, default=200, help="photographs of each half for the refinement")
    parser.add_argument("--cache", type=Path, default=Path("mask-quality-cache"), help="cache of the networks' outputs")
    parser.add_argument("--chosen", action="store_true", help="show the half on which constants were chosen")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    options = parser.parse_args()
    if options.targets is not None:
        print(write_targets(options.targets, options.data, options.out))
        return
    if not options.networks:
        parser.error("expected --networks or --targets, got neither; give ONNX files, or builtin as --targets")
    counts = options.each_half * (len(options.networks) if len(options.each_half) == 1 else 1)
    networks = [
        Network(path, min(count, options.limit), options.cache)
        for path, count in zip(options.networks, counts, strict=True)
    ]
    sets = [photographs(name, options.data).few(options.limit) for name in TRUE_MASKS]
    boxes = photographs(BOXES, options.data)
    half = not options.chosen
    tables = [
        *refinement(sets, boxes, networks, half),
        *resolution(sets, boxes, networks, half),
        *validity(sets, networks, half),
    ]
    result = {
        **environment("CPU", "scipy"),
        "half": "reported" if half else "chosen",
        "photographs": {data.name: int((data.reported == half).sum()) for data in sets},
        "each_half": {network.name: network.count for network in networks},
        "tables": {table.title: {"head": list(table.head), "rows": rounded(table.rows)} for table in tables},
    }
    title = f"# Quality of masks, {result['date']}, {result['half']} half of the photographs\n\n"
    name = f"mask_quality_cpu_{result['date']}{'_chosen' if options.chosen else ''}"
    print(write(options.out, name, result, title + "\n".join(table.markdown() for table in tables)))


def write_targets(source: str, root: Path, out: Path) -> Path:
    """Measure a source on images that no fit has seen, and return the path of the result."""
    tables = mask_targets.tables(load_source(source), root)
    result = {
        **environment("CPU", "scipy"),
        "source": source,
        "tables": {table.title: {"head": list(table.head), "rows": rounded(table.rows)} for table in tables},
    }
    title = (
        f"# Quality of the masks of {source}, {result['date']}, {result['processor']}, {result['threads']} threads\n\n"
    )
    name = f"mask_targets_{source.partition(':')[0]}_cpu_{result['date']}"
    return write(out, name, result, title + "\n".join(table.markdown() for table in tables))


def rounded(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[round(cell, 4) if isinstance(cell, float) else cell for cell in row] for row in rows]


if __name__ == "__main__":
    main()
