"""The frames in data/wire-*.hex, which pin version 1 of the protocol, as another library reads them."""

import os
import re

import cairn_client as cairn
import programs
import record_batch
from programs import equal

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
PRODUCED = record_batch.Record(1_700_000_000_000, b"order-17", b"paid", [(b"source", b"web")])


def golden(name):
    with open(os.path.join(DATA, f"wire-{name}-v1.hex"), encoding="ascii") as file:
        return bytes.fromhex(file.read())


class WireFrames:
    def __init__(self, schema):
        self.schema = schema

    def decode(self, name, expected_type, correlation):
        data = golden(name)
        frame, taken = self.schema.decode_frame(data)
        equal((frame.name, frame.correlation, taken), (expected_type, correlation, len(data)))
        equal(self.schema.decode_frame(data[:-1]), None)
        return frame

    def hello(self):
        body = self.decode("hello", "Hello", 1).body
        equal((body.ProtocolVersion(), body.ClientId(), body.Software()), (1, b"demo", b"by-hand/1"))

    def welcome(self):
        body = self.decode("welcome", "Welcome", 1).body
        equal((body.ProtocolVersion(), body.FrameBytesMax(), body.Software(), body.FeaturesLength()),
              (1, 67_174_400, b"cairnd/0.1.0", 0))
        equal(bytes(body.ClusterId().Bytes()).hex(), "0badcafe00014def9abc102030405060")

    def produce(self):
        frame = self.decode("produce", "Produce", 2)
        equal(bytes(frame.body.Topic().Bytes()).hex(), "c0ffee0012344abc8def001122334455")
        equal((frame.body.Partition(), frame.body.Acks()), (3, cairn.ACKS_DURABLE))
        batch, records, size = record_batch.decode_batch(frame.attachment)
        equal((records, size), ([(0, PRODUCED)], len(frame.attachment)))
        equal((batch.producer_id, batch.producer_epoch, batch.base_sequence), (7, 0, 0))
        equal(record_batch.encode_batch([PRODUCED], producer=(7, 0), base_sequence=0),
              frame.attachment)

    def produced(self):
        body = self.decode("produced", "Produced", 2).body
        equal((body.BaseOffset(), body.Durability(), body.Duplicate()), (4096, cairn.DURABLE, False))

    def failure(self):
        body = self.decode("failure", "Failure", 2).body
        equal((body.Code(), body.Message()), (cairn.UNKNOWN_TOPIC, b"no such topic"))

    def own_frames(self):
        """What the client itself writes reads the same as the golden frame."""
        data = self.schema.encode_frame("Hello", 1, protocolVersion=1, clientId="demo",
                                        software="by-hand/1")
        frame, taken = self.schema.decode_frame(data)
        equal((frame.name, frame.correlation, taken % 8, taken), ("Hello", 1, 0, len(data)))
        equal((frame.body.ClientId(), frame.body.Software()), (b"demo", b"by-hand/1"))


def page_shows_the_files(page_path):
    with open(page_path, encoding="utf-8") as file:
        shown = dict(re.findall(r"```hex name=([a-z-]+)-frame\n(.*?)```", file.read(), re.S))
    equal({name: bytes.fromhex(text) for name, text in shown.items()},
          {name: golden(name) for name in ("hello", "welcome", "produce", "produced", "failure")})


def checksum_and_varints():
    equal(record_batch.crc32c(b"123456789"), 0xE3069283)
    for number, written in ((0, "00"), (-1, "01"), (1, "02"), (63, "7e"), (-64, "7f"), (64, "8001"),
                            (300, "d804"), (2**31 - 1, "feffffff0f")):
        out = bytearray()
        record_batch.put_varint(out, number)
        equal((out.hex(), record_batch.Cursor(out).varint()), (written, number))


def partitions_of_keys():
    counting = bytes(range(256)) * 4096
    for key, of_4, of_7 in ((b"", 2, 4), (b"a", 3, 1), (b"\0", 3, 2), (b"order-17", 2, 1),
                            (b"x" * 240, 0, 4), (b"x" * 241, 1, 2), (bytes(1 << 20), 0, 4),
                            (counting, 2, 2)):
        equal((cairn.partition_of(key, 4), cairn.partition_of(key, 7)), (of_4, of_7))


def main():
    given = programs.arguments()
    tally = programs.Tally()
    with programs.scratch_folder(given.scratch) as folder:
        frames = WireFrames(cairn.Schema(given.flatc, given.schema, folder))
        tally.run("Hello", frames.hello)
        tally.run("Welcome", frames.welcome)
        tally.run("Produce, with its batch written again to the same bytes", frames.produce)
        tally.run("Produced", frames.produced)
        tally.run("Failure", frames.failure)
        tally.run("a frame of this client's own", frames.own_frames)
        tally.run("WIRE.md shows the golden frames", page_shows_the_files, given.wire_page)
        tally.run("checksum and varints as WIRE.md has them", checksum_and_varints)
        tally.run("partitions of keys as WIRE.md has them", partitions_of_keys)
    tally.close()


if __name__ == "__main__":
    main()
