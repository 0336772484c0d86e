"""Test speech-commands on a small copy of its folder layout, and compare its spectrograms with librosa and with pure tones."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import wavfile

from smix import load_data
from smix.data import speech
from smix.data.mel import BANDS, FLOOR, FRAMES, RATE, TRANSFORM, hertz, mel, spectrograms, triangles
from smix.data.speech import CACHE
from smix.errors import DataError, RunError

SECONDS = np.arange(RATE) / RATE


def sine(frequency: float, amplitude: float = 1.0) -> NDArray:
    return (amplitude * np.sin(2 * np.pi * frequency * SECONDS))[None]


def decibels(waves: NDArray) -> NDArray:
    """Return the decibels that the levels of spectrograms represent."""
    return FLOOR + spectrograms(waves) * (-FLOOR / 255)


# spectrograms


@pytest.fixture(scope="module")
def librosa(tmp_path_factory) -> Iterator[ModuleType]:
    """Return librosa, which otherwise stores compiled code next to itself or in the home directory."""
    with pytest.MonkeyPatch.context() as patch:
        numba = pytest.importorskip("numba")
        patch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR or str(tmp_path_factory.mktemp("numba")))
        yield pytest.importorskip("librosa")  # its submodules are loaded on first access


@pytest.mark.slow
def test_the_mel_filters_equal_those_of_librosa(librosa):
    theirs = librosa.filters.mel(sr=RATE, n_fft=TRANSFORM, n_mels=BANDS, fmin=0, fmax=RATE / 2, htk=False, norm=None)
    assert np.abs(triangles() - theirs).max() < 1e-5


@pytest.mark.slow
def test_the_spectrograms_equal_those_of_librosa(librosa):
    rng = np.random.default_rng(0)
    chirp = np.sin(2 * np.pi * (100 + 3500 * SECONDS) * SECONDS)
    waves = np.stack([rng.normal(0, 0.1, RATE), chirp, 0.01 * rng.normal(0, 1, RATE) * SECONDS]).astype(np.float32)
    ours = spectrograms(waves)
    assert ours.shape == (3, BANDS, FRAMES)
    margin = (TRANSFORM - 400) // 2  # librosa centres the window in the transform
    for wave, image in zip(waves, ours, strict=True):
        power = librosa.feature.melspectrogram(
            y=np.pad(wave, margin),
            sr=RATE,
            n_fft=TRANSFORM,
            win_length=400,
            hop_length=160,
            center=False,
            n_mels=BANDS,
            norm=None,
        )
        levels = (librosa.power_to_db(power / 100**2, ref=1.0, amin=1e-12, top_db=None) - FLOOR) / -FLOOR * 255
        assert np.abs(image - np.clip(levels, 0, 255)).max() <= 0.51


def test_the_spectrogram_equals_an_explicit_fourier_sum():
    """One band of one window is computed term by term."""
    wave = np.random.default_rng(1).normal(0, 0.2, RATE)
    frame, band = 31, 20
    total = 0.0
    for number in range(TRANSFORM // 2 + 1):
        term = sum(
            wave[160 * frame + place]
            * np.sin(np.pi * place / 400) ** 2
            * np.exp(-2j * np.pi * number * place / TRANSFORM)
            for place in range(400)
        )
        total += triangles()[band, number] * abs(term / 100) ** 2
    assert abs(decibels(wave[None])[0, band, frame] - 10 * np.log10(total)) <= 0.51 * -FLOOR / 255


@pytest.mark.parametrize("band", [0, 3, 20, 40, 63])
def test_a_sine_is_loudest_in_the_band_of_its_frequency_at_all_times(band):
    peaks = hertz(np.linspace(0, mel(np.array(RATE / 2)), BANDS + 2))[1:-1]
    image = spectrograms(sine(peaks[band], 0.05))[0]
    assert (image.argmax(0) == band).all()
    assert np.ptp(image[band].astype(int)) <= 8


def test_decibels_are_relative_to_a_sine_of_full_scale():
    quiet, loud = (decibels(sine(1000.0, amplitude))[0].max() for amplitude in (0.01, 0.1))
    assert loud - quiet == pytest.approx(20, abs=0.4)
    # Its energy is divided between two bands, and among the neighbouring frequencies of the window.
    assert loud == pytest.approx(-20, abs=2)
    assert not spectrograms(np.zeros((1, RATE))).any()
    assert spectrograms(sine(1000.0)).max() > 250


def test_a_click_is_at_its_time_and_low_frequencies_are_first():
    wave = np.zeros((1, RATE))
    wave[0, 8000] = 1
    heard = spectrograms(wave)[0].any(0).nonzero()[0]
    assert heard.min() == 48  # the first window that ends after it: 48 x 160 + 400 > 8000, where 47 x 160 + 400 is 7920
    assert heard.max() == 49  # 50 x 160 = 8000 starts with it, where the window is 0
    low, high = spectrograms(sine(200.0))[0].argmax(0)[0], spectrograms(sine(4000.0))[0].argmax(0)[0]
    assert low < high


def test_no_band_is_empty_and_the_mel_scale_is_invertible():
    assert (triangles().max(1) > 0.5).all()
    frequencies = np.linspace(0, 8000, 1000)
    assert np.allclose(hertz(mel(frequencies)), frequencies)
    assert float(mel(np.array(1000.0))) == pytest.approx(15)


# the data set

TESTING = ["yes/b_nohash_0.wav", "no/a_nohash_1.wav"]


def write_recording(path: Path, samples: NDArray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, rate, samples)


@pytest.fixture
def home(tmp_path) -> Path:
    """Write three words with 3, 2 and 1 recordings, of which 2 are test recordings."""
    home, rng = tmp_path / "speech_commands_v0.02", np.random.default_rng(0)
    lengths = {"no/a_nohash_0": 16000, "no/a_nohash_1": 12000, "no/c_nohash_0": 16000, "up/a_nohash_0": 16000}
    for name, length in {**lengths, "yes/a_nohash_0": 20000, "yes/b_nohash_0": 16000}.items():
        write_recording(home / f"{name}.wav", rng.normal(0, 2000, length).astype(np.int16))
    write_recording(home / "_background_noise_/white_noise.wav", np.zeros(30000, np.int16))
    (home / "testing_list.txt").write_text("".join(f"{name}\n" for name in TESTING))
    (home / "validation_list.txt").write_text("no/c_nohash_0.wav\n")
    return home


def image_of(path: Path) -> NDArray:
    samples = wavfile.read(path)[1][:RATE] / 2**15
    return spectrograms(np.pad(samples, (0, RATE - len(samples)))[None])[0]


def test_the_testing_list_is_the_test_split_and_all_others_are_the_train_split(home, tmp_path):
    train, test = (load_data("speech-commands", tmp_path, split) for split in ("train", "test"))
    assert train.classes == test.classes == ("no", "up", "yes")
    paths = ["no/a_nohash_0.wav", "no/c_nohash_0.wav", "up/a_nohash_0.wav", "yes/a_nohash_0.wav"]
    assert train.labels.tolist() == [0, 0, 1, 2]
    assert test.labels.tolist() == [0, 2]
    assert (train.size, train.channels) == ((64, 98), 1)
    for data, files in ((train, paths), (test, sorted(TESTING))):
        assert np.array_equal(data.images[..., 0], np.stack([image_of(home / file) for file in files]))


@pytest.mark.slow
def test_spectrograms_are_cached_until_files_or_parameters_change(home, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(speech, "spectrograms", lambda waves: made.append(len(waves)) or spectrograms(waves))
    first = load_data("speech-commands", tmp_path)
    assert load_data("speech-commands", tmp_path).fingerprint == first.fingerprint
    load_data("speech-commands", tmp_path, "test")
    assert made == [6]
    assert (home / CACHE).is_file()
    write_recording(home / "up/b_nohash_0.wav", np.ones(16000, np.int16))
    assert len(load_data("speech-commands", tmp_path)) == 5
    assert made == [6, 7]
    monkeypatch.setattr(speech, "PARAMETERS", {**speech.PARAMETERS, "floor": -60.0})
    load_data("speech-commands", tmp_path)
    assert made == [6, 7, 7]
    (home / "testing_list.txt").write_text("yes/b_nohash_0.wav\n")
    assert len(load_data("speech-commands", tmp_path)) == 6
    assert made == [6, 7, 7, 7]


@pytest.mark.parametrize("spoil", ["cut", "empty", "other"])
def test_broken_spectrograms_are_computed_again(home, tmp_path, spoil):
    before = load_data("speech-commands", tmp_path).fingerprint
    whole = (home / CACHE).read_bytes()
    (home / CACHE).write_bytes({"cut": whole[: len(whole) // 2], "empty": b"", "other": b"\x93NUMPY"}[spoil])
    assert load_data("speech-commands", tmp_path).fingerprint == before
    assert (home / CACHE).read_bytes() == whole


def test_an_interrupted_command_leaves_no_incomplete_file(home, tmp_path, monkeypatch):
    def interrupt(waves: NDArray) -> NDArray:
        raise KeyboardInterrupt

    monkeypatch.setattr(speech, "spectrograms", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load_data("speech-commands", tmp_path)
    assert not list(home.glob("*smix*"))


def test_threads_and_batches_do_not_change_spectrograms(home, tmp_path, monkeypatch):
    before = load_data("speech-commands", tmp_path).images
    (home / CACHE).unlink()
    monkeypatch.setattr(speech, "WAVES_PER_TASK", 2)
    assert np.array_equal(load_data("speech-commands", tmp_path).images, before)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_a_one_line_error(home, tmp_path):
    home.chmod(0o500)
    with pytest.raises(RunError, match="cannot write to this folder"):
        load_data("speech-commands", tmp_path)


def one_line(data_root: Path, *parts: str) -> None:
    with pytest.raises(DataError) as caught:
        load_data("speech-commands", data_root)
    assert "\n" not in str(caught.value)
    for part in parts:
        assert part in str(caught.value)
    assert not list(data_root.glob(f"*/{CACHE}"))


def test_missing_speech_commands_are_reported_with_their_address(tmp_path):
    address = "download http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz and unpack it in"
    one_line(tmp_path, "there is no folder", address)


@pytest.mark.parametrize("missing", ["testing_list.txt", "yes", TESTING[0]])
def test_missing_files_are_named(home, tmp_path, missing):
    shutil.rmtree(home / missing) if missing == "yes" else (home / missing).unlink()
    one_line(
        tmp_path,
        "is incomplete or damaged",
        "testing_list.txt" if "txt" in missing else TESTING[0],
        "; unpack http",
    )


def test_an_empty_testing_list_is_reported(home, tmp_path):
    (home / "testing_list.txt").write_text("")
    one_line(tmp_path, "6 training recordings and 0 test recordings")


@pytest.mark.parametrize(
    ("samples", "rate", "got"),
    [
        (np.zeros(8000, np.int16), 8000, "8000 Hz, 16 bits, 1 channels"),
        (np.zeros((16000, 2), np.int16), RATE, "16000 Hz, 16 bits, 2 channels"),
        (np.zeros(16000, np.uint8), RATE, "16000 Hz, 8 bits"),
        (np.zeros(16000, np.float32), RATE, "unknown format: 3"),
    ],
)
def test_unsupported_audio_formats_are_reported(home, tmp_path, samples, rate, got):
    write_recording(home / "up/a_nohash_0.wav", samples, rate)
    one_line(tmp_path, "up/a_nohash_0.wav: expected a wav file of 16 kHz, 16 bits and one channel, got", got)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"none of these"])
def test_a_broken_recording_is_reported(home, tmp_path, content):
    (home / "up/a_nohash_0.wav").write_bytes(content)
    one_line(tmp_path, "up/a_nohash_0.wav: expected a wav file", "unpack it again")


@pytest.mark.parametrize("length", [12, 20, 30, 40, 44, 50, 1001, 9000, 32043])
def test_a_truncated_recording_is_reported(home, tmp_path, length):
    path = home / "up/a_nohash_0.wav"
    path.write_bytes(path.read_bytes()[:length])
    one_line(tmp_path, "up/a_nohash_0.wav: expected a wav file", "unpack it again")
