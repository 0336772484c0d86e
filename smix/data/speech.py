"""Google Speech Commands as log-mel spectrograms, which are computed once and stored next to the files."""

import hashlib
import json
import os
import wave as wav
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from smix import files, progress
from smix.arrays import open_npz
from smix.data.folders import folders_in, read_listing
from smix.data.imageset import ImageSet, Split
from smix.data.mel import BANDS, FRAMES, PARAMETERS, RATE, spectrograms
from smix.errors import DataError
from smix.untrusted import UnreadableError, one_line, open_file

SPEECH_COMMANDS_URL = "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
CACHE = "smix-spectrograms.npz"
KIND = (RATE, 16, 1)
"""Samples per second, bits per sample and channels of every recording."""
WAVES_PER_TASK = 64
"""Number of recordings that a thread converts at once."""


def speech_commands(name: str, data_root: Path, split: Split) -> ImageSet:
    """Load Speech Commands V2 (Warden, 2018, arXiv:1804.03209): 105,829 recordings of 35 words, as images of size 64 x 98 x
    1.

    The test split is testing_list.txt (11,005 recordings); all others are for training, including those of validation_list.txt, because
    training holds out validation images itself. The noise in _background_noise_ is ignored. A recording is one second at 16 kHz: a
    shorter one is padded with silence, a longer one is truncated. See `smix.data.mel` for the spectrograms.

    A flip along the last axis, the time, plays a word backwards, so `hflip` is not a useful augmentation here.

    Args:
        name: Name of the data set.
        data_root: Root folder of the data sets.
        split: "train" or "test".

    Raises:
        DataError: The folder is missing, incomplete or damaged.
        RunError: The spectrograms cannot be written.
    """
    home = data_root / "speech_commands_v0.02"
    if not home.is_dir():
        raise DataError(f"{name}: there is no folder {home}; download {SPEECH_COMMANDS_URL} and unpack it in {home}")
    try:
        words = [word for word in folders_in(home) if not word.startswith("_")]
        paths = [f"{word}/{file.name}" for word in words for file in sorted((home / word).glob("[!.]*.wav"))]
        test = set(read_listing(home / "testing_list.txt").split())
        if missing := sorted(test - set(paths)):
            raise FileNotFoundError(f"no {missing[0]}, although testing_list.txt lists it")
        parts = {"train": [path for path in paths if path not in test], "test": sorted(test)}
        if not all(parts.values()):
            raise FileNotFoundError(f"{len(parts['train'])} training recordings and {len(test)} test recordings")
        images = _cached(home, parts, split)
    except (OSError, UnreadableError) as error:
        raise DataError(
            f"{name}: {home} is incomplete or damaged ({one_line(error)}); unpack {SPEECH_COMMANDS_URL} again"
        ) from None
    labels = np.array([words.index(path.partition("/")[0]) for path in parts[split]], np.int64)
    return ImageSet(images[..., None], labels, tuple(words), name=name, split=split)


def _cached(home: Path, parts: dict[str, list[str]], split: Split) -> UInt8[np.ndarray, "N 64 98"]:
    """Return the spectrograms of a split, and compute and store them if the stored ones do not belong to these files."""
    sizes = {part: [(path, os.stat(f"{home}/{path}").st_size) for path in parts[part]] for part in parts}  # noqa: PTH116
    key = hashlib.sha256(json.dumps([PARAMETERS, sizes], sort_keys=True).encode()).hexdigest()
    try:
        with open_npz(home / CACHE) as stored:
            if str(stored["key"]) == key:
                return stored[split]
    except UnreadableError:
        pass  # missing or damaged: computed again
    all_paths = parts["train"] + parts["test"]
    images = np.empty((len(all_paths), BANDS, FRAMES), np.uint8)

    def fill(start: int) -> int:
        paths = all_paths[start : start + WAVES_PER_TASK]
        images[start : start + len(paths)] = spectrograms(_waves(home, paths))
        return start + len(paths)

    with ThreadPoolExecutor() as pool, progress.bar("spectrograms", len(all_paths), "recordings") as show:
        for finished in pool.map(fill, range(0, len(all_paths), WAVES_PER_TASK)):
            show(finished)
    train, test = np.split(images, [len(parts["train"])])
    with files.atomic(home / CACHE) as file:
        np.savez(file, key=np.array(key), train=train, test=test)
    return train if split == "train" else test


def _waves(home: Path, paths: Sequence[str]) -> Float[np.ndarray, "N 16000"]:
    """Read recordings in [-1, 1], padded or truncated to one second."""
    waves = np.zeros((len(paths), RATE), np.float32)
    for wave, path in zip(waves, paths, strict=True):
        try:
            with open_file(home / path) as stream, wav.open(stream) as file:
                kind = (file.getframerate(), 8 * file.getsampwidth(), file.getnchannels())
                content = file.readframes(file.getnframes())
                expected = file.getnframes() * file.getsampwidth() * file.getnchannels()
            if kind != KIND or len(content) != expected:
                raise ValueError(
                    f"{kind[0]} Hz, {kind[1]} bits, {kind[2]} channels, {len(content)} of {expected} bytes"
                )
        except (wav.Error, EOFError, ValueError, RuntimeError) as error:  # wave raises all of them
            raise DataError(
                f"{home / path}: expected a wav file of 16 kHz, 16 bits and one channel, got {one_line(error)}; unpack it again"
            ) from None
        samples = np.frombuffer(content, "<i2")[:RATE]
        wave[: len(samples)] = samples / np.float32(2**15)
    return waves
