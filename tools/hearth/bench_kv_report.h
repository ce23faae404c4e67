// The results of hearth bench --kv as records and columns of a table.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/divergence.h"
#include "tools/hearth/bench_report.h"

namespace hearth::tools {

struct KvSpeed {
  std::uint32_t depth = 0;         // positions before the timed tokens
  std::uint32_t tokens = 0;        // of a repetition
  std::vector<Nanoseconds> times;  // of the repetitions
  std::uint64_t logits_hash = 0;
};

struct KvResult {
  std::string keys, values;
  std::uint32_t tail = 0;
  bool rotated = false;
  double bytes_per_token = 0;                // of long contexts, all layers
  Bytes kv_bytes;                            // planned, of the whole context
  std::optional<std::uint32_t> slots;        // of experts; none: the pair does not fit
  std::optional<std::int64_t> more_slots{};  // than with f16, where --ram was given
  std::uint32_t experts = 0;
  std::vector<KvSpeed> speeds;
  std::optional<runtime::Divergence> divergence;  // from f32
};

// What all pairs have in common.
struct KvSetup {
  std::string model_path, model_type;
  Bytes model_size;
  std::uint32_t context = 0;
  std::uint32_t threads = 0;
  std::string fill;  // "random" or "prefill"
  std::string text;  // empty: predictions were not compared
};

nlohmann::ordered_json kv_record(const KvSetup& setup, const KvResult& result);
std::vector<BenchColumn> kv_columns(const std::vector<std::uint32_t>& depths, bool timed,
                                    bool compared);

}  // namespace hearth::tools
