#!/bin/bash
# A real SLURM of this one machine, for `pytest -m cluster`: Debian, as root, systemd not needed.
#
#   scripts/slurm-single-node.sh         install what is missing, start, wait until the node is idle
#   scripts/slurm-single-node.sh stop    end it
#
# Not for clusters: no cgroups, no accounting, everything runs as root.
set -euo pipefail

CONFIG=/etc/slurm/slurm.conf
STATE=/var/lib/smix-slurm
MARK="# Written by scripts/slurm-single-node.sh of smix."

fail() {
    echo "slurm-single-node: $*" >&2
    exit 1
}

ours() {
    [ ! -e "$CONFIG" ] || grep -qF "$MARK" "$CONFIG"
}

answers() {
    timeout 10 scontrol ping 2>/dev/null | grep -q "is UP"
}

idle() {
    timeout 10 sinfo --noheader --format=%T 2>/dev/null | grep -qE "^(idle|mixed|allocated)$"
}

until_true() {
    for _ in $(seq 150); do
        "$@" && return 0
        sleep 0.2
    done
    return 1
}

stop() {
    for daemon in slurmd slurmctld munged; do
        pid=$(cat "$STATE/$daemon.pid" 2>/dev/null) || continue
        # The number may be another process's by now.
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$daemon" ] || kill "$pid"
        gone() { [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$daemon" ]; }
        until_true gone || fail "$daemon: expected it to end within 30 s, got none of that; kill process $pid"
        rm -f "$STATE/$daemon.pid"
    done
}

install_packages() {
    # One by one: with several names it is enough for `command -v` that one is there.
    command -v sbatch >/dev/null && command -v slurmctld >/dev/null && command -v slurmd >/dev/null &&
        command -v munged >/dev/null && return
    command -v apt-get >/dev/null || fail "expected apt-get to install slurm-wlm and munge, got none; install them yourself"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -qq --yes --no-install-recommends slurm-wlm munge
}

write_config() {
    # slurmd -C says what the node has; memory is left a little below, or the node is drained when the kernel says less.
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
    ours || fail "$CONFIG: expected none or one of mine, got another cluster's; this machine has its SLURM already"
    if answers && idle; then
        echo "slurm-single-node: it is running"
        return
    fi
    stop
    mkdir -p "$STATE/slurmctld" "$STATE/slurmd"
    chmod 755 "$STATE"
    # A key and a socket of our own: munged refuses folders that others may write, and images vary.
    [ -e "$STATE/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$STATE/munge.key")
    write_config
    # Jobs that were there when it was stopped are not waited for.
    rm -rf "${STATE:?}/slurmctld/"*
    munged --key-file="$STATE/munge.key" --socket="$STATE/munge.socket" --pid-file="$STATE/munged.pid" \
        --log-file="$STATE/munged.log" --seed-file="$STATE/munged.seed"
    slurmctld -i -f "$CONFIG"
    until_true answers || fail "slurmctld: expected an answer within 30 s, got none; see $STATE/slurmctld.log"
    slurmd -f "$CONFIG"
    until_true idle || fail "node: expected it idle within 30 s, got $(sinfo --noheader --format='%T %E'); see $STATE/slurmd.log"
    sinfo
}

[ "$(id -u)" = 0 ] || fail "expected root, got $(id -un); use sudo"
case "${1:-start}" in
    start) start ;;
    stop) stop ;;
    *) fail "expected start or stop, got $1" ;;
esac
