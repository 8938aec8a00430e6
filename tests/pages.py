"""The pages of the documentation, as tests run them."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def python_of(page: str) -> str:
    """The first example of a page."""
    return re.search(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.S)[1]
