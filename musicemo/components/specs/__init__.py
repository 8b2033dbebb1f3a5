"""Components in an experiment: their tables validated against their own signatures."""

from musicemo.components.specs.component import Component, check_declared, default_component, make_component
from musicemo.components.specs.finding import Components
from musicemo.components.specs.table import RESERVED, check_defaults, plain, table_schema

__all__ = [
    "RESERVED",
    "Component",
    "Components",
    "check_declared",
    "check_defaults",
    "default_component",
    "make_component",
    "plain",
    "table_schema",
]
