// Sessions of several threads on a device, beside what the CPU computes for it. On a GPU, or on
// what stands in for one (tests/cudart): there the thread sanitizer sees both sides of every
// hand-over, and must be quiet.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "tests/api/support/handles.h"
#include "tests/io/support/temporary_directory.h"

namespace hearth::testing {
namespace {

class DeviceThreads : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto keep_first = [](void* user, const hearth_device_facts* device) {
      std::string& name = *static_cast<std::string*>(user);
      if (name.empty()) name = device->name;
    };
    if (hearth_list_devices(keep_first, &name_) != HEARTH_OK)
      GTEST_SKIP() << "needs a GPU: " << hearth_message();
    setenv("XDG_CONFIG_HOME", directory_.file("").c_str(), 1);  // nothing was measured
  }

  hearth_engine_options options() const {
    hearth_engine_options options = small_options();
    options.expert_ram = 0;
    options.expert_share = 0.9f;
    options.io = "pread";  // as the sanitizer sees it
    options.device = name_.c_str();
    return options;
  }
  // With slots for a third of the experts, or a little more.
  std::uint64_t little_vram() const {
    const auto facts = facts_of(open_engine(kModel, options()));
    return facts.vram - facts.expert_vram * 2 / 3;
  }

  const io::TemporaryDirectory directory_;
  std::string name_;
};

// A step of several tokens, and steps of one.
std::vector<std::int32_t> text_of(const Handle<hearth_engine>& engine, std::int32_t first) {
  const auto session = open_session(engine);
  EXPECT_EQ(evaluate(session, numbers(5, first)), HEARTH_OK) << hearth_message();
  return generate(session, 4);
}

TEST_F(DeviceThreads, EveryLaneGivesTheTextOfTheCpu) {
  hearth_engine_options on_the_cpu = options();
  on_the_cpu.device = nullptr;
  std::vector<std::vector<std::int32_t>> expected;
  {
    const auto engine = open_engine(kModel, on_the_cpu);
    for (const std::int32_t first : {300, 400}) expected.push_back(text_of(engine, first));
  }
  const std::uint64_t budget = little_vram();
  struct Lanes {
    const char* misses;
    const char* gpu_cache;
  };
  for (const Lanes& lanes : {Lanes{"cpu", "device"}, {"link", "device"}, {"link", "host"}}) {
    SCOPED_TRACE(std::string(lanes.misses) + ", decided by the " + lanes.gpu_cache);
    hearth_engine_options wished = options();
    wished.vram = budget;
    wished.misses = lanes.misses;
    wished.gpu_cache = lanes.gpu_cache;
    const auto engine = open_engine(kModel, wished);
    ASSERT_EQ(facts_of(engine).all_in_vram, 0u);
    std::vector<std::vector<std::int32_t>> together(expected.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < together.size(); ++i)
      threads.emplace_back(
          [&, i] { together[i] = text_of(engine, 300 + 100 * static_cast<std::int32_t>(i)); });
    std::atomic<bool> done{false};
    std::thread other([&] {
      while (!done) {
        auto told = sized<hearth_telemetry>();
        EXPECT_EQ(hearth_engine_telemetry(engine.get(), &told), HEARTH_OK);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
    for (std::thread& thread : threads) thread.join();
    done = true;
    other.join();
    EXPECT_EQ(together, expected);
    auto told = sized<hearth_telemetry>();
    ASSERT_EQ(hearth_engine_telemetry(engine.get(), &told), HEARTH_OK);
    EXPECT_GT(lanes.misses == std::string("cpu") ? told.cpu_experts : told.vram_fetches, 0u);
  }
}

}  // namespace
}  // namespace hearth::testing
