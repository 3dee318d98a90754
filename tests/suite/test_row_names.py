"""Names of rows: the shortest texts that tell labels apart, by the parameters that differ, never two the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import pytest

from tlbench.suite.row_names import backbone_names, dataset_names, method_names

METHODS = [
    "lora(epochs=10)",
    "lora(epochs=10, rank=8)",
    "knn",
    "finetune(epochs=20, tuned)",
    "distillation(teacher=conv4/supervised(epochs=3, lr=0.1)@glyphs/finetune(epochs=20), epochs=60)",
    "distillation(teacher=conv4/supervised(epochs=3, lr=0.1)@glyphs/finetune(epochs=20), epochs=60, loss=dkd)",
    "probe(grid=[1,2])",
    "probe(grid=[1,3])",
]
BACKBONES = [
    "timm:tf_efficientnet_lite0(image_size=96)/in1k",
    "timm:tf_efficientnet_lite0/in1k",
    "resnet18/torchvision",
    "timm:resnet18/in1k",
    "conv4(width=32)/random",
    "conv4(width=32)/supervised(epochs=5)@glyphs",
    "conv4(width=32)/supervised(epochs=5)@glyphs#varied",
    "conv4(width=32)/mlm(epochs=9)@folder(b)/photo",
    "hf:sentence-transformers/all-MiniLM-L6-v2(max_length=64)/hf:0a1b2c3d",
    "hf:someone/all-MiniLM-L6-v2/hf:0a1b2c3d",
    "none",
]
DATASETS = [
    "texts(clinc150)",
    "texts(clinc150)/banking",
    "folder(pacs160)/photo",
    "folder(pacs160,image_size=96)/photo",
    "folder(cifar10) (500 train, 100 test a class)",
    "folder(cifar10)",
    "folder(clinc150)",
    'glyphs(variants=10,scripts=["greek","georgian"]): Sans -> Serif',
    'glyphs(variants=10,scripts=["greek","latin"]): Sans -> Serif',
    "rendered_digits -> digits",
]


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (["lora(rank=8)", "knn"], ["lora", "knn"]),
        (["lora", "lora(rank=8)"], ["lora", "lora(rank=8)"]),
        (["lora(epochs=10)", "lora(epochs=10, rank=8)"], ["lora", "lora(rank=8)"]),
        (["lora(lr=0.1, rank=8)", "lora(lr=0.2, rank=8)"], ["lora(lr=0.1)", "lora(lr=0.2)"]),
        (["lora(tuned)", "lora"], ["lora(tuned)", "lora"]),
        (["lora(epochs=3, tuned)"], ["lora"]),
        (METHODS[4:6], ["distillation", "distillation(loss=dkd)"]),
        (METHODS[6:], ["probe(grid=[1,2])", "probe(grid=[1,3])"]),
    ],
)
def test_a_method_is_called_by_the_parameters_that_differ(labels: list[str], names: list[str]) -> None:
    assert list(method_names(labels).values()) == names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (BACKBONES[:1], ["tf_efficientnet_lite0"]),
        (BACKBONES[:2], ["tf_efficientnet_lite0(image_size=96)", "tf_efficientnet_lite0"]),
        (BACKBONES[2:4], ["resnet18/torchvision", "timm:resnet18/in1k"]),
        (BACKBONES[4:6], ["conv4/random", "conv4/supervised@glyphs"]),
        (
            ["conv4/supervised(epochs=5)@glyphs", "conv4/supervised(epochs=9)@glyphs"],
            ["conv4/supervised(epochs=5)@glyphs", "conv4/supervised(epochs=9)@glyphs"],
        ),
        (BACKBONES[8:9], ["all-MiniLM-L6-v2"]),
        (
            BACKBONES[8:10],
            ["hf:sentence-transformers/all-MiniLM-L6-v2(max_length=64)", "hf:someone/all-MiniLM-L6-v2"],
        ),
        (
            ["t/mlm(epochs=20)@pydocs(texts=all)", "t/mlm(lr=1)@pydocs(texts=all)+mlm(lr=1)@texts(c)", "t/random"],
            ["t/mlm@pydocs", "t/mlm@pydocs+mlm@texts(c)", "t/random"],
        ),
    ],
)  # fmt: skip
def test_a_backbone_is_called_by_its_architecture_first(labels: list[str], names: list[str]) -> None:
    assert list(backbone_names(labels).values()) == names


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (DATASETS[1:2], ["clinc150/banking"]),
        (DATASETS[:3], ["clinc150", "clinc150/banking", "pacs160/photo"]),
        (DATASETS[2:4], ["pacs160/photo", "pacs160(image_size=96)/photo"]),
        (DATASETS[4:5], ["cifar10"]),
        (DATASETS[4:6], ["cifar10 (500 train, 100 test a class)", "cifar10"]),
        ([DATASETS[0], DATASETS[6]], ["texts(clinc150)", "folder(clinc150)"]),
        (DATASETS[7:8], ["glyphs: Sans -> Serif"]),
        (DATASETS[9:], ["rendered_digits -> digits"]),
    ],
)
def test_a_dataset_keeps_its_domain_and_loses_its_source(labels: list[str], names: list[str]) -> None:
    assert list(dataset_names(labels).values()) == names


@pytest.mark.parametrize(
    ("labels", "names_of"), [(METHODS, method_names), (BACKBONES, backbone_names), (DATASETS, dataset_names)]
)
def test_no_two_labels_of_any_page_share_a_name(
    labels: list[str], names_of: Callable[[Sequence[str]], dict[str, str]]
) -> None:
    for size in range(1, len(labels) + 1):
        for some in combinations(labels, size):
            names = names_of(some)
            assert list(names) == list(some)
            assert len(set(names.values())) == size
            assert all(len(name) <= len(label) + 1 for label, name in names.items()), "no name is longer"


def test_given_names_come_first_and_are_never_taken_twice() -> None:
    given = {"lora(rank=8)": "low rank", "lora": "plain"}
    assert method_names(["lora", "lora(rank=8)", "lora(rank=2)", "knn"], given) == {
        "lora": "plain",
        "lora(rank=8)": "low rank",
        "lora(rank=2)": "lora",
        "knn": "knn",
    }
    clash = method_names(["lora(rank=8)", "knn(k=3)", "ssf(lr=1)"], {"lora(rank=8)": "knn"})
    assert clash["ssf(lr=1)"] == "ssf", "others keep their names"
    del clash["ssf(lr=1)"]
    assert clash == {"lora(rank=8)": "lora(rank=8)", "knn(k=3)": "knn(k=3)"}, "suites that are joined may disagree"
    assert method_names(["a", "b"], {"a": "x", "b": "x"}) == {"a": "a", "b": "b"}
