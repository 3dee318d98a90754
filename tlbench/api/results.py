"""``tlbench.results``: what a suite has come to, one row a finished cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlbench.api.columns import RESULT_COLUMNS, typed
from tlbench.api.open_suite import open_workspace, suite_name

if TYPE_CHECKING:
    import pandas as pd

    from tlbench.api.open_suite import AnyPath, AnySuite
    from tlbench.report.results import Results

_SCORES = ("test/", "validation/")


def results(suite: AnySuite, *, workspace: AnyPath | None = None, tracking_uri: str | None = None) -> pd.DataFrame:
    """Return the results of a suite, one row a finished cell, from MLflow alone.

    The columns are those of :data:`tlbench.api.columns.RESULT_COLUMNS`, always all of them and of the same types,
    followed by further scores that the protocols of the suite store. Cells that failed or have not run have no row:
    ``tlbench.plan(suite).to_frame()`` lists them.

    Args:
        suite: A suite file, its name, a dictionary, or a :class:`tlbench.Suite`.
        workspace: Where results are kept; None is ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the working directory.
        tracking_uri: MLflow's store or server; None is ``$MLFLOW_TRACKING_URI``, else SQLite in the workspace.

    Raises:
        UserError: The suite is wrong, or MLflow cannot be read or has no such suite.
    """
    from tlbench.report.results import load
    from tlbench.store.mlflow.tracking_uri import prepare_tracking

    name = suite_name(suite)
    return results_frame(load(name, prepare_tracking(tracking_uri, open_workspace(workspace).root)))


def results_frame(found: Results) -> pd.DataFrame:
    """Return results under the names and with the types that programs may rely on, in the order of their settings."""
    import pandas as pd

    from tlbench.report.comparable_cells import by_shots
    from tlbench.report.staleness import stale

    done = found.done
    old = stale(done, found.trials)
    frame = pd.DataFrame({column.name: done[column.stored] for column in RESULT_COLUMNS if column.stored})
    frame["suite"] = found.suite
    frame["tuned"] = done["setting"] != ""
    frame["stale"] = done["cell"].isin(old)
    frame["ended"] = pd.to_datetime(done["ended"].astype("float64"), unit="s", utc=True)
    known = {column.stored for column in RESULT_COLUMNS}
    further = sorted(str(name) for name in done if str(name).startswith(_SCORES) and name not in known)
    for name in further:
        frame[name.replace("/", "_")] = done[name].astype("float64")
    names = [*(column.name for column in RESULT_COLUMNS), *(name.replace("/", "_") for name in further)]
    ordered = typed(frame[names], RESULT_COLUMNS)
    return ordered.sort_values(
        ["protocol", "dataset", "backbone_label", "method_label", "shots", "seed", "cell"],
        key=lambda values: values.map(by_shots) if values.name == "shots" else values,
        ignore_index=True,
    )
