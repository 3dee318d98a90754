"""Turns what a suite says into resolved choices: parameters filled in, labels and keys made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tlbench.core.cell import BackboneChoice, DatasetChoice, MethodChoice, Pretrain, ProtocolChoice, Teacher
from tlbench.core.config import Settings
from tlbench.core.description import DEFAULT_EXECUTION, Execution
from tlbench.core.episode_file import given_file
from tlbench.core.errors import UserError
from tlbench.core.hashing import canonical, digest
from tlbench.core.info import WeightsContents
from tlbench.core.validation import check
from tlbench.plugins.registry import Declaration
from tlbench.suite.catalog import Catalog
from tlbench.suite.spec import BackboneSpec, Grid, MethodSpec, PretrainSpec, Suite, TeacherSpec

VARIED = "#varied"
"""Ends the label of a backbone whose pre-training run goes with the seed of the cell."""


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights that a suite names.

    Attributes:
        path: Absolute.
        sha256: Hash of its content, by which the recipe knows it.
        contents: What it holds.
    """

    path: str
    sha256: str
    contents: WeightsContents | None = None


def choose_protocol(grid: Grid, catalog: Catalog) -> ProtocolChoice:
    """Resolve a grid's protocol and its options.

    Raises:
        UserError: The protocol is unknown, or an option is.
    """
    declared = catalog.declare("protocols", grid.protocol)
    options = resolve(declared, grid.options).model_dump(mode="json")
    given = given_file(options)
    if given is None:
        return ProtocolChoice(declared.name, declared.version, options)
    known_by_content = {**options, "episodes": {"sha256": given.sha256}}
    return ProtocolChoice(declared.name, declared.version, known_by_content, episodes_file=given.file)


def choose_method(name: str, params: dict[str, Any], catalog: Catalog, teacher: Teacher | None = None) -> MethodChoice:
    """Resolve a method and its parameters.

    Raises:
        UserError: The method is unknown, or a parameter is.
    """
    declared = catalog.declare("methods", name)
    config = resolve(declared, params)
    label = method_label(declared.name, config, "" if teacher is None else teacher.label)
    return MethodChoice(declared.name, config.model_dump(mode="json"), label, teacher, declared.version)


def choose_teacher(spec: TeacherSpec, backbones: Mapping[str, BackboneChoice], catalog: Catalog) -> Teacher:
    """Resolve a teacher: its method, its parameters and its backbone.

    Args:
        spec: What the suite says.
        backbones: Resolved backbones by ``BackboneSpec.key``.
        catalog: Declares the method.

    Raises:
        UserError: The method is unknown, or a parameter is.
    """
    method, backbone = choose_method(spec.method, spec.params, catalog), backbones[spec.backbone.key]
    usual = method.label == TeacherSpec.model_fields["method"].default
    label = backbone.info.label if usual else f"{backbone.info.label}/{method.label}"
    return Teacher(method, backbone, label)


def choose_listed(spec: MethodSpec, backbones: Mapping[str, BackboneChoice], catalog: Catalog) -> MethodChoice:
    """Resolve a method that a grid lists, with its teacher.

    Args:
        spec: What the suite says.
        backbones: Resolved backbones by ``BackboneSpec.key``.
        catalog: Declares the methods.

    Raises:
        UserError: The method is unknown, or a parameter is.
    """
    teacher = None if spec.teacher is None else choose_teacher(spec.teacher, backbones, catalog)
    return choose_method(spec.name, spec.params, catalog, teacher)


def choose_run(run: BackboneChoice, usual: BackboneChoice) -> BackboneChoice:
    """Return a backbone with one of several pre-training runs that go with the seeds of cells; all have one label.

    Args:
        run: The backbone with this run.
        usual: The backbone with the run that it has where nothing varies.
    """
    return replace(run, info=replace(run.info, label=f"{usual.info.label}{VARIED}"), group=usual.key)


def choose_backbone(
    spec: BackboneSpec,
    datasets: Mapping[str, DatasetChoice],
    catalog: Catalog,
    weights_file: WeightsFile | None = None,
    execution: Execution = DEFAULT_EXECUTION,
) -> BackboneChoice:
    """Resolve a backbone and the pre-training runs it names, if any.

    Args:
        spec: What the suite says.
        datasets: Opened datasets by ``DatasetSpec.key``.
        catalog: Describes architectures and declares pre-training methods.
        weights_file: Where the suite names a file of weights.
        execution: How its pre-training runs are executed.

    Raises:
        UserError: An option is impossible, or a pre-training run cannot read its corpus.
    """
    kind = spec.weights.kind
    weights: dict[str, Any] = {"kind": kind}
    if spec.weights.name:
        weights["name"] = spec.weights.name
    elif weights_file is not None:
        weights["sha256"] = weights_file.sha256
    found = [] if weights_file is None else [weights_file.contents]
    info = catalog.describe_backbone(spec.name, spec.params, weights, *found)
    path = None if weights_file is None else weights_file.path
    chosen = BackboneChoice(info, digest(info.recipe), weights_file=path, execution=execution)
    for run in spec.runs:
        chosen = _pretrained(chosen, run, datasets[run.dataset.key], catalog)
    return chosen


def _pretrained(start: BackboneChoice, spec: PretrainSpec, dataset: DatasetChoice, catalog: Catalog) -> BackboneChoice:
    """Return what a pre-training run makes of a backbone: the same architecture with other weights.

    Raises:
        UserError: The method cannot read such a corpus.
    """
    method = choose_method(spec.method, spec.params, catalog)
    declared = catalog.declare("methods", method.name)
    if start.info.modality != dataset.info.modality:
        raise UserError(
            f"{start.info.label}: {start.info.modality} backbones cannot be pre-trained on {dataset.info.name}, "
            f"which is {dataset.info.modality} data",
            f"name a backbone for {dataset.info.modality} data, or another dataset under pretrain",
        )
    weights = {
        "kind": "pretrain",
        "method": method.name,
        "params": method.params,
        "dataset": dataset.info.fingerprint,
        "seed": spec.seed,
    }
    if method.version != 1:
        weights["version"] = method.version
    made = f"{method.label}@{dataset.info.name}" + (f"#{spec.seed}" if spec.seed else "")
    if start.info.weights == "random":
        label = f"{start.info.label.removesuffix('/random')}/{made}"
    else:
        label = f"{start.info.label}+{made}"
        weights["after"] = start.info.recipe["weights"]
    info = replace(start.info, label=label, recipe={**start.info.recipe, "weights": weights})
    reads_labels = declared.constants.READS_LABELS
    run = Pretrain(method, dataset, start, spec.seed, reads_labels)
    return BackboneChoice(info, digest(info.recipe), run, execution=start.execution)


def resolve(declared: Declaration[Any], values: dict[str, Any]) -> Settings:
    """Return a declaration's settings with the given values.

    Raises:
        UserError: A value is unknown or out of bounds.
    """
    settings, problems = check(declared.settings, values)
    if settings is None:
        raise UserError(f"{declared.name}: {problems[0].what}", problems[0].hint)
    return settings


def method_label(name: str, config: Settings, teacher: str = "") -> str:
    """Return the method's name with its teacher and what differs from the defaults, e.g. ``lora(rank=4)``."""
    changed = [f"teacher={teacher}"] if teacher else []
    values = config.model_dump(mode="json")
    for key, field in type(config).model_fields.items():
        default = field.get_default(call_default_factory=True) if not field.is_required() else None
        if field.is_required() or getattr(config, key) != default:
            changed.append(f"{key}={values[key] if isinstance(values[key], str) else canonical(values[key])}")
    return f"{name}({', '.join(changed)})" if changed else name


def baseline_label(suite: Suite, chosen: Iterable[MethodChoice]) -> str | None:
    """Return the label of the suite's baseline, which the suite gives by name or by label.

    Args:
        suite: The suite.
        chosen: Its methods, resolved.

    Raises:
        UserError: No grid lists it, or its name fits several.
    """
    if suite.baseline is None:
        return None
    known = list(chosen)
    labels = sorted({choice.label for choice in known})
    named = sorted({choice.label for choice in known if choice.name == suite.baseline})
    if suite.baseline in labels:
        return suite.baseline
    if len(named) == 1:
        return named[0]
    fits = "no grid lists it" if not named else "it fits several methods"
    raise UserError(f"baseline {suite.baseline!r}: {fits}", f"valid: {', '.join(named or labels)}")
