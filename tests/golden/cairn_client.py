"""A little client, written from protocol/WIRE.md and protocol/cairn.fbs alone.

It is there to show that the page is enough, and that the broker does what the page says. One
connection, one thread: a call sends its request and reads until the reply is there, keeping pushes for
whoever asks for them. Names of the fields are those that flatc makes for Python (`BaseOffset()`).
"""

import collections
import importlib
import os
import socket
import struct
import subprocess
import sys

import flatbuffers
import xxhash

import record_batch

CONTROL_BYTES_MAX = 1 << 20
IDENTIFIER = b"CRN1"
_FRAME_HEADER = struct.Struct("<II")

# §9
(OK, INTERNAL, MALFORMED, UNSUPPORTED_VERSION, INVALID_REQUEST, UNKNOWN_TOPIC, UNKNOWN_PARTITION,
 TOPIC_EXISTS, INVALID_TOPIC_NAME, INVALID_CONFIG, OFFSET_OUT_OF_RANGE, TOO_LARGE, CORRUPT_BATCH,
 UNSUPPORTED_CODEC, OUT_OF_ORDER_SEQUENCE, STALE_PRODUCER_EPOCH, UNKNOWN_PRODUCER, STORAGE_FULL,
 STORAGE_FAILED, PARTITION_OFFLINE, OUTCOME_UNKNOWN, STOPPING, TOO_MANY_CONNECTIONS,
 TOO_MANY_IN_FLIGHT, TIMED_OUT, TRUNCATED, TRIMMED, NOT_SUPPORTED, PERMISSION_DENIED,
 DUPLICATE_SUBSCRIPTION, INTERNAL_TOPIC) = range(31)

ACKS_DEFAULT, ACKS_NONE, ACKS_WRITTEN, ACKS_DURABLE = range(4)
WRITTEN, DURABLE = 1, 2
FROM_OFFSET, FROM_EARLIEST, FROM_LATEST, FROM_TIMESTAMP = range(4)

Frame = collections.namedtuple("Frame", "name correlation body attachment")
# A record that was consumed.
Consumed = collections.namedtuple("Consumed", "offset timestamp key value headers")


class ProtocolError(Exception):
    """The other side did not keep to WIRE.md."""


class Refused(Exception):
    """A Failure: its code is one of those above."""

    def __init__(self, code, message):
        super().__init__(f"error {code}: {message}")
        self.code, self.message = code, message


def partition_of(key, partition_count):
    return xxhash.xxh3_64_intdigest(key) % partition_count


class Schema:
    """The Python modules that flatc makes of cairn.fbs, in a folder of the caller's."""

    def __init__(self, flatc, schema, folder):
        subprocess.run([flatc, "--python", "--gen-object-api", "-o", folder, schema], check=True)
        sys.path.insert(0, folder)
        self._tables = {}
        numbers = vars(self._module("Body").Body)
        self.body_names = {number: name for name, number in numbers.items()
                           if isinstance(number, int) and number > 0}
        self.body_numbers = {name: number for number, name in self.body_names.items()}

    @staticmethod
    def _module(name):
        return importlib.import_module(f"cairn.wire.{name}")

    def make(self, table, /, **fields):
        """An object to send, of a table or struct; the fields have flatc's names (startAt)."""
        made = getattr(self._module(table), f"{table}T")()
        for field, value in fields.items():
            if not hasattr(made, field):
                raise AttributeError(f"{table} has no field {field}")
            setattr(made, field, value)
        return made

    def uuid(self, topic_id):
        return self.make("Uuid", bytes=topic_id)

    def encode_frame(self, message_type, correlation, attachment=b"", /, **fields):
        """§2"""
        message = self.make("Message", correlation=correlation, bodyType=self.body_numbers[message_type],
                            body=self.make(message_type, **fields))
        builder = flatbuffers.Builder(256)
        builder.Finish(message.Pack(builder), file_identifier=IDENTIFIER)
        control = bytes(builder.Output())
        control += bytes(-len(control) % 8)
        size = len(control) + len(attachment)
        return _FRAME_HEADER.pack(size, len(control)) + control + attachment + bytes(-size % 8)

    def decode_frame(self, data):
        """(Frame, bytes taken), or None while more bytes are needed."""
        if len(data) < _FRAME_HEADER.size:
            return None
        size, control_size = _FRAME_HEADER.unpack_from(data)
        if not 0 < control_size <= min(size, CONTROL_BYTES_MAX) or control_size % 8:
            raise ProtocolError(f"a frame with size {size} and control_size {control_size}")
        end = _FRAME_HEADER.size + size
        taken = end + -end % 8
        if len(data) < taken:
            return None
        if any(data[end:taken]):
            raise ProtocolError("the padding of a frame is not zero")
        control = bytes(data[8:8 + control_size])
        if control[4:8] != IDENTIFIER:
            raise ProtocolError(f"file identifier {control[4:8]}")
        message = self._module("Message").Message.GetRootAs(control, 0)
        name = self.body_names.get(message.BodyType())
        table = message.Body()
        if name is None or table is None:
            raise ProtocolError(f"a message with body type {message.BodyType()}")
        body = getattr(self._module(name), name)()
        body.Init(table.Bytes, table.Pos)
        return Frame(name, message.Correlation(), body, bytes(data[8 + control_size:end])), taken


class Client:
    """One connection, greeted. Raises Refused for a Failure, ProtocolError for what WIRE.md forbids,
    TimeoutError where nothing comes for `patience` seconds, ConnectionError where it ends."""

    def __init__(self, schema, address, patience=30, client_id="golden", version=1):
        self.schema = schema
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=patience)
        self.received = bytearray()
        self.correlation = 0
        self.replies = {}
        self.subscriptions = {}
        try:
            self.welcome = self.call("Hello", "Welcome", protocolVersion=version, clientId=client_id,
                                     software="golden/1").body
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    # ---- requests and replies (§3) ----

    def send(self, message_type, attachment=b"", /, correlation=None, **fields):
        """Sends a request without waiting for its reply; gives the correlation."""
        if correlation is None:
            self.correlation += 1
            correlation = self.correlation
        self.socket.sendall(self.schema.encode_frame(message_type, correlation, attachment,
                                                     **fields))
        return correlation

    def reply(self, correlation, expected):
        """Waits for the reply to `correlation`, of the message type `expected`."""
        while correlation not in self.replies:
            self._receive()
        frame = self.replies.pop(correlation)
        if frame.name == "Failure":
            raise Refused(frame.body.Code(), (frame.body.Message() or b"").decode())
        if frame.name != expected:
            raise ProtocolError(f"{frame.name} where {expected} was expected")
        return frame

    def call(self, message_type, expected, attachment=b"", /, **fields):
        return self.reply(self.send(message_type, attachment, **fields), expected)

    def _receive(self):
        """Reads one frame and puts it where it belongs."""
        while (decoded := self.schema.decode_frame(self.received)) is None:
            data = self.socket.recv(1 << 16)
            if not data:
                raise ConnectionError("the broker has closed the connection")
            self.received += data
        frame, taken = decoded
        del self.received[:taken]
        if frame.correlation != 0:
            self.replies[frame.correlation] = frame
            if frame.name == "Subscribed":
                self.subscriptions[frame.correlation].begin(frame.body)
        elif frame.name == "Ping":
            self.send("Pong", correlation=0)
        elif frame.name == "Failure":
            raise Refused(frame.body.Code(), (frame.body.Message() or b"").decode())
        elif frame.name in ("Batches", "SubscriptionEnded"):
            self._subscription(frame.body.Subscription()).take(frame)
        else:
            raise ProtocolError(f"{frame.name} was pushed")

    def _subscription(self, number):
        for subscription in self.subscriptions.values():
            if subscription.number == number:
                return subscription
        raise ProtocolError(f"a push for the unknown subscription {number}")

    # ---- messages ----

    def ping(self):
        self.call("Ping", "Pong")

    def create_topic(self, name, partitions, **configs):
        """The topic's id. Configs are named with _ for the dot."""
        entries = [self.schema.make("ConfigEntry", name=name.replace("_", "."), value=value)
                   for name, value in configs.items()]
        reply = self.call("CreateTopic", "TopicCreated", name=name, partitions=partitions,
                          configs=entries)
        return bytes(reply.body.Id().Bytes())

    def metadata(self, *names):
        """The TopicMetadata of each name, in the order asked."""
        body = self.call("Metadata", "MetadataReply", topics=list(names)).body
        return [body.Topics(i) for i in range(body.TopicsLength())]

    def init_producer(self, producer=(-1, -1)):
        """(id, epoch)"""
        body = self.call("InitProducer", "ProducerReady", producerId=producer[0],
                         producerEpoch=producer[1]).body
        return body.ProducerId(), body.ProducerEpoch()

    def produce(self, topic_id, partition, batch, acks=ACKS_DEFAULT):
        """Produced{BaseOffset, Durability, Duplicate}"""
        return self.call("Produce", "Produced", batch, topic=self.schema.uuid(topic_id),
                         partition=partition, acks=acks).body

    def list_offsets(self, topic_id, queries):
        """PartitionOffsets for each (partition, timestamp or -1)."""
        made = [self.schema.make("OffsetQuery", partition=partition, timestamp=timestamp)
                for partition, timestamp in queries]
        body = self.call("ListOffsets", "OffsetsReply", topic=self.schema.uuid(topic_id),
                         queries=made).body
        return [body.Partitions(i) for i in range(body.PartitionsLength())]

    def subscribe(self, number, topic_id, partition, **fields):
        """Subscribe with flatc's names: startAt, offset, timestamp, credit, stopAtPresentEnd, …"""
        subscription = Subscription(self, number, fields.get("credit", 0))
        correlation = self.send("Subscribe", subscription=number, topic=self.schema.uuid(topic_id),
                                partition=partition, **fields)
        self.subscriptions[correlation] = subscription
        subscription.correlation = correlation
        try:
            self.reply(correlation, "Subscribed")
        except Refused:
            del self.subscriptions[correlation]
            raise
        return subscription


class Subscription:
    """What is pushed for one subscription, verified and trimmed (§6)."""

    def __init__(self, client, number, credit):
        self.client = client
        self.number = number
        self.balance = credit
        self.correlation = None
        self.start = None
        self.ended = None  # the SubscriptionEnded, once it has come
        self.pushes = []  # the size of each attachment
        self.committed_end = None
        self.next_offset = None
        self._records = collections.deque()

    def begin(self, subscribed):
        self.start = subscribed
        self.next_offset = subscribed.StartOffset()
        self.committed_end = subscribed.CommittedEnd()

    def take(self, frame):
        """A push has come."""
        if self.start is None:
            raise ProtocolError("a push before Subscribed")
        if self.ended is not None:
            raise ProtocolError("a push after SubscriptionEnded")
        if frame.name == "SubscriptionEnded":
            self.ended = frame.body
            return
        if self.balance <= 0:
            raise ProtocolError(f"pushed without credit ({self.balance})")
        self.balance -= len(frame.attachment)
        self.pushes.append(len(frame.attachment))
        self.committed_end = frame.body.CommittedEnd()
        for batch, records in record_batch.decode_batches(frame.attachment):
            self._take_batch(batch, records)

    def _take_batch(self, batch, records):
        # Topics here are never compacted, so there are no gaps; only the first may begin earlier.
        first = self.next_offset == self.start.StartOffset()
        if batch.base_offset > self.next_offset or (batch.base_offset < self.next_offset and not first):
            raise ProtocolError(f"a batch at {batch.base_offset} where {self.next_offset} comes next")
        stop = self.start.StopOffset()
        for offset, record in records:
            if offset >= self.next_offset and (stop == -1 or offset < stop):
                self._records.append(Consumed(offset, *record))
        self.next_offset = batch.base_offset + batch.last_offset_delta + 1

    def read(self, count):
        """Waits for `count` records."""
        while len(self._records) < count:
            if self.ended is not None:
                raise ProtocolError(f"ended with {self.ended.Code()} before {count} records came")
            self.client._receive()
        return [self._records.popleft() for _ in range(count)]

    def read_to_end(self, top_up=0):
        """Waits until a bounded subscription has ended; grants portions of `top_up` whenever the credit is used up."""
        while self.ended is None:
            while top_up and self.balance <= 0:
                self.grant(top_up)
            self.client._receive()
        if self.ended.Code() != OK:
            raise Refused(self.ended.Code(), (self.ended.Message() or b"").decode())
        return self.arrived()

    def arrived(self):
        """The records that are there already."""
        records = list(self._records)
        self._records.clear()
        return records

    def grant(self, size):
        self.balance += size
        self.client.send("Credit", correlation=0, subscription=self.number, bytes=size)

    def unsubscribe(self):
        self.client.call("Unsubscribe", "Unsubscribed", subscription=self.number)
        del self.client.subscriptions[self.correlation]
