// The answer never depends on placement: the same tokens give the same logits, bit for bit,
// wherever experts lie, whoever reads and computes them, and in whichever chunks a prompt is fed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "runtime/logits_hash.h"
#include "runtime/sampler/sampler.h"
#include "runtime/session.h"
#include "tests/runtime/support/recorded_run.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::LogitsHash;
using runtime::Session;

const std::string kModel = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf";

struct Lengths {
  std::size_t prompt = 0;    // whose logits are all hashed
  std::size_t generate = 0;  // greedily, after a short prompt
};

struct Answer {
  std::uint64_t prefill = 0;
  std::uint64_t decode = 0;
  bool operator==(const Answer&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Answer& answer) {
  return out << fmt::format("prefill {:016x}, decode {:016x}", answer.prefill, answer.decode);
}

Answer answer_of(Engine& engine, Lengths lengths) {
  static const std::string text =
      read_text(HEARTH_SOURCE_DIR "/models/eval/prose.txt").substr(0, 4096);
  const std::vector<TokenId> tokens = engine.tokenizer().encode(text, {});
  Session session(engine);

  LogitsHash prefill;
  session.evaluate(std::span(tokens).first(lengths.prompt), 0,
                   [&](std::uint32_t, std::span<const float> logits) { prefill.add(logits); });

  session.reset();
  LogitsHash decode;
  std::span<const float> logits = session.evaluate(std::span(tokens).first(16));
  for (std::size_t i = 0; i < lengths.generate; ++i) {
    const TokenId token = runtime::argmax(logits);
    logits = session.evaluate({&token, 1});
    decode.add(logits);
  }
  return {prefill.value(), decode.value()};
}

// All experts in memory, one thread: nothing is ever evicted, prefetched or computed side by side.
EngineOptions simplest() {
  return {.model_path = kModel,
          .budget = {.expert_share = 1.0},
          .threads = 1,
          .prefetch = false,
          .io = {.backend = io::IoBackend::kPread}};
}

// Slots for the experts of one token in each size class.
Bytes smallest_budget() {
  const Engine engine(simplest());
  Bytes total;
  for (const profiler::ExpertClass& one : engine.needs().classes)
    total += one.slot * engine.config().experts_used;
  return total;
}

// Sixteen of the 4 x 2 x 2 x 2 x 2 combinations, chosen so that every pair of values of any two
// settings occurs: an orthogonal array. The settings are distinct linear functions over GF(2) of
// the four bits of `run`; the budget is two of the bits, and no other setting depends on these
// alone.
struct Placement {
  int budget;  // index into kBudgets
  bool uring, prefetch, two_threads, pin;

  explicit Placement(int run)
      : budget(run & 3),
        uring(run & 4),
        prefetch(run & 8),
        two_threads(uring != prefetch),
        pin(uring != ((run & 1) != 0)) {}
};
constexpr const char* kBudgets[] = {"100 %", "50 %", "25 %", "the smallest"};

EngineOptions options_of(const Placement& placement, Bytes smallest) {
  EngineOptions options{.model_path = kModel,
                        .threads = placement.two_threads ? 2u : 1u,
                        .policy = placement.pin ? "pin+lru" : "lru",
                        .prefetch = placement.prefetch};
  options.io.backend = placement.uring ? io::IoBackend::kUring : io::IoBackend::kPread;
  if (placement.budget == 3)
    options.budget.expert_ram = smallest;
  else
    options.budget.expert_share = placement.budget == 0 ? 1.0 : placement.budget == 1 ? 0.5 : 0.25;
  return options;
}

TEST(Placement, TheSmallestBudgetIsTheLeastThatWorks) {
  EngineOptions options = simplest();
  options.budget = {.expert_ram = smallest_budget()};
  EXPECT_NO_THROW(Engine{options});
  options.budget = {.expert_ram = smallest_budget() - Bytes(1)};
  try {
    Engine engine(options);
    FAIL() << "a budget below the smallest was accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBudget);
  }
}

TEST(Placement, NeverChangesTheAnswer) {
  constexpr Lengths kLengths{.prompt = 150, .generate = 64};
  const Bytes smallest = smallest_budget();
  Engine reference(simplest());
  const Answer expected = answer_of(reference, kLengths);
  std::uint64_t prefetches = 0;
  for (int run = 0; run < 16; ++run) {
    const Placement placement(run);
    SCOPED_TRACE(fmt::format("experts {}, {}, prefetch {}, {} threads, {}",
                             kBudgets[placement.budget], placement.uring ? "uring" : "pread",
                             placement.prefetch, placement.two_threads ? 2 : 1,
                             placement.pin ? "pin+lru" : "lru"));
    Engine engine(options_of(placement, smallest));
    EXPECT_EQ(answer_of(engine, kLengths), expected);
    const profiler::ResidencyCounters& counters = engine.experts().residency().counters();
    EXPECT_EQ(counters.evictions > 0, placement.budget != 0);
    prefetches += counters.prefetches;
  }
  EXPECT_GT(prefetches, 0u);
}

TEST(Placement, NeitherDoesTheSizeOfChunks) {
  constexpr Lengths kLengths{.prompt = 300, .generate = 0};
  Engine reference(simplest());
  const Answer expected = answer_of(reference, kLengths);
  for (const std::uint32_t batch : {1u, 7u, 64u, 512u}) {
    SCOPED_TRACE(fmt::format("chunks of {}", batch));
    EngineOptions options = simplest();
    options.batch = batch;
    options.budget = {.expert_share = 0.4};
    options.threads = 2;
    Engine engine(options);
    EXPECT_EQ(answer_of(engine, kLengths), expected);
  }
}

// The kernels that the environment variable HEARTH_CPU names.
class ForcedKernels {
 public:
  explicit ForcedKernels(kernels::InstructionSet set) {
    if (const char* value = std::getenv("HEARTH_CPU")) before_ = value;
    setenv("HEARTH_CPU", std::string(kernels::name_of(set)).c_str(), 1);
  }
  ~ForcedKernels() {
    if (before_)
      setenv("HEARTH_CPU", before_->c_str(), 1);
    else
      unsetenv("HEARTH_CPU");
  }
  ForcedKernels(const ForcedKernels&) = delete;
  ForcedKernels& operator=(const ForcedKernels&) = delete;

 private:
  std::optional<std::string> before_;
};

TEST(Placement, NorDoTheKernels) {
  constexpr Lengths kLengths{.prompt = 40, .generate = 16};
  std::optional<Answer> expected;
  for (const auto set : {kernels::InstructionSet::kScalar, kernels::InstructionSet::kAvx2,
                         kernels::InstructionSet::kAvx512}) {
    if (!kernels::supported(set)) continue;
    SCOPED_TRACE(kernels::name_of(set));
    const ForcedKernels forced(set);
    Engine engine(simplest());
    ASSERT_EQ(engine.kernels().name, kernels::name_of(set));
    const Answer answer = answer_of(engine, kLengths);
    if (!expected) expected = answer;
    EXPECT_EQ(answer, *expected);
  }
}

}  // namespace
}  // namespace hearth::testing
