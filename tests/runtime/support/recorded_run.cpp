#include "tests/runtime/support/recorded_run.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>

#include "base/check.h"
#include "tools/hearth/npy.h"

namespace hearth::testing {

RecordedRun record_run(runtime::Engine& engine, std::span<const TokenId> tokens,
                       std::span<const std::size_t> pieces) {
  RecordedRun run;
  runtime::Session session(engine);
  session.on_routed([&](const profiler::Routing& routing) {
    for (std::uint32_t row = 0; row < routing.rows; ++row) {
      const auto ids = routing.experts.subspan(std::size_t{row} * routing.experts_per_row,
                                               routing.experts_per_row);
      run.experts[routing.layer].emplace_back(ids.begin(), ids.end());
    }
  });
  std::size_t begin = 0;
  for (const std::size_t piece : pieces) {
    session.evaluate(tokens.subspan(begin, piece), 0,
                     [&](std::uint32_t, std::span<const float> logits) {
                       run.logits.insert(run.logits.end(), logits.begin(), logits.end());
                     });
    begin += piece;
  }
  CHECK_EQ(begin, tokens.size());
  return run;
}

std::size_t different_choices(const ExpertSets& a, const ExpertSets& b) {
  CHECK_EQ(a.size(), b.size());
  std::size_t count = 0;
  for (const auto& [layer, sets] : a) {
    const auto& others = b.at(layer);
    CHECK_EQ(sets.size(), others.size());
    for (std::size_t token = 0; token < sets.size(); ++token)
      count += sets[token] != others[token] ? 1 : 0;
  }
  return count;
}

Difference difference(std::span<const float> logits, std::span<const float> reference) {
  CHECK_EQ(logits.size(), reference.size());
  const auto count = static_cast<double>(reference.size());
  double sum = 0, squares = 0, error_squares = 0, error_max = 0;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double value = reference[i], error = std::abs(logits[i] - value);
    sum += value;
    squares += value * value;
    error_squares += error * error;
    error_max = std::max(error_max, error);
  }
  const double deviation = std::sqrt(squares / count - sum / count * (sum / count));
  return {.rms = std::sqrt(error_squares / count) / deviation, .max = error_max / deviation};
}

std::vector<float> read_array(const std::string& path) {
  tools::NpyReader reader(path);
  std::vector<float> values(reader.rows() * reader.columns());
  for (std::uint64_t row = 0; row < reader.rows(); ++row)
    reader.read_row(std::span(values).subspan(row * reader.columns(), reader.columns()));
  return values;
}

std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace hearth::testing
