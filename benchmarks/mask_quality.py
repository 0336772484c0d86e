"""How good are masks? `python -m benchmarks.mask_quality --data DIR --networks FILE.onnx ...`: the tables of docs/masks.md.

Refinement: each network's map of the full photograph, shrunk to 32, 64 and 128 pixels, refined, compared with the true mask.
Resolution: photographs shrunk first, then enlarged and segmented. Validity: which masks are called valid, good and bad ones.
Numbers were chosen on one half of the photographs (`--chosen` shows it); the tables are of the other half. What networks
answer is kept in `--cache`, so that a second run takes two minutes. DIR: see mask_data.py.
"""

import argparse
import datetime
import itertools
import json
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
from numpy.typing import NDArray

import smix
from benchmarks.mask_data import (
    SIDE,
    Network,
    Photographs,
    Table,
    discs,
    flipped,
    in_boxes,
    iou,
    noise,
    photographs,
    shrunk,
)
from benchmarks.mixing import processor
from smix.data.digits import digits_on_photos
from smix.masks.criteria import StoreValidity
from smix.masks.refine import REFINEMENTS, label_pieces, refine, sizes
from smix.masks.sources.network import auto_size
from smix.mixing import Validity

SIDES = (32, 64, 128)
DISC_SIDES = (32, 64, 128, 224, 513)
DENSITIES = (0.1, 0.3, 0.5, 0.7, 0.9)
FLIPPED = 0.02
TRUE_MASKS, BOXES = ("people", "shapes16"), "tiny-imagenet-20"
INPUT_SIZES = (96, 128, 160, 193, 257, 320, 385, 513)
CRITERIA = {"figure14": Validity.figure14(), "published": Validity.published(), "default": Validity()}
HERE = Path(__file__).parent / "results"

Masks = NDArray[np.bool_]


def refinement(sets: Sequence[Photographs], boxes: Photographs, networks: Sequence[Network], half: bool) -> list[Table]:
    maps, lost = [], {how: [0, 0] for how in REFINEMENTS}
    for data, network in itertools.product(sets, networks):
        rows = data.reported == half
        found = network.segment(data.images, network.native)
        cells: list[float] = []
        for side in SIDES:
            truth, known = (part[rows] for part in data.truth_at(side))
            raw = shrunk(found, side)[rows]
            large = sizes(label_pieces(raw)).max((1, 2)) >= 0.01 * side**2
            for how in REFINEMENTS:
                refined = refine(raw, how)
                cells.append(float(iou(refined, truth, known).mean()))
                lost[how][0] += int((refined.mean((1, 2)) < 0.01)[large].sum())
                lost[how][1] += int(large.sum())
        maps.append([data.name, network.name, *cells])
    turned = []
    for data, how in itertools.product(sets, REFINEMENTS):
        cells = []
        for side in SIDES:
            truth, known = (part[data.reported == half] for part in data.truth_at(side))
            cells.append(float(iou(refine(flipped(truth, FLIPPED, seed=int(half)), how), truth, known).mean()))
            cells.append(float(iou(refine(truth, how), truth, known).mean()))
        turned.append([data.name, how, *cells])
    boxed = []
    for network in networks:
        some = boxes.few(network.count)
        rows = some.reported == half
        assert some.boxes is not None
        raw = shrunk(network.segment(some.images, network.native), some.side)[rows]
        measured = [in_boxes(refine(raw, how), some.boxes[rows], some.side) for how in REFINEMENTS]
        boxed.append(
            [
                network.name,
                *(float(np.nanmean(share)) for share, _ in measured),
                *(float(b.mean()) for _, b in measured),
            ]
        )
    round_ = []
    for side in DISC_SIDES:
        drawn = discs(side, 300 if side < 500 else 60, seed=int(half))
        scores = [iou(refine(drawn, how), drawn) for how in REFINEMENTS]
        round_.append([side, *(float(score.mean()) for score in scores), *(float(score.min()) for score in scores)])
    each_side = [f"{how}, {side} px" for side in SIDES for how in REFINEMENTS]
    both = [f"{kind}, {side} px" for side in SIDES for kind in ("2 % flipped", "as it is")]
    return [
        Table("Maps of full photographs, shrunk and refined: mean IoU", ["set", "network", *each_side], maps),
        Table(
            "True masks, with 2 % of their pixels flipped and as they are: mean IoU", ["set", "refined", *both], turned
        ),
        Table(
            f"{BOXES}, 64 px: share of the mask inside the box; IoU of its bounding box with the box",
            ["network", *(f"inside, {how}" for how in REFINEMENTS), *(f"box, {how}" for how in REFINEMENTS)],
            boxed,
        ),
        Table(
            "Discs cut by the border: IoU, mean and least",
            ["side", *(f"mean, {how}" for how in REFINEMENTS), *(f"least, {how}" for how in REFINEMENTS)],
            round_,
        ),
        Table(
            "Lost: the largest piece of the raw map covers 1 % of the image, the refined mask does not",
            ["refined", "lost", "of"],
            [[how, *counts] for how, counts in lost.items()],
        ),
    ]


RULES: dict[str, Callable[[int, int], int | str]] = {
    "native": lambda native, side: native,
    "own": lambda native, side: "own",
    **{f"native, at most {most}": lambda native, side, most=most: min(native, most) for most in (160, 193, 257, 320)},
    "native, at most 257 up to 64 px (auto)": lambda native, side: auto_size((native, native), (side, side))[0],
}


def resolution(sets: Sequence[Photographs], boxes: Photographs, networks: Sequence[Network], half: bool) -> list[Table]:
    """Masks are refined by default; of boxes the IoU of the mask's bounding box is taken."""
    score: dict[tuple[str, str, int, int | str, bool], float] = {}

    def measure(network: Network, data: Photographs, side: int, size: int | str, flip: bool = False) -> float:
        key = (network.name, data.name, side, size, flip)
        if key not in score:
            some = data.few(network.count)
            rows = some.reported == half
            masks = refine(shrunk(network.segment(some.shrunk(side), size, flip), side)[rows], "default")
            if some.boxes is not None:
                score[key] = float(in_boxes(masks, some.boxes[rows], some.side)[1].mean())
            else:
                score[key] = float(iou(masks, *(part[rows] for part in some.truth_at(side))).mean())
        return score[key]

    cases = [(n, d, side) for n in networks for d in (*sets, boxes) for side in (*SIDES, SIDE) if side <= d.side]
    every = [
        [
            n.name,
            d.name,
            side,
            measure(n, d, side, "own"),
            *(measure(n, d, side, s) if s <= n.native else "" for s in INPUT_SIZES),
        ]
        for n, d, side in cases
    ]
    rules = []
    for name, rule in RULES.items():
        means = []
        for side in (*SIDES, SIDE):
            means.append(float(np.mean([measure(n, d, s, rule(n.native, s)) for n, d, s in cases if s == side])))
        rules.append([name, *means])
    flips = []
    for network in networks:
        for data in (*sets, boxes):
            at = [(side, min(network.native, 257)) for side in (32, 64)]
            flips.append(
                [
                    network.name,
                    data.name,
                    *(measure(network, data, *where, flip) for where in at for flip in (False, True)),
                ]
            )
    return [
        Table(
            "Photographs shrunk first: by input size", ["network", "set", "side", "own", *map(str, INPUT_SIZES)], every
        ),
        Table("Rules: mean over networks and sets", ["input size", *(f"{side} px" for side in (*SIDES, SIDE))], rules),
        Table(
            "Mean over the image and its mirror image, at most 257 px",
            ["network", "set", "32 px", "32 px, flipped too", "64 px", "64 px, flipped too"],
            flips,
        ),
    ]


def validity(sets: Sequence[Photographs], networks: Sequence[Network], half: bool) -> list[Table]:
    good: dict[str, Masks] = {}
    bad: dict[str, Masks] = {}
    for data, side in itertools.product(sets, SIDES):
        truth = data.truth_at(side)[0][data.reported == half]
        good[f"{data.name}, {side} px"], bad[f"{data.name} inverted, {side} px"] = truth, ~truth
    for density, side in itertools.product(DENSITIES, SIDES):
        bad[f"noise {density}, {side} px"] = refine(noise(side, density, 100, seed=int(half)), "default")
    digits = digits_on_photos("test" if half else "train")[2]
    rows: list[list[Any]] = []
    for title, masks in (("good: rejected", good), ("bad: accepted", bad)):
        shares = [shares_valid(some) for some in masks.values()]
        wanted = [[share if title[0] == "b" else 1 - share for share in line] for line in shares]
        counts = [len(some) for some in masks.values()]
        rows.append(
            [title, sum(counts), *(float(np.average(each, weights=counts)) for each in zip(*wanted, strict=True))]
        )
        rows.extend([name, len(some), *line] for (name, some), line in zip(masks.items(), wanted, strict=True))
    rows.append(["digits-on-photos: rejected", len(digits), *(1 - share for share in shares_valid(digits))])

    wrong: list[list[Any]] = []
    for network, data in itertools.product(networks, sets):
        some = data.few(network.count)
        reported = some.reported == half
        for side in (32, 64):
            found = network.segment(some.shrunk(side), auto_size((network.native,) * 2, (side, side))[0])
            masks, score = refine(shrunk(found, side)[reported], "default"), found.score[reported]
            quality = iou(masks, *(part[reported] for part in some.truth_at(side)))
            low, high = (quality < 0.2) & masks.any((1, 2)), quality >= 0.5
            line: list[Any] = [network.name, data.name, side, int(low.sum()), int(high.sum())]
            for rule in (StoreValidity(), StoreValidity(max_pieces=2), StoreValidity(min_score=0.8)):
                verdict = rule(masks, score)
                line += [float(verdict[chosen].mean()) if chosen.any() else "" for chosen in (low, high)]
            wrong.append(line)
    kinds = [
        f"{kind}, {rule}" for rule in ("default", "2 pieces", "score 0.8") for kind in ("below 0.2", "0.5 or more")
    ]
    return [
        Table("Share rejected of good masks, accepted of bad ones", ["masks", "number", *CRITERIA], rows),
        Table(
            "Networks' masks that are not empty: share accepted by IoU with the truth",
            ["network", "set", "side", "below 0.2", "0.5 or more", *kinds],
            wrong,
        ),
    ]


def shares_valid(masks: Masks) -> list[float]:
    as_batch = torch.from_numpy(masks)[:, None].float()
    return [float(rule(as_batch).float().mean()) for rule in CRITERIA.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of people, shapes16 and tiny-imagenet-20")
    parser.add_argument("--networks", type=Path, nargs="+", required=True, help="ONNX files, each with its JSON")
    parser.add_argument(
        "--each-half", type=int, nargs="+", default=[80], help="photographs at many input sizes, by network"
    )
    parser.add_argument("--limit", type=int, default=200, help="photographs of each half for the refinement")
    parser.add_argument(
        "--cache", type=Path, default=Path("mask-quality-cache"), help="folder of the networks' answers"
    )
    parser.add_argument("--chosen", action="store_true", help="show the half that numbers are chosen on")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the results")
    options = parser.parse_args()
    counts = options.each_half * (len(options.networks) if len(options.each_half) == 1 else 1)
    networks = [
        Network(path, min(count, options.limit), options.cache)
        for path, count in zip(options.networks, counts, strict=True)
    ]
    sets = [photographs(name, options.data).few(options.limit) for name in TRUE_MASKS]
    boxes = photographs(BOXES, options.data)
    half = not options.chosen
    tables = (
        refinement(sets, boxes, networks, half)
        + resolution(sets, boxes, networks, half)
        + validity(sets, networks, half)
    )
    date = datetime.date.today().isoformat()
    result = {
        "date": date,
        "hardware": "CPU",
        "processor": processor(),
        "half": "reported" if half else "chosen",
        "photographs": {data.name: int((data.reported == half).sum()) for data in sets},
        "each_half": {network.name: network.count for network in networks},
        "versions": {
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in (torch, np, scipy, smix)},
        },
        "tables": {table.title: {"head": list(table.head), "rows": rounded(table.rows)} for table in tables},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"mask_quality_cpu_{date}{'_chosen' if options.chosen else ''}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    page = f"# Quality of masks, {date}, the half of the photographs that is {result['half']}\n\n"
    path.with_suffix(".md").write_text(page + "\n".join(table.markdown() for table in tables))
    print(path)


def rounded(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [[round(cell, 4) if isinstance(cell, float) else cell for cell in row] for row in rows]


if __name__ == "__main__":
    main()
