// Runs one test of `hearth bench` a number of times and counts what it cost.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine.h"
#include "runtime/forced_routing.h"
#include "runtime/gpu/device_work.h"
#include "runtime/gpu/lane_times.h"
#include "runtime/link_peaks.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "tools/hearth/bench_points.h"

namespace hearth::tools {

// In which state a repetition finds the expert memory.
enum class CacheState {
  kWarm,    // as many other tokens have just been computed
  kCold,    // as after loading: empty, or what the profile seeds
  kAsItIs,  // whatever the test before left
};
std::string_view name_of(CacheState state);

struct BenchSettings {
  std::uint32_t repetitions = 5;
  CacheState cache = CacheState::kWarm;
  bool greedy = false;  // feed back the likeliest token; else the tokens are given
  runtime::ForcedRouting* routing = nullptr;  // instead of the routers; null: none
  bool random_depth = false;  // what is before a test was not computed (Session::fill_at_random)
  std::uint64_t seed = 1;     // of that
  bool lane_times = false;    // each test of single tokens once more, to time a device's lanes
};

// What the expert memory, the disk and a device did.
struct ExpertTraffic {
  Bytes read;                // from the disk, read windows included
  Nanoseconds disk_wait{0};  // of it: nothing to do but wait for reads
  std::uint64_t hits = 0, misses = 0;
  std::uint64_t prefetches = 0, prefetches_used = 0;
  runtime::DeviceWork device;

  static ExpertTraffic of(const runtime::Engine& engine);  // since the engine was opened
  void add_difference(const ExpertTraffic& end, const ExpertTraffic& begin);
};

struct BenchResult {
  BenchPoint point;
  std::string test_time;           // when it began: ISO 8601, UTC
  std::vector<Nanoseconds> times;  // one per repetition
  ExpertTraffic traffic;           // of all repetitions together
  double memory_rate = 0;          // of plain reads between the tokens, bytes/s; 0: none were made
  std::uint64_t logits_hash = 0;   // of all repetitions
  runtime::LaneTime lanes;         // of a device; no steps: not asked for
};

class BenchRunner {
 public:
  // `tokens` cover the longest test; `between_steps` may throw to stop.
  BenchRunner(runtime::Engine& engine, std::span<const TokenId> tokens,
              const BenchSettings& settings, std::function<void()> between_steps);

  BenchResult run(const BenchPoint& point);
  runtime::Session& session() { return session_; }

 private:
  std::size_t first_of(std::uint32_t repetition, std::uint32_t needed, std::size_t available) const;
  void begin_routing(const BenchPoint& point, std::uint32_t repetition);
  void compute(const BenchPoint& point, std::uint32_t repetition, BenchResult* result);
  runtime::LaneTime time_lanes(const BenchPoint& point);
  std::unique_ptr<runtime::MemoryMeter> memory_meter(const BenchPoint& point) const;
  Nanoseconds timed_part(const BenchPoint& point, std::span<const TokenId> tokens,
                         std::span<const float> logits);

  runtime::Engine& engine_;
  runtime::Session session_;
  std::span<const TokenId> tokens_;
  BenchSettings settings_;
  std::function<void()> between_steps_;
  runtime::LogitsHash hash_;
  bool timing_lanes_ = false;
  std::unique_ptr<runtime::MemoryMeter> meter_;  // of the test; null: nothing to compare with
};

}  // namespace hearth::tools
