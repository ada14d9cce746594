#include <algorithm>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "client/producer.h"
#include "protocol/limits.h"
#include "protocol/status.h"
#include "tools/cairn/commands.h"
#include "tools/cairn/interrupt.h"
#include "tools/cairn/json_writer.h"
#include "tools/cairn/line_reader.h"
#include "tools/cairn/progress.h"
#include "tools/cairn/record_format.h"
#include "tools/cairn/record_json.h"
#include "tools/cairn/usage.h"
#include "tools/cairn/whole_number.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "One record a line, from the files or stdin ('-'). An empty line is an empty value. With -K "
    "nothing\n"
    "before DELIM is an empty key and a line without DELIM has a null key; \\t and the like are "
    "understood.\n"
    "-J reads what 'cairn consume -J' writes: keys, headers, timestamps, null values and bytes "
    "that are\n"
    "not UTF-8 stay as they are; its topic, partition and offset are ignored.\n"
    "\n"
    "Examples:\n"
    "  echo hello | cairn produce orders\n"
    "  cairn produce orders lines.txt -K '\\t' -z zstd\n"
    "  tail -f app.log | cairn produce logs -k host1 -H source:app.log\n"
    "  cairn consume orders -e -J | cairn produce copy -J";

// A -J line may take far more room than its record: base64 and escapes.
constexpr std::size_t kJsonLineBytesMax = 6 * kBatchBytesMax;
constexpr client::Duration kFlushTimeout{130'000};
// How long the producer's buffer may stay full, or the broker away, before a record is given up.
constexpr client::Duration kBlockTimeout{60'000};
// How soon Ctrl-C is noticed while it does, and while records are on their way.
constexpr client::Duration kBlockSlice{1'000};
constexpr client::Duration kLookInterval{100};

struct ProduceOptions {
  std::string topic;
  std::vector<std::string> files;
  std::optional<std::string> key;
  std::optional<std::string> delimiter;
  std::vector<std::string> headers;
  std::int32_t partition = -1;
  std::string codec = "none";
  std::string acks;
  bool json = false;
};

absl::StatusOr<std::vector<client::Header>> ParseHeaders(const std::vector<std::string>& texts) {
  std::vector<client::Header> headers;
  for (const std::string& text : texts) {
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos)
      return UsageError(absl::StrFormat("-H %s: write NAME:VALUE", text));
    headers.push_back({text.substr(0, colon), text.substr(colon + 1)});
  }
  return headers;
}

// Makes records of lines, the way the options say.
class LineParser {
 public:
  static absl::StatusOr<LineParser> Make(const ProduceOptions& options) {
    LineParser parser;
    parser.json_ = options.json;
    parser.key_ = options.key;
    if (options.delimiter.has_value()) {
      ASSIGN_OR_RETURN(parser.delimiter_, Unescape(*options.delimiter));
      if (parser.delimiter_->empty()) return UsageError("-K: the delimiter is empty");
    }
    ASSIGN_OR_RETURN(parser.record_.headers, ParseHeaders(options.headers));
    parser.record_.partition = PartitionIndex(options.partition);
    return parser;
  }

  // Borrows from `line` and from the parser, until the next call.
  absl::StatusOr<const client::ProduceRecord*> Parse(std::string_view line) {
    if (json_) return ParseJson(line);
    record_.key = key_;
    record_.value = line;
    if (!delimiter_.has_value()) return &record_;
    const std::size_t at = line.find(*delimiter_);
    if (at == std::string_view::npos) {
      record_.key = std::nullopt;
    } else {
      record_.key = line.substr(0, at);
      record_.value = line.substr(at + delimiter_->size());
    }
    return &record_;
  }

 private:
  LineParser() = default;

  absl::StatusOr<const client::ProduceRecord*> ParseJson(std::string_view line) {
    ASSIGN_OR_RETURN(parsed_, ParseRecordJson(line));
    record_.key = parsed_.key;
    record_.value = parsed_.value;
    record_.headers = std::move(parsed_.headers);
    record_.timestamp = parsed_.timestamp;
    return &record_;
  }

  bool json_ = false;
  std::optional<std::string> key_;
  std::optional<std::string> delimiter_;
  ParsedRecord parsed_;
  client::ProduceRecord record_;
};

// What became of the records. Told by the I/O thread, asked by the main thread.
class Tally {
 public:
  explicit Tally(std::size_t partitions) : touched_(partitions, false) {}

  void Note(std::int64_t number, std::size_t bytes, const client::Delivery& delivery) {
    const std::lock_guard lock(mutex_);
    if (!delivery.status.ok()) {
      if (delivery.outcome == client::Delivery::Outcome::kUnknown) ++unknown_;
      return NoteFailure(number, delivery.status);
    }
    ++records_;
    bytes_ += static_cast<std::int64_t>(bytes);
    durability_ = std::min(durability_, delivery.durability);
    const auto partition = static_cast<std::size_t>(delivery.partition.value());
    if (partition < touched_.size()) touched_[partition] = true;
  }
  void NoteRefused(std::int64_t number, const absl::Status& status) {
    const std::lock_guard lock(mutex_);
    NoteFailure(number, status);
  }

  // The questions below: once nothing is outstanding, or for a look on the way.
  std::int64_t records() const { return Locked(records_); }
  std::int64_t bytes() const { return Locked(bytes_); }
  std::int64_t failed() const { return Locked(failed_); }
  // Of those that failed: they may be in the topic all the same.
  std::int64_t unknown() const { return Locked(unknown_); }
  Durability durability() const { return Locked(durability_); }
  std::int64_t first_failed() const { return Locked(first_failed_); }
  absl::Status first_failure() const { return Locked(first_failure_); }
  std::int64_t partitions() const {
    const std::lock_guard lock(mutex_);
    return std::count(touched_.begin(), touched_.end(), true);
  }
  // Whether going on makes no sense: a record failed for a reason that is not its own.
  bool hopeless() const { return Locked(hopeless_); }

 private:
  template <typename T>
  T Locked(const T& value) const {
    const std::lock_guard lock(mutex_);
    return value;
  }
  void NoteFailure(std::int64_t number, const absl::Status& status) {
    ++failed_;
    if (!absl::IsInvalidArgument(status)) hopeless_ = true;
    if (first_failed_ >= 0 && number > first_failed_) return;
    first_failed_ = number;
    first_failure_ = status;
  }

  mutable std::mutex mutex_;
  std::int64_t records_ = 0, bytes_ = 0, failed_ = 0, unknown_ = 0;
  std::int64_t first_failed_ = -1;
  absl::Status first_failure_;
  Durability durability_ = Durability::kDurable;
  bool hopeless_ = false;
  std::vector<bool> touched_;
};

// Carries lines to the producer and remembers which record came from where.
class Carrier {
 public:
  Carrier(const ProduceOptions& options, LineParser parser, client::Producer& producer,
          Tally& tally)
      : options_(options), parser_(std::move(parser)), producer_(producer), tally_(tally) {}

  // Reads `name` ("-" is stdin) to its end; stops early when it must.
  absl::Status Carry(const std::string& name) {
    const bool is_stdin = name == "-";
    const int fd = is_stdin ? STDIN_FILENO : open(name.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s cannot be opened: %s", name, std::strerror(errno)));
    }
    const absl::Cleanup close_it = [fd, is_stdin] {
      if (!is_stdin) close(fd);
    };
    sources_.push_back({is_stdin ? "stdin" : name, carried_});
    LineReader reader(fd, sources_.back().name, options_.json ? kJsonLineBytesMax : kBatchBytesMax);
    while (!Interrupt::requested() && !tally_.hopeless()) {
      ASSIGN_OR_RETURN(const std::optional<std::string_view> line, reader.Next());
      if (!line.has_value()) break;
      if (!CarryLine(*line)) break;
      progress_.Show(tally_.records(), tally_.bytes());
    }
    return absl::OkStatus();
  }

  // "orders.txt line 17"
  std::string PlaceOf(std::int64_t number) const {
    const auto after =
        std::upper_bound(sources_.begin(), sources_.end(), number,
                         [](std::int64_t n, const Source& s) { return n < s.first; });
    if (after == sources_.begin()) return "stdin";
    const Source& source = *std::prev(after);
    return absl::StrFormat("%s line %d", source.name, number - source.first + 1);
  }

  // Taken, and nothing known of them yet.
  std::int64_t outstanding() const { return carried_ - tally_.records() - tally_.failed(); }

  Progress& progress() { return progress_; }

 private:
  struct Source {
    std::string name;
    std::int64_t first;  // number of its first record
  };

  // False: an interrupt came before the line was taken.
  bool CarryLine(std::string_view line) {
    const std::int64_t number = carried_;
    const auto record = parser_.Parse(line);
    const absl::Status sent = record.ok() ? Send(number, **record) : record.status();
    if (absl::IsCancelled(sent)) return false;
    ++carried_;
    if (!sent.ok()) tally_.NoteRefused(number, sent);
    return true;
  }

  // Waits for room, but not after an interrupt: kCancelled.
  absl::Status Send(std::int64_t number, const client::ProduceRecord& record) {
    const std::size_t bytes = record.key.value_or("").size() + record.value.value_or("").size();
    const auto deadline = std::chrono::steady_clock::now() + kBlockTimeout;
    while (true) {
      const absl::Status sent =
          producer_.Send(options_.topic, record,
                         [&tally = tally_, number, bytes](const client::Delivery& delivery) {
                           tally.Note(number, bytes, delivery);
                         });
      const bool may_come = absl::IsDeadlineExceeded(sent) || absl::IsUnavailable(sent);
      if (!may_come) return sent;
      if (Interrupt::requested()) return absl::CancelledError("interrupted");
      if (std::chrono::steady_clock::now() >= deadline) {
        return absl::Status(sent.code(),
                            absl::StrFormat("given up after %d s: %s", kBlockTimeout.count() / 1000,
                                            std::string(sent.message())));
      }
    }
  }

  const ProduceOptions& options_;
  LineParser parser_;
  client::Producer& producer_;
  Tally& tally_;
  Progress progress_{"produced", /*silent=*/false};
  std::vector<Source> sources_;
  std::int64_t carried_ = 0;
};

client::Acks AcksOf(const std::string& name) {
  if (name == "none") return client::Acks::kNone;
  if (name == "written") return client::Acks::kWritten;
  if (name == "durable") return client::Acks::kDurable;
  return client::Acks::kDefault;
}

// Finds a mistyped topic or partition before anything is read.
absl::StatusOr<std::size_t> CountPartitions(const ProduceOptions& options, Session& session) {
  ASSIGN_OR_RETURN(client::Admin admin, session.Ask());
  ASSIGN_OR_RETURN(const auto topic, admin.DescribeTopic(options.topic));
  const auto count = static_cast<std::int32_t>(topic.partitions.size());
  if (options.partition >= count) {
    return absl::NotFoundError(absl::StrFormat("%s has no partition %d; it has 0..%d",
                                               options.topic, options.partition, count - 1));
  }
  return static_cast<std::size_t>(count);
}

void PrintSummary(const ProduceOptions& options, const Tally& tally,
                  std::chrono::steady_clock::duration elapsed, Session& session) {
  const std::int64_t records = tally.records();
  const std::string safety(ToString(records == 0 ? Durability::kNone : tally.durability()));
  const double seconds = std::chrono::duration<double>(elapsed).count();
  if (session.json) {
    JsonWriter json(session.output.buffer());
    json.BeginObject().Key("topic").Text(options.topic).Key("records").Int(records);
    json.Key("bytes").Int(tally.bytes()).Key("failed").Int(tally.failed());
    json.Key("unknown").Int(tally.unknown());
    json.Key("partitions").Int(tally.partitions()).Key("durability").Text(safety);
    json.Key("elapsed_ms").Int(static_cast<std::int64_t>(seconds * 1000)).EndObject();
    session.output.Write("\n");
    return;
  }
  std::string line =
      absl::StrFormat("produced %s record%s (%s) to %s", GroupedDigits(records),
                      records == 1 ? "" : "s", FormatBytes(tally.bytes()), options.topic);
  if (records > 0) {
    line += absl::StrFormat(": %d partition%s, %s, %.2f s, %s", tally.partitions(),
                            tally.partitions() == 1 ? "" : "s",
                            options.acks == "none" ? "not acknowledged" : safety, seconds,
                            FormatRate(records, elapsed));
  }
  Session::Say(line);
}

std::string Records(std::int64_t count) {
  return absl::StrFormat("%s record%s", GroupedDigits(count), count == 1 ? "" : "s");
}

// Waits for what is on its way; not after a second Ctrl-C.
absl::Status Flush(client::Producer& producer, Carrier& carrier) {
  const auto deadline = std::chrono::steady_clock::now() + kFlushTimeout;
  bool told = false;
  while (true) {
    const absl::Status flushed = producer.Flush(kLookInterval);
    if (!absl::IsDeadlineExceeded(flushed) || Interrupt::count() > 1 ||
        std::chrono::steady_clock::now() >= deadline) {
      return flushed;
    }
    if (!Interrupt::requested() || std::exchange(told, true)) continue;
    carrier.progress().Wipe();
    Session::Say(
        absl::StrFormat("cairn: interrupted; %s not acknowledged yet: waiting for the broker, "
                        "Ctrl-C again gives up",
                        Records(carrier.outstanding())));
  }
}

// Flushes what is on its way and says how it went.
absl::StatusOr<int> Finish(const ProduceOptions& options, client::Producer& producer,
                           Carrier& carrier, const Tally& tally, const absl::Status& read,
                           Session& session) {
  const absl::Status flushed = Flush(producer, carrier);
  const bool gave_up = !flushed.ok() && Interrupt::count() > 1;
  const absl::Status closed = producer.Close(client::Duration(0));
  const auto elapsed = carrier.progress().elapsed();
  carrier.progress().Wipe();
  PrintSummary(options, tally, elapsed, session);
  if (gave_up) {
    Session::Say(absl::StrFormat(
        "cairn: gave up: of %s it is unknown whether they are in the topic; %s failed",
        Records(tally.unknown()), Records(tally.failed() - tally.unknown())));
    return kExitFailed;
  }
  if (tally.failed() > 0) {
    const absl::Status why = session.Explain(tally.first_failure());
    Session::Say(absl::StrFormat("cairn: %s failed; the first is %s: %s", Records(tally.failed()),
                                 carrier.PlaceOf(tally.first_failed()),
                                 std::string(why.message())));
  }
  if (tally.hopeless()) Session::Say("cairn: stopped reading there");
  RETURN_IF_ERROR(read);
  if (Interrupt::requested()) {
    Session::Say(absl::StrFormat("cairn: interrupted; what was read before is in the topic%s",
                                 tally.failed() > 0 ? ", but for what failed" : ""));
  }
  if (tally.failed() > 0 || Interrupt::requested()) return kExitFailed;
  RETURN_IF_ERROR(flushed);
  RETURN_IF_ERROR(closed);
  return kExitOk;
}

absl::StatusOr<int> Produce(const ProduceOptions& options, Session& session) {
  ASSIGN_OR_RETURN(LineParser parser, LineParser::Make(options));
  ASSIGN_OR_RETURN(const std::size_t partitions, CountPartitions(options, session));
  client::ProducerOptions producer_options;
  producer_options.acks = AcksOf(options.acks);
  producer_options.block_timeout = kBlockSlice;
  ASSIGN_OR_RETURN(producer_options.codec, ParseCodec(options.codec));
  // The callbacks point to it, so it must outlive the producer.
  Tally tally(partitions);
  ASSIGN_OR_RETURN(auto cluster, session.Cluster());
  ASSIGN_OR_RETURN(auto producer, client::Producer::Open(std::move(cluster), producer_options));
  Interrupt::Install(/*noted=*/2);
  Carrier carrier(options, std::move(parser), *producer, tally);
  absl::Status read;
  for (const std::string& file : options.files) {
    read = carrier.Carry(file);
    if (!read.ok() || Interrupt::requested() || tally.hopeless()) break;
  }
  return Finish(options, *producer, carrier, tally, read, session);
}

}  // namespace

void AddProduce(CLI::App& app, Run& chosen) {
  auto options = std::make_shared<ProduceOptions>();
  CLI::App* command = app.add_subcommand("produce", "Append records, one a line");
  command->footer(kExamples);
  command->add_option("topic", options->topic, "The topic")->required()->type_name("TOPIC");
  command->add_option("file", options->files, "Files to read; stdin without any")
      ->type_name("FILE");
  auto* key =
      command->add_option("-k,--key", options->key, "The key of every record")->type_name("KEY");
  auto* delimiter = command
                        ->add_option("-K,--key-delimiter", options->delimiter,
                                     "Split key from value where it first stands")
                        ->type_name("DELIM")
                        ->excludes(key);
  auto* headers = command->add_option("-H,--header", options->headers, "A header; may be repeated")
                      ->type_name("NAME:VALUE")
                      ->expected(1)
                      ->take_all();
  command->add_option("-p,--partition", options->partition, "Send all of them here")
      ->type_name("P")
      ->check(WholeNumber(0, std::numeric_limits<std::int32_t>::max()));
  command->add_option("-z,--compression", options->codec, "Compress batches: none, zstd or lz4")
      ->type_name("CODEC")
      ->check(CLI::IsMember({"none", "zstd", "lz4"}).description(""));
  command
      ->add_option("--acks", options->acks,
                   "none, written or durable; without it what the topic's durability says")
      ->type_name("ACKS")
      ->check(CLI::IsMember({"none", "written", "durable"}).description(""));
  command->add_flag("-J,--json", options->json, "Read what 'cairn consume -J' writes")
      ->excludes(key, delimiter, headers);
  command->callback([options, &chosen] {
    if (options->files.empty()) options->files = {"-"};
    chosen = [options](Session& session) { return Produce(*options, session); };
  });
}

}  // namespace cairn::tools
