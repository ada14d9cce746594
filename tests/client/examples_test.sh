#!/bin/sh
# Runs the example programs against a daemon of their own.
#   examples_test.sh CAIRND EXAMPLE…
set -eu

cairnd=$1
shift
work=$(mktemp -d)
"$cairnd" --data-dir "$work/data" --listen 127.0.0.1:0 >"$work/out" 2>"$work/log" &
daemon=$!
trap 'kill "$daemon" 2>/dev/null || true; wait "$daemon" || true; rm -rf "$work"' EXIT

tries=0
until grep -q '^cairnd ready on ' "$work/out"; do
  tries=$((tries + 1))
  if [ "$tries" -gt 300 ] || ! kill -0 "$daemon"; then
    cat "$work/log" >&2
    exit 1
  fi
  sleep 0.1
done
address=$(sed -n 's/^cairnd ready on //p' "$work/out")

for example in "$@"; do
  echo "== $example"
  "$example" "$address"
done

# A wrong address is an error, not a hang; wrong usage is told as such.
for example in "$@"; do
  if "$example" nowhere 2>/dev/null; then exit 1; fi
  status=0
  "$example" 2>/dev/null || status=$?
  [ "$status" = 2 ]
done
