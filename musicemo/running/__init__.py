"""Running experiments: from a validated experiment to finished runs."""
