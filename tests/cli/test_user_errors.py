"""Whatever a user gets wrong ends with a short message, exit code 2, nothing run and nothing kept."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tlbench import cli

SUITE: dict[str, Any] = {
    "name": "s",
    "baseline": "knn",
    "grids": [
        {
            "protocol": "classification",
            "methods": ["knn"],
            "backbones": [{"name": "conv4", "width": 8}],
            "datasets": ["digits"],
            "shots": [1],
            "seeds": 2,
        }
    ],
}


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda suite: suite["grids"][0].update({key: value})


def added(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda suite: suite["grids"][0][key].append(value)


def pretrained(method: str) -> dict[str, Any]:
    return {"name": "conv4", "pretrain": {"method": method, "dataset": "glyphs"}}


# What is changed in the suite, the text whose line is to be named, and what the message says, with its hint.
TYPOS = [
    (added("methods", "linear_prob"), '"linear_prob"', "unknown method 'linear_prob'", "did you mean 'linear_probe'?"),
    (added("methods", {"name": "knn", "params": {"kk": 3}}), '"kk"', "unknown key 'kk'", "did you mean 'k'?"),
    (added("methods", {"name": "knn", "params": {"k": -3}}), '"k": -3', "k: must be greater than or equal to 1", "-3"),
    (added("methods", {"name": "knn", "k": 3}), '"k": 3', "'k' under params", "params: {k: ...}"),
    (added("backbones", "resnet81"), '"resnet81"', "unknown backbone 'resnet81'", "did you mean 'resnet18'?"),
    (added("backbones", {"name": "conv4", "widht": 3}), '"widht"', "unknown key 'widht'", "did you mean 'width'?"),
    (added("backbones", {"name": "conv4", "weights": {"file": "w.pt"}}), '"w.pt"', "no weights file 'w.pt'", "looked"),
    (
        added("backbones", {"name": "resnet18", "weights": {"torchvision": "IMAGENET1K_V9"}}),
        '"weights"',
        "no weights 'IMAGENET1K_V9'",
        "did you mean 'IMAGENET1K_V1'?",
    ),
    (added("backbones", pretrained("knn")), '"method": "knn"', "knn does not pre-train", "valid: mlm, simclr"),
    (added("datasets", "digit"), '"digit"', "unknown dataset 'digit'", "did you mean 'digits'?"),
    (added("datasets", {"name": "folder", "paht": "x"}), '"paht"', "unknown key 'paht'", "did you mean 'path'?"),
    (changed("protocol", "episodical"), '"episodical"', "unknown protocol", "did you mean 'episodic'?"),
    (changed("ways", 5), '"ways"', "unknown key 'ways'", "episodic takes it, classification does not"),
    (changed("shots", [0]), "0\n", "shots: must be a whole number of 1 or more, or full", "not 0"),
    (changed("seeds", 0), '"seeds"', "seeds: must be a number of seeds from 1", "not 0"),
    (lambda suite: suite.update(limit={"cpu_hours": 1}), '"limit"', "unknown key 'limit'", "did you mean 'limits'?"),
    (lambda suite: suite.update(baseline="knm"), '"knm"', "baseline 'knm': no grid lists it", "did you mean 'knn'?"),
]


@pytest.mark.parametrize(("change", "culprit", "message", "hint"), TYPOS, ids=[typo[2] for typo in TYPOS])
def test_a_mistake_in_a_suite_is_told_with_its_line_and_the_nearest_choice(
    command: Any, here: Path, change: Callable[[dict[str, Any]], None], culprit: str, message: str, hint: str
) -> None:
    suite = copy.deepcopy(SUITE)
    change(suite)
    text = json.dumps(suite, indent=1)
    (here / "s.yaml").write_text(text)
    said = command("run", "s.yaml")
    refused(said, f"s.yaml:{text[: text.index(culprit)].count(chr(10)) + 1}: ", message, hint)
    assert [path.name for path in here.iterdir()] == ["s.yaml"], "nothing may be kept of a suite that is refused"


def test_what_the_data_cannot_pose_is_told_with_the_lines_of_the_shots(command: Any, here: Path) -> None:
    suite = copy.deepcopy(SUITE)
    suite["grids"][0]["shots"] = [1, 500]
    episodes = {"protocol": "episodic", "methods": ["nearest_centroid"], "ways": 5, "shots": [2]}
    suite["grids"].append(suite["grids"][0] | episodes)
    text = json.dumps(suite, indent=1)
    (here / "s.yaml").write_text(text)
    lines = [text[: text.index(shots)].count("\n") + 1 for shots in ("500", '2\n   ],\n   "seeds"')]
    refused(
        command("check", "s.yaml"),
        f"s.yaml:{lines[0]}: digits: class '0' has 89 training examples, but shots: 500 needs 500",
        f"s.yaml:{lines[1]}: digits: episodes of 5 ways need 5 classes",
    )


TEXTS = {
    "name: s\n  grids: [\n": ("s.yaml:2: is not valid YAML",),
    "name: s\nname: t\ngrids: []\n": ("s.yaml:2: duplicate key 'name', first on line 1",),
    "": ("s.yaml:1: is empty",),
    "- knn\n": ("s.yaml:1: a suite is a mapping with name and grids, not a list",),
    "nmae: s\ngrids: 3\n": ("s.yaml:1: unknown key 'nmae'", "did you mean 'name'?", "s.yaml:2: grids: must be a list"),
}


@pytest.mark.parametrize("text", TEXTS)
def test_a_file_that_is_no_suite_is_refused_with_its_line(command: Any, here: Path, text: str) -> None:
    (here / "s.yaml").write_text(text)
    refused(command("check", "s.yaml"), *TEXTS[text])


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue()


@pytest.fixture
def pictures(here: Path) -> Path:
    """Two classes of six images, and a suite that asks for five shots of them."""
    root = here / "pictures"
    for number, name in enumerate(("cat", "dog")):
        (root / name).mkdir(parents=True)
        for shot in range(6):
            (root / name / f"{shot}.png").write_bytes(picture(10 * number + shot))
    suite = copy.deepcopy(SUITE)
    suite["grids"][0] |= {"datasets": [{"name": "folder", "path": "pictures"}], "shots": [1]}
    (here / "s.yaml").write_text(json.dumps(suite))
    return root


def test_flaws_of_the_users_images_are_told_with_file_or_class_before_anything_runs(
    command: Any, here: Path, pictures: Path
) -> None:
    assert command("check", "s.yaml").out == "s.yaml: fine, 2 cells\n"
    text = (here / "s.yaml").read_text()
    (here / "s.yaml").write_text(text.replace('"shots": [1]', '"shots": [50]'))
    refused(command("run", "s.yaml"), "folder(pictures): class 'cat' has", "shots: 50 needs 50", "ask for at most")
    (here / "s.yaml").write_text(text)
    (pictures / "bird").mkdir()
    refused(command("run", "s.yaml"), f"{pictures}: class folder 'bird' has no images", "add images or remove")
    (pictures / "bird").rmdir()
    (pictures / "dog" / "3.png").write_bytes(picture(3)[:60])
    refused(command("run", "s.yaml"), f"{pictures}: dog/3.png", "move it out, or mend it")
    (here / "s.yaml").write_text(text.replace('"pictures"', '"pictuers"'))
    refused(command("run", "s.yaml"), f"{here / 'pictuers'}: there is no such folder")
    assert not (here / "workspace").exists()


LINES = {
    "lst": ("No such command 'lst'", "Did you mean 'list'?"),
    "run": ("Missing argument 'SUITE'",),
    "run s.yaml --onyl x": ("No such option: --onyl", "--only"),
    "run s.yaml t.yaml": ("unexpected extra argument", "t.yaml"),
    "ui --port http": ("Invalid value for '--port'",),
    "list method": ("there is no list of 'method'", "did you mean 'methods'?"),
    "run t.yaml": ("t.yaml: no such file", "did you mean 's.yaml'?"),
    "report t.yaml": ("t.yaml: no such file", "did you mean 's.yaml'?"),
    "check .": (".: is a folder, not a file",),
    "run s.yaml --only metod=knn": ("unknown field 'metod'", "did you mean 'method'?"),
    "run s.yaml --only fialed": ("'fialed' is not understood", "did you mean 'failed'?"),
    "run s.yaml --only method=lora*": ("--only 'method=lora*': no cell of the suite fits", "method: knn"),
    "run s.yaml --skip seed=7": ("--skip 'seed=7': no cell of the suite fits", "seed: 0, 1"),
    "run s.yaml --force backbone=conv5": (
        "--force 'backbone=conv5': no cell",
        "backbone: did you mean 'conv4'?",
    ),
    "run s.yaml --address 127.0.0.1:1": ("no Ray cluster at '127.0.0.1:1': Connection refused", "ray start --head"),
    "run s.yaml --tracking-uri results": ("results: MLflow does not write to plain folders", "sqlite:///results.db"),
    "status s.yaml --workspace s.yaml": ("s.yaml", "file exists"),
    "report s --tracking-uri http://[::1": ("'http://[::1' is no address: Invalid IPv6 URL", "give sqlite:///FILE.db"),
    "report s --tracking-uri http://127.0.0.1:99999": ("is no address: Port out of range", "http://HOST:PORT"),
    "report s --tracking-uri //[": ("//[: MLflow does not write to plain folders", "give sqlite:///mlflow.db"),
    "report s --tracking-uri sqlite:///\udcff.db": ("is no address: it is not UTF-8", "sqlite:///FILE.db"),
    "report \udcff": ("\\xff: no name of a suite: it is not UTF-8", "give a suite's file or name"),
    "cell \udcff": ("no result of a cell", "`tlbench status SUITE --cells` lists the cells"),
    "check /dev/zero": ("/dev/zero", "device"),
    "report s": ("mlflow.db: no such file", "run the suite first"),
    "cell abc": ("no result of a cell 'abc'",),
}


@pytest.mark.parametrize("line", LINES)
def test_a_wrong_command_line_is_told_in_a_few_words(command: Any, here: Path, line: str) -> None:
    (here / "s.yaml").write_text(json.dumps(SUITE))
    refused(command(*line.split()), *LINES[line])
    assert not (here / "reports").exists()


def test_being_interrupted_says_so_and_an_error_of_ours_keeps_its_traceback(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(what: str) -> None:
        raise KeyboardInterrupt

    def fail(what: str) -> None:
        raise FileNotFoundError(2, "No such file or directory", "a file of ours")

    monkeypatch.setattr("tlbench.cli.list.rows_of", interrupt)
    said = command("list")
    assert (said.code, said.err) == (130, "stopped\n")
    monkeypatch.setattr("tlbench.cli.list.rows_of", fail)
    monkeypatch.setattr("sys.argv", ["tlbench", "list"])
    with pytest.raises(FileNotFoundError):
        cli.main()


def refused(said: Any, *fragments: str) -> None:
    assert said.code == 2, said
    for fragment in fragments:
        assert fragment in said.err
    assert "Traceback" not in said.err
    assert len(said.err) < 600
