"""Draw docs/architecture.svg: the layers of smix, as import-linter checks them (pyproject.toml). `python docs/architecture.py`."""

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT, GAP, EDGE, TEXT = 960, 62, 16, 24, 420
"""Pixels: width of the picture, height of a layer, distance between layers, margin, left edge of the descriptions."""
DESCRIPTIONS = {
    "cli": "one file per command: options in, results out",
    "report": "runs to records to tables, figures and sentences, on one page",
    "lab": "sweeps, engines (local, SLURM, Ray), evaluation, mask builds",
    "plots": "the forms that figures are drawn with",
    "training": "one run: inputs, loop, checkpoint, records of the run folder",
    "segmenter": "fits the network that finds objects: crops, augmentation, score",
    "masks": "mask sources, refinement, mask store",
    "evaluation": "accuracy, calibration, robustness, statistics",
    "mixing": "mixing methods",
    "models": "networks",
    "data": "data sets, loaders, augmentation",
    "config": "options, devices, atomic files, seeds, progress bars, signals",
    "untrusted": "reading files that others may have modified",
    "errors": "errors with advice, paths in options, short reprs, the version",
}
COLOURS = ("#0072b2", "#00775a", "#00775a", "#00775a", "#00775a", "#a34f00", "#a34f00", "#5c5c5c", "#5c5c5c", "#5c5c5c")


def layers() -> list[list[str]]:
    """Return the modules of each layer, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return [layer.split(" | ") for layer in contracts[0]["layers"]]


def boxes(modules: list[str], top: float, colour: str) -> list[str]:
    """Return the boxes of one layer: side by side, or in two rows if there are more than three."""
    columns = len(modules) if len(modules) <= 3 else -(-len(modules) // 2)
    rows = -(-len(modules) // columns)
    width = (TEXT - EDGE - 16 - 8 * (columns - 1)) / columns
    height = (HEIGHT - 6 * (rows - 1)) / rows
    size = 17 if rows == 1 else 13
    parts = []
    for place, module in enumerate(modules):
        x, y = EDGE + place % columns * (width + 8), top + place // columns * (height + 6)
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{colour}"/>'
        )
        at = f'x="{x + width / 2:.1f}" y="{y + height / 2 + size / 3:.1f}" font-size="{size}"'
        parts.append(f'<text {at} fill="#fff" font-weight="600" text-anchor="middle">{module}</text>')
    return parts


def descriptions(modules: list[str], top: float) -> list[str]:
    """Return the descriptions of the modules of one layer, a line each."""
    lines = [(module, DESCRIPTIONS[module]) for module in modules if module in DESCRIPTIONS]
    first = top + HEIGHT / 2 + 5 - 9.5 * (len(lines) - 1)
    style = 'fill="#1b1b1b" font-size="14"'
    texts = []
    for n, (name, text) in enumerate(lines):
        label = f'<tspan font-weight="600">{name}</tspan>: ' if len(lines) > 1 else ""
        texts.append(f'<text x="{TEXT}" y="{first + 19 * n:.1f}" {style}>{label}{escape(text)}</text>')
    return texts


def draw() -> str:
    """Return the picture as SVG."""
    parts, top, middle = [], 20, EDGE + (TEXT - EDGE - 16) / 2
    for modules, colour in zip(layers(), COLOURS, strict=True):
        if parts:
            parts.append(f'<path d="M{middle - 5} {top - 9}h10l-5 7z" fill="#5c5c5c"/>')
        parts += [*boxes(modules, top, colour), *descriptions(modules, top)]
        top += HEIGHT + GAP
    note = "Each layer imports only from the layers below it; modules side by side do not import each other."
    parts.append(f'<text x="{EDGE}" y="{top + 18}" fill="#5c5c5c" font-size="13">{note}</text>')
    font = "system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"
    box = f'viewBox="0 0 {WIDTH} {top + 34}" font-family="{font}" role="img" aria-label="Layers of the package smix"'
    ground = f'<rect width="{WIDTH}" height="{top + 34}" fill="#fff"/>'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {box}>', ground, *parts, "</svg>\n"])


if __name__ == "__main__":
    (ROOT / "docs" / "architecture.svg").write_text(draw())
