#!/usr/bin/env bash
# Runs every fuzz target for a while, beginning from good inputs of every kind.
#
#   tests/fuzz/run.sh [SECONDS_EACH (20)] [BUILD_DIR (build/fuzz)] [CORPUS_DIR (a fresh one)]
#
# A long run, keeping what was learned:  tests/fuzz/run.sh 3600 build/fuzz ~/cairn-corpus
# A finding stops it: the input is printed and kept as BUILD_DIR/findings/<target>-crash-….
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=${1:-20}
build=${2:-build/fuzz}
corpus=${3:-$(mktemp -d)}
bin=$build/tests/fuzz
mkdir -p "$build/findings" "$corpus"
export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1

"$bin/fuzz_seeds" "$corpus"
for target in "$bin"/fuzz_*; do
  name=$(basename "$target")
  [ "$name" = fuzz_seeds ] && continue
  echo "== $name, $seconds s"
  mkdir -p "$corpus/${name#fuzz_}"
  log=$build/findings/$name.log
  if ! "$target" -max_total_time="$seconds" -rss_limit_mb=2048 -max_len=65536 \
    -artifact_prefix="$build/findings/$name-" "$corpus/${name#fuzz_}" >"$log" 2>&1; then
    tail -n 60 "$log"
    echo "found something; the whole log is in $log"
    exit 1
  fi
  grep -E 'DONE' "$log"
done
echo "fuzzing found nothing"
