"""Retention as an operator sees it: a topic shrinks, and the tools say so."""

import json
import unittest

from programs import Broker, eventually


class Retention(unittest.TestCase):
    def test_a_topic_shrinks_and_describe_and_offsets_show_it(self):
        with Broker("--retention.check.interval", "50ms") as broker:
            broker.ok("topic", "create", "t", "-p", "1", "-c", "segment.bytes=16384")
            for _ in range(8):
                broker.ok("produce", "t", stdin=(b"x" * 1000 + b"\n") * 10)
            self.assertEqual(self.offsets(broker), (0, 80))

            broker.ok("topic", "alter", "t", "-c", "retention.bytes=16384")
            eventually(lambda: self.offsets(broker)[0] > 0)
            eventually(lambda: self.partition(broker)["bytes"] < 3 * 16384)
            self.assertEqual(self.offsets(broker)[1], 80)

            broker.ok("topic", "alter", "t", "-c", "retention.ms=0")
            eventually(lambda: self.offsets(broker) == (80, 80))
            self.assertEqual(self.partition(broker)["bytes"], 0)
            configs = json.loads(broker.ok("--format", "json", "topic", "describe", "t"))
            self.assertIn("retention.ms", json.dumps(configs))

            broker.restart()
            self.assertEqual(self.offsets(broker), (80, 80))
            self.assertEqual(json.loads(broker.ok("--format", "json", "status"))["problems"], [])

    def test_a_consumer_below_the_start_is_told_the_range(self):
        with Broker("--retention.check.interval", "50ms") as broker:
            broker.ok("topic", "create", "t", "-p", "1", "-c", "retention.ms=0")
            broker.ok("produce", "t", stdin=b"a\nb\n")
            eventually(lambda: self.offsets(broker) == (2, 2))
            result = broker.run("consume", "t", "-o", "1", "-e")
            self.assertEqual(result.code, 1)
            self.assertIn("2", result.err)

    def offsets(self, broker):
        row = json.loads(broker.ok("--format", "json", "offsets", "t"))[0]
        return row["start"], row["end"]

    def partition(self, broker):
        return json.loads(broker.ok("--format", "json", "topic", "describe", "t"))["partitions"][0]


if __name__ == "__main__":
    unittest.main()
