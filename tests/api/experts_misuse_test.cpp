// Each function of experts.h with null, wrong-state and out-of-range arguments.
#include <gtest/gtest.h>

#include "tests/api/support/expert_calls.h"
#include "tests/api/support/modelled_device.h"

namespace hearth::testing {
namespace {

#define EXPECT_USAGE(call) EXPECT_EQ(call, HEARTH_ERROR_USAGE) << hearth_message()
#define EXPECT_STATE(call) EXPECT_EQ(call, HEARTH_ERROR_STATE) << hearth_message()

class ExpertsMisuse : public ::testing::Test {
 protected:
  const ExpertFile file;
  const Store store = open_table(file, options_with(kAllBytes));
  hearth_experts* const s = store.get();
  hearth_experts* opened = nullptr;
  const std::int32_t id = 1;
};

TEST_F(ExpertsMisuse, NullIsUsage) {
  const auto options = options_with(1 << 20);
  const hearth_expert_table table = file.table();
  auto facts = sized<hearth_experts_facts>();
  auto layer_facts = sized<hearth_layer_facts>();
  auto counters = sized<hearth_experts_counters>();
  auto memory = sized<hearth_expert_memory>();
  hearth_expert_lease* lease = nullptr;
  std::size_t bytes = 0;
  std::int32_t ready = 0;
  void* event = nullptr;

  EXPECT_USAGE(hearth_experts_open(nullptr, &options, &opened));
  EXPECT_USAGE(hearth_experts_open("", &options, &opened));
  EXPECT_USAGE(hearth_experts_open("x", nullptr, &opened));
  EXPECT_USAGE(hearth_experts_open("x", &options, nullptr));
  EXPECT_USAGE(hearth_experts_open_table(nullptr, &options, &opened));
  EXPECT_USAGE(hearth_experts_open_table(&table, nullptr, &opened));
  EXPECT_USAGE(hearth_experts_open_table(&table, &options, nullptr));
  EXPECT_EQ(hearth_experts_close(nullptr), HEARTH_OK);
  EXPECT_USAGE(hearth_experts_facts_of(nullptr, &facts));
  EXPECT_USAGE(hearth_experts_facts_of(s, nullptr));
  EXPECT_USAGE(hearth_experts_layer(nullptr, 0, &layer_facts));
  EXPECT_USAGE(hearth_experts_layer(s, 0, nullptr));
  EXPECT_USAGE(hearth_experts_observe(nullptr, 0, &id, nullptr, 1, 1));
  EXPECT_USAGE(hearth_experts_observe(s, 0, nullptr, nullptr, 1, 1));
  EXPECT_USAGE(hearth_experts_hint(nullptr, 0, &id, 1, 0));
  EXPECT_USAGE(hearth_experts_hint(s, 0, nullptr, 1, 0));
  EXPECT_USAGE(hearth_experts_acquire(nullptr, 0, &id, 1, &lease));
  EXPECT_USAGE(hearth_experts_acquire(s, 0, nullptr, 1, &lease));
  EXPECT_USAGE(hearth_experts_acquire(s, 0, &id, 1, nullptr));
  EXPECT_USAGE(hearth_experts_poll(nullptr));
  EXPECT_USAGE(hearth_experts_set_budget(nullptr, HEARTH_TIER_RAM, 1));
  EXPECT_USAGE(hearth_experts_export(nullptr, nullptr, 0, &bytes));
  EXPECT_USAGE(hearth_experts_export(s, nullptr, 1, &bytes));
  EXPECT_USAGE(hearth_experts_export(s, nullptr, 0, nullptr));
  EXPECT_USAGE(hearth_experts_import(nullptr, "x", 1, nullptr));
  EXPECT_USAGE(hearth_experts_import(s, nullptr, 1, nullptr));
  EXPECT_USAGE(hearth_experts_count(nullptr, HEARTH_TIER_RAM, 0, &counters));
  EXPECT_USAGE(hearth_experts_count(s, HEARTH_TIER_RAM, 0, nullptr));
  EXPECT_USAGE(hearth_lease_wait(nullptr));
  EXPECT_USAGE(hearth_lease_ready(nullptr, 0, &ready));
  EXPECT_USAGE(hearth_lease_event(nullptr, &event));
  EXPECT_USAGE(hearth_lease_memory(nullptr, 0, &memory));
  EXPECT_USAGE(hearth_lease_release(nullptr, nullptr));

  hearth_expert_lease* const held = acquire(store, 0, {1});
  ASSERT_OK(hearth_lease_wait(held));
  EXPECT_USAGE(hearth_lease_ready(held, 0, nullptr));
  EXPECT_USAGE(hearth_lease_event(held, nullptr));
  EXPECT_USAGE(hearth_lease_memory(held, 0, nullptr));
  EXPECT_OK(hearth_lease_release(held, nullptr));
}

TEST_F(ExpertsMisuse, OutOfRangeIsUsageAndChangesNothing) {
  auto layer_facts = sized<hearth_layer_facts>();
  auto counters = sized<hearth_experts_counters>();
  auto memory = sized<hearth_expert_memory>();
  hearth_expert_lease* lease = nullptr;
  for (const std::int32_t wrong : {-1, 8, 65536 + 1, INT32_MIN}) {
    const Ids ids{1, wrong};
    EXPECT_USAGE(hearth_experts_observe(s, 0, ids.data(), nullptr, 1, 2));
    EXPECT_USAGE(hearth_experts_hint(s, 0, ids.data(), 2, 0));
    EXPECT_USAGE(hearth_experts_acquire(s, 0, ids.data(), 2, &lease));
  }
  for (const std::uint32_t layer : {3u, 65536u, UINT32_MAX}) {
    EXPECT_USAGE(hearth_experts_observe(s, layer, &id, nullptr, 1, 1));
    EXPECT_USAGE(hearth_experts_hint(s, layer, &id, 1, 0));
    EXPECT_USAGE(hearth_experts_acquire(s, layer, &id, 1, &lease));
    EXPECT_USAGE(hearth_experts_layer(s, layer, &layer_facts));
    if (layer == HEARTH_ALL_LAYERS) continue;
    EXPECT_USAGE(hearth_experts_count(s, HEARTH_TIER_RAM, layer, &counters));
  }
  EXPECT_USAGE(hearth_experts_observe(s, 0, &id, nullptr, SIZE_MAX, SIZE_MAX));
  EXPECT_USAGE(hearth_experts_count(s, HEARTH_TIER_DEVICE, 0, &counters));
  EXPECT_USAGE(hearth_experts_count(s, 2, 0, &counters));
  EXPECT_USAGE(hearth_experts_set_budget(s, HEARTH_TIER_DEVICE, 1 << 20));
  EXPECT_EQ(lease, nullptr);
  EXPECT_EQ(count(store).leased + count(store).misses + count(store).guesses, 0u);

  hearth_expert_lease* const held = acquire(store, 0, {1, 2});
  ASSERT_OK(hearth_lease_wait(held));
  std::int32_t ready = 0;
  EXPECT_USAGE(hearth_lease_ready(held, 2, &ready));
  EXPECT_USAGE(hearth_lease_memory(held, 2, &memory));
  EXPECT_OK(hearth_lease_release(held, nullptr));
}

TEST_F(ExpertsMisuse, TheWrongTimeIsState) {
  hearth_expert_lease* const lease = acquire(store, 0, {1});
  auto memory = sized<hearth_expert_memory>();
  void* event = nullptr;
  std::int32_t ready = 0;
  EXPECT_STATE(hearth_lease_event(lease, &event));
  EXPECT_STATE(hearth_experts_close(s));
  EXPECT_STATE(hearth_experts_set_budget(s, HEARTH_TIER_RAM, 1 << 20));
  ASSERT_OK(hearth_lease_wait(lease));
  EXPECT_OK(hearth_lease_event(lease, &event));
  EXPECT_EQ(event, nullptr);
  EXPECT_OK(hearth_lease_release(lease, nullptr));
  EXPECT_STATE(hearth_lease_release(lease, nullptr));
  EXPECT_STATE(hearth_lease_wait(lease));
  EXPECT_STATE(hearth_lease_ready(lease, 0, &ready));
  EXPECT_STATE(hearth_lease_event(lease, &event));
  EXPECT_STATE(hearth_lease_memory(lease, 0, &memory));
}

TEST_F(ExpertsMisuse, OptionsThatMakeNoSenseAreRefused) {
  const hearth_expert_table table = file.table();
  const auto status_with = [&](auto change) {
    auto options = options_with(1 << 20);
    change(options);
    return hearth_experts_open_table(&table, &options, &opened);
  };
  EXPECT_USAGE(status_with([](auto& o) { o.size = 0; }));
  EXPECT_USAGE(status_with([](auto& o) { o.ram = 0; }));
  EXPECT_USAGE(status_with([](auto& o) { o.policy = "oldest"; }));
  EXPECT_USAGE(status_with([](auto& o) { o.page_cache = 2; }));
  EXPECT_USAGE(status_with([](auto& o) { o.io = "tape"; }));
  EXPECT_USAGE(status_with([](auto& o) { o.device_memory = 1 << 20; }));
  EXPECT_EQ(status_with([](auto& o) { o.ram = 1; }), HEARTH_ERROR_BUDGET);
  EXPECT_NE(std::string(hearth_message()).find("need"), std::string::npos);

  ModelledDevice device(1);
  hearth_device lent = device.lent();
  EXPECT_USAGE(status_with([&](auto& o) { o.device = &lent; }));
  lent.copy = nullptr;
  EXPECT_USAGE(status_with([&](auto& o) { o.device = &lent, o.device_memory = 1 << 20; }));
  lent = device.lent();
  lent.free_host = nullptr;
  EXPECT_USAGE(status_with([&](auto& o) { o.device = &lent, o.device_memory = 1 << 20; }));
  EXPECT_EQ(opened, nullptr);
}

}  // namespace
}  // namespace hearth::testing
