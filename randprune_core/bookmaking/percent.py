"""A Sphinx extension: a number and the percent sign after it stay on one line.

Pages, captions and what chapters say are typed as `90 %`; the book has a no-break space there.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

_SPACE = re.compile(r"(?:^|(?<=\d)) (?=%(?!\w))")
"""At the start of a text too: the number before it may have been pasted from a chapter."""
_AS_TYPED = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.raw)


class KeepTogether(SphinxPostTransform):
    """Puts a no-break space before each percent sign that follows a number, code left out."""

    default_priority = 900

    def run(self, **_) -> None:
        """Change the texts of one page."""
        for text in list(self.document.findall(nodes.Text)):
            if not isinstance(text.parent, _AS_TYPED) and _SPACE.search(text):
                text.parent.replace(text, nodes.Text(_SPACE.sub("\u00a0", text)))


def setup(app: Sphinx) -> dict:
    """What Sphinx calls; see `_config.yml`."""
    app.add_post_transform(KeepTogether)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
