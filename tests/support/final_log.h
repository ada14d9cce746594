#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_format.h"

#include "tests/support/history.h"

namespace cairn::test {

// "producer 2, number 17"
inline std::string TextOf(Value value) {
  return absl::StrFormat("producer %d, number %d", ProducerOf(value), SequenceOf(value));
}

// A partition as it was read when all was over, to be looked up by offset and by value. Borrows.
class FinalLog {
 public:
  FinalLog(const PartitionRules& rules, const FinalRead& read, std::int64_t keys_per_producer)
      : rules_(&rules), read_(&read), keys_per_producer_(keys_per_producer) {
    by_value_.reserve(read.records.size());
    for (const FinalRead::Record& record : read.records) {
      by_value_.emplace_back(record.value, record.offset);
      if (rules.keeps == PartitionRules::Keeps::kNewestOfKey) {
        std::int64_t& newest = newest_of_key_[KeyOf(record.value)];
        newest = std::max(newest, record.offset);
      }
    }
    std::sort(by_value_.begin(), by_value_.end());
    // As a damaged log may be read in any order.
    by_offset_ = read.records;
    std::sort(by_offset_.begin(), by_offset_.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
  }

  const PartitionRules& rules() const { return *rules_; }

  std::optional<Value> ValueAt(std::int64_t offset) const {
    const auto found =
        std::lower_bound(by_offset_.begin(), by_offset_.end(), offset,
                         [](const auto& record, std::int64_t o) { return record.offset < o; });
    if (found == by_offset_.end() || found->offset != offset) return std::nullopt;
    return found->value;
  }

  // The first, if there are several.
  std::optional<std::int64_t> OffsetOf(Value value) const {
    const auto found =
        std::lower_bound(by_value_.begin(), by_value_.end(), std::pair(value, INT64_MIN));
    if (found == by_value_.end() || found->first != value) return std::nullopt;
    return found->second;
  }

  // Whether retention or compaction accounts for its absence.
  bool MayBeGone(std::int64_t offset, Value value) const {
    if (rules_->keeps == PartitionRules::Keeps::kAll) return false;
    if (offset < read_->log_start) return true;
    if (rules_->keeps != PartitionRules::Keeps::kNewestOfKey) return false;
    const auto newest = newest_of_key_.find(KeyOf(value));
    return newest != newest_of_key_.end() && newest->second > offset;
  }

  template <typename Visit>
  void ForEachDuplicate(Visit visit) const {
    for (std::size_t i = 1; i < by_value_.size(); ++i) {
      if (by_value_[i].first != by_value_[i - 1].first) continue;
      visit(by_value_[i - 1].second, by_value_[i].second, by_value_[i].first);
    }
  }

 private:
  Value KeyOf(Value value) const {
    return MakeValue(ProducerOf(value), SequenceOf(value) % keys_per_producer_);
  }

  const PartitionRules* rules_;
  const FinalRead* read_;
  std::int64_t keys_per_producer_;
  std::vector<std::pair<Value, std::int64_t>> by_value_;
  std::vector<FinalRead::Record> by_offset_;
  absl::flat_hash_map<Value, std::int64_t> newest_of_key_;
};

}  // namespace cairn::test
