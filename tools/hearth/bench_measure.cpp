#include "tools/hearth/bench_measure.h"

#include <fmt/chrono.h>

#include <ctime>
#include <utility>

#include "base/check.h"
#include "runtime/logits_hash.h"
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
  return {.read = engine.bytes_read(),
          .disk_wait = engine.experts().time_waited(),
          .hits = counters.hits,
          .misses = counters.misses,
          .prefetches = counters.prefetches,
          .prefetches_used = counters.prefetches_used};
}

void ExpertTraffic::add_difference(const ExpertTraffic& end, const ExpertTraffic& begin) {
  read += end.read - begin.read;
  disk_wait += end.disk_wait - begin.disk_wait;
  hits += end.hits - begin.hits;
  misses += end.misses - begin.misses;
  prefetches += end.prefetches - begin.prefetches;
  prefetches_used += end.prefetches_used - begin.prefetches_used;
}

BenchRunner::BenchRunner(runtime::Engine& engine, std::span<const TokenId> tokens,
                         const BenchSettings& settings, std::function<void()> between_steps)
    : engine_(engine),
      session_(engine),
      tokens_(tokens),
      settings_(settings),
      between_steps_(std::move(between_steps)) {}

BenchResult BenchRunner::run(const BenchPoint& point) {
  CHECK_LE(point.positions(), tokens_.size());
  BenchResult result{.point = point,
                     .test_time = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time({})))};
  if (settings_.cache == CacheState::kWarm) compute(point, nullptr);
  for (std::uint32_t i = 0; i < settings_.repetitions; ++i) {
    const std::uint64_t hash = compute(point, &result);
    // Where experts lie must not change the answer, and only that differs between repetitions.
    if (i > 0) CHECK_EQ(hash, result.logits_hash);
    result.logits_hash = hash;
  }
  return result;
}

std::uint64_t BenchRunner::compute(const BenchPoint& point, BenchResult* result) {
  session_.reset();
  std::span<const float> logits;
  if (point.depth > 0) logits = session_.evaluate(tokens_.first(point.depth));
  engine_.experts().settle();  // what an earlier part prefetched is not this one's traffic
  if (settings_.cache == CacheState::kCold) engine_.experts().drop_all();

  const ExpertTraffic before = ExpertTraffic::of(engine_);
  const Nanoseconds start = engine_.clock().now();
  const std::uint64_t hash = timed_part(point, logits);
  const Nanoseconds end = engine_.clock().now();
  if (result == nullptr) return hash;
  result->times.push_back(end - start);
  result->traffic.add_difference(ExpertTraffic::of(engine_), before);
  return hash;
}

// Prompt and generation; returns the hash of the logits after the prompt and after every token.
std::uint64_t BenchRunner::timed_part(const BenchPoint& point, std::span<const float> logits) {
  runtime::LogitsHash hash;
  if (point.prompt > 0) {
    logits = session_.evaluate(tokens_.subspan(point.depth, point.prompt));
    hash.add(logits);
    between_steps_();
  }
  for (std::uint32_t i = 0; i < point.generate; ++i) {
    const bool given = !settings_.greedy || logits.empty();
    const TokenId token = given ? tokens_[session_.position()] : runtime::argmax(logits);
    logits = session_.evaluate({&token, 1});
    hash.add(logits);
    between_steps_();
  }
  return hash.value();
}

}  // namespace hearth::tools
