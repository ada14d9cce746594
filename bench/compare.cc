#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <optional>
#include <unistd.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"

#include "bench/commands.h"
#include "bench/measured_run.h"
#include "bench/quartiles.h"
#include "protocol/status.h"

namespace cairn::bench {
namespace {

struct CompareOptions {
  std::string a, b;
  std::string metric = "bytes_per_second";
  std::string metric_b;  // empty: the same
  int pairs = 5;
  std::optional<double> at_least, at_most;
};

// One side: something to run, or a number that stands for itself.
class Side {
 public:
  static absl::StatusOr<Side> Parse(const std::string& command, std::string metric) {
    double number = 0;
    if (absl::SimpleAtod(command, &number)) return Side(number);
    ASSIGN_OR_RETURN(MeasuredRun run, MeasuredRun::Parse(command));
    return Side(std::move(run), std::move(metric));
  }

  absl::StatusOr<double> Measure() const {
    if (!run_.has_value()) return number_;
    ASSIGN_OR_RETURN(const nlohmann::json figures, run_->Run());
    const auto found = figures.find(metric_);
    if (found != figures.end() && found->is_number()) return found->get<double>();
    return absl::InvalidArgumentError(
        absl::StrFormat("no figure %s; there are: %s", metric_, figures.dump()));
  }

 private:
  explicit Side(double number) : number_(number) {}
  Side(MeasuredRun run, std::string metric) : run_(std::move(run)), metric_(std::move(metric)) {}

  double number_ = 0;
  std::optional<MeasuredRun> run_;
  std::string metric_;
};

struct Pairs {
  std::vector<double> a, b, ratios;
};

// A B, B A, A B, …: what slowly changes meanwhile, the heat or the neighbours, favours neither.
absl::StatusOr<Pairs> MeasurePairs(const CompareOptions& options) {
  ASSIGN_OR_RETURN(const Side a, Side::Parse(options.a, options.metric));
  ASSIGN_OR_RETURN(
      const Side b,
      Side::Parse(options.b, options.metric_b.empty() ? options.metric : options.metric_b));
  Pairs pairs;
  for (int i = 0; i < options.pairs; ++i) {
    double of_a = 0, of_b = 0;
    const bool a_first = i % 2 == 0;
    if (a_first) {
      ASSIGN_OR_RETURN(of_a, a.Measure());
    }
    ASSIGN_OR_RETURN(of_b, b.Measure());
    if (!a_first) {
      ASSIGN_OR_RETURN(of_a, a.Measure());
    }
    if (of_b == 0) return absl::InvalidArgumentError("the second figure is 0: there is no ratio");
    pairs.a.push_back(of_a);
    pairs.b.push_back(of_b);
    pairs.ratios.push_back(of_a / of_b);
    absl::FPrintF(stderr, "pair %d of %d: %.6g / %.6g = %.3f\n", i + 1, options.pairs, of_a, of_b,
                  of_a / of_b);
  }
  return pairs;
}

bool Holds(const CompareOptions& options, double ratio) {
  return (!options.at_least.has_value() || ratio >= *options.at_least) &&
         (!options.at_most.has_value() || ratio <= *options.at_most);
}

std::string Wanted(const CompareOptions& options) {
  std::string wanted;
  if (options.at_least.has_value()) wanted += absl::StrFormat(", at least %.3g", *options.at_least);
  if (options.at_most.has_value()) wanted += absl::StrFormat(", at most %.3g", *options.at_most);
  return wanted.empty() ? "" : " (wanted" + wanted.substr(1) + ")";
}

absl::StatusOr<Report> Compare(const CompareOptions& options, int& exit_code) {
  ASSIGN_OR_RETURN(const Pairs pairs, MeasurePairs(options));
  const Quartiles ratio = QuartilesOf(pairs.ratios);
  const bool holds = Holds(options, ratio.median);
  Report report;
  report.workload = "compare";
  report.settings = {{"a", options.a}, {"b", options.b}, {"metric", options.metric}};
  report.figures["pairs"] = options.pairs;
  report.figures["a"] = QuartilesOf(pairs.a).median;
  report.figures["b"] = QuartilesOf(pairs.b).median;
  report.figures["ratio"] = ratio.median;
  report.figures["ratio_min"] = ratio.min;
  report.figures["ratio_lower_quartile"] = ratio.lower;
  report.figures["ratio_upper_quartile"] = ratio.upper;
  report.figures["ratio_max"] = ratio.max;
  report.figures["holds"] = holds;
  report.summary = absl::StrFormat(
      "%s: ratio %.3f, quartiles %.3f to %.3f, %d pairs%s%s", options.metric, ratio.median,
      ratio.lower, ratio.upper, options.pairs, Wanted(options), holds ? "" : ": it does not hold");
  exit_code = holds ? 0 : 1;
  return report;
}

}  // namespace

void AddCompare(CLI::App& app, Chosen& chosen) {
  const auto options = std::make_shared<CompareOptions>();
  CLI::App* const command =
      app.add_subcommand("compare", "Runs two things in turns and gives the ratio of a figure");
  command->add_option("A", options->a, "A command of cairn-bench, in quotes")->required();
  command->add_option("B", options->b, "Another one, or a number")->required();
  command->add_option("--pairs", options->pairs, "How many runs of each")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--metric", options->metric, "Which figure")->capture_default_str();
  command->add_option("--metric-b", options->metric_b, "Which figure of B (default: the same)");
  command->add_option("--at-least", options->at_least, "Exit code 1 if the median is below");
  command->add_option("--at-most", options->at_most, "Exit code 1 if the median is above");
  command->footer(
      "A command that begins with a path is run by that program: two builds can be compared.\n"
      "Examples:\n"
      "  cairn-bench compare produce 'limit append' --at-least 0.7\n"
      "  cairn-bench compare 'e2e' 'limit round-trip' --metric p50_us --at-most 2\n"
      "  cairn-bench compare './new/cairn-bench produce' './old/cairn-bench produce' --pairs 10\n"
      "  cairn-bench compare 'many connections' 8192 --metric bytes_per_connection --at-most 1");
  command->callback([&chosen, options] {
    chosen.run = [&chosen, options] { return Compare(*options, chosen.exit_code); };
  });
}

}  // namespace cairn::bench
