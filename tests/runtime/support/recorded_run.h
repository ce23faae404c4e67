// Everything a session computed for a sequence of tokens, for comparison.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "base/ids.h"
#include "runtime/engine.h"
#include "runtime/session.h"

namespace hearth::testing {

using ExpertSets =
    std::map<LayerIndex, std::vector<std::set<std::uint16_t>>>;  // by layer and token

struct RecordedRun {
  std::vector<float> logits;  // [tokens][vocabulary]
  ExpertSets experts;
};

// Evaluates `tokens` from an empty timeline, the first `pieces[0]` in one call, and so on.
RecordedRun record_run(runtime::Engine& engine, std::span<const TokenId> tokens,
                       std::span<const std::size_t> pieces);

// In how many places (layer and token) the choices differ.
std::size_t different_choices(const ExpertSets& a, const ExpertSets& b);

// Differences between two arrays of logits, in standard deviations of the reference.
struct Difference {
  double rms = 0;
  double max = 0;
};
Difference difference(std::span<const float> logits, std::span<const float> reference);

// A two-dimensional .npy file of float32, row by row.
std::vector<float> read_array(const std::string& path);

std::string read_text(const std::string& path);

}  // namespace hearth::testing
