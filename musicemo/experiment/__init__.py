"""The experiment: the schema of the TOML, its variants and overrides, and its resolved form."""

from musicemo.components.spec import Component
from musicemo.experiment.experiment import (
    Experiment,
    Replicate,
    load_benchmark,
    load_experiment,
    load_experiments,
    validate_experiment,
)
from musicemo.experiment.protocol import Protocol, load_protocol
from musicemo.experiment.schema import ExperimentTable

__all__ = [
    "Component",
    "Experiment",
    "ExperimentTable",
    "Protocol",
    "Replicate",
    "load_benchmark",
    "load_experiment",
    "load_experiments",
    "load_protocol",
    "validate_experiment",
]
