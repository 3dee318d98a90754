#!/usr/bin/env bash
# One Slurm job = one Ray cluster = one suite:   sbatch cluster/slurm.sh suites/quickstart.yaml [options of tlbench run]
#
# Submit it from the folder in which the suite is run, with tlbench's environment active. sbatch again continues.
#SBATCH --job-name=tlbench
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --gpus-per-node=4
#SBATCH --time=08:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --output=tlbench-%j.log
set -euo pipefail

suite=${1:?usage: sbatch cluster/slurm.sh SUITE [options of tlbench run]}
shift

export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_TOKEN
export TLBENCH_ARTIFACTS=${TLBENCH_ARTIFACTS:-${TMPDIR:-/tmp}/tlbench-$USER}  # a disk of each machine

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" getent ahostsv4 "$head" | awk '{print $1; exit}')
port=$((20000 + SLURM_JOB_ID % 10000))
start=(ray start --block)
[[ -n ${SLURM_CPUS_ON_NODE:-} ]] && start+=(--num-cpus="$SLURM_CPUS_ON_NODE")

steps=()
trap 'kill "${steps[@]}" 2>/dev/null || true; wait' EXIT
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    "${start[@]}" --head --node-ip-address="$ip" --port="$port" --include-dashboard=false &
steps+=($!)
if ((SLURM_JOB_NUM_NODES > 1)); then
    others=$((SLURM_JOB_NUM_NODES - 1))
    sleep 15  # a machine that comes before the head gives up
    srun --nodes="$others" --ntasks="$others" --exclude="$head" "${start[@]}" --address="$ip:$port" &
    steps+=($!)
fi

python - "$ip:$port" "$SLURM_JOB_NUM_NODES" <<'PYTHON'
import sys
import time

import ray

address, wanted = sys.argv[1], int(sys.argv[2])
deadline = time.monotonic() + 300
while True:
    try:
        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        standing = sum(node["Alive"] for node in ray.nodes())
        ray.shutdown()
    except Exception as error:
        standing, why = 0, error
    if standing >= wanted:
        break
    if time.monotonic() > deadline:
        sys.exit(f"{standing} of {wanted} machines stand" + (f": {why}" if not standing else ""))
    time.sleep(2)
PYTHON

tlbench run "$suite" --address "$ip:$port" "$@" &
run=$!
# The first signal finishes the cells under way.
trap 'kill -TERM "$run" 2>/dev/null || true' TERM INT
status=0
wait "$run" || status=$?
while kill -0 "$run" 2>/dev/null; do # the wait was cut short by a signal
    status=0
    wait "$run" || status=$?
done
exit "$status"
