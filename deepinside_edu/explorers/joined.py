"""An explorer's browser half in one text: anywidget takes one module, so a view follows all modules that it imports.

Every file under `front/` is a module that a page could load as it is. Joined they share one scope, so no two of them
may have the same name at the top; tests/test_front.py reads the result as a browser does.
"""

from __future__ import annotations

import re
from pathlib import Path

from .language import LANGUAGE

FRONT = Path(__file__).parent / "front"

IMPORT = re.compile(r'^import \{[^}]*\} from "(\.{1,2}/[^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=const|function|class|async)", re.MULTILINE)


def browser_half(name: str) -> tuple[str, str]:
    """An explorer's module and its style sheet, each after the parts that all explorers share."""
    styles = [FRONT / "kit" / "kit.css", FRONT / "views" / f"{name}.css"]
    return joined(FRONT / "views" / f"{name}.js"), "\n".join(each.read_text(encoding="utf-8") for each in styles)


def joined(module: Path) -> str:
    """A module after all that it imports, each once and after its own imports, with the texts of the language."""
    texts: dict[Path, str] = {}

    def add(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for other in IMPORT.findall(text):
            found = (path.parent / other).resolve()
            if found.parent.name == "texts":
                found = found.with_stem(LANGUAGE)
            if found not in texts:
                add(found)
        texts[path] = EXPORT.sub("", IMPORT.sub("", text))

    add(module.resolve())
    return "\n".join(texts.values())
