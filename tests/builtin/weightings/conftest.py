"""Makes the helpers of the training tests importable."""
