"""A suite of typed objects in the form in which files and dictionaries write it."""

from __future__ import annotations

from typing import Any

from tlbench.suite.spec import BackboneSpec, DatasetSpec, Grid, MethodSpec, PretrainSpec, Suite, TeacherSpec, Weights


def written_form(suite: Suite) -> dict[str, Any]:
    """Return the dictionary that says the same as a suite; reading it gives the suite again."""
    whole = suite.model_dump(mode="json", exclude_defaults=True, exclude={"grids"})
    return {"name": whole.pop("name"), "grids": [_grid(grid) for grid in suite.grids], **whole}


def _grid(grid: Grid) -> dict[str, Any]:
    said: dict[str, Any] = {
        "protocol": grid.protocol,
        "methods": [_method(method) for method in grid.methods],
        "backbones": [_backbone(backbone) for backbone in grid.backbones],
        "datasets": [_dataset(dataset) for dataset in grid.datasets],
    }
    given = {"shots": grid.shots, "seeds": grid.seeds, "pretrain_seeds": grid.pretrain_seeds}
    said |= {key: list(value) for key, value in given.items() if key in grid.model_fields_set and value is not None}
    return said | grid.options


def _method(method: MethodSpec) -> dict[str, Any]:
    teacher = {} if method.teacher is None else {"teacher": _teacher(method.teacher)}
    return {"name": method.name, **_params(method.params), **teacher, **_label(method.label)}


def _teacher(teacher: TeacherSpec) -> dict[str, Any]:
    return {"method": teacher.method, "backbone": _backbone(teacher.backbone), **_params(teacher.params)}


def _dataset(dataset: DatasetSpec) -> dict[str, Any]:
    pairs = list(dataset.pairs) if isinstance(dataset.pairs, tuple) else dataset.pairs
    return {"name": dataset.name, **dataset.params, **({} if pairs is None else {"pairs": pairs})}


def _backbone(backbone: BackboneSpec) -> dict[str, Any]:
    pretrain = {} if backbone.pretrain is None else {"pretrain": _pretrain(backbone.pretrain)}
    return {"name": backbone.name, **backbone.params, "weights": _weights(backbone.weights), **pretrain} | _label(
        backbone.label
    )


def _pretrain(run: PretrainSpec) -> dict[str, Any]:
    after = {} if run.after is None else {"after": _pretrain(run.after)}
    return {"method": run.method, "dataset": _dataset(run.dataset), **_params(run.params), "seed": run.seed, **after}


def _label(label: str | None) -> dict[str, str]:
    return {} if label is None else {"label": label}


def _params(params: dict[str, Any]) -> dict[str, Any]:
    return {"params": params} if params else {}


def _weights(weights: Weights) -> str | dict[str, str]:
    if weights.kind == "random":
        return "random"
    if weights.kind == "file":
        return {"file": weights.path}
    return weights.kind if weights.name == "DEFAULT" else {weights.kind: weights.name}
