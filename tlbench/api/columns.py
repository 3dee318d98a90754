"""The columns of the data frames that ``tlbench.results`` and ``tlbench.leaderboard`` return: names, types, meaning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pandas as pd

DType = Literal["string", "int64", "Int64", "float64", "bool", "datetime64[ns, UTC]"]


class Column(NamedTuple):
    """One column.

    Attributes:
        name: Its name.
        dtype: Its type in pandas; ``string`` and ``Int64`` may hold missing values, ``float64`` NaN.
        about: What it holds.
        stored: Name of the column of :attr:`tlbench.report.results.Results.done` that it comes from; empty where it is
            computed.
    """

    name: str
    dtype: DType
    about: str
    stored: str = ""


RESULT_COLUMNS = (
    Column("suite", "string", "name of the suite"),
    Column("cell", "string", "id of the cell, a hash of what decides its result", "cell"),
    Column("protocol", "string", "name of the protocol", "protocol"),
    Column("options", "string", "options of the protocol, as JSON", "options"),
    Column("method", "string", "name of the method", "method"),
    Column("method_label", "string", "the method with the parameters that differ from its defaults", "method_label"),
    Column("params", "string", "parameters of the method, as JSON", "params"),
    Column("backbone", "string", "name of the architecture; `none` for methods that need none", "backbone"),
    Column("backbone_label", "string", "the architecture with its options and weights", "backbone_label"),
    Column("weights", "string", "where its weights come from: random, pretrain, file, or a library", "weights"),
    Column("dataset", "string", "name of the dataset", "dataset"),
    Column("shots", "string", "labelled examples a class, a number or `full`", "shots"),
    Column("seed", "int64", "seed of the draw of labels and of the training", "seed"),
    Column("test_accuracy", "float64", "accuracy on the sealed test split, from 0 to 1", "test/accuracy"),
    Column(
        "test_accuracy_ci95", "float64", "half-width of the interval over test episodes, if any", "test/accuracy_ci95"
    ),
    Column("test_macro_f1", "float64", "F1 averaged over classes", "test/macro_f1"),
    Column("test_nll", "float64", "negative log-likelihood of the test, in nats an example", "test/nll"),
    Column("test_ece", "float64", "expected calibration error, from 0 to 1", "test/ece"),
    Column("validation_accuracy", "float64", "accuracy on validation labels, where some were held out",
           "validation/accuracy"),
    Column("device_seconds", "float64", "what the cell is billed: CPU-seconds, or GPU-seconds where `gpus` is not 0",
           "cost/device_seconds"),
    Column("embedding_seconds", "float64", "the part of it that is for frozen features", "cost/embedding_seconds"),
    Column("gpus", "float64", "GPUs that the cell held", "cost/gpus"),
    Column("seconds", "float64", "wall seconds", "cost/seconds"),
    Column("train_seconds", "float64", "wall seconds of the training alone", "cost/train_seconds"),
    Column("peak_memory", "float64", "peak memory, in bytes", "cost/peak_memory"),
    Column("trainable", "float64", "parameters that were trained", "footprint/trainable"),
    Column("parameters", "float64", "parameters of the whole predictor", "footprint/total"),
    Column("stored_bytes", "float64", "bytes to store for the task beside a shared backbone", "footprint/stored_bytes"),
    Column("transductive", "bool", "whether an answer may draw on the other queries of its episode", "transductive"),
    Column("oracle", "bool", "whether the method sees labels that all others are denied", "oracle"),
    Column("tuned", "bool", "whether a search chose the parameters"),
    Column("stale", "bool", "whether code behind the result has changed since"),
    Column("ended", "datetime64[ns, UTC]", "when the cell ended"),
    Column("run_id", "string", "id of the run in MLflow", "run_id"),
)  # fmt: skip
"""Further scores that a protocol stores follow as ``test_NAME`` and ``validation_NAME``, of type ``float64``."""

LEADERBOARD_COLUMNS = (
    Column("board", "int64", "rows of one board were planned on the same datasets and shots and may be compared"),
    Column("protocol", "string", "the protocol, with what tells two uses of it apart"),
    Column("datasets", "string", "datasets of the board, separated by commas"),
    Column("shots", "string", "shots of the board, separated by commas"),
    Column("rank", "Int64", "place by mean score; missing below the line"),
    Column("rank_low", "Int64", "best rank that simultaneous intervals leave the row"),
    Column("rank_high", "Int64", "worst rank that they leave it"),
    Column("method", "string", "name of the method as the page has it: the suite's, else the shortest that tells"),
    Column("backbone", "string", "name of the backbone, likewise"),
    Column("method_label", "string", "label of the method, with all that differs from its defaults"),
    Column("backbone_label", "string", "label of the backbone, likewise"),
    Column("metric", "string", "name of the metric that `score` is of"),
    Column("score", "float64", "mean score on the test over datasets, shots and seeds"),
    Column("score_low", "float64", "lower end of its 95% interval, which contains the error of seeds and test sets"),
    Column("score_high", "float64", "upper end of it"),
    Column("is_baseline", "bool", "whether the row is the baseline"),
    Column(
        "difference",
        "float64",
        "mean paired difference to the baseline on the same backbone, above 0 where the row is better",
    ),
    Column("difference_low", "float64", "lower end of its 95% interval"),
    Column("difference_high", "float64", "upper end of it"),
    Column("p_holm", "float64", "its p-value, corrected for all differences of the board (Holm)"),
    Column("seeds", "int64", "seeds of the dataset and shots that have fewest"),
    Column("cells", "int64", "cells that the row has"),
    Column("cells_expected", "int64", "cells that were planned for it"),
    Column("device_seconds", "float64", "median bill of a cell"),
    Column("device", "string", "what that is seconds of: CPU or GPU"),
    Column("seconds", "float64", "median wall seconds of a cell"),
    Column("shared_seconds", "float64", "device-seconds of pre-training and teachers that cells share"),
    Column("trainable", "float64", "median number of trained parameters"),
    Column("stored_bytes", "float64", "median bytes to store for a task beside a shared backbone"),
    Column("peak_memory", "float64", "median peak memory of a cell, in bytes"),
    Column("is_bound", "bool", "whether the row is an upper bound: its method sees labels that all others are denied"),
    Column("remark", "string", "why the row has no rank, or no difference; empty where it has both"),
)


def typed(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame whose columns have their declared types, also without a single row."""
    return frame.astype({column.name: column.dtype for column in columns if column.name in frame})
