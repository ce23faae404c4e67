// Which experts hit, miss and are evicted follows from the routing alone: never from the back end,
// the threads, or when and in which order reads finish.
#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "io/read_window.h"
#include "profiler/cache_policy.h"
#include "runtime/session.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;

// Chunks and single tokens: the second chunk finds experts in memory and a policy that has learned.
constexpr std::size_t kPieces[] = {64, 1, 1, 1, 1, 1, 1, 64, 1, 1, 1};
constexpr std::size_t kTokens = 137;

// Hits, misses and evictions of every layer.
using Counts = std::vector<std::vector<std::uint64_t>>;

Counts counts_of_run(Engine& engine) {
  std::vector<TokenId> tokens(kTokens);
  for (std::size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<TokenId>((i * i + 7) % engine.config().vocabulary);
  Session session(engine);
  for (const std::size_t piece : kPieces)
    session.evaluate(std::span(tokens).subspan(session.position(), piece));
  Counts counts;
  for (std::uint32_t layer = 0; layer < engine.config().layers; ++layer) {
    const auto& of_layer = engine.experts().residency().counters(static_cast<LayerIndex>(layer));
    counts.push_back({of_layer.hits, of_layer.misses, of_layer.evictions});
  }
  return counts;
}

std::uint64_t evictions(const Counts& counts) {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0},
                         [](std::uint64_t sum, const auto& layer) { return sum + layer[2]; });
}

TEST(ExpertOrder, DoesNotDependOnTheBackEndOrTheThreads) {
  std::size_t run = 0;
  for (const double share : {0.13, 0.2, 0.35, 0.6, 0.9}) {
    const std::string policy(profiler::policy_names()[run++ % profiler::policy_names().size()]);
    SCOPED_TRACE(fmt::format("{}, {} of the experts", policy, share));
    std::optional<Counts> expected;
    for (const auto& [backend, threads] : {std::pair{io::IoBackend::kPread, 1u},
                                           {io::IoBackend::kPread, 2u},
                                           {io::IoBackend::kUring, 2u}}) {
      Engine engine({.model_path = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf",
                     .budget = {.expert_share = share},
                     .context = 256,
                     .threads = threads,
                     .policy = policy,
                     .prefetch = false,
                     .io = {.backend = backend}});
      const Counts counts = counts_of_run(engine);
      if (!expected) expected = counts;
      ASSERT_EQ(counts, *expected) << threads << " threads, " << engine.io_description();
    }
    EXPECT_GT(evictions(*expected), 0u);
  }
}

// A model of 3 layers with 16 experts, of which 4 are used; a chunk of 64 tokens wants all of them.
constexpr std::uint32_t kExpertsUsed = 4;
// Three matrices of 64 x 32 in Q4_0, 18 bytes for 32 values.
const Bytes kSlot = Bytes(3 * io::window_capacity(64 * 32 / 32 * 18, FakeReader::kAlignment));

TEST(ExpertOrder, DoesNotDependOnWhenReadsFinish) {
  for (const std::string_view policy : profiler::policy_names()) {
    for (const std::uint32_t slots : {kExpertsUsed, 7u, 13u, 23u, 40u}) {
      std::optional<Counts> expected;
      for (std::uint64_t seed = 0; seed < 10; ++seed) {
        const auto weather = std::make_shared<ReadWeather>();
        weather->random = Random(seed);
        weather->longest_delay = static_cast<std::uint32_t>(3 * seed);  // 0: at once, in order
        // Every third has room for few reads, so that decisions wait for the queue, too.
        const std::uint32_t queue = seed % 3 == 2 ? 7 : io::ReaderOptions{}.max_queued;
        Engine engine({.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
                       .budget = {.expert_ram = kSlot * slots},
                       .context = 256,
                       .threads = 1,
                       .policy = std::string(policy),
                       .prefetch = false,
                       .io = {.max_queued = queue},
                       .open_reader = readers_in(weather)});
        const Counts counts = counts_of_run(engine);
        if (!expected) expected = counts;
        ASSERT_EQ(counts, *expected) << policy << ", " << slots << " slots, seed " << seed;
      }
      EXPECT_GT(evictions(*expected), 0u);
    }
  }
}

}  // namespace
}  // namespace hearth::testing
