#!/usr/bin/env bash
# From a laptop to a cluster and back, by `ssh localhost` and a throwaway Slurm: submit, preempt, fetch, audit.
#
#   walk.sh BIN
#
# BIN is the folder of harness and harness-trainer. Expects SLURM_CONF of a running Slurm with two idle nodes of one core each,
# partitions `main` and `urgent` of which the second preempts the first, and a requeue that waits for seconds only (slurmbox). Needs root, sshd, rsync, git and python3.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
BIN=$(cd "$1" && pwd)
: "${SLURM_CONF:?names the configuration of a running Slurm}"
W=$(mktemp -d /tmp/harness-walk.XXXXXX)
export HOME=$W/home GIT_CONFIG_GLOBAL=$W/gitconfig
mkdir -p "$HOME" "$W/bin" "$W/sshd" /run/sshd

until_true() { # WHAT SECONDS COMMAND...
  local what=$1 end=$((SECONDS + $2)); shift 2
  until "$@"; do [ $SECONDS -lt $end ] || fail "never: $what"; sleep 1; done
}

# --- the login node: an sshd of our own -----------------------------------------------------------------------------
port=${WALK_PORT:-26890}
ssh-keygen -q -t ed25519 -N '' -f "$W/sshd/host"
ssh-keygen -q -t ed25519 -N '' -f "$W/sshd/user"
cat >"$W/sshd/config" <<CONF
Port $port
ListenAddress 127.0.0.1
HostKey $W/sshd/host
AuthorizedKeysFile $W/sshd/user.pub
PidFile $W/sshd/pid
StrictModes no
UsePAM no
PermitRootLogin yes
SetEnv SLURM_CONF=$SLURM_CONF GIT_CONFIG_GLOBAL=$GIT_CONFIG_GLOBAL
CONF
/usr/sbin/sshd -f "$W/sshd/config" -E "$W/sshd/log"
finish() {
  [ -z "${WALK_KEEP:-}" ] || { echo "kept: $W"; return; }
  [ ! -s "$W/sshd/pid" ] || kill "$(cat "$W/sshd/pid")" 2>/dev/null || true
  rm -rf "$W"
}
trap finish EXIT
cat >"$W/sshd/client" <<CONF
Host login
  HostName 127.0.0.1
  Port $port
  User $(id -un)
  IdentityFile $W/sshd/user
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
CONF
printf '#!/bin/sh\nexec /usr/bin/ssh -F "%s" "$@"\n' "$W/sshd/client" >"$W/bin/ssh"
chmod 755 "$W/bin/ssh"
export PATH=$W/bin:$PATH
git config --global user.name Walk
git config --global user.email walk@example.org
git config --global init.defaultBranch main

# --- the laptop: a project whose runs take half a minute ------------------------------------------------------------
mkdir "$W/laptop"
cd "$W/laptop"
write_project 2500 100 1250
cat >cluster.toml <<TOML
host = "login"
folder = "$W/it's there"
program = "$BIN/harness"
partition = "main"
time = "00:30:00"
max_parallel = 2
TOML
git init -q
git add -A
git commit -q -m "Begin"
"$BIN/harness" data prepare walk >/dev/null
state() { "$BIN/harness" jobs --all --json | python3 -c '
import json, sys
for submission in json.load(sys.stdin)["submissions"]:
    for task in submission["tasks"]:
        print(submission["job"], task["task"], task["state"], task["run"])'; }
all_done() { [ -z "$(state | awk '$3 != "done"')" ]; }
has_checkpoints() { # each of two runs
  local with=0 run
  for run in "$W/it's there"/experiments/walk/runs/*/; do
    ! grep -qs '"event":"checkpoint"' "$run/log.jsonl" || with=$((with + 1))
  done
  [ $with -eq 2 ]
}
interrupted() { grep -ls '"status": "interrupted"' "$W/it's there"/experiments/walk/runs/*/record.json | wc -l; }
two_stopped() { [ "$(interrupted)" -eq 2 ]; }
three_stopped() { [ "$(interrupted)" -eq 3 ]; }

say "submit from the laptop"
"$BIN/harness" submit walk --seed 1 --seed 2
state

say "one is told that its time ends, the other is preempted by an urgent job"
until_true "a checkpoint of each" 120 has_checkpoints
job=$(state | awk 'NR == 1 { print $1 }')
node=$(squeue --noheader --jobs "${job}_1" --format=%N)
scancel --signal=USR1 "${job}_0"
sbatch --quiet --partition=urgent --exclusive --nodelist="$node" --time=1 --output=/dev/null --wrap 'sleep 1'
until_true "two runs that were stopped" 120 two_stopped
state

say "until all is done"
until_true "all runs done" 300 all_done
state

say "cancel: what is taken back while it runs is not started again"
"$BIN/harness" submit walk --seed 3
job=$(state | awk 'END { print $1 }')
third_runs() { [ "$(sealed_or_not)" -eq 5 ] && [ "$(state | awk 'END { print $3 }')" = running ]; }
sealed_or_not() { ls -d "$W/it's there"/experiments/walk/runs/*/ | wc -l; }
until_true "the third run" 120 third_runs
"$BIN/harness" cancel "$job"
gone() { [ -z "$(squeue --noheader --jobs "$job")" ]; }
until_true "nothing of it is left" 60 gone
until_true "its run is sealed" 60 three_stopped
sleep 8
gone || fail "it was started again"
[ "$(state | awk 'END { print $3 }')" = cancelled ] || fail "it is not cancelled"

say "fetch and audit"
"$BIN/harness" fetch-runs --checkpoints
"$BIN/harness" audit >"$W/audit" || { code=$?; tail -20 "$W/audit" >&2; fail "the audit ended with $code"; }
runs=$(ls -d experiments/walk/runs/*/ | wc -l)
[ "$runs" -eq 5 ] || fail "$runs runs arrived"

say "the same weights as runs that nobody stopped"
git clone -q . "$W/undisturbed"
cd "$W/undisturbed"
for seed in 1 2; do "$BIN/harness" run walk --seed $seed >/dev/null 2>&1 & done
wait
weights() { # FOLDER: seed and digest of the last checkpoint of each complete run
  python3 - "$1" <<'PY'
import json, pathlib, sys
for run in sorted(pathlib.Path(sys.argv[1]).glob("experiments/walk/runs/*")):
    record = json.loads((run / "record.json").read_text())
    if record["status"] == "completed":
        seed = json.loads((run / "open.json").read_text())["plan"]["seed"]
        print(seed, record["checkpoints"][-1]["weights_sha256"])
PY
}
diff <(weights "$W/laptop" | sort) <(weights "$W/undisturbed" | sort) || fail "the weights differ"
say "the walk took $SECONDS s"
