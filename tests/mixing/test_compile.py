"""Test torch.compile(fullgraph=True) in processes without the type checks of the tests, which cannot be compiled."""

from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from smix.mixing import Method
from tests.mixing.cases import COMPILED, boxes, images, same, skip_without_fake_gamma
from tests.training.processes import in_processes

pytestmark = pytest.mark.slow


def compare_with_eager(method: Method) -> tuple[list[bool], int]:
    """Return whether compiled and eager results are equal to the bit, and the number of graphs for several batch sizes."""
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
    return equal, counter.frame_count


@pytest.mark.parametrize("method", COMPILED, ids=repr)
def test_a_method_compiles_to_one_graph_with_the_same_results(method: Method, tmp_path: Path):
    """There is one graph for the first batch size and one for all others."""
    skip_without_fake_gamma(method)
    (ended,) = in_processes(1, tmp_path, lambda rank: compare_with_eager(method))
    assert ended.code == 0, ended.err
    equal, graphs = ended.value
    assert equal == [True, True, True]
    assert graphs <= 2
