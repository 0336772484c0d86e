#!/bin/bash
# Written by smix --engine slurm
#SBATCH --job-name=smix
#SBATCH --array=0-2%2
#SBATCH --chdir=HERE
#SBATCH --output=JOB/%a.txt
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

rm -f JOB/"$SLURM_ARRAY_TASK_ID".code
bash JOB/"$SLURM_ARRAY_TASK_ID".sh &
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
    scontrol requeue "$SLURM_JOB_ID" && exit
fi
echo "$code" > JOB/"$SLURM_ARRAY_TASK_ID".code.new && mv JOB/"$SLURM_ARRAY_TASK_ID".code.new JOB/"$SLURM_ARRAY_TASK_ID".code
exit "$code"
