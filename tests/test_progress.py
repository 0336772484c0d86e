"""Test the output of progress: lines with rate and remaining time, a bar on a terminal, nothing with --quiet."""

import io
import re
from contextlib import redirect_stderr
from types import SimpleNamespace

import pytest

from smix import progress


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    """Return a fake terminal to replace standard error inside the test, because pytest replaces it before each test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal()


def test_lines_show_progress_rate_and_remaining_time(clock, capsys):
    with progress.bar("smix, seed 0", 1000) as done:
        done(0)
        clock.now += 20
        done(100)
        clock.now += 180
        done(500)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines() == [
        "smix, seed 0: 100/1000 images, 5/s, 3 min left",
        "smix, seed 0: 500/1000 images, 2.5/s, 3 min 20 s left",
    ]


def test_without_a_total_the_number_and_the_rate_are_shown(clock, capsys, terminal):
    with progress.bar("pictures", None, "pictures") as done:
        done(0)
        clock.now += 20
        done(100, "2 could not be read")
    assert capsys.readouterr().err == "pictures: 100 pictures, 5/s, 2 could not be read\n"
    with redirect_stderr(terminal), progress.bar("pictures", None) as done:
        done(100)
    assert "100/?" in terminal.getvalue()


def test_lines_come_at_most_every_ten_seconds(clock, capsys):
    with progress.bar("title", 1000) as done:
        for count in range(0, 250, 5):
            done(count)
            clock.now += 0.5
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert progress.SECONDS_BETWEEN_LINES == 10


def test_work_of_an_earlier_command_does_not_count_for_the_rate(clock, capsys):
    with progress.bar("title", 1000) as done:
        done(900)
        clock.now += 10
        done(910)
    assert capsys.readouterr().err == "title: 910/1000 images, 1/s, 1 min 30 s left\n"


def test_no_line_is_written_before_the_first_progress(clock, capsys):
    with progress.bar("title", 1000) as done:
        for _ in range(5):
            clock.now += 100
            done(400)
    assert capsys.readouterr().err == ""


def test_lines_count_in_the_given_unit(clock, capsys):
    with progress.bar("all runs", 10, "epochs") as done:
        done(0)
        clock.now += 3600
        done(1)
    assert capsys.readouterr().err == "all runs: 1/10 epochs, 0.000278/s, 9 h 0 min left\n"


def test_quiet_writes_nothing(clock, capsys):
    with progress.bar("title", 10, quiet=True) as done:
        for count in range(11):
            clock.now += 100
            done(count)
    assert capsys.readouterr() == ("", "")


def test_quiet_writes_nothing_to_a_terminal(terminal):
    with redirect_stderr(terminal), progress.bar("title", 10, quiet=True) as done:
        done(10)
    assert terminal.getvalue() == ""


def test_a_terminal_shows_a_bar_with_title_count_and_rate(terminal):
    with redirect_stderr(terminal), progress.bar("smix, seed 0", 80, "epochs") as done:
        for count in (0, 20, 40, 80):
            done(count)
    shown = terminal.getvalue()
    assert "smix, seed 0" in shown
    assert "80/80" in shown
    assert "epochs/s" in shown
    assert "\x1b[" in shown


LONG = "objectpaste+fmix, seed 0, on NVIDIA H100 80GB HBM3 x 8"
TRAINING_TEXT = "loss 1.234, accuracy 56.7 %, validated 60.0 %"


def screen(shown: str) -> list[str]:
    """Return the lines that a terminal shows at the end."""
    last = shown[: shown.rfind("\x1b[?25h")]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", last)
    return [line.rstrip().rpartition("\r")[2] for line in plain.splitlines() if line.strip()]


@pytest.mark.parametrize("title", [LONG, "smix, seed 0, on CPU with 2 threads"])
def test_text_count_rate_and_remaining_time_fit_80_columns(terminal, monkeypatch, title):
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stderr(terminal), progress.bar(title, 7_500_000) as done:
        for count in range(0, 4_000_000, 200_000):
            done(count, TRAINING_TEXT)
    lines = screen(terminal.getvalue())
    assert lines[-3:-1] == [title, TRAINING_TEXT]
    assert re.search(r"3800000/7500000 [0-9,.]+ images/s \d+:\d\d:\d\d$", lines[-1])
    assert all(len(line) <= 80 for line in lines)
    assert "…" not in "".join(lines)


def test_training_losses_are_shown_with_rate_and_remaining_time(clock, capsys):
    with progress.bar("smix, seed 0", 1000) as done:
        done(0, "")
        clock.now += 20
        done(100, TRAINING_TEXT)
    assert capsys.readouterr().err == f"smix, seed 0: 100/1000 images, 5/s, {TRAINING_TEXT}, 3 min left\n"


def test_a_bar_is_closed_when_the_work_fails(terminal):
    def fail() -> None:
        with progress.bar("title", 10) as done:
            done(1)
            raise ZeroDivisionError

    with redirect_stderr(terminal), pytest.raises(ZeroDivisionError):
        fail()
    shown = terminal.getvalue()
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l"), "the cursor stays hidden"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (8, "8 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (185, "3 min 5 s"),
        (3599, "59 min 59 s"),
        (3599.9, "1 h 0 min"),
        (3600, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (7859, "2 h 10 min"),
        (14 * 3600, "14 h 0 min"),
        (100 * 3600 + 60, "100 h 1 min"),
    ],
)
def test_durations_are_written_in_natural_units(seconds, text):
    assert progress.duration(seconds) == text


def test_remaining_time_is_first_as_expected_and_later_as_observed():
    assert progress.time_left(done=0, total=100, elapsed=0, expected=60) == 60
    assert progress.time_left(done=0, total=100, elapsed=5, expected=60) == 55
    assert progress.time_left(done=0, total=100, elapsed=500, expected=60) == 6, "never nothing while there is work"
    assert progress.time_left(done=25, total=100, elapsed=30, expected=60) == 0.75 * (0.5 * 60 + 0.5 * 120)
    assert progress.time_left(done=50, total=100, elapsed=60, expected=1) == 60
    assert progress.time_left(done=100, total=100, elapsed=60, expected=1) == 0


def test_a_terminal_shows_the_expected_remaining_time_immediately(terminal):
    with redirect_stderr(terminal), progress.bar("all runs", 80, "epochs", expected=65):
        pass
    assert screen(terminal.getvalue())[-1].endswith("0/80  1 min 5 s left")


def test_work_of_an_earlier_command_does_not_count_for_the_remaining_time(terminal):
    with redirect_stderr(terminal), progress.bar("all runs", 80, "epochs", expected=65) as done:
        done(40)
    assert screen(terminal.getvalue())[-1].endswith("1 min 5 s left")


def test_a_finished_bar_shows_the_elapsed_time(terminal):
    with redirect_stderr(terminal), progress.bar("all runs", 80, "epochs", expected=65) as done:
        done(0)
        done(80)
    assert screen(terminal.getvalue())[-1].endswith("took 0 s")
