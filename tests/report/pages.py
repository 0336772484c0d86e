"""Synthetic pages with hostile names."""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

from smix.evaluation.statistics import NOT_ENOUGH
from smix.report.comparison import Problem
from smix.report.page import Chapter, Facts, Figure, Highlight, Page, Part, Section
from smix.report.table import UNKNOWN, Cell, Table, number, over_seeds

HOSTILE = (
    "</script><script>alert(1)</script>",
    "</style><style>*{display:none}</style>",
    "\"><img src=x onerror='alert(1)'>",
    "a 'quoted' \"name\" & <b>bold</b> ${1} $x$ `y`",
    "<!--<script>",
    "{{ 7 * 7 }} {% raw %}",
    "evil\u202egnp.exe\u2066",
    "plain\u2028\x00\ud800",
    "javascript:alert(1)",
    "//evil.example/x.svg",
    "x" * 300,
    "\u540d\u524d",
    "",
)
METHODS = (
    *("vanilla", "mixup", "cutout", "cutmix", "resizemix", "hmix", "gmix", "gridmix", "saliencymix", "fmix", "smix"),
    *("smix(alpha=0.7,labels=coverage)+fmix", "mixup|cutmix"),
)


def svg(word: str = "accuracy") -> str:
    """Return an SVG as matplotlib writes it: with a prologue, metadata, a style sheet, and ids that all figures share."""
    return f"""<?xml version="1.0" encoding="utf-8" standalone="no"?>
<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">
<svg xmlns:xlink="http://www.w3.org/1999/xlink" width="612pt" height="345.6pt" viewBox="0 0 612 345.6"
 xmlns="http://www.w3.org/2000/svg" version="1.1">
 <metadata><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><a href="http://evil.example"/></rdf:RDF></metadata>
 <defs><style type="text/css">*{{stroke-linejoin: round; stroke-linecap: butt}}</style></defs>
 <g id="figure_1"><g id="axes_1">
  <g clip-path="url(#clip)"><path id="line" d="M 10 10 L 600 300" style="fill: none; stroke: var(--text, #1b1b1b)"/></g>
  <defs><path id="marker" d="M -3 -3 L 3 3"/></defs>
  <use xlink:href="#marker" x="40" y="40" style="stroke: #0072B2"/>
  <text x="20" y="30" style="font: 10px sans-serif; fill: var(--soft, #5c5c5c)">{word}</text>
 </g></g>
 <defs><clipPath id="clip"><rect x="0" y="0" width="612" height="345.6"/></clipPath></defs>
</svg>
"""


def png(width: int = 7, height: int = 5, dpi: int | None = None) -> bytes:
    file = io.BytesIO()
    pixels = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    Image.fromarray(pixels).save(file, "png", **({} if dpi is None else {"dpi": (dpi, dpi)}))
    return file.getvalue()


def picture(name: str, title: str, files: tuple[str, ...] = (), *, image: str | bytes) -> Part:
    """Return the part of a drawn figure."""
    return Part(Figure(name, title, image), files)


def small_page() -> Page:
    """Return a page of one comparison with one part of each kind."""
    rows = (
        (Cell("vanilla"), number(89.96), Cell("0.27", 0.27), Cell("worse"), Cell("3", 3.0)),
        (Cell("smix"), number(93.66), Cell(NOT_ENOUGH), Cell("better"), Cell("1 of 3")),
        (Cell("cutmix"), number(93.16), Cell("0.07", 0.07), Cell(UNKNOWN), Cell("3", 3.0)),
        (Cell("Fmix"), number(94.83, best=True), Cell("0.27", 0.27), Cell("not distinguishable"), Cell("3", 3.0)),
        (Cell("fmix 10"), Cell(UNKNOWN), Cell(UNKNOWN), Cell("better"), Cell("0 of 3")),
        (Cell("fmix 9"), number(-0.5), Cell("1e-07", 1e-07), Cell("worse"), Cell("12", 12.0)),
    )
    head = ("Method", "Mean (%)", "Std Dev (%)", "Is", "Runs")
    pictures = [
        picture("lines", "Lines.", ("figures/lines.svg",), image=svg()),
        picture("lines", "Lines again.", image=svg()),
        picture("photographs", "Photographs.", image=png()),
    ]
    sections = [
        Section(
            "accuracy",
            "Accuracy",
            "On the test split.",
            [
                Part(Table("accuracy", "Test accuracy", head, rows, "In percent."), ("tables/accuracy.csv",)),
                *pictures,
            ],
        ),
        Section(
            "runs", "Every run", "", [Part(Table("runs", "Runs", ("Run", "Seed"), ((Cell("a"), Cell("0", 0)),)))], True
        ),
        Section("config", "Config", "Shared.", [Part(Facts((("epochs", "60"), ("lr", "0.1")), "Options"))], True),
    ]
    highlights = [Highlight("Accuracy of fmix", "94.83 %", "95 % interval 94.5 to 95.2 %"), Highlight("Runs", "15")]
    chapter = Chapter("cifar10", "cifar10", "fmix wins by 1.2 points.", "Over five seeds.", highlights, sections)
    why = "expected a finished run, got 3 of 60 epochs; start it again"
    problems = [Problem(Path("runs/cifar10") / name, why) for name in ("smix-1", "smix-2")]
    problems.append(Problem(Path("runs/cifar10/old"), "expected numbers, got NaN"))
    return Page("Comparison on cifar10", [chapter], problems=problems, foot="Made by smix.")


def hostile_page() -> Page:
    """Return a page on which every text is one of `HOSTILE`."""

    def section(name: str) -> Section:
        table = Table(
            name, name, ("Method", name, "n"), tuple((Cell(one), Cell(one), number(n)) for n, one in enumerate(HOSTILE))
        )
        lines = picture(name, name, HOSTILE, image=svg())
        photograph = picture(name, name, image=png())
        parts = [Part(table, HOSTILE), lines, photograph, Part(Facts(((name, name),), name))]
        return Section(name, name, name, parts, folded=len(name) % 2 == 0)

    chapters = [
        Chapter(name, name, name, name, [Highlight(name, name, name)], [section(name), section(name)])
        for name in HOSTILE
    ]
    problems = [Problem(Path("runs") / (name or "empty"), name) for name in HOSTILE]
    return Page(HOSTILE[0], chapters, HOSTILE[3], chapters[0].sections[0].parts[0], problems, HOSTILE[1])  # type: ignore[arg-type]


def large_page() -> Page:
    """Return a page of thirteen methods on three data sets."""
    draw = random.Random(0).gauss
    chapters = []
    for data in ("CIFAR-10", "CIFAR-100", "Tiny ImageNet"):
        means = {method: [draw(70, 2) for _ in range(5)] for method in METHODS}
        accuracy = tuple((Cell(method), over_seeds(values)) for method, values in means.items())
        pairs = tuple(
            (
                *(Cell(f"{first} - {second}"), number(draw(0, 1), sign=True), Cell("-0.12 to +3.45"), Cell("5", 5)),
                *(Cell("< 0.001", 0.0001), Cell("not distinguishable"), number(1.25)),
            )
            for n, first in enumerate(METHODS)
            for second in METHODS[:n]
        )
        head = (
            "Difference",
            "Mean (points)",
            "95 % interval",
            "Seeds",
            "p",
            "The first is",
            "Found 4 times of 5 (points)",
        )
        sections = [
            Section(
                "accuracy",
                "Accuracy",
                "On the test split.",
                [Part(Table("accuracy", "Accuracy", ("Method", "Mean"), accuracy))],
            ),
            Section("pairs", "Every pair", "Paired.", [Part(Table("pairs", "Pairs", head, pairs))]),
            Section(
                "figures",
                "Figures",
                "All.",
                [picture("a", "A.", image=svg()), picture("b", "B.", image=svg())],
            ),
        ]
        chapters.append(Chapter(data, data, f"fmix wins on {data}.", sections=sections))
    rows = tuple((Cell(method), *(over_seeds([70, 71 + n]) for n in range(3))) for method in METHODS)
    overview = Table("overview", "Methods and data sets", ("Method", "CIFAR-10", "CIFAR-100", "Tiny ImageNet"), rows)
    return Page("Thirteen methods", chapters, "fmix wins on all three.", Part(overview))


PAGES = {"small": small_page, "hostile": hostile_page, "large": large_page, "empty": lambda: Page("Nothing", [])}
