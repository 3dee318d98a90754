"""Cells on texts: every method runs on token ids, made once, by a tokeniser that has seen training texts only."""

from __future__ import annotations

import csv
import json
import random
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from one_process import Stop, done, new_cache, observe_epochs, stop_at
from safetensors.torch import load_file, save_file
from small_suites import planned, suite
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tlbench.backbones.weights_metadata import read_tokenizer
from tlbench.core.cell import Cell
from tlbench.core.class_splits import deal_classes
from tlbench.core.errors import UserError
from tlbench.data.dataset import SOURCE, TEST, TRAIN
from tlbench.data.tokenizer import SPECIAL, Design, load, train
from tlbench.testing.fakes import fake_texts
from tlbench.worker import fit_cell as fitting
from tlbench.worker.artifact_jobs import PRETRAINED, ArtifactName, TeacherJob
from tlbench.worker.artifact_transfer import read_weights_file, store_weights_file, weights_file
from tlbench.worker.cache import WorkerCache
from tlbench.worker.run_cell import run_cell
from tlbench.worker.text_reading import read_texts, training_rows, unknown_share

sys.path.append(str(Path(__file__).parents[1] / "backbones"))

TINY: dict[str, Any] = {"name": "text_tiny", "vocabulary": 512, "max_length": 16}
TOPICS = {
    "kitchen": ("kettle", "brew", "leaf"),
    "harbour": ("sail", "boat", "wave"),
    "weather": ("cloud", "storm", "wind"),
    "garden": ("spade", "seed", "root"),
    "railway": ("train", "signal", "ticket"),
}
COMMON = ("we", "saw", "the", "old", "one", "and", "it", "was", "there", "again")
TRAINED = {"method": "supervised", "params": {"epochs": 2}}
FINETUNE = {"name": "finetune", "params": {"epochs": 6}}
TEACHER = {"method": "finetune", "params": {"epochs": 4}}


def uncut(notes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the notes that are not about long texts, of which these have some."""
    return tuple(note for note in notes if not note.endswith("tokens and are cut"))


def written(folder: Path, name: str = "texts", topics: Sequence[str] = tuple(TOPICS)[:3], each: int = 16) -> Path:
    """A file of texts of some topics; the last four of each are for the test, and those alone speak of zebras."""
    draw, path = random.Random(name), folder / f"{name}.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["text", "label", "split"])
        for topic in topics:
            for number in range(each):
                words = [
                    draw.choice(TOPICS[topic] if draw.random() < 0.5 else COMMON) for _ in range(draw.randint(4, 9))
                ]
                test = number >= each - 4
                writer.writerow([" ".join([*words, *["zebras"] * test]), topic, "test" if test else "train"])
    return path


def dataset(path: Path) -> dict[str, Any]:
    return {"name": "texts", "path": str(path)}


def cells(folder: Path, artifacts: Path, path: Path | None = None, name: str = "texts", **grid: Any) -> list[Cell]:
    given = {"backbones": [TINY], "datasets": [dataset(path or written(folder))], "shots": ["full"], "seeds": 1}
    return planned(suite(name, given | grid), folder, artifacts)


def artifact_names(artifacts: Path, kind: str) -> list[str]:
    return sorted(path.name for path in (artifacts / kind).glob("[!.]*"))


def words(cache: WorkerCache, cell: Cell) -> set[str]:
    """The tokens that a cell's tokeniser has, without what marks the start of a word."""
    tokenizer = cache.tokenizer(cell.backbone, cell.dataset, episodic=cell.protocol.episodic)
    assert tokenizer is not None
    return {token.removeprefix("Ġ") for token in load(tokenizer).get_vocab()}


def test_every_kind_of_method_learns_and_is_the_same_in_any_order_and_process(tmp_path: Path) -> None:
    distillation = {
        "name": "distillation",
        "params": {"epochs": 6},
        "teacher": {**TEACHER, "backbone": {**TINY, "tokenizer": "wordpiece"}},
    }
    lora = {"name": "lora", "params": {"epochs": 6, "lr": 5e-3}}
    pretrained = {**TINY, "pretrain": {**TRAINED, "dataset": dataset(written(tmp_path, "corpus"))}}
    grid = {"methods": ["linear_probe", "knn", FINETUNE, lora, distillation], "backbones": [TINY, pretrained]}
    chosen = cells(tmp_path, tmp_path / "a", **grid)
    assert len(chosen) == 10
    shared = new_cache(tmp_path / "a")
    first = {cell.id: done(cell, shared) for cell in chosen}
    for record in first.values():
        assert record.outcome is not None
        assert record.outcome.scores["accuracy"] > 0.6, record.cell.method_label
        assert uncut(record.outcome.notes) == ()
    shutil.copytree(tmp_path / "a" / "datasets", tmp_path / "b" / "datasets")
    other = new_cache(tmp_path / "b")
    for cell in reversed(chosen):
        assert done(cell, other).digest == first[cell.id].digest
    for kind in ("tokenizers", "tokens", "features", "pretrained", "teachers"):
        assert artifact_names(tmp_path / "a", kind) == artifact_names(tmp_path / "b", kind) != []


def test_an_interrupted_cell_continues_to_the_same_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = cells(tmp_path, tmp_path / "a", methods=[FINETUNE])
    straight = done(cell, new_cache(tmp_path / "a"))
    observe_epochs(monkeypatch, fitting, stop_at(3))
    with pytest.raises(Stop):
        run_cell(cell, new_cache(tmp_path / "a"))
    epochs: list[int] = []
    observe_epochs(monkeypatch, fitting, lambda done, total: epochs.append(done))
    assert done(cell, new_cache(tmp_path / "a")).digest == straight.digest
    assert epochs == [3, 4, 5, 6]


def test_texts_are_tokenised_once_for_all_that_read_them_alike(tmp_path: Path) -> None:
    wide, short = {**TINY, "pooling": "cls"}, {**TINY, "max_length": 8}
    chosen = cells(tmp_path, tmp_path / "a", methods=["linear_probe", "knn"], backbones=[TINY, wide, short])
    for cell in chosen:
        done(cell, new_cache(tmp_path / "a"))
    assert len(artifact_names(tmp_path / "a", "tokenizers")) == 1
    assert len(artifact_names(tmp_path / "a", "tokens")) == 2, "another length, other ids"
    assert len(artifact_names(tmp_path / "a", "features")) == 3
    ids = new_cache(tmp_path / "a").read(chosen[0].dataset, chosen[0].backbone)
    assert isinstance(ids.x, np.ndarray)
    assert (ids.x.dtype, len(ids.x)) == (np.int32, 48)
    assert new_cache(tmp_path / "a").read(chosen[-1].dataset, chosen[-1].backbone).x.shape == (48, 8)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece"])
def test_a_tokeniser_has_seen_no_test_text(tmp_path: Path, kind: str) -> None:
    (cell,) = cells(tmp_path, tmp_path / "a", methods=["knn"], backbones=[{**TINY, "tokenizer": kind}])
    found = words(new_cache(tmp_path / "a"), cell)
    assert {word for topic in tuple(TOPICS)[:3] for word in TOPICS[topic]} <= found
    assert "zebras" not in found


def test_where_classes_are_kept_apart_it_has_seen_training_classes_only(tmp_path: Path) -> None:
    path = tmp_path / "mixed.csv"
    names = ["quartz", "velvet", "mango", "copper", "lilac", "tundra", "falcon", "pepper", "violet", "cactus"]
    lines = [f"the {name} it was {word},{name},train" for name in names for word in COMMON]
    path.write_text("\n".join(["text,label,split", *lines, "velvet,velvet,test"]))
    episodes = {"protocol": "episodic", "methods": ["nearest_centroid"], "ways": 2, "queries": 2, "episodes": 8}
    (episodic,) = cells(tmp_path, tmp_path / "a", path, "episodes", **episodes, shots=[1])
    (plain,) = cells(tmp_path, tmp_path / "a", path, "plain", methods=["knn"])
    cache, info = new_cache(tmp_path / "a"), plain.dataset.info
    learnable = {info.classes[label] for label in deal_classes(info)["train"]}
    assert len(learnable) == 6
    assert words(cache, episodic) & set(names) == learnable
    assert words(cache, plain) & set(names) == set(names)
    done(episodic, cache)
    done(plain, cache)
    assert len(artifact_names(tmp_path / "a", "tokens")) == len(artifact_names(tmp_path / "a", "features")) == 2


def test_the_rows_it_learns_from() -> None:
    data = fake_texts()
    classes = list(data.info.class_splits["train"])
    rows = training_rows(data, classes)
    assert set(data.part[rows]) == {TRAIN}
    assert set(data.y[rows]) == set(classes)
    assert len(rows) == 60
    part = np.where(np.arange(len(data.y)) % 4 == 0, SOURCE, TEST).astype(np.uint8)
    assert set(training_rows(replace(data, part=part), list(range(10)))) == set(range(0, 200, 4)), "both domains' texts"


def test_weights_carry_the_tokeniser_of_the_first_corpus_through_every_further_run(tmp_path: Path) -> None:
    first, second = (dataset(written(tmp_path, name, each=20)) for name in ("first", "second"))
    once = {**TINY, "pretrain": {**TRAINED, "dataset": first}}
    twice = {**TINY, "pretrain": {**TRAINED, "dataset": second, "after": once["pretrain"]}}
    chosen = cells(tmp_path, tmp_path / "a", methods=["linear_probe"], backbones=[TINY, once, twice])
    cache = new_cache(tmp_path / "a")
    for cell in chosen:
        done(cell, cache)
    random_one, *trained = (cache.tokenizer(cell.backbone, cell.dataset) for cell in chosen)
    assert trained[0] == trained[1] != random_one
    for cell in chosen[1:]:
        file = weights_file(cache.artifacts, ArtifactName(PRETRAINED, cell.backbone.artifact))
        assert read_tokenizer(file) == trained[0]
    assert chosen[1].backbone.pretrain is not None
    start = chosen[1].backbone.pretrain
    assert cache.tokenizer(start.start, start.dataset) == trained[0]


def test_a_file_of_weights_is_read_with_its_own_tokeniser_and_refused_without(tmp_path: Path) -> None:
    corpus = dataset(written(tmp_path, "corpus"))
    (made,) = cells(
        tmp_path, tmp_path / "a", methods=["knn"], backbones=[{**TINY, "pretrain": {**TRAINED, "dataset": corpus}}]
    )
    cache = new_cache(tmp_path / "a")
    expected = done(made, cache).outcome
    file = tmp_path / "mine.safetensors"
    shutil.copy(weights_file(cache.artifacts, ArtifactName(PRETRAINED, made.backbone.artifact)), file)
    (read,) = cells(tmp_path, tmp_path / "a", methods=["knn"], backbones=[{**TINY, "weights": {"file": str(file)}}])
    found = done(read, new_cache(tmp_path / "b")).outcome
    for outcome in (found, expected):
        assert outcome is not None
    assert found.model_copy(update={"notes": ()}) == expected.model_copy(update={"notes": ()})
    assert artifact_names(tmp_path / "b", "tokenizers") == []

    save_file(load_file(file), file)
    with pytest.raises(UserError, match=r"mine\.safetensors: carries no tokeniser"):
        cells(tmp_path, tmp_path / "a", methods=["knn"], backbones=[{**TINY, "weights": {"file": str(file)}}])


def test_a_tokeniser_that_is_not_the_network_s_is_refused(tmp_path: Path) -> None:
    (cell,) = cells(tmp_path, tmp_path / "a", methods=["knn"])
    cache = new_cache(tmp_path / "a")
    data = cache.dataset(cell.dataset)
    larger = train([" ".join(f"word{n}" for n in range(1000))], Design("bpe", 600, True))
    assert load(larger).get_vocab_size() == 600
    other = Tokenizer(WordLevel({"the": 0, **{token: 1 + place for place, token in enumerate(SPECIAL)}}, "[UNK]"))
    other.add_special_tokens(list(SPECIAL))
    for tokenizer, said in ((larger, "a tokeniser of 600 tokens"), (other.to_str(), r"special ones \[1, 2, 3, 4, 5\]")):
        with pytest.raises(UserError, match=said):
            read_texts(data, cell.backbone, tokenizer, cache.artifacts)


def test_a_note_says_that_a_tokeniser_does_not_know_the_texts(methods: Path, tmp_path: Path) -> None:
    """Words of another script are one unknown token each to WordPiece, and bytes like any to BPE."""
    words = {**TINY, "tokenizer": "wordpiece"}
    corpus, greek = written(tmp_path, "corpus"), tmp_path / "greek.csv"
    lines = [f"{'αβγδεζηθ'[n % 8]}{topic} κύμα,{topic},train" for topic in ("άνεμος", "σπόρος") for n in range(12)]
    greek.write_text("\n".join(["text,label,split", *lines, "κύμα,άνεμος,test", "κύμα,σπόρος,test"]))
    trained = {"method": "mlm", "params": {"epochs": 1}, "dataset": dataset(corpus)}
    backbones = [{**kind, "pretrain": trained} for kind in (words, TINY)]
    again = {**words, "pretrain": {**trained, "dataset": dataset(greek), "after": trained}}
    thrice = {**words, "pretrain": {**again["pretrain"], "dataset": dataset(corpus), "after": again["pretrain"]}}
    own = [words, TINY]
    shared = new_cache(tmp_path / "a")
    said = "100% of the tokens of texts(greek) are unknown to the tokeniser trained on texts(corpus)"

    def notes(**grid: Any) -> list[tuple[str, ...]]:
        found = [done(cell, shared).outcome for cell in cells(tmp_path, tmp_path / "a", greek, **grid)]
        return [uncut(outcome.notes) for outcome in found if outcome is not None]

    assert notes(methods=["knn"], backbones=backbones) == [(said,), ()]
    assert notes(methods=["knn"], backbones=own) == [(), ()], "what it was trained on it knows"
    nothing = "no token was asked for in the texts, so nothing was learnt without labels"
    told = tuple(f"pre-training with mlm on texts(greek): {note}" for note in (said, nothing))
    assert notes(methods=["knn"], backbones=[again, thrice]) == [(*told, said)] * 2
    copied = {"name": "copy", "teacher": {**TEACHER, "backbone": backbones[0]}}
    assert notes(methods=[copied], backbones=[words]) == [(said,)], "its teacher's"
    (cell,) = cells(tmp_path, tmp_path / "a", greek, methods=["knn"], backbones=[backbones[0]])
    file = tmp_path / "mine.safetensors"
    shutil.copy(weights_file(shared.artifacts, ArtifactName(PRETRAINED, cell.backbone.artifact)), file)
    ((note,),) = notes(methods=["knn"], backbones=[{**TINY, "weights": {"file": str(file)}}])
    assert note.endswith("the tokeniser that mine.safetensors carries")


def test_the_share_of_unknown_tokens_is_that_of_the_pieces_of_texts() -> None:
    ids = np.array([[2, 7, 1, 8, 1, 3, 0, 0], [2, 1, 3, 0, 0, 0, 0, 0]], np.int32)
    assert unknown_share(ids, [0, 1, 2, 3, 4], 1) == 3 / 5
    assert unknown_share(ids, [0, 2, 3], 1) == 3 / 5
    assert unknown_share(ids, [0, 1, 2, 3, 4], 9) == 0
    assert unknown_share(ids, [0, 1, 2, 3, 4], None) == 0
    assert unknown_share(np.array([[2, 3, 0]], np.int32), [0, 1, 2, 3, 4], 1) == 0, "no text at all"


def test_a_teacher_reads_its_own_tokens_beside_those_of_its_student(methods: Path, tmp_path: Path) -> None:
    """``copy`` answers as its teacher does, whose own cell is what it must equal to the last bit."""
    corpus = dataset(written(tmp_path, "corpus"))
    backbones = {
        "the same": TINY,
        "of another kind": {**TINY, "tokenizer": "wordpiece", "max_length": 12},
        "pre-trained": {**TINY, "pretrain": {**TRAINED, "dataset": corpus}},
    }
    finetune = {"name": "finetune", "params": TEACHER["params"]}
    cache = new_cache(tmp_path / "a")
    for name, backbone in backbones.items():
        (own,) = cells(tmp_path, tmp_path / "a", methods=[finetune], backbones=[backbone])
        copy = {"name": "copy", "teacher": {**TEACHER, "backbone": backbone}}
        (student,) = cells(tmp_path, tmp_path / "a", methods=[copy])
        assert student.teacher == own
        same = cache.read(student.dataset, student.backbone).tokens == cache.read_by_teacher(student).tokens
        assert same == (name == "the same")
        expected, found = done(own, cache).outcome, done(student, cache).outcome
        assert expected is not None
        assert found is not None
        assert found.logits == expected.logits

    elsewhere = new_cache(tmp_path / "b")
    shutil.copytree(tmp_path / "a" / "datasets", tmp_path / "b" / "datasets")
    job = TeacherJob(student)
    store_weights_file(elsewhere.artifacts, job.artifact, read_weights_file(cache.artifacts, job.artifact))
    assert done(student, elsewhere).outcome == found, "the teacher's file is all that is needed of it"
    assert not (tmp_path / "b" / "pretrained").exists()


def test_encoders_of_hugging_face_read_with_their_own_tokeniser_and_go_on_from_there(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from small_encoders import WORDS, save

    path = tmp_path / "bank.csv"
    lines = [
        f"{WORDS[n % 12]} {WORDS[n // 3 % 6]} my {word},{word},train" for word in ("card", "rent") for n in range(12)
    ]
    path.write_text("\n".join(["text,label,split", *lines, "the card,card,test", "the rent please,rent,test"]))
    folder = save("roberta", tmp_path / "small-roberta")
    found = {"name": f"hf:{folder}", "weights": "hf"}
    further = {**found, "pretrain": {**TRAINED, "dataset": dataset(written(tmp_path, "corpus"))}}
    taught = {"name": "distillation", "params": {"epochs": 2}, "teacher": {**TEACHER, "backbone": found}}
    lora = {"name": "lora", "params": {"epochs": 2}}
    grid = {"methods": ["linear_probe", FINETUNE, lora], "backbones": [found, further, {"name": f"hf:{folder}"}]}
    chosen = cells(tmp_path, tmp_path / "a", path, "hub", **grid)
    chosen += cells(tmp_path, tmp_path / "a", path, "taught", methods=[taught])
    assert len(chosen) == 10
    cache = new_cache(tmp_path / "a")
    for cell in chosen:
        record = done(cell, cache)
        assert "transformers" in record.provenance
        assert record.outcome is not None
        if cell.backbone.pretrain is None:
            assert uncut(record.outcome.notes) == ()
        else:
            (note,) = uncut(record.outcome.notes)
            assert note.endswith("of texts(corpus) are unknown to the tokeniser of hf:small-roberta")
    # One reading by the encoder's own tokeniser, shared by all its weights; the corpus's; the student's.
    assert len(artifact_names(tmp_path / "a", "tokens")) == 3
    assert len(artifact_names(tmp_path / "a", "tokenizers")) == 1
    own = cache.read(chosen[0].dataset, chosen[0].backbone)
    assert (np.asarray(own.x)[:, 0] == 0).all()
    assert np.asarray(own.x)[-2].tolist() == [0, 5, 6, 2, 1, 1]
    assert str(tmp_path) not in json.dumps([cell.backbone.info.recipe for cell in chosen])


def test_images_and_texts_do_not_go_together(tmp_path: Path) -> None:
    assert cells(tmp_path, tmp_path / "a", methods=["knn"], backbones=["conv4"]) == []
    assert cells(tmp_path, tmp_path / "a", methods=["knn"], datasets=["digits"]) == []
