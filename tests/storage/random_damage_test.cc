// Random damage to a directory of two partitions, one or several at a time: no wrong record,
// nothing lost without a word, and nothing that was there deleted.
//
//   CAIRN_DAMAGES=100000 storage_damage_test "[damage]"      the long run
//   CAIRN_SEED=…                                             the same again

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <map>
#include <random>
#include <set>

#include "absl/strings/str_format.h"

#include "storage/partition_meta.h"
#include "storage/repair.h"
#include "storage/verify.h"
#include "tests/storage/log_fixture.h"

namespace cairn::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kSector = 512;
const LogOptions kOptions{.segment_bytes = 12'000};

std::uint64_t Number(const char* name, std::uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

using Files = std::map<std::string, Bytes>;

Files ReadFiles(const fs::path& root) {
  Files files;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.path().filename() == "cairn.lock") continue;
    files[fs::relative(entry.path(), root).string()] = ReadBack(entry.path());
  }
  return files;
}

// One partition and what was written to it: whole batches, by their base offsets.
struct Model {
  LogIdentity identity;
  std::map<Offset, Bytes> batches;
  Offset end;
};

struct Opened {
  std::unique_ptr<DataDir> data;
  std::vector<std::unique_ptr<Log>> logs;
  std::vector<absl::Status> damages;
};

class Damaged {
 public:
  explicit Damaged(std::mt19937_64& random, bool clean) : random_(random) {
    for (int i = 0; i < 2; ++i) {
      models_.push_back({{IdOf(7), "orders", PartitionIndex(i)}, {}, Offset(0)});
    }
    Write(clean);
    files_ = ReadFiles(path());
  }

  void Trial(int damages) {
    fs::remove_all(path());
    for (const auto& [name, bytes] : files_) {
      fs::create_directories((path() / name).parent_path());
      WriteFile(path() / name, bytes);
    }
    what_.clear();
    exchanged_.clear();
    manifest_damaged_.clear();
    for (int i = 0; i < damages; ++i) Damage();
    const Files before = ReadFiles(path());
    bool is_told = false;
    for (int run = 0; run < 2; ++run) is_told |= OpenAndRead(damages == 1 && !is_told);
    NothingDeleted(before);
  }
  // What a repair makes of it is served without a complaint, and is what was written.
  void RepairTrial() {
    {
      const auto repair = Repair::Open(path());
      INFO(what_);
      // Either of these would tell that it is a data directory; there is no catalog here.
      const bool is_anonymous = !fs::exists(path() / "format") && !fs::exists(path() / "frontier");
      if (is_anonymous && absl::IsNotFound(repair.status())) return;
      if (!repair.ok()) FAIL(repair.status().ToString());
      const absl::StatusOr<RepairPlan> plan = (*repair)->Plan();
      // The version of `format` stands outside its checksum: another one is refused by name.
      if (absl::IsFailedPrecondition(plan.status())) return;
      if (!plan.ok()) FAIL(plan.status().ToString());
      const absl::Status done = (*repair)->Execute(*plan);
      if (!done.ok()) FAIL(done.ToString());
    }
    OpenAndRead(false, /*repaired=*/true);
  }
  const std::string& what() const { return what_; }

 private:
  fs::path path() const { return temp_.path() / "data"; }

  void Write(bool clean) {
    Opened opened = Open();
    for (int round = 0; round < 40; ++round) {
      for (std::size_t i = 0; i < models_.size(); ++i) Append(*opened.logs[i], models_[i]);
      if (round % 4 == 0) Sync(opened);
    }
    Sync(opened);
    for (const auto& log : opened.logs) {
      while (std::optional<Log::SealTask> task = log->TakeSealTask()) {
        const absl::Status outcome = task->Run();
        REQUIRE(log->FinishSeal(*std::move(task), outcome).ok());
      }
    }
    Sync(opened);
    if (!clean) return;
    for (const auto& log : opened.logs) {
      const auto end = log->CloseClean();
      REQUIRE((end.ok() && end->has_value()));
      REQUIRE(opened.data->frontier().Note({&**end, 1}).ok());
    }
    REQUIRE(opened.data->frontier().CloseClean().ok());
  }

  void Append(Log& log, Model& model) {
    Bytes batch = MakeBatch(1 + static_cast<std::int32_t>(random_() % 3), random_() % 900,
                            kNow + static_cast<std::int64_t>(random_() % 10'000));
    const absl::StatusOr<Offset> base = log.Append(batch, kNow);
    REQUIRE(base.ok());
    model.batches[*base] = std::move(batch);
    model.end = log.log_end();
  }

  static void Sync(Opened& opened) {
    for (const auto& log : opened.logs) {
      const SyncPlan plan = log->TakeUnsynced();
      REQUIRE(plan.Sync().ok());
      const DurableEnd end = plan.durable_end();
      REQUIRE(opened.data->frontier().Note({&end, 1}).ok());
      log->MarkSynced(plan);
    }
  }

  Opened Open() const {
    Opened opened;
    absl::StatusOr<std::unique_ptr<DataDir>> data = DataDir::Open(path());
    if (!data.ok()) return opened;
    opened.data = *std::move(data);
    for (const Model& model : models_) {
      RecoveryReport report;
      absl::StatusOr<std::unique_ptr<Log>> log =
          Log::Open(*opened.data, model.identity, kOptions, kNow, report);
      opened.damages.push_back(log.ok() ? report.damage : log.status());
      opened.logs.push_back(log.ok() ? *std::move(log) : nullptr);
    }
    return opened;
  }

  // Gives whether anything was refused or reported.
  bool OpenAndRead(bool must_be_told, bool repaired = false) {
    const Opened opened = Open();
    if (opened.data == nullptr) {
      if (repaired) Fail("refused after the repair");
      return true;
    }
    bool is_told = !opened.data->frontier_damage().ok();
    for (std::size_t i = 0; i < models_.size(); ++i) {
      is_told |= !opened.damages[i].ok();
      if (repaired && !opened.damages[i].ok()) Fail(opened.damages[i].ToString());
      if (opened.logs[i] == nullptr) continue;
      if (repaired && IsUnknowable(models_[i])) continue;
      const absl::Status read = ReadAll(*opened.logs[i], models_[i]);
      is_told |= !read.ok();
      if (repaired && !read.ok()) Fail(read.ToString());
      const bool has_all = read.ok() && opened.logs[i]->log_end() >= models_[i].end &&
                           opened.logs[i]->log_start() == Offset(0);
      if (must_be_told && !is_told && !has_all) {
        Fail(absl::StrFormat("records are missing without a word: [%d, %d) of [0, %d)",
                             opened.logs[i]->log_start().value(), opened.logs[i]->log_end().value(),
                             models_[i].end.value()));
      }
    }
    return is_told;
  }

  absl::Status ReadAll(Log& log, const Model& model) {
    ReadCursor cursor;
    Offset from = log.log_start();
    int cold = 0;
    while (from < log.log_end()) {
      absl::StatusOr<LogRead> read = log.Read(from, log.log_end(), 1 << 20, cursor);
      RETURN_IF_ERROR(read.status());
      if (read->cold != nullptr) {
        // Damage behind what is asked for is no reason not to serve that.
        (void)read->cold->Prepare(read->cold_position);
        if (++cold > 1'000) Fail(absl::StrFormat("offset %d is cold for ever", from.value()));
        continue;
      }
      for (ByteView rest = read->view.bytes; !rest.empty();) {
        const auto batch = RecordBatchView::ParseHeader(rest);
        if (!batch.ok()) Fail("bytes that are no batch were served");
        const auto written = model.batches.find(batch->base_offset());
        if (written == model.batches.end() ||
            !std::equal(written->second.begin(), written->second.end(), batch->bytes().begin(),
                        batch->bytes().end())) {
          Fail(absl::StrFormat("a wrong batch at offset %d of partition %d",
                               batch->base_offset().value(), model.identity.partition.value()));
        }
        rest = rest.subspan(batch->size());
      }
      from = read->next;
    }
    return log.write_state();
  }

  // What a file held is still there, or in quarantine, but for zeros at its end.
  void NothingDeleted(const Files& before) {
    const Files after = ReadFiles(path());
    for (const auto& [name, bytes] : before) {
      if (!name.ends_with(".log")) continue;
      const auto now = after.find(name);
      std::size_t kept = 0;
      if (now != after.end()) {
        kept = static_cast<std::size_t>(
            std::mismatch(bytes.begin(), bytes.end(), now->second.begin(), now->second.end())
                .first -
            bytes.begin());
      }
      Bytes rest(bytes.begin() + static_cast<std::ptrdiff_t>(kept), bytes.end());
      while (!rest.empty() && rest.back() == std::byte{0}) rest.pop_back();
      if (rest.empty()) continue;
      const bool saved = std::any_of(after.begin(), after.end(), [&](const auto& file) {
        return file.first.starts_with("quarantine/") &&
               std::search(file.second.begin(), file.second.end(), rest.begin(), rest.end()) !=
                   file.second.end();
      });
      if (!saved) Fail(name + " has lost bytes that are nowhere else");
    }
  }

  [[noreturn]] void Fail(const std::string& why) const {
    FAIL(why << "\nafter:" << what_);
    std::abort();
  }

  std::size_t Below(std::size_t count) { return count == 0 ? 0 : random_() % count; }

  void Damage() {
    std::vector<std::string> names;
    const Files now = ReadFiles(path());
    for (const auto& [name, bytes] : now) {
      if (!name.starts_with("quarantine/")) names.push_back(name);
    }
    const std::string name = names[Below(names.size())];
    const std::string other = names[Below(names.size())];
    Bytes bytes = now.at(name);
    const std::size_t sectors = bytes.size() / kSector;
    const auto sector = [&](std::size_t i) {
      return bytes.begin() + static_cast<std::ptrdiff_t>(i * kSector);
    };
    const std::uint64_t kind = random_() % 9;
    what_ += absl::StrFormat("\n  damage %d to %s (and %s)", kind, name, other);
    NoteUnknowable(name, kind == 6 ? other : name);
    if (kind < 4 && bytes.empty()) return;
    switch (kind) {
      case 0:
        bytes[Below(bytes.size())] ^= static_cast<std::byte>(1u << (random_() % 8));
        break;
      case 1:
        if (sectors == 0) return;
        std::fill_n(sector(Below(sectors)), kSector, std::byte{0});
        break;
      case 2: {
        const Bytes& from = now.at(other);
        if (sectors == 0 || from.size() < kSector) return;
        const std::size_t at = Below(from.size() / kSector) * kSector;
        std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), kSector,
                    sector(Below(sectors)));
        break;
      }
      case 3: {
        if (sectors < 2) return;
        const std::size_t first = Below(sectors - 1);
        std::swap_ranges(sector(first), sector(first + 1), sector(first + 1));
        break;
      }
      case 4:
        bytes.resize(Below(bytes.size() + 1));
        break;
      case 5: {
        const std::size_t count = 1 + Below(2000);
        for (std::size_t i = 0; i < count; ++i) bytes.push_back(static_cast<std::byte>(random_()));
        break;
      }
      case 6:
        WriteFile(path() / name, now.at(other));
        WriteFile(path() / other, bytes);
        return;
      case 7:
        fs::rename(path() / name, temp_.path() / "gone");
        return;
      default:
        bytes.clear();
    }
    WriteFile(path() / name, bytes);
  }

  // A manifest tells which file is whose. Where it is lost, a repair must believe the files.
  void NoteUnknowable(const std::string& name, const std::string& other) {
    const std::string directory = fs::path(name).parent_path();
    const std::string others = fs::path(other).parent_path();
    for (const std::string& each : {name, other}) {
      if (each.ends_with("/manifest")) manifest_damaged_.insert(fs::path(each).parent_path());
    }
    if (name.ends_with(".log") && other.ends_with(".log") && directory != others) {
      exchanged_.insert({directory, others});
    }
  }
  bool IsUnknowable(const Model& model) const {
    const std::string directory = PartitionDirectory(model.identity);
    return exchanged_.contains(directory) && manifest_damaged_.contains(directory);
  }

  TempDir temp_{MemoryRoot()};
  std::mt19937_64& random_;
  std::vector<Model> models_;
  Files files_;
  std::string what_;
  std::set<std::string> exchanged_;         // directories with a .log file of another one
  std::set<std::string> manifest_damaged_;  // directories
};

TEST_CASE("Damage: at random, to any file, never gives a wrong record nor deletes anything",
          "[storage][damage]") {
  const std::uint64_t trials = Number("CAIRN_DAMAGES", 500);
  const std::uint64_t seed = Number("CAIRN_SEED", std::random_device()());
  std::cout << trials << " random damages, CAIRN_SEED=" << seed << std::endl;
  std::mt19937_64 random(seed);
  Damaged clean(random, true);
  Damaged crashed(random, false);
  for (std::uint64_t trial = 0; trial < trials; ++trial) {
    Damaged& damaged = trial % 4 == 3 ? crashed : clean;
    INFO("trial " << trial << " of CAIRN_SEED=" << seed);
    damaged.Trial(trial % 5 == 4 ? 3 : 1);
    if (trial % 3 == 0) damaged.RepairTrial();
  }
}

}  // namespace
}  // namespace cairn::storage
