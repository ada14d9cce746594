#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <optional>
#include <random>

#include "storage/segment_name.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

// What a log must be like: every batch with its offset, and how much of it is durable.
struct Model {
  struct Batch {
    Offset base;
    Offset next;
    Timestamp time;
    Bytes bytes;
  };
  std::vector<Batch> batches;
  Offset start{0};
  Offset end{0};
  Offset durable{0};

  // Index of the batch that holds `offset`.
  std::size_t Find(Offset offset) const {
    std::size_t at = 0;
    while (batches[at].next <= offset) ++at;
    return at;
  }
};

class ModelRun {
 public:
  explicit ModelRun(unsigned seed)
      : random_(seed),
        fixture_({.segment_bytes = 3000 + static_cast<std::int64_t>(seed % 5) * 2000,
                  .segment_ms = 400,
                  .index_interval_bytes = 256,
                  .continue_bytes_max = seed % 2 == 0 ? 1500 : 100'000}) {}

  void Step() {
    const int choice = Pick(0, 99);
    if (choice < 45) return Append();
    if (choice < 70) return Read();
    if (choice < 76) return Sync();
    if (choice < 80) return Time();
    if (choice < 84) return Trim();
    if (choice < 88) return (void)fixture_.log().CloseIdle();
    if (choice < 91) return Seal();
    if (choice < 94) return (void)(fixture_.log().RollIfOld(now_).ok());
    if (choice < 96) return Snapshot();
    if (choice < 97) return Crash();
    if (choice < 98) return PowerCut();
    return Restart();
  }
  void Finish() {
    Restart();
    CheckAll();
  }

 private:
  int Pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  void Append() {
    now_ = now_ + Pick(0, 40);
    const int count = Pick(1, 6);
    const Timestamp time = kNow + Pick(0, 3000);
    const std::int64_t producer = Pick(-1, 2);
    std::int32_t sequence = -1;
    if (producer >= 0) {
      sequence = sequences_[producer];
      sequences_[producer] += count;
    }
    Bytes batch = MakeBatch(count, static_cast<std::size_t>(Pick(0, 500)), time,
                            ProducerId(producer), sequence);
    const Offset base = fixture_.AppendBytes(batch, now_);
    REQUIRE(base == model_.end);
    model_.end = base + count;
    model_.batches.push_back({base, model_.end, time, std::move(batch)});
  }
  void Read() {
    if (model_.start == model_.end) return;
    const Offset from(std::uniform_int_distribution<std::int64_t>(model_.start.value(),
                                                                  model_.end.value() - 1)(random_));
    std::size_t at = model_.Find(from);
    const std::size_t last =
        std::uniform_int_distribution<std::size_t>(at, model_.batches.size() - 1)(random_);
    const Offset end =
        Pick(0, 3) == 0 && model_.durable > from ? model_.durable : model_.batches[last].next;
    ReadCursor cursor;
    Offset next = from;
    for (int i = 0; i < 6 && next < end; ++i) {
      const auto limit = static_cast<std::size_t>(Pick(1, 4000));
      const auto read = fixture_.Read(next, end, limit, cursor);
      INFO(read.status().ToString());
      REQUIRE(read.ok());
      std::size_t seen = 0;
      while (seen < read->view.bytes.size()) {
        const Bytes& wanted = model_.batches[at].bytes;
        REQUIRE(read->view.bytes.size() - seen >= wanted.size());
        const ByteView got = read->view.bytes.subspan(seen, wanted.size());
        REQUIRE(std::equal(got.begin(), got.end(), wanted.begin()));
        seen += wanted.size();
        REQUIRE((seen <= limit || seen == wanted.size()));
        next = model_.batches[at++].next;
      }
      REQUIRE(read->next == next);
      REQUIRE(next <= end);
    }
  }
  void Sync() {
    const SyncPlan plan = fixture_.log().TakeUnsynced();
    const Offset taken = model_.end;
    if (Pick(0, 1) == 0) Append();  // while the sync is under way
    REQUIRE(plan.Sync().ok());
    const DurableEnd end = plan.durable_end();
    REQUIRE(end.end == taken);
    REQUIRE(fixture_.data_dir().frontier().Note({&end, 1}).ok());
    fixture_.log().MarkSynced(plan);
    model_.durable = taken;
  }
  void Time() {
    const Timestamp time = kNow + Pick(-10, 3100);
    const auto found = Log::FindTime(fixture_.log().Segments(), time, model_.start, model_.end);
    INFO(found.status().ToString());
    REQUIRE(found.ok());
    std::optional<Offset> wanted;
    for (const Model::Batch& batch : model_.batches) {
      for (Offset at = batch.base; at < batch.next && !wanted; at = at + 1) {
        if (at >= model_.start && batch.time + (at - batch.base) >= time) wanted = at;
      }
    }
    REQUIRE(found->has_value() == wanted.has_value());
    if (wanted) REQUIRE((*found)->offset == *wanted);
  }
  void Trim() {
    if (model_.start == model_.durable) return;
    const Offset to(std::uniform_int_distribution<std::int64_t>(model_.start.value(),
                                                                model_.durable.value())(random_));
    const absl::StatusOr<std::size_t> dropped = fixture_.Trim(to);
    INFO(dropped.status().ToString());
    REQUIRE(dropped.ok());
    model_.start = to;
  }
  void Seal() { fixture_.SealAll(); }
  void Snapshot() {
    if (const auto snapshot = fixture_.log().TakeProducerSnapshot())
      REQUIRE(snapshot->Write().ok());
  }
  void Crash() {
    const ProducerTable producers = fixture_.log().producers();
    fixture_.Crash();
    AfterStart(producers);
  }
  // Of what was not durable only a part is left: up to some batch, perhaps a piece of the next, and
  // whole files that were begun later.
  void PowerCut() {
    Offset synced = model_.durable;
    for (const auto& segment : fixture_.log().Segments()) {
      if (segment->is_sealed()) synced = std::max(synced, segment->next_offset());
    }
    const bool has_unsynced = model_.end > synced;
    fixture_.Kill();
    if (has_unsynced) {
      std::vector<Offset> ends{synced};
      for (const Model::Batch& batch : model_.batches) {
        if (batch.next > synced) ends.push_back(batch.next);
      }
      LoseFrom(ends[static_cast<std::size_t>(Pick(0, static_cast<int>(ends.size()) - 1))]);
    }
    fixture_.Open();
    AfterStart(std::nullopt);
  }
  void LoseFrom(Offset end) {
    std::map<Offset, std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(fixture_.directory())) {
      const auto name = ParseLogFileName(entry.path().filename().string());
      if (name.has_value()) files[name->base] = entry.path();
    }
    for (auto file = files.begin(); file != files.end(); ++file) {
      const auto later = std::next(file);
      if (later != files.end() && later->first <= end) continue;  // complete, and all of it durable
      if (file->first > end && Pick(0, 1) == 0) continue;
      LosePartOf(file->second, file->first, end);
    }
    model_.end = end;
    while (!model_.batches.empty() && model_.batches.back().next > end) model_.batches.pop_back();
  }
  void LosePartOf(const std::filesystem::path& file, Offset base, Offset end) {
    std::uintmax_t position = 0;
    std::uintmax_t lost = 0;
    for (const Model::Batch& batch : model_.batches) {
      if (batch.base >= base && batch.next <= end) position += batch.bytes.size();
      if (batch.base == end) lost = batch.bytes.size();
    }
    if (base <= end && lost > 0 && Pick(0, 1) == 0) {
      position += static_cast<std::uintmax_t>(Pick(1, static_cast<int>(lost) - 1));
    }
    const std::uintmax_t size = std::filesystem::file_size(file);
    if (position >= size) return;
    std::filesystem::resize_file(file, position);
    if (Pick(0, 1) == 0) std::filesystem::resize_file(file, size);  // zeros behind it
  }
  void Restart() {
    const ProducerTable producers = fixture_.log().producers();
    fixture_.Reopen();
    AfterStart(producers);
  }
  // Nothing is lost by a crash of the process alone. `producers`: what must be known of them.
  void AfterStart(const std::optional<ProducerTable>& producers) {
    for (const std::string& note : fixture_.report().notes) UNSCOPED_INFO(note);
    INFO(fixture_.report().damage.ToString());
    REQUIRE(fixture_.report().damage.ok());
    REQUIRE(fixture_.log().log_start() == model_.start);
    REQUIRE(fixture_.log().log_end() == model_.end);
    if (model_.start == Offset(0) && producers) {
      REQUIRE(fixture_.log().producers() == *producers);
    }
    model_.durable = model_.end;
  }
  void CheckAll() {
    Bytes wanted;
    for (const Model::Batch& batch : model_.batches) {
      if (batch.next > model_.start) AppendBytes(wanted, batch.bytes);
    }
    REQUIRE(fixture_.ReadAll() == wanted);
  }

  std::mt19937 random_;
  LogFixture fixture_;
  Model model_;
  Timestamp now_ = kNow;
  std::int32_t sequences_[3] = {0, 0, 0};
};

TEST_CASE("Log: whatever is done to it, it is the list of what was appended", "[storage][model]") {
  const unsigned seed = GENERATE(range(1u, 17u));
  INFO("seed " << seed);
  CAPTURE(seed);
  ModelRun run(seed);
  for (int i = 0; i < 250; ++i) run.Step();
  run.Finish();
}

}  // namespace
}  // namespace cairn::storage
