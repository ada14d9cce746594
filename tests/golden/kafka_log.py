"""Reads the .log files of a partition: segments of Kafka record batches, independent of the C++ code.

    kafka_log.py DIR        one JSON object per record, in offset order

Every batch is verified: magic, checksum, that it and its records follow the ones before without a gap
(in segments that compaction cleaned, named .g1.log and so on: that offsets rise), and that only zeros,
and only in the last segment, come after the last batch.
"""

import base64
import collections
import json
import os
import re
import sys

import record_batch

# batch: the record_batch.Batch that the record stands in
Entry = collections.namedtuple("Entry", "offset timestamp key value headers batch")


class DamagedLog(Exception):
    def __init__(self, path, position, reason):
        super().__init__(f"{path}, position {position}: {reason}")
        self.path, self.position, self.reason = path, position, reason


SEGMENT_NAME = re.compile(r"(\d{20})(?:\.g(\d+))?\.log")


def segments(directory):
    """(base offset, generation, path) of each segment in order. The names are the base offset in 20
    digits, and a generation if the segment was cleaned; the newest of a base counts."""
    found = {}
    for name in os.listdir(directory):
        match = SEGMENT_NAME.fullmatch(name)
        if match:
            base, generation = int(match[1]), int(match[2] or 0)
            found[base] = max(found.get(base, (0, "")), (generation, os.path.join(directory, name)))
    return [(base, generation, path) for base, (generation, path) in sorted(found.items())]


def read_partition(directory):
    """Yields an Entry for each record. Raises DamagedLog at the first thing that is not right."""
    found = segments(directory)
    last = None
    for base, generation, path in found:
        expected = base if last is None else last.base_offset + last.last_offset_delta + 1
        if base < expected:
            continue  # a cleaned segment in front reaches over it
        cleaned = generation > 0
        for position, batch, records in read_segment(path, path == found[-1][2], cleaned):
            expected = base if last is None else last.base_offset + last.last_offset_delta + 1
            if batch.base_offset < expected or (batch.base_offset > expected and not cleaned):
                raise DamagedLog(path, position, f"offset {batch.base_offset} follows {expected - 1}")
            if last is not None and batch.leader_epoch < last.leader_epoch:
                raise DamagedLog(path, position, "the leader epoch falls from"
                                 f" {last.leader_epoch} to {batch.leader_epoch}")
            if position == 0 and batch.base_offset != base and not cleaned:
                raise DamagedLog(path, 0, f"begins with offset {batch.base_offset}")
            last = batch
            for offset, record in records:
                yield Entry(offset, *record, batch)


def read_segment(path, may_end_in_zeros, cleaned=False):
    """Yields (position, Batch, [(offset, Record)…]) for each batch of a segment."""
    with open(path, "rb") as file:
        data = memoryview(file.read())
    at = 0
    while at < len(data):
        if not any(data[at:at + record_batch.LENGTH_END]):
            if may_end_in_zeros and not any(data[at:]):
                return
            raise DamagedLog(path, at, "zeros where a batch should be")
        try:
            batch, records, size = record_batch.decode_batch(data[at:])
        except record_batch.BadBatch as error:
            raise DamagedLog(path, at, str(error)) from error
        offsets = [offset - batch.base_offset for offset, _ in records]
        rising = all(a < b for a, b in zip([-1] + offsets, offsets + [batch.last_offset_delta + 1]))
        dense = offsets == list(range(len(records))) and batch.last_offset_delta == len(records) - 1
        if not (rising if cleaned else dense and records):
            raise DamagedLog(path, at, f"record offsets are not dense: {offsets[:10]}…,"
                             f" last {batch.last_offset_delta}")
        yield at, batch, records
        at += size


def _text(data):
    """Text where it is UTF-8, else {"base64": …}; null stays null."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def as_json(entry):
    batch = entry.batch
    return json.dumps({
        "offset": entry.offset,
        "timestamp": entry.timestamp,
        "key": _text(entry.key),
        "value": _text(entry.value),
        "headers": [[_text(name), _text(value)] for name, value in entry.headers],
        "batch": {
            "base_offset": batch.base_offset,
            "leader_epoch": batch.leader_epoch,
            "codec": record_batch.CODEC_NAMES[batch.attributes & record_batch.CODEC_MASK],
            "producer_id": batch.producer_id,
            "producer_epoch": batch.producer_epoch,
            "base_sequence": batch.base_sequence,
            "record_count": batch.record_count,
        },
    }, ensure_ascii=False)


def main():
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for entry in read_partition(sys.argv[1]):
            print(as_json(entry))
    except (DamagedLog, OSError) as error:
        print(f"kafka_log.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
