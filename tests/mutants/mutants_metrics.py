"""Mutants of metrics: their influence functions, what they decide, and what is kept to compute others."""

from __future__ import annotations

from mutant import Mutant

METRICS, CHOSEN = "tests/metrics/test_metrics.py", "tests/metrics/test_chosen_metric.py"
ROWS, CLASSES = "tests/report/test_metrics_on_the_page.py", "tests/report/test_classes.py"

MUTANTS = (
    Mutant(
        "auroc: ties count as below",
        "tlbench.metrics.auroc:_share_below",
        "(less + not_more).double() / (2 * len(ordered))",
        "not_more.double() / len(ordered)",
        METRICS,
    ),
    Mutant(
        "auroc: counter-examples contribute nothing",
        "tlbench.metrics.auroc:_placements",
        "(above - area) / (1 - share)",
        "above * 0",
        METRICS,
    ),
    Mutant(
        "average precision: an example changes no other's precision",
        "tlbench.metrics.average_precision:_of_class",
        "own + hits * gain - loss",
        "own",
        METRICS,
    ),
    Mutant(
        "average precision: ties have thresholds of their own",
        "tlbench.metrics.average_precision:_of_class",
        "hits.cumsum(0)[ends] / (ends + 1)",
        "hits.cumsum(0) / (torch.arange(n) + 1)",
        METRICS,
    ),
    Mutant(
        "balanced accuracy: absent classes count",
        "tlbench.metrics.balanced_accuracy:influence",
        "(share > 0).sum()",
        "len(share)",
        METRICS,
    ),
    Mutant(
        "macro-F1: no delta method",
        "tlbench.metrics.macro_f1:influence",
        "2 * both - f1 * either",
        "2 * both",
        METRICS,
    ),
    Mutant(
        "ece: gaps without their bin's sign",
        "tlbench.metrics.ece:influence",
        "sums.sign()[bins] * gap",
        "gap.abs()",
        METRICS,
    ),
    Mutant(
        "metric: scores of a loss are not turned",
        "tlbench.training.metric:Metric.example_scores",
        "self.declared.sign * (value + beyond)",
        "value + beyond",
        METRICS,
    ),
    Mutant(
        "metric: a value that is no number passes",
        "tlbench.training.metric:Metric.value",
        "not np.isfinite(found)",
        "False",
        METRICS,
    ),
    Mutant(
        "validation: accuracy decides whatever the metric",
        "tlbench.training.validation_scores:ValidationScores.order",
        "self.accuracy if self.chosen is None else self.chosen",
        "self.accuracy",
        CHOSEN,
    ),
    Mutant(
        "validation: likelihood decides whatever the metric",
        "tlbench.training.validation_scores:by_likelihood",
        "scores.chosen is None",
        "True",
        CHOSEN,
    ),
    Mutant(
        "search: the largest loss wins",
        "tlbench.search.objective:criterion_of",
        "metric_declaration(name).sign",
        "1",
        CHOSEN,
    ),
    Mutant(
        "protocols: the usual metric is part of what a cell is",
        "tlbench.core.config:without",
        "(key, value) != (name, usual)",
        "True",
        CHOSEN,
    ),
    Mutant(
        "answers: those of other logits are taken",
        "tlbench.store.answers:AnswerFiles.read",
        "logits_hash(found.logits) == name",
        "True",
        CHOSEN,
    ),
    Mutant(
        "confusion: answers in the place of classes",
        "tlbench.training.outcomes:_confusion",
        "torch.stack([labels, logits.argmax(1)], 1)",
        "torch.stack([logits.argmax(1), logits.argmax(1)], 1)",
        CHOSEN,
    ),
    Mutant(
        "page: the largest loss is first",
        "tlbench.report.comparable_cells:_with_scores",
        "metric_declaration(name).sign",
        "1",
        ROWS,
    ),
    Mutant(
        "page: intervals of right answers, whatever the metric",
        "tlbench.report.example_scores:units_of",
        "record.packed_scores",
        "False",
        ROWS,
    ),
    Mutant(
        "rescore: cells without answers count",
        "tlbench.report.rescored:rescored",
        'results.done["cell"].isin(list(found))',
        'results.done["cell"] != ""',
        ROWS,
    ),
    Mutant(
        "classes: the row of the fewest shots",
        "tlbench.report.rows.classes:class_scores",
        "place > (by_shots(best[key].shots), best[key].accuracy.mean)",
        "place < (by_shots(best[key].shots), best[key].accuracy.mean)",
        CLASSES,
    ),
    Mutant(
        "classes: the best first",
        "tlbench.report.rows.classes:ClassScores.worst",
        "self.recall[present]",
        "-self.recall[present]",
        CLASSES,
    ),
    Mutant(
        "classes: right answers are confusions",
        "tlbench.report.rows.classes:ClassScores.confusions",
        "self.counts * ~np.eye(len(self.classes), dtype=bool)",
        "self.counts",
        CLASSES,
    ),
    Mutant(
        "classes: the last seed alone",
        "tlbench.report.rows.classes:class_scores",
        "counts[truth, answer] += count",
        "counts[truth, answer] = count",
        CLASSES,
    ),
)
