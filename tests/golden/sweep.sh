#!/bin/bash
# One task per missing run. Add what your cluster needs (##SBATCH is a comment), then: sbatch THIS_FILE
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

PYTHON -m smix sweep run 'FOLDER/my sweep.jsonl' '--out=FOLDER/100 % mine' '--data-root=data sets' --device=cpu --quiet --index="$SLURM_ARRAY_TASK_ID" &
run=$! warned=
# The time limit is near: tell smix, which writes its checkpoint. SIGTERM reaches every process of a job, so smix as well.
trap 'warned=1; kill -USR1 "$run"' USR1
trap : TERM
wait "$run"
code=$?
while kill -0 "$run" 2>/dev/null; do # a signal has ended the wait, not smix
    wait "$run"
    code=$?
done
if [ -n "$warned" ] && [ "$code" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt 20 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
