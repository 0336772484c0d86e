#!/bin/bash
# Run a single-node SLURM on this machine for `pytest -m cluster`. Needs Debian and root, but not systemd.
#
#   scripts/slurm-single-node.sh         install missing packages, start SLURM, wait until the node is idle
#   scripts/slurm-single-node.sh stop    stop SLURM
#
# Not for real clusters: no cgroups, no accounting, and everything runs as root.
set -euo pipefail

CONFIG=/etc/slurm/slurm.conf
STATE=/var/lib/smix-slurm
MARK="# Written by scripts/slurm-single-node.sh of smix."

fail() {
    echo "slurm-single-node: $*" >&2
    exit 1
}

is_own_config() {
    [ ! -e "$CONFIG" ] || grep -qF "$MARK" "$CONFIG"
}

is_up() {
    timeout 10 scontrol ping 2>/dev/null | grep -q "is UP"
}

is_idle() {
    timeout 10 sinfo --noheader --format=%T 2>/dev/null | grep -qE "^(idle|mixed|allocated)$"
}

wait_until() {
    for _ in $(seq 150); do
        "$@" && return 0
        sleep 0.2
    done
    return 1
}

stop() {
    for daemon in slurmd slurmctld munged; do
        pid=$(cat "$STATE/$daemon.pid" 2>/dev/null) || continue
        # The process id may have been reused since.
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$daemon" ] || kill "$pid"
        is_gone() { [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$daemon" ]; }
        wait_until is_gone || fail "$daemon did not stop within 30 s; kill process $pid"
        rm -f "$STATE/$daemon.pid"
    done
}

install_packages() {
    # Checked one by one, because `command -v` with several names succeeds if one of them exists.
    command -v sbatch >/dev/null && command -v slurmctld >/dev/null && command -v slurmd >/dev/null &&
        command -v munged >/dev/null && return
    command -v apt-get >/dev/null || fail "apt-get is not available; install slurm-wlm and munge manually"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --yes --no-install-recommends slurm-wlm munge
}

write_config() {
    # Hardware as reported by slurmd -C, with 90 % of the memory: the node is drained if the kernel reports less than configured.
    hardware=$(slurmd -C | grep ^NodeName= | sed 's/RealMemory=[0-9]*//')
    memory=$(($(awk '/^MemTotal/ {print $2}' /proc/meminfo) / 1024 * 9 / 10))
    mkdir -p "$(dirname "$CONFIG")"
    cat >"$CONFIG" <<END
$MARK
ClusterName=smix
SlurmctldHost=$(hostname -s)(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket=$STATE/munge.socket
CredType=cred/munge
SlurmUser=root
StateSaveLocation=$STATE/slurmctld
SlurmdSpoolDir=$STATE/slurmd
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=500
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
JobRequeue=1
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
KillWait=5
MinJobAge=10
CompleteWait=0
OverTimeLimit=0
SlurmctldTimeout=30
SlurmdTimeout=30
InactiveLimit=0
$hardware RealMemory=$memory NodeAddr=127.0.0.1 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES DefaultTime=10 MaxTime=INFINITE OverSubscribe=NO State=UP
END
}

start() {
    install_packages
    is_own_config || fail "$CONFIG belongs to another SLURM installation; use a machine without SLURM"
    if is_up && is_idle; then
        echo "slurm-single-node: already running"
        return
    fi
    stop
    mkdir -p "$STATE/slurmctld" "$STATE/slurmd"
    chmod 755 "$STATE"
    # Own key and socket: munged refuses folders that other users may write to, and those of container images vary.
    [ -e "$STATE/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$STATE/munge.key")
    write_config
    # Discard the jobs of an earlier start.
    rm -rf "${STATE:?}/slurmctld/"*
    munged --key-file="$STATE/munge.key" --socket="$STATE/munge.socket" --pid-file="$STATE/munged.pid" \
        --log-file="$STATE/munged.log" --seed-file="$STATE/munged.seed"
    slurmctld -i -f "$CONFIG"
    wait_until is_up || fail "slurmctld did not answer within 30 s; see $STATE/slurmctld.log"
    slurmd -f "$CONFIG"
    wait_until is_idle || fail "the node was not idle within 30 s but $(sinfo --noheader --format='%T %E'); see $STATE/slurmd.log"
    sinfo
}

[ "$(id -u)" = 0 ] || fail "must run as root, not as $(id -un); use sudo"
case "${1:-start}" in
    start) start ;;
    stop) stop ;;
    *) fail "unknown argument $1; use start or stop" ;;
esac
