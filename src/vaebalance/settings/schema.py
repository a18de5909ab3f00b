"""The JSON schema of params.yaml, from which editors complete, explain and check its keys.

`make schema` writes it to params.schema.json, which the first line of params.yaml names; an editor
with a YAML language server reads it from there.

The schema checks keys, types, choices and ranges. Rules that compare several keys, such as `low`
below `high`, are left to `settings.load`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from vaebalance.base.files import write_text
from vaebalance.settings.params import Settings

SCHEMA = Path("params.schema.json")


class _EditorSchema(GenerateJsonSchema):
    """Pydantic's schema of a Spec, with texts as editors show them."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Leave titles out: they repeat the keys."""
        return False

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Describe a Spec and, if it is a member of a union, the `kind` that selects it."""
        generated = super().model_schema(schema)
        del generated["title"]
        properties = generated["properties"]
        for described in (generated, *properties.values()):
            if "description" in described:
                described["description"] = _unwrapped(described["description"])
        if "kind" in properties:
            summary = generated["description"].partition("\n\n")[0]
            properties["kind"] |= {"description": summary}
            generated["required"] = ["kind", *generated.get("required", [])]
        return generated


def build_schema() -> dict[str, Any]:
    """Return the schema of params.yaml (JSON Schema, draft 2020-12)."""
    schema = Settings.model_json_schema(schema_generator=_EditorSchema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def schema_text() -> str:
    """Return the content of params.schema.json."""
    return json.dumps(build_schema(), indent=1, ensure_ascii=False) + "\n"


def _unwrapped(text: str) -> str:
    """Join the lines of each paragraph: editors show a line break in a description as such."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


if __name__ == "__main__":
    write_text(SCHEMA, schema_text())
