"""What an exported model answers, and what becomes of inputs and folders that are not as they should be."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from exported_models import described
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

import tlbench
from tlbench.core.errors import UserError
from tlbench.core.hashing import sha256
from tlbench.data.framing import Framing
from tlbench.data.mixed_images import squared
from tlbench.inference.description import ImageReading
from tlbench.inference.image_inputs import ImageReader
from tlbench.inference.inputs import Input

COUNT = 12


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with twelve digits, one file that is cut off and one that is no image."""
    folder = tmp_path / "photos"
    (folder / "inner").mkdir(parents=True)
    pixels = load_digits().images[:COUNT] / 16 * 255
    for number, image in enumerate(pixels.astype(np.uint8)):
        place = folder / "inner" if number % 2 else folder
        Image.fromarray(image).save(place / f"{number:02}.png")
    whole = (folder / "00.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("no image")
    return folder


def test_images_of_a_folder_a_zip_a_list_and_memory_have_the_same_answers(digits_model: Path, photos: Path) -> None:
    model = tlbench.load(digits_model)
    folder = model.predict(photos)
    assert [each.name for each in folder.unreadable] == ["cut.png", "notes.txt"]
    assert folder.unreadable[1].reason == "is no image"
    assert len(folder) == COUNT
    packed = photos.parent / "photos.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for file in sorted(photos.rglob("*.*")):
            archive.write(file, file.relative_to(photos))
    assert model.predict(str(packed)) == folder
    paths = [photos / answer.name for answer in folder]
    listed = model.predict(paths)
    assert [each.label for each in listed] == [each.label for each in folder]
    in_memory = model.predict([Image.open(path) for path in paths[:3]] + [np.asarray(Image.open(paths[3]))])
    assert [each[1:] for each in in_memory] == [each[1:] for each in listed[:4]]
    alone = model.predict(paths[0])
    assert alone[0].label == folder[0].label
    assert list(folder.to_frame()) == ["name", "label", "probability", "confidence"]


def test_answers_are_those_of_the_network_on_the_very_pixels(digits_model: Path, photos: Path) -> None:
    model = tlbench.load(digits_model)
    pixels = torch.from_numpy((load_digits().images[:COUNT] / 16 * 255).astype(np.uint8))[:, None]
    with torch.no_grad():
        logits = model.network(pixels).double()
    temperature = model.description.calibration.temperature
    assert temperature is not None
    for answer in model.predict(photos):
        own = logits[int(Path(answer.name).stem)]
        assert answer.label == model.classes[int(own.argmax())]
        assert answer.probability == pytest.approx(float(own.softmax(0).max()), rel=1e-4)
        assert answer.confidence == pytest.approx(float((own / temperature).softmax(0).max()), rel=1e-4)


def test_images_of_another_size_are_brought_to_that_of_the_training(tmp_path: Path) -> None:
    pixels = (load_digits().images[0] / 16 * 255).astype(np.uint8)
    Image.fromarray(np.kron(pixels, np.ones((9, 9), np.uint8))).convert("RGB").save(tmp_path / "large.png")
    Image.fromarray(np.pad(pixels, ((0, 0), (4, 4)))).save(tmp_path / "wide.png")
    reader = ImageReader(ImageReading(shape=(1, 8, 8)), Framing(28, 28), (128,))
    large, wide = (each.value for each in reader.read(sorted(tmp_path.iterdir())) if isinstance(each, Input))
    assert large.shape == (1, 8, 8)
    assert np.abs(large.astype(int) - pixels).mean() < 12
    assert (wide[0] == pixels).all(), "the middle is cut out"
    inverted = ImageReader(ImageReading(shape=(1, 8, 8), invert=True), Framing(28, 28), (128,))
    (turned,) = (each.value for each in inverted.read(tmp_path / "wide.png") if isinstance(each, Input))
    assert (turned[0] == 255 - pixels).all()


def test_images_of_several_sizes_are_framed_as_in_training(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    framing = Framing(12, 16, "bicubic")
    (one,) = ImageReader(ImageReading(shape=(3, 0, 0)), framing, (1, 2, 3)).read(tmp_path)
    assert isinstance(one, Input)
    assert (one.value == squared(pixels.transpose(2, 0, 1), framing, (1, 2, 3))).all()
    assert one.value.shape == (3, 16, 16)


@pytest.mark.parametrize("size", [1, 5, 64])
def test_batches_change_nothing_but_rounding(digits_model: Path, texts_model: Path, photos: Path, size: int) -> None:
    words = [" ".join(["card", "game", "soup"][number % 3 :]) + " team" * (number % 7) for number in range(40)]
    for folder, inputs in ((digits_model, photos), (texts_model, words)):
        model = tlbench.load(folder)
        some, whole = model.predict(inputs, batch_size=size), model.predict(inputs)
        assert [each[:2] for each in some] == [each[:2] for each in whole]
        assert [each.probability for each in some] == pytest.approx([each.probability for each in whole], rel=1e-4)


def write_texts(folder: Path, rows: list[dict[str, Any]]) -> list[Path]:
    files = [folder / f"t.{ending}" for ending in ("csv", "tsv", "jsonl", "parquet", "txt")]
    for file, between in zip(files[:2], ",\t", strict=True):
        with file.open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(rows[0]), delimiter=between)
            table.writeheader()
            table.writerows(rows)
    files[2].write_text("".join(json.dumps(row) + "\n" for row in rows))
    pd.DataFrame(rows).to_parquet(files[3])
    files[4].write_text("".join(f"{row['text']}\n" for row in rows))
    return files


def test_texts_of_every_kind_of_file_have_the_same_answers(texts_model: Path, tmp_path: Path) -> None:
    rows = [{"id": f"t{n}", "text": text} for n, text in enumerate(["pay my rent", "", "a ball, a goal", "soup"])]
    model = tlbench.load(texts_model)
    expected = model.predict([row["text"] for row in rows])
    assert [each.name for each in expected.unreadable] == ["1"]
    assert expected[0].confidence is None
    for file in write_texts(tmp_path, rows):
        answers = model.predict(file)
        assert [each[1:] for each in answers] == [each[1:] for each in expected], file
        names = ["1", "3", "4"] if file.suffix == ".txt" else ["t0", "t2", "t3"]
        assert [each.name for each in answers] == names
        assert [each.reason for each in answers.unreadable] == ["is empty"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "there is no such file"),
        ("odd.docx", "x", "texts are read from .csv"),
        ("no.csv", "txt,label\na,b\n", "there is no column 'text'"),
        ("empty.txt", "", "there are no texts"),
        ("blank.txt", "\n \n", "none of 2 inputs can be read"),
        ("no.parquet", "PAR1", "cannot be read as Parquet"),
        ("quote.csv", 'text\n"a', "cannot be read"),
        ("latin.txt", b"\xe9t\xe9", "not UTF-8"),
        ("list.jsonl", "[1]\n", "none of 1 inputs can be read"),
    ],
)
def test_files_of_texts_that_cannot_be_read(
    texts_model: Path, tmp_path: Path, name: str, content: str | bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        tlbench.load(texts_model).predict(tmp_path / name)


def test_an_empty_folder_no_folder_and_a_batch_of_none_are_refused(digits_model: Path, tmp_path: Path) -> None:
    model = tlbench.load(digits_model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="there are no images"):
        model.predict(tmp_path / "empty")
    with pytest.raises(UserError, match="there is no such file or folder"):
        model.predict(tmp_path / "none")
    with pytest.raises(UserError, match="a batch of 0"):
        model.predict(tmp_path, batch_size=0)
    with pytest.raises(UserError, match="device 'warp'"):
        tlbench.load(digits_model, "warp")


def changed(folder: Path, to: Path, **facts: Any) -> Path:
    """A copy of a model whose description says something else."""
    shutil.copytree(folder, to)
    (to / "tlbench.json").write_text(json.dumps(described(folder) | facts))
    return to


def test_folders_that_are_no_model_or_a_damaged_one_are_refused(digits_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such folder"):
        tlbench.load(tmp_path / "none")
    (tmp_path / "empty" / "inside").mkdir(parents=True)  # beside no other folder, whose name would be the hint
    with pytest.raises(UserError, match=r"is no exported model: there is no tlbench\.json") as error:
        tlbench.load(tmp_path / "empty" / "inside")
    assert "tlbench export" in error.value.hint
    with pytest.raises(UserError, match="has format 99") as error:
        tlbench.load(changed(digits_model, tmp_path / "newer", format=99, tlbench="9.1", more=1))
    assert "9.1" in error.value.hint
    with pytest.raises(UserError, match="is damaged: modality"):
        tlbench.load(changed(digits_model, tmp_path / "odd", modality="sound"))
    (tmp_path / "odd" / "tlbench.json").write_text("[")
    with pytest.raises(UserError, match="is no description of a model"):
        tlbench.load(tmp_path / "odd")
    cut = changed(digits_model, tmp_path / "cut")
    weights = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(weights[:-4] + b"\0\0\0\1")
    with pytest.raises(UserError, match="is damaged, or not the file that was exported"):
        tlbench.load(cut)
    (cut / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        tlbench.load(cut)


def test_a_model_whose_classes_differ_from_its_weights_is_refused(digits_model: Path, tmp_path: Path) -> None:
    fewer = changed(digits_model, tmp_path / "fewer", classes=["a", "b"])
    with pytest.raises(UserError, match="tells 10 classes apart, and 2 are named"):
        tlbench.load(fewer)
    other = changed(digits_model, tmp_path / "other")
    state = load_file(other / "model.safetensors")
    del state["head.bias"]
    save_file(state, other / "model.safetensors")
    facts = described(other) | {"weights": sha256(other / "model.safetensors")}
    (other / "tlbench.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="the weights are not those of the network"):
        tlbench.load(other)


def test_loading_and_answering_needs_no_suite_workspace_mlflow_or_ray(texts_model: Path, digits_model: Path) -> None:
    code = f"""
import sys, numpy as np
import tlbench
assert "torch" not in sys.modules
tlbench.load({str(texts_model)!r}).predict(["a card"])
tlbench.load({str(digits_model)!r}).predict([np.zeros((8, 8), np.uint8)])
rooms = {{name.split(".")[1] for name in sys.modules if name.startswith("tlbench.") and name.count(".") > 1}}
assert not rooms & {{"suite", "planning", "worker", "runner", "report", "export"}}, rooms
assert not {{"ray", "mlflow", "sqlalchemy", "optuna", "pandas", "matplotlib"}} & set(sys.modules)
assert not {{"tlbench.store.ledger", "tlbench.store.workspace"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
