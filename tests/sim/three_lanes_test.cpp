// Layers whose experts are computed by three lanes, on a device that does things at any time that
// streams and events allow, and that fails.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/error.h"
#include "kernels/gpu/emulation/block_runner.h"
#include "tests/kernels/support/cpu_tables.h"
#include "tests/sim/support/moe_device.h"

namespace hearth::sim {
namespace {

using kernels::emulated::Streams;

const MoeModel& model() {
  static const MoeModel instance{MoeShape{}};
  return instance;
}

// A few tokens, and what the CPU makes of each.
struct Token {
  std::vector<float> hidden, expected;
};
std::vector<Token> tokens_of(const MoeModel& of, std::size_t count) {
  Random random(3);
  std::vector<Token> made(count);
  for (Token& token : made) {
    const MoeShape& s = of.shape();
    token.hidden = kernels::normal_floats(random, std::size_t{s.rows} * s.embedding);
    token.expected = of.forward(token.hidden);
  }
  return made;
}
const std::vector<Token>& tokens() {
  static const std::vector<Token> list = tokens_of(model(), 4);
  return list;
}

// Layers enough for a guess to be made while the one before it is still gathered, and tokens enough
// for experts to become old.
const MoeModel& deep_model() {
  static const MoeModel instance{MoeShape{.layers = 4}};
  return instance;
}
const std::vector<Token>& deep_tokens() {
  static const std::vector<Token> list = tokens_of(deep_model(), 6);
  return list;
}

bool same_bytes(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

World world(std::uint64_t seed) {
  World one;
  one.device.seed = seed;
  one.device.lanes = seed % 2 == 0 ? 32 : 64;
  return one;
}

// Whether all tokens come out as they should. The kernels themselves may see that they should not.
bool all_right(const MoeModel& of, const std::vector<Token>& list, const World& one) {
  try {
    MoeOnDevice layers(of, one);
    return std::ranges::all_of(list, [&](const Token& token) {
      return same_bytes(layers.step(token.hidden), token.expected);
    });
  } catch (const kernels::emulated::EmulationError&) {
    return false;
  }
}

TEST(ThreeLanes, TheModelItselfUsesThemAll) {
  MoeOnDevice layers(model(), world(1));
  for (const auto* list : {&tokens(), &deep_tokens()})
    for (const Token& token : *list)
      for (const float value : token.expected) ASSERT_TRUE(std::isfinite(value));
  for (const Token& token : tokens()) layers.step(token.hidden);
  EXPECT_GT(layers.fetched(), 0u);
  EXPECT_GT(layers.served_by_cpu(), 0u);
  EXPECT_GT(layers.hits(), 0u);
  EXPECT_GT(layers.experts().begins(), 0);
  EXPECT_EQ(layers.experts().begins(), layers.experts().ends());
}

TEST(ThreeLanes, EveryOrderGivesTheBytesOfTheCpu) {
  for (int seed = 0; seed < 30; ++seed) {
    MoeOnDevice layers(model(), world(static_cast<std::uint64_t>(seed)));
    for (std::size_t i = 0; i < tokens().size(); ++i)
      ASSERT_TRUE(same_bytes(layers.step(tokens()[i].hidden), tokens()[i].expected))
          << "seed " << seed << ", token " << i;
  }
}

TEST(ThreeLanes, EverySplitGivesTheSameBytes) {
  for (const std::uint32_t slots : {1u, 2u, 6u, 12u})
    for (const std::uint32_t fetches : {0u, 1u, 4u}) {
      World one = world(slots);
      one.slots = slots;
      one.fetches = fetches;
      MoeOnDevice layers(model(), one);
      for (const Token& token : tokens())
        ASSERT_TRUE(same_bytes(layers.step(token.hidden), token.expected))
            << slots << " slots, " << fetches << " fetches";
      EXPECT_EQ(layers.fetched() > 0, fetches > 0);
    }
}

TEST(ThreeLanes, AMistakeInTheOrderIsFound) {
  for (const Mistake mistake : {Mistake::kGatheredBeforeResolve, Mistake::kComputedBeforeGather,
                                Mistake::kCombinedBeforeTheCpu}) {
    int found = 0;
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      World one = world(seed);
      one.mistake = mistake;
      found += all_right(model(), tokens(), one) ? 0 : 1;
    }
    EXPECT_GT(found, 0) << static_cast<int>(mistake);
  }
}

// Slots for all experts are free at first: tokens of a run are few, and begin with another one for
// each seed.
World guessing_world(std::uint64_t seed) {
  World one = world(seed);
  one.slots = deep_model().shape().all_experts();
  one.fetches = 4;
  one.prefetches = 2;
  return one;
}
std::vector<Token> two_tokens(std::uint64_t seed) {
  const std::vector<Token>& all = deep_tokens();
  return {all[seed % all.size()], all[(seed + 1) % all.size()]};
}

TEST(ThreeLanes, GuessesGiveTheBytesOfTheCpuInEveryOrder) {
  std::uint64_t prefetched = 0, used = 0;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    World one = guessing_world(seed);
    if (seed % 4 == 0) one.slots = 9;
    one.prefetches = 1 + seed % 2;
    MoeOnDevice layers(deep_model(), one);
    for (const Token& token : two_tokens(seed))
      ASSERT_TRUE(same_bytes(layers.step(token.hidden), token.expected)) << "seed " << seed;
    prefetched += layers.prefetched();
    used += layers.prefetches_used();
  }
  EXPECT_GT(used, 0u);
  EXPECT_GT(prefetched, used);  // wrong ones, too
}

// A right guess has few operations in which it may be late, in few layers: most orders do not show
// the mistake, one in five to ten does.
TEST(ThreeLanes, AMistakeInTheOrderOfGuessesIsFound) {
  for (const Mistake mistake :
       {Mistake::kGuessIsAHit, Mistake::kGatheredAheadBeside, Mistake::kOneListOfGuesses}) {
    bool found = false;
    for (std::uint64_t seed = 0; seed < 80 && !found; ++seed) {
      World one = guessing_world(seed);
      one.mistake = mistake;
      found = !all_right(deep_model(), two_tokens(seed), one);
    }
    EXPECT_TRUE(found) << static_cast<int>(mistake);
  }
}

TEST(ThreeLanes, AThreadOfItsOwnServes) {
  World one = world(0);
  one.device.streams = Streams::kAtOnce;
  MoeOnDevice layers(model(), one);
  for (int round = 0; round < 3; ++round)
    for (const Token& token : tokens())
      ASSERT_TRUE(same_bytes(layers.step(token.hidden), token.expected));
}

// The code of the error that ends a run of one token, and its line; no code where none does.
struct Ended {
  std::optional<ErrorCode> code;
  std::string line;
};
Ended run_token(const World& one, FunctionRef<void(MoeOnDevice&)> after) {
  try {
    MoeOnDevice layers(model(), one);
    const bool right = same_bytes(layers.step(tokens()[0].hidden), tokens()[0].expected);
    after(layers);
    return {.line = right ? "right" : "wrong"};
  } catch (const Error& error) {
    return {.code = error.code(), .line = error.what()};
  }
}
Ended run_token(const World& one) {
  return run_token(one, [](MoeOnDevice&) {});
}

TEST(ThreeLaneFaults, ADeviceThatIsLostAtAnyOperationIsOneError) {
  std::uint64_t operations = 0;
  const auto count = [&](MoeOnDevice& layers) { operations = layers.device().operations(); };
  ASSERT_EQ(run_token(world(2), count).line, "right");
  ASSERT_GT(operations, 50u);
  for (std::uint64_t last = 1; last < operations; ++last) {
    World one = world(2);
    one.device.last_operation = last;
    const Ended ended = run_token(one);
    ASSERT_EQ(ended.code, ErrorCode::kDevice) << last << ": " << ended.line;
    EXPECT_EQ(ended.line.find('\n'), std::string::npos);
    EXPECT_NE(ended.line.find("lost"), std::string::npos) << ended.line;
  }
}

TEST(ThreeLaneFaults, AnAllocationThatFailsIsOneErrorAndLeaksNothing) {
  std::uint64_t of_device = 0, mapped = 0;
  const auto count = [&](MoeOnDevice& layers) {
    of_device = layers.device().allocations();
    mapped = layers.device().mapped_allocations();
  };
  ASSERT_EQ(run_token(world(2), count).line, "right");
  for (std::uint64_t failing = 1; failing <= of_device + mapped; ++failing) {
    World one = world(2);
    if (failing <= of_device)
      one.device.failing_allocation = failing;
    else
      one.device.failing_mapped = failing - of_device;
    ASSERT_EQ(run_token(one).code, ErrorCode::kBudget) << failing;
  }  // whose device CHECKs that all was given back
}

// One on disk that the first token wants, so that the lane has to read it.
std::uint32_t wanted_on_disk() {
  for (std::uint32_t expert = 0; expert < model().shape().all_experts(); ++expert) {
    if (!MemoryExperts::on_disk(expert)) continue;
    World one = world(3);
    one.unreadable = expert;
    if (run_token(one).code) return expert;
  }
  ADD_FAILURE() << "no expert on disk is wanted";
  return 0;
}

TEST(ThreeLaneFaults, AnExpertThatCannotBeReadIsTheErrorItIs) {
  const std::uint32_t expert = wanted_on_disk();
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (const Streams streams : {Streams::kScheduled, Streams::kAtOnce}) {
      World one = world(seed);
      one.device.streams = streams;
      one.unreadable = expert;
      const Ended ended = run_token(one);
      ASSERT_EQ(ended.code, ErrorCode::kIo) << ended.line;
      EXPECT_EQ(ended.line, fmt::format("model.gguf: expert {} cannot be read", expert));
    }
}

TEST(ThreeLaneFaults, AfterAnExpertThatCannotBeReadOtherTokensAreRight) {
  World one = world(4);
  one.unreadable = wanted_on_disk();
  MoeOnDevice layers(model(), one);
  EXPECT_THROW(layers.step(tokens()[0].hidden), Error);
  layers.readable_again();
  for (const Token& token : tokens())
    ASSERT_TRUE(same_bytes(layers.step(token.hidden), token.expected));
  EXPECT_EQ(layers.experts().begins(), layers.experts().ends());
}

TEST(ThreeLaneFaults, ACpuThatDoesNotAnswerEndsTheWait) {
  World one = world(5);
  one.cpu_answers = false;
  one.fetches = 0;
  MoeOnDevice layers(model(), one);
  try {
    layers.step(tokens()[0].hidden);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kDevice);
    EXPECT_NE(std::string(error.what()).find("experts of layer 0 within 30 s"), std::string::npos)
        << error.what();
  }
  layers.device().synchronize();  // the step has come to its end all the same: nothing hangs
}

TEST(ThreeLaneFaults, ADeviceThatDoesNotAnswerEndsTheWait) {
  World one = world(6);
  one.device_answers = false;
  const Ended ended = run_token(one);
  EXPECT_EQ(ended.code, ErrorCode::kDevice);
  EXPECT_NE(ended.line.find("the device hangs"), std::string::npos) << ended.line;
}

}  // namespace
}  // namespace hearth::sim
