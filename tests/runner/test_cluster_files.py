"""The files in ``cluster/`` are what the tools that read them expect."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray
from mlflow import environment_variables
from mlflow.cli import server
from ray.autoscaler._private.util import prepare_config, validate_config
from ruamel.yaml import YAML
from small_suites import digests, suite

ROOT = Path(__file__).parents[2]
FILES = ROOT / "cluster"


def documents(name: str) -> list[Any]:
    return list(YAML(typ="safe", pure=True).load_all((FILES / name).read_text()))


def test_ray_up_accepts_its_file() -> None:
    (content,) = documents("ray-up.yaml")
    validate_config(prepared := prepare_config(content))
    workers = prepared["available_node_types"]["worker"]
    assert workers["min_workers"] == workers["max_workers"] == prepared["max_workers"]
    assert prepared["available_node_types"]["head"]["resources"]["CPU"] == 0
    assert any("RAY_AUTH_MODE=token" in command for command in content["setup_commands"])
    assert "~/.ray/auth_token" in content["file_mounts"]


def test_the_kubernetes_job_has_a_token_a_workspace_and_pods_of_one_image() -> None:
    claim, job = documents("kuberay-job.yaml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["rayVersion"].split(".")[:2] == ray.__version__.split(".")[:2]
    head, (workers,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert workers["minReplicas"] == workers["maxReplicas"] == workers["replicas"]
    pods = [group["template"]["spec"] for group in (head, workers)]
    assert len({pod["containers"][0]["image"] for pod in pods}) == 1
    for pod in pods:
        (container,) = pod["containers"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["requests"] == container["resources"]["limits"]
        artifacts = next(entry["value"] for entry in container["env"] if entry["name"] == "TLBENCH_ARTIFACTS")
        assert artifacts in [mount["mountPath"] for mount in container["volumeMounts"]]
    assert pods[0]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    suite, workspace = re.search(r"run (\S+) .*--workspace (\S+)", job["spec"]["entrypoint"]).groups()  # type: ignore[union-attr]
    assert (ROOT / suite).exists()
    assert workspace.startswith(pods[0]["containers"][0]["volumeMounts"][0]["mountPath"])


@pytest.mark.parametrize("name", ["slurm.sh", "mlflow/server.sh"])
def test_scripts_are_executable_and_stop_at_the_first_error(name: str) -> None:
    script = FILES / name
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True, check=False).returncode == 0


def test_the_mlflow_server_is_asked_for_things_that_it_knows() -> None:
    script = (FILES / "mlflow" / "server.sh").read_text()
    command = script[script.index("exec mlflow server") :]
    known = {option for parameter in server.params for option in parameter.opts}
    asked = set(re.findall(r" (--[a-z-]+)", command)) - {"--loop"}
    assert asked - known == set()
    assert {"--allowed-hosts", "--app-name"} <= asked
    assert "--host 127.0.0.1" in command
    own = {"MLFLOW_DATABASE", "MLFLOW_ARTIFACTS", "MLFLOW_PORT", "MLFLOW_LOOP"}
    named = set(re.findall(r"MLFLOW_[A-Z_]+", script)) - own
    assert {name for name in named if not hasattr(environment_variables, name)} == set()
    config = configparser.ConfigParser()
    config.read(FILES / "mlflow" / "auth.ini")
    assert config["mlflow"]["database_uri"].startswith("postgresql")
    assert "admin_password" not in config["mlflow"]


def test_every_file_is_told_of_in_the_readme() -> None:
    text = (FILES / "README.md").read_text()
    for file in FILES.iterdir():
        assert file.name in text or file.name == "README.md"
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (FILES / link).exists()


SRUN = """#!/usr/bin/env bash
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


@pytest.mark.slow
def test_the_slurm_job_runs_a_suite_and_ends_with_its_exit_code(
    tmp_path: Path, environment: dict[str, str], write_suite: Any
) -> None:
    """On one machine, with stand-ins for Slurm's commands."""
    tools = tmp_path / "bin"
    tools.mkdir()
    stand_ins = {"srun": SRUN, "scontrol": "#!/usr/bin/env bash\necho localhost\n"}
    for name, text in stand_ins.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    user = environment | {
        "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_CPUS_ON_NODE": "1",
        "USER": "someone",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # every port on the loopback address
    }
    job = suite("job", {"methods": ["nearest_centroid"]}, limits={"cpu_hours": 1e-9})
    command = [str(FILES / "slurm.sh"), str(write_suite(job)), "--workspace", str(tmp_path / "workspace")]
    capped = subprocess.run(command, cwd=tmp_path, env=user, capture_output=True, text=True, timeout=200, check=False)
    assert capped.returncode == 1, capped.stdout + capped.stderr
    assert "1 cell left" in capped.stderr

    del job["limits"]
    write_suite(job)
    done = subprocess.run(command, cwd=tmp_path, env=user, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(digests(tmp_path / "workspace")) == 2
