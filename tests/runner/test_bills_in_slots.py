"""In the slots of a run: cells on the same features have the same bill for them, whichever comes first."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_suites import planned, suite

from tlbench.core.cell import Cell
from tlbench.core.record import Cost
from tlbench.core.resources import Resources
from tlbench.runner.session import RaySession
from tlbench.runner.slot_pool import Finished, Slots

WIDE = {"name": "conv4", "width": 48}
METHODS = ["linear_probe", "knn"]
ORDERS = [METHODS, METHODS[::-1]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bills")


@pytest.fixture(scope="module")
def slots(place: Path) -> Iterator[Slots]:
    before = dict(os.environ)
    os.environ.pop("TLBENCH_ARTIFACTS", None)
    try:
        with RaySession(place) as session, Slots(session, place / "artifacts", Resources(), most=1) as slots:
            yield slots
    finally:
        os.environ.clear()
        os.environ.update(before)


def cost(slots: Slots, cell: Cell) -> Cost:
    """Run a cell in the one slot."""
    deadline = time.monotonic() + 240
    while not slots.free(1):
        slots.events(1.0)
    slots.submit(slots.free(1)[0], cell)
    events = slots.events(0.2)
    while not events:
        assert time.monotonic() < deadline
        events = slots.events(0.2)
    (event,) = events
    assert isinstance(event, Finished)
    assert event.record is not None
    assert event.record.status == "done", event.record.error
    return event.record.cost


def test_two_methods_on_the_same_features_in_either_order(place: Path, slots: Slots) -> None:
    # Each seed has random weights, and so features, of its own: in one the probe computes them, in the other knn.
    grid = {"methods": METHODS, "backbones": [WIDE], "seeds": len(ORDERS)}
    cells = {(cell.seed, cell.method.name): cell for cell in planned(suite("bills", grid), place, place / "artifacts")}
    costs = [[cost(slots, cells[seed, name]) for name in order] for seed, order in enumerate(ORDERS)]
    for first, second in costs:
        assert first.embedding_seconds == second.embedding_seconds
        assert first.examples_embedded == second.examples_embedded
        assert first.embedding_seconds is not None
        assert first.device_seconds is not None
        assert second.device_seconds is not None
        assert first.embedding_seconds > 0.1
        assert first.cpu_seconds > first.embedding_seconds > second.cpu_seconds, "as measured, the first one computes"
        assert first.device_seconds < first.cpu_seconds, "it computes all, and is billed for what it reads"
        assert second.device_seconds > second.cpu_seconds
    by_method = [dict(zip(order, each, strict=True)) for order, each in zip(ORDERS, costs, strict=True)]
    for name in METHODS:
        one, other = (each[name].device_seconds for each in by_method)
        assert one == pytest.approx(other, rel=0.6), "first or second, a method's bill is the same"
