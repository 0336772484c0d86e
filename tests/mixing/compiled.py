"""Compiles every method and writes what happened as JSON: `python -m tests.mixing.compiled FILE`.

In a process of its own because the shape checks of the tests, which cannot be compiled, are installed when pytest starts.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from torch._dynamo.testing import CompileCounter

from smix.mixing import Method
from tests.mixing.cases import COMPILED, boxes, images, same


def check(method: Method) -> dict[str, Any]:
    """Whether compiled and eager results are equal to the bit, and how many graphs several batch sizes took."""
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(lambda x, y, masks: method(x, y, masks=masks), fullgraph=True, backend=counter)
    equal = []
    for count in (9, 6, 8):
        x, y, masks = images(count, (12, 17)), torch.arange(count), boxes(count, (12, 17))
        torch.manual_seed(3)
        mixed, target = method(x, y, masks=masks)
        torch.manual_seed(3)
        mixed_compiled, target_compiled = compiled(x, y, masks)
        equal.append(torch.equal(mixed, mixed_compiled) and same(target, target_compiled))
    return {"equal": equal, "graphs": counter.frame_count}


def main(path: Path) -> None:
    found: dict[str, dict[str, Any]] = {}
    for method in COMPILED:
        try:
            found[repr(method)] = check(method)
        except Exception as error:  # reported by the test of this method
            found[repr(method)] = {"error": f"{type(error).__name__}: {error}"}
    path.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
