#pragma once

#include <vector>

namespace cairn::bench {

// How figures of several runs are spread; between two of them it is interpolated.
struct Quartiles {
  double min = 0, lower = 0, median = 0, upper = 0, max = 0;
};

// Requires that there are any.
Quartiles QuartilesOf(std::vector<double> figures);

}  // namespace cairn::bench
