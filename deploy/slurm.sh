#!/bin/bash
# One Ray cluster over all nodes of a Slurm allocation, one sweep on it. Usage:
#   sbatch --nodes=4 --gpus-per-node=4 deploy/slurm.sh launch digits budget.trials=500
#   sbatch --nodes=4 --gpus-per-node=4 deploy/slurm.sh resume digits
# Submit with `resume` after a time limit: nothing that was finished is trained again. LEDGER=postgresql+psycopg://...
# in the environment names a ledger server; without it the ledger is mlruns/ledger.db in the directory of sbatch.
#SBATCH --job-name=rnnsweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --signal=B:USR1@120
#SBATCH --output=rnnsweep-%j.log
set -euo pipefail

command=${1:?launch or resume}; sweep=${2:?name of the sweep}; shift 2
port=${RAY_PORT:-6379}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$port

# Other users reach the nodes' ports: a token that only this job knows keeps them out.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="${SLURM_SUBMIT_DIR}/.ray-token-${SLURM_JOB_ID}"
export RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
(umask 077; python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH")
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

stop=(rnnsweep stop "$sweep")
run=(rnnsweep "$command" "$sweep" "$@")
if [ "$command" = launch ]; then run+=(cluster=ray cluster.address=auto); fi
if [ -n "${LEDGER:-}" ]; then
    # by name only: other users see the command lines, and the ledger keeps what was typed
    export LEDGER RNNSWEEP_STORE="$LEDGER"
    if [ "$command" = launch ]; then run+=('store.ledger=${oc.env:LEDGER}'); fi
fi

# symmetric-run starts Ray on every node, runs the command on the first, and stops Ray afterwards.
srun --kill-on-bad-exit=1 ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --disable-usage-stats -- "${run[@]}" &
step=$!
# 120 s before the time limit Slurm signals this shell. A signal to all tasks would end Ray under the driver's feet, so
# the request goes through the ledger: the driver checkpoints, marks the sweep as stopped and leaves.
trap '"${stop[@]}" || true' USR1
code=0
wait "$step" || code=$?
while kill -0 "$step" 2> /dev/null; do code=0; wait "$step" || code=$?; done # `wait` returns early on the signal
exit "$code"
