// What the calling program is like has no effect on the library, and the library none on it.
#include <gtest/gtest.h>
#include <hearth/experts.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cfenv>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "tests/api/support/handles.h"

namespace hearth::testing {
namespace {

std::vector<float> logits_of_a_new_engine() { return logits_after(open_engine(), numbers(40)); }

class HostFloats : public ::testing::Test {
 protected:
  HostFloats() { std::fegetenv(&before_); }
  ~HostFloats() override { std::fesetenv(&before_); }

 private:
  std::fenv_t before_;
};

TEST_F(HostFloats, RoundingOfTheProgramChangesNoLogit) {
  const std::vector<float> expected = logits_of_a_new_engine();
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    ASSERT_EQ(std::fesetround(mode), 0);
    EXPECT_EQ(logits_of_a_new_engine(), expected) << mode;
    EXPECT_EQ(std::fegetround(), mode);
  }
}

#if defined(__x86_64__)
TEST_F(HostFloats, TrapsOfTheProgramDoNotEndIt) {
  const std::vector<float> expected = logits_of_a_new_engine();
  constexpr int kTraps = FE_DIVBYZERO | FE_INVALID | FE_OVERFLOW;
  ASSERT_NE(feenableexcept(kTraps), -1);
  EXPECT_EQ(logits_of_a_new_engine(), expected);
  EXPECT_EQ(fegetexcept(), kTraps);
}
#endif

TEST_F(HostFloats, FlagsOfTheProgramStay) {
  ASSERT_EQ(std::feclearexcept(FE_ALL_EXCEPT), 0);
  logits_of_a_new_engine();
  EXPECT_EQ(std::fetestexcept(FE_ALL_EXCEPT), 0);
}

TEST(HostThreads, OneThatIsCancelledFinishesItsCall) {
  const auto engine = open_engine();
  const auto session = open_session(engine);
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  struct Host {
    hearth_session* session;
    std::atomic<int> tokens{0};
    std::atomic<bool> cancelled{false}, returned{false};
  } host{.session = session.get()};
  const auto generate_until_cancelled = [](void* given) -> void* {
    auto* const own = static_cast<Host*>(given);
    auto generation = sized<hearth_generation>();
    generation.ignore_end = 1;
    const auto on_token = [](void* user, std::int32_t, const char*, std::size_t) -> std::int32_t {
      auto* const called = static_cast<Host*>(user);
      called->tokens += 1;
      while (!called->cancelled) std::this_thread::yield();
      pthread_testcancel();
      return called->tokens == 3 ? 1 : 0;
    };
    own->returned = hearth_session_generate(own->session, &generation, on_token, own, nullptr) ==
                    HEARTH_STOPPED;
    pthread_testcancel();
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, nullptr, generate_until_cancelled, &host), 0);
  while (host.tokens == 0) std::this_thread::yield();
  ASSERT_EQ(pthread_cancel(thread), 0);
  host.cancelled = true;
  void* result = nullptr;
  ASSERT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
  EXPECT_TRUE(host.returned);
  EXPECT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
}

// By thread of this process, as the system has it.
std::map<std::string, std::uint64_t> blocked_signals() {
  std::map<std::string, std::uint64_t> blocked;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);)
      if (line.rfind("SigBlk:", 0) == 0)
        blocked[task.path().filename()] = std::stoull(line.substr(7), nullptr, 16);
  }
  return blocked;
}

TEST(HostSignals, AreHandledInThreadsOfTheProgram) {
  const auto blocks = [](std::uint64_t mask, int signal) {
    return (mask >> (signal - 1) & 1) != 0;
  };
  const auto before = blocked_signals();
  hearth_engine_options options = small_options();
  options.io = "pread";
  const auto engine = open_engine(kModel, options);
  const auto after = blocked_signals();
  EXPECT_GT(after.size(), before.size() + 1);
  for (const auto& [thread, mask] : after) {
    if (const auto own = before.find(thread); own != before.end()) {
      EXPECT_EQ(mask, own->second);
      continue;
    }
    for (const int signal : {SIGINT, SIGTERM, SIGALRM, SIGCHLD, SIGUSR1, SIGRTMAX})
      EXPECT_TRUE(blocks(mask, signal)) << thread << " gets signal " << signal;
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGPROF})
      EXPECT_FALSE(blocks(mask, signal)) << thread << " does not get signal " << signal;
  }
}

// What `call` returns in a forked process; it is killed where it takes too long.
template <typename Call>
hearth_status status_in_a_fork(Call call) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(call());
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class HostForks : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Readers, HostForks, ::testing::Values("uring", "pread"));

TEST_P(HostForks, AForkedProcessIsToldToOpenAnewAndDisturbsNobody) {
  hearth_engine_options options = small_options();
  options.io = GetParam();
  hearth_engine* opened = nullptr;
  if (hearth_engine_open(kModel.c_str(), &options, &opened) != HEARTH_OK)
    GTEST_SKIP() << hearth_message();
  const Handle<hearth_engine> engine(opened);
  const auto session = open_session(engine);
  hearth_engine* const e = engine.get();
  hearth_session* const s = session.get();
  ASSERT_EQ(evaluate(session, numbers(3)), HEARTH_OK);
  const std::int32_t token = 400;
  hearth_session* other = nullptr;
  auto telemetry = sized<hearth_telemetry>();
  std::size_t count = 0;
  const auto in_fork = [](auto call) { return status_in_a_fork(call); };
  EXPECT_EQ(in_fork([&] { return hearth_session_evaluate(s, &token, 1, nullptr); }),
            HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_session_cancel(s); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_session_close(s); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_session_open(e, &other); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_engine_telemetry(e, &telemetry); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_engine_close(e); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_tokenize(e, "a b", 3, 0, nullptr, 0, &count); }),
            HEARTH_OK);
  EXPECT_EQ(in_fork([&] {
              open_session(open_engine(kModel, options));
              return ::testing::Test::HasFailure() ? 1 : HEARTH_OK;
            }),
            HEARTH_OK);
  EXPECT_EQ(logits_after(engine, numbers(40)), logits_after(open_engine(), numbers(40)));
}

TEST_P(HostForks, AForkedProcessIsToldToOpenItsStoreAnew) {
  auto options = sized<hearth_experts_options>();
  options.ram = 2u << 20;
  options.io = GetParam();
  hearth_experts* store = nullptr;
  if (hearth_experts_open(kModel.c_str(), &options, &store) != HEARTH_OK)
    GTEST_SKIP() << hearth_message();
  const std::int32_t held_id = 3, id = 7;
  hearth_expert_lease *held = nullptr, *lease = nullptr;
  ASSERT_EQ(hearth_experts_acquire(store, 0, &held_id, 1, &held), HEARTH_OK);
  const auto in_fork = [](auto call) { return status_in_a_fork(call); };
  EXPECT_EQ(in_fork([&] { return hearth_lease_wait(held); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_experts_acquire(store, 0, &id, 1, &lease); }),
            HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_experts_poll(store); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(in_fork([&] { return hearth_experts_close(store); }), HEARTH_ERROR_STATE);
  EXPECT_EQ(hearth_lease_wait(held), HEARTH_OK) << hearth_message();
  EXPECT_EQ(hearth_lease_release(held, nullptr), HEARTH_OK);
  EXPECT_EQ(hearth_experts_close(store), HEARTH_OK);
}

}  // namespace
}  // namespace hearth::testing
