"""Modify the files of a run and update their checksums, as an attacker or an older version could."""

import json
from pathlib import Path
from typing import Any

from smix.training.records import CHECKSUMMED
from smix.untrusted import with_checksum


def edit(file: Path, **changes: Any) -> None:
    """Change values of a JSON file that contains its own sha256. The value `...` removes a key."""
    values = {**json.loads(file.read_text()), **changes}
    del values["sha256"]
    file.write_bytes(with_checksum({name: value for name, value in values.items() if value is not ...}))
    if file.name in CHECKSUMMED:
        reseal(file.parent)


def reseal(run: Path) -> None:
    """Update the checksums in result.json to the present files of a finished run."""
    from smix import files

    if (run / "result.json").is_file():
        edit(
            run / "result.json",
            files={name: files.sha256(run / name) for name in CHECKSUMMED if (run / name).is_file()},
        )
