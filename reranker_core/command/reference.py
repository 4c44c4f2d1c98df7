"""Write configs/schema.json and docs/configuration.md: python -m reranker_core.command.reference"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reranker_core.command.help import EVERYTHING, default, purpose, sections
from reranker_core.config.lookup import section_of
from reranker_core.config.schema import schema_text
from reranker_core.config.values import kinds, symbols

SCHEMA, PAGE = Path("configs/schema.json"), Path("docs/configuration.md")

_MARK = "<!-- `make reference` writes what follows from reranker_core/config/sections/. -->\n"


def page(before: str) -> str:
    """The page with tables of the keys as they are now; what stands above them stays."""
    lines = [before.partition(_MARK)[0] + _MARK]
    for section, keys in sections(EVERYTHING):
        lines += [f"## {section}", "", purpose(section), "", *_table(keys), ""]
        for key, field in keys.items():
            below = section_of(field)
            if below is not None:
                lines += [f"### {key} as a mapping", "", *_table(_fields(key, below)), ""]
    return "\n".join(lines)


def _fields(prefix: str, section: type[BaseModel]) -> dict[str, FieldInfo]:
    return {f"{prefix}.{name}": field for name, field in section.model_fields.items()}


def _table(keys: dict[str, FieldInfo]) -> list[str]:
    rows = ["| key | values | default | |", "|---|---|---|---|"]
    for key, field in keys.items():
        values = symbols(kinds(field)).replace("|", "\\|")
        rows.append(f"| `{key}` | `{values}` | {default(field)} | {field.description or ''} |")
    return rows


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
