"""An extension of griffe, which reads docstrings for the site: `Example:` holds code.

griffe knows Google's section under the name `Examples:` alone, and takes ours for prose.
"""

import re

import griffe


class ExampleSections(griffe.Extension):
    """Call each section Example what griffe calls it."""

    def on_object(self, *, obj, **_):
        """Change the docstring of one object, before it is parsed."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
