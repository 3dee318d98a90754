"""Runs two raylets on the loopback address until its input ends: ``python two_machines.py FOLDER``.

Each stands for a machine with one processor and an artifact folder of its own, ``FOLDER/NAME/artifacts``. Writes the
cluster's address and the raylets' process ids to its output, as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile

from ray.cluster_utils import Cluster

folder = sys.argv[1]
with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as sessions:  # the paths of sockets must be short
    cluster = Cluster()
    machines = {}
    for name in ("head", "other"):
        place = {"temp_dir": sessions} if name == "head" else {}
        own = {"TLBENCH_ARTIFACTS": f"{folder}/{name}/artifacts"}
        machines[name] = cluster.add_node(num_cpus=1, include_dashboard=False, env_vars=own, **place)
    raylets = {name: node.all_processes["raylet"][0].process.pid for name, node in machines.items()}
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    sys.stdin.read()
    cluster.shutdown()
