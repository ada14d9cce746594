#pragma once

#include <string>

namespace cairn::broker {

// On whose behalf a request is made. Until there are users, everyone is "anonymous".
struct Principal {
  std::string name;
};

}  // namespace cairn::broker
