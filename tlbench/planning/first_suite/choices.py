"""What the first suite compares, so that it answers within a stated time."""

from __future__ import annotations

from dataclasses import dataclass

from tlbench.planning.first_suite.data_facts import DataFacts
from tlbench.planning.first_suite.networks import Network

FROZEN = ("linear_probe", "knn")
"""Methods on frozen features, which cost little beside the features."""

SEEDS = 3
BATCH, LEAST_STEPS, MOST_EPOCHS = 32, 200, 40
_TRAINING_PRICE = 4.5  # forward passes that a training pass of the whole network takes, the optimiser included
_STARTING_SECONDS = 45.0  # of Ray, MLflow and the report
_USED = 0.5  # of the time is planned with: other work slows a machine down
_PARTS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01)  # of the examples
_FEWEST_EPOCHS = 5
_FEWEST_TRAINED, _FEWEST_TESTED = 5, 100  # examples of each class that are kept


@dataclass(frozen=True)
class Choices:
    """What the first suite compares.

    Attributes:
        side: Side of the images in pixels; None for texts, or where it is the network's own.
        trained: Methods that train the network, in order of preference.
        epochs: Their epochs; None leaves them at the default.
        left_out: Methods for which there is no time.
        per_class: The most examples of each class to train on and to test on; None uses all.
        seconds: CPU-seconds that it will take.
    """

    side: int | None
    trained: tuple[str, ...]
    epochs: int | None
    left_out: tuple[str, ...]
    per_class: tuple[int, int] | None
    seconds: float


def choose(facts: DataFacts, network: Network, minutes: float, cores: int) -> Choices:
    """Return what fits into the time: two ways of training the network, on as many examples and as large images as may.

    Where not even one fits, only methods on frozen features are left.

    Args:
        facts: The data.
        network: The network and its price.
        minutes: Wall minutes that a run may take.
        cores: CPU cores that run cells.
    """
    budget = max(0.0, 60 * minutes - _STARTING_SECONDS) * cores * _USED
    plans = [_plan(facts, network, side, price, budget, part) for part in _PARTS for side, price in network.sides()]
    for least in (2, 1):
        found = next((plan for plan in plans if len(plan.trained) >= least and plan.seconds <= budget), None)
        if found is not None:
            return found
    return next((plan for plan in plans if plan.seconds <= budget), plans[-1])


def preferred(facts: DataFacts, network: Network) -> tuple[str, ...]:
    """Return the methods that train the network, the most promising first.

    Where a class has few labels, methods that start from the probe or train little come first.
    """
    transformer = network.info.modality == "text"
    if facts.fewest < 5:
        return ("lp_ft", "lora", "bitfit") if transformer else ("lp_ft", "finetune", "bitfit")
    return ("finetune", "lora", "lp_ft", "bitfit")


def _plan(facts: DataFacts, network: Network, side: int | None, price: float, budget: float, part: float) -> Choices:
    """Return as many methods as have time for enough steps, with the epochs that are left to each.

    Args:
        facts: The data.
        network: The network.
        side: Side of the images.
        price: Seconds of a forward pass of an example.
        budget: Seconds that there are.
        part: Part of the examples that are used.
    """
    per_class = _per_class(facts, part)
    train, test = facts.examples("train"), facts.examples("test")
    if per_class is not None:
        train, test = (min(n, most * len(facts.info.classes)) for n, most in zip((train, test), per_class, strict=True))
    features, pass_seconds = price * (train + test), _TRAINING_PRICE * price * train
    steps = -(-train // BATCH)
    usual = max(MOST_EPOCHS, -(-LEAST_STEPS // steps))
    least = max(_FEWEST_EPOCHS, -(-LEAST_STEPS // steps))
    wanted, count, epochs = preferred(facts, network), 0, usual
    for number in range(1, len(wanted) + 1):
        left = (budget - features) / (SEEDS * number) - price * test
        possible = min(usual, int(left / pass_seconds))
        if possible < least:
            break
        count, epochs = number, possible
    return Choices(
        side=None if side == network.info.made_for else side,
        trained=wanted[:count],
        epochs=epochs if count and epochs < usual else None,
        left_out=wanted[count:],
        per_class=per_class,
        seconds=features + SEEDS * count * (pass_seconds * epochs + price * test),
    )


def _per_class(facts: DataFacts, part: float) -> tuple[int, int] | None:
    """Return the most examples of each class to train on and to test on; None for all."""
    if part == 1:
        return None
    train, test = (facts.examples(name) / len(facts.info.classes) for name in ("train", "test"))
    return max(_FEWEST_TRAINED, round(part * train)), max(round(part * test), min(_FEWEST_TESTED, round(test)))
