"""Test reading the published CIFAR-C arrays, and corruption errors by hand."""

from pathlib import Path

import numpy as np
import pytest

from smix.errors import DataError, OptionError
from smix.evaluation.cifar_c import CorruptionErrors, mean_corruption_error, read_cifar_c


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Write arrays with four images per severity, whose pixels are their row number."""
    images = np.broadcast_to(np.arange(20, dtype=np.uint8)[:, None, None, None], (20, 32, 32, 3))
    for name in ("gaussian_noise", "fog", "spatter"):
        np.save(tmp_path / f"{name}.npy", images)
    np.save(tmp_path / "labels.npy", np.tile(np.arange(4, dtype=np.uint8), 5))
    return tmp_path


@pytest.mark.parametrize("name", ["gaussian_noise", "fog", "spatter"])
@pytest.mark.parametrize("severity", range(1, 6))
def test_severities_are_consecutive_blocks_of_rows(archive, name, severity):
    images, labels = read_cifar_c(archive, name, severity)
    assert images.shape == (4, 32, 32, 3)
    assert images[:, 0, 0, 0].tolist() == [4 * (severity - 1) + i for i in range(4)]
    assert labels.tolist() == [0, 1, 2, 3]


def test_messages_on_invalid_input(archive):
    with pytest.raises(OptionError, match='did you mean "fog"'):
        read_cifar_c(archive, "fogg", 1)
    with pytest.raises(OptionError, match="from 1 to 5, got 0"):
        read_cifar_c(archive, "fog", 0)
    with pytest.raises(DataError, match=r"snow\.npy: expected a \.npy file of CIFAR-10-C"):
        read_cifar_c(archive, "snow", 1)
    (archive / "snow.npy").write_bytes((archive / "fog.npy").read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"snow\.npy: expected a \.npy file of CIFAR-10-C or CIFAR-100-C, got"):
        read_cifar_c(archive, "snow", 1)
    for content in (b"", b"\x93NUMPY", b"not an array", b"\x93NUMPY\x01\x00\x10\x00{'descr': '|O'}  "):
        (archive / "snow.npy").write_bytes(content)
        with pytest.raises(DataError, match=r"snow\.npy: expected a \.npy file of CIFAR-10-C or CIFAR-100-C, got"):
            read_cifar_c(archive, "snow", 1)
    np.save(archive / "snow.npy", np.zeros((20, 32, 32, 3), np.float32))
    with pytest.raises(DataError, match="got 20 x 32 x 32 x 3 of float32"):
        read_cifar_c(archive, "snow", 1)
    np.save(archive / "snow.npy", np.zeros((25, 32, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"labels\.npy: expected 25 whole numbers, got 20 of uint8"):
        read_cifar_c(archive, "snow", 1)
    with (archive / "snow.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(DataError, match="the magic string is not correct"):
        read_cifar_c(archive, "snow", 1)


def errors(model: str, suite: str = "official", **rates: tuple[float, ...]) -> CorruptionErrors:
    return CorruptionErrors(model, suite, rates)


def test_corruption_errors_by_hand():
    ours = errors("ours", fog=(0.1, 0.2, 0.3, 0.4, 0.5), snow=(0.2, 0.2, 0.2, 0.2, 0.2))
    reference = errors("AlexNet", fog=(0.6,) * 5, snow=(0.1, 0.1, 0.2, 0.2, 0.4))
    assert ours.mean == pytest.approx(0.25)
    # The ratio of sums: (1.5 / 3 + 1 / 1) / 2
    assert mean_corruption_error(ours, reference) == pytest.approx(0.75)
    assert mean_corruption_error(reference, reference) == 1


def test_errors_of_different_corruptions_are_not_compared():
    ours = errors("ours", fog=(0.1,) * 5)
    with pytest.raises(DataError, match="was evaluated on the suite official, the reference AlexNet on own"):
        mean_corruption_error(ours, errors("AlexNet", "own", fog=(0.1,) * 5))
    with pytest.raises(DataError, match="on the corruptions fog x 5, the reference AlexNet on fog x 5, snow x 5"):
        mean_corruption_error(ours, errors("AlexNet", fog=(0.1,) * 5, snow=(0.1,) * 5))
    with pytest.raises(DataError, match="corruptions fog x 5, the reference AlexNet on fog x 4"):
        mean_corruption_error(ours, errors("AlexNet", fog=(0.1,) * 4))
    with pytest.raises(DataError, match="makes no errors on fog"):
        mean_corruption_error(ours, errors("AlexNet", fog=(0.0,) * 5))
    with pytest.raises(DataError, match="makes no errors on any corruption"):
        mean_corruption_error(errors("ours"), errors("AlexNet"))
