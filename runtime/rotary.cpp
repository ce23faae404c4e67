#include "runtime/rotary.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hearth::runtime {
namespace {

// The pair that turns `turns` times within the original context.
double pair_that_turns(const RotarySpec& spec, double turns) {
  const double context = spec.original_context, base = static_cast<double>(spec.base);
  return spec.dims * std::log(context / (turns * 2 * std::numbers::pi)) / (2 * std::log(base));
}

// The share of its own speed that pair i keeps: 1 for pairs before beta_fast's, 0 after
// beta_slow's, and in between it falls linearly.
double kept_share(const RotarySpec& spec, std::uint32_t i) {
  if (spec.original_context == 0) return 0;
  const double fast = static_cast<double>(spec.beta_fast),
               slow = static_cast<double>(spec.beta_slow);
  const double first = std::max(0.0, std::floor(pair_that_turns(spec, fast)));
  const double last = std::min(spec.dims - 1.0, std::ceil(pair_that_turns(spec, slow)));
  return 1 - std::clamp((i - first) / std::max(0.001, last - first), 0.0, 1.0);
}

}  // namespace

double rotary_frequency(const RotarySpec& spec, std::uint32_t i) {
  const double own = std::pow(static_cast<double>(spec.base), -2.0 * i / spec.dims) /
                     (spec.factors.present() ? static_cast<double>(spec.factors.data()[i]) : 1.0);
  if (spec.speed == 1) return own;
  const double kept = kept_share(spec, i);
  return own * (static_cast<double>(spec.speed) * (1 - kept) + kept);
}

std::uint32_t rotary_dims(std::span<const RotaryTable> tables) {
  std::uint32_t dims = 0;
  for (const RotaryTable& table : tables) dims += table.spec.dims;
  return dims;
}

void fill_rotary(std::span<const RotaryTable> tables, const RotaryRows& to) {
  const std::size_t stride = rotary_dims(tables) / 2;
  for (const RotaryTable& table : tables) {
    const double magnitude = static_cast<double>(table.spec.magnitude);
    for (std::uint32_t i = 0; i < table.place.half; ++i) {
      const double each = rotary_frequency(table.spec, i);
      for (std::uint32_t row = 0; row < to.rows; ++row) {
        const double angle = each * (to.position + row);
        const std::size_t at = row * stride + table.place.begin + i;
        to.cosine[at] = static_cast<float>(std::cos(angle) * magnitude);
        to.sine[at] = static_cast<float>(std::sin(angle) * magnitude);
      }
    }
  }
}

}  // namespace hearth::runtime
