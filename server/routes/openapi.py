"""What ``/openapi.json`` says beyond what FastAPI knows: errors, and our fields beside OpenAI's."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from router.mixture import COMBINATIONS
from router.policies.config import RoutingOverrides
from server.edge.errors.error_status import TYPES
from server.generation.given_mixture import MAX_WEIGHT

_SCHEMAS: Final = "#/components/schemas/"

_TEXT: Final = {"type": "string"}
_WEIGHT: Final = {"type": "number", "minimum": 0, "maximum": MAX_WEIGHT}

_ERROR: Final = {
    "type": "object",
    "description": "The one shape of an error; `code` is stable and meant for programs.",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": _TEXT,
                "type": {"enum": sorted(TYPES)},
                "param": {"type": ["string", "null"]},
                "code": _TEXT,
            },
        }
    },
}

_MIXTURE: Final = {
    "type": "object",
    "required": ["adapters"],
    "properties": {
        "adapters": {"type": "object", "additionalProperties": _WEIGHT},
        "combination": {"enum": list(COMBINATIONS)},
    },
    "additionalProperties": False,
}

_CHOICE: Final[Mapping[str, Any]] = {
    "mixture": {"$ref": _SCHEMAS + "Mixture"},
    "policy": {**_TEXT, "description": "The name of a policy."},
    "routing": {"$ref": _SCHEMAS + RoutingOverrides.__name__},
    "lora": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id"],
            "properties": {"id": {"type": ["string", "integer"]}, "scale": _WEIGHT},
        },
        "description": "As llama.cpp says it; `id` is a name, or a number of `/lora-adapters`.",
    },
    "adapter_id": {**_TEXT, "description": "A name, as LoRAX says it."},
    "adapter": {**_TEXT, "description": "A name, as mistral.rs says it."},
    "lora_path": {
        "anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}],
        "description": "A name, as SGLang says it; a list names the same one for each prompt.",
    },
    "parameters": {
        "type": "object",
        "description": "`adapter_id` and the like, where TGI and LoRAX have them.",
    },
    "merged_adapters": {
        "type": "object",
        "required": ["ids"],
        "properties": {
            "ids": {"type": "array", "items": _TEXT},
            "weights": {"type": "array", "items": _WEIGHT},
            "merge_strategy": _TEXT,
        },
        "description": "As LoRAX says it.",
    },
}
"""The fields that say which adapters a request gets: docs/api.md."""

_REQUESTS: Final = ("ChatCompletionRequest", "CompletionRequest", "ResponsesRequest")


class DocumentedApp(FastAPI):
    """A FastAPI whose schema is extended."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI schema, made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _extended(super().openapi())
        return self.openapi_schema


def _extended(schema: dict[str, Any]) -> dict[str, Any]:
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    _, ours = models_json_schema(
        [(RoutingOverrides, "validation")], ref_template=_SCHEMAS + "{model}"
    )
    schemas |= {"Error": _ERROR, "Mixture": _MIXTURE, **ours["$defs"]}
    for name in _REQUESTS:
        if name in schemas:
            schemas[name]["properties"] |= _CHOICE
    for operation in _operations(schema):
        operation["responses"] = _with_errors(operation["responses"])
    return schema


def _operations(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from (one for one in path.values() if isinstance(one, dict) and "responses" in one)


def _with_errors(responses: Mapping[str, Any]) -> dict[str, Any]:
    """Successes as they were; of failures, whichever route says what, there is one shape."""
    content = {"application/json": {"schema": {"$ref": _SCHEMAS + "Error"}}}
    kept = {status: response for status, response in responses.items() if status < "400"}
    return {
        **kept,
        "4XX": {"description": "The request cannot be served as it is.", "content": content},
        "5XX": {"description": "The server cannot serve it now.", "content": content},
    }
