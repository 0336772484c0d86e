"""Test the guarantees in docs/security.md against malicious files, folders and names."""
