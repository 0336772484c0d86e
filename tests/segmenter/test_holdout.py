"""Test the rule that holds photographs out."""

import numpy as np

from smix.segmenter.holdout import CLASSES, part_of, rows_of


def test_a_tenth_of_each_source_is_held_out():
    for source in ("duts-tr", "butterfly"):
        parts = [part_of(source, f"picture {number}", "") for number in range(4000)]
        assert 0.04 < parts.count("validation") / 4000 < 0.06
        assert 0.04 < parts.count("test") / 4000 < 0.06
        assert parts.count("classes") == 0


def test_all_photographs_of_the_25_classes_are_held_out():
    assert len(set(CLASSES)) == 25
    parts = [part_of("duts-tr", f"{cls}_{number}", cls) for cls in CLASSES for number in range(50)]
    assert set(parts) == {"classes", "validation"}


def test_the_rule_has_not_changed():
    """The weights in the package were fitted with it."""
    keys = [("oxford-pet", "Bengal_187", "cat"), ("duts-te", "ILSVRC2012_test_00050197", "")]
    keys += [("duts-tr", f"n01644373_{number}", "n01644373") for number in range(30)]
    assert "".join(part_of(*key)[0] for key in keys) == "ffffftfffffffffftfffffftffffffff"


def test_parts_are_disjoint_and_complete():
    source, key = ["a"] * 500, [str(number) for number in range(500)]
    cls = [CLASSES[number % 25] if number % 3 else "" for number in range(500)]
    rows = [rows_of(part, source, key, cls) for part in ("fit", "validation", "test", "classes")]
    assert np.array_equal(np.sort(np.concatenate(rows)), np.arange(500))
