"""A broker starts on what `cairn log repair` made of a damaged directory, and serves what was saved."""

import json
import os
import shutil
import subprocess
import unittest

from programs import Broker, LineCollector, eventually, run


class Repaired(unittest.TestCase):
    def test_a_lost_catalog_is_rebuilt_from_the_partitions_files(self):
        with Broker() as broker:
            for name, partitions in (("orders", "3"), ("mails", "1")):
                broker.ok("topic", "create", name, "-p", partitions)
                broker.ok("produce", name, "-K", ":", stdin=b"".join(
                    b"k%d:%d\n" % (i, i) for i in range(200)))
            before = {name: sorted(broker.ok("consume", name, "-e").splitlines())
                      for name in ("orders", "mails")}
            broker.stop()
            shutil.rmtree(os.path.join(broker.data, "__catalog-0"))
            self.assertEqual(run("log", "verify", broker.data).code, 1)
            done = run("log", "repair", broker.data, "--execute")
            self.assertEqual((done.code, done.err), (0, ""), done.out)
            self.assertIn(b"lost __catalog-0", done.out)
            broker.start()
            for name, lines in before.items():
                self.assertEqual(sorted(broker.ok("consume", name, "-e").splitlines()), lines)
            self.assertIn("orders", broker.ok("status").decode())
            self.assertFalse(os.path.exists(os.path.join(broker.data, "rebuild-catalog")))
            broker.ok("produce", "orders", stdin=b"more\n")
            broker.stop()
            self.assertEqual(run("log", "verify", broker.data), (0, b"", ""))

    def test_a_rebuilt_topic_dropped_after_a_week_what_was_to_stay_for_good(self):
        with Broker() as broker:
            broker.ok("topic", "create", "kept", "-p", "1", "-c", "retention.ms=-1")
            broker.ok("produce", "kept", stdin=b"a\n")
            broker.stop()
            shutil.rmtree(os.path.join(broker.data, "__catalog-0"))
            self.assertEqual(run("log", "repair", broker.data, "--execute").code, 0)
            broker.start()
            kept = json.loads(broker.ok("topic", "describe", "kept", "--format", "json"))
            configs = {c["name"]: c["value"] for c in kept["configs"]}
            self.assertEqual(configs["retention.ms"], "-1")
            status = json.loads(broker.ok("status", "--format", "json"))
            self.assertRegex(" ".join(status["problems"]), "kept was lost .*retention.ms=-1")
            broker.stop()

    def test_a_reader_was_told_of_a_power_cut_when_a_repair_took_records_back(self):
        with Broker() as broker:
            broker.ok("topic", "create", "orders", "-p", "1")
            for line in (b"a\n", b"b\n"):
                broker.ok("produce", "orders", stdin=line)
            reader = broker.begin("consume", "orders", stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)
            try:
                seen = LineCollector(reader.stdout).lines
                said = LineCollector(reader.stderr).lines
                eventually(lambda: seen == [b"a", b"b"])
                broker.stop()
                log = os.path.join(broker.data, "orders-0", "0" * 20 + ".log")
                with open(log, "r+b") as file:
                    file.seek(-1, os.SEEK_END)
                    file.write(b"\xff")
                done = run("log", "repair", broker.data, "--execute")
                self.assertIn(b"lost orders-0 offsets 1 to 1", done.out)
                broker.listen = broker.address
                broker.start()
                eventually(lambda: said)
                self.assertIn(b"orders:0: truncated: offsets 1 to 1 were taken back by a power cut "
                              b"or a repair", said[0])
            finally:
                reader.kill()
                reader.wait()
                reader.stdout.close()
                reader.stderr.close()

    def test_a_damaged_request_to_rebuild_left_no_way_out(self):
        with Broker() as broker:
            broker.ok("topic", "create", "orders", "-p", "1")
            broker.ok("produce", "orders", stdin=b"a\n")
            broker.stop()
            shutil.rmtree(os.path.join(broker.data, "__catalog-0"))
            self.assertEqual(run("log", "repair", broker.data, "--execute").code, 0)
            request = os.path.join(broker.data, "rebuild-catalog")
            with open(request, "wb") as file:
                file.write(b"junk")
            with self.assertRaisesRegex(AssertionError, "cairn log repair " + broker.data):
                broker.start()
            found = run("log", "verify", broker.data)
            self.assertEqual(found.code, 1)
            self.assertIn(b"rebuild-catalog", found.out)
            done = run("log", "repair", broker.data, "--execute")
            self.assertEqual((done.code, done.err), (0, ""), done.out)
            self.assertEqual(run("log", "verify", broker.data), (0, b"", ""))
            broker.start()
            self.assertEqual(broker.ok("consume", "orders", "-e"), b"a\n")
            broker.stop()

    def test_a_catalog_lost_with_the_frontier_had_all_partitions_put_into_quarantine(self):
        with Broker() as broker:
            broker.ok("topic", "create", "orders", "-p", "2")
            broker.ok("produce", "orders", "-p", "0", stdin=b"a\n")
            broker.ok("produce", "orders", "-p", "1", stdin=b"b\n")
            broker.stop()
            shutil.rmtree(os.path.join(broker.data, "__catalog-0"))
            os.remove(os.path.join(broker.data, "frontier"))
            for _ in range(2):  # the second finds a frontier, which the first began
                with self.assertRaisesRegex(AssertionError, "cairn log repair " + broker.data):
                    broker.start()
                self.assertTrue(os.path.exists(os.path.join(broker.data, "orders-1", "manifest")))
            self.assertFalse(os.path.exists(os.path.join(broker.data, "quarantine")))
            done = run("log", "repair", broker.data, "--execute")
            self.assertEqual((done.code, done.err), (0, ""), done.out)
            broker.start()
            self.assertEqual(broker.ok("consume", "orders", "-p", "0", "-e"), b"a\n")
            self.assertEqual(broker.ok("consume", "orders", "-p", "1", "-e"), b"b\n")
            broker.stop()

    def test_a_damaged_catalog_names_the_way_out(self):
        with Broker() as broker:
            broker.ok("topic", "create", "orders", "-p", "1")
            broker.ok("produce", "orders", stdin=b"a\n")
            broker.stop()
            log = os.path.join(broker.data, "__catalog-0", "0" * 20 + ".log")
            with open(log, "r+b") as file:
                file.seek(70)
                byte = file.read(1)
                file.seek(70)
                file.write(bytes([byte[0] ^ 1]))
            with self.assertRaisesRegex(
                    AssertionError, "position 0.*cairn log repair " + broker.data):
                broker.start()
            done = run("log", "repair", broker.data, "--execute")
            self.assertEqual((done.code, done.err), (0, ""), done.out)
            broker.start()
            self.assertEqual(broker.ok("consume", "orders", "-e"), b"a\n")
            broker.stop()


if __name__ == "__main__":
    unittest.main()
