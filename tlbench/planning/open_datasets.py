"""Opens the datasets that a suite names, after each pair of domains that it lists has become a dataset of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from tlbench.core.cell import DatasetChoice
from tlbench.core.errors import UserError, nearest
from tlbench.core.validation import Location
from tlbench.data import catalog as data
from tlbench.store.artifacts import Artifacts
from tlbench.suite.domain_pairs import every_pair, expand_datasets, leave_one_out, one_pair, split_pair
from tlbench.suite.spec import DatasetSpec, Suite
from tlbench.suite.yaml_source import Source


class DatasetOpener:
    """Opens the datasets of one suite, and collects what is wrong with them, so that all of it is reported at once.

    Args:
        source: The suite's text, for the lines in messages.
        folder: Where relative paths start.
        artifacts: Where decoded data are kept.
        on_open: Called with the name of each dataset before it is opened, which may take a while.

    Attributes:
        errors: What is wrong, with file and line.
    """

    def __init__(
        self, source: Source, folder: Path, artifacts: Artifacts, on_open: Callable[[str], None] = lambda name: None
    ) -> None:
        self.errors: list[UserError] = []
        self._source, self._folder, self._artifacts, self._on_open = source, folder, artifacts, on_open
        self._lines: dict[str, str] = {}  # file and line where the suite lists a dataset, by its key

    def expand_pairs(self, suite: Suite) -> Suite:
        """Return the suite with each pair of domains that it lists as a dataset of its own.

        Pairs of domains that do not exist are left out, and an error says so.
        """
        return expand_datasets(suite, self._expand)

    def open_all(self, suite: Suite) -> dict[str, DatasetChoice]:
        """Open every dataset of a suite, decoding what this machine has not decoded yet.

        Args:
            suite: From :meth:`expand_pairs`.

        Returns:
            Choices by ``DatasetSpec.key``; those that cannot be opened are missing, and an error says why.
        """
        opened = {}
        for key, spec in suite.datasets.items():
            self._on_open(spec.name)
            try:
                opened[key] = self._open(spec, self._lines.get(key, ""))
            except UserError as error:
                self.errors.append(error)
        return opened

    def _expand(self, spec: DatasetSpec, grid: int, position: int) -> list[DatasetSpec]:
        """Return the datasets that one of a grid stands for, and remember their lines."""
        here: Location = ("grids", grid, "datasets", position)
        if spec.pairs is None:
            self._lines.setdefault(spec.key, self._source.at(here))
            return [spec]
        self._on_open(spec.name)
        datasets = []
        for number, domains in self._pairs(spec, here):
            datasets.append(one_pair(spec, *domains))
            self._lines.setdefault(datasets[-1].key, self._source.at((*here, "pairs", number)))
        return datasets

    def _pairs(self, spec: DatasetSpec, here: Location) -> Iterator[tuple[int, tuple[str | tuple[str, ...], str]]]:
        """Yield the pairs of existing domains that a dataset lists, with their positions in the list."""
        try:
            info = self._open(spec, self._source.at(here)).info
        except UserError as error:
            self.errors.append(error)
            return
        if len(info.domains) < 2:
            what = f"{self._source.at((*here, 'pairs'))}: pairs: {info.name} has no domains to pair"
            self.errors.append(UserError(what, "name two datasets instead: {source: A, target: B}"))
            return
        if spec.pairs == "all" or spec.pairs is None:
            yield from enumerate(every_pair(info.domains))
            return
        if spec.pairs == "leave_one_out":
            yield from enumerate(leave_one_out(info.domains))
            return
        for number, pair in enumerate(map(split_pair, spec.pairs)):
            unknown = [domain for domain in pair if domain not in info.domains]
            for domain in unknown:
                what = f"{self._source.at((*here, 'pairs', number))}: {info.name} has no domain {domain!r}"
                self.errors.append(UserError(what, nearest(domain, info.domains)))
            if not unknown:
                yield number, pair

    def _open(self, spec: DatasetSpec, line: str) -> DatasetChoice:
        try:
            params = data.validate(spec.name, spec.params, self._folder)
            return DatasetChoice(spec.name, params, data.open_dataset(spec.name, params, self._artifacts).info)
        except UserError as error:
            raise error.at(line) from error
