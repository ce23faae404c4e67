// What recording costs: time per decoded token for a model of 48 layers with 128 experts, of which
// 8 are used, beside the time of such a token at 30 tokens per second. One per cent is the most
// that a recorder may take.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "profiler/expert_profile.h"
#include "profiler/trace_file.h"

namespace hearth::profiler {
namespace {

constexpr std::uint32_t kLayers = 48, kExperts = 128, kUsed = 8, kTokens = 512;
constexpr double kDecodeSeconds = 1.0 / 30;

TraceHeader header() {
  TraceHeader header;
  header.model = {.layers = kLayers, .experts_per_layer = kExperts, .experts_used = kUsed};
  for (LayerIndex layer = 0; layer < kLayers; ++layer) header.layers.push_back({layer, kExperts});
  header.experts_per_row = kUsed;
  return header;
}

// Uniform experts, the worst case for whatever profits from repetition.
RoutingTrace random_tokens() {
  Random random(1);
  RoutingTrace trace(header());
  const std::vector<float> weights(kUsed, 1.0f / kUsed);
  std::vector<std::uint16_t> experts(kUsed);
  for (std::uint32_t position = 0; position < kTokens; ++position) {
    trace.begin_step({.position = position, .rows = 1});
    for (LayerIndex layer = 0; layer < kLayers; ++layer) {
      const auto first = static_cast<std::uint16_t>(random.below(kExperts));
      for (std::uint16_t rank = 0; rank < kUsed; ++rank)  // distinct: 11 is prime to 128
        experts[rank] = static_cast<std::uint16_t>((first + 11 * rank) % kExperts);
      trace.add({layer, 1, kUsed, experts, weights, position});
    }
  }
  return trace;
}

template <typename Observe>
void for_each_token(benchmark::State& state, Observe observe) {
  const RoutingTrace trace = random_tokens();
  std::size_t token = 0;
  const Nanoseconds start = steady_clock().now();
  for (auto _ : state) {
    for (std::size_t layer = 0; layer < kLayers; ++layer) observe(trace.decision(token, layer));
    token = (token + 1) % kTokens;
  }
  const double a_token =
      seconds(steady_clock().now() - start) / static_cast<double>(state.iterations());
  state.SetLabel(fmt::format("{:.3f} % of a decoded token", 100 * a_token / kDecodeSeconds));
}

void trace_writer(benchmark::State& state) {
  const std::string path =
      (std::filesystem::temp_directory_path() / "bench_recording.trace").string();
  {
    TraceWriter writer(path, header(), 1);
    for_each_token(state, [&](const Routing& routing) { writer.add(routing); });
  }
  std::filesystem::remove(path);
}
BENCHMARK(trace_writer);

void profile_recorder(benchmark::State& state) {
  ProfileRecorder recorder(
      empty_profile(header().model, std::vector<std::uint32_t>(kLayers, kExperts)), "benchmark");
  for_each_token(state, [&](const Routing& routing) { recorder.observe(routing); });
}
BENCHMARK(profile_recorder);

}  // namespace
}  // namespace hearth::profiler

BENCHMARK_MAIN();
