"""Components in an experiment: their tables validated against their own signatures."""

from musicemo._components.component import Component, check_declared, default_component, make_component
from musicemo._components.finding import Components
from musicemo._components.table import RESERVED, check_defaults, plain, table_schema

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
