"""The walk of tools/run.sh: a file through a topic of four partitions and back, replayed from an
offset and from a time, compared with the file at every step, and told to a person.

    run_walk.py CAIRN HOST:PORT DATA_DIR [FILE]

Exits 1 if anything did not match.
"""

import collections
import os
import re
import subprocess
import sys
import time

TOPIC = "walk"
PARTITIONS = 4
DEFAULT_FILE = "/var/log/dpkg.log"
FALLBACK_FILE = "/etc/services"
# Between key and line, and between the fields of what is read back.
MARK = b"\x1f"

Row = collections.namedtuple("Row", "partition offset timestamp key line")


def grouped(number):
    return f"{number:,}"


def package_of(line):
    """The package that a line of dpkg.log is about: 'status installed libc6:amd64 2.36-9' and
    'upgrade libc6:amd64 2.36-8 2.36-9'; none for 'startup archives unpack' and the like."""
    words = line.split()
    if len(words) < 4 or words[2] in (b"startup", b"conffile"):
        return None
    name = words[4] if words[2] == b"status" and len(words) > 4 else words[3]
    match = re.fullmatch(rb"([a-z0-9][a-z0-9+.-]+)(:[a-z0-9-]+)?", name)
    return match.group(1) if match else None


def lines_of(data):
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def load(argument):
    """What to send: its name, how it is keyed, and (key, line) in order."""
    if argument:
        with open(argument, "rb") as file:
            return argument, "without keys", [(None, line) for line in lines_of(file.read())]
    if os.path.isfile(DEFAULT_FILE) and os.path.getsize(DEFAULT_FILE) > 0:
        with open(DEFAULT_FILE, "rb") as file:
            lines = lines_of(file.read())
        return DEFAULT_FILE, "keyed by the package", [(package_of(line), line) for line in lines]
    if os.path.isfile(FALLBACK_FILE):
        print(f"{DEFAULT_FILE} is not there or empty; taking {FALLBACK_FILE} instead")
        with open(FALLBACK_FILE, "rb") as file:
            return FALLBACK_FILE, "without keys", [(None, line) for line in lines_of(file.read())]
    print(f"{DEFAULT_FILE} is not there or empty; taking 10,000 made-up lines instead")
    made = [(b"item-%d" % (i % 100), b"made-up line %d" % i) for i in range(10_000)]
    return "10,000 made-up lines", "keyed by item", made


class Walk:
    def __init__(self, cairn, address, data_dir):
        self.cairn = [cairn, "-b", address]
        self.address = address
        self.data_dir = data_dir
        self.failures = 0

    def run(self, *arguments, stdin=b""):
        done = subprocess.run(self.cairn + list(arguments), input=stdin, capture_output=True)
        if done.returncode != 0:
            sys.stderr.write(done.stderr.decode(errors="replace"))
            sys.exit(f"run_walk: cairn {' '.join(arguments)} ended with {done.returncode}")
        return done

    def check(self, what, good):
        print(f"  {'ok ' if good else 'NOT'}  {what}")
        if not good:
            self.failures += 1

    def read(self, *arguments):
        form = r"%p\x1f%o\x1f%T\x1f%K\x1f%k\x1f%v\n"
        began = time.monotonic()
        out = self.run("consume", TOPIC, "-e", "-f", form, *arguments).stdout
        seconds = time.monotonic() - began
        rows = []
        for text in lines_of(out):
            partition, offset, timestamp, key_size, key, line = text.split(MARK, 5)
            key = None if key_size == b"-1" else key
            rows.append(Row(int(partition), int(offset), int(timestamp), key, line))
        return rows, seconds

    def produce(self, records):
        keyed = any(key is not None for key, _ in records)
        text = b"".join(
            (line if key is None else key + MARK + line) + b"\n" for key, line in records)
        options = ["-K", r"\x1f"] if keyed else []
        return self.run("produce", TOPIC, *options, stdin=text).stderr.decode().strip()


def by_partition(rows):
    parts = {p: [] for p in range(PARTITIONS)}
    for row in rows:
        parts[row.partition].append(row)
    return parts


def by_key(pairs):
    keys = collections.defaultdict(list)
    for key, line in pairs:
        keys[key].append(line)
    return keys


def check_whole(walk, records, rows, parts):
    walk.check(f"every line came back: {grouped(len(rows))} of {grouped(len(records))}",
               len(rows) == len(records))
    sent, got = by_key(records), by_key((row.key, row.line) for row in rows)
    without_key = (sorted(sent.pop(None, [])), sorted(got.pop(None, [])))
    walk.check("byte for byte, none twice", without_key[0] == without_key[1] and
               {k: sorted(v) for k, v in sent.items()} == {k: sorted(v) for k, v in got.items()})
    if sent:
        places = collections.defaultdict(set)
        for row in rows:
            places[row.key].add(row.partition)
        walk.check(f"each of {grouped(len(sent))} keys lies in one partition",
                   all(len(places[key]) == 1 for key in sent))
        walk.check("each key's lines are in the order of the file", dict(sent) == dict(got))
    dense = all([row.offset for row in part] == list(range(len(part))) for part in parts.values())
    walk.check("offsets run from 0 without a gap in every partition", dense)


def check_offset(walk, parts):
    partition = max(parts, key=lambda p: len(parts[p]))
    offset = len(parts[partition]) // 2
    rows, _ = walk.read("-p", str(partition), "-o", str(offset))
    walk.check(f"replay of partition {partition} from offset {grouped(offset)}: "
               f"{grouped(len(rows))} records, the same", rows == parts[partition][offset:])


def check_time(walk, rows, parts):
    moment = sorted(row.timestamp for row in rows)[len(rows) // 2]
    again, _ = walk.read("-o", f"@{moment}")
    parts_again = by_partition(again)

    def from_moment(part):
        first = next((i for i, row in enumerate(part) if row.timestamp >= moment), len(part))
        return part[first:]

    stamp = time.strftime("%H:%M:%S", time.gmtime(moment / 1000)) + f".{moment % 1000:03d} UTC"
    walk.check(f"replay of the topic from {stamp}: {grouped(len(again))} records, the same",
               all(parts_again[p] == from_moment(parts[p]) for p in parts))


def main():
    cairn, address, data_dir = sys.argv[1:4]
    name, keyed, records = load(sys.argv[4] if len(sys.argv) > 4 else None)
    walk = Walk(cairn, address, data_dir)
    print(f"\nBroker on {address}, data in {data_dir}")
    print(f"Sending {name}, {keyed}, line by line to topic '{TOPIC}' of {PARTITIONS} partitions")
    walk.run("topic", "create", TOPIC, "-p", str(PARTITIONS))
    print(f"  {walk.produce(records)}")

    rows, seconds = walk.read()
    parts = by_partition(rows)
    rate = grouped(int(len(rows) / seconds)) if seconds > 0 else "-"
    print(f"  read back in {seconds:.2f} s, {rate}/s; "
          f"records per partition: {', '.join(grouped(len(parts[p])) for p in parts)}")
    check_whole(walk, records, rows, parts)
    if rows:
        check_offset(walk, parts)
        check_time(walk, rows, parts)

    if walk.failures:
        print(f"\n{walk.failures} checks did not hold.")
        return 1
    print("\nAll of it matched. To try next, from the top of the repository:")
    tool = f"{os.path.relpath(cairn)} -b {address}"
    print(f"  {tool} status")
    print(f"  {tool} topic describe {TOPIC}")
    print(f"  {tool} consume {TOPIC} -o -3 -e -J")
    print(f"  echo 'hello' | {tool} produce {TOPIC} -k greeting")
    return 0


if __name__ == "__main__":
    sys.exit(main())
