#!/bin/bash
# One Ray cluster over all nodes of a Slurm allocation, one sweep on it, as many allocations as it takes. Usage:
#   sbatch --nodes=4 --gpus-per-node=4 deploy/slurm.sh launch digits budget.trials=500
# Before the time limit, and where the cluster says so before a preemption, the sweep is stopped in order and the job
# puts itself back in line; its next run goes on: `launch` launches what the store does not have and resumes what it
# has. `resume digits budget.trials=900` raises the budget of one that has ended.
#
# In the environment: LEDGER=postgresql+psycopg://... names a ledger server; without it the ledger is mlruns/ledger.db
# in the directory of sbatch. REQUEUES=N (100): so many runs at most. GRACE=S (70): seconds for the rung in progress.
#SBATCH --job-name=rnnsweep
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=rnnsweep-%j.log
set -euo pipefail

command=${1:?launch or resume}; sweep=${2:?name of the sweep}; shift 2
name=$(basename "$sweep" .yaml); cluster=(cluster=ray cluster.address=auto)
for word in "$@"; do
    case $word in name=*) name=${word#name=} ;; cluster=*) cluster=() ;; esac
done
port=${RAY_PORT:-6379}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}'):$port

# Other users reach the nodes' ports: a token that only this job knows keeps them out.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="${SLURM_SUBMIT_DIR}/.ray-token-${SLURM_JOB_ID}"
export RAY_USAGE_STATS_ENABLED=0 MLFLOW_DISABLE_TELEMETRY=true
(umask 077; python -c 'import secrets; print(secrets.token_hex(32), end="")' > "$RAY_AUTH_TOKEN_PATH")
trap 'rm -f "$RAY_AUTH_TOKEN_PATH"' EXIT

stop=(rnnsweep stop "$name")
run=(rnnsweep "$command" "$sweep")
if [ "$command" = launch ]; then run+=(--or-resume "${cluster[@]}"); fi
if [ -n "${LEDGER:-}" ]; then
    # by name only: other users see the command lines, and the ledger keeps what was typed
    export LEDGER RNNSWEEP_STORE="$LEDGER"
    if [ "$command" = launch ]; then run+=('store.ledger=${oc.env:LEDGER}'); fi
fi
run+=("$@")

# A signal to all tasks would end Ray under the driver's feet, so the request goes through the ledger: the driver
# checkpoints, marks the sweep as stopped and leaves. Asked twice, in case it has only begun; a rung that is longer
# than the grace is cut off, and repeated in the next run.
again=no watcher=
leave() {
    again=$1
    if [ -z "$watcher" ]; then
        ("${stop[@]}" || true; sleep 20; "${stop[@]}" || true; sleep "${GRACE:-70}"; kill -TERM "$step") &
        watcher=$!
    fi
}

# symmetric-run starts Ray on every node, runs the command on the first, and stops Ray afterwards.
srun --kill-on-bad-exit=1 ray symmetric-run --address "$address" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --disable-usage-stats -- "${run[@]}" &
step=$!
trap 'leave yes' USR1 # 120 s before the time limit, see --signal above
trap 'leave no' TERM  # scancel or a preemption: Slurm itself puts a preempted job back where it is set up so
code=0
wait "$step" || code=$?
while kill -0 "$step" 2> /dev/null; do code=0; wait "$step" || code=$?; done # `wait` returns early on a signal
if [ -n "$watcher" ]; then kill "$watcher" 2> /dev/null || true; fi

# Only what is unfinished goes back in line, not a sweep that ended while it was asked to stop.
state=$(rnnsweep status "$name" --json | python -c 'import json, sys; print(json.load(sys.stdin)["state"])' || true)
case $again:$state in
yes:STOPPED | yes:INTERRUPTED)
    if [ "${SLURM_RESTART_COUNT:-0}" -lt "${REQUEUES:-100}" ]; then
        echo "Sweep $name is $state: back in line"
        rm -f "$RAY_AUTH_TOKEN_PATH" # requeueing ends this shell
        scontrol requeue "$SLURM_JOB_ID"
        exit 0
    fi
    echo "Sweep $name is $state after ${SLURM_RESTART_COUNT} runs: not put back in line (REQUEUES)" >&2
    ;;
esac
exit "$code"
