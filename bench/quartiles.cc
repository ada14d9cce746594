#include "bench/quartiles.h"

#include <algorithm>
#include <cmath>

#include "protocol/check.h"

namespace cairn::bench {

Quartiles QuartilesOf(std::vector<double> figures) {
  CAIRN_CHECK(!figures.empty());
  std::sort(figures.begin(), figures.end());
  const auto at = [&](double share) {
    const double place = share * static_cast<double>(figures.size() - 1);
    const auto below = static_cast<std::size_t>(std::floor(place));
    const std::size_t above = std::min(below + 1, figures.size() - 1);
    return std::lerp(figures[below], figures[above], place - std::floor(place));
  };
  return {at(0), at(0.25), at(0.5), at(0.75), at(1)};
}

}  // namespace cairn::bench
