"""The table of modules on the reference page; Sphinx's autodoc makes the rest of that page."""

import ast

from .. import paths


def modules() -> str:
    """A table of all modules but those of chapters: the first paragraph of each docstring.

    The source is read, not imported. MyST Markdown.
    """
    rows = ["| module | what it holds |", "|---|---|"]
    core = paths.ROOT / "randprune_core"
    for source in sorted([*core.glob("[!_]*.py"), *core.glob("[!_]*/[!_]*.py")]):
        module = ".".join(source.relative_to(core).with_suffix("").parts)
        if module.startswith("chapters."):
            continue
        text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
        first = " ".join(text.split("\n\n")[0].split())
        rows.append(f"| `{module}` | {first.replace('|', chr(92) + '|')} |")
    return "\n".join(rows)
