"""Built-in sharing architectures, one a file, found through the entry points in `pyproject.toml`."""
