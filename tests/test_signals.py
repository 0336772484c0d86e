"""Test signals, and processes whose parent has ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import smix
from smix.signals import TASK, is_task, on_signals, orphaned


def test_signals_are_handled_only_inside_the_block():
    caught: list[int] = []
    before = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)
    with on_signals((signal.SIGUSR1, signal.SIGUSR2), lambda number, frame: caught.append(number)):
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
    assert caught == [signal.SIGUSR1, signal.SIGUSR2]
    assert (signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGUSR2)) == before


def test_handlers_are_restored_when_the_block_fails():
    before = signal.getsignal(signal.SIGUSR1)
    with pytest.raises(ZeroDivisionError), on_signals((signal.SIGUSR1,), lambda number, frame: None):
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGUSR1) is before


def test_a_process_is_orphaned_if_another_one_started_it(monkeypatch):
    monkeypatch.delenv(TASK, raising=False)
    assert (is_task(), orphaned()) == (False, False)
    for started_by, expected in ((str(os.getppid()), False), (str(os.getpid()), True)):
        monkeypatch.setenv(TASK, started_by)
        assert (is_task(), orphaned()) == (True, expected)


def test_tasks_notice_that_their_parent_process_was_killed(tmp_path):
    child, parent = tmp_path / "child.py", tmp_path / "parent.py"
    child.write_text(
        "import sys, time; from pathlib import Path; from smix.signals import orphaned\n"
        "folder = Path(sys.argv[3])\n"
        "(folder / ('wrong' if orphaned() else 'begun')).touch()\n"
        "for _ in range(500):\n"
        "    if orphaned(): (folder / 'noticed').touch(); break\n"
        "    time.sleep(0.02)\n"
    )
    parent.write_text(
        "import sys; from pathlib import Path; from smix.lab import engines\n"
        "folder = Path(sys.argv[1])\n"
        "sys.executable = str(folder / 'python')\n"
        "engines.run_tasks([engines.Task([str(folder)], folder / 'log.txt')], 1)\n"
    )
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{child}" "$@"\n')
    (tmp_path / "python").chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(Path(smix.__file__).parents[1])}
    process = subprocess.Popen([sys.executable, str(parent), str(tmp_path)], env=environment)
    wait_for_file(tmp_path / "begun")
    process.kill()
    process.wait()
    wait_for_file(tmp_path / "noticed")
    assert not (tmp_path / "wrong").exists()


def wait_for_file(file: Path) -> None:
    """Wait for a file of another process, for some seconds at most."""
    for _ in range(500):
        if file.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{file.name} did not appear")
