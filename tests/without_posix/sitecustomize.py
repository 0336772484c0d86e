"""Hide features that only POSIX systems have, before a program starts. Used by adding this folder to PYTHONPATH.

Packages that smix needs are imported first, because they check `sys.platform`, which is unchanged.
"""

import os
import signal
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import filelock  # noqa: F401
import torch  # noqa: F401
import torchvision  # noqa: F401

MODULES = ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "readline", "curses")
SIGNALS_OF_WINDOWS = ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN")
FUNCTIONS = {
    signal: "alarm setitimer getitimer pause pthread_kill pthread_sigmask sigwait siginterrupt",
    os: "fork forkpty register_at_fork sched_getaffinity sched_setaffinity geteuid getuid getegid getgid setsid killpg "
    "getpgid getpgrp getloadavg sysconf statvfs chown fchown fchmod mkfifo nice pread pwrite O_NOFOLLOW",
}


class Hidden(MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hidden())
for name in MODULES:
    sys.modules.pop(name, None)
for module, names in FUNCTIONS.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for name in dir(signal):
    if name.startswith("SIG") and name not in SIGNALS_OF_WINDOWS:
        delattr(signal, name)
