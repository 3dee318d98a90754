"""Which artifacts exist and on which machines, which are being built, and which jobs wait for them."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from tlbench.core.cell import Cell
from tlbench.runner.artifact_fetch import RemoteCopy
from tlbench.runner.worker_location import WorkerLocation
from tlbench.worker.artifact_jobs import ArtifactJob, Job, required_artifacts


class ArtifactGate:
    """Lets a job pass when the artifacts that it requires have been built, and says where to fetch them from.

    One gate serves a whole run: what a trial of a search has built is known when the cells start. An artifact is
    missing until :meth:`built` or :meth:`failed` is called for it.

    It is used in two ways. Trials are proposed one by one: a trial builds what is :meth:`missing` for it, and trials
    that need the same are :meth:`blocked` meanwhile. Cells are known beforehand: each is registered with
    :meth:`admit`, which returns the artifact jobs to do before it, and :meth:`built` returns what may start then.

    Invariant: an admitted job is returned once, by :meth:`admit`, :meth:`built` or :meth:`failed`, unless it is an
    artifact job that only cells of :meth:`failed` have waited for.
    """

    def __init__(self) -> None:
        self._copies: dict[str, dict[str, str]] = {}  # by artifact job: artifact folder -> a machine that sees it
        self._given_up: set[str] = set()
        self._under_way: set[str] = set()
        self._waiting: dict[str, list[Job]] = {}  # admitted jobs, by an artifact job that has to end before
        self._lacking: dict[str, int] = {}  # number of artifacts that an admitted job waits for

    def start_stage(self, machines: AbstractSet[str]) -> None:
        """Begin another stage of a run: copies on lost machines are gone, and what failed may be built after all.

        Args:
            machines: Ray's ids of those that are alive.
        """
        for job, copies in list(self._copies.items()):
            self._copies[job] = {store: node for store, node in copies.items() if node in machines}
            if not self._copies[job]:
                del self._copies[job]
        self._given_up.clear()

    def missing(self, job: Job) -> list[ArtifactJob]:
        """Return what has to be built before a job, or by it: what it requires and nobody has built or failed to."""
        return [each for each in required_artifacts(job) if not self._is_settled(each)]

    def blocked(self, job: Job) -> bool:
        """Say whether somebody else is building an artifact that a job requires."""
        return any(each.id in self._under_way for each in self.missing(job))

    def begin(self, artifact: ArtifactJob) -> None:
        """Note that an artifact is being built."""
        self._under_way.add(artifact.id)

    def abandon(self, artifact: ArtifactJob) -> None:
        """Note that whoever was building an artifact has died, and the artifact is as missing as before."""
        self._under_way.discard(artifact.id)

    def built(self, artifact: ArtifactJob, location: WorkerLocation) -> list[Job]:
        """Note which worker has built an artifact, or had it already; return the admitted jobs that may start now."""
        self.add_copy(artifact, location)
        self.passed(artifact, location)
        self._under_way.discard(artifact.id)
        ready = []
        for job in self._waiting.pop(artifact.id, []):
            if job.id in self._lacking:  # else it was given up
                self._lacking[job.id] -= 1
                if not self._lacking[job.id]:
                    del self._lacking[job.id]
                    ready.append(job)
        return ready

    def failed(self, artifact: ArtifactJob) -> list[Cell]:
        """Note that an artifact cannot be built; return the admitted cells that need it, be it through other jobs."""
        self._under_way.discard(artifact.id)
        self._given_up.add(artifact.id)
        cells: list[Cell] = []
        for job in self._waiting.pop(artifact.id, []):
            if self._lacking.pop(job.id, None) is None:
                continue
            if isinstance(job, Cell):
                cells.append(job)
            else:
                cells += self.failed(job)
        return cells

    def add_copy(self, artifact: ArtifactJob, location: WorkerLocation) -> None:
        """Note that a worker sees an artifact."""
        self._copies.setdefault(artifact.id, {})[location.store] = location.node

    def passed(self, job: Job, location: WorkerLocation) -> None:
        """Note that a worker has done a job, and so sees all that the job requires."""
        for artifact in required_artifacts(job):
            self.add_copy(artifact, location)

    def admit(self, job: Job) -> list[Job]:
        """Register a job, and the artifact jobs that it waits for unless they are; return those that may start now."""
        missing = self.missing(job)
        if not missing:
            return [job]
        self._lacking[job.id] = len(missing)
        ready: list[Job] = []
        for artifact in missing:
            if artifact.id not in self._waiting:
                self._waiting[artifact.id] = []
                ready += self.admit(artifact)
            self._waiting[artifact.id].append(job)
        return ready

    def is_wanted(self, artifact: ArtifactJob) -> bool:
        """Say whether an admitted job still waits for an artifact."""
        return any(job.id in self._lacking for job in self._waiting.get(artifact.id, ()))

    def copies_for(self, job: Job, location: WorkerLocation | None = None) -> list[RemoteCopy]:
        """Return from where a worker fetches what a job requires and its artifact folder lacks, as far as is known.

        Args:
            job: The job.
            location: Of the worker; None where it is not known yet, and the worker has to look what it lacks.
        """
        remote = []
        for artifact in required_artifacts(job):
            copies = self._copies.get(artifact.id, {})
            if copies and (location is None or location.store not in copies):
                remote.append(RemoteCopy(artifact.artifact, next(iter(copies.values()))))
        return remote

    def _is_settled(self, artifact: ArtifactJob) -> bool:
        return artifact.id in self._copies or artifact.id in self._given_up
