"""Components from a file of the user's own, which an experiment names: ``type = "./my_model.py:MyModel"``."""

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
    "describe",
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

#: The folder of a run directory that code is kept in, and what a file in it is called.
_KEPT = re.compile(r"^(?P<stem>.+)-(?P<digits>[0-9a-f]{8})$")
_FOLDER = "code"


def is_local(name: str) -> bool:
    """Tell the place of a file from a name that is looked up among what is installed."""
    return "/" in name or "\\" in name or name.partition(":")[0].endswith(".py")


def unplaced(name: str) -> str:
    """Return a component's name; of one in a file without the folder and a run's hash: ``FILE.py:NAME``."""
    if not is_local(name):
        return name
    file, _, attribute = name.rpartition(":")
    stem = Path(file).stem
    copy = _KEPT.match(stem)
    return f"{copy['stem'] if copy else stem}.py:{attribute}"


@dataclass(frozen=True, slots=True)
class LocalCode:
    """A class, or a function that makes one, in a file; its bytes are what is hashed, executed and kept."""

    path: Path
    attribute: str
    content: bytes

    @classmethod
    def find(cls, name: str, folder: Path, read: dict[Path, bytes] | None = None) -> LocalCode:
        """Read the file that a name says; nothing is executed.

        Args:
            name: ``FILE.py:NAME``.
            folder: what a relative file is relative to.
            read: what files held when they were read, which holds however they were changed since; it grows.

        Raises:
            InputError: the name has another form, the file cannot be read, or a run's copy of it was changed.
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
        found = cls(path, attribute, content)
        if not found.sha256.startswith(_recorded(path)):
            raise InputError(f"{path}: has changed since the run executed it")
        return found

    def __str__(self) -> str:
        return f"{self.path}:{self.attribute}"

    @property
    def sha256(self) -> str:
        """The hash of the file's bytes."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def kept(self) -> str:
        """Where a run directory keeps the file: ``code/<name>-<the hash's first digits>.py``."""
        digits = self.sha256[:8]
        stem = self.path.stem.removesuffix(f"-{digits}")
        return f"{_FOLDER}/{stem}-{digits}.py"

    def is_kept_in(self, run: Path) -> bool:
        """Tell whether it is a file in the folder of code of a run directory, and no link leads out of there."""
        return self.path.parent == run.resolve() / _FOLDER

    def load(self) -> Any:
        """Execute the file, once a process, and return what it defines under the name.

        Raises:
            InputError: the file raises an error, told with its line, or has nothing of that name.
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
    """Return the hash of a file that a run directory keeps, or what its name holds of it; nothing of any other file."""
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
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        where = line_of(error) or str(path)
        del sys.modules[module.__name__]
        hint = ". Only installed packages can be imported" if isinstance(error, ModuleNotFoundError) else ""
        raise InputError(f"{where}: {type(error).__name__}: {error}{hint}") from error
    return module


def kept(value: Any, code: Sequence[LocalCode]) -> Any:
    """Return nested tables in which components of these files come from where a run directory keeps them."""
    places = {str(found): f"{found.kept}:{found.attribute}" for found in code}

    def moved(value: Any) -> Any:
        if isinstance(value, Mapping):
            named = (
                {"type": places.get(value["type"], value["type"])} if isinstance(value.get("type"), str) else {}
            )
            return {name: moved(inner) for name, inner in value.items()} | named
        return [moved(inner) for inner in value] if isinstance(value, list) else value

    return moved(value) if places else value


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resolved experiment without the absolute paths in it, so that a moved project is the same.

    A dataset's paths are left out, since a run is identified by the content of its tracks. Of any other component's,
    a file counts by its content, and anything else by its name.
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
    except OSError:  # a folder, or something that is not there
        return Path(value).name


def describe(code: Sequence[LocalCode]) -> dict[str, dict[str, str]]:
    """Return where each file is kept -> where it was, and its hash."""
    return {found.kept: {"from": str(found.path), "sha256": found.sha256} for found in code}


@contextmanager
def told_by_line() -> Iterator[None]:
    """Make an error that comes through a user's own file an `InputError` that names the line; pass any other."""
    try:
        yield
    except MusicemoError:
        raise
    except Exception as error:
        if (where := line_of(error)) is None:
            raise
        raise InputError(f"{where}: {type(error).__name__}: {error}") from error


def line_of(error: BaseException) -> str | None:
    """Return ``file:line`` of the innermost line of a user's own file that an error came through, if it did."""
    files = {
        module.__file__ for name, module in list(sys.modules.items()) if name.startswith("musicemo_local_")
    }
    frames = traceback.extract_tb(error.__traceback__)
    found = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return found[-1] if found else None
