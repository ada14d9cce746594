"""`consume -J | produce -J` copies a topic: keys, headers, timestamps, null and empty, any bytes."""

import base64
import json
import unittest

from programs import Broker

BINARY = bytes(range(256))


def data(value):
    """As consume -J writes it."""
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


RECORDS = [
    dict(key=None, payload=None, headers=[]),
    dict(key=b"", payload=b"", headers=[]),
    dict(key=None, payload=b"", headers=[b"", b""]),
    dict(key=b"k", payload=None, headers=[b"h", None, b"h", b"", b"h", b"v"]),
    dict(key=BINARY, payload=BINARY, headers=[b"bin", BINARY, b"\xff\xfe", b"\x80"]),
    dict(key="schlüssel €😀".encode(), payload="\u2028 \x00 \x1f \x7f \" \\ / \n \r \t".encode(), headers=[]),
    dict(key=b"\xed\xa0\x80", payload=b"\xc0\x80", headers=[]),   # a surrogate, an overlong zero
    dict(key=b"base64", payload=b'{"base64":"eA=="}', headers=[]),
    dict(key=b"long", payload=b"\x00\xff" * 50_000, headers=[]),
]


def line_of(i, record):
    return json.dumps({"ts": 1_600_000_000_000 + i, "key": data(record["key"]),
                       "headers": [data(h) for h in record["headers"]],
                       "payload": data(record["payload"])})


class JsonCopy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)

    def topic(self, name, partitions=1):
        self.broker.ok("topic", "create", name, "-p", str(partitions))
        return name

    def test_what_went_in_comes_out_and_a_copy_is_equal(self):
        text = "\n".join(line_of(i, r) for i, r in enumerate(RECORDS)).encode() + b"\n"
        for codec in ("none", "zstd", "lz4"):
            first, second = self.topic(f"first-{codec}"), self.topic(f"second-{codec}")
            self.broker.ok("produce", first, "-J", "-z", codec, stdin=text)
            out = self.broker.ok("consume", first, "-e", "-J")
            self.broker.ok("produce", second, "-J", stdin=out)
            again = self.broker.ok("consume", second, "-e", "-J")
            for i, (line, copy, record) in enumerate(zip(out.splitlines(), again.splitlines(), RECORDS)):
                row = json.loads(line)
                self.assertEqual(list(row), ["topic", "partition", "offset", "tstype", "ts", "key",
                                             "headers", "payload"])
                self.assertEqual((row["topic"], row["partition"], row["offset"], row["ts"]),
                                 (first, 0, i, 1_600_000_000_000 + i))
                self.assertEqual(row["key"], data(record["key"]))
                self.assertEqual(row["payload"], data(record["payload"]))
                self.assertEqual(row["headers"], [data(h) for h in record["headers"]])
                self.assertEqual({**row, "topic": second}, json.loads(copy))
            self.assertEqual(len(again.splitlines()), len(RECORDS))

    def test_null_and_empty_keys_differ_on_the_way_in_by_lines(self):
        topic = self.topic("lines")
        self.broker.ok("produce", topic, "-K", "::", stdin=b"::empty key\nno key\nk::v::w\n\nk::\nlast::one")
        rows = [json.loads(l) for l in self.broker.ok("consume", topic, "-e", "-J").splitlines()]
        self.assertEqual([(r["key"], r["payload"]) for r in rows],
                         [("", "empty key"), (None, "no key"), ("k", "v::w"), (None, ""), ("k", ""),
                          ("last", "one")])

    def test_formats_show_lengths_so_that_null_and_empty_can_be_told_apart(self):
        topic = self.topic("formats")
        lines = [{"ts": 5, "key": None, "payload": ""}, {"ts": 6, "key": "", "payload": None},
                 {"ts": 7, "key": "k", "payload": "v", "headers": ["a", "1", "b", None]}]
        self.broker.ok("produce", topic, "-J", stdin="\n".join(map(json.dumps, lines)).encode())
        out = self.broker.ok("consume", topic, "-e", "-f", r"%t/%p/%o/%T/%K/%k/%S/%v/%s/%h/%%\x41\t\n")
        self.assertEqual(out.decode().split("\n")[:-1],
                         ["formats/0/0/5/-1//0////%A\t", "formats/0/1/6/0//-1////%A\t",
                          "formats/0/2/7/1/k/1/v/v/a=1,b=/%A\t"])

    def test_key_header_and_partition_options(self):
        topic = self.topic("options", 3)
        self.broker.ok("produce", topic, "-k", "the key", "-H", "a:b:c", "-H", "d:", "-p", "2", stdin=b"x\ny")
        rows = [json.loads(l) for l in self.broker.ok("consume", topic, "-e", "-J").splitlines()]
        self.assertEqual([(r["partition"], r["key"], r["headers"], r["payload"]) for r in rows],
                         [(2, "the key", ["a", "b:c", "d", ""], "x"),
                          (2, "the key", ["a", "b:c", "d", ""], "y")])

    def test_bad_lines_are_named_and_the_good_ones_go_in(self):
        topic = self.topic("bad")
        for bad, why in ((b'{"payload":', "byte"), (b'["x"]', "object"), (b'{"key":"k"}', "payload"),
                         (b'{"payload":7}', "payload"), (b'{"payload":{"base64":"?"}}', "base64"),
                         (b'{"payload":"x","headers":["odd"]}', "headers"),
                         (b'{"payload":"x","ts":"now"}', "ts"), (b'{"payload":"\xff"}', "JSON")):
            result = self.broker.run("produce", topic, "-J", stdin=b'{"payload":"good"}\n' + bad + b"\n")
            self.assertEqual(result.code, 1, bad)
            self.assertIn("stdin line 2", result.err)
            self.assertIn(why, result.err)
        self.assertEqual(self.broker.ok("consume", topic, "-e"), b"good\n" * 8)


if __name__ == "__main__":
    unittest.main()
