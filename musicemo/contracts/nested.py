"""Components inside the table of another component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = ["ComponentTable", "NestedComponent"]


@dataclass(frozen=True, slots=True)
class ComponentTable:
    """Marks a parameter that is the table of another component, or a list of such tables.

        members: list[Annotated[dict[str, Any], ComponentTable("model")]]

    The core checks these tables like others of their kind, and records their defaults. The constructor gets a
    `NestedComponent` for each.

    Attributes:
        kind: Kind of the component.
        settings: Pydantic model of further keys of the table, or None.
    """

    kind: str
    settings: type[BaseModel] | None = None


class NestedComponent(Protocol):
    """A component of a table, which has not been constructed yet."""

    #: Value of ``type``.
    name: str
    #: The further keys, if the `ComponentTable` has a model of them.
    settings: Any

    def build(self, **provided: Any) -> Any:
        """Construct the component with its parameters and those of `provided` that its constructor names.

        Raises:
            InputError: The constructor rejects the parameters.
        """
