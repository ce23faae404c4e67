// hearth bench --kv: what formats of keys and values cost and give, a row for each pair.
//
// For each pair of formats: bytes of a token of context, speed of decoding behind so many
// positions, how far the predictions on a text are from those with f32, and how many experts fit
// beside it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/kv/kv_format.h"
#include "tools/hearth/bench_report.h"
#include "tools/hearth/engine_flags.h"

namespace hearth::tools {

struct KvPair {
  kernels::KvFormat keys, values;

  bool quantized() const {
    return kernels::traits(keys).quantized() || kernels::traits(values).quantized();
  }
  std::string name() const;  // "q8_0/q4_0"
  bool operator==(const KvPair&) const = default;
};

// "q8_0/q4_0,f16/f16"; one name stands for both, and "all" for every format with itself. Throws
// Error(kUsage).
std::vector<KvPair> parse_kv_pairs(std::string_view text);

struct KvBenchOptions {
  EngineFlags engine;  // without the formats, of which each pair has its own
  std::vector<KvPair> pairs;
  std::vector<std::uint32_t> depths;  // positions before the tokens that are timed
  std::uint32_t generate = 32;        // tokens; 0: nothing is timed
  std::uint32_t repetitions = 5;
  bool prefill = false;             // compute what is before; else it is random
  std::optional<std::string> text;  // to compare predictions on, and for the tokens
  std::uint32_t chunks = 4;         // of the text, at most
  std::uint64_t seed = 1;           // of random tokens, keys and values
  BenchFormat format = BenchFormat::kMarkdown;
  bool progress = false;
};

// Prints the results. Throws Error.
void bench_kv(const KvBenchOptions& options);

}  // namespace hearth::tools
