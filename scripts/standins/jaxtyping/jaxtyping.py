"""Stand-in for jaxtyping where it is not installed (`scripts/gpu.py`): annotations that check nothing."""

from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any


class _Annotated:
    """Return the array type and ignore the shape: `Float[Tensor, "B C"]` is Tensor."""

    def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
        return item[0]


Bool = Complex = Float = Float32 = Int = Int32 = Shaped = UInt8 = _Annotated
config = SimpleNamespace(jaxtyping_disable=True)


def jaxtyped(kind: str) -> AbstractContextManager[None]:
    """Return a context without effect: names of axes are not compared."""
    return nullcontext()
