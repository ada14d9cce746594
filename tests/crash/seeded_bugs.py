#!/usr/bin/env python3
"""Negative controls: the tests catch the mistakes that storage/seeded_bug.h can make.

    seeded_bugs.py BUILD_DIR [BUG...]       a build with the preset `bugs`

Without a mistake every test named here passes; with each mistake one of its tests fails. A test
that passes all the same proves nothing about the code it is meant for, and fails this run.
"""
import os
import re
import subprocess
import sys
import time
from pathlib import Path

CALLS = "tests/crash/call_faults_test"
LOG = "tests/storage/storage_log_test"
BROKER = "tests/broker/broker_test"

# What catches each: the test binary and which of its tests.
CAUGHT_BY = {
    "ack-before-sync": (CALLS, "Storage: the N-th write is short"),
    "frontier-ahead": (CALLS, "Storage: the N-th call fails with EIO"),
    "no-directory-sync": (CALLS, "Storage: the N-th write is short"),
    "sync-tried-again": (CALLS, "Storage: the N-th call fails with EIO"),
    "cache-believed": (CALLS, "Storage: the N-th call fails with EIO"),
    "cut-below-frontier": (LOG, "[recovery]"),
    "tail-not-cut": (LOG, "[recovery]"),
    "wrong-base-after-roll": (LOG, "[model]"),
    "producers-forgotten": (LOG, "[model]"),
    "full-disk-is-final": (CALLS, "Storage: the N-th call that needs room finds none"),
    "trimmed-too-far": (LOG, "[model]"),
    "shows-unsynced": (BROKER, "Partition: on a durable topic nobody is told*"),
    "compaction-drops-newest": (LOG, "Compaction model: random logs keep exactly the newest*"),
    "swap-before-sync": (CALLS, "Compaction: the N-th write is short"),
}
TIMEOUT_S = 300


def passes(build, test, bug=None):
    binary, which = test
    environment = {key: value for key, value in os.environ.items() if key != "CAIRN_SEEDED_BUG"}
    if bug:
        environment["CAIRN_SEEDED_BUG"] = bug
    try:
        done = subprocess.run([build / binary, which, "--abort"], env=environment,
                              timeout=TIMEOUT_S, capture_output=True, text=True, errors="replace")
    except subprocess.TimeoutExpired:
        return False, f"no end after {TIMEOUT_S} s"
    if "No test cases matched" in done.stdout + done.stderr:
        sys.exit(f"{binary} has no test {which!r}")
    failed = [line.strip() for line in done.stdout.splitlines() if "FAILED" in line]
    return done.returncode == 0, (failed or [f"exit code {done.returncode}"])[0]


def known_bugs():
    source = Path(__file__).resolve().parents[2] / "storage/seeded_bug.cc"
    return re.findall(r'Name\{SeededBug::\w+,\s*"([^"]+)"\}', source.read_text())


def main():
    build = Path(sys.argv[1]).resolve()
    if set(known_bugs()) != set(CAUGHT_BY):
        sys.exit(f"without a test: {sorted(set(known_bugs()) ^ set(CAUGHT_BY))}")
    bugs = sys.argv[2:] or known_bugs()
    wrong = 0
    for test in sorted({CAUGHT_BY[bug] for bug in bugs}):
        sound, how = passes(build, test)
        if not sound:
            wrong += 1
            print(f"FAILS WITHOUT A BUG  {test[0]} {test[1]!r}: {how}")
    for bug in bugs:
        began = time.monotonic()
        missed, how = passes(build, CAUGHT_BY[bug], bug)
        wrong += missed
        print(f"{'NOT CAUGHT' if missed else 'caught':10}  {bug:24} {time.monotonic() - began:5.1f} s"
              f"  {'' if missed else how}", flush=True)
    print(f"{len(bugs)} seeded bugs, {wrong} wrong")
    sys.exit(1 if wrong else 0)


main()
