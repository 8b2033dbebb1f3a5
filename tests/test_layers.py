"""What may import what, so that the rooms of the design stay apart."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import musicemo

ROOT = Path(musicemo.__file__).parent

#: The rooms, the lowest first; those of one line do not import each other.
ROOMS = (
    ("_docstrings", "_jit"),
    ("errors", "settings", "_version", "terminal"),
    ("files",),
    ("toml", "progress", "workers"),
    ("ops", "evaluation", "gradients"),
    ("contracts",),
    ("audio",),
    ("data", "hookspecs"),
    ("training",),
    ("components",),
    ("experiment",),
    ("runs",),
    ("comparison", "prediction"),
    ("running",),
    ("authoring", "testing"),
    ("reporting",),
    ("cli", "__main__"),
    ("pytest_plugin",),
)
LEVEL = {room: level for level, rooms in enumerate(ROOMS) for room in rooms}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
MODULES = sorted(SOURCES)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


class Imports(ast.NodeVisitor):
    """Gathers what a module imports: when it is imported, and within its functions; nothing for types alone."""

    def __init__(self, module: str) -> None:
        self.package = module if SOURCES[module].name == "__init__.py" else module.rpartition(".")[0]
        self.at_import: set[str] = set()
        self.later: set[str] = set()
        self._inside = 0

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self.generic_visit(node)
            return
        for child in node.orelse:
            self.visit(child)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._inside += 1
        self.generic_visit(node)
        self._inside -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self.package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            self._add(inner if inner in SOURCES else base)

    def _add(self, name: str) -> None:
        (self.later if self._inside else self.at_import).add(name)


@cache
def imports(module: str) -> Imports:
    found = Imports(module)
    found.visit(ast.parse(SOURCES[module].read_text(encoding="utf-8")))
    return found


def own(names: set[str]) -> set[str]:
    return {name for name in names if name in SOURCES}


def test_every_room_has_its_place():
    assert {room(module) for module in MODULES} - {""} <= set(LEVEL), "give a new room its place in ROOMS"


@pytest.mark.parametrize("module", MODULES)
def test_the_core_does_not_know_the_built_ins(module):
    found = imports(module)
    assert not {name for name in found.at_import | found.later if name.startswith("musicemo_builtin")}


@pytest.mark.parametrize("module", [module for module in MODULES if room(module)])
def test_a_room_imports_only_rooms_below_it(module):
    found = imports(module)
    for name in own(found.at_import | found.later) - {"musicemo"}:
        if room(name) != room(module):
            assert LEVEL[room(name)] < LEVEL[room(module)], f"{module} imports {name}"


def test_the_package_itself_imports_nothing():
    assert not own(imports("musicemo").at_import)


def test_there_are_no_cycles():
    done: set[str] = set()

    def walk(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        for name in own(imports(module).at_import):
            if not module.startswith(f"{name}."):  # a package is there already when its modules are imported
                walk(name, (*path, module))
        done.add(module)

    for module in MODULES:
        walk(module, ())


def test_no_module_reaches_into_a_room_of_packages_for_what_is_private():
    """Names with an underscore stay in their package."""
    for module in MODULES:
        for name in own(imports(module).at_import | imports(module).later):
            parts = name.split(".")
            private = [index for index, part in enumerate(parts) if part.startswith("_") and part != "__main__"]
            if private:
                package = ".".join(parts[: private[0]])
                assert module == package or module.startswith(f"{package}."), f"{module} imports {name}"


LIGHT = (
    "musicemo",
    "musicemo.cli",
    "musicemo.errors",
    "musicemo.components.registry",
    "musicemo.hookspecs",
    "musicemo.runs",
    "musicemo.reporting",
    "musicemo_builtin.observers.progress",
    "musicemo_builtin.observers.report",
    "musicemo_builtin.observers.tensorboard",
)


def test_what_the_command_line_loads_is_light():
    """In one process each would hide the next, so each is tried before the heavy ones are there at all."""
    code = """if True:
        import importlib, sys
        for name in sys.argv[1:]:
            importlib.import_module(name)
            heavy = {"torch", "numba", "scipy", "sklearn", "matplotlib", "librosa"} & set(sys.modules)
            assert not heavy, f"{name} imports {heavy}"
    """
    done = subprocess.run([sys.executable, "-c", code, *LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def public_modules() -> list[str]:
    found = ["musicemo"]
    for info in pkgutil.walk_packages(musicemo.__path__, "musicemo."):
        if not info.name.endswith("__main__"):
            found.append(info.name)
    return found


@pytest.mark.parametrize("name", public_modules())
def test_what_is_public_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for public in getattr(module, "__all__", ()):
        assert hasattr(module, public), f"{name}.__all__ names {public}, which is not there"
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            assert thing.__doc__, f"{name}.{public} has no docstring"
            # A dataclass without one gets its signature.
            assert not thing.__doc__.startswith(f"{public}("), f"{name}.{public} has no docstring"


@pytest.mark.parametrize("name", [name for name in public_modules() if SOURCES[name].name == "__init__.py"])
def test_packages_say_what_is_public_in_order(name):
    exported = getattr(importlib.import_module(name), "__all__", None)
    if exported is not None:
        assert len(set(exported)) == len(exported)
