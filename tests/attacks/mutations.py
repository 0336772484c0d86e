"""Mutate file contents: random damage, as from disks and networks, and hostile values."""

import io
import json
import random
import zipfile
from contextlib import suppress
from typing import Any

import numpy as np

from smix.untrusted import with_checksum

HOSTILE: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e-300, 1e300, 10**18, 2**63, 10**400, -(10**30)),
    *(
        "",
        " ",
        "a",
        "0",
        "../x",
        "/etc/passwd",
        "a\nb",
        "a\x00b",
        "\x1b[2J",
        "\ud800",
        "\u202e",
        "x" * 5000,
        "nan",
        "{}",
        "=1+1",
    ),
    *([], [[]], {}, {"": []}, [None] * 50, [0] * 1000),
)
DEEP = '{"a":' * 3000 + "1" + "}" * 3000
NUMBERS = ("NaN", "-Infinity", "1e999", "1e-999", "-0", "0x10", "1_000", "٣")


def damage_bytes(content: bytes, draws: random.Random) -> bytes:
    """Damage a part of the content: flip, cut, drop, insert, swap, repeat or blank it."""
    size = len(content)
    start = draws.randrange(size + 1)
    length = min(size - start, draws.choice((1, 2, 8, 64, 1024)))
    end = start + length
    part = content[start:end]
    kind = draws.choice(("flip", "cut", "drop", "insert", "swap", "repeat", "blank", "extend"))
    if kind == "flip" and part:
        changed = bytearray(content)
        for _ in range(draws.choice((1, 1, 2, 16))):
            changed[draws.randrange(size)] ^= 1 << draws.randrange(8)
        return bytes(changed)
    if kind == "cut":
        return content[:start]
    if kind == "drop":
        return content[:start] + content[end:]
    if kind == "insert":
        return content[:start] + draws.randbytes(max(1, length)) + content[start:]
    if kind == "swap":
        other = draws.randrange(size + 1)
        low, high = sorted((start, other))
        middle = content[low:high]
        return content[:low] + middle[len(middle) // 2 :] + middle[: len(middle) // 2] + content[high:]
    if kind == "repeat":
        return content[:end] + part * draws.choice((1, 3)) + content[end:]
    if kind == "blank":
        return content[:start] + bytes(length) + content[end:]
    return content + draws.randbytes(draws.choice((1, 100)))


def replace_item(value: Any, draws: random.Random) -> Any:
    """Drop, add, exchange or replace an item at any depth of a JSON value."""
    if isinstance(value, dict | list) and value and draws.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key, copy = draws.choice(keys), value.copy()
        kind = draws.random()
        if kind < 0.15:
            del copy[key]
        elif kind < 0.25 and isinstance(copy, dict):
            copy[draws.choice(("x", "", "format", "sha256", str(key) + " "))] = draws.choice(HOSTILE)
        elif kind < 0.35:
            other = draws.choice(keys)
            copy[key], copy[other] = copy[other], copy[key]
        else:
            copy[key] = replace_item(value[key], draws)
        return copy
    return draws.choice(HOSTILE)


def make_json_hostile(content: bytes, draws: random.Random, lines: bool = False, seal: bool = False) -> bytes:
    """Replace a value in a JSON file, or in one line of a JSON Lines file, by a hostile one.

    Args:
        content: Bytes of the file.
        draws: Random generator.
        lines: True for JSON Lines.
        seal: Update the sha256 that the object contains.
    """
    texts = content.decode().splitlines() if lines else [content.decode()]
    place = draws.randrange(len(texts))
    kind = draws.random()
    if kind < 0.04:
        texts[place] = DEEP
    elif kind < 0.08:
        texts[place] = texts[place].replace(": ", f": {draws.choice(NUMBERS)}, ", 1)
    elif kind < 0.12:
        digits = [at for at, character in enumerate(texts[place]) if character.isdigit()]
        at = draws.choice(digits) if digits else 0
        texts[place] = texts[place][:at] + draws.choice(NUMBERS) + texts[place][at + 1 :]
    elif kind < 0.16:
        inner = texts[place].strip().removeprefix("{")
        texts[place] = "{" + inner.split(",")[0] + "," + inner  # a duplicate key
    else:
        value = json.loads(texts[place])
        if isinstance(value, dict):
            value.pop("sha256", None)
        value = replace_item(value, draws)
        try:
            texts[place] = with_checksum(value).decode() if seal and isinstance(value, dict) else json.dumps(value)
        except (ValueError, TypeError):
            texts[place] = json.dumps(value)
    return "\n".join(texts).encode("utf-8", "surrogatepass")


def make_npz_hostile(content: bytes, draws: random.Random) -> bytes:
    """Exchange, drop, reshape or fill arrays of an .npz file, or write another header, with valid checksums of the archive."""
    with np.load(io.BytesIO(content)) as file:
        arrays: dict[str, Any] = dict(file)
    name, other = draws.choice(list(arrays)), draws.choice(list(arrays))
    array = arrays[name]
    kind = draws.choice(("drop", "exchange", "reshape", "fill", "type", "shorten", "header", "add", "empty"))
    if kind == "drop":
        del arrays[name]
    elif kind == "exchange":
        arrays[name], arrays[other] = arrays[other], arrays[name]
    elif kind == "reshape":
        arrays[name] = array.reshape(draws.choice(((-1,), (1, -1), (*array.shape, 1), array.shape[::-1])))
    elif kind == "fill" and array.dtype.kind in "fiu":
        limits = (
            (np.nan, np.inf, -np.inf)
            if array.dtype.kind == "f"
            else (np.iinfo(array.dtype).min, np.iinfo(array.dtype).max)
        )
        array.reshape(-1)[draws.randrange(max(1, array.size)) : array.size] = draws.choice(limits)
    elif kind == "type":
        with suppress(ValueError, TypeError):  # text cannot become a time
            arrays[name] = array.astype(
                draws.choice(("f2", "f8", "i1", "u8", "U5", "c16", "?", "S3", "M8[s]")), casting="unsafe"
            )
    elif kind == "shorten":
        arrays[name] = array[: len(array) // 2] if array.ndim else array
    elif kind == "add":
        arrays["x" * 300] = array
    elif kind == "empty":
        arrays[name] = array[:0] if array.ndim else array
    buffer = io.BytesIO()
    if kind != "header":
        np.savez(buffer, **arrays)
        return buffer.getvalue()
    text = f"{{'descr': {draws.choice(('<f4', '|O', '<U9999999', '>i8', [('a', '<f4')]))!r}, 'fortran_order': {draws.choice((True, 7))}, "
    text += f"'shape': {draws.choice(((10**12,), (2**32, 2**32), (-1,), (), ('a',), (3,)))!r}, }}"
    header = text.encode()[: draws.choice((20, 500))].ljust(118) + b"\n"
    with zipfile.ZipFile(buffer, "w") as archive:
        for each, values in arrays.items():
            plain = io.BytesIO()
            np.save(plain, values)
            array_file = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)
            archive.writestr(f"{each}.npy", array_file if each == name else plain.getvalue())
    return buffer.getvalue()
