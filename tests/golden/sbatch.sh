#!/bin/bash

# Parameters
#SBATCH --array=0-2%2
#SBATCH --job-name=smix
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/logs/.slurm/%A_%a_0_log.out
#SBATCH --requeue
#SBATCH --signal=B:USR2@120

# setup
export SUBMITIT_LOG_LEVEL=critical

# command
export SUBMITIT_EXECUTOR=slurm
exec PYTHON -u -m submitit.core._submit FOLDER/logs/.slurm
