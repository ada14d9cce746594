// Random logs against a plain list of what was sent, a crash at every step of a cleaning, and
// anything else between two of its steps.
#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "tests/storage/compacted_log.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRetention = 1000;

class Model {
 public:
  explicit Model(unsigned seed) : random_(seed), log_(Options(), MemoryRoot()) {}

  CompactedLog& log() { return log_; }
  const std::vector<Seen>& sent() const { return sent_; }
  int Draw(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  void SendSome(int batches) {
    for (int i = 0; i < batches; ++i) {
      std::vector<Sent> records;
      const int count = 1 + Draw(6);
      for (int j = 0; j < count; ++j) {
        Sent record;
        if (Draw(40) > 0) record.key = "key" + std::to_string(Draw(30));
        if (Draw(6) > 0) record.value = std::string(static_cast<std::size_t>(Draw(60)), 'v');
        record.timestamp = kNow + Draw(100'000);
        records.push_back(std::move(record));
      }
      constexpr Codec kCodecs[] = {Codec::kNone, Codec::kLz4, Codec::kZstd};
      const int producer = Draw(4);
      Offset base;
      if (producer == 0) {
        base = log_.Send(records, kCodecs[Draw(3)]);
      } else {
        std::int32_t& next = sequences_[producer];
        base = log_.Send(records, kCodecs[Draw(3)], ProducerId(producer), next);
        next += count;
      }
      for (const Sent& record : records) {
        sent_.push_back({base, record.timestamp, record.key, record.value});
        base = base + 1;
      }
    }
  }

  // What must be there at least once all below `clean` is clean, and what may be beside it: the
  // newest of each key; tombstones, if they have not had their time.
  void Check(Offset clean, bool tombstones_due) {
    std::map<std::string, Offset> newest;
    for (const Seen& each : sent_) {
      if (each.key && each.offset < clean) newest[*each.key] = each.offset;
    }
    std::vector<Seen> expected;
    for (const Seen& each : sent_) {
      if (each.offset < log_.log().log_start()) continue;
      const bool stays = !each.key || each.offset >= clean || newest[*each.key] == each.offset;
      if (stays) expected.push_back(each);
    }
    std::vector<Seen> found = log_.Records();
    if (tombstones_due) {
      // They may be gone or not; the rest is exact.
      const auto is_old = [&](const Seen& seen) { return !seen.value && seen.offset < clean; };
      for (const Seen& seen : found) {
        CHECK(std::find(expected.begin(), expected.end(), seen) != expected.end());
      }
      std::erase_if(expected, is_old);
      std::erase_if(found, is_old);
    }
    REQUIRE(found == expected);
  }

  void CheckReads() {
    const std::vector<Seen> all = log_.Records();
    for (Offset from = log_.log().log_start(); from < log_.log().log_end(); from = from + 1) {
      std::vector<Seen> expected;
      for (const Seen& seen : all) {
        if (seen.offset >= from) expected.push_back(seen);
      }
      const std::vector<Seen> found = log_.Records(from, static_cast<std::size_t>(1 + Draw(900)));
      REQUIRE(found == expected);
    }
    for (int i = 0; i < 50; ++i) {
      const Timestamp time = kNow + Draw(110'000);
      const auto found =
          Log::FindTime(log_.log().Segments(), time, log_.log().log_start(), log_.log().log_end());
      REQUIRE(found.ok());
      const auto expected = std::find_if(all.begin(), all.end(),
                                         [&](const Seen& seen) { return seen.timestamp >= time; });
      REQUIRE(found->has_value() == (expected != all.end()));
      if (found->has_value()) CHECK((*found)->offset == expected->offset);
    }
  }

 private:
  static LogOptions Options() {
    LogOptions options = CompactedOptions();
    options.segment_bytes = 1500;
    options.compaction.delete_retention_ms = kRetention;
    return options;
  }

  std::mt19937 random_;
  CompactedLog log_;
  std::vector<Seen> sent_;
  std::map<int, std::int32_t> sequences_;
};

// One cleaning, as the partition does it, in steps.
class Cleaning {
 public:
  Cleaning(CompactionPlan plan, const Compactor::Options& options, Timestamp now)
      : compactor_(std::move(plan), options, now) {}

  // False: it is over. Only what was dropped meanwhile may end it before its time.
  bool Step(Log& log) {
    if (!dropped_.empty()) {
      REQUIRE(dropped_.back()->Remove().ok());
      dropped_.pop_back();
      return true;
    }
    if (swap_.has_value()) {
      REQUIRE(log.FinishTrim(*swap_, swap_->Sync()).ok());
      dropped_ = std::move(swap_->dropped);
      swap_.reset();
      return true;
    }
    if (cleaned_.has_value()) return Swap(log);
    if (!std::exchange(has_keys_, true)) return GoesOn(compactor_.ReadKeys());
    absl::StatusOr<std::optional<CleanedSegment>> next = compactor_.Next();
    if (!GoesOn(next.status())) return false;
    cleaned_ = *std::move(next);
    return cleaned_.has_value();
  }
  int swaps() const { return swaps_; }

 private:
  static bool GoesOn(const absl::Status& status) {
    INFO(status.ToString());
    REQUIRE((status.ok() || absl::IsAborted(status)));
    return status.ok();
  }
  bool Swap(Log& log) {
    const CleanedSegment cleaned = *std::exchange(cleaned_, std::nullopt);
    absl::StatusOr<Log::Trim> swap = log.Swap(cleaned);
    if (!GoesOn(swap.status())) {
      REQUIRE(cleaned.segment->Remove().ok());
      return false;
    }
    swap_ = *std::move(swap);
    ++swaps_;
    return true;
  }

  Compactor compactor_;
  bool has_keys_ = false;
  std::optional<CleanedSegment> cleaned_;
  std::optional<Log::Trim> swap_;
  std::vector<std::shared_ptr<Segment>> dropped_;
  int swaps_ = 0;
};

// Random things that are done to a log while it is cleaned.
class BusyModel {
 public:
  explicit BusyModel(unsigned seed) : model_(seed) {}

  int swaps() const { return swaps_; }

  void Step() {
    const int choice = model_.Draw(100);
    if (choice < 25) return model_.SendSome(1 + model_.Draw(3));
    if (choice < 60) return Clean();
    if (choice < 66) return Sync();
    if (choice < 74) return model_.log().SealAll();
    if (choice < 78) return (void)model_.log().log().RollIfOld(kNow + (std::int64_t{1} << 50));
    if (choice < 82) return (void)model_.log().log().CloseIdle();
    if (choice < 84) return Trim();
    if (choice < 95) return Read();
    if (choice < 98) return Restart();
    now_ = now_ + model_.Draw(400);
  }
  void Finish() {
    while (cleaning_ != nullptr) Clean();
    model_.log().SealEverything();
    model_.log().CleanAll(now_);
    model_.Check(model_.log().log().log_end(), TombstonesAreDue());
    model_.log().Reopen();
    model_.Check(model_.log().log().log_end(), TombstonesAreDue());
    CHECK(Damages(model_.log().data()).empty());
  }
  // Nothing but what a newer record stands against is missing, and nothing beyond the reach of any
  // cleaning.
  void Look() {
    const std::vector<Seen> found = model_.log().Records();
    std::map<std::string, Offset> newest_sent;
    std::map<std::string, Offset> newest_found;
    for (const Seen& each : model_.sent()) {
      if (each.key && each.offset < reach_) newest_sent[*each.key] = each.offset;
    }
    for (const Seen& each : found) {
      if (each.key) newest_found[*each.key] = each.offset;
    }
    auto at = found.begin();
    for (const Seen& each : model_.sent()) {
      if (each.offset < model_.log().log().log_start()) continue;
      if (at != found.end() && *at == each) {
        ++at;
        continue;
      }
      INFO("offset " << each.offset.value() << " is missing");
      REQUIRE(each.key.has_value());
      REQUIRE(each.offset < reach_);
      if (newest_sent[*each.key] > each.offset) continue;
      REQUIRE_FALSE(each.value.has_value());
      REQUIRE(TombstonesAreDue());
      REQUIRE((!newest_found.contains(*each.key) || newest_found[*each.key] > each.offset));
    }
    REQUIRE(at == found.end());
  }

 private:
  bool TombstonesAreDue() const { return now_ - kNow >= kRetention; }

  void Clean() {
    Log& log = model_.log().log();
    if (cleaning_ == nullptr) {
      std::optional<CompactionPlan> plan = log.PlanCompaction(durable_, now_);
      if (!plan.has_value()) return;
      reach_ = std::max(reach_, durable_);
      Compactor::Options options;
      if (model_.Draw(2) == 0) options.map_bytes = 24 * (10 + model_.Draw(60));
      cleaning_ = std::make_unique<Cleaning>(*std::move(plan), options, now_);
    }
    const int before = cleaning_->swaps();
    const bool goes_on = cleaning_->Step(log);
    swaps_ += cleaning_->swaps() - before;
    if (!goes_on) cleaning_.reset();
  }
  void Sync() {
    model_.log().Sync();
    durable_ = model_.log().log().log_end();
  }
  void Trim() {
    const Offset start = model_.log().log().log_start();
    const auto most = static_cast<int>(durable_ - start) / 2;
    if (most > 0) REQUIRE(model_.log().Trim(start + model_.Draw(most)).ok());
  }
  // Goes on where it read last, by what it held then.
  void Read() {
    Log& log = model_.log().log();
    if (next_ < log.log_start() || next_ >= log.log_end() || model_.Draw(4) == 0) {
      next_ = log.log_start() + model_.Draw(static_cast<int>(log.log_end() - log.log_start()) + 1);
      cursor_ = {};
    }
    if (next_ == log.log_end()) return;
    const auto limit = static_cast<std::size_t>(1 + model_.Draw(2000));
    const auto read = model_.log().Read(next_, log.log_end(), limit, cursor_);
    INFO(read.status().ToString());
    REQUIRE(read.ok());
    std::vector<Seen> expected;
    for (const Seen& each : model_.log().Records(next_)) {
      if (each.offset < read->next) expected.push_back(each);
    }
    REQUIRE(CompactedLog::RecordsOf(read->view.bytes, next_) == expected);
    next_ = read->next;
  }
  void Restart() {
    cleaning_.reset();
    cursor_ = {};
    const ProducerTable producers = model_.log().log().producers();
    const Offset end = model_.log().log().log_end();
    const Offset start = model_.log().log().log_start();
    model_.Draw(2) == 0 ? model_.log().Reopen() : model_.log().Crash();
    CHECK(model_.log().report().damage.ok());
    CHECK(model_.log().log().log_end() == end);
    CHECK(model_.log().log().log_start() == start);
    if (start == Offset(0)) CHECK(model_.log().log().producers() == producers);
    durable_ = end;
  }

  Model model_;
  std::unique_ptr<Cleaning> cleaning_;
  int swaps_ = 0;
  Timestamp now_ = kNow;
  Offset durable_{0};
  Offset reach_{0};  // the highest end that any cleaning was given
  Offset next_{0};
  ReadCursor cursor_;
};

Offset FirstUnsealed(Log& log) {
  for (const auto& segment : log.Segments()) {
    if (!segment->is_sealed()) return segment->base();
  }
  return log.log_end();
}

}  // namespace

TEST_CASE("Compaction model: random logs keep exactly the newest of each key",
          "[storage][compaction][model]") {
  const unsigned seed = GENERATE(take(12, random(0u, 1'000'000'000u)));
  INFO("seed " << seed);
  Model model(seed);
  Timestamp now = kNow;
  bool tombstones_due = false;
  for (int round = 0; round < 6; ++round) {
    model.SendSome(20 + model.Draw(60));
    if (model.Draw(2) == 0) model.log().SealEverything();
    model.log().SealFull();
    Compactor::Options options;
    options.hash_seed = seed;
    if (model.Draw(2) == 0) options.map_bytes = 24 * (10 + model.Draw(60));
    model.log().CleanAll(now, options);
    model.Check(FirstUnsealed(model.log().log()), tombstones_due);
    model.CheckReads();
    const ProducerTable producers = model.log().log().producers();
    switch (model.Draw(3)) {
      case 0:
        model.log().Reopen();
        break;
      case 1:
        model.log().StopCleanly();
        fs::remove(model.log().directory() / kProducerSnapshotName);
        model.log().Open();
        break;
      default:
        model.log().Crash();
    }
    CHECK(model.log().log().producers() == producers);
    CHECK(model.log().report().notes.empty());
    model.Check(FirstUnsealed(model.log().log()), tombstones_due);
    CHECK(Damages(model.log().data()).empty());
    now = now + model.Draw(800);
    tombstones_due |= now - kNow >= kRetention;
  }
}

TEST_CASE("Compaction model: a crash at any step leaves the old segments or the new",
          "[storage][compaction][model]") {
  const unsigned seed = GENERATE(take(3, random(0u, 1'000'000'000u)));
  INFO("seed " << seed);
  Model model(seed);
  model.SendSome(80);
  model.log().SealEverything();
  model.log().CleanAll();
  model.SendSome(80);
  model.log().SealEverything();
  const std::vector<Seen> before = model.log().Records();
  TempDir copies(MemoryRoot());
  int steps = 0;
  REQUIRE(model.log()
              .Clean(kNow, {},
                     [&] {
                       fs::copy(model.log().data(), copies / std::to_string(steps++),
                                fs::copy_options::recursive);
                     })
              .ok());
  const std::vector<Seen> after = model.log().Records();
  const Offset end = model.log().log().log_end();
  const ProducerTable producers = model.log().log().producers();
  REQUIRE(after.size() < before.size());
  CHECK(steps > 10);
  for (int step = 0; step < steps; ++step) {
    INFO("step " << step);
    const fs::path data = copies / std::to_string(step);
    auto data_dir = DataDir::Open(data);
    REQUIRE(data_dir.ok());
    RecoveryReport report;
    auto log = Log::Open(**data_dir, LogFixture::Identity(), CompactedOptions(), kNow, report);
    REQUIRE(log.ok());
    CHECK(report.damage.ok());
    CHECK((*log)->log_end() == end);
    CHECK((*log)->producers() == producers);
    std::vector<Seen> found;
    ReadCursor cursor;
    for (Offset next = (*log)->log_start(); next < end;) {
      const auto read = (*log)->Read(next, end, 1 << 20, cursor);
      REQUIRE(read.ok());
      if (read->cold != nullptr) {
        REQUIRE(read->cold->Prepare(read->cold_position).ok());
        continue;
      }
      const auto some = CompactedLog::RecordsOf(read->view.bytes, next);
      found.insert(found.end(), some.begin(), some.end());
      next = read->next;
    }
    const auto less = [](const Seen& a, const Seen& b) { return a.offset < b.offset; };
    CHECK(std::is_sorted(found.begin(), found.end(), less));
    CHECK(std::includes(before.begin(), before.end(), found.begin(), found.end(), less));
    CHECK(std::includes(found.begin(), found.end(), after.begin(), after.end(), less));
    for (const Leftover& leftover : report.leftovers) {
      const auto note = ClearLeftover(**data_dir, leftover, [] { return false; });
      REQUIRE(note.ok());
      CHECK(note->empty());
    }
    log->reset();
    data_dir->reset();
    // Nothing is left of the side that lost.
    const auto manifest = Manifest::Read(data / "orders-0");
    REQUIRE(manifest.ok());
    std::size_t logs = 0;
    for (const auto& entry : fs::directory_iterator(data / "orders-0")) {
      const std::string name = entry.path().filename().string();
      logs += name.ends_with(".log") ? 1 : 0;
      CHECK_FALSE(name.ends_with(".new"));
    }
    CHECK(logs == manifest->state.segments.size());
    CHECK(Damages(data).empty());
  }
}

TEST_CASE("Compaction model: whatever is done between its steps, the newest of each key stays",
          "[storage][compaction][model]") {
  const unsigned seed = GENERATE(take(8, random(0u, 1'000'000'000u)));
  INFO("seed " << seed);
  BusyModel model(seed);
  for (int i = 0; i < 1200; ++i) {
    model.Step();
    if (i % 16 == 0) model.Look();
  }
  CHECK(model.swaps() > 30);
  model.Finish();
}

}  // namespace cairn::storage
