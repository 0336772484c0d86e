"""Version of smix. The build reads it here, and so does smix, which may run from a source tree that is not installed."""

__version__ = "0.1.0"
