"""Consumer groups from the command line: `consume -g`, `group …`, and every way to move offsets."""

import json
import os
import signal
import subprocess
import time
import unittest

from programs import Broker, LineCollector, eventually

COUNT = 100
T0 = 1_700_000_000_000  # the time of record 0; each is a second later than the one before
PIPES = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class Groups(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().__enter__()
        cls.addClassCleanup(cls.broker.__exit__)
        cls.names = 0

    # ---- verbs ----

    def new(self, what):
        Groups.names += 1
        return f"{what}-{Groups.names}"

    def topic(self, partitions=2, count=COUNT):
        """A topic with `count` records in each partition: their values are their offsets."""
        name = self.new("t")
        self.broker.ok("topic", "create", name, "-p", str(partitions))
        for partition in range(partitions):
            self.fill(name, partition, 0, count)
        return name

    def fill(self, topic, partition, begin, end):
        lines = [json.dumps({"ts": T0 + 1000 * i, "payload": str(i)}) for i in range(begin, end)]
        if lines:
            self.broker.ok("produce", topic, "-J", "-p", str(partition),
                           stdin="\n".join(lines).encode())

    def json(self, *arguments):
        return json.loads(self.broker.ok(*arguments, "--format", "json"))

    def describe(self, group):
        return self.json("group", "describe", group)

    def offsets(self, group):
        """The committed offsets by (topic, partition); nothing where there is none."""
        return {(p["topic"], p["partition"]): p["current_offset"]
                for p in self.describe(group)["partitions"]}

    def at(self, *offsets, topic=None):
        """A group whose committed offsets in a topic's partitions are these (None: none)."""
        topic = topic or self.topic(len(offsets))
        group = self.new("g")
        lines = "".join(f"{topic},{p},{o}\n" for p, o in enumerate(offsets) if o is not None)
        self.reset(group, "--from-file", self.file(lines), "--execute")
        return topic, group

    def file(self, text):
        name = os.path.join(self.broker.folder, self.new("offsets") + ".csv")
        with open(name, "w") as file:
            file.write(text)
        return name

    def reset(self, *arguments):
        return self.broker.ok("group", "reset-offsets", *arguments)

    def planned(self, group, topic, *arguments):
        """The new offsets that a dry run of all partitions shows; it must change nothing."""
        before = self.describe(group)["partitions"]
        rows = self.json("group", "reset-offsets", group, "--topic", topic, *arguments)
        after = self.describe(group)["partitions"]
        self.assertEqual([p["current_offset"] for p in before],
                         [p["current_offset"] for p in after])
        for row in rows:
            self.assertEqual(set(row), {"group", "topic", "partition", "current_offset",
                                        "new_offset", "delta"})
            if row["current_offset"] is not None and row["new_offset"] is not None:
                self.assertEqual(row["delta"], row["new_offset"] - row["current_offset"])
        return [row["new_offset"] for row in rows]

    def refused(self, *arguments, code=1):
        result = self.broker.run("group", *arguments)
        self.assertEqual(result.code, code, result.err)
        return result.err

    def begin(self, *arguments):
        process = self.broker.begin("consume", *arguments, "-f", r"%p %o\n", **PIPES)

        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
            process.stderr.close()

        self.addCleanup(end)
        process.printed = LineCollector(process.stdout).lines
        return process

    def interrupt(self, process):
        process.send_signal(signal.SIGINT)
        code = process.wait(timeout=60)
        self.assertEqual((code, process.stderr.read()), (0, b""))

    def members(self, group):
        result = self.broker.run("group", "describe", group, "--format", "json")
        return json.loads(result.out)["members"] if result.code == 0 else []

    # ---- consume -g ----

    def test_a_group_goes_on_where_it_was(self):
        topic, group = self.topic(1), self.new("g")
        self.assertEqual(self.broker.ok("consume", topic, "-g", group, "-n", "30"),
                         b"".join(b"%d\n" % i for i in range(30)))
        self.assertEqual(self.offsets(group), {(topic, 0): 30})
        self.assertEqual(self.broker.ok("consume", topic, "-g", group, "-n", "5"),
                         b"30\n31\n32\n33\n34\n")
        rest = self.broker.ok("consume", topic, "-g", group, "-e")
        self.assertEqual(rest, b"".join(b"%d\n" % i for i in range(35, COUNT)))
        self.assertEqual(self.broker.ok("consume", topic, "-g", group, "-e"), b"")
        self.assertEqual(self.describe(group)["total_lag"], 0)

    def test_where_to_begin_counts_only_without_a_commit(self):
        topic = self.topic(1)
        out = self.broker.ok("consume", topic, "-g", self.new("g"), "-n", "1",
                             "-o", f"@{T0 + 50_000}")
        self.assertEqual(out, b"50\n")
        group = self.new("g")
        self.assertEqual(self.broker.ok("consume", topic, "-g", group, "-o", "end", "-e"), b"")
        _, group = self.at(7, topic=topic)
        for begin in ("start", "end"):
            self.reset(group, "--topic", topic, "--to-offset", "7", "--execute")
            self.assertEqual(self.broker.ok("consume", topic, "-g", group, "-n", "1", "-o", begin),
                             b"7\n")

    def test_where_nothing_is_committed_may_be_an_error(self):
        topic, group = self.topic(1), self.new("g")
        result = self.broker.run("consume", topic, "-g", group, "-e", "--out-of-range", "error")
        self.assertEqual((result.code, result.out), (1, b""))
        self.assertIn(f"{topic}:0", result.err)
        self.assertEqual(self.broker.ok("consume", topic, "-g", group, "-n", "1",
                                        "--out-of-range", "earliest"), b"0\n")
        self.assertEqual(self.broker.run("consume", topic, "-g", group, "-o", "end",
                                         "--out-of-range", "latest").code, 2)

    def test_ctrl_c_leaves_at_once_and_what_was_printed_is_committed(self):
        topic, group = self.topic(2), self.new("g")
        member = self.begin(topic, "-g", group)
        eventually(lambda: len(member.printed) == 2 * COUNT)
        self.interrupt(member)
        description = self.describe(group)
        self.assertEqual((description["state"], description["members"]), ("empty", []))
        self.assertEqual(self.offsets(group), {(topic, 0): COUNT, (topic, 1): COUNT})

    def test_members_share_the_partitions_and_a_pattern_takes_in_what_comes_later(self):
        stem, group = self.new("shared"), self.new("g")
        self.broker.ok("topic", "create", f"{stem}-a", "-p", "2")
        members = [self.begin(f"{stem}-*", "-g", group) for _ in range(2)]
        self.broker.ok("topic", "create", f"{stem}-b", "-p", "2")
        eventually(lambda: sorted(m["partitions"] for m in self.members(group)) == [2, 2])
        for suffix in ("a", "b"):
            for partition in range(2):
                self.fill(f"{stem}-{suffix}", partition, 0, 10)
        eventually(lambda: sum(len(m.printed) for m in members) == 40)
        for member in members:
            self.interrupt(member)
        self.assertEqual(set(self.offsets(group).values()), {10})

    def test_a_killed_member_is_replaced_after_its_session(self):
        topic, group = self.topic(1, count=10), self.new("g")
        first = self.begin(topic, "-g", group, "--session-timeout", "1s")
        eventually(lambda: len(first.printed) == 10)
        second = self.begin(topic, "-g", group)
        eventually(lambda: len(self.members(group)) == 2)
        first.kill()
        self.fill(topic, 0, 10, 20)
        eventually(lambda: b"0 19" in second.printed)
        self.assertEqual(len(self.members(group)), 1)
        self.interrupt(second)

    def test_a_second_member_of_an_instance_id_fences_the_first(self):
        topic, group = self.topic(1, count=3), self.new("g")
        first = self.begin(topic, "-g", group, "--instance-id", "one")
        eventually(lambda: len(first.printed) == 3)
        second = self.begin(topic, "-g", group, "--instance-id", "one")
        self.assertEqual(first.wait(timeout=60), 1)
        self.assertIn(b"instance", first.stderr.read())
        self.assertEqual([m["instance_id"] for m in self.members(group)], ["one"])
        self.interrupt(second)

    def test_a_topic_that_is_not_there_yet_is_waited_for_and_told_of(self):
        topic, group = self.new("later"), self.new("g")
        member = self.begin(topic, "-g", group)
        eventually(lambda: self.members(group))
        self.broker.ok("topic", "create", topic, "-p", "1")
        self.fill(topic, 0, 0, 1)
        eventually(lambda: member.printed == [b"0 0"])
        member.send_signal(signal.SIGINT)
        self.assertEqual(member.wait(timeout=60), 0)
        self.assertIn(b"no topic '%s' yet" % topic.encode(), member.stderr.read())

    def test_to_the_end_says_what_it_waits_for_when_it_holds_nothing(self):
        topic, group = self.topic(1, count=3), self.new("g")
        holder = self.begin(topic, "-g", group, "--instance-id", "holder")
        eventually(lambda: len(holder.printed) == 3)
        waiting = self.begin(topic, "-g", group, "-e")
        line = waiting.stderr.readline().decode()
        self.assertIn(f"group {group} has no partition for this member yet: 1 partition is held by",
                      line)
        self.assertIn("instance holder, session 45 s", line)
        holder.send_signal(signal.SIGINT)  # keeps its place: it has an instance id
        holder.wait(timeout=60)
        waiting.send_signal(signal.SIGINT)
        self.assertEqual((waiting.wait(timeout=60), waiting.stderr.read()), (0, b""))
        waiting = self.begin(self.new("none") + "-*", "-g", self.new("g"), "-e")
        self.assertIn(b"no topic that it reads is there yet", waiting.stderr.readline())
        self.interrupt(waiting)

    def test_ctrl_c_without_a_broker_says_what_it_waits_for_and_a_second_one_ends_it(self):
        with Broker() as broker:
            mine, Groups.broker = Groups.broker, broker
            try:
                topic, group = self.topic(1, count=3), self.new("g")
                member = self.begin(topic, "-g", group)
                eventually(lambda: len(member.printed) == 3)
                broker.kill()
                member.send_signal(signal.SIGINT)
                line = member.stderr.readline().decode()
                self.assertIn(f"leaving group {group}: waiting for broker {broker.address}", line)
                self.assertIn("Ctrl-C again", line)
                member.send_signal(signal.SIGINT)
                self.assertEqual(member.wait(timeout=60), -signal.SIGINT)
            finally:
                Groups.broker = mine

    def test_what_cannot_be_meant_is_wrong_usage(self):
        topic, group = self.topic(1, count=1), self.new("g")
        for arguments in (["-g", "two words"], ["-g", ""], ["-g", "__mine"], ["-g", "g" * 256],
                          ["-g", group, "--session-timeout", "10ms"],
                          ["-g", group, "--session-timeout", "31m"],
                          ["-g", group, "--instance-id", "i" * 300],
                          ["-g", group, "--instance-id", ""],
                          ["__consumer_offsets", "-g", group], ["__*", "-g", group]):
            result = self.broker.run("consume", topic, *arguments, "-e")
            self.assertEqual(result.code, 2, (arguments, result.err))
        for arguments in (["describe", "two words"], ["delete", "__mine"],
                          ["reset-offsets", "two words", "--topic", topic, "--to-earliest"],
                          ["reset-offsets", group, "--topic", topic, "--to-group", "two words"]):
            self.refused(*arguments, code=2)

    # ---- list, describe, delete ----

    def test_list_shows_every_group(self):
        topic, group = self.at(10, 20)
        rows = {row["group"]: row for row in self.json("group", "list")}
        self.assertEqual(rows[group], {"group": group, "state": "empty", "members": 0,
                                       "total_lag": 2 * COUNT - 30, "partitions": 2,
                                       "uncommitted": 0})
        head = self.broker.ok("group", "list").decode().split("\n")[0]
        self.assertEqual(head.split(), ["GROUP", "STATE", "MEMBERS", "TOTAL-LAG", "PARTITIONS",
                                        "UNCOMMITTED"])

    def listed(self, group):
        return next(row for row in self.json("group", "list") if row["group"] == group)

    def test_nothing_committed_is_not_shown_as_no_lag(self):
        topic, group = self.topic(2), self.new("g")
        self.broker.ok("topic", "create", topic + "-empty", "-p", "1")
        member = self.begin(topic, topic + "-empty", "-g", group, "-o", "end")
        eventually(lambda: [m["partitions"] for m in self.members(group)] == [3])
        row, description = self.listed(group), self.describe(group)
        self.assertEqual((row["total_lag"], row["uncommitted"]), (None, 2))
        self.assertEqual((description["total_lag"], description["uncommitted"]), (None, 2))
        self.assertEqual([p["lag"] for p in description["partitions"]], [None] * 3)
        self.assertIn("total lag not known, without 2 partitions",
                      self.broker.run("group", "describe", group).err)
        self.interrupt(member)
        _, group = self.at(90, None, topic=topic)
        member = self.begin(topic, "-g", group, "-o", "end")
        eventually(lambda: len(member.printed) == 10)
        row = self.listed(group)
        self.assertEqual(row["uncommitted"], 1)
        self.assertIsNotNone(row["total_lag"])
        self.interrupt(member)

    def test_describe_shows_offsets_and_lag(self):
        topic, group = self.at(10, COUNT)
        result = self.broker.run("group", "describe", group)
        self.assertEqual(result.code, 0)
        self.assertIn(f"group {group}: empty, 0 members, total lag {COUNT - 10}", result.err)
        head, first, second = result.out.decode().splitlines()
        self.assertEqual(head.split(), [
            "GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "LAG-TIME",
            "CONSUMER-ID", "HOST", "CLIENT-ID"])
        self.assertEqual(first.split()[:6], [group, topic, "0", "10", str(COUNT), str(COUNT - 10)])
        self.assertEqual(second.split()[3:], [str(COUNT), str(COUNT), "0", "-", "-", "-", "-"])
        partition = self.describe(group)["partitions"][0]
        self.assertGreater(partition["lag_time_ms"], 0)
        self.assertEqual(partition["lag"], COUNT - 10)
        self.assertIsNone(partition["consumer_id"])
        self.assertEqual(partition["trimmed"], 0)

    def test_describe_shows_members_and_what_they_hold(self):
        topic, group = self.topic(2), self.new("g")
        member = self.begin(topic, "-g", group, "--instance-id", "here")
        eventually(lambda: len(member.printed) == 2 * COUNT)
        description = self.describe(group)
        self.assertEqual(description["state"], "stable")
        shown = description["members"][0]
        self.assertEqual(shown["assignment"], [{"topic": topic, "partitions": [0, 1]}])
        self.assertEqual((shown["partitions"], shown["instance_id"], shown["topics"]),
                         (2, "here", [topic]))
        for partition in description["partitions"]:
            self.assertEqual(partition["consumer_id"], shown["consumer_id"])
        head, row = self.broker.ok("group", "describe", group, "--members").decode().splitlines()
        self.assertEqual(head.split(), ["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS",
                                        "ASSIGNMENT", "INSTANCE-ID"])
        self.assertEqual(row.split()[4:], ["2", f"{topic}:0,1", "here"])
        self.interrupt(member)

    def test_delete_takes_the_offsets_along_but_no_running_group(self):
        topic, group = self.at(10)
        self.assertEqual(self.broker.ok("group", "delete", group), f"deleted {group}\n".encode())
        self.assertIn("cairn group list", self.refused("describe", group))
        self.assertIn(group, self.refused("delete", group))
        member = self.begin(topic, "-g", group)
        eventually(lambda: len(member.printed) == COUNT)  # from the start: nothing is remembered
        self.refused("delete", group)
        self.interrupt(member)
        self.broker.ok("group", "delete", group)

    def test_several_groups_are_described_and_deleted_together(self):
        topic, first = self.at(10)
        _, second = self.at(20, topic=topic)
        both = self.json("group", "describe", first, second, first)
        self.assertEqual([g["group"] for g in both], [first, second])
        out = self.broker.ok("group", "describe", first, second).decode().splitlines()
        self.assertEqual([line.split()[0] for line in out], ["GROUP", first, "GROUP", second])
        everything = [g["group"] for g in self.json("group", "describe", "--all-groups")]
        self.assertLessEqual({first, second}, set(everything))
        self.refused("describe", code=2)
        self.refused("delete", first, "--all-groups", code=2)
        result = self.broker.run("group", "delete", first, "missing", second)
        self.assertEqual((result.code, result.out.decode()),
                         (1, f"deleted {first}\ndeleted {second}\n"))
        self.assertIn("missing", result.err)

    # ---- reset-offsets ----

    def test_each_scenario_shows_where_it_would_go_and_goes_there(self):
        topic, group = self.at(10, 50, None)
        _, leader = self.at(70, 80, 90, topic=topic)
        exported = self.file(self.reset(leader, "--topic", topic, "--to-current",
                                        "--export").decode())
        for arguments, expected in (
                (["--to-earliest"], [0, 0, 0]),
                (["--to-latest"], [COUNT, COUNT, COUNT]),
                (["--to-current"], [10, 50, COUNT]),
                (["--to-offset", "33"], [33, 33, 33]),
                (["--to-datetime", f"@{T0 + 20_500}"], [21, 21, 21]),
                (["--to-datetime", "2023-11-14T22:13:25"], [5, 5, 5]),
                (["--to-datetime", "2023-11-14T23:13:25+01:00"], [5, 5, 5]),
                (["--by-duration", "P20000D"], [0, 0, 0]),
                (["--to-group", leader], [70, 80, 90]),
        ):
            self.assertEqual(self.planned(group, topic, *arguments), expected, arguments)
            _, other = self.at(10, 50, None, topic=topic)
            self.reset(other, "--topic", topic, *arguments, "--execute")
            self.assertEqual(list(self.offsets(other).values()), expected, arguments)
            self.reset(other, "--from-file", exported, "--execute")
            self.assertEqual(list(self.offsets(other).values()), [70, 80, 90])
            self.reset(other, "--topic", f"{topic}:0,2", "--shift-by", "-7", "--execute")
            self.assertEqual(list(self.offsets(other).values()), [63, 80, 83])
            self.reset(other, "--undo", "--execute")
            self.assertEqual(list(self.offsets(other).values()), [70, 80, 90])
        for shift, expected in (("+5", [15, 55]), ("5", [15, 55]), ("-5", [5, 45])):
            self.assertEqual(self.planned(group, f"{topic}:0,1", "--shift-by", shift), expected)

    def test_what_lies_outside_of_the_log_is_moved_to_its_end_with_a_warning(self):
        topic, group = self.at(10, 50)
        self.broker.ok("topic", "trim", f"{topic}:0", "--before", "5")
        for arguments, expected in (
                (["--to-offset", "1"], [5, 1]),
                (["--to-offset", "1000"], [COUNT, COUNT]),
                (["--shift-by", "-20"], [5, 30]),
                (["--shift-by", "1000"], [COUNT, COUNT]),
                (["--to-datetime", "@4000000000000"], [COUNT, COUNT]),
                (["--by-duration", "PT0S"], [COUNT, COUNT]),
        ):
            self.assertEqual(self.planned(group, topic, *arguments), expected, arguments)
            result = self.broker.run("group", "reset-offsets", group, "--topic", topic, *arguments)
            self.assertIn(f"warning: group {group}, {topic}:0", result.err, arguments)

    def test_a_dry_run_says_so_and_shows_the_columns_and_the_zone(self):
        topic, group = self.at(10)
        result = self.broker.run("group", "reset-offsets", group, "--topic", topic,
                                 "--to-datetime", f"@{T0}")
        self.assertEqual(result.code, 0)
        head, row = result.out.decode().splitlines()
        self.assertEqual(head.split(), ["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET",
                                        "NEW-OFFSET", "DELTA"])
        self.assertEqual(row.split(), [group, topic, "0", "10", "0", "-10"])
        self.assertIn("--execute", result.err)
        self.assertIn("2023-11-14T22:13:20.000Z (UTC)", result.err)

    def test_execute_moves_them_and_only_those_in_scope(self):
        topic, group = self.at(10, 20, 30)
        self.reset(group, "--topic", f"{topic}:0,2", "--to-offset", "77", "--execute")
        self.assertEqual(list(self.offsets(group).values()), [77, 20, 77])
        other = self.topic(1)
        self.reset(group, "--topic", f"{topic}:1", "--topic", other, "--to-latest", "--execute")
        self.assertEqual(self.offsets(group), {(topic, 0): 77, (topic, 1): COUNT, (topic, 2): 77,
                                               (other, 0): COUNT})
        self.reset(group, "--all-topics", "--to-earliest", "--execute")
        self.assertEqual(set(self.offsets(group).values()), {0})
        self.assertEqual(self.broker.ok("consume", other, "-g", group, "-n", "1"), b"0\n")

    def test_a_group_that_is_not_there_comes_into_being(self):
        topic, group = self.topic(2), self.new("g")
        self.reset(group, "--topic", topic, "--to-current", "--execute")
        self.assertEqual(self.offsets(group), {(topic, 0): COUNT, (topic, 1): COUNT})
        missing = self.new("g")
        err = self.refused("reset-offsets", missing, "--topic", topic, "--shift-by", "-1",
                           "--execute")
        self.assertIn("no committed offset", err)
        self.refused("describe", missing)
        self.assertIn("--topic", self.refused("reset-offsets", missing, "--all-topics",
                                              "--to-latest", "--execute"))

    def test_all_partitions_move_or_none(self):
        topic, group = self.at(10, None)
        for arguments in (["--topic", topic, "--shift-by", "-5"],
                          ["--topic", f"{topic}:0,7", "--to-latest"],
                          ["--topic", topic, "--topic", "gone", "--to-latest"]):
            before = self.offsets(group)
            err = self.refused("reset-offsets", group, *arguments, "--execute")
            self.assertIn("nothing was moved", err)
            self.assertEqual(self.offsets(group), before)
            err = self.refused("reset-offsets", group, *arguments)  # and a dry run tells it, too
            self.assertIn("nor would --execute", err)

    def test_to_where_another_group_is(self):
        topic, leader = self.at(10, 20, None)
        _, group = self.at(1, 1, 1, topic=topic)
        self.assertEqual(self.planned(group, topic, "--to-group", leader), [10, 20])
        self.reset(group, "--all-topics", "--to-group", leader, "--execute")
        self.assertEqual(list(self.offsets(group).values()), [10, 20, 1])
        self.assertIn("missing", self.refused("reset-offsets", group, "--all-topics",
                                              "--to-group", "missing"))

    def test_what_export_writes_from_file_takes(self):
        topic, group = self.at(10, 20)
        _, other = self.at(30, 40, topic=topic)
        out = self.reset(group, "--topic", topic, "--to-current", "--export")
        self.assertEqual(out.decode(), f"{topic},0,10\n{topic},1,20\n")
        both = self.reset(group, other, "--topic", topic, "--to-current", "--export")
        self.assertEqual(both.decode(), f"{group},{topic},0,10\n{group},{topic},1,20\n"
                                        f"{other},{topic},0,30\n{other},{topic},1,40\n")
        for each in (group, other):
            self.reset(each, "--all-topics", "--to-latest", "--execute")
        self.reset(group, "--from-file", self.file(out.decode()), "--execute")
        self.assertEqual(list(self.offsets(group).values()), [10, 20])
        self.reset("--all-groups", "--from-file", self.file(both.decode()), "--execute")
        self.assertEqual(list(self.offsets(other).values()), [30, 40])

    def test_a_file_that_is_wrong_is_refused_with_line_and_field(self):
        topic, group = self.at(10)
        for text, code, words in ((f"{topic},0,x\n", 2, "line 1: offset 'x'"),
                                  (f"{topic},0,1\n{topic},0,2\n", 2, "line 2"),
                                  (f"other,{topic},0,1\n", 1, "no line for it"),
                                  ("", 2, "no line with an offset"),
                                  ("gone,0,1\n", 1, "gone"),
                                  (f"{topic},5,1\n", 1, f"{topic}:5")):
            err = self.refused("reset-offsets", group, "--from-file", self.file(text), "--execute",
                               code=code)
            self.assertIn(words, err)
        self.refused("reset-offsets", group, self.new("g"), "--from-file",
                     self.file(f"{topic},0,1\n"), code=2)
        self.refused("reset-offsets", group, "--from-file", "/gone.csv")
        self.assertIn("/etc cannot be read: it is a directory",
                      self.refused("reset-offsets", group, "--from-file", "/etc"))
        self.assertEqual(self.offsets(group), {(topic, 0): 10})

    def test_all_groups_move_together(self):
        with Broker() as broker:
            mine, Groups.broker = Groups.broker, broker
            try:
                topic, first = self.at(10)
                _, second = self.at(20, topic=topic)
                self.reset("--all-groups", "--all-topics", "--shift-by", "-5", "--execute")
                self.assertEqual((self.offsets(first), self.offsets(second)),
                                 ({(topic, 0): 5}, {(topic, 0): 15}))
            finally:
                Groups.broker = mine

    def test_of_all_groups_those_without_anything_to_move_are_left_out(self):
        with Broker() as broker:
            mine, Groups.broker = Groups.broker, broker
            try:
                topic, first = self.at(10)
                self.reset(first, "--topic", topic, "--to-offset", "20", "--execute")
                empty, other = self.new("g"), self.new("t")
                member = self.begin(other, "-g", empty)
                eventually(lambda: self.members(empty))
                for arguments in (["--all-topics", "--to-earliest"],
                                  ["--topic", topic, "--shift-by", "-1"], ["--undo"]):
                    for mode in ([], ["--execute"]):
                        result = broker.run("group", "reset-offsets", "--all-groups", *arguments,
                                            *mode)
                        self.assertEqual(result.code, 0, result.err)
                        self.assertIn(f"group {empty}: left out: it has no", result.err)
                        self.assertNotIn("let go", result.err)  # nobody holds anything
                self.assertEqual(self.offsets(first), {(topic, 0): 20})
                member.send_signal(signal.SIGINT)
                member.wait(timeout=60)
            finally:
                Groups.broker = mine

    def test_undo_puts_back_what_was_replaced_and_the_history_tells_of_it(self):
        topic, group = self.at(10, None)
        self.reset(group, "--topic", topic, "--to-offset", "50", "--execute")
        plan = self.broker.run("group", "reset-offsets", group, "--undo")
        self.assertEqual(plan.code, 0)
        self.assertIn("--to-offset 50", plan.err)
        self.assertNotIn("moved on", plan.err)
        self.assertEqual([line.split()[3:] for line in plan.out.decode().splitlines()[1:]],
                         [["50", "10", "-40"], ["50", "-", "-"]])
        self.reset(group, "--undo", "--execute")
        left = {key: offset for key, offset in self.offsets(group).items() if offset is not None}
        self.assertEqual(left, {(topic, 0): 10})
        resets = self.describe(group)["resets"]
        self.assertIn("--to-offset 50", [reset["what"] for reset in resets])
        self.assertIn("--undo", resets[-1]["what"])
        self.assertEqual([reset["undone_by"] for reset in resets[-2:]],
                         [resets[-1]["number"], None])
        self.assertIn(b"--to-offset 50", self.broker.ok("group", "describe", group, "--resets"))

    def test_a_reset_that_changes_nothing_is_not_in_the_way_of_undo(self):
        topic, group = self.at(10)
        self.reset(group, "--topic", topic, "--to-offset", "50", "--execute")
        result = self.broker.run("group", "reset-offsets", group, "--topic", topic, "--to-current",
                                 "--execute")
        self.assertEqual(result.code, 0)
        self.assertIn("stood there already", result.err)
        self.reset(group, "--undo", "--execute")
        self.assertEqual(self.offsets(group), {(topic, 0): 10})

    def test_undo_goes_past_what_was_deleted(self):
        topic, group = self.at(10)
        gone, other = self.topic(1), self.topic(1)
        self.reset(group, "--topic", topic, "--topic", other, "--to-offset", "50", "--execute")
        self.reset(group, "--topic", gone, "--to-offset", "50", "--execute")
        self.broker.ok("topic", "delete", gone)
        self.broker.ok("topic", "delete", other)
        result = self.broker.run("group", "reset-offsets", group, "--undo", "--execute")
        self.assertEqual(result.code, 0, result.err)
        self.assertIn("reset 3 (--to-offset 50) is left out: its topics were deleted", result.err)
        self.assertIn("partition 0 of a topic that was deleted since is left out", result.err)
        self.assertEqual(self.offsets(group), {(topic, 0): 10})

    def test_undo_says_that_the_group_has_moved_on(self):
        topic, group = self.at(10)
        self.reset(group, "--topic", topic, "--to-offset", "50", "--execute")
        self.broker.ok("consume", topic, "-g", group, "-n", "7")
        result = self.broker.run("group", "reset-offsets", group, "--undo", "--execute")
        self.assertEqual(result.code, 0)
        self.assertIn("warning: group " + group, result.err)
        self.assertIn("moved on", result.err)
        self.assertEqual(self.offsets(group), {(topic, 0): 10})

    def test_there_is_nothing_to_undo_without_a_reset(self):
        topic, group = self.topic(1), self.new("g")
        self.broker.ok("consume", topic, "-g", group, "-n", "1")
        self.assertIn(group, self.refused("reset-offsets", group, "--undo", "--execute"))
        self.assertIn("missing", self.refused("reset-offsets", "missing", "--undo"))

    def test_a_running_group_goes_on_at_the_new_offsets(self):
        topic, group = self.topic(2), self.new("g")
        members = [self.begin(topic, "-g", group) for _ in range(2)]
        eventually(lambda: sum(len(m.printed) for m in members) >= 2 * COUNT)
        eventually(lambda: sorted(m["partitions"] for m in self.members(group)) == [1, 1])
        before = [len(m.printed) for m in members]
        self.reset(group, "--topic", topic, "--to-offset", "90", "--execute")
        again = {b"%d %d" % (p, o) for p in range(2) for o in range(90, COUNT)}
        eventually(lambda: {line for m, n in zip(members, before) for line in m.printed[n:]}
                   >= again)
        for member in members:
            self.interrupt(member)
        self.assertEqual(set(self.offsets(group).values()), {COUNT})
        printed = [line for m, n in zip(members, before) for line in m.printed[n:]]
        self.assertEqual(set(printed), again)

    def printed_since(self, members, marks, topic, ends):
        """What members printed since, once each partition's next record, sent now, has come: in order, by partition."""
        for partition in range(len(ends)):
            self.fill(topic, partition, ends[partition], ends[partition] + 1)
            line = b"%d %d" % (partition, ends[partition])
            ends[partition] += 1
            eventually(lambda: any(line in m.printed[n:] for m, n in zip(members, marks)))
        printed = {partition: [] for partition in range(len(ends))}
        for member, mark in zip(members, marks):
            for line in member.printed[mark:]:
                partition, offset = line.split()
                printed[int(partition)].append(int(offset))
        return printed

    def test_each_scenario_moves_a_running_group_to_where_it_says(self):
        topic, group = self.topic(2), self.new("g")
        _, leader = self.at(70, 80, topic=topic)
        members = [self.begin(topic, "-g", group) for _ in range(2)]
        eventually(lambda: sum(len(m.printed) for m in members) == 2 * COUNT)
        eventually(lambda: sorted(m["partitions"] for m in self.members(group)) == [1, 1])
        ends = [COUNT, COUNT]
        # With what it is at the end, its own export is accepted again, wherever it has gone since.
        self.printed_since(members, [len(m.printed) for m in members], topic, ends)
        eventually(lambda: list(self.offsets(group).values()) == ends)
        exported = self.reset(group, "--topic", topic, "--to-current", "--export").decode()
        moved = self.reset(group, "--topic", topic, "--to-offset", "60", "--export").decode()
        self.assertEqual(exported, f"{topic},0,{ends[0]}\n{topic},1,{ends[1]}\n")
        for arguments, expected in (
                (["--to-earliest"], [0, 0]),
                (["--to-offset", "33"], [33, 33]),
                (["--to-datetime", f"@{T0 + 20_500}"], [21, 21]),
                (["--by-duration", "P20000D"], [0, 0]),
                (["--to-group", leader], [70, 80]),
                (["--from-file", self.file(moved)], [60, 60]),
                (["--shift-by", "-5"], None),
                (["--to-current"], None),
                (["--to-latest"], None),
        ):
            if expected is None:  # it depends on what is committed
                eventually(lambda: list(self.offsets(group).values()) == ends)
                shift = -5 if arguments[0] == "--shift-by" else 0
                expected = [end + shift for end in ends]
            scope = ([] if arguments[0] == "--from-file" else
                     ["--all-topics"] if arguments[0] == "--to-group" else ["--topic", topic])
            marks = [len(m.printed) for m in members]
            self.reset(group, *scope, *arguments, "--execute")
            printed = self.printed_since(members, marks, topic, ends)
            for partition in range(2):
                self.assertEqual(printed[partition],
                                 list(range(expected[partition], ends[partition])), arguments)
        # Where it was exported is in the middle of the log by now.
        marks = [len(m.printed) for m in members]
        self.reset(group, "--from-file", self.file(exported), "--execute")
        printed = self.printed_since(members, marks, topic, ends)
        for partition in range(2):
            self.assertEqual(printed[partition], list(range(COUNT + 1, ends[partition])))
        for member in members:
            self.interrupt(member)

    def test_three_running_members_go_back_an_hour_and_forth_again(self):
        topic, group = self.new("t"), self.new("g")
        self.broker.ok("topic", "create", topic, "-p", "3")
        # A record every 10 minutes, from 4 hours ago; the 18th is the first of the last hour.
        begin = int(time.time() * 1000) - 4 * 3600_000 + 300_000
        for partition in range(3):
            lines = [json.dumps({"ts": begin + 600_000 * i, "payload": str(i)}) for i in range(24)]
            self.broker.ok("produce", topic, "-J", "-p", str(partition),
                           stdin="\n".join(lines).encode())
        members = [self.begin(topic, "-g", group) for _ in range(3)]
        eventually(lambda: sum(len(m.printed) for m in members) >= 3 * 24)
        eventually(lambda: sorted(m["partitions"] for m in self.members(group)) == [1, 1, 1])
        eventually(lambda: list(self.offsets(group).values()) == [24, 24, 24])
        ids = sorted(m["consumer_id"] for m in self.members(group))

        marks = [len(m.printed) for m in members]
        self.reset(group, "--topic", topic, "--to-datetime", "-1h", "--execute")
        # Once it has succeeded nothing of before is printed; what is, begins an hour ago.
        eventually(lambda: sum(len(m.printed) - n for m, n in zip(members, marks)) == 3 * 6)
        printed = sorted(line for m, n in zip(members, marks) for line in m.printed[n:])
        self.assertEqual(printed, sorted(b"%d %d" % (p, o) for p in range(3)
                                         for o in range(18, 24)))

        # Back to where that reset found it: the records of the last hour are not printed again.
        marks = [len(m.printed) for m in members]
        self.reset(group, "--undo", "--execute")
        printed = self.printed_since(members, marks, topic, [24, 24, 24])
        self.assertEqual(printed, {0: [24], 1: [24], 2: [24]})
        self.assertEqual(sorted(m["consumer_id"] for m in self.members(group)), ids)
        for member in members:
            self.interrupt(member)
        self.assertEqual(set(self.offsets(group).values()), {25})

    def test_one_that_slept_through_its_session_commits_and_prints_nothing_of_others(self):
        topic, group = self.topic(1, count=10), self.new("g")
        sleeper = self.begin(topic, "-g", group, "--session-timeout", "1s")
        eventually(lambda: len(sleeper.printed) == 10)
        sleeper.send_signal(signal.SIGSTOP)
        other = self.begin(topic, "-g", group, "--session-timeout", "1s")
        self.fill(topic, 0, 10, 50)
        eventually(lambda: b"0 49" in other.printed)
        self.interrupt(other)
        self.assertEqual(self.offsets(group), {(topic, 0): 50})
        sleeper.send_signal(signal.SIGCONT)
        # It has the partition again, under a session of its own, and goes on where the other was.
        self.fill(topic, 0, 50, 60)
        eventually(lambda: b"0 59" in sleeper.printed)
        self.assertEqual(sleeper.printed[10:], [b"0 %d" % i for i in range(50, 60)])
        self.interrupt(sleeper)
        self.assertEqual(self.offsets(group), {(topic, 0): 60})

    def test_ctrl_c_takes_a_reset_back_that_waits_for_members(self):
        topic, group = self.topic(1), self.new("g")
        member = self.begin(topic, "-g", group)
        eventually(lambda: len(member.printed) == COUNT)
        eventually(lambda: self.offsets(group) == {(topic, 0): COUNT})
        member.send_signal(signal.SIGSTOP)
        reset = self.broker.begin("group", "reset-offsets", group, "--topic", topic,
                                  "--to-earliest", "--execute", stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(lambda: self.describe(group)["state"] == "resetting")
        reset.send_signal(signal.SIGINT)
        self.assertNotEqual(reset.wait(timeout=60), 0)
        eventually(lambda: self.describe(group)["state"] == "stable")
        member.send_signal(signal.SIGCONT)
        self.fill(topic, 0, COUNT, COUNT + 5)
        eventually(lambda: len(member.printed) == COUNT + 5)  # nothing of before
        self.interrupt(member)
        self.assertEqual(self.offsets(group), {(topic, 0): COUNT + 5})
        self.assertEqual(self.describe(group)["resets"], [])

    def test_members_that_do_not_let_go_keep_it_from_happening_unless_forced(self):
        topic, group = self.topic(1), self.new("g")
        member = self.begin(topic, "-g", group)
        eventually(lambda: len(member.printed) == COUNT)
        member.send_signal(signal.SIGSTOP)
        arguments = ["reset-offsets", group, "--topic", topic, "--to-earliest", "--execute"]
        self.assertIn("nothing was reset", self.refused(*arguments, "--timeout", "300ms"))
        self.broker.ok("group", *arguments, "--force")
        self.assertEqual(self.offsets(group), {(topic, 0): 0})
        member.send_signal(signal.SIGCONT)
        eventually(lambda: len(member.printed) >= 2 * COUNT)  # and it goes on from there
        self.interrupt(member)


if __name__ == "__main__":
    unittest.main()
