"""Record batches as Kafka describes them (RecordBatch, magic 2), written and read in plain Python.

Made from Kafka's public description of the format (https://kafka.apache.org/documentation/#recordbatch)
and RFC 3720 for the checksum; shares nothing with the C++ code that it is compared with.
"""

import collections
import struct

import lz4.frame
import zstandard

CODEC_NONE, CODEC_GZIP, CODEC_SNAPPY, CODEC_LZ4, CODEC_ZSTD = range(5)
CODEC_NAMES = {CODEC_NONE: "none", CODEC_LZ4: "lz4", CODEC_ZSTD: "zstd"}

CODEC_MASK = 0x07
APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40  # KIP-534: the base timestamp says from when on tombstones may go

UNPACKED_MAX = 256 << 20

# base offset, batch length, leader epoch, magic, crc, attributes, last offset delta, base timestamp,
# max timestamp, producer id, producer epoch, base sequence, record count
_HEADER = struct.Struct(">qiibIhiqqqhii")
# The same from the attributes on: what the checksum covers.
_COVERED = struct.Struct(">hiqqqhii")
HEADER_BYTES = _HEADER.size
LENGTH_END = 12
COVERED_FROM = 21

Batch = collections.namedtuple(
    "Batch",
    "base_offset batch_length leader_epoch magic crc attributes last_offset_delta base_timestamp"
    " max_timestamp producer_id producer_epoch base_sequence record_count")

# headers: a list of (name, value), both bytes; a key, a value or a header's value may be None (null).
Record = collections.namedtuple("Record", "timestamp key value headers")


class BadBatch(Exception):
    """The bytes are not a record batch as the description has it; says where and why."""


def _make_crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC_TABLE = _make_crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    table = _CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


# ---- varints ----


def put_varint(out, number):
    zigzag = (number << 1) ^ (number >> 63)
    while zigzag > 0x7F:
        out.append(0x80 | (zigzag & 0x7F))
        zigzag >>= 7
    out.append(zigzag)


class Cursor:
    """Reads numbers and byte strings one after another."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        if size < 0 or size > self.left():
            raise BadBatch(f"{size} bytes wanted at byte {self.at} of {len(self.data)}")
        self.at += size
        return bytes(self.data[self.at - size:self.at])

    def varint(self):
        zigzag = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            zigzag |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (zigzag >> 1) ^ -(zigzag & 1)
        raise BadBatch(f"a varint of more than 10 bytes ends at byte {self.at}")

    def nullable(self):
        size = self.varint()
        return None if size == -1 else self.take(size)


# ---- compression ----


def compress(codec, data):
    if codec == CODEC_NONE:
        return data
    if codec == CODEC_LZ4:
        return lz4.frame.compress(data, block_linked=False, store_size=False)
    if codec == CODEC_ZSTD:
        return zstandard.ZstdCompressor().compress(data)
    raise BadBatch(f"codec {codec} is not spoken here")


def decompress(codec, data):
    """Unpacks one block; it must be whole, and nothing may follow it."""
    if codec == CODEC_NONE:
        return data
    try:
        if codec == CODEC_LZ4:
            unpacker = lz4.frame.LZ4FrameDecompressor()
            unpacked = unpacker.decompress(data, max_length=UNPACKED_MAX)
        elif codec == CODEC_ZSTD:
            unpacker = zstandard.ZstdDecompressor().decompressobj()
            unpacked = unpacker.decompress(data)
        else:
            raise BadBatch(f"codec {codec} is not spoken here")
    except (RuntimeError, zstandard.ZstdError) as error:
        raise BadBatch(f"{CODEC_NAMES[codec]}: {error}") from error
    if not unpacker.eof:
        raise BadBatch(f"{CODEC_NAMES[codec]}: the frame does not end")
    if unpacker.unused_data:
        raise BadBatch(f"{CODEC_NAMES[codec]}: {len(unpacker.unused_data)} bytes follow the frame")
    return unpacked


# ---- writing ----


def _put_nullable(out, data):
    if data is None:
        put_varint(out, -1)
    else:
        put_varint(out, len(data))
        out += data


def _encode_record(record, offset_delta, base_timestamp):
    body = bytearray([0])
    put_varint(body, record.timestamp - base_timestamp)
    put_varint(body, offset_delta)
    _put_nullable(body, record.key)
    _put_nullable(body, record.value)
    put_varint(body, len(record.headers))
    for name, value in record.headers:
        put_varint(body, len(name))
        body += name
        _put_nullable(body, value)
    whole = bytearray()
    put_varint(whole, len(body))
    return whole + body


def encode_batch(records, codec=CODEC_NONE, producer=(-1, -1), base_sequence=-1):
    """One batch as a producer sends it: base offset and leader epoch are left 0 for the broker."""
    base_timestamp = records[0].timestamp
    payload = b"".join(_encode_record(record, delta, base_timestamp)
                       for delta, record in enumerate(records))
    covered = _COVERED.pack(
        codec, len(records) - 1, base_timestamp, max(record.timestamp for record in records),
        producer[0], producer[1], base_sequence, len(records)) + compress(codec, payload)
    return seal(covered)


def seal(covered):
    """Puts the part before the checksum, and the checksum, in front of what it covers."""
    length = COVERED_FROM - LENGTH_END + len(covered)
    return struct.pack(">qiibI", 0, length, 0, 2, crc32c(covered)) + covered


# ---- reading ----


def read_header(data):
    """The header of the batch at the start of `data`, of which at least HEADER_BYTES must be there."""
    if len(data) < HEADER_BYTES:
        raise BadBatch(f"{len(data)} bytes are less than a batch header")
    header = Batch(*_HEADER.unpack_from(data))
    if header.magic != 2:
        raise BadBatch(f"magic is {header.magic}, not 2")
    if header.batch_length < HEADER_BYTES - LENGTH_END:
        raise BadBatch(f"batch length {header.batch_length} is less than its header")
    return header


def decode_batch(data):
    """(header, [(offset, Record)…], bytes taken) of the batch at the start of `data`."""
    header = read_header(data)
    end = LENGTH_END + header.batch_length
    if end > len(data):
        raise BadBatch(f"the batch takes {end} bytes, {len(data)} are there")
    crc = crc32c(data[COVERED_FROM:end])
    if crc != header.crc:
        raise BadBatch(f"checksum is {header.crc:#010x}, the bytes have {crc:#010x}")
    known = CODEC_MASK | APPEND_TIME | TRANSACTIONAL | CONTROL | DELETE_HORIZON
    if header.attributes & ~known:
        raise BadBatch(f"unknown attributes {header.attributes:#06x}")
    cursor = Cursor(decompress(header.attributes & CODEC_MASK, data[HEADER_BYTES:end]))
    records = [_decode_record(cursor, header) for _ in range(header.record_count)]
    if cursor.left():
        raise BadBatch(f"{cursor.left()} bytes follow the last record")
    return header, records, end


def decode_batches(data):
    """All batches of an attachment, one after another: yields (header, [(offset, Record)…])."""
    data = memoryview(data)
    at = 0
    while at < len(data):
        header, records, size = decode_batch(data[at:])
        yield header, records
        at += size


def _decode_record(outer, header):
    cursor = Cursor(outer.take(outer.varint()))
    if cursor.take(1) != b"\0":
        raise BadBatch("a record has attributes")
    timestamp = header.base_timestamp + cursor.varint()
    if header.attributes & APPEND_TIME:
        timestamp = header.max_timestamp
    offset = header.base_offset + cursor.varint()
    key = cursor.nullable()
    value = cursor.nullable()
    headers = []
    for _ in range(cursor.varint()):
        name = cursor.take(cursor.varint())
        headers.append((name, cursor.nullable()))
    if cursor.left():
        raise BadBatch(f"{cursor.left()} bytes too many in the record at offset {offset}")
    return offset, Record(timestamp, key, value, headers)
