"""A million keyed lines go in through `produce -K` and come out of `consume -e` complete: per key in
order, every key where XXH3 says, offsets dense from 0; again after a restart, after a kill -9, and
with small segments."""

import os
import unittest

import xxhash

from programs import Broker, scaled

COUNT = scaled(1_000_000)
KEYS = COUNT // 20
PARTITIONS = 4
# About 40 MB in all, however many records: enough for many segments of 1 MiB.
FILLER = b"x" * (40_000_000 // COUNT - 20)


def key_of(i):
    return b"key-%d" % (i * 7919 % KEYS)


class KeyedLines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)
        cls.text = b"".join(b"%s:%d %s\n" % (key_of(i), i, FILLER) for i in range(COUNT))

    def produce(self, topic, *configs):
        self.broker.ok("topic", "create", topic, "-p", str(PARTITIONS), *configs)
        result = self.broker.run("produce", topic, "-K", ":", stdin=self.text)
        self.assertEqual(result.code, 0, result.err)
        self.assertIn(f"produced {COUNT:,} records", result.err)

    def check(self, topic):
        """Every line, once; the line's number rises within each key and, with one producer, within
        each partition."""
        out = self.broker.ok("consume", topic, "-e", "-f", r"%p %o %k %v\n")
        next_offset = [0] * PARTITIONS
        last_number = [-1] * PARTITIONS
        seen = bytearray(COUNT)
        partition_of = {}
        for line in out.splitlines():
            partition, offset, key, number, _ = line.split(b" ", 4)
            partition, number = int(partition), int(number)
            if int(offset) != next_offset[partition] or number <= last_number[partition]:
                self.fail(f"{line}: offset {next_offset[partition]} was due, "
                          f"after line {last_number[partition]}")
            next_offset[partition] += 1
            last_number[partition] = number
            if seen[number] or key != key_of(number):
                self.fail(f"{line}: twice, or with another's key")
            seen[number] = 1
            if partition_of.setdefault(key, partition) != partition:
                self.fail(f"{line}: its key was in partition {partition_of[key]} before")
        self.assertEqual(sum(seen), COUNT)
        self.assertEqual(len(partition_of), KEYS)
        for key, partition in partition_of.items():
            self.assertEqual(partition, xxhash.xxh3_64_intdigest(key) % PARTITIONS, key)

    def segments(self, topic):
        return sum(name.endswith(".log") for p in range(PARTITIONS)
                   for name in os.listdir(os.path.join(self.broker.data, f"{topic}-{p}")))

    def test_1_complete_and_in_order_also_after_a_restart_and_after_kill_9(self):
        self.produce("big")
        self.check("big")
        self.broker.restart()
        self.check("big")
        self.broker.kill_and_start()
        self.check("big")

    def test_2_the_same_with_segments_of_one_mebibyte(self):
        self.produce("small", "-c", f"segment.bytes={1 << 20}")
        self.check("small")
        self.assertGreater(self.segments("small"), 2 * PARTITIONS)
        self.broker.kill_and_start()
        self.check("small")
        self.broker.restart()
        self.check("small")


if __name__ == "__main__":
    unittest.main()
