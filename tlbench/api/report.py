"""``tlbench.report``: writes the leaderboard of suites as a page with its tables, figures and records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlbench.api.open_suite import as_path, open_workspace, suite_names

if TYPE_CHECKING:
    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.report.page import Paths
    from tlbench.report.report_data import Report
    from tlbench.store.workspace import Workspace


@dataclass(frozen=True)
class WrittenReport:
    """A report and where it was written.

    Attributes:
        report: What it is made of.
        paths: Its files, and the sections that could not be shown.
        tracking: MLflow's store that it was read from.
        frozen: The folder of the copy that is kept for good; None where none was asked for.
    """

    report: Report
    paths: Paths
    tracking: str
    frozen: Path | None = None

    @property
    def index(self) -> Path:
        """The page."""
        return self.paths.index

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before believing a number."""
        return self.report.warnings

    @property
    def is_whole(self) -> bool:
        """Whether every section could be shown."""
        return not self.paths.failures

    def __repr__(self) -> str:
        return f"<WrittenReport {self.index}>"


def report(
    suites: AnySuite | Sequence[AnySuite],
    *,
    to: AnyPath = "reports",
    freeze: str | None = None,
    workspace: AnyPath | None = None,
    tracking_uri: str | None = None,
) -> WrittenReport:
    """Write the report of a suite, or of several joined, from MLflow alone.

    Args:
        suites: A suite file, its name, a dictionary, or a :class:`tlbench.Suite`; or a list of such.
        to: The folder of reports; the page is ``TO/NAME/index.html``.
        freeze: A tag under which a copy is kept for good in ``TO/frozen``.
        workspace: Where results are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the working directory.
        tracking_uri: MLflow's store or server; None is ``$MLFLOW_TRACKING_URI``, else SQLite in the workspace.

    Raises:
        UserError: A suite is wrong, MLflow cannot be read or has no such suite, or the tag is taken.
    """
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    folder, place = as_path(to), open_workspace(workspace)
    check_tag(freeze, folder)
    uri = prepare_tracking(tracking_uri, place.root)
    return write_report(suite_names(suites), uri, folder, place, freeze)


def check_tag(freeze: str | None, folder: Path) -> None:
    """Refuse a tag that is taken or can be none, before anything is written.

    Raises:
        UserError: It is so.
    """
    from tlbench.report.comparison import snapshots

    if freeze is not None:
        snapshots.refuse_tag(freeze, folder)


def write_report(
    names: Sequence[str], uri: str, folder: Path, workspace: Workspace, freeze: str | None = None
) -> WrittenReport:
    """Write the report of suites by their names.

    A section that cannot be shown is named with what happened and where; the others are written.

    Args:
        names: Names of the suites, which are joined.
        uri: MLflow's store.
        folder: Where reports are written.
        workspace: Where audits are kept.
        freeze: A tag under which a copy is kept, or None.

    Raises:
        UserError: MLflow cannot be read, or has no such suite.
    """
    from tlbench.report.comparison import snapshots
    from tlbench.report.page import save
    from tlbench.report.report_data import read_report

    found = read_report(names, uri, workspace.root)
    paths = save(found, folder)
    frozen = None if freeze is None else snapshots.freeze(found, freeze, folder)
    return WrittenReport(found, paths, uri, frozen)
