"""Components in local files that an experiment names: ``type = "./my_model.py:MyModel"``."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from musicemo.errors import InputError, MusicemoError, nearest
from musicemo.files import expanded

__all__ = [
    "LocalCode",
    "Policy",
    "describe_code",
    "is_local",
    "kept",
    "line_of",
    "told_by_line",
    "unplaced",
    "without_places",
]

#: Treatment of the files of code that an experiment names: ``execute`` them, execute only the copies that are ``kept``
#: in the run directory of the experiment file, only ``read`` their source, or ``refuse`` them.
Policy = Literal["execute", "kept", "read", "refuse"]

#: File name and folder of code in a run directory.
_KEPT = re.compile(r"^(?P<stem>.+)-(?P<digits>[0-9a-f]{8})$")
_FOLDER = "code"


def is_local(name: str) -> bool:
    """Return whether a component's ``type`` is a place in a file instead of a registered name."""
    return "/" in name or "\\" in name or name.partition(":")[0].endswith(".py")


def unplaced(name: str) -> str:
    """Return a component's name; for a local one, ``FILE.py:NAME`` without folder and hash."""
    if not is_local(name):
        return name
    file, _, attribute = name.rpartition(":")
    stem = Path(file).stem
    copy = _KEPT.match(stem)
    return f"{copy['stem'] if copy else stem}.py:{attribute}"


@dataclass(frozen=True, slots=True)
class LocalCode:
    """A class, or a function that returns an instance, in a file. Its bytes are hashed, executed and recorded."""

    path: Path
    attribute: str
    content: bytes

    @classmethod
    def find(cls, name: str, folder: Path, read: dict[Path, bytes] | None = None) -> LocalCode:
        """Read a file of code. Nothing is executed.

        Args:
            name: ``FILE.py:NAME``.
            folder: Folder of relative files.
            read: Contents of the files that were read before, which are used again; the file is added to it.

        Raises:
            InputError: The name has another form, the file cannot be read, or the copy in a run was changed.
        """
        file, colon, attribute = name.rpartition(":")
        if not colon or not file.endswith(".py") or not attribute.isidentifier():
            raise InputError(f"{name!r} must have the form FILE.py:NAME, for example ./my_model.py:MyModel")
        try:
            path = (folder / expanded(file)).resolve()
            content = read[path] if read and path in read else path.read_bytes()
        except FileNotFoundError as error:
            raise InputError(f"there is no file {path}") from error
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        except (RuntimeError, ValueError) as error:
            raise InputError(f"{file!r} cannot be a file: {error}") from error
        if read is not None:
            read[path] = content
        code = cls(path, attribute, content)
        if not code.sha256.startswith(_recorded(path)):
            raise InputError(f"{path}: has changed since the run executed it")
        return code

    def __str__(self) -> str:
        return f"{self.path}:{self.attribute}"

    @property
    def sha256(self) -> str:
        """The hash of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def kept(self) -> str:
        """The path of the copy in a run directory: ``code/<name>-<first digits of the hash>.py``."""
        digits = self.sha256[:8]
        stem = self.path.stem.removesuffix(f"-{digits}")
        return f"{_FOLDER}/{stem}-{digits}.py"

    def is_kept_in(self, run: Path) -> bool:
        """Return whether the file lies in the folder of code of a run directory, links resolved."""
        return self.path.parent == run.resolve() / _FOLDER

    def load(self) -> Any:
        """Execute the file once per process, and return the class or function.

        Raises:
            InputError: The file raises an exception, which is reported with its line, or does not define the name.
        """
        module = _execute(self.path, self.content)
        if not hasattr(module, self.attribute):
            defined = [
                name
                for name, value in vars(module).items()
                if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
            ]
            listed = ", ".join(sorted(defined)) or "nothing"
            raise InputError(
                f"{self.path}: has no {self.attribute!r}{nearest(self.attribute, defined)} (it defines: {listed})"
            )
        component = getattr(module, self.attribute)
        if not callable(component):
            raise InputError(
                f"{self.path}: {self.attribute!r} is a {type(component).__name__}, not a class or function"
            )
        return component


def _recorded(path: Path) -> str:
    """Return the recorded hash of a copy in a run directory, or the digits in its name; empty for other files."""
    named = _KEPT.match(path.stem)
    if path.parent.name != _FOLDER or not named:
        return ""
    try:
        environment = json.loads((path.parents[1] / "environment.json").read_text(encoding="utf-8"))
        whole = environment["code"][f"{_FOLDER}/{path.name}"]["sha256"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return named["digits"]  # the experiment and its code were copied elsewhere
    return str(whole)


@functools.cache
def _execute(path: Path, content: bytes) -> ModuleType:
    """Return the module that a file's bytes make; no compiled copy is left beside the file."""
    digits = hashlib.sha256(bytes(path) + content).hexdigest()[:16]
    module = ModuleType(f"musicemo_local_{digits}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses, annotations and pickle look
    try:
        exec(compile(content, path, "exec"), vars(module))
    except SyntaxError as error:
        del sys.modules[module.__name__]
        raise InputError(f"{error.filename}:{error.lineno}: SyntaxError: {error.msg}") from error
    except (Exception, SystemExit) as error:  # a local file may raise anything
        where = line_of(error) or str(path)
        del sys.modules[module.__name__]
        hint = ". Only installed packages can be imported" if isinstance(error, ModuleNotFoundError) else ""
        raise InputError(f"{where}: {type(error).__name__}: {error}{hint}") from error
    from musicemo.workers import prepare_workers  # slower to import than the rest of the command line

    prepare_workers(_execute, path, content)  # they unpickle its classes and objects
    return module


def kept(value: Any, code: Sequence[LocalCode]) -> Any:
    """Return nested tables in which the types of local components are their copies in a run directory."""
    places = {str(one): f"{one.kept}:{one.attribute}" for one in code}

    def moved(value: Any) -> Any:
        if isinstance(value, Mapping):
            named = (
                {"type": places.get(value["type"], value["type"])} if isinstance(value.get("type"), str) else {}
            )
            return {name: moved(inner) for name, inner in value.items()} | named
        return [moved(inner) for inner in value] if isinstance(value, list) else value

    return moved(value) if places else value


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved experiment without absolute paths, so that moving the project does not change it.

    The paths of a dataset are removed, because the content of its tracks identifies a run. In other components, a
    file is replaced by its name and hash, and another path by its name.
    """
    kept = _placeless({name: value for name, value in settings.items() if name != "dataset"})
    if "dataset" in settings:
        kept["dataset"] = _pathless(settings["dataset"])
    return dict(kept)


def _is_place(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("/") and Path(value).is_absolute()


def _pathless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _pathless(inner) for name, inner in value.items() if not _is_place(inner)}
    if isinstance(value, list | tuple):
        return [_pathless(inner) for inner in value if not _is_place(inner)]
    return value


def _placeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _placeless(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_placeless(inner) for inner in value]
    if not _is_place(value):
        return value
    try:
        with Path(value).open("rb") as file:
            return f"{Path(value).name} {hashlib.file_digest(file, 'sha256').hexdigest()}"
    except OSError:  # a folder, or a path that does not exist
        return Path(value).name


def describe_code(code: Sequence[LocalCode]) -> dict[str, dict[str, str]]:
    """Return the origin and the hash of each file by the path of its copy."""
    return {one.kept: {"from": str(one.path), "sha256": one.sha256} for one in code}


@contextmanager
def told_by_line() -> Iterator[None]:
    """Convert an exception in a local file to an `InputError` with its line; other exceptions are not changed."""
    try:
        yield
    except MusicemoError:
        raise
    except Exception as error:
        if (where := line_of(error)) is None:
            raise
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error


def line_of(error: BaseException) -> str | None:
    """Return ``file:line`` of the innermost line of a local file in a traceback, or None."""
    files = {
        module.__file__ for name, module in list(sys.modules.items()) if name.startswith("musicemo_local_")
    }
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return lines[-1] if lines else None
