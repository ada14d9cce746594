"""Streams: what arrives is sent and shown at once, and everything ends quietly."""

import signal
import subprocess
import unittest

from programs import Broker, LineCollector, eventually, scaled

PIPES = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)

    def topic(self, name):
        self.broker.ok("topic", "create", name, "-p", "1")
        return name

    def begin(self, *arguments):
        process = self.broker.begin(*arguments, **PIPES)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                pipe.close()

        self.addCleanup(end)
        return process

    def test_a_line_is_sent_and_shown_while_both_ends_stay_open(self):
        topic = self.topic("live")
        consumer, producer = self.begin("consume", topic), self.begin("produce", topic)
        lines = LineCollector(consumer.stdout).lines
        for i in range(3):
            producer.stdin.write(b"line %d\n" % i)
            producer.stdin.flush()
            eventually(lambda: len(lines) == i + 1)
        self.assertEqual(lines, [b"line 0", b"line 1", b"line 2"])

    def test_ctrl_c_ends_an_endless_consume_well_and_what_was_read_is_out(self):
        topic = self.topic("stopped")
        self.broker.ok("produce", topic, stdin=b"one\n")
        consumer = self.begin("consume", topic)
        lines = LineCollector(consumer.stdout).lines
        eventually(lambda: lines == [b"one"])
        consumer.send_signal(signal.SIGINT)
        self.assertEqual(consumer.wait(timeout=60), 0)
        self.assertEqual(consumer.stderr.read(), b"")

    def test_ctrl_c_ends_produce_after_what_was_read_is_in(self):
        topic = self.topic("cut")
        producer = self.begin("produce", topic)
        producer.stdin.write(b"one\ntwo\n")
        producer.stdin.flush()
        eventually(lambda: self.broker.ok("consume", topic, "-e") == b"one\ntwo\n")
        producer.send_signal(signal.SIGINT)
        self.assertEqual(producer.wait(timeout=60), 1)
        self.assertIn(b"interrupted", producer.stderr.read())

    def test_a_reader_that_has_seen_enough_ends_consume_quietly(self):
        topic = self.topic("head")
        count = scaled(100_000)
        self.broker.ok("produce", topic, stdin=b"".join(b"%d some text\n" % i for i in range(count)))
        for arguments in (["-e"], []):
            consumer = self.begin("consume", topic, *arguments)
            self.assertEqual(consumer.stdout.readline(), b"0 some text\n")
            consumer.stdout.close()
            self.assertEqual(consumer.wait(timeout=60), 0)
            self.assertEqual(consumer.stderr.read(), b"")

    def test_several_files_and_stdin_in_order_and_a_last_line_without_its_end(self):
        topic = self.topic("files")
        names = []
        for name, text in (("a", b"a1\na2"), ("b", b""), ("c", b"\nc2\n")):
            names.append(f"{self.broker.folder}/{name}")
            with open(names[-1], "wb") as file:
                file.write(text)
        self.broker.ok("produce", topic, names[0], "-", *names[1:], stdin=b"in\r\n")
        self.assertEqual(self.broker.ok("consume", topic, "-e"), b"a1\na2\nin\r\n\nc2\n")

    def test_no_input_is_no_record(self):
        topic = self.topic("empty")
        result = self.broker.run("produce", topic)
        self.assertEqual((result.code, result.out), (0, b""))
        self.assertIn("produced 0 records", result.err)

    def test_every_level_of_acknowledgement_delivers(self):
        topic = self.topic("acks")
        for acks in ("none", "written", "durable"):
            self.broker.ok("produce", topic, "--acks", acks, stdin=acks.encode())
        eventually(lambda: len(self.broker.ok("consume", topic, "-e").split()) == 3)

    def test_a_long_stream_takes_bounded_memory(self):
        topic = self.topic("long")
        total_mb = 40 if scaled(10) < 10 else 400
        producer = self.begin("produce", topic, "--acks", "written")
        block = (b"x" * 999 + b"\n") * 1000
        peak_kb = 0
        for i in range(total_mb):
            producer.stdin.write(block)
            if i % 10 == 9:
                with open(f"/proc/{producer.pid}/status") as status:
                    peak_kb = next(int(l.split()[1]) for l in status if l.startswith("VmHWM"))
        producer.stdin.close()
        self.assertEqual(producer.wait(timeout=240), 0)
        self.assertIn(f"produced {total_mb * 1000:,} records".encode(), producer.stderr.read())
        if scaled(10) == 10:  # sanitizers have overheads of their own
            self.assertLess(peak_kb, 250_000)
        producer.stdin = open("/dev/null")


if __name__ == "__main__":
    unittest.main()
