#!/usr/bin/env bash
# The team's MLflow server behind a proxy:   cluster/mlflow/server.sh NAME   (see README.md here)
set -euo pipefail

name=${1:?usage: cluster/mlflow/server.sh NAME, the host name that users type}
: "${MLFLOW_FLASK_SERVER_SECRET_KEY:?set it to a secret that stays the same}"
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

export MLFLOW_AUTH_CONFIG_PATH=$here/auth.ini
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false
export MLFLOW_DISABLE_TELEMETRY=true DO_NOT_TRACK=true

exec mlflow server \
    --backend-store-uri "${MLFLOW_DATABASE:-postgresql+psycopg:///mlflow}" \
    --artifacts-destination "${MLFLOW_ARTIFACTS:-./mlartifacts}" \
    --host 127.0.0.1 --port "${MLFLOW_PORT:-5000}" --workers 2 \
    --uvicorn-opts "--loop ${MLFLOW_LOOP:-uvloop}" \
    --allowed-hosts "$name" --cors-allowed-origins "https://$name" \
    --app-name basic-auth
