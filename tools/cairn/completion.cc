#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include <CLI/CLI.hpp>

#include "tools/cairn/commands.h"
#include "tools/cairn/usage.h"

namespace cairn::tools {
namespace {

constexpr char kExamples[] =
    "Examples:\n"
    "  source <(cairn completion bash)                                  for this shell\n"
    "  cairn completion bash > ~/.local/share/bash-completion/completions/cairn   for good";

// What a word may be, by the subcommands before it: "topic create" → options; topic names come from
// the broker, asked with the same -b.
constexpr char kScriptHead[] =
    "# bash completion for cairn; made by 'cairn completion bash'\n"
    "_cairn_topics() {\n"
    "  cairn \"${broker[@]}\" topic list 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
    "}\n"
    "_cairn_groups() {\n"
    "  cairn \"${broker[@]}\" group list 2>/dev/null | awk 'NR > 1 { print $1 }'\n"
    "}\n"
    "_cairn() {\n"
    "  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
    "  local path='' words='' topics='' word i\n"
    "  local -a broker=()\n"
    "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "    word=${COMP_WORDS[i]}\n"
    "    case $word in\n"
    "      -b|--broker) broker=(-b \"${COMP_WORDS[i+1]}${COMP_WORDS[i+2]/#[!:]*/}\") ;;\n"
    "      -*) ;;\n"
    "      *) case \" $(_cairn_subcommands \"$path\") \" in *\" $word \"*) path=\"${path:+$path "
    "}$word\" ;; "
    "esac ;;\n"
    "    esac\n"
    "  done\n"
    "  case $previous in\n"
    "    --format) COMPREPLY=($(compgen -W 'text json' -- \"$current\")); return ;;\n"
    "    -z|--compression) COMPREPLY=($(compgen -W 'none zstd lz4' -- \"$current\")); return ;;\n"
    "    --acks) COMPREPLY=($(compgen -W 'none written durable' -- \"$current\")); return ;;\n"
    "    -g|--group|--to-group) COMPREPLY=($(compgen -W \"$(_cairn_groups)\" -- \"$current\")); "
    "return ;;\n"
    "    --topic) COMPREPLY=($(compgen -W \"$(_cairn_topics)\" -- \"$current\")); return ;;\n"
    "    --from-file) COMPREPLY=($(compgen -f -- \"$current\")); return ;;\n"
    "  esac\n"
    "  case $current in\n"
    "    -*) words=$(_cairn_options \"$path\") ;;\n"
    "    *)\n"
    "      words=$(_cairn_subcommands \"$path\")\n"
    "      case $path in\n"
    "        produce|consume|offsets|'topic describe'|'topic alter'|'topic delete'|'topic trim')\n"
    "          words=$(_cairn_topics) ;;\n"
    "        'group describe'|'group delete'|'group reset-offsets') words=$(_cairn_groups) ;;\n"
    "        'log dump'|'log verify') COMPREPLY=($(compgen -d -- \"$current\")); return ;;\n"
    "      esac ;;\n"
    "  esac\n"
    "  COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
    "  if [ \"$path\" = produce ]; then COMPREPLY+=($(compgen -f -- \"$current\")); fi\n"
    "}\n";

std::string OptionNames(const CLI::App& app) {
  std::string names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_snames()) names += " -" + name;
    for (const std::string& name : option->get_lnames()) names += " --" + name;
  }
  return names;
}

// One line of a `case` for `app` and each of its descendants.
void AppendCases(const CLI::App& app, const std::string& path, const std::string& inherited,
                 std::string& subcommands, std::string& options) {
  const std::string own = inherited + OptionNames(app);
  std::string names;
  for (const CLI::App* sub : app.get_subcommands(nullptr)) names += " " + sub->get_name();
  subcommands += absl::StrFormat("    '%s') echo '%s' ;;\n", path, names);
  options += absl::StrFormat("    '%s') echo '%s' ;;\n", path, own);
  for (const CLI::App* sub : app.get_subcommands(nullptr)) {
    AppendCases(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(),
                path.empty() ? " -b --broker --format" : inherited, subcommands, options);
  }
}

std::string BashScript(const CLI::App& root) {
  std::string subcommands, options;
  AppendCases(root, "", "", subcommands, options);
  return absl::StrFormat(
      "%s"
      "_cairn_subcommands() {\n  case $1 in\n%s  esac\n}\n"
      "_cairn_options() {\n  case $1 in\n%s  esac\n}\n"
      "complete -F _cairn cairn\n",
      kScriptHead, subcommands, options);
}

}  // namespace

void AddCompletion(CLI::App& app, Run& chosen) {
  CLI::App* completion = app.add_subcommand("completion", "Completion for a shell");
  completion->footer(kExamples);
  completion->require_subcommand(1);
  CLI::App* bash = completion->add_subcommand("bash", "Print the script for bash");
  bash->footer(kExamples);
  bash->callback([&app, &chosen] {
    chosen = [&app](Session& session) -> absl::StatusOr<int> {
      session.output.Write(BashScript(app));
      return kExitOk;
    };
  });
}

}  // namespace cairn::tools
