// Reads that finish in any order, late, or not at all: the logits stay the same bit for bit, or the
// error is clear and the engine goes on as if nothing had happened.
#include <gtest/gtest.h>

#include <memory>
#include <optional>

#include "base/error.h"
#include "io/read_window.h"
#include "io/reader_backends.h"
#include "runtime/logits_hash.h"
#include "runtime/session.h"
#include "tests/runtime/support/fake_reader.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::EngineOptions;
using runtime::LogitsHash;
using runtime::Session;

const std::string kModel = HEARTH_SOURCE_DIR "/tests/golden/qwen3moe.gguf";
constexpr std::uint32_t kExpertsUsed = 4, kExperts = 16;  // of that model

// Tokens of a prompt and single ones; more would only repeat what these do.
constexpr TokenId kTokens[] = {10, 131, 47, 2, 20, 30, 59, 126, 75, 84, 28, 46};
constexpr std::size_t kPrompt = 6;

std::uint64_t hash_of_run(Session& session) {
  LogitsHash hash;
  const auto add = [&](std::uint32_t, std::span<const float> logits) { hash.add(logits); };
  session.reset();
  session.evaluate(std::span(kTokens).first(kPrompt), 0, add);
  for (std::size_t i = kPrompt; i < std::size(kTokens); ++i)
    session.evaluate({&kTokens[i], 1}, 0, add);
  return hash.value();
}

// Three matrices of 64 x 32 in Q4_0, 18 bytes for 32 values.
const Bytes kSlot = Bytes(3 * io::window_capacity(64 * 32 / 32 * 18, FakeReader::kAlignment));

// `slots`: how many experts fit memory.
Engine open(const std::shared_ptr<ReadWeather>& weather, std::uint32_t slots = kExpertsUsed) {
  return Engine({.model_path = kModel,
                 .budget = {.expert_ram = kSlot * slots},
                 .context = 64,
                 .threads = 1,
                 .open_reader = readers_in(weather)});
}

std::uint64_t right_hash() {
  static const std::uint64_t hash = [] {
    Engine engine(
        {.model_path = kModel, .budget = {.expert_share = 1.0}, .context = 64, .threads = 1});
    Session session(engine);
    return hash_of_run(session);
  }();
  return hash;
}

TEST(ReadOrder, DoesNotReachTheLogits) {
  for (std::uint64_t seed = 0; seed < 256; ++seed) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->random = Random(seed);
    weather->longest_delay = static_cast<std::uint32_t>(seed % 64);
    Engine engine = open(weather, kExpertsUsed + static_cast<std::uint32_t>(seed % 30));
    Session session(engine);
    ASSERT_EQ(hash_of_run(session), right_hash()) << "seed " << seed;
    ASSERT_EQ(hash_of_run(session), right_hash()) << "seed " << seed << ", experts from before";
  }
}

TEST(ReadFault, OfAPrefetchDoesNotSurface) {
  for (std::uint64_t seed = 0; seed < 64; ++seed) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->random = Random(seed);
    weather->longest_delay = static_cast<std::uint32_t>(seed % 32);
    Engine engine = open(weather, 32);
    Session session(engine);
    LayerIndex current = 0;
    session.on_routed([&](const profiler::Routing& routing) { current = routing.layer; });
    std::uint64_t failed = 0;
    weather->reads = 0;
    weather->fault = [&](std::uint64_t, const io::ReadRequest& request) {
      // Tags number the reads of experts, layer by layer: a read for a layer that does not run yet.
      const bool prefetch = request.tag / (kExperts * runtime::kMaxExpertParts) != current;
      if (!prefetch || weather->random.below(2) == 0) return 0;
      failed += 1;
      return EIO;
    };
    ASSERT_EQ(hash_of_run(session), right_hash()) << "seed " << seed;
    ASSERT_GT(failed, 0u);
  }
}

TEST(ReadFault, AtEveryReadOfARunIsAnErrorThatPasses) {
  const auto weather = std::make_shared<ReadWeather>();
  weather->longest_delay = 3;
  Engine engine = open(weather);
  Session session(engine);
  std::uint64_t surfaced = 0;
  for (std::uint64_t n = 0;; ++n) {
    SCOPED_TRACE(fmt::format("read {} fails", n));
    engine.experts().settle();
    engine.experts().drop_all();
    weather->expect_calm();
    weather->fault = [n](std::uint64_t number, const io::ReadRequest&) {
      return number == n ? EIO : 0;
    };
    try {
      ASSERT_EQ(hash_of_run(session),
                right_hash());  // it was a prefetch, or there were fewer reads
    } catch (const Error& error) {
      surfaced += 1;
      const std::string line = error.what();
      ASSERT_EQ(error.code(), ErrorCode::kIo);
      ASSERT_NE(line.find(kModel + ": reading expert "), line.npos) << line;
      ASSERT_NE(line.find("Input/output error"), line.npos) << line;
    }
    if (weather->reads <= n) break;
    weather->expect_calm();
    ASSERT_EQ(hash_of_run(session), right_hash()) << "after the fault";
  }
  // Of 12 tokens, 3 layers and 4 experts, nearly all of which are read, one at a time or together.
  EXPECT_GT(surfaced, 100u);
}

TEST(ReadFault, OfAllReadsFromOneOnLetsEverythingBeDestroyed) {
  for (std::uint64_t n = 0; n < 120; n += 7) {
    const auto weather = std::make_shared<ReadWeather>();
    weather->longest_delay = 20;
    Engine engine = open(weather);
    Session session(engine);
    weather->reads = 0;
    weather->fault = [n](std::uint64_t number, const io::ReadRequest&) {
      return number >= n ? EIO : 0;
    };
    EXPECT_THROW(hash_of_run(session), Error) << n;
  }  // with reads under way
}

// A program may forbid the calls of io_uring once it has loaded a model.
class CallsThatEnd final : public io::KernelCalls {
 public:
  std::optional<std::uint32_t> left;  // before the kernel refuses to be entered; none: it does not
  int enter(io_uring* ring, unsigned completions) override {
    if (left && *left == 0) return -EPERM;
    if (left) *left -= 1;
    return KernelCalls::enter(ring, completions);
  }
};

TEST(ReadFault, OfTheKernelFromOneCallOnLetsEverythingBeDestroyed) {
  for (std::uint32_t n = 0; n < 24; ++n) {
    CallsThatEnd calls;
    Engine engine({.model_path = kModel,
                   .budget = {.expert_ram = kSlot * kExpertsUsed},
                   .context = 64,
                   .threads = 1,
                   .open_reader = [&](const std::vector<std::string>& paths,
                                      const io::ReaderOptions& options) {
                     return io::open_reader(paths, options, calls);
                   }});
    if (engine.io_description().find("io_uring, ") == std::string::npos)
      GTEST_SKIP() << engine.io_description();
    Session session(engine);
    calls.left = n;
    try {
      hash_of_run(session);
      FAIL() << "call " << n;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kIo);
      EXPECT_NE(std::string(error.what()).find("use --io pread"), std::string::npos);
    }
  }  // with reads that the kernel has, and others that it did not take
}

TEST(ReadFault, LeavesOtherSessionsTheirSlots) {
  const auto weather = std::make_shared<ReadWeather>();
  weather->longest_delay = 5;
  Engine engine = open(weather);
  Session failing(engine), other(engine);
  weather->reads = 0;
  weather->fault = [](std::uint64_t number, const io::ReadRequest&) {
    return number >= 30 ? EIO : 0;
  };
  EXPECT_THROW(hash_of_run(failing), Error);
  weather->expect_calm();
  engine.experts().settle();  // reads that are under way fail, too
  EXPECT_EQ(hash_of_run(other), right_hash());
  EXPECT_EQ(hash_of_run(failing), right_hash());
}

TEST(ReadFault, WhileTheModelIsLoadedNamesTheTensor) {
  const auto weather = std::make_shared<ReadWeather>();
  std::uint64_t loading_reads = 0;
  {
    const Engine engine = open(weather);
    loading_reads = weather->reads;
  }
  ASSERT_GE(loading_reads, 30u);  // a tensor each
  for (std::uint64_t n = 0; n < loading_reads; ++n) {
    for (const int code : {EIO, io::ReadCompletion::kUnexpectedEnd}) {
      weather->expect_calm();
      weather->longest_delay = 4;
      weather->fault = [&](std::uint64_t number, const io::ReadRequest&) {
        return number == n ? code : 0;
      };
      try {
        open(weather);
        FAIL() << "read " << n;
      } catch (const Error& error) {
        const std::string line = error.what();
        EXPECT_EQ(error.code(), ErrorCode::kIo) << line;
        EXPECT_EQ(line.rfind(kModel + ": ", 0), 0u) << line;
        EXPECT_NE(line.find("tensor "), line.npos) << line;
        EXPECT_NE(line.find(code == EIO ? "Input/output error" : "became shorter"), line.npos)
            << line;
      }
    }
  }
}

// A whole layer of experts wanted at once, with room for a fraction in the queue of the reader.
TEST(ReadQueueOfTheStore, IsNeverOverrun) {
  const auto weather = std::make_shared<ReadWeather>();
  weather->longest_delay = 9;
  EngineOptions options{.model_path = kModel,
                        .budget = {.expert_share = 1.0},
                        .context = 64,
                        .threads = 1,
                        .io = {.max_queued = 7},
                        .open_reader = readers_in(weather)};
  Engine engine(options);
  Session session(engine);
  weather->reads = 0;
  weather->fault = [&](std::uint64_t, const io::ReadRequest&) {
    EXPECT_LE(engine.reader().outstanding(), 6u);
    return 0;
  };
  EXPECT_EQ(hash_of_run(session), right_hash());
}

}  // namespace
}  // namespace hearth::testing
