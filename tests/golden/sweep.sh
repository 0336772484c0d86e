#!/bin/bash
# The runs that are missing, a task each. Add what your cluster asks for (##SBATCH is a comment), then: sbatch THIS_FILE
#SBATCH --job-name=smix
#SBATCH --array=0-5%2
#SBATCH --chdir=HERE
#SBATCH --output='FOLDER/100 %% mine/slurm-%a.txt'
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120
##SBATCH --partition=gpu
##SBATCH --time=4:00:00
##SBATCH --gpus=1
##SBATCH --cpus-per-task=8

PYTHON -m smix sweep run 'FOLDER/my sweep.jsonl' --out 'FOLDER/100 % mine' --data-root 'data sets' --device cpu --quiet --index "$SLURM_ARRAY_TASK_ID" &
run=$! warned=
# The time limit is near: smix is told, and writes its checkpoint. SIGTERM goes to every process of a job, so to smix, too.
trap 'warned=1; kill -USR1 "$run"' USR1
trap : TERM
wait "$run"
code=$?
while kill -0 "$run" 2>/dev/null; do # a signal has ended the waiting, not smix
    wait "$run"
    code=$?
done
if [ -n "$warned" ] && [ "$code" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
