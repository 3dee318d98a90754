"""Command lines and environments of all kinds: a result, or a sentence with exit code 2; nothing runs by mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from odd_lines import Line, lines
from odd_suites import PLAIN
from outcomes import Outcomes, cpu_limit, fuzz

from tlbench import cli
from tlbench.core.errors import UserError
from tlbench.runner.cluster_address import find_cluster
from tlbench.runner.session import RaySession

MANY = pytest.param(1500, marks=pytest.mark.slow)


@pytest.fixture
def here(pictures: Path, decoded: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with suites, links, a pipe and files that are none of what they are called."""
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "TLBENCH_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("TLBENCH_ARTIFACTS", str(decoded))
    monkeypatch.setenv("HOME", str(pictures))
    (pictures / "plain.yaml").write_text(PLAIN)
    (pictures / "suites").mkdir()
    (pictures / "suites" / "other.yaml").write_text(f"# command\n# about\n{PLAIN}")
    (pictures / "latin.yaml").write_bytes("name: é\n".encode("latin-1"))
    (pictures / "empty.yaml").write_bytes(b"")
    (pictures / "loop").symlink_to("loop")
    (pictures / "gone").symlink_to("nowhere")
    (pictures / "locked").mkdir(mode=0)
    (pictures / "some folder").mkdir()
    os.mkfifo(pictures / "pipe")
    return pictures


@pytest.mark.parametrize("examples", [100, MANY])
def test_any_command_line_ends_in_a_result_or_a_sentence(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], examples: int
) -> None:
    _start_nothing(monkeypatch)

    def attempt(outcomes: Outcomes, line: Line) -> None:
        with monkeypatch.context() as own, mock.patch.dict(os.environ, dict(line.variables)):
            own.setattr(sys, "argv", ["tlbench", *line.arguments])
            capsys.readouterr()
            with pytest.raises(SystemExit) as end, cpu_limit(20):
                cli.main()
            code, (_, said) = int(end.value.code or 0), capsys.readouterr()
        assert "Traceback" not in said
        assert code in (0, 1, 2), (code, said)
        outcomes.counts["read" if code == 0 else "refused"] += 1
        if code == 2:
            assert said.strip()
            assert len(said) < 20_000

    fuzz(lines(), attempt, examples)


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "said"),
    [
        ([b"check", b"caf\xe9.yaml"], {}, 2, rb"caf\xe9.yaml"),
        ([b"plan", b"pipe"], {}, 2, b"pipe: is a named pipe, not a file"),
        (
            [b"check", b"plain.yaml"],
            {b"TLBENCH_ARTIFACTS": b"~nobody123/x"},
            2,
            b"there is no user 'nobody123' here",
        ),
        ([b"list", b"suites"], {b"LC_ALL": b"C", b"COLUMNS": b"-3", b"TERM": b"\xff"}, 0, b""),
    ],
    ids=["a name that is no text", "a pipe", "a variable that is no path", "a strange terminal"],
)
def test_the_same_holds_in_a_process_of_its_own(
    here: Path, arguments: list[bytes], variables: dict[bytes, bytes], code: int, said: bytes
) -> None:
    command = [sys.executable.encode(), b"-m", b"tlbench", *arguments]
    ended = subprocess.run(command, env={**os.environb, **variables}, capture_output=True, timeout=120)
    assert (ended.returncode, b"Traceback" in ended.stderr) == (code, False), ended.stderr
    assert said in ended.stderr


def _start_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command start a cluster, a server or an audit: what would start it is refused."""

    def start(session: RaySession) -> None:
        if session._address is not None:
            find_cluster(session._address)
        session._prepare_environment()
        raise UserError("it would start")

    def audit(*_: Any, **__: Any) -> Any:
        raise UserError("it would start")

    class NoServer(subprocess.Popen[Any]):
        def __init__(self, command: Any, **options: Any) -> None:
            if "mlflow" in command:
                raise UserError("it would start")
            super().__init__(command, **options)

    monkeypatch.setattr(RaySession, "start", start)
    monkeypatch.setattr("tlbench.audit.run_audit.audit", audit)
    monkeypatch.setattr(subprocess, "Popen", NoServer)
