"""What explorers say: each text by its name, from the table of one language, `texts/en.json`.

A second language is two files: `texts/NAME.json` with the same names and the same fields in braces, and
`front/texts/NAME.js` for the browser half. The environment variable DEEPINSIDE_LANGUAGE holds its NAME before Python
starts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

TABLES = Path(__file__).parent / "texts"


def read_texts(language: str) -> dict[str, str]:
    """All texts of a language, by names such as "saliency.zeros".

    Raises:
        ValueError: there is no table of this language.
    """
    there = sorted(table.stem for table in TABLES.glob("*.json"))
    if language not in there:
        raise ValueError(f"no texts in {language!r}; there are {', '.join(there)}. Set DEEPINSIDE_LANGUAGE to one.")
    rooms = json.loads((TABLES / f"{language}.json").read_text(encoding="utf-8"))
    return {f"{room}.{name}": text for room, texts in rooms.items() for name, text in texts.items()}


LANGUAGE = os.environ.get("DEEPINSIDE_LANGUAGE", "en")
TEXTS = read_texts(LANGUAGE)


def say(name: str, /, **values: object) -> str:
    """A text with its fields filled in."""
    return TEXTS[name].format(**values)
