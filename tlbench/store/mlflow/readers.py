"""The one way to read results from a tracking store, whatever kind of store it is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from tlbench.core.errors import UserError
from tlbench.store.addresses import SQLITE
from tlbench.store.mlflow.presence import NamedExperiment, Presence
from tlbench.store.mlflow.read_postgresql import open_postgresql
from tlbench.store.mlflow.read_rest import SCHEMES, open_server
from tlbench.store.mlflow.read_sqlite import open_sqlite
from tlbench.store.mlflow.stored_experiment import StoredExperiment
from tlbench.store.postgresql import is_postgresql


class ExperimentReader(Protocol):
    """An open tracking store. What is read from a database is of one moment; what a server hands out, of each request.

    Every method raises UserError where the store cannot be reached or read.
    """

    def suites(self) -> list[str]:
        """Return the names of all experiments, sorted."""

    def read(self, suite: str) -> StoredExperiment:
        """Return a suite's experiment with all runs that ended.

        Raises:
            UserError: There is no such experiment; the message names the nearest. Or it was deleted.
        """

    def presence(self, suite: str) -> Presence | None:
        """Return which runs there are of a suite, in one query; None where no experiment has its name."""

    def tagged(self, key: str, value: str) -> list[NamedExperiment]:
        """Return the experiments with a tag of this value, whatever their name."""


def can_read(uri: str) -> bool:
    """Say whether a store is of a kind that :func:`open_reader` reads."""
    return uri.startswith((*SCHEMES, SQLITE)) or is_postgresql(uri)


def open_reader(uri: str) -> AbstractContextManager[ExperimentReader]:
    """Open a tracking store for reading.

    Args:
        uri: ``sqlite:///...`` or ``postgresql://...``, read by SQL, or the ``http(s)://`` address of a tracking server.

    Raises:
        UserError: It is another kind of store; or, on entering the context, it cannot be reached or read.
    """
    if uri.startswith(SCHEMES):
        return open_server(uri)
    if uri.startswith(SQLITE):
        return open_sqlite(uri)
    if is_postgresql(uri):
        return open_postgresql(uri)
    raise UserError(
        "a report reads sqlite:///FILE, postgresql://HOST/NAME or the http(s):// address of an MLflow server, "
        f"not {uri.partition(':')[0]!r}",
        "another store can be read through `mlflow server --backend-store-uri ...`",
    )
