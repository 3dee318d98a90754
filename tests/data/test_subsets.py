"""Parts of datasets: which rows they hold, what is kept of the whole, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench.core.errors import UserError
from tlbench.core.label_provenance import labels_shared
from tlbench.data import catalog
from tlbench.data.dataset import TEST, TRAIN, Dataset
from tlbench.store.artifacts import Artifacts

DOMAINS, CLASSES, EACH = ("day", "dusk", "night"), ("cat", "dog"), 20


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images of three domains, each of one shade and of one width a domain; the first pixel is the shade."""
    root = tmp_path_factory.mktemp("pets")
    for number in range(len(DOMAINS) * len(CLASSES) * EACH):
        domain, label = number % 3, number // 3 % 2
        file = root / DOMAINS[domain] / CLASSES[label] / f"{number:03}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4 + domain), number, np.uint8)).save(file)
    return root


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    return Artifacts(tmp_path_factory.mktemp("artifacts"))


def part(pets: Path, artifacts: Artifacts, domain: Any = None, per_class: Any = None) -> Dataset:
    member = {"name": "folder", "path": str(pets)} | ({} if domain is None else {"domain": domain})
    params = {"of": member} | ({} if per_class is None else {"per_class": per_class})
    return catalog.open_dataset("subset", params, artifacts)


def shades(dataset: Dataset) -> list[int]:
    return [int(image[0, 0, 0]) for image in dataset.x]


def test_a_domain_keeps_images_labels_and_split(pets: Path, artifacts: Artifacts) -> None:
    whole = catalog.open_dataset("folder", {"path": str(pets)}, artifacts)
    dusk = part(pets, artifacts, "dusk")
    rows = np.flatnonzero(whole.domain == 1)
    assert shades(dusk) == [int(whole.x[row][0, 0, 0]) for row in rows.tolist()]
    np.testing.assert_array_equal(dusk.y, whole.y[rows])
    np.testing.assert_array_equal(dusk.part, whole.part[rows])
    assert dusk.info.domains == ()
    assert dusk.info.name == f"folder({pets.name})/dusk"
    assert dusk.info.counts == {"train": (16, 16), "test": (4, 4)}


def test_several_domains_stay_domains_in_the_order_of_the_whole(pets: Path, artifacts: Artifacts) -> None:
    both = part(pets, artifacts, ["night", "day"])
    assert both.info.domains == ("day", "night")
    assert {(shade % 3, int(domain)) for shade, domain in zip(shades(both), both.domain, strict=True)} == {
        (0, 0),
        (2, 1),
    }


def test_a_sample_has_so_many_of_each_class_in_each_part(pets: Path, artifacts: Artifacts) -> None:
    few = part(pets, artifacts, per_class={"train": 7, "test": 3})
    assert few.info.counts == {"train": (7, 7), "test": (3, 3)}
    assert few.info.name == f"folder({pets.name}) (7 train, 3 test a class)"
    assert part(pets, artifacts, per_class=100).info.counts == {"train": (48, 48), "test": (12, 12)}
    tested = part(pets, artifacts, per_class={"test": 3})
    assert tested.info.counts == {"train": (48, 48), "test": (3, 3)}


def test_samples_nest_and_depend_on_the_content_alone(pets: Path, artifacts: Artifacts, tmp_path: Path) -> None:
    few, more = (set(shades(part(pets, artifacts, per_class=count))) for count in (3, 6))
    assert few < more
    again = part(pets, Artifacts(tmp_path), per_class=3)
    assert set(shades(again)) == few
    assert len({shade % 3 for shade in few}) > 1, "a sample, not the first images"


def test_a_sample_shares_labels_with_what_it_was_taken_from(pets: Path, artifacts: Artifacts) -> None:
    whole = catalog.open_dataset("folder", {"path": str(pets)}, artifacts).info
    day, night = (part(pets, artifacts, name).info for name in ("day", "night"))
    assert labels_shared(whole, day)
    assert labels_shared(day, whole)
    assert not labels_shared(day, night)
    few = part(pets, artifacts, per_class=3).info
    assert labels_shared(few, day)
    assert (few.origin, day.origin) == (pets.resolve().as_posix(), (pets / "day").resolve().as_posix())


def test_texts_and_squares_are_copied(artifacts: Artifacts, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "".join(f"text {n},{'ab'[n % 2]}\n" for n in range(20)))
    texts = catalog.open_dataset(
        "subset", {"of": {"name": "texts", "path": str(tmp_path / "t.csv")}, "per_class": 2}, artifacts
    )
    assert len(texts.x) == 8
    assert all(int(text.split()[1]) % 2 == label for text, label in zip(texts.x, texts.y, strict=True))
    whole = catalog.open_dataset("digits", {}, artifacts)
    digits = catalog.open_dataset("subset", {"of": "digits", "per_class": {"train": 5}}, artifacts)
    known = {image.tobytes() for image in np.asarray(whole.x[whole.rows(TRAIN)])}
    assert all(np.asarray(image).tobytes() in known for image in digits.x[digits.rows(TRAIN)])
    np.testing.assert_array_equal(digits.x[digits.rows(TEST)], whole.x[whole.rows(TEST)])


def test_classes_of_other_domains_are_no_classes_of_the_part(artifacts: Artifacts, tmp_path: Path) -> None:
    lines = [f"text {n},{label},{domain}" for n in range(10) for label, domain in ("ax", "by", "cx", "dz")]
    (tmp_path / "d.csv").write_text("\n".join(["text,label,domain", *lines]))
    member = {"name": "texts", "path": str(tmp_path / "d.csv"), "domain": ["x", "z"]}
    found = catalog.open_dataset("subset", {"of": member}, artifacts)
    assert (found.info.classes, found.info.domains) == (("a", "c", "d"), ("x", "z"))
    assert set(found.y[np.asarray(found.domain) == 1]) == {2}
    assert len(found.x) == 30


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"of": "digits"}, "'subset' of everything\n  give a domain beside the name, or per_class"),
        ({"per_class": 3}, "dataset subset: 'of' is missing"),
        ({"of": "digit", "per_class": 3}, "unknown dataset 'digit', as 'of'\n  did you mean 'digits'?"),
        ({"of": "digits", "per_class": 0}, "train: must be greater than or equal to 1, not 0"),
        ({"of": "digits", "per_class": {"tests": 3}}, "did you mean 'test'?"),
        ({"of": {"name": "digits", "domain": "x"}}, "digits has no domain 'x'"),
        ({"of": {"name": "rendered_digits", "images": 420, "domain": []}}, "domain"),
        ({"of": "subset", "per_class": 3}, "a subset of subsets, as 'of'"),
    ],
)
def test_what_is_no_part_is_refused(params: dict[str, Any], said: str, artifacts: Artifacts) -> None:
    with pytest.raises(UserError) as caught:
        catalog.open_dataset("subset", params, artifacts)
    assert said in str(caught.value)
