#!/usr/bin/env bash
# Disturbs a consumer group for long, and checks that it keeps its promises: members that join,
# leave, are killed and stopped every 200 ms; and a broker that is killed again and again.
#
#   tests/crash/run_groups.sh [--long] [SEED]    15 s and 5 kills; --long: 3 minutes and 50 kills
#
# Not 0 if a promise was broken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

seconds=15
cycles=5
case ${1:-} in
  --long) seconds=180; cycles=50; shift ;;
  -h|--help) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

source tools/packages.sh
need_build_packages
need_test_packages
build_preset release --target cairnd group_run

failed=''
run() {
  printf '\n== %s\n' "$1"
  shift
  build/release/tests/crash/group_run run --cairnd build/release/tools/cairnd/cairnd "$@" ||
    failed=yes
}

run "churn" --mode churn --seconds "$seconds" --seed "${1:-0}"
run "kill -9 of the broker" --mode kill --cycles "$cycles" --seed "${1:-0}"
if [ -n "$failed" ]; then
  printf '\nFAILED\n'
  exit 1
fi
printf '\nAll of it is as it must be.\n'
