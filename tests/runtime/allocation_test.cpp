// All memory is taken at load: a token in the steady state asks the heap for nothing.
#include <gtest/gtest.h>

#include <cstdlib>
#include <numeric>

#include "profiler/trace_file.h"
#include "runtime/model_identity.h"
#include "runtime/sampler/sampler.h"
#include "runtime/session.h"
#include "runtime/trace_header.h"
#include "tests/io/support/temporary_directory.h"
#include "tests/runtime/support/heap_calls.h"
#include "tests/runtime/support/made_profile.h"

namespace hearth::testing {
namespace {

using runtime::Engine;
using runtime::Session;

TEST(HeapCalls, CountsNewMallocCallocAndRealloc) {
  const std::uint64_t before = heap_calls();
  void* volatile memory = std::malloc(10);
  memory = std::realloc(memory, 1 << 20);
  std::free(memory);
  memory = std::calloc(10, 10);
  std::free(memory);
  memory = ::operator new(10);
  ::operator delete(memory);
  EXPECT_GE(heap_calls() - before, 4u);
}

struct Setting {
  const char* name;
  io::IoBackend backend;
  kernels::KvFormat keys, values;
};

class SteadyState : public ::testing::TestWithParam<Setting> {};

TEST_P(SteadyState, ATokenAllocatesNothing) {
  Engine engine({.model_path = HEARTH_SOURCE_DIR "/models/tiny-moe-Q4_K_M.gguf",
                 .budget = {.expert_share = 0.33},
                 .context = 512,
                 .threads = 2,
                 .key_format = GetParam().keys,
                 .value_format = GetParam().values,
                 .io = {.backend = GetParam().backend},
                 .find_profile = [](const io::GgufFile&, const runtime::Model& model) {
                   return made_profile(model, 1);
                 }});
  Session session(engine);
  const io::TemporaryDirectory directory;
  const std::string path = directory.file("t.trace");
  profiler::TraceWriter trace(
      path, runtime::trace_header_of(engine.model(), runtime::identity_of(engine.file()), "test"),
      engine.plan().batch);
  profiler::ProfileRecorder recorder(*made_profile(engine.model(), 2), "test");
  const std::uint64_t counted_before = recorder.profile().tokens();
  std::uint64_t routed = 0;
  session.on_routed([&](const profiler::Routing&) { ++routed; });
  session.on_routed([&](const profiler::Routing& routing) { trace.add(routing); });
  session.on_routed([&](const profiler::Routing& routing) { recorder.observe(routing); });

  // A prompt, and single tokens into the first trial of the prefetcher, which begins after 256.
  std::vector<TokenId> prompt(64);
  std::iota(prompt.begin(), prompt.end(), 300);
  TokenId token = runtime::argmax(session.evaluate(prompt));
  const auto decode = [&](int steps) {
    for (int i = 0; i < steps; ++i) token = runtime::argmax(session.evaluate({&token, 1}));
  };
  constexpr int kBefore = 300, kCounted = 32;
  decode(kBefore);

  const std::uint64_t calls = heap_calls(), misses = engine.experts().residency().counters().misses;
  decode(kCounted);
  EXPECT_EQ(heap_calls() - calls, 0u);
  EXPECT_GT(engine.experts().residency().counters().misses, misses)
      << "no expert was read meanwhile";
  EXPECT_EQ(routed, (1u + kBefore + kCounted) * engine.config().layers);
  EXPECT_EQ(recorder.profile().tokens() - counted_before, prompt.size() + kBefore + kCounted);
  trace.finish();
  EXPECT_EQ(trace.rows(), prompt.size() + kBefore + kCounted);
  const profiler::RoutingTrace recorded = profiler::read_trace(path).trace;
  EXPECT_EQ(recorded.rows(), trace.rows());
  EXPECT_EQ(recorded.step(1).position, prompt.size());
}

// Windows, sinks, dense layers, shared experts, weighed inputs, norms everywhere.
TEST(SteadyStateOfOtherModels, ATokenAllocatesNothing) {
  for (const char* name : {"gpt-oss", "glm4moe", "llama4", "gemma4"}) {
    SCOPED_TRACE(name);
    Engine engine({.model_path = fmt::format(HEARTH_SOURCE_DIR "/tests/golden/{}.gguf", name),
                   .budget = {.expert_share = 0.6},
                   .context = 128,
                   .threads = 2});
    Session session(engine);
    TokenId token = 7;
    const auto decode = [&](int steps) {
      for (int i = 0; i < steps; ++i) token = runtime::argmax(session.evaluate({&token, 1}));
    };
    decode(32);
    const std::uint64_t calls = heap_calls();
    decode(32);
    EXPECT_EQ(heap_calls() - calls, 0u);
  }
}

using kernels::KvFormat;
INSTANTIATE_TEST_SUITE_P(
    Settings, SteadyState,
    ::testing::Values(Setting{"uring", io::IoBackend::kUring, KvFormat::kF16, KvFormat::kF16},
                      Setting{"pread", io::IoBackend::kPread, KvFormat::kF16, KvFormat::kF16},
                      Setting{"quantized", io::IoBackend::kUring, KvFormat::kQ8_0, KvFormat::kQ4_0},
                      // A tile of 128 positions is encoded among the steps that are counted.
                      Setting{"kvarn", io::IoBackend::kUring, KvFormat::kKvarn4,
                              KvFormat::kTurbo3}),
    [](const auto& parameter) { return std::string(parameter.param.name); });

}  // namespace
}  // namespace hearth::testing
