#!/usr/bin/env bash
# Ends a broker under load by kill -9 and by power cuts on ext4 and xfs, again and again, and checks
# that it keeps its promises; then cuts the power of one that does not sync, which must break them.
#
#   tests/crash/run.sh [--long] [CYCLES]        12 cycles of each kind; --long: 100
#
# The power cuts need root. Not 0 if a promise was broken, or if broken promises were not noticed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cycles=12
case ${1:-} in
  --long) cycles=100; shift ;;
  -h|--help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
cycles=${1:-$cycles}

source tools/packages.sh
need_build_packages
need_test_packages
build_preset release --target cairnd crash_run

failed=''
run() {
  printf '\n== %s\n' "$1"
  local status=0
  shift
  build/release/tests/crash/crash_run --cairnd build/release/tools/cairnd/cairnd \
    --cycles "$cycles" "$@" || status=$?
  # 77: skipped, and said so.
  if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then failed=yes; fi
}

run "kill -9" --mode kill
run "power cuts on ext4" --mode power --fs ext4
run "power cuts on xfs" --mode power --fs xfs
run "power cuts on ext4 without syncs: must lose" --mode power --fs ext4 \
  --preload libeatmydata.so.1 --must-lose
run "power cuts on xfs without syncs: must lose" --mode power --fs xfs \
  --preload libeatmydata.so.1 --must-lose
if [ -n "$failed" ]; then
  printf '\nFAILED\n'
  exit 1
fi
printf '\nAll of it is as it must be.\n'
