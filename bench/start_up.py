#!/usr/bin/env python3
"""How long a broker takes to be ready again, after kill -9 and after a clean stop.

  bench/start_up.py [--partitions N] [--sealed-gib G] [--runs R] [--cold] [--bin DIR] [--data-dir DIR]

Builds one or both of two states, then takes the broker down and starts it again R times each way;
time counts from the start of the process to its line "cairnd ready on". Before each stop every
partition is written to again.

  --partitions N   a topic of N partitions, each with records (the target: 10000)
  --sealed-gib G   a topic of 4 partitions with G GiB in sealed segments (the target: 10)
  --runs R         starts of each kind; the median counts (default 5)
  --cold           the data's cached pages are dropped before each start
  --bin DIR        where cairnd and cairn are (default: build/release/tools)
  --data-dir DIR   made for the time of the run; needs G GiB of room (default: a temporary one)

The two figures of the README are
  bench/start_up.py --partitions 10000
  bench/start_up.py --sealed-gib 10
"""

import argparse
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIG_PARTITIONS = 4
LINE = b"x" * 1023 + b"\n"


class Broker:
    def __init__(self, programs, data):
        self.cairnd = programs / "cairnd" / "cairnd"
        self.cairn = programs / "cairn" / "cairn"
        self.data = data
        self.process = None

    def start(self):
        """Gives the milliseconds until it was ready."""
        begin = time.monotonic()
        with open(self.data.parent / "cairnd.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.cairnd, "--data-dir", self.data, "--listen", "127.0.0.1:0"],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        line = self.process.stdout.readline().decode()
        taken = (time.monotonic() - begin) * 1000
        if not line.startswith("cairnd ready on "):
            sys.exit(f"cairnd did not start: {line!r}; see {self.data.parent / 'cairnd.log'}")
        self.address = line.split()[-1]
        return taken

    def end(self, how):
        self.process.send_signal(how)
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def run(self, *arguments, **options):
        command = [self.cairn, "-b", self.address, *map(str, arguments)]
        return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout

    def feed(self, lines, *arguments):
        feeding = subprocess.Popen([self.cairn, "-b", self.address, "produce", *arguments],
                                   stdin=subprocess.PIPE)
        for piece in lines:
            feeding.stdin.write(piece)
        feeding.stdin.close()
        if feeding.wait() != 0:
            sys.exit("producing failed")

    def written_partitions(self, topic):
        return sum(1 for _ in self.data.glob(f"{topic}-*/manifest"))


def write_each(broker, topic, partitions):
    """A few records for each partition: keys spread evenly."""
    keys = (b"".join(b"%d:value\n" % n for n in range(begin, begin + 1000))
            for begin in range(0, 12 * partitions, 1000))
    broker.feed(keys, topic, "-K", ":")


def build_partitions(broker, count):
    broker.run("topic", "create", "many", "-p", count)
    write_each(broker, "many", count)
    print(f"  {broker.written_partitions('many')} partitions have records")
    return lambda: write_each(broker, "many", count)


def build_sealed(broker, gib):
    broker.run("topic", "create", "big", "-p", BIG_PARTITIONS)
    piece = LINE * 1024
    each = int(gib * 1024 / BIG_PARTITIONS)
    for partition in range(BIG_PARTITIONS):
        broker.feed((piece for _ in range(each)), "big", "-p", str(partition))
    while any(len(list(folder.glob("*.index"))) + 1 < len(list(folder.glob("*.log")))
              for folder in broker.data.glob("big-*")):
        time.sleep(0.1)  # the janitor seals behind the producers
    size = sum(file.stat().st_size for file in broker.data.glob("big-*/*.log"))
    print(f"  {size / 2**30:.1f} GiB in {len(list(broker.data.glob('big-*/*.log')))} segments")
    return lambda: write_each(broker, "big", BIG_PARTITIONS)


def drop_pages(data):
    for path in data.glob("**/*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(broker, write_again, options):
    for name, how in (("kill -9", signal.SIGKILL), ("clean stop", signal.SIGTERM)):
        times = []
        for _ in range(options.runs):
            write_again()
            broker.end(how)
            if options.cold:
                drop_pages(broker.data)
            times.append(broker.start())
        each = " ".join(f"{t:.0f}" for t in times)
        print(f"  ready after {name}: median {statistics.median(times):.0f} ms (each: {each})",
              flush=True)


def with_state(options, name, build):
    print(name, flush=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="cairn-start-up-", dir=options.data_dir))
    broker = Broker(options.bin, folder / "data")
    try:
        broker.start()
        measure(broker, build(broker), options)
    finally:
        if broker.process is not None:
            broker.end(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partitions", type=int)
    parser.add_argument("--sealed-gib", type=float)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/tools")
    parser.add_argument("--data-dir", type=pathlib.Path)
    options = parser.parse_args()
    if options.partitions is None and options.sealed_gib is None:
        parser.error("nothing to measure: give --partitions or --sealed-gib, or both")
    if options.partitions is not None:
        with_state(options, f"{options.partitions} partitions",
                   lambda broker: build_partitions(broker, options.partitions))
    if options.sealed_gib is not None:
        with_state(options, f"{options.sealed_gib:g} GiB sealed",
                   lambda broker: build_sealed(broker, options.sealed_gib))


if __name__ == "__main__":
    main()
