#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "client/record.h"
#include "protocol/record_batch.h"
#include "protocol/status.h"
#include "storage/data_dir.h"
#include "storage/verify.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/log_repair.h"
#include "tools/cairn/progress.h"
#include "tools/cairn/record_json.h"
#include "tools/cairn/time_text.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

namespace fs = std::filesystem;

constexpr char kLogExamples[] =
    "Examples:\n"
    "  cairn log verify ./cairn-data\n"
    "  cairn log repair ./cairn-data\n"
    "  cairn log dump ./cairn-data/orders-0";
constexpr char kDumpExamples[] =
    "Up to the frontier, which is what is known to be on stable storage.\n"
    "\n"
    "Examples:\n"
    "  cairn log dump ./cairn-data/orders-0             one line a batch\n"
    "  cairn log dump ./cairn-data --format json        all partitions, for programs\n"
    "  cairn log dump ./cairn-data/orders-0 --records   the records, as 'cairn consume -J' writes "
    "them";
constexpr char kVerifyExamples[] =
    "Silent and exit code 0 if all is well; else a line for each damage, and exit code 1. Where a "
    "broker\n"
    "is using the directory, what it has not made durable yet is left out.\n"
    "\n"
    "Examples:\n"
    "  cairn log verify ./cairn-data\n"
    "  cairn log verify ./cairn-data/orders-0 --notes";

constexpr char kRepairExamples[] =
    "Says what it would cut or move, and which offsets are lost; --execute does it. Nothing is "
    "deleted:\n"
    "what goes is in quarantine/ in the data directory afterwards. A log is whole up to its first "
    "damage,\n"
    "and ends there. Stop the broker first. Exit code 0 if there is nothing to do, or all is "
    "done.\n"
    "\n"
    "Examples:\n"
    "  cairn log repair ./cairn-data\n"
    "  cairn log repair ./cairn-data --execute\n"
    "  cairn log repair ./cairn-data/orders-0 --format json     one partition, for programs";

struct LogOptions {
  std::string directory;
  bool execute = false;
  bool records = false;
  bool notes = false;
};

// One partition's directory, and up to where to read it.
struct DumpedPartition {
  fs::path path;
  std::string topic;
  PartitionIndex partition;
  std::optional<Offset> end;
};

// What a data directory holds; `only` leaves the others out.
absl::StatusOr<std::vector<DumpedPartition>> PartitionsIn(const fs::path& data_path,
                                                          const std::string& only) {
  ASSIGN_OR_RETURN(const auto data_dir, storage::DataDir::OpenForReading(data_path));
  ASSIGN_OR_RETURN(const auto found, data_dir->ListPartitions());
  std::vector<DumpedPartition> partitions;
  for (const auto& partition : found) {
    if (!only.empty() && partition.directory != only) continue;
    std::optional<Offset> end;
    if (partition.meta.ok()) {
      const auto durable = data_dir->frontier().Find({partition.topic, partition.partition});
      if (durable.has_value()) end = durable->end;
    }
    partitions.push_back(
        {data_path / partition.directory, partition.name, partition.partition, end});
  }
  return partitions;
}

absl::StatusOr<std::vector<DumpedPartition>> PartitionsAt(const fs::path& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    return absl::NotFoundError(absl::StrFormat("%s is not a directory", path.string()));
  }
  if (fs::exists(path / "format", error)) return PartitionsIn(path, "");
  const fs::path full = fs::canonical(path, error);
  if (fs::exists(full.parent_path() / "format", error)) {
    ASSIGN_OR_RETURN(auto partitions, PartitionsIn(full.parent_path(), full.filename().string()));
    if (!partitions.empty()) return partitions;
  }
  if (!fs::exists(path / "manifest", error)) {
    return absl::NotFoundError(
        absl::StrFormat("%s is neither a data directory (it has no file 'format') nor a "
                        "partition's (no 'manifest')",
                        path.string()));
  }
  // A partition's directory on its own: nothing says where it ended.
  return std::vector<DumpedPartition>{
      {full, full.filename().string(), PartitionIndex(-1), std::nullopt}};
}

std::string CodecName(const RecordBatchView& batch) {
  const std::optional<Codec> codec = CodecOf(batch.codec_number());
  return codec.has_value() ? std::string(ToString(*codec))
                           : absl::StrFormat("unknown-%d", batch.codec_number());
}

void WriteBatchJson(const DumpedPartition& partition, const fs::path& file, std::int64_t position,
                    const RecordBatchView& batch, std::string& out) {
  JsonWriter json(out);
  json.BeginObject();
  json.Key("topic").Text(partition.topic).Key("partition").Int(partition.partition.value());
  json.Key("file").Text(file.string()).Key("position").Int(position);
  json.Key("bytes").Int(static_cast<std::int64_t>(batch.size()));
  json.Key("base_offset").Int(batch.base_offset().value());
  json.Key("last_offset").Int(batch.last_offset().value());
  json.Key("records").Int(batch.record_count()).Key("codec").Text(CodecName(batch));
  json.Key("leader_epoch").Int(batch.leader_epoch().value());
  json.Key("base_timestamp").Int(batch.base_timestamp().value());
  json.Key("max_timestamp").Int(batch.max_timestamp().value());
  json.Key("producer_id").Int(batch.producer_id().value());
  json.Key("producer_epoch").Int(batch.producer_epoch().value());
  json.Key("base_sequence").Int(batch.base_sequence());
  json.Key("crc").Int(batch.crc());
  json.EndObject();
  out += '\n';
}

std::string BatchHead() {
  return absl::StrFormat("%12s %12s %8s %9s %-5s %6s %10s %9s  %-24s %s\n", "BASE-OFFSET",
                         "LAST-OFFSET", "RECORDS", "BYTES", "CODEC", "EPOCH", "PRODUCER",
                         "SEQUENCE", "MAX-TIMESTAMP", "FILE AT POSITION");
}

void WriteBatchText(const fs::path& file, std::int64_t position, const RecordBatchView& batch,
                    std::string& out) {
  out += absl::StrFormat(
      "%12d %12d %8d %9d %-5s %6d %10d %9d  %-24s %s at %d\n", batch.base_offset().value(),
      batch.last_offset().value(), batch.record_count(), batch.size(), CodecName(batch),
      batch.leader_epoch().value(), batch.producer_id().value(), batch.base_sequence(),
      FormatTime(batch.max_timestamp()), file.string(), position);
}

std::optional<std::string_view> TextOf(const std::optional<ByteView>& bytes) {
  if (!bytes.has_value()) return std::nullopt;
  return AsText(*bytes);
}

// Writes the batches, or their records, of the partitions it is shown.
class Dump {
 public:
  Dump(const LogOptions& options, Session& session) : options_(options), session_(session) {}

  absl::Status Partition(const DumpedPartition& partition) {
    absl::Status status;
    const absl::Status walked = storage::WalkBatches(
        partition.path,
        [&](const fs::path& file, std::int64_t position, const RecordBatchView& batch) {
          if (partition.end.has_value() && batch.base_offset() >= *partition.end) return false;
          status = Batch(partition, file, position, batch);
          session_.output.Commit();
          return status.ok() && !session_.output.broken();
        });
    RETURN_IF_ERROR(status);
    return walked;
  }

 private:
  absl::Status Batch(const DumpedPartition& partition, const fs::path& file, std::int64_t position,
                     const RecordBatchView& batch) {
    if (options_.records) return Records(partition, batch);
    if (session_.json) {
      WriteBatchJson(partition, file, position, batch, session_.output.buffer());
      return absl::OkStatus();
    }
    if (!std::exchange(head_written_, true)) session_.output.Write(BatchHead());
    WriteBatchText(file, position, batch, session_.output.buffer());
    return absl::OkStatus();
  }

  absl::Status Records(const DumpedPartition& partition, const RecordBatchView& batch) {
    RETURN_IF_ERROR(reader_.Open(batch, kDecompressedBytesMax));
    RecordView view;
    while (reader_.Next(view)) {
      client::ConsumedRecord record;
      record.topic = partition.topic;
      record.partition = partition.partition;
      record.offset = view.offset;
      record.timestamp = view.timestamp;
      record.key = TextOf(view.key);
      record.value = TextOf(view.value);
      for (const HeaderView& header : view.headers) {
        record.headers.push_back({AsText(header.name), TextOf(header.value)});
      }
      AppendRecordJson(record, session_.output.buffer());
      session_.output.Write("\n");
    }
    return reader_.status();
  }

  const LogOptions& options_;
  Session& session_;
  RecordReader reader_;
  bool head_written_ = false;
};

absl::StatusOr<int> DumpLog(const LogOptions& options, Session& session) {
  ASSIGN_OR_RETURN(const auto partitions, PartitionsAt(options.directory));
  Dump dump(options, session);
  for (const DumpedPartition& partition : partitions) {
    RETURN_IF_ERROR(dump.Partition(partition));
  }
  return kExitOk;
}

void PrintFinding(const storage::Finding& finding, Session& session) {
  const bool damage = finding.severity == storage::Finding::Severity::kDamage;
  const char* const severity = damage ? "damage" : "note";
  if (!session.json) {
    session.output.Write(absl::StrFormat("%s %s at %d: %s\n", severity, finding.file.string(),
                                         finding.position, finding.reason));
  } else {
    JsonWriter json(session.output.buffer());
    json.BeginObject().Key("severity").Text(severity).Key("file").Text(finding.file.string());
    json.Key("position").Int(finding.position).Key("reason").Text(finding.reason).EndObject();
    session.output.Write("\n");
  }
  session.output.Commit();
}

absl::StatusOr<int> VerifyLog(const LogOptions& options, Session& session) {
  Progress progress("read", /*silent=*/false);
  const auto summary = storage::VerifyDataDirectory(
      options.directory,
      [&](const storage::Finding& finding) {
        const bool damage = finding.severity == storage::Finding::Severity::kDamage;
        if (!damage && !options.notes) return;
        progress.Wipe();
        PrintFinding(finding, session);
      },
      [&](const storage::VerifySummary& read) { progress.Show(read.batches, read.bytes); });
  if (!summary.ok()) return summary.status();
  return summary->damages == 0 ? kExitOk : kExitFailed;
}

absl::StatusOr<int> Repair(const LogOptions& options, Session& session) {
  return RepairLog(options.directory, options.execute, session);
}

using LogCommand = absl::StatusOr<int> (*)(const LogOptions&, Session&);

CLI::App* AddCommand(CLI::App& log, const char* name, const char* what, const char* examples,
                     const std::shared_ptr<LogOptions>& options, LogCommand run, Run& chosen) {
  CLI::App* command = log.add_subcommand(name, what);
  command->footer(examples);
  command->add_option("dir", options->directory, "A data directory, or one partition's in it")
      ->required()
      ->type_name("DIR")
      ->check(CLI::Validator(
          [](const std::string& text) -> std::string {
            return text.empty() ? "it is empty: name a directory, such as ./cairn-data" : "";
          },
          ""));
  command->callback([options, run, &chosen] {
    chosen = [options, run](Session& session) { return run(*options, session); };
  });
  return command;
}

}  // namespace

void AddLog(CLI::App& app, Run& chosen) {
  auto options = std::make_shared<LogOptions>();
  CLI::App& log = *app.add_subcommand("log", "Look at the files themselves, without a broker");
  log.footer(kLogExamples);
  log.require_subcommand(1);
  AddCommand(log, "dump", "Show the batches", kDumpExamples, options, DumpLog, chosen)
      ->add_flag("--records", options->records, "Show their records, as JSON lines");
  AddCommand(log, "verify", "Look for damage", kVerifyExamples, options, VerifyLog, chosen)
      ->add_flag("--notes", options->notes, "Also show what is odd but no damage");
  AddCommand(log, "repair", "Make damaged files whole again", kRepairExamples, options, Repair,
             chosen)
      ->add_flag("--execute", options->execute, "Do it; else it is only said");
}

}  // namespace cairn::tools
