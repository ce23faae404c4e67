// Memory of experts is given back and taken again while a model runs: the system gets it, and the
// answer stays.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/random.h"
#include "runtime/logits_hash.h"
#include "runtime/process_memory.h"
#include "runtime/sampler/sampler.h"
#include "runtime/session.h"
#include "tests/runtime/support/made_profile.h"
#include "tests/sanitized.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::LogitsHash;
using runtime::Session;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

std::vector<std::uint64_t> decode(Session& session, int steps,
                                  const std::function<void(int)>& before_step) {
  std::vector<TokenId> prompt{300, 301, 302, 303, 304, 305, 306, 307};
  std::span<const float> logits = session.evaluate(prompt);
  std::vector<std::uint64_t> hashes;
  for (int i = 0; i < steps; ++i) {
    before_step(i);
    const TokenId token = runtime::argmax(logits);
    logits = session.evaluate({&token, 1});
    LogitsHash hash;
    hash.add(logits);
    hashes.push_back(hash.value());
  }
  return hashes;
}

class ExpertBudget : public ::testing::TestWithParam<io::IoBackend> {
 protected:
  EngineOptions options(double share) const {
    return {.model_path = kModel,
            .budget = {.expert_share = share},
            .context = 256,
            .threads = 2,
            .io = {.backend = GetParam()}};
  }
};
INSTANTIATE_TEST_SUITE_P(Io, ExpertBudget,
                         ::testing::Values(io::IoBackend::kUring, io::IoBackend::kPread),
                         [](const auto& row) {
                           return row.param == io::IoBackend::kUring ? "uring" : "pread";
                         });

TEST_P(ExpertBudget, ChangesNoLogitHoweverOftenItChanges) {
  Engine undisturbed(options(1.0));
  Session reference(undisturbed);
  const auto expected = decode(reference, 100, [](int) {});

  Engine engine(options(1.0));
  Session session(engine);
  const Bytes all = engine.plan().ram.experts, least = engine.least_expert_ram();
  Random random(7);
  const auto change = [&](int step) {
    const std::uint64_t between = random.below((all - least).count + 1);
    const Bytes wanted = step % 3 == 0   ? Bytes(all.count / 2)
                         : step % 3 == 1 ? all
                                         : least + Bytes(between);
    engine.set_expert_ram(wanted);
    EXPECT_LE(engine.expert_ram(), wanted);
    EXPECT_GE(engine.expert_ram(), least);
  };
  EXPECT_EQ(decode(session, 100, change), expected);
  EXPECT_GT(engine.experts().residency().counters().misses,
            undisturbed.experts().residency().counters().misses);
}

TEST_P(ExpertBudget, GivesMemoryBackToTheSystem) {
  if (::hearth::testing::kSanitized) GTEST_SKIP() << "shadow memory grows meanwhile";
  Engine engine(options(1.0));
  Session session(engine);
  decode(session, 4, [](int) {});
  const Bytes all = engine.expert_ram(), before = runtime::resident_memory();
  engine.set_expert_ram(Bytes(all.count / 2));
  const Bytes given_back = all - engine.expert_ram();
  EXPECT_GE(given_back.count, all.count / 2);
  // A page at each end of each size class is shared with what stays.
  const Bytes shared = Bytes(2 * 4096 * engine.needs().classes.size());
  EXPECT_LE(runtime::resident_memory() + given_back, before + shared);
  engine.set_expert_ram(all);
  EXPECT_EQ(engine.expert_ram(), all);
  EXPECT_GE(runtime::resident_memory() + shared, before);
}

TEST_P(ExpertBudget, RefusesWhatDoesNotWorkAndStaysAsItWas) {
  Engine engine(options(0.5));
  const Bytes all = engine.expert_ram();
  EXPECT_EQ(all, engine.plan().ram.experts);
  for (const Bytes wrong : {engine.least_expert_ram() - Bytes(1), Bytes(0)}) {
    EXPECT_THROW(engine.set_expert_ram(wrong), Error);
    EXPECT_EQ(engine.expert_ram(), all);
  }
  engine.set_expert_ram(all + all);
  EXPECT_EQ(engine.expert_ram(), all);
  engine.set_expert_ram(engine.least_expert_ram());
  EXPECT_EQ(engine.expert_ram(), engine.least_expert_ram());
  EXPECT_EQ(engine.plan().ram.experts, all);  // remains what was taken
}

TEST_P(ExpertBudget, KeepsTheExpertsThatAProfileWantsMost) {
  EngineOptions with_profile = options(1.0);
  with_profile.find_profile = [](const io::GgufFile&, const runtime::Model& model) {
    return made_profile(model, 3);
  };
  Engine engine(with_profile);
  Session session(engine);
  engine.set_expert_ram(engine.least_expert_ram());
  engine.restore_seed();  // as many of them as there are slots
  std::uint32_t resident = 0;
  for (LayerIndex layer = 0; layer < engine.config().layers; ++layer)
    resident += engine.experts().residency().resident(layer);
  EXPECT_EQ(resident, engine.expert_slots());
}

}  // namespace
}  // namespace hearth::testing
