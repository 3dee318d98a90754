"""What a protocol promises: the test split stays with it, draws are paired, scores and evidence agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tlbench.core.info import DatasetInfo, TaskInfo
from tlbench.core.record import Footprint, Outcome, unpack_bits, unpack_classes
from tlbench.data.dataset import TEST, TRAIN, Dataset, Task
from tlbench.protocols import classification, episodic
from tlbench.testing.fakes import fake_backbone, fake_dataset
from tlbench.training.context import Context
from tlbench.training.fewshot import episodes
from tlbench.training.fewshot.prototypes import distance_logits, prototypes

CLASSES, EACH = 12, 40


@pytest.fixture
def dataset() -> Dataset:
    """Images whose first pixels spell out their row number, so that a split can be traced back to rows."""
    count = CLASSES * EACH
    x = np.zeros((count, 1, 4, 4), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = np.arange(count) // 256, np.arange(count) % 256
    y = np.repeat(np.arange(CLASSES), EACH)
    x[:, 0, 1, 0] = y * 20
    part = np.where(np.arange(count) % 4 == 3, TEST, TRAIN).astype(np.uint8)
    info = DatasetInfo(
        name="traced",
        modality="image",
        fingerprint="f" * 16,
        classes=tuple(f"c{k}" for k in range(CLASSES)),
        shape=(1, 4, 4),
        counts={"train": (EACH * 3 // 4,) * CLASSES, "test": (EACH // 4,) * CLASSES},
        class_splits={"train": (0, 2, 4, 6), "val": (1, 3), "test": (5, 7, 8, 9, 10, 11)},
    )
    return Dataset(info, x, y, part, np.zeros(count, np.int64))


def context() -> Context:
    return Context(random_root="cell", device=torch.device("cpu"))


def rows_of(x: np.ndarray) -> np.ndarray:
    return x[:, 0, 0, 0].astype(int) * 256 + x[:, 0, 0, 1]


class ByPixel:
    """Predicts from the pixel that holds the class, wrong where ``wrong`` says so."""

    def __init__(self, classes: int, shift: int = 0) -> None:
        self.classes, self.shift = classes, shift

    def logits(self, x: Tensor) -> Tensor:
        label = (x[:, 0, 1, 0].long() // 20 + self.shift) % self.classes
        return 4 * torch.eye(self.classes)[label]

    def footprint(self) -> Footprint:
        return Footprint(trainable=0, total=0, stored_bytes=0)


def classify(dataset: Dataset, shots: int | str, seed: int, fit: object) -> Outcome:
    info = TaskInfo("classification", dataset.info, shots, CLASSES, {})
    outcome = classification.run(info, dataset, seed, fit, context())
    assert outcome is not None
    return outcome


def test_classification_never_hands_out_a_test_example(dataset: Dataset) -> None:
    seen: list[Task] = []

    def fit(task: Task) -> ByPixel:
        seen.append(task)
        return ByPixel(CLASSES)

    for shots in (1, 5, "full"):
        classify(dataset, shots, 0, fit)
    for task in seen:
        for split in (task.train, task.val, task.unlabeled):
            if split is not None:
                assert (dataset.part[rows_of(split.x)] == TRAIN).all()
                np.testing.assert_array_equal(rows_of(split.x), split.rows)
        assert task.source is None


@pytest.mark.parametrize("shots", [2, 5, 20])
def test_the_label_budget_includes_validation_and_the_rest_comes_without_labels(dataset: Dataset, shots: int) -> None:
    info = TaskInfo("classification", dataset.info, shots, CLASSES, {})
    task = classification.draw(info, dataset, seed=3)
    labelled = np.concatenate([task.train.labels, task.val.labels])
    np.testing.assert_array_equal(np.bincount(labelled, minlength=CLASSES), shots)
    assert task.unlabeled.y is None
    parts = [task.train.rows, task.val.rows, task.unlabeled.rows]
    assert len(np.unique(np.concatenate(parts))) == sum(map(len, parts)) == (dataset.part == TRAIN).sum()


def test_one_shot_leaves_nothing_to_select_by(dataset: Dataset) -> None:
    task = classification.draw(TaskInfo("classification", dataset.info, 1, CLASSES, {}), dataset, seed=0)
    assert task.val is None
    assert len(task.train) == CLASSES


def test_draws_are_paired_across_methods_and_differ_between_seeds(dataset: Dataset) -> None:
    info = TaskInfo("classification", dataset.info, 5, CLASSES, {})
    first, again, other = (classification.draw(info, dataset, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.train.rows, again.train.rows)
    assert set(first.train.rows) != set(other.train.rows)


def test_classification_scores_agree_with_the_stored_bits(dataset: Dataset) -> None:
    perfect = classify(dataset, 5, 0, lambda task: ByPixel(CLASSES))
    assert perfect.scores["accuracy"] == 1.0
    assert perfect.scores["macro_f1"] == pytest.approx(1.0)
    wrong = classify(dataset, 5, 0, lambda task: ByPixel(CLASSES, shift=1))
    assert wrong.scores["accuracy"] == 0.0
    for outcome, bit in ((perfect, 1), (wrong, 0)):
        bits = np.unpackbits(np.frombuffer(unpack_bits(outcome.correct, outcome.tests), np.uint8), count=outcome.tests)
        assert outcome.tests == (dataset.part == TEST).sum()
        assert (bits == bit).all()
    # logits 4 for one class, 0 for the others: nll and confidence in closed form
    top = np.exp(4) / (np.exp(4) + CLASSES - 1)
    assert perfect.scores["nll"] == pytest.approx(-np.log(top), rel=1e-6)
    assert perfect.scores["ece"] == pytest.approx(1 - top, rel=1e-5)
    assert wrong.scores["ece"] == pytest.approx(top, rel=1e-5)
    assert perfect.logits != wrong.logits


def test_scores_agree_with_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score, log_loss

    from tlbench.training.outcomes import classification_scores

    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(400, 7, generator=generator)
    labels = torch.randint(0, 7, (400,), generator=generator)
    scores = classification_scores(logits, labels)
    assert scores["accuracy"] == accuracy_score(labels, logits.argmax(1))
    assert scores["macro_f1"] == pytest.approx(f1_score(labels, logits.argmax(1), average="macro"), rel=1e-5)
    assert scores["nll"] == pytest.approx(log_loss(labels, logits.double().softmax(1)), rel=1e-6)


def test_logits_that_are_not_finite_are_an_error(dataset: Dataset) -> None:
    class Broken(ByPixel):
        def logits(self, x: Tensor) -> Tensor:
            return super().logits(x) * float("nan")

    with pytest.raises(FloatingPointError, match="not finite"):
        classify(dataset, 5, 0, lambda task: Broken(CLASSES))


class Centroids:
    """Nearest class mean; embeds an image as its class pixel and its row number."""

    def __init__(self) -> None:
        self.encoder = _ClassPixel()
        self.transductive = False
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []

    @property
    def supports(self) -> list[Tensor]:
        """What was scored: the first two calls are those that check for transduction."""
        return [support for support, _, _ in self.calls[2:]]

    @property
    def labels(self) -> list[Tensor]:
        return [labels for _, labels, _ in self.calls[2:]]

    @property
    def queries(self) -> list[Tensor]:
        return [query for _, _, query in self.calls[2:]]

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        self.calls.append((support, labels, query))
        member = nn.functional.one_hot(labels, ways).float()
        means = member.transpose(1, 2) @ support[..., :1] / member.sum(1).unsqueeze(-1)
        return -torch.cdist(query[..., :1], means)

    def footprint(self) -> Footprint:
        return Footprint(trainable=0, total=0, stored_bytes=0)


class _ClassPixel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.float()
        return torch.stack([x[:, 0, 1, 0], x[:, 0, 0, 0] * 256 + x[:, 0, 0, 1]], 1)


def play(
    dataset: Dataset, seed: int = 0, learner: Any = None, shots: int = 2, queries: int = 3
) -> tuple[Outcome, Any, Task]:
    learner, seen = learner or Centroids(), []

    def fit(task: Task) -> Any:
        seen.append(task)
        return learner

    options = {"ways": 5, "queries": queries, "episodes": 50}
    outcome = episodic.run(TaskInfo("episodic", dataset.info, shots, 5, options), dataset, seed, fit, context())
    assert outcome is not None
    return outcome, learner, seen[0]


def test_episodic_classes_do_not_overlap_and_labels_count_from_zero(dataset: Dataset) -> None:
    _, learner, task = play(dataset)
    train, val = (set(dataset.y[rows_of(split.x)]) for split in (task.train, task.val))
    tested = set(dataset.y[torch.cat(learner.queries)[..., 1].long().unique().numpy()])
    assert train == {0, 2, 4, 6}
    assert val == {1, 3}
    assert tested <= {5, 7, 8, 9, 10, 11}
    assert set(task.train.labels) == {0, 1, 2, 3}
    assert task.unlabeled is None


def test_support_and_query_are_disjoint_and_support_is_not_sorted_by_class(dataset: Dataset) -> None:
    _, learner, _ = play(dataset)
    support, query = torch.cat(learner.supports)[..., 1], torch.cat(learner.queries)[..., 1]
    for one, other in zip(support.tolist(), query.tolist(), strict=True):
        assert not set(one) & set(other)
        assert len(set(one)) == len(one) == 10
        assert len(set(other)) == len(other) == 15
    labels = torch.cat(learner.labels)
    assert (labels.sort(1).values == torch.arange(5).repeat_interleave(2)).all()
    assert not (labels == torch.arange(5).repeat_interleave(2)).all(1).any(), "sorted support invites positional labels"


def test_answers_by_position_are_guesses(dataset: Dataset) -> None:
    class Position(Centroids):
        def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
            super().classify(support, labels, query, ways)
            place = torch.arange(query.shape[1]) * ways // query.shape[1]
            return nn.functional.one_hot(place, ways).float().expand(len(query), -1, -1)

    declared = Position()
    declared.transductive = True
    assert play(dataset, learner=declared)[0].scores["accuracy"] == pytest.approx(0.2, abs=0.06)


def test_every_method_meets_the_same_episodes_and_seeds_differ(dataset: Dataset) -> None:
    (_, one, _), (_, two, _), (_, three, _) = play(dataset), play(dataset), play(dataset, seed=1)
    assert torch.equal(torch.cat(one.queries), torch.cat(two.queries))
    assert torch.equal(torch.cat(one.supports), torch.cat(two.supports))
    assert not torch.equal(torch.cat(one.queries), torch.cat(three.queries))


def test_episodic_scores_are_right_for_a_learner_that_is_right(dataset: Dataset) -> None:
    outcome, _, _ = play(dataset)
    assert outcome.scores["accuracy"] == 1.0
    assert outcome.scores["accuracy_ci95"] == 0.0
    assert outcome.tests == 50 * 15
    assert outcome.group == 15


class Partial(Centroids):
    """Is wrong about some rows of each class, about others the more the higher its label; keeps what it answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[Tensor, Tensor]] = []

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        logits = super().classify(support, labels, query, ways)
        wrong = query[..., 1] % CLASSES < query[..., 0] / 20
        logits = torch.where(wrong.unsqueeze(-1), logits.roll(1, -1), logits)
        of_way = torch.stack([support[e, labels[e].argsort(stable=True)[::2], 0] for e in range(len(support))])
        self.answers.append((query[..., 0] / 20, of_way.gather(1, logits.argmax(-1)) / 20))
        return logits


def test_the_class_of_every_query_is_stored_in_the_order_of_its_bit(dataset: Dataset) -> None:
    outcome, learner, _ = play(dataset, learner=Partial(), queries=4)
    truth, answers = (
        torch.cat(part).flatten().round().long().numpy() for part in zip(*learner.answers[2:], strict=True)
    )
    classes = np.array(unpack_classes(outcome.test_classes, outcome.tests))
    bits = np.unpackbits(np.frombuffer(unpack_bits(outcome.correct, outcome.tests), np.uint8), count=outcome.tests)
    assert classes.tolist() == truth.tolist()
    by_hand = {label: (answers == label)[truth == label].mean() for label in (5, 7, 8, 9, 10, 11)}
    assert {label: bits[classes == label].mean() for label in by_hand} == pytest.approx(by_hand)
    assert len({round(share, 2) for share in by_hand.values()}) > 3, "classes differ, so that their order matters"
    again, *_ = play(dataset, queries=4)
    assert again.test_classes == outcome.test_classes, "the same for every method"
    assert play(dataset, seed=1)[0].test_classes != outcome.test_classes


def test_other_protocols_store_no_classes(dataset: Dataset) -> None:
    outcome = classify(dataset, 5, 0, lambda task: ByPixel(CLASSES))
    assert outcome.test_classes == ""
    assert "test_classes" not in outcome.model_dump()


def test_episodes_scored_in_many_pieces_equal_those_scored_at_once(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, learner, _ = play(dataset)
    assert len(learner.queries) == 1
    monkeypatch.setattr(episodes, "_EMBEDDED_VALUES", 2 * 25 * 7)
    pieces, learner, _ = play(dataset)
    assert len(learner.queries) == 8
    assert pieces == whole


def test_what_is_leant_from_other_queries_must_be_declared(dataset: Dataset) -> None:
    class Centred(Centroids):
        def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
            return super().classify(support, labels, query - query.mean(1, keepdim=True), ways)

    for queries in (1, 2, 3):
        with pytest.raises(ValueError, match="does not declare itself transductive"):
            play(dataset, learner=Centred(), queries=queries)
    declared = Centred()
    declared.transductive = True
    outcome, _, _ = play(dataset, learner=declared)
    assert outcome.transductive
    assert len(declared.calls) == 1, "what is declared need not be checked"
    assert not play(dataset)[0].transductive


class BatchStatistics:
    """Embeds support and queries of an episode together, by a network that is in training mode."""

    def __init__(self, transductive: bool) -> None:
        self.module = fake_backbone()
        self.transductive = transductive

    def classify(self, support: Tensor, labels: Tensor, query: Tensor, ways: int) -> Tensor:
        logits = []
        for s, y, q in zip(support, labels, query, strict=True):
            z = self.module.train()(torch.cat([s, q]))[None]
            logits.append(distance_logits(z[:, len(s) :], prototypes(z[:, : len(s)], y[None], ways))[0])
        return torch.stack(logits)

    def footprint(self) -> Footprint:
        return Footprint(trainable=0, total=0, stored_bytes=0)


def _solve(learner: Any) -> Outcome:
    data = fake_dataset()
    info = TaskInfo("episodic", data.info, 5, 2, {"ways": 2, "queries": 4, "episodes": 6})
    outcome = episodic.run(info, data, 0, lambda task: learner, context())
    assert outcome is not None
    return outcome


def test_a_solver_that_uses_batch_statistics_is_found_out() -> None:
    with pytest.raises(ValueError, match="does not declare itself transductive"):
        _solve(BatchStatistics(transductive=False))
    assert _solve(BatchStatistics(transductive=True)).transductive


def test_an_encoder_without_running_statistics_is_found_out() -> None:
    """Its normalisation asks the batch in evaluation mode too."""
    learner = Centroids()
    learner.encoder = fake_backbone()
    assert not _solve(learner).transductive
    for module in learner.encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = module.running_var = None
    with pytest.raises(ValueError, match="does not declare itself transductive"):
        _solve(learner)
