"""Ratios, networks and data sets of a user's own code, by name, and the hash of that code.

`ratios.register`, `models.register` and `datasets.register` keep their functions here. The config
of a run that uses one has the hash of its code (`RunConfig.code`): edited code makes another run.
"""

import ast
import builtins
import hashlib
import inspect
import linecache
import os
import re
import symtable
import sys
import sysconfig
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

KINDS = ("dataset", "model", "ratio")
"""What can be registered, each by the name of its field in `RunConfig`."""

NAME = r"[A-Za-z][A-Za-z0-9_.+-]{0,59}"
"""The form of a registered name; it becomes a folder, a key and a cell."""

IMPORTS = "RANDPRUNE_IMPORT"
"""Files that the command line was given with `--import`, for the kernel of a notebook."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A registered function, the hash of its code (12 hex digits), and what was said of it."""

    kind: str
    name: str
    function: Callable
    code: str
    options: Mapping


_ENTRIES: dict[tuple[str, str], Entry] = {}
_WAITING = [path for path in os.environ.get(IMPORTS, "").split(os.pathsep) if path]


def add(kind: str, name: str, function: Callable, *, built_in: bool, **options) -> None:
    """Register a function; ValueError for a name that is taken or no name, or for no function."""
    if not isinstance(name, str) or not re.fullmatch(NAME, name):
        raise ValueError(
            f"{kind} {name!r} is no name: give a letter, then letters, digits, _ . + or -, at most "
            "60 in all"
        )
    if built_in:
        raise ValueError(f"{kind} {name!r} is built in: give another name")
    if (kind, name) in _ENTRIES:
        raise ValueError(
            f"{kind} {name!r} is registered already: give another name, or call "
            f"{kind}s.unregister({name!r}) first"
        )
    if not (inspect.isfunction(function) or inspect.isclass(function)):
        raise ValueError(
            f"{kind} {name!r} needs a function that is written with def, not {function!r:.100}"
        )
    _ENTRIES[kind, name] = Entry(kind, name, function, code_hash(function, options), options)


def remove(kind: str, name: str) -> None:
    """Forget a registered name; ValueError where it is none."""
    if (kind, name) not in _ENTRIES:
        raise ValueError(f"{kind} {name!r} is not registered: {_listed(kind)}")
    del _ENTRIES[kind, name]


def _listed(kind: str) -> str:
    return f"registered are {', '.join(names(kind)) or 'none'}"


def names(kind: str) -> tuple[str, ...]:
    """The registered names of a kind, in the order of their registration."""
    return tuple(name for known, name in _ENTRIES if known == kind)


def find(kind: str, name: str) -> Entry | None:
    """What is registered under a name, or None."""
    while _WAITING:
        load(_WAITING.pop(0))
    return _ENTRIES.get((kind, name))


def code_of(values: Mapping[str, str]) -> str:
    """The hash of all registered code that a config uses; empty where it uses none."""
    used = [find(kind, values[kind]) for kind in KINDS]
    text = "".join(f"{entry.kind}:{entry.code}\n" for entry in used if entry)
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


# --- from one process to another ---


def packed() -> bytes:
    """All that is registered, for `unpack` in a worker process that may not find its files."""
    import cloudpickle

    found = {entry.function.__module__ for entry in _ENTRIES.values()} & set(sys.modules)
    own = [module for module in map(sys.modules.get, sorted(found)) if _is_own(module)]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        return cloudpickle.dumps(list(_ENTRIES.values()))
    except Exception as error:  # cloudpickle raises many kinds
        raise ValueError(
            f"registered code cannot be sent to worker processes ({error}): let its functions use "
            "no open file, lock or connection"
        ) from error
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)


def unpack(content: bytes) -> None:
    """Register what another process has packed."""
    import cloudpickle

    _WAITING.clear()
    for entry in cloudpickle.loads(content):
        _ENTRIES[entry.kind, entry.name] = entry


def _is_own(module: ModuleType) -> bool:
    """Whether a module is a file of the user's; `__main__` is sent as it is in any case."""
    path = getattr(module, "__file__", None)
    if module.__name__ == "__main__" or not path:
        return False
    installed = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    return not any(Path(path).resolve().is_relative_to(Path(p).resolve()) for p in installed)


_LOADED: dict[Path, ModuleType] = {}


def load(path: str | Path) -> None:
    """Run a file that registers something, once; ValueError, in one line, where it cannot run."""
    file = Path(path).resolve()
    if file in _LOADED:
        return
    if not file.is_file():
        raise ValueError(f"cannot import {path}: there is no such file")
    spec = spec_from_file_location(file.stem, file) if file.suffix == ".py" else None
    if spec is None:
        raise ValueError(f"cannot import {path}: give a Python file, NAME.py")
    if getattr(sys.modules.get("__main__"), "__file__", None) == str(file):
        return  # it is the program itself
    module = _LOADED[file] = module_from_spec(spec)
    before = _ENTRIES.copy()
    sys.modules.setdefault(file.stem, module)
    sys.path.insert(0, str(file.parent))  # what lies beside it is imported as by a script
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del _LOADED[file]
        _ENTRIES.clear()
        _ENTRIES.update(before)
        if sys.modules.get(file.stem) is module:
            del sys.modules[file.stem]
        raise ValueError(f"cannot import {path}: {type(error).__name__}: {error}") from error


# --- the hash ---


def code_hash(function: Callable, options: Mapping) -> str:
    """Hash of a function's source, of what it uses of the same file and of files beside that one.

    Edits elsewhere in the file change nothing; where the function is no `def` or `class` at the top
    of its file, the whole file counts. In a notebook its cell takes the place of the file, and of
    other cells the functions, classes, numbers and texts count that it uses. Installed packages and
    what the function reads do not count. `options` count as they print.
    """
    pieces: dict[tuple, str] = {}
    function = inspect.unwrap(function)
    _collect(function, pieces)
    parts = [*sorted(pieces.values()), repr(sorted(options.items()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _collect(value: Callable, pieces: dict[tuple, str]) -> None:
    """Add the pieces of source that a function or class rests on, by file and first line."""
    file = _file(value)
    linecache.checkcache(file)
    lines = linecache.getlines(file)
    if not lines:
        raise ValueError(
            f"the source of {value.__qualname__} cannot be read, and its hash is part of a run: "
            "define it in a file or in a notebook"
        )
    space = getattr(value, "__globals__", None) or vars(sys.modules.get(value.__module__, builtins))
    try:
        tree = ast.parse("".join(lines)).body
    except SyntaxError:  # a cell with a magic command
        tree = []
    bound = {name for node in tree for name in _bound(node)}
    if value.__qualname__ not in bound:
        pieces[file, 0] = "".join(lines)
        todo = sorted(bound)
    else:
        todo = [value.__qualname__]
    seen = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        found = [node for node in tree if name in _bound(node)]
        for node in found:
            first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
            pieces[file, first] = "".join(lines[first - 1 : node.end_lineno])
            todo += sorted(_global_names(ast.unparse(node)))
            _collect_imports(node, Path(file), pieces)
        if not found:
            _collect_from(name, space.get(name), value.__module__, pieces)


def _global_names(text: str) -> set[str]:
    """The names that a statement, and the functions in it, look up outside: no local variables."""
    whole = symtable.symtable(text, "<statement>", "exec")
    tables, found = [whole], set()
    for table in tables:
        tables += table.get_children()
        symbols = table.get_symbols()
        found |= {
            s.get_name() for s in symbols if s.is_global() or (table is whole and s.is_referenced())
        }
    return found


def _collect_from(name: str, used: object, module: str, pieces: dict[tuple, str]) -> None:
    """Add what a name stands for that another cell of the notebook has bound."""
    if isinstance(used, int | float | str | tuple):
        pieces[module, name] = f"{name} = {used!r}"
    elif inspect.isfunction(used) or inspect.isclass(used):
        used = inspect.unwrap(used)
        if used.__module__ == module and (_file(used), used.__qualname__) not in pieces:
            pieces[_file(used), used.__qualname__] = ""
            _collect(used, pieces)


def _collect_imports(node: ast.AST, file: Path, pieces: dict[tuple, str]) -> None:
    """Add the files beside a file that one of its statements imports, and what they import."""
    for part in ast.walk(node):
        if isinstance(part, ast.Import):
            wanted = [(0, alias.name) for alias in part.names]
        elif isinstance(part, ast.ImportFrom):
            base = f"{part.module}." if part.module else ""
            wanted = [(part.level, part.module or "")]
            wanted += [(part.level, base + alias.name) for alias in part.names]
        else:
            continue
        folders = [file.parent, *file.parent.parents]
        for level, name in wanted:
            if not name or name.partition(".")[0] == "randprune_core":
                continue
            below = folders[max(level - 1, 0)].joinpath(*name.split("."))
            for other in (below.with_suffix(".py"), below / "__init__.py"):
                if (str(other), 0) not in pieces and other.is_file():
                    text = pieces[str(other), 0] = other.read_text(encoding="utf-8")
                    with suppress(SyntaxError):  # it was not imported
                        _collect_imports(ast.parse(text), other, pieces)


def _bound(node: ast.stmt) -> set[str]:
    """The names that a statement at the top of a file defines, changes or imports."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    bound = set()
    for part in ast.walk(node):
        if isinstance(part, ast.alias):
            bound.add((part.asname or part.name).partition(".")[0])
        elif isinstance(getattr(part, "ctx", None), ast.Store):
            bound |= {n.id for n in ast.walk(part) if isinstance(n, ast.Name)}
    match node:  # `table.update(...)` changes the table, and `ratios.register(...)` no function
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute))):
            bound |= {name} if attribute not in ("register", "unregister") else set()
    return bound


def _file(value: Callable) -> str:
    """The file, or what stands for a notebook cell, that a function or class is from."""
    if inspect.isclass(value):
        methods = [inspect.unwrap(f) for f in vars(value).values() if inspect.isfunction(f)]
        if not methods:
            return getattr(sys.modules.get(value.__module__), "__file__", None) or "?"
        value = methods[0]
    return value.__code__.co_filename
