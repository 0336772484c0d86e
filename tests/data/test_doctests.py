"""The examples in the docstrings of data sets, models and masks run as they are printed."""

import doctest
from importlib import import_module

import pytest
import torch

MODULES = {
    "smix.data.imageset": 1,
    "smix.data.sets": 1,
    "smix.masks.build": 1,
    "smix.masks.sources": 1,
    "smix.masks.store": 1,
    "smix.models.build": 1,
}


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str):
    module = import_module(name)
    examples = [test for test in doctest.DocTestFinder().find(module, name) if test.examples]
    assert len(examples) == MODULES[name]
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    with torch.random.fork_rng(devices=[]):
        for test in examples:
            runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
