"""Version of smix, read from here by the build and by smix itself, which may run from a source tree that is not installed."""

__version__ = "0.1.0"
