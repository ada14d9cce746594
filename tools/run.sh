#!/usr/bin/env bash
# Installs what is missing, builds, starts a broker and sends a real file through it; then serves
# until Ctrl-C.
#
#   tools/run.sh [FILE] [--exit]
#
# FILE     sent line by line; default /var/log/dpkg.log, keyed by the package's name
# --exit   stop after the account instead of serving on; not 0 if anything did not match
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

file='' exit_after=''
for argument in "$@"; do
  case $argument in
    --exit) exit_after=yes ;;
    -h|--help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "run.sh: $argument is not known; tools/run.sh [FILE] [--exit]" >&2; exit 2 ;;
    *) file=$(realpath -- "$argument") ;;
  esac
done
if [ -n "$file" ] && [ ! -r "$file" ]; then
  echo "run.sh: $file cannot be read" >&2
  exit 1
fi

cd "$root"
source tools/packages.sh
need_build_packages
echo "Building cairnd and cairn in build/release (the first time takes a few minutes)"
build_preset release --target cairnd cairn
bin=$root/build/release/tools

# What earlier runs left behind goes, unless its broker is still there.
mkdir -p build/run
for old in build/run/*/; do
  if [ -d "$old" ] && ! kill -0 "$(cat "$old/pid" 2>/dev/null || echo none)" 2>/dev/null; then
    rm -rf "$old"
  fi
done
run=$root/$(mktemp -d build/run/XXXXXX)
echo "$$" >"$run/pid"

broker_pid=''
stop_broker() {
  [ -n "$broker_pid" ] || return 0
  kill -TERM "$broker_pid" 2>/dev/null || true
  wait "$broker_pid" 2>/dev/null || true
  broker_pid=''
}
trap stop_broker EXIT
trap 'exit 143' TERM

# Starts the broker and waits for its ready line; false if it ended instead.
start_broker() {
  : >"$run/ready"
  "$bin/cairnd/cairnd" --data-dir "$run/data" --listen "$1" >"$run/ready" 2>"$run/cairnd.log" \
    </dev/null &
  broker_pid=$!
  echo "$broker_pid" >"$run/pid"
  while ! grep -q 'ready on' "$run/ready"; do
    if ! kill -0 "$broker_pid" 2>/dev/null; then
      wait "$broker_pid" || true
      broker_pid=''
      return 1
    fi
    sleep 0.05
  done
  address=$(sed -n 's/^cairnd ready on //p' "$run/ready")
}

if ! start_broker 127.0.0.1:7654; then
  if ! grep -qi 'in use' "$run/cairnd.log"; then
    cat "$run/cairnd.log" >&2
    exit 1
  fi
  echo "Port 7654 is taken; using another"
  start_broker 127.0.0.1:0 || { cat "$run/cairnd.log" >&2; exit 1; }
fi

outcome=0
/usr/bin/python3 tools/run_walk.py "$bin/cairn/cairn" "$address" "$run/data" ${file:+"$file"} \
  </dev/null || outcome=$?

if [ -n "$exit_after" ]; then
  stop_broker
  echo "The broker is stopped; without --exit it goes on serving."
  exit "$outcome"
fi
echo "The broker keeps serving on $address (its log: $run/cairnd.log). Ctrl-C stops it."
# Ctrl-C only ends the waiting; the broker is then stopped in good order.
trap ':' INT
wait "$broker_pid" || true
stop_broker
echo "stopped"
exit "$outcome"
