#!/usr/bin/env bash
# Builds and runs all tests: the release build, or one under sanitizers.
#
#   tools/test.sh [--asan|--tsan] [CTEST OPTION…]        tools/test.sh -R storage
#
# Installs the packages that are missing first (with sudo when not root).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/packages.sh

preset=release
case ${1:-} in
  --asan) preset=asan; shift ;;
  --tsan) preset=tsan; shift ;;
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

need_build_packages
need_test_packages
echo "Building the $preset preset in build/$preset"
build_preset "$preset"

# Debian's own interpreter has the packages above; another one earlier in PATH may not.
export PATH=/usr/bin:$PATH
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-"suppressions=$PWD/tests/tsan.supp halt_on_error=1 second_deadlock_stack=1"}
exec ctest --test-dir "build/$preset" --output-on-failure --no-tests=error \
  -j "${CAIRN_TEST_JOBS:-2}" "$@" </dev/null
