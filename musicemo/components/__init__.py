"""Components and plugins: registries, specifications, local files, documentation of parameters."""
