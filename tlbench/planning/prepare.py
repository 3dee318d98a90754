"""From a suite file to its plan: opens the datasets, resolves the backbones, expands the grids. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from tlbench.backbones import catalog as architectures
from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import BackboneChoice, DatasetChoice
from tlbench.core.class_splits import deal_classes
from tlbench.core.description import Execution
from tlbench.core.errors import UserError, nearest, together
from tlbench.core.hashing import sha256
from tlbench.core.info import DatasetInfo
from tlbench.core.validation import Location
from tlbench.data import catalog as data
from tlbench.data.sampling import check_episodes, check_shots
from tlbench.planning.search_plan import Searches, plan_searches, studies, with_winners
from tlbench.plugins import registry
from tlbench.search.problem import mark_tuned
from tlbench.store.artifacts import Artifacts
from tlbench.store.ledger import Ledger
from tlbench.suite.catalog import Catalog
from tlbench.suite.domain_pairs import every_pair, expand_datasets, one_pair, split_pair
from tlbench.suite.load import load
from tlbench.suite.plan import Plan, expand
from tlbench.suite.resolve import WeightsFile, baseline_label, choose_backbone, choose_listed, choose_protocol
from tlbench.suite.search_validation import ends_no_trial, searched_space
from tlbench.suite.spec import BackboneSpec, DatasetSpec, Suite
from tlbench.suite.yaml_source import Source, read


@dataclass(frozen=True)
class Prepared:
    """A suite that may run.

    Attributes:
        suite: What the file says.
        text: The file itself.
        plan: Its cells.
        baseline: Label of the baseline, or empty.
        warnings: What a reader of the results must know of the data and of the search.
        searches: What is searched; cells of the plan that wait for it have no parameters yet.
    """

    suite: Suite
    text: str
    plan: Plan
    baseline: str
    warnings: tuple[str, ...]
    searches: Searches = field(default_factory=lambda: Searches({}))

    def with_winners(self, ledger: Ledger) -> Prepared:
        """Return the suite with the parameters that its searches have found so far."""
        if not self.searches.waiting:
            return self
        plan, searches = with_winners(self.plan, self.searches, studies(self.searches, ledger))
        return replace(self, plan=plan, searches=searches)


def prepare(path: Path, artifacts: Artifacts, opening: Callable[[str], None] = lambda name: None) -> Prepared:
    """Read a suite, open its data and plan its cells.

    Args:
        path: The suite file.
        artifacts: Where decoded data are kept.
        opening: Told the name of each dataset before it is opened.

    Raises:
        UserError: Something in the file, the data or the weights is wrong.
    """
    names = catalog()
    base = path.absolute().parent
    source = read(path)
    faults: list[UserError] = []
    suite, places = with_pairs(load(path, names), source, base, artifacts, faults, opening)
    datasets = open_datasets(suite, base, artifacts, faults, opening, places)
    if faults:
        raise together(faults)
    backbones = resolve_backbones(suite, base, datasets, names)
    check_tasks(suite, source, names, datasets, backbones)
    chosen = [(spec, choose_listed(spec, backbones, names)) for grid in suite.grids for spec in grid.methods]
    try:
        baseline = baseline_label(suite, [choice for _, choice in chosen]) or ""
    except UserError as error:
        raise _at(source.at(("baseline",)), error) from error
    spaces = {choice.key: space for spec, choice in chosen if (space := searched_space(spec, suite, names)) is not None}
    plan, searches = plan_searches(expand(suite, names, datasets, backbones), suite, spaces)
    tuned = {choice.label: mark_tuned(choice).label for _, choice in chosen if choice.key in spaces}
    return Prepared(
        suite=suite,
        text=path.read_text(encoding="utf-8"),
        plan=plan,
        baseline=tuned.get(baseline, baseline),
        warnings=(
            *ends_no_trial(suite, names),
            *(f"{c.info.name}: {text}" for c in datasets.values() for text in c.info.warnings),
        ),
        searches=searches,
    )


def check_tasks(
    suite: Suite,
    source: Source,
    names: Catalog,
    datasets: dict[str, DatasetChoice],
    backbones: dict[str, BackboneChoice],
) -> None:
    """Refuse tasks that the data cannot pose: too few examples or classes, or test classes seen in pre-training.

    Raises:
        UserError: Naming file, line, dataset and class of all of them.
    """
    faults = []
    for position, grid in enumerate(suite.grids):
        options = choose_protocol(grid, names).options
        adapting = bool(names.declare("protocols", grid.protocol).constants.get("PAIRS"))
        for info in (datasets[spec.key].info for spec in grid.datasets):
            for number, shots in enumerate(grid.shots):
                try:
                    if "ways" in options:
                        check_episodes(info, options["ways"], shots, options["queries"])
                    else:
                        check_shots(info, shots, adapting=adapting)
                except UserError as error:
                    faults.append(_at(source.at(("grids", position, "shots", number)), error))
            if "ways" in options and not faults:
                listed = (*grid.backbones, *(teacher.backbone for teacher in grid.teachers))
                place = source.at(("grids", position, "datasets"))
                faults += [_at(place, error) for spec in listed for error in _seen(info, backbones[spec.key])]
    if faults:
        raise together(faults)


def _seen(info: DatasetInfo, backbone: BackboneChoice) -> Iterator[UserError]:
    """Yield what pre-training has seen of the test classes of a dataset's episodes."""
    tested = {info.classes[label] for label in deal_classes(info)["test"]}
    for run in backbone.runs:
        corpus = run.dataset.info
        trained = corpus.class_splits.get("train", range(len(corpus.classes)))
        seen = {corpus.classes[label] for label in trained} & tested
        if seen:
            yield UserError(
                f"{backbone.info.label}: pre-training on {corpus.name} has seen test classes of {info.name}'s "
                f"episodes: {', '.join(sorted(seen)[:5])}",
                "pre-train on another dataset, or use one that declares a split of its classes",
            )


def catalog() -> Catalog:
    """Return everything that a suite may name."""
    return Catalog(
        datasets=data.names(),
        backbones=architectures.names(),
        validate_dataset=data.validate,
        describe_backbone=architectures.describe,
        methods=registry.names("methods"),
        protocols=registry.names("protocols"),
        backbone_prefixes=architectures.PREFIXES,
    )


def with_pairs(
    suite: Suite,
    source: Source,
    base: Path,
    artifacts: Artifacts,
    faults: list[UserError],
    opening: Callable[[str], None] = lambda name: None,
) -> tuple[Suite, dict[str, str]]:
    """Return the suite with each pair of domains that it lists as a dataset of its own.

    Args:
        suite: The suite.
        source: Its text, for messages.
        base: The folder that relative paths start from.
        artifacts: Where decoded data are kept.
        faults: Is given what is wrong, with file and line: a dataset has no such domain, or none at all.
        opening: Told the name of each dataset before it is opened.

    Returns:
        The suite, and file and line where it lists each dataset, by the key of the dataset's specification.
    """
    places: dict[str, str] = {}

    def datasets_of(spec: DatasetSpec, g: int, d: int) -> list[DatasetSpec]:
        here: Location = ("grids", g, "datasets", d)
        if spec.pairs is None:
            places.setdefault(spec.key, source.at(here))
            return [spec]
        opening(spec.name)
        found = []
        for position, names in _pairs(spec, source, here, base, artifacts, faults):
            found.append(one_pair(spec, *names))
            places.setdefault(found[-1].key, source.at((*here, "pairs", position)))
        return found

    return expand_datasets(suite, datasets_of), places


def _pairs(
    spec: DatasetSpec, source: Source, here: Location, base: Path, artifacts: Artifacts, faults: list[UserError]
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Yield the pairs of domains that a suite lists and their positions, after a look at what domains there are."""
    try:
        info = _opened(spec, base, artifacts, source.at(here)).info
    except UserError as error:
        faults.append(error)
        return
    if len(info.domains) < 2:
        what = f"{source.at((*here, 'pairs'))}: pairs: {info.name} has no domains to pair"
        faults.append(UserError(what, "name two datasets instead: {source: A, target: B}"))
        return
    if spec.pairs == "all" or spec.pairs is None:
        yield from enumerate(every_pair(info.domains))
        return
    for position, pair in enumerate(map(split_pair, spec.pairs)):
        unknown = [domain for domain in pair if domain not in info.domains]
        for domain in unknown:
            what = f"{source.at((*here, 'pairs', position))}: {info.name} has no domain {domain!r}"
            faults.append(UserError(what, nearest(domain, info.domains)))
        if not unknown:
            yield position, pair


def open_datasets(
    suite: Suite,
    base: Path,
    artifacts: Artifacts,
    faults: list[UserError],
    opening: Callable[[str], None] = lambda name: None,
    places: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, DatasetChoice]:
    """Open every dataset of a suite, decoding what this machine has not decoded yet.

    Args:
        suite: The suite.
        base: The folder that relative paths start from.
        artifacts: Where decoded data are kept.
        faults: Is given what is wrong with those that cannot be opened.
        opening: Told the name of each dataset before it is opened.
        places: File and line of each dataset in the suite, by the key of its specification, for messages.

    Returns:
        Choices by the key of the dataset's specification.
    """
    found = {}
    for key, spec in suite.datasets.items():
        opening(spec.name)
        try:
            found[key] = _opened(spec, base, artifacts, places.get(key, ""))
        except UserError as error:
            faults.append(error)
    return found


def _opened(spec: DatasetSpec, base: Path, artifacts: Artifacts, place: str) -> DatasetChoice:
    params = data.from_base(data.validate(spec.name, spec.params), base)
    try:
        return DatasetChoice(spec.name, params, data.open_dataset(spec.name, params, artifacts).info)
    except UserError as error:
        raise _at(place, error) from error


def _at(place: str, error: UserError) -> UserError:
    """Return an error that names file and line, where these are known."""
    return UserError(f"{place}: {error.message}", error.hint) if place else error


def resolve_backbones(
    suite: Suite, base: Path, datasets: dict[str, DatasetChoice], names: Catalog
) -> dict[str, BackboneChoice]:
    """Return the backbones of a suite, recipes resolved, by the key of their specification.

    Raises:
        UserError: A weights file cannot be read.
    """
    execution = suite.resources.execution
    found = {key: _backbone(spec, base, datasets, names, execution) for key, spec in suite.backbones.items()}
    meanings: dict[str, set[str]] = {}
    for choice in found.values():
        meanings.setdefault(choice.info.label, set()).add(choice.key)
    shared = {label for label, keys in meanings.items() if len(keys) > 1}
    return {key: _told_apart(choice) if choice.info.label in shared else choice for key, choice in found.items()}


def _told_apart(choice: BackboneChoice) -> BackboneChoice:
    """Give a backbone a label that no other of the suite has."""
    return replace(choice, info=replace(choice.info, label=f"{choice.info.label}#{choice.key[:6]}"))


def _backbone(
    spec: BackboneSpec, base: Path, datasets: dict[str, DatasetChoice], names: Catalog, execution: Execution
) -> BackboneChoice:
    if spec.weights.kind != "file":
        return choose_backbone(spec, datasets, names, execution=execution)
    file = (base / Path(spec.weights.path).expanduser()).resolve()
    choice = choose_backbone(spec, datasets, names, WeightsFile(str(file), sha256(file)), execution)
    if choice.info.modality == "text":
        read_tokenizer(file)  # refused here, and not after hours, where there is none
    return choice
