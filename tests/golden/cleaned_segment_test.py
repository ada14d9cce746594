"""The segment in data/cleaned-log-v1.hex, which pins what compaction leaves, as kafka_log.py reads it."""

import os

import kafka_log
import programs
import record_batch
from programs import equal

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
NOW = 1_700_000_000_000
DAY_MS = 24 * 3600 * 1000


class CleanedSegment:
    def __init__(self, folder):
        self.folder = folder
        with open(os.path.join(DATA, "cleaned-log-v1.hex"), encoding="ascii") as file:
            data = bytes.fromhex(file.read())
        self.path = os.path.join(folder, "00000000000000000000.g1.log")
        with open(self.path, "wb") as file:
            file.write(data)

    def records(self):
        found = [entry[:5] for entry in kafka_log.read_partition(self.folder)]
        equal(found, [(1, NOW + 7, b"b", b"2", []),
                      (3, NOW + 8, b"a", None, []),
                      (4, NOW + 9, b"c", b"3", []),
                      (6, NOW, b"e", b"new", []),
                      (7, NOW, b"d", b"new", [])])

    def batches(self):
        """Offsets rise and are never given anew; the last batch ends where the segment does."""
        batches = [batch for _, batch, _ in kafka_log.read_segment(self.path, False, cleaned=True)]
        equal([(batch.base_offset, batch.last_offset_delta, batch.record_count)
               for batch in batches],
              [(0, 1, 1), (3, 1, 2), (5, 0, 0), (6, 1, 2)])

    def tombstone(self):
        """A batch that keeps one says until when, in the place of its base timestamp."""
        _, dated, *_ = [batch for _, batch, _ in
                        kafka_log.read_segment(self.path, False, cleaned=True)]
        equal((dated.attributes, dated.base_timestamp, dated.max_timestamp),
              (record_batch.DELETE_HORIZON, NOW + 60_000 + DAY_MS, NOW + 9))

    def empty(self):
        """A batch without records still tells of its producer."""
        _, _, empty, _ = [batch for _, batch, _ in
                          kafka_log.read_segment(self.path, False, cleaned=True)]
        equal((empty.producer_id, empty.producer_epoch, empty.base_sequence), (1000, 0, 2))
        equal((empty.attributes, empty.base_timestamp, empty.max_timestamp), (0, -1, -1))

    def as_if_never_cleaned(self):
        """The gaps are allowed for the generation in the name alone."""
        try:
            list(kafka_log.read_segment(self.path, False))
        except kafka_log.DamagedLog:
            return
        raise AssertionError("read without a complaint")


def main():
    given = programs.arguments()
    tally = programs.Tally()
    with programs.scratch_folder(given.scratch) as folder:
        segment = CleanedSegment(folder)
        for sentence, test in (
                ("the records that compaction left are read", segment.records),
                ("its batches keep their offsets", segment.batches),
                ("a tombstone's batch has its delete horizon", segment.tombstone),
                ("an empty batch keeps its producer", segment.empty),
                ("as a segment that was never cleaned it is damaged", segment.as_if_never_cleaned)):
            tally.run(sentence, test)
    tally.close()


if __name__ == "__main__":
    main()
