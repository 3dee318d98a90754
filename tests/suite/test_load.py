"""Every mistake in a suite is found before anything runs, with its exact line and the nearest valid choice."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlbench.core.errors import UserError
from tlbench.suite.catalog import Catalog
from tlbench.suite.load import load, loads
from tlbench.suite.spec import Suite, Weights

GOOD = """\
name: fewshot
baseline: linear_probe
grids:
  - protocol: classification
    methods:
      - linear_probe
      - {name: lora, params: {rank: 4, alpha: 1e+1}}
    backbones:
      - {name: resnet18, weights: torchvision}
      - name: resnet18
        width: 32
        pretrain: {method: simclr, dataset: glyphs, params: {epochs: 3}}
    datasets: [digits]
    shots: [1, 5, full]
    seeds: 2
  - protocol: episodic
    methods: [protonet]
    backbones: [conv4]
    datasets: [glyphs]
    ways: 5
    shots: [1, 5]
    seeds: [3, 4]
search: {trials: 8, scheduler: asha, searcher: optuna, space: {lora: {rank: {choice: [2, 4]}}}}
resources: {cpus: 1, gpus: 0.5, workers: 2}
limits: {gpu_hours: 40, cell_minutes: 30}
"""
LINES = GOOD.splitlines()
AFTER = "pretrain: {method: simclr, dataset: glyphs, after: %s}"


def changed(line: int, text: str) -> str:
    """Return the good suite with one line (from 1) replaced."""
    return "\n".join([*LINES[: line - 1], text, *LINES[line:]]) + "\n"


def test_a_good_suite(read_suite: Callable[[str], Suite]) -> None:
    suite = read_suite(GOOD)
    first, second = suite.grids
    assert (suite.name, suite.baseline) == ("fewshot", "linear_probe")
    assert [spec.name for spec in first.methods] == ["linear_probe", "lora"]
    assert first.methods[1].params == {"rank": 4, "alpha": 10.0}
    assert first.backbones[0].weights == Weights(kind="torchvision", name="DEFAULT")
    assert first.backbones[1].params == {"width": 32}
    assert first.backbones[1].pretrain is not None
    assert first.backbones[1].pretrain.dataset.name == "glyphs"
    assert (first.shots, first.seeds) == ((1, 5, "full"), (0, 1))
    assert (second.options, second.seeds) == ({"ways": 5}, (3, 4))
    assert suite.search is not None
    assert suite.search.space["lora"]["rank"].space == {"distribution": "choice", "values": [2, 4]}
    assert (suite.resources.gpus, suite.limits.gpu_hours, suite.limits.cpu_hours) == (0.5, 40, None)
    assert {spec.name for spec in suite.datasets.values()} == {"digits", "glyphs"}


def test_defaults(read_suite: Callable[[str], Suite]) -> None:
    suite = read_suite(
        "name: x\ngrids:\n- {protocol: classification, methods: [lora], backbones: [conv4], datasets: [digits]}\n"
    )
    grid = suite.grids[0]
    assert (grid.shots, grid.seeds, grid.options) == (("full",), (0,), {})
    assert grid.backbones[0].weights.kind == "random"
    assert (suite.search, suite.baseline, suite.resources.cpus) == (None, None, 1)


@pytest.mark.parametrize(
    ("line", "text", "message", "hint"),
    [
        (1, "nam: fewshot", "s.yaml:1: unknown key 'nam'", "did you mean 'name'?"),
        (1, "name: a/b", "s.yaml:1: name: must match pattern", ""),
        (2, "baseline: linear_prob", "s.yaml:2: baseline 'linear_prob': no grid lists it", "'linear_probe'"),
        (2, "baseline: lora(rank=5)", "s.yaml:2: baseline 'lora(rank=5)': no grid lists it", "lora(rank=4, alpha"),
        (4, "  - protocol: clasification", "s.yaml:4: unknown protocol 'clasification'", "'classification'"),
        (4, "  - protocol: 3", "s.yaml:4: protocol: must be a text, not 3", ""),
        (6, "      - linear_prob", "s.yaml:6: unknown method 'linear_prob'", "'linear_probe'"),
        (6, "      - [linear_probe]", "s.yaml:6: methods: each must be a name or a mapping of keys to values, not", ""),
        (7, "      - {name: lora, params: {rnk: 4}}", "s.yaml:7: unknown key 'rnk'", "did you mean 'rank'?"),
        (7, "      - {name: lora, params: {rank: 0}}", "s.yaml:7: rank: must be greater than or equal to 1, not 0", ""),
        (7, "      - {name: lora, params: {rank: '4'}}", "s.yaml:7: rank: must be a whole number, not '4'", ""),
        (7, "      - {name: lora, params: {rank: true}}", "s.yaml:7: rank: must be a whole number, not true", ""),
        (7, "      - {name: lora, params: {rank: 4.5}}", "s.yaml:7: rank: must be a whole number, not 4.5", ""),
        (7, "      - {name: lora, params: {bias: no}}", "s.yaml:7: bias: must be true or false, not 'no'", ""),
        (7, "      - {name: lora, params: {mode: linaer}}", "s.yaml:7: mode: must be 'linear' or 'all'", "'linear'"),
        (7, "      - {name: lora, params: [1]}", "s.yaml:7: params: must be a mapping of keys to values, not [1]", ""),
        (7, "      - {name: lora, rank: 4}", "s.yaml:7: lora takes 'rank' under params", "params: {rank: ...}"),
        (7, "      - {params: {rank: 4}}", "s.yaml:7: 'name' is missing", ""),
        (9, "      - {name: resnet81, weights: torchvision}", "s.yaml:9: unknown backbone 'resnet81'", "'resnet18'"),
        (9, "      - {name: resnet18, weights: imagenet}", "s.yaml:9: weights: must be random, torchvision,", ""),
        (9, "      - {name: conv4, weights: torchvision}", "s.yaml:9: torchvision has no weights for conv4", ""),
        (9, "      - {name: resnet18, weights: {file: none.pt}}", "s.yaml:9: no weights file 'none.pt'", "looked for"),
        (9, "      - {name: resnet18, widht: 3}", "s.yaml:9: backbone resnet18 has no option 'widht'", "'width'"),
        (11, "        widht: 32", "s.yaml:11: backbone resnet18 has no option 'widht'", "'width'"),
        (12, "        pretrain: {method: simclr}", "s.yaml:12: 'dataset' is missing", ""),
        (12, "        pretrain: {method: simclear, dataset: glyphs}", "s.yaml:12: unknown method 'simclear'", "simclr"),
        (12, "        pretrain: {method: lora, dataset: glyphs}", "s.yaml:12: lora does not pre-train", "simclr"),
        (12, "        pretrain: {method: simclr, dataset: glyph}", "s.yaml:12: unknown dataset 'glyph'", "'glyphs'"),
        (12, "        pretrain: {method: simclr, dataset: glyphs, seed: -1}", "s.yaml:12: seed: must be greater", ""),
        (12, "        pretrain: {method: mlm, dataset: glyphs}", "s.yaml:12: mlm does not pre-train image", "simclr"),
        (12, f"        {AFTER % '{method: simclr, dataset: glyph}'}", "s.yaml:12: unknown dataset 'glyph'", "'glyphs'"),
        (12, f"        {AFTER % '{method: lora, dataset: digits}'}", "s.yaml:12: lora does not pre-train", "simclr"),
        (12, f"        {AFTER % '{method: simclr}'}", "s.yaml:12: 'dataset' is missing", ""),
        (13, "    datasets: [digit]", "s.yaml:13: unknown dataset 'digit'", "did you mean 'digits'?"),
        (13, "    datasets: digits", "s.yaml:13: datasets: must be a list, not 'digits'", ""),
        (13, "    datasets: []", "s.yaml:13: datasets: must not be empty", ""),
        (13, "    datasets: [{name: folder, pth: x}]", "s.yaml:13: dataset folder has no parameter 'pth'", "'path'"),
        (14, "    shot: [1, 5]", "s.yaml:14: unknown key 'shot'", "did you mean 'shots'?"),
        (14, "    shots: [1, 0]", "s.yaml:14: shots: must be a whole number of 1 or more, or full, not 0", ""),
        (14, "    shots: [1, true]", "s.yaml:14: shots: must be a whole number of 1 or more, or full, not true", ""),
        (14, "    shots: [5, 1, 5]", "s.yaml:14: shots: lists 5 twice", ""),
        (14, "    shots: []", "s.yaml:14: shots: must not be empty", ""),
        (14, "    ways: 5", "s.yaml:14: unknown key 'ways'", "episodic takes it, classification does not"),
        (15, "    seeds: 0", "s.yaml:15: seeds: must be a number of seeds from 1", ""),
        (15, "    seeds: 1000000000000", "s.yaml:15: seeds: must be a number of seeds from 1", ""),
        (15, "    seeds: [1, 1]", "s.yaml:15: seeds: lists a seed twice", ""),
        (20, "    ways: 1", "s.yaml:20: ways: must be greater than or equal to 2, not 1", ""),
        (20, "    way: 5", "s.yaml:20: unknown key 'way'", "did you mean 'ways'?"),
        (23, "search: {trial: 8}", "s.yaml:23: unknown key 'trial'", "did you mean 'trials'?"),
        (23, "search: {scheduler: ash}", "s.yaml:23: scheduler: must be 'asha'", "did you mean 'asha'?"),
        (23, "search: {searcher: tpe}", "s.yaml:23: searcher: must be 'grid'", ""),
        (23, "search: {scheduler: pbt, searcher: optuna}", "s.yaml:23: searcher: optuna learns from", "grid, random"),
        (23, "search: {space: {lora: {rank: {choice: [1], when: {alphabet: 2}}}}}", "s.yaml:23: lora has no other", ""),
        (23, "search: {space: {lora: {rank: {choice: [1], when: {alpha: none}}}}}", "s.yaml:23: alpha: ", ""),
        (23, "search: {space: {lora: {rnk: {choice: [1]}}}}", "s.yaml:23: lora has no parameter 'rnk'", "'rank'"),
        (23, "search: {space: {lora: {rank: {choice: [1, 0]}}}}", "s.yaml:23: rank: must be greater", ""),
        (23, "search: {space: {lora: {alpha: {log_uniform: [0, 1]}}}}", "s.yaml:23: alpha: the low end 0", ""),
        (23, "search: {space: {lora: {alpha: {uniform: [0, 1], choice: [1]}}}}", "s.yaml:23: alpha: must be one", ""),
        (23, "search: {space: {lora: {rank: {uniform: [1, 2.5]}}}}", "s.yaml:23: rank: must be a whole number", ""),
        (23, "search: {space: {lora: {rank: {uniform: [0, 2]}}}}", "s.yaml:23: rank: must be greater", ""),
        (23, "search: {space: {simclr: {}}}", "s.yaml:23: no grid lists a method 'simclr'", ""),
        (24, "resources: {gpus: -1}", "s.yaml:24: gpus: must be greater than or equal to 0, not -1", ""),
        (24, "resources: {gpus: 1.5}", "s.yaml:24: gpus: must be a share up to 1 or a whole number, not 1.5", ""),
        (24, "resources: {cpu: 2}", "s.yaml:24: unknown key 'cpu'", "did you mean 'cpus'?"),
        (24, "resources: 3", "s.yaml:24: resources: must be a mapping of keys to values, not 3", ""),
        (25, "limits: {gpu_hours: 0}", "s.yaml:25: gpu_hours: must be greater than 0, not 0", ""),
        (25, "limits: {gpu_hours: many}", "s.yaml:25: gpu_hours: must be a number, not 'many'", ""),
    ],
)  # fmt: skip
def test_each_mistake_is_one_message(
    read_suite: Callable[[str], Suite], line: int, text: str, message: str, hint: str
) -> None:
    with pytest.raises(UserError) as caught:
        read_suite(changed(line, text))
    first = [part for part in str(caught.value).splitlines() if not part.startswith("  ")]
    assert len(first) == 1
    assert first[0].startswith(message)
    assert hint in str(caught.value)


def test_a_range_may_be_of_whole_numbers(read_suite: Callable[[str], Suite]) -> None:
    search = read_suite(
        changed(23, "search: {space: {lora: {rank: {uniform: [2, 16]}, alpha: {uniform: [1, 2]}}}}")
    ).search
    assert search is not None
    assert search.space["lora"]["rank"].space == {"distribution": "uniform", "low": 2, "high": 16}


def test_several_mistakes_are_reported_together_in_the_order_of_the_lines(
    read_suite: Callable[[str], Suite],
) -> None:
    text = (
        "name: x\n"
        "baseline: lorra\n"
        "grids:\n"
        "  - protocol: classification\n"
        "    methods: [{name: lora, params: {rnk: 1, rank: x}}]\n"
        "    backbones: [conv5]\n"
        "    datasets: [digits]\n"
        "    shots: [0]\n"
        "  - protocol: episodic\n"
        "    datasets: [glyphs]\n"
        "    wayz: 3\n"
        "limit: {}\n"
    )
    with pytest.raises(UserError) as caught:
        read_suite(text)
    assert str(caught.value).splitlines() == [
        "s.yaml:2: baseline 'lorra': no grid lists it",
        "  did you mean 'lora'?",
        "s.yaml:5: rank: must be a whole number, not 'x'",
        "s.yaml:5: unknown key 'rnk'",
        "  did you mean 'rank'?",
        "s.yaml:6: unknown backbone 'conv5'",
        "  did you mean 'conv4'?",
        "s.yaml:8: shots: must be a whole number of 1 or more, or full, not 0",
        "s.yaml:9: 'methods' is missing",
        "s.yaml:9: 'backbones' is missing",
        "s.yaml:11: unknown key 'wayz'",
        "  did you mean 'ways'?",
        "s.yaml:12: unknown key 'limit'",
        "  did you mean 'limits'?",
    ]


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "3\n"])
def test_a_suite_is_a_mapping(read_suite: Callable[[str], Suite], text: str) -> None:
    with pytest.raises(UserError, match=r"s\.yaml:1: a suite is a mapping with name and grids, not a"):
        read_suite(text)


def test_no_word_of_the_machinery_reaches_the_user(read_suite: Callable[[str], Suite]) -> None:
    with pytest.raises(UserError) as caught:
        read_suite("name: 3\ngrids: [{protocol: episodic, methods: 1, backbones: [3], datasets: [{}], shots: 1}]\n")
    for word in ("pydantic", "Input", "Grid", "Spec", "tuple", "dictionary", "https"):
        assert word not in str(caught.value)


def test_a_relative_weights_file_starts_from_the_suite(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(b"x")
    file = tmp_path / "s.yaml"
    file.write_text(changed(9, "      - {name: resnet18, weights: {file: w.pt}}"))
    assert load(file, catalog).grids[0].backbones[0].weights.path == "w.pt"
    with pytest.raises(UserError, match="no such file"):
        load(tmp_path / "none.yaml", catalog)


def test_a_name_that_fits_two_methods_is_no_baseline(read_suite: Callable[[str], Suite]) -> None:
    two = "methods: [{name: lora, params: {rank: 2}}, {name: lora, params: {rank: 4}}]"
    rest = "protocol: classification, backbones: [conv4], datasets: [digits]"
    text = f"name: x\nbaseline: BASE\ngrids:\n- {{{rest}, {two}}}\n"
    with pytest.raises(UserError, match=r"s\.yaml:2: baseline 'lora': it fits several methods"):
        read_suite(text.replace("BASE", "lora"))
    assert read_suite(text.replace("BASE", "lora(rank=4)")).baseline == "lora(rank=4)"


WORDS = [
    "x",
    "0",
    "-1",
    "1.5",
    "[]",
    "{}",
    "~",
    "true",
    "full",
    "[1, [2]]",
    "{name: {}}",
    "'",
    "&a",
    "*a",
    "9" * 30,
    "",
]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["value", "line", "letter", "swap", "indent"]))
def test_a_mutated_suite_never_ends_in_a_traceback(catalog: Catalog, seed: int, mutation: str) -> None:
    rng = random.Random(seed)
    lines = list(LINES)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        line = lines[at]
        if mutation == "value":
            head, colon, _ = line.rpartition(": ")
            lines[at] = f"{head}{colon}{rng.choice(WORDS)}"
        elif mutation == "line":
            lines.pop(at) if rng.random() < 0.5 else lines.insert(at, rng.choice(lines))
        elif mutation == "letter":
            cut = rng.randrange(len(line))
            lines[at] = line[:cut] + rng.choice("[]{}:,-'\"#& x0\x00\ud800") + line[cut + rng.randint(0, 1) :]
        elif mutation == "swap":
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        else:
            lines[at] = " " * rng.randint(0, 8) + line.lstrip()
    assert _first_words("\n".join(lines), catalog).startswith("s.yaml:")


def _first_words(text: str, catalog: Catalog) -> str:
    try:
        return f"s.yaml: {loads(text, catalog, 's.yaml').name}"
    except UserError as error:
        return error.message
