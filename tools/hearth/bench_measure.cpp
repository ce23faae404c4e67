#include "tools/hearth/bench_measure.h"

#include <fmt/chrono.h>

#include <ctime>
#include <utility>

#include "base/check.h"
#include "runtime/gpu/device_model.h"
#include "runtime/sampler/sampler.h"

namespace hearth::tools {

std::string_view name_of(CacheState state) {
  switch (state) {
    case CacheState::kWarm:
      return "warm";
    case CacheState::kCold:
      return "cold";
    case CacheState::kAsItIs:
      break;
  }
  return "as-it-is";
}

ExpertTraffic ExpertTraffic::of(const runtime::Engine& engine) {
  const profiler::ResidencyCounters& counters = engine.experts().residency().counters();
  const profiler::PrefetchCounts prefetches = engine.prefetches();
  return {.read = engine.bytes_read(),
          .disk_wait = engine.experts().time_waited(),
          .hits = counters.hits,
          .misses = counters.misses,
          .prefetches = prefetches.issued,
          .prefetches_used = prefetches.used,
          .device = engine.device_model() == nullptr ? runtime::DeviceWork()
                                                     : engine.device_model()->work()};
}

void ExpertTraffic::add_difference(const ExpertTraffic& end, const ExpertTraffic& begin) {
  read += end.read - begin.read;
  disk_wait += end.disk_wait - begin.disk_wait;
  hits += end.hits - begin.hits;
  misses += end.misses - begin.misses;
  prefetches += end.prefetches - begin.prefetches;
  prefetches_used += end.prefetches_used - begin.prefetches_used;
  device += end.device - begin.device;
}

BenchRunner::BenchRunner(runtime::Engine& engine, std::span<const TokenId> tokens,
                         const BenchSettings& settings, std::function<void()> between_steps)
    : engine_(engine),
      session_(engine),
      tokens_(tokens),
      settings_(settings),
      between_steps_(std::move(between_steps)) {
  session_.force_routing(settings.routing);
}

BenchResult BenchRunner::run(const BenchPoint& point) {
  BenchResult result{.point = point,
                     .test_time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time({})))};
  if (settings_.cache == CacheState::kWarm) {
    engine_.restore_seed();
    compute(point, 0, nullptr);
    if (engine_.holds_all_experts()) engine_.load_absent();
  }
  hash_.reset();
  meter_ = memory_meter(point);
  for (std::uint32_t i = 1; i <= settings_.repetitions; ++i) compute(point, i, &result);
  result.logits_hash = hash_.value();
  if (meter_) result.memory_rate = meter_->bytes_per_second();
  meter_.reset();
  if (settings_.lane_times && point.prompt == 0) result.lanes = time_lanes(point);
  return result;
}

// With moments in its graphs a step takes longer: its time is none of the results.
runtime::LaneTime BenchRunner::time_lanes(const BenchPoint& point) {
  timing_lanes_ = true;
  compute(point, settings_.repetitions, nullptr);
  timing_lanes_ = false;
  runtime::DeviceModel& model = *engine_.device_model();
  const runtime::LaneTime time = model.lane_times()->time();
  model.time_lanes(false);
  return time;
}

// Repetitions take different tokens, spread evenly over all there are, with the warm-up's before
// them: computing the same tokens again would find just their experts in memory.
std::size_t BenchRunner::first_of(std::uint32_t repetition, std::uint32_t needed,
                                  std::size_t available) const {
  CHECK_LE(needed, available);
  return (available - needed) * repetition / settings_.repetitions;
}

// What was not computed was not routed.
void BenchRunner::begin_routing(const BenchPoint& point, std::uint32_t repetition) {
  const std::uint32_t position = settings_.random_depth ? point.depth : 0;
  const std::uint32_t needed = point.positions() - position;
  settings_.routing->begin_at(first_of(repetition, needed, settings_.routing->rows()), position);
}

void BenchRunner::compute(const BenchPoint& point, std::uint32_t repetition, BenchResult* result) {
  session_.reset();
  const std::span<const TokenId> tokens =
      tokens_.subspan(first_of(repetition, point.positions(), tokens_.size()), point.positions());
  if (settings_.routing != nullptr) begin_routing(point, repetition);
  std::span<const float> logits;
  if (settings_.random_depth && point.depth > 0)
    session_.fill_at_random(point.depth, settings_.seed + repetition);
  else if (point.depth > 0)
    logits = session_.evaluate(tokens.first(point.depth));
  engine_.experts().settle();  // what an earlier part prefetched is not this one's traffic
  if (settings_.cache == CacheState::kCold) engine_.restore_seed();

  if (timing_lanes_) engine_.device_model()->time_lanes(true);

  const ExpertTraffic before = ExpertTraffic::of(engine_);
  const Nanoseconds time = timed_part(point, tokens, logits);
  if (result == nullptr) return;
  result->times.push_back(time);
  result->traffic.add_difference(ExpertTraffic::of(engine_), before);
}

// Where single tokens are bound by RAM alone. While a disk is read, a pause would be time given to
// it for nothing.
std::unique_ptr<runtime::MemoryMeter> BenchRunner::memory_meter(const BenchPoint& point) const {
  const bool only_ram = engine_.device_model() == nullptr && engine_.holds_all_experts() &&
                        settings_.cache == CacheState::kWarm;
  return only_ram && point.prompt == 0 ? runtime::MemoryMeter::of(engine_) : nullptr;
}

// Prompt and generation; the logits after the prompt and after every token enter the hash. The time
// is without that of the plain reads, of which there is one at least every tenth of a second.
Nanoseconds BenchRunner::timed_part(const BenchPoint& point, std::span<const TokenId> tokens,
                                    std::span<const float> logits) {
  constexpr Nanoseconds kSlice = std::chrono::milliseconds(100);
  Nanoseconds time{0};
  if (meter_) meter_->read();
  Nanoseconds start = engine_.clock().now();
  if (point.prompt > 0) {
    logits = session_.evaluate(tokens.subspan(point.depth, point.prompt));
    hash_.add(logits);
    between_steps_();
  }
  for (std::uint32_t i = 0; i < point.generate; ++i) {
    const bool given = !settings_.greedy || logits.empty();
    const TokenId token = given ? tokens[session_.position()] : runtime::argmax(logits);
    logits = session_.evaluate({&token, 1});
    hash_.add(logits);
    between_steps_();
    const Nanoseconds slice = engine_.clock().now() - start;
    if (!meter_ || slice < kSlice) continue;
    time += slice;
    meter_->read();
    start = engine_.clock().now();
  }
  return time + (engine_.clock().now() - start);
}

}  // namespace hearth::tools
