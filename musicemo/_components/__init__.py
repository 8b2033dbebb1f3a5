"""Components in an experiment: their tables validated against their own signatures."""

from musicemo._components.component import (
    Component,
    check_declared,
    default_component,
    make_component,
    plain,
)
from musicemo._components.finding import Components

__all__ = ["Component", "Components", "check_declared", "default_component", "make_component", "plain"]
