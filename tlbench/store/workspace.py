"""Where a project keeps what it makes: one folder, ``.tlbench`` beside the suites unless told otherwise."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from tlbench.core.paths import expand
from tlbench.store.answers import AnswerFiles
from tlbench.store.artifacts import Artifacts, artifact_folder
from tlbench.store.ledger import Ledger

_LEDGER = "ledger.sqlite"


@dataclass(frozen=True)
class Workspace:
    """The folder and the places in it.

    Attributes:
        root: Absolute path of the folder.
    """

    root: Path

    @classmethod
    def at(cls, path: Path | None) -> Workspace:
        """Return the workspace at ``path``, else at ``$TLBENCH_WORKSPACE``, else ``.tlbench`` in the current directory.

        ``$TLBENCH_HOME``, the variable's name of old, counts where ``$TLBENCH_WORKSPACE`` is not set.
        """
        named = os.environ.get("TLBENCH_WORKSPACE") or os.environ.get("TLBENCH_HOME")
        return cls(expand(str(path or named or ".tlbench")).absolute())

    @property
    def artifacts(self) -> Artifacts:
        """Decoded datasets, pre-trained weights and features; ``$TLBENCH_ARTIFACTS`` puts them elsewhere."""
        return Artifacts(artifact_folder(self.root / "artifacts"))

    @property
    def answers(self) -> AnswerFiles:
        """Test logits of finished cells, by which other metrics can be computed later."""
        return AnswerFiles(self.root / "answers")

    @property
    def has_ledger(self) -> bool:
        """Whether a suite was ever run or looked at here."""
        return (self.root / _LEDGER).is_file()

    def ledger(self) -> Ledger:
        """Open the results of every suite run here."""
        self.root.mkdir(parents=True, exist_ok=True)
        return Ledger(self.root / _LEDGER)


def driver_name() -> str:
    """Return a name for this driver that no other has: host, process, and a random mark."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
