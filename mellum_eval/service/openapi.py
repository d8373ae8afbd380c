"""The service's description of itself, made from the same models that its requests are parsed by."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from mellum_eval import __version__
from mellum_eval.service.fusion import RunCodeRequest, RunCodeResponse
from mellum_eval.service.settings import Settings
from sandboxes.check import CHECK, CODE_KINDS, LIST_KINDS
from sandboxes.verdict import Outcome

_REF = "#/components/schemas/{model}"


def describe(settings: Settings) -> dict[str, Any]:
    """OpenAPI 3.1."""
    schemas = _jobs()
    _, fusion = models_json_schema(
        [(RunCodeRequest, "validation"), (RunCodeResponse, "serialization")], ref_template=_REF
    )
    schemas.update(fusion["$defs"])
    schemas["Verdict"] = _verdict()
    schemas["Error"] = {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": {"message": {"type": "string"}, "field": {"type": "string"}},
            }
        },
    }
    verdict = {"$ref": "#/components/schemas/Verdict"}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "mellum-eval",
            "version": __version__,
            "description": "Verdicts on what models wrote. The verifiers are those of `mellum-eval verify`.",
        },
        "paths": {
            "/verify": {
                "post": _operation(
                    "Judge one job, or a list of jobs",
                    {
                        "anyOf": [
                            {"$ref": "#/components/schemas/Job"},
                            {
                                "type": "array",
                                "items": {"$ref": "#/components/schemas/Job"},
                                "maxItems": settings.queue,
                            },
                        ]
                    },
                    {"anyOf": [verdict, {"type": "array", "items": verdict}]},
                    429,
                    verdict,
                )
            },
            "/run_code": {
                "post": _operation(
                    "Run a program, with SandboxFusion's request and reply",
                    {"$ref": "#/components/schemas/RunCodeRequest"},
                    {"$ref": "#/components/schemas/RunCodeResponse"},
                    504,
                    {"$ref": "#/components/schemas/Error"},
                )
            },
            "/health": {
                "get": {
                    "summary": "Whether a known-good job works now",
                    "operationId": "health",
                    "security": [],
                    "responses": {"200": _reply(_health()), "503": _reply(_health())},
                }
            },
        },
        "components": {"schemas": schemas},
    }
    if settings.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _operation(summary: str, request: Any, reply: Any, full: int, malformed: Any) -> dict[str, Any]:
    errors = {
        400: "not JSON",
        401: "no token, or a wrong one",
        403: "not a loopback host, and there is no token",
        408: "the body came too slowly",
        413: "too long, or too many jobs",
        415: "not application/json",
        full: "the queue is full; see Retry-After",
        503: "shutting down, or no sandbox; see Retry-After",
    }
    return {
        "summary": summary,
        "operationId": request.get("$ref", "/verify").rsplit("/", 1)[-1],
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": _reply(reply),
            **{
                str(status): _reply({"$ref": "#/components/schemas/Error"}, text)
                for status, text in sorted(errors.items())
            },
            "422": _reply(malformed, "names the field that is wrong"),
        },
    }


def _reply(schema: Any, text: str = "done") -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _jobs() -> dict[str, Any]:
    """The checks' schemas, each with the id and the answer of its kind."""
    union = CHECK.json_schema(ref_template=_REF)
    schemas: dict[str, Any] = union.pop("$defs")
    for kind, reference in union["discriminator"]["mapping"].items():
        schema = schemas[reference.rsplit("/", 1)[-1]]
        answer = "code" if kind in CODE_KINDS else "completion"
        text: dict[str, Any] = {"type": "string"}
        if kind in LIST_KINDS:
            text = {"anyOf": [text, {"type": "array", "items": {"type": "object"}}]}
        schema["properties"] = {"id": {"type": "string"}, **schema["properties"], answer: text}
        schema["required"] = ["id", *schema.get("required", []), answer]
    schemas["Job"] = {"oneOf": union["oneOf"], "discriminator": union["discriminator"]}
    return schemas


def _verdict() -> dict[str, Any]:
    number = {"type": "number", "minimum": 0}
    count = {"type": "integer", "minimum": 0}
    properties: dict[str, Any] = {
        "id": {"type": ["string", "null"]},
        "outcome": {"enum": [str(outcome) for outcome in Outcome]},
        "score": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]},
        "passed": {"type": ["boolean", "null"]},
        "tests_passed": count,
        "tests_total": count,
        "message": {"type": "string"},
        "cpu_s": number,
        "wall_s": number,
        "sandbox": {
            "type": "object",
            "required": ["engine", "isolation"],
            "properties": {
                "engine": {"enum": ["docker", "local", "none"]},
                "isolation": {"enum": ["split", "shared", "none needed"]},
            },
        },
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _health() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["status", "version"],
        "properties": {
            "status": {"enum": ["ok", "draining", "unhealthy"]},
            "version": {"type": "string"},
            "engine": {"type": "string"},
            "jobs": {"type": "integer"},
            "queue": {"type": "integer"},
        },
    }
