#pragma once

#include "tools/cairn/session.h"

namespace CLI {
class App;
}

namespace cairn::tools {

// The table of contents of `cairn`, one file each. Each adds its subcommands to `app`; the one the
// user names puts its work into `chosen`. Both must live until the command line is parsed.
void AddStatus(CLI::App& app, Run& chosen);  // status.cc
void AddTopic(CLI::App& app, Run& chosen);  // topic.cc       create list describe alter delete trim
void AddProduce(CLI::App& app, Run& chosen);  // produce.cc
void AddConsume(CLI::App& app, Run& chosen);  // consume.cc
void AddOffsets(CLI::App& app, Run& chosen);  // offsets.cc
void AddGroup(CLI::App& app, Run& chosen);    // group.cc       list describe delete reset-offsets
void AddLog(CLI::App& app, Run& chosen);      // log.cc         dump verify
void AddCompletion(CLI::App& app, Run& chosen);  // completion.cc  bash

}  // namespace cairn::tools
