"""`cairn log verify` is silent on good data and names file, position and reason for a flipped byte;
`cairn log dump` shows what lies there."""

import json
import os
import re
import shutil
import signal
import subprocess
import unittest

from programs import Broker, CAIRN, SANITIZED, run


class Logs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)
        cls.broker.ok("topic", "create", "t", "-p", "2", "-c", f"segment.bytes={64 << 10}")
        lines = b"".join(b"k%d:%d some text\n" % (i % 10, i) for i in range(20_000))
        for _ in range(3):
            cls.broker.ok("produce", "t", "-K", ":", stdin=lines)
        cls.in_use = run("log", "verify", cls.broker.data)
        cls.broker.stop()

    def setUp(self):
        self.copy = os.path.join(self.broker.folder, "copy")
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.broker.data, self.copy)

    def sealed(self):
        folder = os.path.join(self.copy, "t-0")
        logs = sorted(name for name in os.listdir(folder) if name.endswith(".log"))
        self.assertGreater(len(logs), 2)
        return os.path.join(folder, logs[1])

    def flip(self, path, position):
        with open(path, "r+b") as file:
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 0x10]))

    def test_good_data_is_silent_in_use_and_after_a_clean_stop(self):
        self.assertEqual(self.in_use, (0, b"", ""))
        self.assertEqual(run("log", "verify", self.broker.data), (0, b"", ""))
        self.assertEqual(run("log", "verify", os.path.join(self.broker.data, "t-0")), (0, b"", ""))

    def check_found(self, path, position, exact):
        result = run("log", "verify", self.copy)
        out = result.out.decode()
        self.assertEqual(result.code, 1, (path, position, out, result.err))
        found = [line for line in out.splitlines() if os.path.relpath(path, self.copy) in line
                 and line.startswith("damage")]
        self.assertTrue(found, (position, out))
        if exact:
            at = int(re.search(r" at (\d+): ", found[0]).group(1))
            self.assertLessEqual(at, position)
            self.assertGreater(at + (2 << 20), position)
        self.assertRegex(found[0], r": \S+")

    def test_a_flipped_byte_anywhere_in_a_sealed_segment_is_found(self):
        path = self.sealed()
        size = os.path.getsize(path)
        step = 4001 if SANITIZED else 401
        for position in [*range(0, 70, 7 if SANITIZED else 1), *range(70, size, step), size - 1]:
            self.flip(path, position)
            self.check_found(path, position, exact=True)
            self.flip(path, position)
        self.assertEqual(run("log", "verify", self.copy).code, 0)

    def test_a_flipped_byte_anywhere_in_a_manifest_is_found(self):
        path = os.path.join(self.copy, "t-0", "manifest")
        for position in range(0, os.path.getsize(path), 29 if SANITIZED else 3):
            self.flip(path, position)
            self.check_found(path, position, exact=False)
            self.flip(path, position)

    def test_a_cut_or_missing_segment_is_found(self):
        path = self.sealed()
        os.truncate(path, os.path.getsize(path) - 1)
        self.check_found(path, 0, exact=False)
        os.remove(path)
        self.check_found(path, 0, exact=False)

    def test_a_folder_that_is_none_of_ours_is_an_error(self):
        for command in ("verify", "dump"):
            result = run("log", command, self.broker.folder + "/nothing")
            self.assertEqual(result.code, 1)
            self.assertIn("nothing", result.err)

    def repair(self, *more):
        return run("log", "repair", self.copy, *more)

    def test_the_quarantine_was_taken_for_a_data_directory(self):
        os.truncate(os.path.join(self.copy, "frontier"), 8)
        shutil.rmtree(os.path.join(self.copy, "__catalog-0"))
        self.assertEqual(self.repair("--execute").code, 0)
        os.mkdir(os.path.join(self.copy, "quarantine", "orders-0"))
        for command in ("verify", "repair"):
            for name in ("quarantine", "quarantine/orders-0"):
                result = run("log", command, os.path.join(self.copy, name))
                self.assertEqual((result.code, result.out), (1, b""), (command, name))
                self.assertIn(f"data directory {self.copy}: use the latter", result.err)

    def test_a_name_of_nothing_or_of_a_file_is_an_error_that_says_so(self):
        for command in ("verify", "repair", "dump"):
            result = run("log", command, "")
            self.assertEqual((result.code, result.out), (2, b""))
            self.assertIn("it is empty: name a directory", result.err)
            result = run("log", command, "/etc/passwd")
            self.assertEqual((result.code, result.out), (1, b""))
            self.assertIn("/etc/passwd is not a directory", result.err)

    def test_repair_says_what_it_would_do_and_does_it_when_told(self):
        path = self.sealed()
        self.assertEqual(self.repair(), (0, b"", ""))
        self.flip(path, os.path.getsize(path) // 2)
        dry = self.repair()
        self.assertEqual(dry.code, 1, dry)
        self.assertRegex(dry.out.decode(), f"(cut|move) t-0/{os.path.basename(path)} ")
        self.assertRegex(dry.out.decode(), r"lost t-0 offsets \d+ to \d+")
        self.assertIn("--execute", dry.err)
        self.assertEqual(self.repair().out, dry.out)
        done = self.repair("--execute")
        self.assertEqual((done.code, done.out, done.err), (0, dry.out, ""))
        self.assertTrue(os.listdir(os.path.join(self.copy, "quarantine")))
        self.assertEqual(run("log", "verify", self.copy), (0, b"", ""))
        self.assertEqual(self.repair(), (0, b"", ""))

    def test_repair_said_nothing_of_what_it_cannot_do(self):
        with Broker() as broker:
            broker.ok("topic", "create", "one", "-p", "1")
            broker.ok("produce", "one", stdin=b"a\n")
            broker.stop()
            shutil.rmtree(os.path.join(broker.data, "one-0"))
            for more in ([], ["--execute"]):
                result = run("log", "repair", broker.data, *more)
                self.assertEqual(result.code, 1)
                self.assertIn(b"note the directory of partition 0", result.out)
                self.assertIn("by hand", result.err)

    def test_exchanged_directories_are_named(self):
        names = [os.path.join(self.copy, name) for name in ("t-0", "t-1", "aside")]
        for a, b in ((0, 2), (1, 0), (2, 1)):
            os.rename(names[a], names[b])
        result = self.repair()
        self.assertEqual(result.code, 1)
        self.assertIn(b"t-0", result.out)
        self.assertIn("Nothing was changed", result.err)

    def test_a_fifo_in_a_files_place_was_waited_for_and_no_signal_helped(self):
        for name in ("t-0/manifest", "frontier"):
            path = os.path.join(self.copy, name)
            os.rename(path, path + ".old")
            os.mkfifo(path)
            self.assertIn(b"no regular file, but a FIFO", run("log", "verify", self.copy).out)
            done = self.repair("--execute")
            self.assertEqual((done.code, done.err), (0, ""), done.out)
            os.remove(path + ".old")
            self.assertEqual(run("log", "verify", self.copy), (0, b"", ""))

    def test_a_signal_ends_a_log_command(self):
        out, into = os.pipe()  # nobody reads: it fills
        dump = subprocess.Popen([CAIRN, "log", "dump", self.broker.data, "--records"], stdout=into,
                                stderr=subprocess.DEVNULL)
        try:
            os.read(out, 1)
            dump.send_signal(signal.SIGTERM)
            self.assertEqual(dump.wait(timeout=60), -signal.SIGTERM)
        finally:
            dump.kill()
            os.close(into)
            os.close(out)

    def test_repair_spoke_of_an_old_file_where_there_was_none(self):
        manifest = os.path.join(self.copy, "t-1", "manifest")
        os.truncate(manifest, 0)
        self.assertIn("write t-1/manifest anew and save the old one", self.repair().out.decode())
        os.remove(manifest)
        self.assertIn("write t-1/manifest, which is missing: ", self.repair().out.decode())

    def test_repair_for_programs_and_of_one_partition(self):
        os.remove(os.path.join(self.copy, "t-1", "manifest"))
        self.flip(self.sealed(), 100)
        out = run("log", "repair", os.path.join(self.copy, "t-1"), "--format", "json").out
        steps = [json.loads(line) for line in out.splitlines()]
        self.assertEqual([s["file"] for s in steps if s["action"] == "write"], ["t-1/manifest"])
        self.assertFalse([s for s in steps if s["action"] in ("cut", "lost")])

    def test_dump_shows_every_batch(self):
        out = run("log", "dump", os.path.join(self.broker.data, "t-0"), "--format", "json")
        self.assertEqual((out.code, out.err), (0, ""))
        due = 0
        for line in out.out.splitlines():
            batch = json.loads(line)
            self.assertEqual(batch["base_offset"], due)
            self.assertEqual(batch["codec"], "none")
            due += batch["records"]
        whole = run("log", "dump", self.broker.data, "--format", "json").out.splitlines()
        records = sum(b["records"] for b in map(json.loads, whole) if b["topic"] == "t")
        self.assertEqual(records, 60_000)
        self.assertIn(b"BASE-OFFSET", run("log", "dump", os.path.join(self.broker.data, "t-0")).out)

    def test_dump_shows_records_when_asked(self):
        out = run("log", "dump", os.path.join(self.broker.data, "t-1"), "--records").out
        first = json.loads(out.splitlines()[0])
        self.assertEqual((first["topic"], first["partition"], first["offset"]), ("t", 1, 0))
        self.assertRegex(first["payload"], r"^\d+ some text$")


if __name__ == "__main__":
    unittest.main()
