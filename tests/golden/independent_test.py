"""The daemon as seen by a client that shares no code with it: cairn_client.py and kafka_log.py."""

import os
import struct
import threading

import cairn_client as cairn
import kafka_log
import programs
import record_batch
from programs import equal
from record_batch import CODEC_LZ4, CODEC_NONE, CODEC_ZSTD, Record

NOW = 1_700_000_000_000
LATER_MS = 10


def plain(count, first=0):
    """Records 10 ms apart, each of them recognisable."""
    return [Record(NOW + LATER_MS * i, b"key-%d" % i, b"value-%d" % i, [])
            for i in range(first, first + count)]


PECULIAR = [
    Record(NOW, None, None, []),
    Record(NOW, b"", b"", []),
    Record(NOW + 5, None, b"", [(b"null", None), (b"empty", b""), (b"some", b"thing")]),
    Record(NOW - 7, b"", None, [(b"", b"\0\xff"), (b"twice", b"1"), (b"twice", b"2")]),
    Record(NOW + 1, bytes(range(256)), b"\x80" * 300, [("ключ".encode(), "значение".encode())]),
]


def refusal(code, call, *parameters, **fields):
    """The call must be refused with `code`; gives the message."""
    try:
        found = call(*parameters, **fields)
    except cairn.Refused as refused:
        equal(refused.code, code)
        if not refused.message:
            raise AssertionError("a refusal without words")
        return refused.message
    raise AssertionError(f"not refused with {code}, but {found}")


def with_offsets(first, records):
    return [cairn.Consumed(first + i, *record) for i, record in enumerate(records)]


class Walk:
    """One daemon, one client, and everything that was produced, by (topic, partition)."""

    def __init__(self, daemon, schema):
        self.daemon = daemon
        self.schema = schema
        self.client = cairn.Client(schema, daemon.address)
        self.produced = {}
        self.subscriptions = 0

    def topic(self, name, partitions=1, **configs):
        topic_id = self.client.create_topic(name, partitions, **configs)
        for partition in range(partitions):
            self.produced[name, partition] = []
        return topic_id

    def produce(self, name, topic_id, partition, records, **batch_options):
        """Must be appended right behind what was produced before."""
        sent = self.produced[name, partition]
        batch = record_batch.encode_batch(records, **batch_options)
        answer = self.client.produce(topic_id, partition, batch)
        equal((answer.BaseOffset(), answer.Duplicate()), (len(sent), False))
        sent += records
        return batch

    def subscribe(self, topic_id, partition, **fields):
        self.subscriptions += 1
        return self.client.subscribe(self.subscriptions, topic_id, partition,
                                     **{"credit": 1 << 20, **fields})

    def read_all(self, topic_id, partition, **fields):
        """Everything up to the present end."""
        subscription = self.subscribe(topic_id, partition, startAt=cairn.FROM_EARLIEST,
                                      stopAtPresentEnd=True, **fields)
        return subscription.read_to_end()

    # ---- the tests ----

    def welcome(self):
        equal(self.client.welcome.ProtocolVersion(), 1)
        equal(self.client.welcome.FrameBytesMax(), 67_174_400)
        equal(len(self.client.welcome.ClusterId().Bytes()), 16)
        self.client.ping()

    def wrong_version(self):
        message = refusal(cairn.UNSUPPORTED_VERSION, cairn.Client, self.schema, self.daemon.address,
                          version=77)
        if "1" not in message:
            raise AssertionError(f"does not name the version it speaks: {message}")

    def metadata(self):
        topic_id = self.topic("described", 3)
        known, unknown = self.client.metadata("described", "nowhere")
        equal((known.Name(), bytes(known.Id().Bytes()), known.Code()), (b"described", topic_id, 0))
        equal([known.Partitions(i).Code() for i in range(known.PartitionsLength())], [0, 0, 0])
        equal((unknown.Name(), unknown.Code()), (b"nowhere", cairn.UNKNOWN_TOPIC))

    def topics_refused(self):
        self.topic("once")
        refusal(cairn.TOPIC_EXISTS, self.client.create_topic, "once", 1)
        refusal(cairn.INVALID_TOPIC_NAME, self.client.create_topic, "no spaces", 1)
        refusal(cairn.INVALID_REQUEST, self.client.create_topic, "none", 0)
        refusal(cairn.INVALID_CONFIG, self.client.create_topic, "odd", 1, no_such_config="1")

    def peculiar_records(self):
        topic_id = self.topic("peculiar")
        for codec in (CODEC_NONE, CODEC_ZSTD, CODEC_LZ4):
            self.produce("peculiar", topic_id, 0, PECULIAR, codec=codec)
            self.produce("peculiar", topic_id, 0, plain(50), codec=codec)
        found = self.read_all(topic_id, 0)
        equal(found, with_offsets(0, self.produced["peculiar", 0]))

    def keyed(self):
        partitions = 5
        topic_id = self.topic("keyed", partitions)
        by_partition = {}
        for record in plain(200):
            by_partition.setdefault(cairn.partition_of(record.key, partitions), []).append(record)
        equal(sorted(by_partition), list(range(partitions)))
        for partition, records in by_partition.items():
            self.produce("keyed", topic_id, partition, records)
        for partition in range(partitions):
            for record in self.read_all(topic_id, partition):
                equal(cairn.partition_of(record.key, partitions), partition)

    def repeats(self):
        topic_id = self.topic("repeated")
        producer = self.client.init_producer()
        equal(producer[1], 0)
        sent = [self.produce("repeated", topic_id, 0, plain(3, 3 * i), producer=producer,
                             base_sequence=3 * i) for i in range(5)]
        for i, batch in enumerate(sent):
            answer = self.client.produce(topic_id, 0, batch, acks=cairn.ACKS_DURABLE)
            equal((answer.BaseOffset(), answer.Duplicate(), answer.Durability()),
                  (3 * i, True, cairn.DURABLE))
        with cairn.Client(self.schema, self.daemon.address) as another:
            answer = another.produce(topic_id, 0, sent[-1])
            equal((answer.BaseOffset(), answer.Duplicate()), (12, True))
        equal(len(self.read_all(topic_id, 0)), 15)

    def gaps(self):
        topic_id = self.topic("gaps")
        producer = self.client.init_producer()
        self.produce("gaps", topic_id, 0, plain(2), producer=producer, base_sequence=0)
        ahead = record_batch.encode_batch(plain(1), producer=producer, base_sequence=5)
        refusal(cairn.OUT_OF_ORDER_SEQUENCE, self.client.produce, topic_id, 0, ahead)
        stranger = record_batch.encode_batch(plain(1), producer=self.client.init_producer(),
                                             base_sequence=5)
        refusal(cairn.UNKNOWN_PRODUCER, self.client.produce, topic_id, 0, stranger)
        self.produce("gaps", topic_id, 0, plain(1), producer=producer, base_sequence=2)

        higher = self.client.init_producer(producer)
        equal((higher[0], higher[1] > producer[1]), (producer[0], True))
        self.produce("gaps", topic_id, 0, plain(1), producer=higher, base_sequence=0)
        late = record_batch.encode_batch(plain(1), producer=producer, base_sequence=3)
        refusal(cairn.STALE_PRODUCER_EPOCH, self.client.produce, topic_id, 0, late)

    def many_in_flight(self):
        """Requests of one connection are begun in order, whatever waits for its acknowledgement."""
        topic_id = self.topic("pipelined")
        sent = self.produced["pipelined", 0]
        waiting = []
        for i in range(40):
            records = plain(5, 5 * i)
            batch = record_batch.encode_batch(records)
            waiting.append(self.client.send("Produce", batch, topic=self.schema.uuid(topic_id)))
            sent += records
        for i, correlation in enumerate(waiting):
            equal(self.client.reply(correlation, "Produced").body.BaseOffset(), 5 * i)

    def unacknowledged(self):
        """Correlation 0: no reply, and the record is there."""
        topic_id = self.topic("unacknowledged")
        waiting = self.subscribe(topic_id, 0, startAt=cairn.FROM_EARLIEST)
        self.client.send("Produce", record_batch.encode_batch(plain(2)), correlation=0,
                         topic=self.schema.uuid(topic_id))
        self.produced["unacknowledged", 0] += plain(2)
        equal(waiting.read(2), with_offsets(0, plain(2)))
        waiting.unsubscribe()

    def acknowledgements(self):
        for name, acks, reached in (
                ("durable", cairn.ACKS_DEFAULT, {cairn.DURABLE}),
                ("durable", cairn.ACKS_WRITTEN, {cairn.WRITTEN, cairn.DURABLE}),
                ("written", cairn.ACKS_DEFAULT, {cairn.WRITTEN, cairn.DURABLE}),
                ("written", cairn.ACKS_DURABLE, {cairn.DURABLE})):
            if (name, 0) not in self.produced:
                self.topic(name, 1, durability=name)
            topic, = self.client.metadata(name)
            answer = self.client.produce(bytes(topic.Id().Bytes()), 0,
                                         record_batch.encode_batch(plain(1)), acks=acks)
            self.produced[name, 0] += plain(1)
            if answer.Durability() not in reached:
                raise AssertionError(f"{name} with acks {acks} reached {answer.Durability()}")

    def bad_batches(self):
        topic_id = self.topic("unharmed", 1, max_message_bytes="4096")
        good = record_batch.encode_batch(plain(3))
        refuse = lambda code, batch: refusal(code, self.client.produce, topic_id, 0, batch)
        refuse(cairn.CORRUPT_BATCH, good[:-1] + bytes([good[-1] ^ 1]))  # the checksum
        refuse(cairn.CORRUPT_BATCH, good[:16] + b"\x01" + good[17:])  # the magic
        refuse(cairn.CORRUPT_BATCH, good[:-1])  # the batch ends early
        refuse(cairn.CORRUPT_BATCH, good + b"\0")  # something follows
        refuse(cairn.CORRUPT_BATCH, b"")
        covered = bytearray(good[record_batch.COVERED_FROM:])
        covered[-1] ^= 0x01  # the header count of the last record
        refuse(cairn.CORRUPT_BATCH, record_batch.seal(bytes(covered)))
        more = bytearray(good[record_batch.COVERED_FROM:])
        struct.pack_into(">i", more, 36, 4)  # the record count
        refuse(cairn.CORRUPT_BATCH, record_batch.seal(bytes(more)))
        gzip = bytearray(good[record_batch.COVERED_FROM:])
        gzip[1] = record_batch.CODEC_GZIP
        refuse(cairn.UNSUPPORTED_CODEC, record_batch.seal(bytes(gzip)))
        refuse(cairn.TOO_LARGE, record_batch.encode_batch([Record(NOW, None, bytes(5000), [])]))
        self.produce("unharmed", topic_id, 0, plain(3))
        equal(self.read_all(topic_id, 0), with_offsets(0, plain(3)))

    def unknown_places(self):
        nowhere = bytes.fromhex("00112233445566778899aabbccddeeff")
        batch = record_batch.encode_batch(plain(1))
        refusal(cairn.UNKNOWN_TOPIC, self.client.produce, nowhere, 0, batch)
        refusal(cairn.UNKNOWN_TOPIC, self.subscribe, nowhere, 0)
        refusal(cairn.UNKNOWN_TOPIC, self.client.list_offsets, nowhere, [(0, -1)])
        topic_id = self.topic("small")
        refusal(cairn.UNKNOWN_PARTITION, self.client.produce, topic_id, 1, batch)
        refusal(cairn.UNKNOWN_PARTITION, self.client.produce, topic_id, -1, batch)
        refusal(cairn.UNKNOWN_PARTITION, self.subscribe, topic_id, 7)
        refusal(cairn.OFFSET_OUT_OF_RANGE, self.subscribe, topic_id, 0, offset=1)
        refusal(cairn.INVALID_REQUEST, self.client.produce, topic_id, 0, batch, acks=9)
        refusal(cairn.INVALID_REQUEST, self.client.call, "Ping", "Pong", b"attached")

    def replayed(self):
        """30 batches of 10 records, 10 ms apart; used by the tests of subscriptions."""
        topic_id = self.topic("replayed")
        for i in range(30):
            codec = (CODEC_NONE, CODEC_ZSTD, CODEC_LZ4)[i % 3]
            self.produce("replayed", topic_id, 0, plain(10, 10 * i), codec=codec)
        expected = with_offsets(0, self.produced["replayed", 0])
        self.by_offset(topic_id, expected)
        self.by_time(topic_id, expected)
        self.bounded(topic_id, expected)
        self.latest(topic_id, expected)

    def by_offset(self, topic_id, expected):
        for offset in (0, 9, 10, 137, 299):
            subscription = self.subscribe(topic_id, 0, offset=offset)
            equal(subscription.start.StartOffset(), offset)
            equal((subscription.start.LogStart(), subscription.start.CommittedEnd()), (0, 300))
            equal(subscription.read(300 - offset), expected[offset:])
            subscription.unsubscribe()

    def by_time(self, topic_id, expected):
        for timestamp, offset in ((0, 0), (NOW, 0), (NOW + 1, 1), (NOW + 1370, 137),
                                  (NOW + 2990, 299), (NOW + 2991, 300)):
            subscription = self.subscribe(topic_id, 0, startAt=cairn.FROM_TIMESTAMP,
                                          timestamp=timestamp, stopAtPresentEnd=True)
            equal(subscription.start.StartOffset(), offset)
            equal(subscription.read_to_end(), expected[offset:])
        ends, middle, none, stranger = self.client.list_offsets(
            topic_id, [(0, -1), (0, NOW + 1365), (0, NOW + 10_000), (9, -1)])
        equal((ends.LogStart(), ends.CommittedEnd(), ends.Offset()), (0, 300, -1))
        equal((middle.Offset(), middle.Timestamp()), (137, NOW + 1370))
        equal((none.Offset(), none.Timestamp()), (300, -1))
        equal((stranger.Partition(), stranger.Code()), (9, cairn.UNKNOWN_PARTITION))

    def bounded(self, topic_id, expected):
        subscription = self.subscribe(topic_id, 0, offset=95, stopOffset=123)
        equal(subscription.start.StopOffset(), 123)
        equal(subscription.read_to_end(), expected[95:123])
        nearer = self.subscribe(topic_id, 0, offset=290, stopOffset=1000, stopAtPresentEnd=True)
        equal(nearer.read_to_end(), expected[290:])
        without_credit = self.subscribe(topic_id, 0, offset=300, stopAtPresentEnd=True, credit=0)
        equal(without_credit.read_to_end(), [])

    def goes_on_after_a_bound(self):
        """Whoever goes on at `next_offset` gets what comes next: nothing is skipped, nothing comes twice."""
        topic_id = self.topic("bounded")
        self.produce("bounded", topic_id, 0, plain(10))
        first = self.subscribe(topic_id, 0, offset=0, stopOffset=4)
        found = first.read_to_end()
        rest = self.subscribe(topic_id, 0, offset=first.ended.NextOffset(), stopAtPresentEnd=True)
        equal(found + rest.read_to_end(), with_offsets(0, plain(10)))

    def latest(self, topic_id, expected):
        subscription = self.subscribe(topic_id, 0, startAt=cairn.FROM_LATEST)
        equal(subscription.start.StartOffset(), len(expected))
        self.produce("replayed", topic_id, 0, plain(4, 300))
        equal(subscription.read(4), with_offsets(300, plain(4, 300)))
        subscription.unsubscribe()
        refusal(cairn.OFFSET_OUT_OF_RANGE, self.subscribe, topic_id, 0, offset=305)

    def credit(self):
        """Every push comes while there is credit, which Subscription checks; without it none comes."""
        topic_id = self.topic("credited")
        for i in range(40):
            self.produce("credited", topic_id, 0, plain(10, 10 * i))
        expected = with_offsets(0, self.produced["credited", 0])
        largest = len(record_batch.encode_batch(plain(10, 390)))

        for granted in (1, 1000, 4000):
            subscription = self.subscribe(topic_id, 0, startAt=cairn.FROM_EARLIEST,
                                          stopAtPresentEnd=True, credit=granted)
            equal(subscription.read_to_end(top_up=granted), expected)
            most = granted + largest
            if max(subscription.pushes) > most or len(subscription.pushes) < 3:
                raise AssertionError(f"credit {granted}, pushes of {subscription.pushes} bytes")

        held = self.subscribe(topic_id, 0, startAt=cairn.FROM_EARLIEST, credit=0)
        self.client.ping()
        equal((held.arrived(), held.pushes), ([], []))
        held.grant(1)
        first = held.read(10)
        self.client.ping()
        equal((first + held.arrived(), len(held.pushes)), (expected[:10], 1))
        held.grant(1 << 20)
        equal(held.read(390), expected[10:])
        refusal(cairn.DUPLICATE_SUBSCRIPTION, self.client.subscribe, held.number, topic_id, 0)
        held.unsubscribe()
        self.client.call("Unsubscribe", "Unsubscribed", subscription=held.number)  # none by now

    def trimmed(self):
        topic_id = self.topic("trimmed")
        self.produce("trimmed", topic_id, 0, plain(20))
        body = self.client.call("TrimTopic", "TopicTrimmed", name="trimmed", before=7).body
        equal(body.LogStart(), 7)
        refusal(cairn.OFFSET_OUT_OF_RANGE, self.subscribe, topic_id, 0, offset=6)
        equal(self.read_all(topic_id, 0), with_offsets(7, plain(13, 7)))

    def two_readers(self):
        """A reader on a connection of its own follows what another produces."""
        topic_id = self.topic("followed")
        found = []

        def follow():
            with cairn.Client(self.schema, self.daemon.address) as reader:
                found.extend(reader.subscribe(1, topic_id, 0, credit=1 << 20).read(100))

        follower = threading.Thread(target=follow)
        follower.start()
        for i in range(20):
            self.produce("followed", topic_id, 0, plain(5, 5 * i))
        follower.join(programs.PATIENCE_S)
        equal(found, with_offsets(0, plain(100)))

    def stored(self):
        """Last of all: what the files hold after a clean stop is what was produced, record by record."""
        self.client.close()
        self.daemon.stop()
        if not any(self.produced.values()):
            raise AssertionError("nothing was produced")
        for (name, partition), sent in self.produced.items():
            folder = self.daemon.partition_folder(name, partition)
            if not sent and not os.path.exists(folder):
                continue  # a partition that was never written to has no folder yet
            found = [cairn.Consumed(*entry[:5]) for entry in kafka_log.read_partition(folder)]
            equal(found, with_offsets(0, sent))


def main():
    given = programs.arguments()
    tally = programs.Tally()
    with programs.scratch_folder(given.scratch) as folder:
        schema = cairn.Schema(given.flatc, given.schema, folder)
        with programs.Daemon(given.cairnd, folder) as daemon:
            walk = Walk(daemon, schema)
            for sentence, test in (
                    ("Hello is answered by Welcome, Ping by Pong", walk.welcome),
                    ("another protocol version is refused, with the one that is spoken", walk.wrong_version),
                    ("metadata tells of topics, known and unknown", walk.metadata),
                    ("bad topics are refused, each with its code", walk.topics_refused),
                    ("null and empty keys, values and headers come back as sent, in every codec",
                     walk.peculiar_records),
                    ("a key's partition is XXH3 modulo their number", walk.keyed),
                    ("a repeated batch is answered with its first offset", walk.repeats),
                    ("a gap, an unknown producer and an old epoch are refused", walk.gaps),
                    ("batches sent without waiting are appended in order", walk.many_in_flight),
                    ("a batch without correlation is appended without a reply", walk.unacknowledged),
                    ("the durability reached is what was asked for, or more", walk.acknowledgements),
                    ("a damaged batch is refused and harms nothing", walk.bad_batches),
                    ("unknown topics and partitions and impossible fields are refused",
                     walk.unknown_places),
                    ("records are replayed by offset, time, from the end and up to a bound",
                     walk.replayed),
                    ("a bounded subscription says where to go on", walk.goes_on_after_a_bound),
                    ("nothing is pushed without credit", walk.credit),
                    ("trimmed records are gone, the others stay", walk.trimmed),
                    ("a reader follows a producer on another connection", walk.two_readers),
                    ("the files hold what was produced", walk.stored)):
                tally.run(sentence, test)
            if tally.failed:
                print(daemon.log_text())
    tally.close()


if __name__ == "__main__":
    main()
