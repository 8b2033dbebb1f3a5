"""Which module imports which, and what a module documents."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import musicemo

ROOT = Path(musicemo.__file__).parent


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def test_the_import_contracts_of_pyproject_are_kept():
    """Rooms import only rooms below them, no cycles, not even for types, and what built-ins import of the core."""
    pytest.importorskip("importlinter", reason="needs pip install 'musicemo[lint]'")
    run = "import sys; from importlinter.cli import lint_imports_command as run; run()"
    command = [sys.executable, "-c", run, "--no-logo", "--no-cache"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_imports_none_of_its_rooms():
    code = "import musicemo, sys; print(*(name for name in sys.modules if name.startswith('musicemo.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"musicemo._lazy", "musicemo._version"}


@pytest.mark.slow
@pytest.mark.parametrize("module", SOURCES)
def test_a_module_imports_private_modules_of_its_package_only(module):
    for node in ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            parts = name.split(".")
            private = [index for index, part in enumerate(parts) if part[:1] == "_" and part[:2] != "__"]
            if parts[0] == "musicemo" and private:
                package = ".".join(parts[: private[0]])
                assert module == package or module.startswith(f"{package}."), f"{module} imports {name}"


LIGHT = (
    "musicemo",
    "musicemo.cli",
    "musicemo.errors",
    "musicemo.components.registry",
    "musicemo.components.hooks",
    "musicemo.components.documentation",
    "musicemo.hookspecs",
    "musicemo.runs",
    "musicemo.reporting",
    "musicemo_builtin.observers.progress",
    "musicemo_builtin.observers.report",
    "musicemo_builtin.observers.tensorboard",
)


@pytest.mark.slow
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
