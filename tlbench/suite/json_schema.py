"""The JSON Schema of a suite file, so that editors complete and check it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from tlbench.plugins.registry import ProtocolConstants
from tlbench.suite.catalog import Catalog
from tlbench.suite.spec import BackboneSpec, Grid, PretrainSpec, Suite, TeacherSpec

_DOMAIN = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
_MODELS: tuple[type[BaseModel], ...] = (Suite, Grid, BackboneSpec, PretrainSpec, TeacherSpec)


def schema(catalog: Catalog) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of suite files that name what the catalog holds."""
    _, combined = models_json_schema([(model, "validation") for model in _MODELS])
    parts: dict[str, Any] = combined["$defs"]
    suite = parts.pop("Suite")
    parts |= {
        "MethodSpec": _listed(catalog, parts["MethodSpec"]["properties"]["label"]),
        "TeacherSpec": _teacher(catalog, parts["TeacherSpec"]["properties"]),
        "DatasetSpec": _dataset(catalog, parts["DatasetSpec"]["properties"]["pairs"]),
        "BackboneSpec": _backbone(parts["BackboneSpec"], catalog),
        "PretrainSpec": _method(catalog.declared("pretrain"), "method", parts["PretrainSpec"]["properties"]),
        "Grid": _grid(parts["Grid"], catalog, parts),
    }
    for name in catalog.methods:
        parts[f"{name} parameters"] = _settings(catalog.declare("methods", name).settings, parts)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "tlbench suite", "$defs": parts, **{
        key: suite[key] for key in ("type", "properties", "required", "additionalProperties")
    }}  # fmt: skip


def _method(names: tuple[str, ...], key: str, more: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**more, key: {"enum": list(names)}, "params": {"type": "object"}},
        "required": [key] + ["dataset"] * ("dataset" in more),
        "additionalProperties": False,
        "allOf": [_when(key, name, {"properties": _params(name)}) for name in names],
    }


def _params(name: str) -> dict[str, Any]:
    return {"params": {"$ref": f"#/$defs/{name} parameters"}}


def _listed(catalog: Catalog, label: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a method in a grid; one that learns from a teacher names it, and no other does."""
    full = _method(catalog.methods, "name", {"teacher": {"$ref": "#/$defs/TeacherSpec"}, "label": label})
    taught = [name for name in catalog.methods if catalog.learns_from_teacher(name)]
    among = {"properties": {"name": {"enum": taught}}}
    full["allOf"].append({"if": among, "then": {"required": ["teacher"]}, "else": {"properties": {"teacher": False}}})
    return {"anyOf": [{"enum": [name for name in catalog.methods if name not in taught]}, full]}


def _teacher(catalog: Catalog, properties: dict[str, Any]) -> dict[str, Any]:
    usual = properties["method"]["default"]
    full = _method(catalog.teachers(), "method", properties)
    full["properties"]["method"]["default"] = usual
    full["required"] = ["backbone"]
    full["allOf"].append({"if": {"not": {"required": ["method"]}}, "then": {"properties": _params(usual)}})
    return full


def _open(names: tuple[str, ...], properties: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the schema of a name, or a mapping with the name and the source's own keys beside it."""
    known = {**(properties or {}), "name": {"enum": list(names)}}
    return {"anyOf": [{"enum": list(names)}, {"type": "object", "properties": known, "required": ["name"]}]}


def _dataset(catalog: Catalog, pairs: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a dataset: one, pairs of the domains of one, or several that are joined."""
    single = _open(tuple(name for name in catalog.datasets if name not in catalog.joined_datasets), {"pairs": pairs})
    member = _open(tuple(single["anyOf"][0]["enum"]), {"domain": _DOMAIN})
    joined = [
        {
            "type": "object",
            "properties": {"name": {"const": name}}
            | {key: {} for key in source.options}
            | dict.fromkeys(source.members, member),
            "required": list(source.members),
            "additionalProperties": False,
        }
        for name, source in catalog.joined_datasets.items()
    ]
    return {"anyOf": [*single["anyOf"], *joined]}


def _backbone(model: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    own = {key: model["properties"][key] for key in ("weights", "pretrain", "label")}
    own["weights"] |= {"anyOf": [{"enum": ["random", *catalog.publishers]}, *_weights(catalog)]}
    spec = _open(catalog.backbones, own)
    known = {"anyOf": [{"enum": list(catalog.backbones)}, *({"pattern": f"^{p}."} for p in catalog.backbone_prefixes)]}
    spec["anyOf"][0] = spec["anyOf"][1]["properties"]["name"] = {"type": "string", **known}
    return spec


def _weights(catalog: Catalog) -> list[dict[str, Any]]:
    """Return the schemas of weights that a library publishes under a name, and of those in a file."""
    return [
        {
            "type": "object",
            "properties": {kind: {"type": "string", "minLength": 1}},
            "required": [kind],
            "additionalProperties": False,
        }
        for kind in (*catalog.publishers, "file")
    ]


def _grid(model: dict[str, Any], catalog: Catalog, parts: dict[str, Any]) -> dict[str, Any]:
    common = {key: value for key, value in model["properties"].items() if key != "options"}
    common["protocol"] = {"enum": list(catalog.protocols)}
    branches = []
    for name in catalog.protocols:
        declared = catalog.declare("protocols", name)
        options, constants = _settings(declared.settings, parts), declared.constants
        keys = {**common, "shots": _shots(common["shots"], constants), **options.get("properties", {})}
        then = {"properties": keys, "additionalProperties": False, "required": options.get("required", [])}
        branches.append(_when("protocol", name, then))
    return {"type": "object", "properties": common, "required": model["required"], "allOf": branches}


def _shots(shots: dict[str, Any], constants: ProtocolConstants) -> dict[str, Any]:
    """Return the schema of the shots that a protocol takes."""
    number, full = shots["items"]["anyOf"]
    items = {"anyOf": [{**number, "minimum": constants.LEAST_SHOTS}, full]}
    return {**shots, "items": items, "default": list(constants.USUAL_SHOTS or shots["default"])}


def _when(key: str, value: str, then: dict[str, Any]) -> dict[str, Any]:
    return {"if": {"properties": {key: {"const": value}}, "required": [key]}, "then": then}


def _settings(settings: type[BaseModel], parts: dict[str, Any]) -> dict[str, Any]:
    """Return a settings class's schema; what it refers to moves among the shared parts."""
    own = settings.model_json_schema()
    parts |= own.pop("$defs", {})
    return own
