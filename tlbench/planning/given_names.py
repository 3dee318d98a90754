"""The names that a suite gives its rows (``label:``), and whether each of them names one row alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlbench.core.cell import BackboneChoice, MethodChoice
from tlbench.core.errors import UserError, together
from tlbench.core.validation import Location
from tlbench.suite.resolve import VARIED
from tlbench.suite.row_names import GivenNames, backbone_names, method_names
from tlbench.suite.spec import MethodSpec, Suite
from tlbench.suite.yaml_source import Source


@dataclass(frozen=True)
class _Listed:
    """A method or backbone that a grid lists: its label in full, the name that the suite gives it or empty, and where.

    The same label is one row, whichever grid lists it.
    """

    label: str
    name: str
    where: Location


def given_names(
    suite: Suite,
    source: Source,
    methods: Sequence[tuple[MethodSpec, MethodChoice]],
    backbones: Mapping[str, BackboneChoice],
    tuned: Mapping[str, str],
) -> GivenNames:
    """Return the names that a suite gives, by the labels of its rows.

    Args:
        suite: The suite.
        source: Its text, for the lines in messages.
        methods: The methods of its grids in their order, resolved.
        backbones: Its backbones, resolved, by ``BackboneSpec.key``.
        tuned: By the label of a searched method, the one that its rows have.

    Raises:
        UserError: With file and line of each name that two rows would have, or that is one of several of a row.
    """
    of_methods, of_backbones = list(_methods(suite, methods, tuned)), list(_backbones(suite, backbones))
    errors = [*_clashes(of_methods, source, method_names), *_clashes(of_backbones, source, backbone_names)]
    if errors:
        raise together(errors)
    return GivenNames(*({each.label: each.name for each in rows if each.name} for rows in (of_methods, of_backbones)))


def _methods(
    suite: Suite, methods: Sequence[tuple[MethodSpec, MethodChoice]], tuned: Mapping[str, str]
) -> Iterator[_Listed]:
    places = [
        ("grids", g, "methods", m, "label") for g, grid in enumerate(suite.grids) for m in range(len(grid.methods))
    ]
    for where, (spec, choice) in zip(places, methods, strict=True):
        yield _Listed(tuned.get(choice.label, choice.label), spec.label or "", where)


def _backbones(suite: Suite, backbones: Mapping[str, BackboneChoice]) -> Iterator[_Listed]:
    for g, grid in enumerate(suite.grids):
        for b, spec in enumerate(grid.backbones):
            first, *others = suite.runs_of(spec, grid)
            label = f"{backbones[spec.key].info.label}{VARIED}" if others else backbones[first.key].info.label
            yield _Listed(label, spec.label or "", ("grids", g, "backbones", b, "label"))


def _clashes(
    rows: Sequence[_Listed], source: Source, names_of: Callable[[list[str], Mapping[str, str]], dict[str, str]]
) -> Iterator[UserError]:
    """Yield what is wrong with the names of the rows of one kind."""
    given: dict[str, _Listed] = {}
    for row in rows:
        if row.name and (first := given.setdefault(row.label, row)).name != row.name:
            yield UserError(
                f"label {row.name!r}: {row.label} is called {first.name!r} already", "give a row one name"
            ).at(source.at(row.where))
    owner: dict[str, str] = {}
    rest = [row.label for row in rows if row.label not in given]
    owner |= {name: label for label, name in names_of(rest, {}).items()}
    for row in given.values():
        other = owner.setdefault(row.name, row.label)
        if other != row.label:
            yield UserError(
                f"label {row.name!r}: {other} has this name already, and {row.label} would have it too",
                "two rows need two names",
            ).at(source.at(row.where))
