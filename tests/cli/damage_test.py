"""Damage to one partition's files, met by a live broker and mended by `cairn log repair`."""

import glob
import os
import re
import shutil
import unittest

from programs import Broker, eventually, run


def lines_of(partition, batch, count):
    return b"".join(b"%d-%d-%d %s\n" % (partition, batch, i, b"x" * 200) for i in range(count))


class Damaged(unittest.TestCase):
    """Two partitions with some sealed segments each, whose batches differ in their record counts."""

    def setUp(self):
        self.broker = Broker()
        self.broker.__enter__()
        self.addCleanup(self.broker.__exit__)
        self.broker.ok("topic", "create", "orders", "-p", "2", "-c", "segment.bytes=16384")
        self.written = [b"", b""]
        for batch in range(6):
            for partition, count in ((0, 50), (1, 60)):
                lines = lines_of(partition, batch, count)
                self.broker.ok("produce", "orders", "-p", str(partition), stdin=lines)
                self.written[partition] += lines
        for partition in (0, 1):
            eventually(lambda p=partition: len(self.files(p, "index")) >= 4)
        self.broker.stop()

    def files(self, partition, ending):
        pattern = os.path.join(self.broker.data, f"orders-{partition}", "*." + ending)
        return sorted(glob.glob(pattern))

    def consume(self, partition):
        return self.broker.run("consume", "orders", "-p", str(partition), "-e")

    def expect_other_serves(self):
        self.assertEqual(self.consume(1), (0, self.written[1], ""))
        self.broker.ok("produce", "orders", "-p", "1", stdin=b"more\n")
        self.written[1] += b"more\n"

    def expect_prefix_then(self, what):
        """What stands before the damage comes, then the error, and everybody says the same."""
        read = self.consume(0)
        self.assertEqual(read.code, 1, read)
        self.assertTrue(self.written[0].startswith(read.out))
        self.assertLess(len(read.out), len(self.written[0]))
        self.assertRegex(read.err, what)
        refused = self.broker.run("produce", "orders", "-p", "0", stdin=b"no\n")
        self.assertEqual(refused.code, 1, refused)
        self.assertRegex(refused.err, what)
        for shown in (self.broker.run("status"), self.broker.run("topic", "describe", "orders")):
            self.assertRegex((shown.out.decode() + shown.err), what)
        self.expect_other_serves()
        return read.out

    def repair(self):
        self.assertEqual(run("log", "verify", self.broker.data).code, 1)
        done = run("log", "repair", self.broker.data, "--execute")
        self.assertEqual((done.code, done.err), (0, ""), done.out)
        self.assertEqual(run("log", "verify", self.broker.data), (0, b"", ""))
        return done.out.decode()

    def test_a_flipped_bit_in_a_sealed_segment(self):
        path = self.files(0, "log")[2]
        position = os.path.getsize(path) // 2
        with open(path, "r+b") as file:
            file.seek(position)
            byte = file.read(1)
            file.seek(position)
            file.write(bytes([byte[0] ^ 4]))
        self.broker.start()
        name = "orders-0/" + os.path.basename(path)
        before = self.expect_prefix_then(re.escape(name) + r",? .*position \d+: .*expected.*found")
        self.assertTrue(before)
        self.broker.stop()
        self.assertRegex(self.repair(), r"lost orders-0 offsets \d+ to \d+")
        self.broker.start()
        self.assertEqual(self.consume(0), (0, before, ""))
        self.broker.ok("produce", "orders", "-p", "0", stdin=b"again\n")
        self.assertEqual(self.consume(0), (0, before + b"again\n", ""))
        self.expect_other_serves()
        self.broker.stop()

    def test_another_partitions_segment_over_a_segment(self):
        path, other = self.files(0, "log")[0], self.files(1, "log")[0]
        self.assertEqual(os.path.basename(path), os.path.basename(other))
        shutil.copy(other, path)
        self.broker.start()
        self.expect_prefix_then(re.escape("orders-0/" + os.path.basename(path)) + ".*expected.*found")
        self.assertTrue(os.path.exists(path))
        self.broker.stop()
        self.repair()
        self.broker.start()
        self.assertEqual(self.consume(0), (0, b"", ""))
        self.expect_other_serves()
        self.broker.stop()

    def test_another_partitions_segment_beside_the_segments(self):
        mine = {os.path.basename(path) for path in self.files(0, "log")}
        other = next(p for p in self.files(1, "log") if os.path.basename(p) not in mine)
        stranger = os.path.join(self.broker.data, "orders-0", os.path.basename(other))
        shutil.copy(other, stranger)
        with self.subTest("a repair moves it"):
            self.assertIn("move orders-0/" + os.path.basename(other), self.repair())
            self.assertFalse(os.path.exists(stranger))
        shutil.copy(other, stranger)
        self.broker.start()
        with self.subTest("a start moves it, and says so"):
            self.assertFalse(os.path.exists(stranger))
            self.assertRegex(self.broker.ok("status").decode(),
                             os.path.basename(other) + " is not in the manifest; moved to")
        self.assertEqual(self.consume(0), (0, self.written[0], ""))
        self.expect_other_serves()
        self.broker.stop()
        self.assertEqual(run("log", "verify", self.broker.data), (0, b"", ""))


if __name__ == "__main__":
    unittest.main()
