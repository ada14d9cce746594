"""Streams: what arrives is sent and shown at once, and everything ends quietly."""

import array
import fcntl
import os
import re
import signal
import subprocess
import termios
import time
import unittest

from programs import Broker, LineCollector, eventually, scaled

PIPES = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def unread(pipe):
    """How many bytes in a pipe its reader has not taken yet."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe.fileno(), termios.FIONREAD, count)
    return count[0]


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

    def stopped_broker(self):
        broker = self.broker.process
        broker.send_signal(signal.SIGSTOP)
        self.addCleanup(broker.send_signal, signal.SIGCONT)

    def test_ctrl_c_left_produce_silent_until_the_broker_answered(self):
        topic = self.topic("slow")
        producer = self.begin("produce", topic)
        said = LineCollector(producer.stderr).lines
        producer.stdin.write(b"one\n")
        producer.stdin.flush()
        eventually(lambda: self.broker.ok("consume", topic, "-e") == b"one\n")
        self.stopped_broker()
        producer.stdin.write(b"two\nthree\n")
        producer.stdin.flush()
        eventually(lambda: unread(producer.stdin) == 0)
        producer.send_signal(signal.SIGINT)
        eventually(lambda: any(re.search(rb"[12] records? not acknowledged yet.* again gives up", line)
                               for line in said))
        producer.send_signal(signal.SIGINT)
        self.assertEqual(producer.wait(timeout=30), 1)
        eventually(lambda: any(re.search(rb"gave up: of [12] records? it is unknown", line)
                               for line in said))

    def test_ctrl_c_did_not_end_produce_while_its_buffer_was_full(self):
        topic = self.topic("stuffed")
        producer = self.begin("produce", topic)
        said = LineCollector(producer.stderr).lines
        producer.stdin.write(b"one\n")
        producer.stdin.flush()
        eventually(lambda: self.broker.ok("consume", topic, "-e") == b"one\n")
        self.stopped_broker()
        os.set_blocking(producer.stdin.fileno(), False)
        rest, stuck_since = b"", time.monotonic()
        while time.monotonic() - stuck_since < 1:  # it reads nothing more
            rest = rest or b"x" * 99_999 + b"\n"
            try:
                rest = rest[os.write(producer.stdin.fileno(), rest):]
                stuck_since = time.monotonic()
            except BlockingIOError:
                time.sleep(0.01)
        producer.send_signal(signal.SIGTERM)
        eventually(lambda: any(b"not acknowledged yet" in line for line in said))
        producer.send_signal(signal.SIGTERM)
        self.assertEqual(producer.wait(timeout=30), 1)

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
