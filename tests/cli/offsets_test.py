"""`consume -o` in all its forms, at segment boundaries too; `offsets`; `topic trim`."""

import json
import os
import unittest

from programs import Broker

COUNT = 3000
T0 = 1_700_000_000_000  # the time of record 0; each is a second later than the one before


class Offsets(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)
        cls.broker.ok("topic", "create", "t", "-p", "2", "-c", f"segment.bytes={1 << 20}")
        # Ten sends, so that there are several batches in a segment, and segments of few batches.
        for begin in range(0, COUNT, COUNT // 10):
            lines = [json.dumps({"ts": T0 + 1000 * i, "payload": f"{i} " + "x" * 1500})
                     for i in range(begin, begin + COUNT // 10)]
            cls.broker.ok("produce", "t", "-J", "-p", "0", stdin="\n".join(lines).encode())
        cls.broker.ok("produce", "t", "-p", "1", stdin=b"0 alone\n")

    def read(self, *arguments):
        """The numbers in the values; each must lie at the offset of that number."""
        out = self.broker.ok("consume", "t", "-e", "-f", r"%o %v\n", *arguments)
        rows = [line.split(b" ")[:2] for line in out.splitlines()]
        for offset, number in rows:
            self.assertEqual(offset, number)
        return [int(offset) for offset, _ in rows]

    def boundaries(self):
        names = os.listdir(os.path.join(self.broker.data, "t-0"))
        return sorted(int(name[:-4]) for name in names if name.endswith(".log"))

    def test_there_are_segment_boundaries_to_test(self):
        self.assertGreater(len(self.boundaries()), 2)

    def test_an_offset_gives_exactly_the_records_from_it(self):
        offsets = {0, 1, 100, COUNT - 1, COUNT}
        for base in self.boundaries():
            offsets |= {max(0, base - 1), base, base + 1}
        for offset in sorted(offsets):
            self.assertEqual(self.read("-p", "0", "-o", str(offset)), list(range(offset, COUNT)))

    def test_minus_n_gives_the_last_n(self):
        for base in self.boundaries()[1:]:
            for count in (COUNT - base - 1, COUNT - base, COUNT - base + 1):
                self.assertEqual(self.read("-p", "0", "-o", str(-count)),
                                 list(range(COUNT - count, COUNT)))
        self.assertEqual(self.read("-p", "0", "-o", "-10"), list(range(COUNT - 10, COUNT)))
        self.assertEqual(self.read("-p", "0", "-o", str(-COUNT - 5)), list(range(COUNT)))
        self.assertEqual(sorted(self.read("-o", "-1", "-p", "0,1")), [0, COUNT - 1])

    def test_a_time_gives_the_first_record_at_or_after_it(self):
        for i in {1, 77} | {b for b in self.boundaries() if b} | {b - 1 for b in self.boundaries() if b}:
            for ms, first in ((0, i), (-1, i), (-999, i), (1, i + 1)):
                got = self.read("-p", "0", "-o", f"@{T0 + 1000 * i + ms}")
                self.assertEqual(got, list(range(first, COUNT)), (i, ms))

    def test_a_span_of_time_is_half_open(self):
        bases = [b for b in self.boundaries() if b]
        for begin, end in [(5, 10), (5, 5), (bases[0] - 1, bases[0] + 1), (bases[0], bases[1]),
                           (0, COUNT + 100)]:
            span = f"@{T0 + 1000 * begin}:@{T0 + 1000 * end}"
            self.assertEqual(self.read("-p", "0", "-o", span), list(range(begin, min(end, COUNT))), span)

    def test_times_may_be_written_with_colons_and_zones(self):
        # T0 is 2023-11-14T22:13:20Z.
        span = "@2023-11-14T22:13:25Z:@2023-11-14T23:13:30.000+01:00"
        self.assertEqual(self.read("-p", "0", "-o", span), list(range(5, 10)))

    def test_a_span_ends_by_itself(self):
        out = self.broker.ok("consume", "t", "-p", "0", "-f", r"%o\n", "-o", f"@{T0}:@{T0 + 3000}")
        self.assertEqual(out, b"0\n1\n2\n")

    def test_start_end_and_the_present_end(self):
        self.assertEqual(self.read("-p", "0", "-o", "start"), list(range(COUNT)))
        self.assertEqual(self.read("-p", "0", "-o", "end"), [])
        out = self.broker.ok("consume", "t", "-p", "0", "-o", ":end", "-f", r"%o\n")
        self.assertEqual(len(out.splitlines()), COUNT)

    def test_a_count_ends_it(self):
        self.assertEqual(self.read("-p", "0", "-o", "7", "-n", "3"), [7, 8, 9])
        self.assertEqual(self.read("-p", "0", "-n", "0"), [])

    def test_an_offset_beyond_the_range_is_an_error_that_names_the_range(self):
        result = self.broker.run("consume", "t", "-p", "0", "-e", "-o", str(COUNT + 1))
        self.assertEqual(result.code, 1)
        self.assertIn(f"0 up to, without, {COUNT}", result.err)
        self.assertEqual(result.out, b"")

    def test_what_is_gone_is_an_error_or_the_start_or_the_end(self):
        self.broker.ok("topic", "create", "cut", "-p", "1")
        self.broker.ok("produce", "cut", stdin=b"a\nb\nc\nd\n")
        self.broker.ok("topic", "trim", "cut:0", "--before", "2")
        refused = self.broker.run("consume", "cut", "-e", "-o", "0")
        self.assertEqual((refused.code, refused.out), (1, b""))
        self.assertIn("--out-of-range", refused.err)
        for where, left in (("earliest", b"c\nd\n"), ("latest", b"")):
            result = self.broker.run("consume", "cut", "-e", "-o", "0", "--out-of-range", where)
            self.assertEqual((result.code, result.out), (0, left), result.err)

    def test_offsets_shows_ends_and_the_offset_for_a_time(self):
        rows = json.loads(self.broker.ok("offsets", "t", "--at", f"@{T0 + 500}", "--format", "json"))
        self.assertEqual(rows[0], {"partition": 0, "start": 0, "end": COUNT, "offset": 1,
                                   "timestamp": "2023-11-14T22:13:21.000Z"})
        self.assertEqual((rows[1]["start"], rows[1]["end"]), (0, 1))
        text = self.broker.ok("offsets", "t").decode().split("\n")
        self.assertEqual(text[0].split(), ["PARTITION", "START", "END"])
        self.assertEqual(text[1].split(), ["0", "0", str(COUNT)])

    def test_a_time_past_the_last_record_gives_the_end(self):
        rows = json.loads(self.broker.ok("offsets", "t", "--at", "@4000000000000", "--format", "json"))
        self.assertEqual((rows[0]["offset"], rows[0]["timestamp"]), (COUNT, None))

    def test_trim_drops_what_is_before(self):
        self.broker.ok("topic", "create", "trimmed", "-p", "1", "-c", f"segment.bytes={1 << 20}")
        for _ in range(3):
            self.broker.ok("produce", "trimmed", stdin=b"".join(b"%d %s\n" % (i, b"x" * 1500)
                                                               for i in range(500)))
        self.broker.ok("topic", "trim", "trimmed:0", "--before", "800")
        out = self.broker.ok("consume", "trimmed", "-e", "-f", r"%o\n")
        self.assertEqual([int(o) for o in out.split()], list(range(800, 1500)))
        result = self.broker.run("consume", "trimmed", "-e", "-o", "799")
        self.assertEqual(result.code, 1)
        self.assertIn("800", result.err)


if __name__ == "__main__":
    unittest.main()
