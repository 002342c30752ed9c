"""The reference page of the book, made from the docstrings of the public names.

The source is read, not imported: the page needs no PyTorch, and a docstring is Markdown as it is.
"""

import ast
import inspect

from .. import PUBLIC, paths

_SECTIONS = {
    "Networks": ("models",),
    "Ratios and scores": ("pruning.ratios", "pruning.saliency"),
    "Masks": ("pruning.masks",),
    "Runs": (
        "config",
        "sweeps.run",
        "records.table",
        "sweeps.grids",
        "sweeps.coverage",
        "sweeps.sweep",
        "training.train",
        "records.weights",
    ),
    "Data": ("data.loading", "data.files"),
    "Measuring": (
        "metrics.evaluation",
        "metrics.classification",
        "metrics.ood",
        "metrics.gradient",
        "metrics.attacks",
    ),
}


def page() -> str:
    """Every public name with its signature and docstring, then one line on every module.

    MyST Markdown. A module that no section names stands in a section of its own.
    """
    named = [module for modules in _SECTIONS.values() for module in modules]
    sections = _SECTIONS | {module: (module,) for module in PUBLIC if module not in named}
    parts = ["```{py:currentmodule} randprune_core\n```"]
    for title, modules in sections.items():
        parts.append(f"## {title}")
        for module in modules:
            tree = _tree(module)
            parts.extend(_entry(tree, module, name) for name in PUBLIC[module])
    return "\n\n".join([*parts, "## Modules", _modules()])


def _tree(module: str) -> ast.Module:
    source = paths.ROOT / "randprune_core" / f"{module.replace('.', '/')}.py"
    return ast.parse(source.read_text(encoding="utf-8"))


def _entry(tree: ast.Module, module: str, name: str) -> str:
    """A MyST directive with signature and docstring; LookupError for a name not defined there."""
    for node in tree.body:  # a name that the module itself imports is read where it comes from
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            return _entry(_tree(node.module), node.module, name)
    for place, node in enumerate(tree.body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name:
            kind, signature, text = _kind(node), _signature(node), ast.get_docstring(node)
            break
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            kind, signature = "py:data", f"\n:value: {ast.unparse(node.value)}"
            text = _docstring_below(tree.body[place + 1 :])
            break
    else:
        raise LookupError(f"randprune_core.{name} is not defined in {module}.py")
    home = f"In `randprune_core.{module}`."
    return f"::::{{{kind}}} {name}{signature}\n\n{text or ''}\n\n{home}\n::::"


def _kind(node: ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.FunctionDef):
        return "py:function"
    return "py:exception" if "Error" in "".join(map(ast.unparse, node.bases)) else "py:class"


def _signature(node: ast.FunctionDef | ast.ClassDef) -> str:
    """`(names: types = defaults) -> type`; of a dataclass its fields, of other classes nothing."""
    if isinstance(node, ast.FunctionDef):
        returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
        return f"({ast.unparse(node.args)}){returns}"
    fields = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
    return f"(*, {', '.join(fields)})" if fields else ""


def _docstring_below(following: list[ast.stmt]) -> str:
    """The string that stands below a constant and describes it."""
    match following:
        case [ast.Expr(value=ast.Constant(value=str(text))), *_]:
            return inspect.cleandoc(text)
    return ""


def _modules() -> str:
    """A table of all modules with the first paragraph of their docstrings."""
    rows = ["| module | what it holds |", "|---|---|"]
    core = paths.ROOT / "randprune_core"
    for source in sorted([*core.glob("[!_]*.py"), *core.glob("[!_]*/[!_]*.py")]):
        module = ".".join(source.relative_to(core).with_suffix("").parts)
        if module.startswith("chapters."):
            continue
        text = ast.get_docstring(_tree(module)) or ""
        first = " ".join(text.split("\n\n")[0].split())
        rows.append(f"| `{module}` | {first.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)
