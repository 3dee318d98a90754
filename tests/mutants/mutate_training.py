"""Breaks training and methods in one place at a time, and shows that the tests notice.

    python tests/mutants/mutate_training.py [word ...]

Each mutant is applied to a temporary copy of the package and its tests are run on the copy; words choose mutants by
their name. Exits with the number of mutants that survived.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One defect: in ``file`` the text ``old``, which occurs once, becomes ``new``; ``tests`` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


LOOP, GROUPS = "tests/training/test_loop.py", "tests/training/test_groups.py"
PROTOTYPES, PARALLEL = "tests/training/test_prototypes.py", "tests/training/test_data_parallel.py"
FEATURES, TRAINED = "tests/methods/test_feature_methods.py", "tests/methods/test_trained_methods.py"
CONTRACT = "tests/methods/test_contract.py"

MUTANTS = (
    Mutant(
        "fine-tune: head found by substring",
        "training/groups.py",
        "head = {id(parameter) for parameter in model.head.parameters()}",
        'head = {id(p) for name, p in model.named_parameters() if "head" in name or "fc" in name}',
        GROUPS,
    ),
    Mutant("fine-tune: decay of vectors", "training/groups.py", "parameter.ndim > 1", "parameter.ndim > 0", GROUPS),
    Mutant(
        "fine-tune: cover is not checked", "training/groups.py", "if missing or foreign or twice", "if False", GROUPS
    ),
    Mutant("fine-tune: last instead of best", "training/loop.py", "    epochs.restore_best()\n", "", LOOP),
    Mutant(
        "fine-tune: frozen batch norm left in train mode",
        "training/classifier.py",
        "                module.eval()",
        "                module.train()",
        LOOP,
    ),
    Mutant(
        "fine-tune: batch norm policy is not passed on",
        "methods/finetune.py",
        "batch_norm=cfg.batch_norm, ",
        "",
        TRAINED,
    ),
    Mutant(
        "fine-tune: order of examples from the global generator",
        "training/batches.py",
        'generator = self._ctx.generator(self._name, "batches", epoch)',
        "generator = torch.default_generator",
        LOOP,
    ),
    Mutant(
        "fine-tune: loss of the last shard only",
        "training/loop.py",
        "ctx.mean(losses, size).backward()",
        "losses.mean().backward()",
        PARALLEL,
    ),
    Mutant(
        "fine-tune: batch statistics of each process",
        "training/distributed.py",
        "layer.__class__ = GlobalBatchNorm",
        "pass",
        PARALLEL,
    ),
    Mutant(
        "fine-tune: optimiser is not kept",
        "training/loop.py",
        "name=name, optimizer=optimizer)",
        "name=name)",
        LOOP,
    ),
    Mutant(
        "evaluation: batch statistics in validation",
        "training/evaluate.py",
        "    model.eval()\n",
        "    model.train()\n",
        LOOP,
    ),
    Mutant(
        "evaluation: predictions in training mode",
        "training/predictor.py",
        '        """Return logits (B, classes) of raw inputs, in evaluation mode."""\n        self.module.eval()',
        '        """Return logits (B, classes) of raw inputs, in evaluation mode."""\n        self.module.train()',
        CONTRACT,
    ),
    Mutant(
        "evaluation: likelihood before accuracy",
        "training/evaluate.py",
        "return self.accuracy, -self.nll",
        "return -self.nll, self.accuracy",
        TRAINED,
    ),
    Mutant(
        "evaluation: mean of all examples, validation included",
        "methods/nearest_centroid.py",
        "    mean = z.mean(0)\n",
        "    mean = torch.cat([z, ctx.frozen_features(task.val)]).mean(0) if task.val else z.mean(0)\n",
        FEATURES,
    ),
    Mutant(
        "probe: constants of validation",
        "methods/linear_probe.py",
        "    mean = z.mean(0)\n",
        "    mean = torch.cat([z, ctx.frozen_features(task.val)]).mean(0) if task.val else z.mean(0)\n",
        FEATURES,
    ),
    Mutant(
        "probe: penalised bias",
        "training/logistic.py",
        "gradient[:, :-1] += penalty * weights",
        "gradient += penalty * both",
        "tests/training/test_logistic.py",
    ),
    Mutant(
        "probe: penalty without n",
        "training/logistic.py",
        "args=(1 / (c * self._n),)",
        "args=(1 / c,)",
        "tests/training/test_logistic.py",
    ),
    Mutant(
        "knn: no temperature",
        "methods/knn.py",
        "weights = (similarity / temperature)",
        "weights = (similarity / 1.0)",
        FEATURES,
    ),
    Mutant("centroid: no centring", "methods/nearest_centroid.py", 'z - mean if kind == "cl2n" else z', "z", FEATURES),
    Mutant(
        "scratch: keeps the given weights",
        "methods/from_scratch.py",
        "Classifier(fresh, ",
        "Classifier(backbone, ",
        TRAINED,
    ),
    Mutant(
        "protonet: distance that is not squared",
        "training/prototypes.py",
        "    return torch.baddbmm(norms.neg(), z, centres.transpose(1, 2), alpha=2)",
        "    return -torch.cdist(z, centres)",
        PROTOTYPES,
    ),
    Mutant(
        "protonet: labels by position",
        "training/prototypes.py",
        "member = one_hot(labels, ways)",
        "member = one_hot(labels.sort(1).values, ways)",
        PROTOTYPES,
    ),
    Mutant(
        "protonet: support among the queries",
        "methods/protonet.py",
        "torch.cat([support, query], dim=1)",
        "torch.cat([support, support], dim=1)[:, : support.shape[1] + query.shape[1]]",
        TRAINED,
    ),
    Mutant("protonet: last instead of best", "methods/protonet.py", "    epochs.restore_best()\n", "", TRAINED),
    Mutant(
        "protonet: embeds with batch statistics",
        "training/features.py",
        "encode.eval().to(device)",
        "encode.train().to(device)",
        CONTRACT,
    ),
    Mutant(
        "protonet: rows of this process only",
        "training/collect.py",
        "return global_sum(piece",
        "return (piece",
        PARALLEL,
    ),
)


def survives(mutant: Mutant) -> bool:
    """Say whether the mutant's tests pass all the same."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tlbench", copy / "tlbench", ignore=ignored)
        shutil.copytree(ROOT / "tests", copy / "tests", ignore=ignored)
        shutil.copy(ROOT / "pyproject.toml", copy)
        file = copy / "tlbench" / mutant.file
        text = file.read_text()
        assert text.count(mutant.old) == 1, f"{mutant.name}: {mutant.old!r} occurs {text.count(mutant.old)} times"
        file.write_text(text.replace(mutant.old, mutant.new))
        environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests]
        found = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if found.returncode not in (0, 1):
        raise RuntimeError(f"{mutant.name}: pytest could not run\n{found.stdout}{found.stderr}")
    return found.returncode == 0


def main() -> int:
    """Try the chosen mutants and return the number of survivors."""
    words = sys.argv[1:]
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]
    survivors = 0
    for mutant in chosen:
        alive = survives(mutant)
        survivors += alive
        print(f"{'SURVIVED' if alive else 'noticed '}  {mutant.name}", flush=True)
    return survivors


if __name__ == "__main__":
    sys.exit(main())
