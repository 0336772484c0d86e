"""Checks of the arguments of mixing methods. All of them raise DataError or OptionError.

Shapes, types and devices are always checked. Values are checked only on the CPU and outside of torch.compile: on a GPU that would
wait for the device, and a compiled graph would break.
"""

import math
from collections.abc import Sequence
from dataclasses import fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from smix.errors import DataError, OptionError


def check_options(options: Any) -> None:
    """Check the options of a frozen dataclass by the types of its fields, and convert numbers to Python's int and float.

    NumPy's numbers are accepted. Where a float is expected, 2 becomes 2.0, since torch would make an integer tensor of 2.

    Raises:
        OptionError: An option has the wrong type, or is not one of the choices of a Literal.
    """
    hints = get_type_hints(type(options))
    for field in fields(options):
        hint, value = hints[field.name], getattr(options, field.name)
        types = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        takes_number = int in types or float in types
        takes_tuple = any(get_origin(type_) is tuple and float in get_args(type_) for type_ in types)
        if get_origin(hint) is Literal:
            check_choice(options, field.name, get_args(hint))
        if value is None and NoneType in types:
            continue
        try:
            if takes_tuple and isinstance(value, tuple):
                value = tuple(map(_as_float, value))
            elif takes_number:
                # A float is not truncated: the check of the range refuses it.
                value = int(value) if int in types and _is_whole(value) else _as_float(value)
        except TypeError:
            number = "a whole number" if int in types else "a number"
            expected = " or ".join([number] * takes_number + ["a tuple of numbers"] * takes_tuple)
            raise OptionError(f"{field.name}: expected {expected}, got {value!r}") from None
        object.__setattr__(options, field.name, value)


def check_choice(options: object, name: str, choices: Sequence[str]) -> None:
    """Raise OptionError unless the value of an option is one of the choices."""
    value = getattr(options, name)
    if value not in choices:
        *others, last = (f'"{choice}"' for choice in choices)
        method = type(options).__name__.lower()
        raise OptionError(f'{method}: expected {name} {", ".join(others)} or {last}, got "{value}"')


def _as_float(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):  # float("1") is a number
        raise TypeError
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf  # type: ignore[operator]


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and math.isfinite(_as_float(value))


def _can_read(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _check_tensor(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise DataError(f"{name}: expected a tensor, got {type(value).__name__}; convert it with torch.as_tensor")


def check_images(x: Tensor) -> None:
    """Check images (B, C, *S): floating point, finite, with 1 to 3 spatial dimensions."""
    _check_tensor("x", x)
    if not 3 <= x.ndim <= 5:
        raise DataError(
            f"x: expected (B, C, *S) with 1, 2 or 3 spatial dimensions, got shape {tuple(x.shape)}; a single image needs x[None]"
        )
    if not x.is_floating_point():
        raise DataError(f"x: expected floating-point images, got {x.dtype}; convert and normalise them first")
    if not all(x.shape[2:]):
        raise DataError(f"x: expected at least one pixel along each axis, got shape {tuple(x.shape)}")
    # One pass if all pixels are finite; the sum may be infinite although no pixel is.
    if _can_read(x) and not math.isfinite(x.sum(dtype=torch.float32).item()) and not x.isfinite().all():
        raise DataError("x: the images contain NaN or infinity; check the data before mixing")


def check_generator(generator: torch.Generator | None, device: torch.device) -> None:
    """Check that a generator is on this device."""
    if generator is None:
        return
    own = generator.device
    if device.type != own.type or (None not in (device.index, own.index) and device.index != own.index):
        raise DataError(
            f"generator: expected a generator on {device} like the images, got one on {own}; "
            f"create it with torch.Generator({str(device)!r})"
        )


def check_valid(valid: Tensor, x: Tensor) -> None:
    """Check that there is one bool per image."""
    _check_tensor("valid", valid)
    if valid.shape != x.shape[:1] or valid.dtype != torch.bool or valid.device != x.device:
        raise DataError(
            f"valid: expected a bool tensor of shape {tuple(x.shape[:1])} on {x.device}, "
            f"got {valid.dtype} of shape {tuple(valid.shape)} on {valid.device}"
        )


def check_masks(masks: Tensor, x: Tensor) -> Tensor:
    """Check masks, (B, 1, *S) or (B, *S) with values in [0, 1], and return them as float32 (B, 1, *S)."""
    _check_tensor("masks", masks)
    batch, size = x.shape[:1], x.shape[2:]
    if masks.shape not in ((*batch, 1, *size), (*batch, *size)):
        raise DataError(
            f"masks: expected shape {(*batch, 1, *size)} or {(*batch, *size)} for images {tuple(x.shape)}, got {tuple(masks.shape)}"
        )
    if masks.device != x.device:
        raise DataError(
            f"masks: expected masks on {x.device} like the images, got {masks.device}; move them with .to()"
        )
    if not (masks.dtype in (torch.bool, torch.uint8) or masks.is_floating_point()):
        raise DataError(f"masks: expected bool, uint8 or floating point, got {masks.dtype}; convert them with .bool()")
    if masks.dtype != torch.bool and _can_read(x) and masks.numel():
        low, high = masks.aminmax()
        if not (low >= 0 and high <= 1):
            raise DataError(f"masks: expected values in [0, 1], got {low:g} to {high:g}; divide 8-bit masks by 255")
    if masks.dtype == torch.bool:
        # Four times faster to convert than bool. Some image libraries (Pillow) store True as 255.
        masks = masks.view(torch.uint8).clamp(max=1)
    return masks.reshape(*batch, 1, *size).float()


def check_out(out: Tensor, x: Tensor) -> None:
    """Check that a buffer has the shape, type and device of the images but its own memory, and that no gradient is needed."""
    if (out.shape, out.dtype, out.device) != (x.shape, x.dtype, x.device):
        raise DataError(
            f"out: expected {x.dtype} of shape {tuple(x.shape)} on {x.device} like the images, "
            f"got {out.dtype} of shape {tuple(out.shape)} on {out.device}"
        )
    address = 0 if torch.compiler.is_compiling() else out.untyped_storage().data_ptr()  # 0 also for empty tensors
    if address and address == x.untyped_storage().data_ptr():
        raise DataError("out: the buffer shares memory with the images; create it with torch.empty_like(x)")
    if torch.is_grad_enabled() and (x.requires_grad or out.requires_grad):
        name = "images require" if x.requires_grad else "buffer requires"
        raise DataError(f"out: a buffer cannot be used with autograd, and the {name} grad; omit out=")


def check_labels(y: Tensor, count: int, device: torch.device) -> None:
    """Check labels: int64 class numbers (B,), or finite floating-point rows (B, K)."""
    _check_tensor("y", y)
    if y.ndim not in (1, 2) or len(y) != count:
        raise DataError(f"y: expected {count} labels, shape ({count},) or ({count}, K), got shape {tuple(y.shape)}")
    if (y.ndim == 1) == y.is_floating_point() or (y.ndim == 1 and y.dtype != torch.int64):
        raise DataError(
            f"y: expected int64 class numbers (B,) or floating-point rows (B, K), got {y.dtype} of shape {tuple(y.shape)}"
        )
    if y.device != device:
        raise DataError(f"y: expected labels on {device} like the images, got {y.device}; move them with .to()")
    if not (_can_read(y) and y.numel()):
        return
    if y.ndim == 1 and (minimum := int(y.min())) < 0:
        raise DataError(f"y: expected class numbers from 0, got {minimum}; remove images without a label")
    if y.ndim == 2 and not math.isfinite(y.sum(dtype=torch.float32).item()):
        raise DataError("y: the labels contain NaN or infinity; check the data before mixing")


def check_classes(y: Tensor, count: int, shape: Sequence[int]) -> None:
    """Check that labels fit logits, or rows, of this shape (B, K)."""
    if len(shape) != 2 or shape[0] != count:
        raise DataError(f"logits: expected shape ({count}, K) for {count} labels, got {tuple(shape)}")
    if y.ndim == 2 and y.shape[1] != shape[1]:
        raise DataError(
            f"y: expected rows of {shape[1]} classes, got {y.shape[1]}; labels and logits need the same number of classes"
        )
    if y.ndim == 1 and _can_read(y) and y.numel() and (maximum := int(y.max())) >= shape[1]:
        raise DataError(
            f"y: expected class numbers below {shape[1]}, got {maximum}; use at least {maximum + 1} classes"
        )


def check_class_weight(class_weight: Tensor, kind: str, y: Tensor, classes: int) -> None:
    """Check class weights (K,): floating point, for cross-entropy with class numbers."""
    if kind != "ce" or y.ndim != 1:
        raise OptionError(
            f'loss: class_weight requires kind "ce" and class numbers, got kind "{kind}" and labels of shape '
            f'{tuple(y.shape)}; use reduction="none" and weight the losses yourself'
        )
    _check_tensor("class_weight", class_weight)
    if class_weight.shape != (classes,) or class_weight.device != y.device or not class_weight.is_floating_point():
        raise DataError(
            f"class_weight: expected floating-point numbers of shape ({classes},) on {y.device}, "
            f"got {class_weight.dtype} of shape {tuple(class_weight.shape)} on {class_weight.device}"
        )


def check_blend(x: Tensor, weight: Tensor) -> None:
    """Check that images fit a plan with these maps."""
    if len(x) != len(weight):
        raise DataError(
            f"blend: this plan was drawn for {len(weight)} images, got {len(x)}; pass the same batch, or draw a new plan"
        )
    size = tuple(weight.shape[2:])
    if x.ndim != weight.ndim or not all(side in (1, length) for side, length in zip(size, x.shape[2:], strict=True)):
        raise DataError(
            f"blend: this plan was drawn for images of size {size}, got shape {tuple(x.shape)}; draw a new plan for them"
        )
    if not x.is_floating_point():
        raise DataError(f"blend: expected floating-point images, got {x.dtype}; convert and normalise them first")
