// A profile fills expert memory before the first token: it changes what has to be read, never the
// answer.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "io/read_window.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "tests/runtime/support/fake_reader.h"
#include "tests/runtime/support/made_profile.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;

constexpr std::uint32_t kExpertsUsed = 4;  // of the golden model, with 3 layers of 16 experts
const Bytes kSlot = Bytes(3 * io::window_capacity(64 * 32 / 32 * 18, FakeReader::kAlignment));

EngineOptions options_of(std::uint32_t slots, const std::shared_ptr<ReadWeather>& weather) {
  return {.model_path = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf",
          .budget = {.expert_ram = kSlot * slots},
          .context = 64,
          .threads = 1,
          .open_reader = readers_in(weather)};
}

std::uint64_t hash_of_run(Engine& engine) {
  constexpr TokenId kTokens[] = {10, 131, 47, 2, 20, 30, 59, 126, 75, 84, 28, 46};
  Session session(engine);
  runtime::LogitsHash hash;
  const auto add = [&](std::uint32_t, std::span<const float> logits) { hash.add(logits); };
  session.evaluate(std::span(kTokens).first(6), 0, add);
  for (std::size_t i = 6; i < std::size(kTokens); ++i) session.evaluate({&kTokens[i], 1}, 0, add);
  return hash.value();
}

void expect_just_the_seed(const Engine& engine) {
  const std::vector<ExpertId>& seed = engine.plan().seed;
  const std::set<ExpertId> seeded(seed.begin(), seed.end());
  const ExpertSpace space = engine.model().experts.space();
  for (std::uint32_t i = 0; i < space.size(); ++i)
    EXPECT_EQ(engine.experts().state(space.id(i)), seeded.contains(space.id(i))
                                                       ? profiler::ExpertState::kReady
                                                       : profiler::ExpertState::kAbsent);
}

TEST(Seeding, FillsTheSlotsAndNeverChangesTheAnswer) {
  const auto calm = std::make_shared<ReadWeather>();
  Engine unseeded(options_of(48, calm));
  EXPECT_TRUE(unseeded.plan().seed.empty());
  expect_just_the_seed(unseeded);
  const std::uint64_t expected = hash_of_run(unseeded);
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(seed);
    const auto weather = std::make_shared<ReadWeather>();
    weather->random = Random(seed);
    weather->longest_delay = static_cast<std::uint32_t>(seed);
    const std::uint32_t slots = kExpertsUsed + static_cast<std::uint32_t>(seed * 11 % 45);
    EngineOptions options = options_of(slots, weather);
    options.find_profile = [&](const io::GgufFile&, const runtime::Model& model) {
      return made_profile(model, seed);
    };
    const auto names = profiler::policy_names();
    options.policy = names[seed % names.size()];
    if (seed % 3 == 2) options.io.max_queued = 7;  // room for two experts
    Bytes done, all;
    options.progress = [&](Bytes now, Bytes whole) {
      EXPECT_LE(done, now);
      done = now, all = whole;
    };
    Engine engine(options);
    EXPECT_EQ(done, all);
    EXPECT_EQ(engine.experts().expert_bytes_read(), engine.seed_bytes());
    const std::vector<float> popularity = engine.profile()->popularity();
    const auto used = std::ranges::count_if(popularity, [](float uses) { return uses > 0; });
    EXPECT_EQ(engine.plan().seed.size(), std::min<std::size_t>(slots, used));
    expect_just_the_seed(engine);

    ASSERT_EQ(hash_of_run(engine), expected);
    engine.restore_seed();
    expect_just_the_seed(engine);
    ASSERT_EQ(hash_of_run(engine), expected);
  }
}

TEST(Seeding, AReadThatFailsIsAnErrorUnlessItSucceedsTheNextTime) {
  const auto weather = std::make_shared<ReadWeather>();
  weather->longest_delay = 5;
  EngineOptions options = options_of(20, weather);
  std::uint64_t dense_reads = 0;
  {
    const Engine engine(options);
    dense_reads = weather->reads;
  }
  options.find_profile = [](const io::GgufFile&, const runtime::Model& model) {
    return made_profile(model, 7);
  };
  weather->expect_calm();
  weather->fault = [&](std::uint64_t number, const io::ReadRequest&) {
    return number == dense_reads + 10 ? EIO : 0;
  };
  const Engine once(options);
  expect_just_the_seed(once);
  weather->expect_calm();
  weather->fault = [&](std::uint64_t number, const io::ReadRequest&) {
    return number >= dense_reads + 10 ? EIO : 0;
  };
  try {
    const Engine engine(options);
    FAIL() << "experts that cannot be read were seeded";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string(error.what()).find("reading expert "), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace hearth::testing
