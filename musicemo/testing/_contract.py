"""Contracts under test: collect the violations of a component, one sentence per clause."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import Parameter, signature
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from musicemo import toml
from musicemo.components import registry
from musicemo.components.spec import (
    RESERVED,
    Component,
    check_defaults,
    make_component,
    signature_schema,
    to_toml,
)
from musicemo.contracts import PROVIDED
from musicemo.errors import InputError, MusicemoError, describe_error
from musicemo.settings import plain_message
from musicemo.training.randomness import random_state, restore_random_state, seed_everything

__all__ = ["Contract", "ContractError", "require"]


class ContractError(AssertionError):
    """A component violates its contract.

    Attributes:
        problems: clause -> a sentence with the observed violation and the rule.
    """

    def __init__(self, what: str, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        lines = [f"  {clause}: {sentence}" for clause, sentence in self.problems.items()]
        super().__init__("\n".join([f"{what} breaks its contract:", *lines]))


class _Broken(Exception):
    """One clause is broken."""


def require(condition: object, sentence: str) -> None:
    """Report a violation of the current clause unless the condition holds."""
    if not condition:
        raise _Broken(sentence)


@contextmanager
def told() -> Iterator[None]:
    """Report a violation of the current clause, with the text of an error for users."""
    try:
        yield
    except InputError as error:
        raise _Broken(str(error)) from error


class Contract:
    """The clauses of one component's contract.

    In a ``with`` statement, violations of all clauses are collected and raised at the end, and the states of the
    random number generators are restored.

    Args:
        kind: kind of the component.
        given: the class, a function that returns a component, or the installed name.
        parameters: its TOML table.

    Raises:
        ContractError: at the end of the statement.
        InputError: no component of this name is installed.
    """

    def __init__(self, kind: str, component: Any, parameters: Mapping[str, Any] | None = None) -> None:
        self.kind = kind
        self.name = (
            component
            if isinstance(component, str)
            else getattr(component, "__name__", type(component).__name__)
        )
        self.given = registry.load(kind, component) if isinstance(component, str) else component
        self.parameters = dict(parameters or {})
        self.problems: dict[str, str] = {}

    def __enter__(self) -> Contract:
        self._state = random_state()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        __tracebackhide__ = True  # pytest shows the author's own line
        restore_random_state(self._state)
        if self.problems and (error is None or isinstance(error, _Broken)):
            raise ContractError(f"{self.kind} {self.name}", self.problems) from None

    @contextmanager
    def clause(self, name: str, doing: str, *, essential: bool = False) -> Iterator[None]:
        """Check one clause: call `require`, or use the component, which may raise any error.

        Args:
            name: name of the clause.
            doing: what is done with the component, for the sentence about an error that it raises.
            essential: whether the following clauses cannot be checked if this one is violated.
        """
        try:
            yield
        except _Broken as broken:
            self.problems[name] = str(broken)
        except Exception as error:  # whatever a stranger's component raises
            self.problems[name] = f"{doing} raises {describe_error(error)}"
        if essential and name in self.problems:
            raise _Broken

    def configured(self) -> Component:
        """Check the signature, and return the component with its parameters: its TOML table."""
        with self.clause("signature", "reading its signature", essential=True):
            self._check_signature()
        with self.clause("annotations", "reading its annotations", essential=True), told():
            schema = signature_schema(self.given, PROVIDED[self.kind])
        with self.clause("defaults", "writing its defaults and reading them again", essential=True), told():
            check_defaults(schema, self.name)
        with self.clause("parameters", "reading its parameters", essential=True), told():
            try:
                component = make_component(self.kind, self.name, self.given, self.parameters)
            except ValidationError as error:
                wrong = "; ".join(
                    f"{toml.dotted(details['loc']) or 'the table'}: {plain_message(details)}"
                    for details in error.errors()
                )
                require(False, f"the parameters given, {self.parameters}, do not fit its signature: {wrong}")
        return component

    def _check_signature(self) -> None:
        for parameter in signature(self.given).parameters.values():
            name = parameter.name
            if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD) or name == "self":
                continue
            require(
                parameter.kind is not Parameter.POSITIONAL_ONLY,
                f"{name!r} is positional-only, and a key of a TOML table is passed by name",
            )
            require(
                name not in RESERVED.get(self.kind, ("type",)),
                f"{name!r} cannot be given, since that key of the table is musicemo's own; rename the parameter",
            )


def built(contract: Contract, component: Component, seed: int = 0, **provided: Any) -> Any:
    """Return the component, constructed as in a run."""
    seed_everything(seed)
    try:
        return component.build(**provided)
    except MusicemoError as error:
        raise _Broken(f"cannot be constructed with {to_toml(component.parameters)}: {error}") from error


def check_pickle(contract: Contract, component: Any) -> Any:
    """Check that an object can be pickled, and return the unpickled object."""
    arrived = None
    with contract.clause("pickle", "pickling it for a worker process"):
        arrived = pickle.loads(pickle.dumps(component))  # noqa: S301  # our own bytes, made in the same expression
    return arrived


def check_tensors(contract: Contract, module: nn.Module) -> None:
    """Check that a module's tensors follow it to another device."""
    with contract.clause("device", "looking at its attributes"):
        for path, inner in module.named_modules():
            for name, value in vars(inner).items():
                where = ".".join(filter(None, [path, name]))
                require(
                    not isinstance(value, Tensor),
                    f"the tensor {where!r} is a plain attribute and stays behind when the network moves to another "
                    "device; register it with register_buffer",
                )


def same(left: Tensor, right: Tensor) -> bool:
    """Return whether two tensors are equal. NaN, which has its own clause, is equal to NaN."""
    return left.shape == right.shape and left.dtype == right.dtype and bool(_alike(left, right).all())


def difference(left: Tensor, right: Tensor) -> float:
    """Return the largest absolute difference of two tensors of one shape; infinity where only one is finite."""
    if left.shape != right.shape:
        return float("inf")
    differences = torch.where(_alike(left, right), 0.0, (left.double() - right.double()).abs())
    return float(differences.nan_to_num(nan=torch.inf).max()) if differences.numel() else 0.0


def _alike(left: Tensor, right: Tensor) -> Tensor:
    return (left == right) | (left.isnan() & right.isnan())
