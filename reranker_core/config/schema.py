"""The JSON Schema of configuration files, by which editors complete and check them."""

from __future__ import annotations

import json
from typing import Any

from reranker_core.config.keys import Config
from reranker_core.config.sections.template import Template

SCHEMA_URL = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema of a file.

    A file may be partial, for the command line sets keys as well: no key of a section is required,
    and a section may be empty.
    """
    schema = Config.model_json_schema()
    complete = Template.__name__  # a value of one key, not a section
    for name, section in [("", schema), *schema["$defs"].items()]:
        if name != complete:
            section.pop("required", None)
        for of in section.get("properties", {}).values():
            of.pop("title", None)
            if "$ref" in of:
                below = schema["$defs"][of["$ref"].rpartition("/")[2]]
                below["type"] = ["object", "null"]
                of.setdefault("description", below["description"])
    return {"$schema": SCHEMA_URL, **schema}


def schema_text() -> str:
    """The schema as the text of a file."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
