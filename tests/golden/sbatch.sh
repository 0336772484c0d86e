#!/bin/bash

# Parameters
#SBATCH --array=0-2%2
#SBATCH --error=FOLDER/logs/.slurm/%A_%a_0_log.err
#SBATCH --job-name=smix
#SBATCH --nodes=1
#SBATCH --open-mode=append
#SBATCH --output=FOLDER/logs/.slurm/%A_%a_0_log.out
#SBATCH --signal=USR2@90
#SBATCH --time=1440
#SBATCH --wckey=submitit

# command
export SUBMITIT_EXECUTOR=slurm
PYTHON -u -m submitit.core._submit FOLDER/logs/.slurm
