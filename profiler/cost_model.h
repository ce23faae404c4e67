// How long a decoded token takes, from what it moves over each link and what that link carries.
//
// CPU only: compute reads dense weights, experts and keys and values at the kernels' rates; the
// disk delivers what memory misses. The two overlap in part, and not at all where the disk has
// nothing to do (before the first router, and in the output matrix).
// With a GPU: hits are computed from VRAM; a miss is computed by the CPU where it lies or copied,
// whichever split lets both finish together (FreeToken, arXiv 2608.16157), plus fixed costs per
// layer, without which such a model recommends splits that lose.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/units.h"
#include "profiler/machine.h"
#include "profiler/model_needs.h"

namespace hearth::profiler {

// Where the routed experts of a token are found: parts of their bytes that sum to 1.
struct TierHits {
  double vram = 0;
  double ram = 1;
  double disk = 0;
};

// What becomes of an expert that is in RAM but not in VRAM.
enum class MissPath : std::uint8_t {
  kSplit,  // whichever is sooner, some by the CPU and some copied
  kCopy,
  kCpu,
};

// Prefetch reads more than is missed: some of it is not used, and makes others be missed. Measured
// on Qwen3-30B-A3B's shape with 60, 40 and 25 % of the file in memory: 1.16, 1.12 and 1.08 times
// what a replay without prefetch misses.
inline constexpr double kReadWithPrefetch = 1.1;

struct DecodeLoad {
  TierHits hits;
  std::uint32_t threads = 1;
  std::uint32_t depth = 0;  // positions in the KV cache
  bool prefetch = true;     // the disk works while attention is computed
  MissPath misses = MissPath::kSplit;
};

struct LinkTime {
  std::string link;  // "memory", "disk", "GPU memory", "PCIe", "fixed costs"
  Bytes bytes;       // per token
  BytesPerSecond rate = 0;
  Nanoseconds time{0};
};

struct DecodePrediction {
  double tokens_per_second = 0;
  double low = 0, high = 0;     // the range that measurements fell into, see cost_model.cpp
  std::vector<LinkTime> links;  // in use; their times overlap
  std::string binding_link;     // the one whose time is longest
};

// On the machine's GPU if it has one. Experts on disk need a machine with a disk.
DecodePrediction predict_decode(const ModelNeeds& needs, const Machine& machine,
                                const DecodeLoad& load);

// Of one read of an expert from disk: its three matrices are read one by one.
Bytes expert_read_size(const ModelNeeds& needs);

// What the CPU's kernels reach with the experts of a token; 0: the machine has no rate for them.
BytesPerSecond expert_rate(const ModelNeeds& needs, const CpuMachine& cpu, std::uint32_t threads);

}  // namespace hearth::profiler
