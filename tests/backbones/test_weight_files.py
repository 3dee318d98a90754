"""Weight files that are none, a part of one, or another network's: found before anything runs, by the rule of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tlbench.backbones.catalog import build, check_weights, describe
from tlbench.backbones.damaged_weights import check_content
from tlbench.backbones.families import conv4
from tlbench.backbones.weights import fitted, read_weights
from tlbench.core.errors import UserError
from tlbench.core.hashing import sha256
from tlbench.store.artifacts import Artifacts

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 46830571\n"
NO_WEIGHTS = {
    "empty": (b"", "is empty"),
    "pointer": (POINTER, "is a pointer of Git LFS, not the weights of 46830571 bytes"),
    "page": (b"\n<!DOCTYPE html><html><title>Sign in</title>", "is a web page, not weights"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "is a web page, not weights"),
    "answer": (b'{"error": "Repository not found"}', 'is a text, not weights: \'{"error": "Repository not found"}\''),
    "text": (b"just text, much longer than eight", "is a text, not weights: 'just text"),
    "keras": (b"\x89HDF\r\n\x1a\n" + bytes(50), "is HDF5, as Keras writes it"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(50), "is GGUF"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(50), "is packed with gzip"),
    "zip": (b"PK\x03\x04 broken" + bytes(50), "is cut off at 61 bytes: the directory at its end is missing"),
    "zeros": (bytes(5000), "is neither a safetensors nor a torch file"),
    "header": ((500).to_bytes(8, "little") + b'{"a": {"dt', "is cut off at 18 bytes, within its header"),
    "damaged": ((12).to_bytes(8, "little") + b'{"a": [1, 2]', "its header of safetensors is damaged"),
    "pickle": (b"\x80\x02 broken", "cannot be read"),
}


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return resnet().body.state_dict()


def resnet() -> Any:
    return build(describe("resnet18", {"stem": "standard"}, {"kind": "random"}), 0, None)


def described(file: Path, name: str = "resnet18", **params: Any) -> Any:
    return describe(name, params, {"kind": "file", "sha256": sha256(file)})


def checked(file: Path, artifacts: Path, name: str = "resnet18", **params: Any) -> None:
    check_weights(described(file, name, **params), file, sha256(file), Artifacts(artifacts))


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_what_is_no_file_of_weights_is_called_what_it_is(tmp_path: Path, kind: str) -> None:
    content, said = NO_WEIGHTS[kind]
    file = tmp_path / "w.safetensors"
    file.write_bytes(content)
    for check in (read_weights, lambda file: read_weights(file, names_only=True)):
        with pytest.raises(UserError) as caught:
            check(file)
        assert said in caught.value.message
        assert str(file) in caught.value.message
        assert caught.value.hint


@pytest.mark.timeout(60)
def test_folders_pipes_and_devices_are_never_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pt")
    for file, kind in ((tmp_path / "pipe.pt", "a named pipe"), (Path("/dev/zero"), "a device"), (tmp_path, "a folder")):
        with pytest.raises(UserError, match=f"{file}: is {kind}"):
            check_content(file)
    with pytest.raises(UserError, match="no such file"):
        check_content(tmp_path / "nothing.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "old.pt"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.7, 0.999])
def test_files_that_are_cut_off_are_refused_whatever_is_missing(
    tmp_path: Path, state: dict[str, Tensor], name: str, share: float
) -> None:
    file = write(tmp_path / name, state)
    check_content(file)
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match=r"is cut off|cannot be read") as caught:
        read_weights(file, names_only=True)
    assert "is cut off" in caught.value.message or name == "old.pt"


def write(file: Path, state: dict[str, Tensor]) -> Path:
    if file.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)
    else:
        torch.save({"state_dict": state}, file, _use_new_zipfile_serialization=file.name != "old.pt")
    return file


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "old.pt"])
def test_names_and_shapes_are_those_of_the_whole_file(tmp_path: Path, state: dict[str, Tensor], name: str) -> None:
    file = write(tmp_path / name, state)
    names, whole = read_weights(file, names_only=True), read_weights(file)
    assert {key: tensor.shape for key, tensor in names.items()} == {key: t.shape for key, t in whole.items()}
    assert all(torch.equal(whole[key], state[key]) for key in state)


def test_names_are_read_without_the_tensors(tmp_path: Path) -> None:
    """A gigabyte whose tensors were never written: a file with a hole is read in no time, and takes no memory."""
    code = (
        "import sys; from pathlib import Path; from tlbench.backbones.weights import read_weights\n"
        "def peak(): return int(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])\n"
        "before = peak()\n"
        "print(read_weights(Path(sys.argv[1]), names_only=True)['a'].numel())\n"
        "print(peak() - before)"
    )
    header = b'{"a":{"dtype":"F32","shape":[250000000],"data_offsets":[0,1000000000]}}'
    holed = tmp_path / "w.safetensors"
    with holed.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + 10**9)
    zipped = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(30_000_000)}, zipped)
    for file, count in ((holed, 250_000_000), (zipped, 30_000_000)):
        done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
        numel, kib = map(int, done.stdout.split())
        assert numel == count
        assert kib < 60_000


def other_shape(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return state | {"layer1.0.conv1.weight": torch.zeros(64, 64, 5, 5)}


CHANGES: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "as it is": (dict, ""),
    "a head of other classes": (lambda s: s | {"fc.weight": torch.zeros(37, 512), "fc.bias": torch.zeros(37)}, ""),
    "wrapped": (lambda s: {f"module.backbone.{name}": tensor for name, tensor in s.items()}, ""),
    "a head of another name": (lambda s: s | {"species.weight": torch.zeros(37, 512)}, "unexpected: species.weight"),
    "one missing": (lambda s: {n: t for n, t in s.items() if n != "bn1.bias"}, "missing: bn1.bias"),
    "another shape": (other_shape, "of another shape: layer1.0.conv1.weight: 64x64x5x5 there, 64x64x3x3 here"),
    "another network": (lambda s: {f"blocks.{k}.w": torch.zeros(3) for k in range(9)}, "does not fit resnet18"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_what_a_check_says_is_what_a_run_would_say(
    tmp_path: Path, state: dict[str, Tensor], change: str, name: str
) -> None:
    alter, said = CHANGES[change]
    file = write(tmp_path / name, alter(state))
    info = described(file, stem="standard")
    answers = []
    for attempt in (lambda: checked(file, tmp_path / "a", stem="standard"), lambda: build(info, 0, file)):
        try:
            attempt()
            answers.append("")
        except UserError as error:
            answers.append(str(error))
    assert answers[0] == answers[1]
    assert (said in answers[0]) if said else not answers[0]


def test_a_file_that_fits_is_looked_at_once_and_one_that_does_not_always(
    tmp_path: Path, state: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path / "w.pt", state)
    with pytest.raises(UserError, match="does not fit"):
        checked(file, tmp_path / "a", "resnet34", stem="standard")
    checked(file, tmp_path / "a", stem="standard")
    monkeypatch.setattr("tlbench.backbones.weights.fitted", lambda *_: pytest.fail("looked at again"))
    checked(file, tmp_path / "a", stem="standard")
    with pytest.raises(pytest.fail.Exception):
        checked(file, tmp_path / "a", "resnet34", stem="standard")


def test_values_are_not_looked_at(state: dict[str, Tensor]) -> None:
    meta = {name: tensor.to("meta") for name, tensor in state.items()}
    assert {name: tensor.shape for name, tensor in fitted(resnet(), meta, "w").items()} == {
        name: tensor.shape for name, tensor in state.items()
    }


@pytest.mark.parametrize(
    ("backbone", "options"),
    [("conv4", {"width": 4}), ("vit_b_16", {}), ("convnext_tiny", {}), ("mobilenet_v3_small", {})],
)
def test_networks_of_every_kind_are_made_without_values(tmp_path: Path, backbone: str, options: dict[str, Any]) -> None:
    file = write(tmp_path / "w.pt", {"odd": torch.zeros(2)})
    with pytest.raises(UserError, match="does not fit"):
        checked(file, tmp_path / "a", backbone, **options)
    before = torch.random.get_rng_state()
    with pytest.raises(UserError, match="does not fit"):
        checked(file, tmp_path / "a", backbone, **options)
    assert torch.equal(before, torch.random.get_rng_state())


def test_networks_that_cannot_be_made_without_values_are_made_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = conv4.construct

    def construct(info: Any) -> Any:
        if torch.get_default_device().type == "meta":
            raise RuntimeError("Tensor.item() cannot be called on meta tensors")
        return real(info)

    monkeypatch.setattr(conv4, "construct", construct)
    file = write(tmp_path / "w.pt", {"odd": torch.zeros(2)})
    before = torch.random.get_rng_state()
    with pytest.raises(UserError, match="does not fit"):
        checked(file, tmp_path / "a", "conv4", width=4)
    assert torch.equal(before, torch.random.get_rng_state())


def test_check_names_file_and_line_of_every_bad_weights_file(tmp_path: Path, state: dict[str, Tensor]) -> None:
    (tmp_path / "lfs.safetensors").write_bytes(POINTER)
    write(tmp_path / "other.pt", {"blocks.0.w": torch.zeros(3)})
    write(tmp_path / "fine.pt", state)
    (tmp_path / "suite.yaml").write_text(
        "name: w\n"
        "grids:\n"
        "  - protocol: classification\n"
        "    methods:\n"
        "      - nearest_centroid\n"
        "      - name: distillation\n"
        "        teacher:\n"
        "          backbone: {name: resnet18, weights: {file: empty.pt}}\n"
        "    backbones:\n"
        "      - {name: resnet18, weights: {file: fine.pt}}\n"
        "      - {name: resnet18, weights: {file: lfs.safetensors}}\n"
        "      - name: resnet18\n"
        "        weights: {file: other.pt}\n"
        "    datasets: [digits]\n"
        "    shots: [1]\n"
        "    seeds: 1\n"
    )
    (tmp_path / "empty.pt").write_bytes(b"")
    command = [sys.executable, "-m", "tlbench", "check", "suite.yaml", "--workspace", "home"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    for line, file, said in (
        (8, "empty.pt", "is empty"),
        (11, "lfs.safetensors", "is a pointer of Git LFS"),
        (13, "other.pt", "does not fit resnet18"),
    ):
        assert [
            row for row in done.stderr.splitlines() if f"suite.yaml:{line}: " in row and file in row and said in row
        ]
    assert "fine.pt" not in done.stderr


def test_a_pointer_in_a_folder_of_hugging_face_is_told(tmp_path: Path) -> None:
    from tlbench.backbones.huggingface_files import weights_hash

    (tmp_path / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(UserError, match="is a pointer of Git LFS"):
        weights_hash("hf:pointed", tmp_path)


@pytest.mark.filterwarnings("error")
def test_damaged_files_of_weights_are_read_or_refused(tmp_path: Path) -> None:
    """300 files, each cut or with up to 8 bytes changed."""
    small = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.zeros(5)}
    generator = np.random.default_rng(0)
    for name in ("w.safetensors", "w.pt", "old.pt"):
        whole = write(tmp_path / name, small).read_bytes()
        for number in range(100):
            data = bytearray(whole)
            for place in generator.integers(0, len(data), generator.integers(1, 9)):
                data[place] = generator.integers(0, 256)
            if number % 3 == 0:
                del data[generator.integers(0, len(data)) :]
            (tmp_path / name).write_bytes(data)
            for names_only in (True, False):
                with suppress(UserError):
                    read_weights(tmp_path / name, names_only=names_only)
