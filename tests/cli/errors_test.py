"""What goes wrong says what, where and what to do, on stderr, with the right exit code."""

import json
import os
import socket
import unittest

from programs import Broker, run


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WrongUsage(unittest.TestCase):
    """Exit code 2, without a broker."""

    def test_what_cannot_be_meant_is_refused_by_name(self):
        for arguments, words in (
                ([], "subcommand"),
                (["fly"], "fly"),
                (["topic"], "subcommand"),
                (["topic", "create", "x"], "--partitions"),
                (["topic", "create", "x", "-p", "0"], "not in range 1 to 2147483647"),
                (["topic", "create", "x", "-p", "many"], "many"),
                (["topic", "create", "x", "-p", "1", "-c", "novalue"], "NAME=VALUE"),
                (["topic", "create", "x", "-p", "1", "-c", "a=1", "-c", "a=2"], "twice"),
                (["topic", "alter", "x"], "nothing to change"),
                (["topic", "alter", "x", "-p", "8"], "--remap-keys"),
                (["topic", "trim", "x", "--before", "1"], "TOPIC:PARTITION"),
                (["topic", "trim", "x:0"], "--before"),
                (["topic", "trim", "x:0", "--before", "-1"], "-1 is not in range 0 to 9223372036854775807"),
                (["topic", "trim", "x:0", "--before", "9223372036854775808"],
                 "9223372036854775808 is not in range 0 to"),
                (["topic", "trim", "x:0", "--before", "abc"], "'abc' is not a whole number"),
                (["topic", "trim", "x:0", "--before", "0x1a0000"], "'0x1a0000' is not a whole number"),
                (["topic", "trim", "x:0", "--before", ""], "'' is not a whole number"),
                (["produce", "x", "-p", "1.5"], "'1.5' is not a whole number"),
                (["produce"], "topic"),
                (["produce", "x", "-k", "a", "-K", ":"], "--key-delimiter"),
                (["produce", "x", "-J", "-k", "a"], "--json"),
                (["produce", "x", "-K", ""], "empty"),
                (["produce", "x", "-K", "\\q"], "backslash"),
                (["produce", "x", "-H", "novalue"], "NAME:VALUE"),
                (["produce", "x", "-z", "gzip"], "gzip"),
                (["produce", "x", "--acks", "all"], "all"),
                (["consume", "x", "-o", "yesterday"], "yesterday"),
                (["consume", "x", "-o", "-0"], "-0"),
                (["consume", "x", "-o", "@"], "RFC 3339"),
                (["consume", "x", "-o", "@2026-02-30"], "2026-02-30"),
                (["consume", "x", "-o", "@2026-11-24:@2026-11-23"], "before it begins"),
                (["consume", "x", "-f", "%q"], "%q"),
                (["consume", "x", "--out-of-range", "begin"], "begin"),
                (["consume", "x", "-p", "-1"], "--partitions"),
                (["consume", "x", "-n", "-1"], "--count: -1 is not in range 0 to 9223372036854775807"),
                (["consume", "x", "-p", "0,x"], "'x' is not a whole number"),
                (["offsets", "x", "--at", "noon"], "noon"),
                (["consume", "x", "y"], "-g GROUP"),
                (["consume", "x", "-g", "g", "-o", "5"], "with -g"),
                (["consume", "x", "-g", "g", "-o", ":end"], "with -g"),
                (["consume", "x", "-g", "g", "-p", "0"], "--group"),
                (["consume", "x", "-g", "g", "--session-timeout", "soon"], "soon"),
                (["consume", "x", "--instance-id", "i"], "--group"),
                (["group"], "subcommand"),
                (["group", "describe"], "group"),
                (["group", "describe", "g", "--members", "--resets"], "--members"),
                (["group", "reset-offsets", "--topic", "t", "--to-latest"], "which groups?"),
                (["group", "reset-offsets", "g", "--all-groups", "--topic", "t", "--to-latest"],
                 "--all-groups"),
                (["group", "reset-offsets", "g", "--to-latest"], "which topics?"),
                (["group", "reset-offsets", "g", "--topic", "t"], "where to?"),
                (["group", "reset-offsets", "g", "--topic", "t:x", "--to-latest"], "t:x"),
                (["group", "reset-offsets", "g", "--topic", "t", "--all-topics", "--to-latest"],
                 "--all-topics"),
                (["group", "reset-offsets", "g", "--topic", "t", "--to-latest", "--to-earliest"],
                 "contradict"),
                (["group", "reset-offsets", "g", "--topic", "t", "--to-offset", "many"], "many"),
                (["group", "reset-offsets", "g", "--topic", "t", "--shift-by", "a"], "--shift-by"),
                (["group", "reset-offsets", "g", "--topic", "t", "--to-datetime", "noon"], "noon"),
                (["group", "reset-offsets", "g", "--topic", "t", "--by-duration", "P1M"], "P1M"),
                (["group", "reset-offsets", "g", "--topic", "t", "--to-latest", "--dry-run",
                  "--execute"], "--dry-run"),
                (["group", "reset-offsets", "g", "--topic", "t", "--to-latest", "--force"],
                 "--execute"),
                (["group", "reset-offsets", "g", "--topic", "t", "--undo"], "--undo"),
                (["status", "--format", "xml"], "xml"),
                (["-b", "localhost", "status"], "HOST:PORT"),
                (["-b", "localhost:0", "topic", "list"], "localhost:0"),
        ):
            result = run(*arguments)
            self.assertEqual((result.code, result.out), (2, b""), (arguments, result.err))
            self.assertIn(words, result.err, arguments)

    def test_every_subcommand_has_help_with_examples(self):
        for arguments in ([], ["status"], ["topic"], ["topic", "create"], ["topic", "list"],
                          ["topic", "describe"], ["topic", "alter"], ["topic", "delete"],
                          ["topic", "trim"], ["produce"], ["consume"], ["offsets"], ["group"],
                          ["group", "list"], ["group", "describe"], ["group", "delete"],
                          ["group", "reset-offsets"], ["log"],
                          ["log", "dump"], ["log", "verify"], ["completion"], ["completion", "bash"]):
            result = run(*arguments, "--help")
            self.assertEqual((result.code, result.err), (0, ""), arguments)
            self.assertIn(b"Examples:", result.out, arguments)
            self.assertIn("cairn " + " ".join(arguments), result.out.decode().split("Examples:")[1])

    def test_completion_is_bash_and_knows_the_commands(self):
        script = run("completion", "bash").out.decode()
        for name in ("produce", "consume", "describe", "--remap-keys", "--broker",
                     "reset-offsets", "--to-datetime"):
            self.assertIn(name, script)
        self.assertEqual(os.spawnlp(os.P_WAIT, "bash", "bash", "-n", "-c", script), 0)


class WrongFlags(unittest.TestCase):
    def test_intervals_were_read_each_in_its_own_way(self):
        for flag in ("--retention.check.interval", "--scrub.interval"):
            for good in ("200", "200ms", "1d"):
                with Broker(flag, good):
                    pass
            self.check_refused("unit not recognized.*d,h,m,ms,s", flag, "1w")
        self.check_refused("not in range 10 to 86400000", "--retention.check.interval", "0")

    def check_refused(self, why, *flags):
        broker = Broker(*flags)
        self.addCleanup(broker.__exit__)
        with self.assertRaisesRegex(AssertionError, why):
            broker.start()


class NoBroker(unittest.TestCase):
    def test_a_broker_that_is_not_there_is_named_with_what_to_do(self):
        address = f"127.0.0.1:{free_port()}"
        for arguments in (["status"], ["topic", "list"]):
            result = run("-b", address, *arguments)
            self.assertEqual((result.code, result.out), (1, b""))
            self.assertIn(address, result.err)
            self.assertIn("is cairnd running", result.err)

    def test_a_broken_address_is_an_error(self):
        result = run("-b", "nowhere", "status")
        self.assertEqual(result.code, 2)
        self.assertIn("nowhere", result.err)

    def test_the_environment_names_the_broker(self):
        result = run("status", environment={"CAIRN_BROKER": "elsewhere"})
        self.assertIn("elsewhere", result.err)


class Failures(unittest.TestCase):
    """Exit code 1, from a broker."""

    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)
        cls.broker.ok("topic", "create", "here", "-p", "2")

    def test_what_fails_says_why(self):
        missing = os.path.join(self.broker.folder, "missing.txt")
        for arguments, words in (
                (["topic", "describe", "gone"], "gone"),
                (["topic", "delete", "gone"], "gone"),
                (["topic", "alter", "gone", "-c", "flush.ms=5"], "gone"),
                (["topic", "trim", "gone:0", "--before", "1"], "gone"),
                (["topic", "trim", "here:7", "--before", "1"], "7"),
                (["topic", "trim", "here:0", "--before", "1"], "0"),
                (["topic", "create", "here", "-p", "2"], "exists"),
                (["topic", "create", "bad/name", "-p", "2"], "topic name"),
                (["topic", "create", "x", "-p", "1", "-c", "colour=red"], "segment.bytes"),
                (["topic", "create", "x", "-p", "1", "-c", "preallocate=true"], "preallocate"),
                (["topic", "create", "x", "-p", "1", "-c", "segment.bytes=lots"], "lots"),
                (["topic", "alter", "here", "-p", "1", "--remap-keys"], "2"),
                (["produce", "gone"], "gone"),
                (["produce", "here", "-p", "2"], "0..1"),
                (["produce", "here", missing], missing),
                (["consume", "gone", "-e"], "gone"),
                (["consume", "here", "-e", "-p", "2"], "2"),
                (["offsets", "gone"], "gone"),
        ):
            result = self.broker.run(*arguments, stdin=b"line\n")
            self.assertEqual((result.code, result.out), (1, b""), (arguments, result.err))
            self.assertIn(words, result.err, arguments)
            self.assertTrue(result.err.startswith(("cairn: ", "produced")), result.err)

    def test_an_unknown_topic_comes_with_the_way_to_make_one(self):
        self.assertIn("cairn topic create", self.broker.run("produce", "gone").err)
        self.assertNotIn("cairn topic create", self.broker.run("produce", "here", "/gone").err)
        self.assertNotIn("cairn topic create", run("log", "dump", "/gone").err)

    def test_a_record_that_is_too_large_is_named_and_the_others_go_in(self):
        self.broker.ok("topic", "create", "limited", "-p", "1", "-c", "max.message.bytes=2000")
        result = self.broker.run("produce", "limited", stdin=b"a\n" + b"x" * 5000 + b"\nb\n")
        self.assertEqual(result.code, 1)
        self.assertIn("stdin line 2", result.err)
        self.assertIn("2000", result.err.replace(",", ""))
        self.assertEqual(self.broker.ok("consume", "limited", "-e"), b"a\nb\n")

    def test_if_not_exists_is_content(self):
        self.assertIn(b"exists", self.broker.ok("topic", "create", "here", "-p", "2", "--if-not-exists"))

    def test_a_topic_is_created_listed_described_altered_grown_and_deleted(self):
        ok = self.broker.ok
        ok("topic", "create", "life", "-p", "2", "-c", "durability=written", "-c", "segment.bytes=2097152")
        listed = {t["topic"]: t for t in json.loads(ok("topic", "list", "--format", "json"))}
        self.assertEqual((listed["life"]["partitions"], listed["life"]["durability"]), (2, "written"))
        self.assertIn(b"life", ok("topic", "list"))
        ok("topic", "alter", "life", "-c", "segment.bytes=4194304")
        ok("topic", "alter", "life", "-p", "5", "--remap-keys")
        life = json.loads(ok("topic", "describe", "life", "--format", "json"))
        configs = {c["name"]: (c["value"], c["is_default"]) for c in life["configs"]}
        self.assertEqual(configs["segment.bytes"], ("4194304", False))
        self.assertEqual(len(life["partitions"]), 5)
        self.assertEqual([h["partitions"] for h in life["history"]], [2, 5])
        ok("topic", "alter", "life", "-c", "segment.bytes=")
        life = json.loads(ok("topic", "describe", "life", "--format", "json"))
        self.assertIn(["segment.bytes", True], [[c["name"], c["is_default"]] for c in life["configs"]])
        self.assertIn(b"LOG-END", ok("topic", "describe", "life"))
        ok("topic", "delete", "life")
        self.assertEqual(self.broker.run("topic", "describe", "life").code, 1)
        ok("topic", "create", "life", "-p", "1")
        self.assertEqual(ok("consume", "life", "-e"), b"")

    def test_status_tells_how_the_broker_is(self):
        status = json.loads(self.broker.ok("status", "--format", "json"))
        self.assertEqual(os.path.realpath(status["data_dir"]), os.path.realpath(self.broker.data))
        self.assertEqual(status["pid"], self.broker.process.pid)
        self.assertEqual((status["problems"], status["clean_start"]), ([], True))
        self.assertGreater(status["disk_free"], 0)
        self.assertIn(self.broker.data, self.broker.ok("status").decode())
        self.assertTrue(status["scrub"]["enabled"])

    def test_status_tells_what_the_last_start_did(self):
        with Broker() as broker:
            broker.ok("topic", "create", "torn", "-p", "3")
            broker.ok("produce", "torn", "-p", "1", "--acks", "durable", stdin=b"a\nb\n")
            broker.kill()
            with open(os.path.join(broker.data, "torn-1", "0" * 20 + ".log"), "r+b") as segment:
                data, end = segment.read(), 0
                while data[end + 16] == 2:  # magic: there is a batch
                    end += 12 + int.from_bytes(data[end + 8:end + 12], "big")
                segment.seek(end)
                segment.write(b"torn")
            broker.start()
            status = json.loads(broker.ok("status", "--format", "json"))
            self.assertFalse(status["clean_start"])
            self.assertRegex(broker.log_text(), "recovered after an unclean stop.* partitions=4 .*"
                             "bytes_cut=4 .*damaged=0")
            torn = next(p for p in status["recovered"] if p["topic"] == "torn")
            self.assertEqual((torn["partition"], torn["bytes_cut"], torn["batches_cut"]), (1, 4, 0))
            self.assertEqual((torn["leader_epoch"], torn["offline_from"]), (1, None))
            sums = status["recovery_sums"]
            self.assertEqual((sums["bytes_cut"], sums["offline"]), (4, 0))
            self.assertEqual(sums["partitions"], 4)  # and the catalog's
            self.assertEqual(sums["epochs_raised"], 2)  # two have files
            text = broker.ok("status").decode()
            self.assertRegex(text, r"torn +1 +\d+ +4 +0 +\w+ +1 +-")
            broker.restart()
            status = json.loads(broker.ok("status", "--format", "json"))
            self.assertTrue(status["clean_start"])
            self.assertEqual(status["recovered"], [])
            self.assertEqual(status["recovery_sums"]["bytes_scanned"], 0)


class Damage(unittest.TestCase):
    def test_the_end_of_what_damage_left_is_not_taken_for_the_end(self):
        with Broker() as broker:
            broker.ok("topic", "create", "hurt", "-p", "2")
            for partition in ("0", "1"):
                broker.ok("produce", "hurt", "-p", partition, stdin=b"a\nb\nc\n")
            broker.stop()
            os.remove(os.path.join(broker.data, "hurt-0", "manifest"))
            broker.start()
            for bounds in (["-e"], ["-o", ":end"], ["-o", "@0:@9999-01-01"], ["-o", "-2", "-e"],
                           ["-o", "@0", "-e"]):
                result = broker.run("consume", "hurt", *bounds)
                self.assertEqual(result.code, 1, bounds)
                self.assertIn("hurt:0", result.err, bounds)
                self.assertTrue(result.out.endswith(b"b\nc\n"), (bounds, result.out))
            self.assertEqual(broker.run("consume", "hurt", "-p", "1", "-e").code, 0)
            for arguments in ([], ["--at", "@0"]):
                result = broker.run("offsets", "hurt", *arguments)
                self.assertEqual(result.code, 1)
                self.assertIn("hurt:0: the partition is damaged", result.err)


if __name__ == "__main__":
    unittest.main()
