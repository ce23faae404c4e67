// Several engines, sessions and threads. Also built with the thread sanitizer, which must be quiet.
//
// Experts are read by a pool of threads here: what the kernel does with io_uring's rings is no
// access that the sanitizer sees.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/api/support/handles.h"
#include "tests/sanitized.h"

namespace hearth::testing {
namespace {

constexpr std::uint32_t kTokens = kSanitized ? 12 : 40;

hearth_engine_options pread_options() {
  hearth_engine_options options = small_options();
  options.io = "pread";
  options.expert_ram = 4u << 20;
  return options;
}

std::vector<std::int32_t> text_of(const Handle<hearth_session>& session, std::int32_t first) {
  EXPECT_EQ(evaluate(session, numbers(50, first)), HEARTH_OK);
  return generate(session, kTokens);
}

TEST(Threads, TwoEnginesAndFourSessionsGiveWhatEachGivesAlone) {
  const auto first = open_engine(kModel, pread_options()),
             second = open_engine(kModel, pread_options());
  std::vector<std::vector<std::int32_t>> alone(4), together(4);
  for (std::int32_t i = 0; i < 4; ++i) alone[i] = text_of(open_session(first), 300 + 100 * i);
  std::vector<std::thread> threads;
  for (std::int32_t i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      const Handle<hearth_engine>& engine = i % 2 == 0 ? first : second;
      const auto session = open_session(engine);
      together[i] = text_of(session, 300 + 100 * i);
    });
  // Meanwhile a fifth thread asks, tokenizes and changes the budget.
  std::atomic<bool> done{false};
  std::thread other([&] {
    for (std::uint64_t i = 0; !done; ++i) {
      auto telemetry = sized<hearth_telemetry>();
      EXPECT_EQ(hearth_engine_telemetry(first.get(), &telemetry), HEARTH_OK);
      EXPECT_EQ(hearth_engine_set_expert_ram(second.get(), (i % 2 + 1) * (2u << 20)), HEARTH_OK)
          << hearth_message();
      std::size_t count = 0;
      EXPECT_EQ(hearth_tokenize(first.get(), "Once upon a time", 16, 0, nullptr, 0, &count),
                HEARTH_OK);
      EXPECT_EQ(facts_of(second).context, 256u);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (std::thread& thread : threads) thread.join();
  done = true;
  other.join();
  EXPECT_EQ(together, alone);
}

TEST(Threads, ASessionMayWander) {
  const auto engine = open_engine(kModel, pread_options());
  const auto session = open_session(engine), still = open_session(engine);
  ASSERT_EQ(evaluate(session, numbers(5)), HEARTH_OK);
  ASSERT_EQ(evaluate(still, numbers(5)), HEARTH_OK);
  for (int i = 0; i < 6; ++i) {
    std::vector<std::int32_t> token;
    std::thread([&] { token = generate(session, 1); }).join();
    EXPECT_EQ(token, generate(still, 1));
  }
}

// The others go on for as long as the test wants; who is cancelled ends within a token.
TEST(Threads, CancellingEndsOneAndNoOther) {
  hearth_engine_options options = pread_options();
  options.context = 1 << 14;  // more than anybody generates here
  const auto engine = open_engine(kModel, options);
  const auto cancelled = open_session(engine), other = open_session(engine);
  ASSERT_EQ(evaluate(cancelled, numbers(5)), HEARTH_OK);
  ASSERT_EQ(evaluate(other, numbers(5)), HEARTH_OK);
  struct Run {
    std::atomic<int> tokens{0};
    std::atomic<bool> stop{false};
  } first, second;
  const auto count = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
    auto& run = *static_cast<Run*>(user);
    run.tokens += 1;
    return run.stop ? 1 : 0;
  };
  auto generation = sized<hearth_generation>();
  generation.ignore_end = 1;
  hearth_status ended = HEARTH_OK;
  std::thread one([&] {
    ended = hearth_session_generate(cancelled.get(), &generation, count, &first, nullptr);
  });
  std::thread two([&] {
    EXPECT_EQ(hearth_session_generate(other.get(), &generation, count, &second, nullptr),
              HEARTH_STOPPED);
  });
  while (first.tokens < 3 || second.tokens < 3) std::this_thread::yield();
  ASSERT_EQ(hearth_session_cancel(cancelled.get()), HEARTH_OK);
  const int then = first.tokens;
  one.join();
  EXPECT_EQ(ended, HEARTH_STOPPED);
  EXPECT_LE(first.tokens, then + 1);
  const int at_least = second.tokens + 2;
  while (second.tokens < at_least) std::this_thread::yield();
  second.stop = true;
  two.join();
}

}  // namespace
}  // namespace hearth::testing
