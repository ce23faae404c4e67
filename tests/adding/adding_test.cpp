// A policy and an architecture that Hearth does not have are one file each (support/) and a line in
// a list, which tests/CMakeLists.txt adds to a copy of it. Nothing else is compiled anew but the
// two tables that are made of the lists.
#include <gtest/gtest.h>

#include <numeric>

#include "profiler/cache_policy.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/model_copy.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::Session;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";

struct Outcome {
  std::uint64_t hash = 0;  // of the logits
  std::uint64_t evictions = 0;
};

Outcome run(const EngineOptions& options) {
  Engine engine(options);
  Session session(engine);
  std::vector<TokenId> tokens(40);
  std::iota(tokens.begin(), tokens.end(), 3);
  runtime::LogitsHash hash;
  for (const TokenId& token : tokens) hash.add(session.evaluate({&token, 1}));
  return {hash.value(), engine.experts().residency().counters().evictions};
}

TEST(Adding, ThePolicyIsOneOfThoseThereAre) {
  const auto names = profiler::policy_names();
  EXPECT_EQ(names.back(), "made-up");
  EXPECT_GT(names.size(), 7u);
  const Outcome made_up =
      run({.model_path = kModel, .budget = {.expert_share = 0.5}, .policy = "made-up"});
  const Outcome lru = run({.model_path = kModel, .budget = {.expert_share = 0.5}, .policy = "lru"});
  EXPECT_EQ(made_up.hash, lru.hash);
  EXPECT_GT(made_up.evictions, 0u);
  EXPECT_NE(made_up.evictions, lru.evictions) << "the policy decided nothing";
}

TEST(Adding, TheArchitectureRunsItsFiles) {
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("made-up.gguf");
  ModelCopy model(kModel);
  model.rename_architecture("qwen3moe", "made-up");
  model.write(path);
  const Outcome here = run({.model_path = path});
  const Outcome there = run({.model_path = kModel});
  EXPECT_NE(here.hash, there.hash) << "the router of sigmoids changed nothing";
  EXPECT_EQ(here.hash, run({.model_path = path, .budget = {.expert_share = 0.5}}).hash);
}

}  // namespace
}  // namespace hearth::testing
