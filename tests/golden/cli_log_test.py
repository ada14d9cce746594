"""What `cairn produce` writes, as kafka_log.py reads it from the files, in every codec."""

import os
import subprocess

import cairn_client as cairn
import kafka_log
import programs
import record_batch
from programs import equal

PARTITIONS = 3
CODECS = {"none": record_batch.CODEC_NONE, "lz4": record_batch.CODEC_LZ4,
          "zstd": record_batch.CODEC_ZSTD}

# (line, key, value) as `produce -K :` has them: the first delimiter splits, without one the key is null.
LINES = [(b"order-%d:paid %d, with a text that repeats and repeats" % (i % 50, i),
          b"order-%d" % (i % 50), b"paid %d, with a text that repeats and repeats" % i)
         for i in range(3000)]
LINES += [(b":empty key", b"", b"empty key"), (b"empty value:", b"empty value", b""),
          (b"no key", None, b"no key"), (b"", None, b""), (b"\xff\x00:\xfe", b"\xff\x00", b"\xfe")]


def run(given, daemon, *arguments, stdin=b""):
    done = subprocess.run([given.cairn, "-b", daemon.address, *arguments], input=stdin,
                          capture_output=True, timeout=programs.PATIENCE_S)
    if done.returncode != 0:
        raise AssertionError(f"cairn {arguments} ended with {done.returncode}: {done.stderr.decode()}")
    return done.stdout


def produce(given, daemon, codec):
    run(given, daemon, "topic", "create", codec, "-p", str(PARTITIONS))
    run(given, daemon, "produce", codec, "-z", codec, "-K", ":", "-H", "origin:here",
        stdin=b"".join(line + b"\n" for line, _, _ in LINES))


def stored(daemon, codec):
    """Every line once; a key's records in its partition and in the order sent; the codec as asked."""
    found = []
    for partition in range(PARTITIONS):
        by_key = {}
        for entry in kafka_log.read_partition(daemon.partition_folder(codec, partition)):
            found.append((entry.key, entry.value))
            equal(entry.headers, [(b"origin", b"here")])
            equal(entry.batch.attributes & record_batch.CODEC_MASK, CODECS[codec])
            if entry.key is not None:
                equal(cairn.partition_of(entry.key, PARTITIONS), partition)
                by_key.setdefault(entry.key, []).append(entry.value)
        for key, values in by_key.items():
            equal(values, [value for _, sent, value in LINES if sent == key])
    order = lambda pair: (pair[0] is not None, pair[0] or b"", pair[1])
    equal(sorted(found, key=order), sorted(((key, value) for _, key, value in LINES), key=order))


def damage_is_found(daemon):
    """The reader that the others rely on refuses every kind of damage it is there to find."""
    path = kafka_log.segments(daemon.partition_folder("none", 0))[0][2]
    with open(path, "rb") as file:
        good = file.read()
    first = record_batch.LENGTH_END + record_batch.read_header(good).batch_length
    for at, byte, word in ((70, good[70] ^ 1, "checksum"), (16, 1, "magic"), (7, 1, "offset 1"),
                           (first - 1, good[first - 1] ^ 1, "checksum")):
        with open(path, "wb") as file:
            file.write(good[:at] + bytes([byte]) + good[at + 1:])
        try:
            list(kafka_log.read_partition(os.path.dirname(path)))
        except kafka_log.DamagedLog as damage:
            equal((damage.position, word in damage.reason), (0, True))
        else:
            raise AssertionError(f"byte {at} was changed, and nothing found")


def main():
    given = programs.arguments()
    tally = programs.Tally()
    with programs.scratch_folder(given.scratch) as folder:
        with programs.Daemon(given.cairnd, folder) as daemon:
            for codec in CODECS:
                tally.run(f"cairn produce -z {codec}", produce, given, daemon, codec)
            tally.run("the daemon stops cleanly", daemon.stop)
            for codec in CODECS:
                tally.run(f"the files hold every line, in codec {codec}", stored, daemon, codec)
            tally.run("damage to a file is found", damage_is_found, daemon)
    tally.close()


if __name__ == "__main__":
    main()
