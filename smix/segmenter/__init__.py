"""Fit the network that comes with smix, or another one, to images with masks."""
