"""Import optional dependencies, such as datasets and onnxruntime."""

from importlib import import_module
from typing import Any

from smix.errors import SmixError


def import_optional(package: str, extra: str, error: type[SmixError]) -> Any:
    """Import a package that one of smix's extras installs.

    Args:
        package: Name of the package in an import statement.
        extra: Name of the extra, as in `pip install "smix[EXTRA]"`.
        error: Class of the error to raise if the package is not installed.

    Returns:
        The imported module.

    Raises:
        SmixError: The package is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise error(f"{package} is not installed; run pip install 'smix[{extra}]'") from None
