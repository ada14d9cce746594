"""A broker starts on what `cairn log repair` made of a damaged directory, and serves what was saved."""

import os
import shutil
import unittest

from programs import Broker, run


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


if __name__ == "__main__":
    unittest.main()
