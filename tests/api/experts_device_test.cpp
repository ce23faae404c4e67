// Experts on a device: the order of copies, of those who read and of those who overwrite, whatever
// the streams do in between; and what fails.
#include <gtest/gtest.h>

#include "tests/api/support/expert_calls.h"
#include "tests/api/support/modelled_device.h"

namespace hearth::testing {
namespace {

std::string message() { return hearth_message(); }

hearth_experts_options options_on(const hearth_device& device, std::uint64_t ram,
                                  std::uint64_t device_memory, std::uint32_t at_once) {
  auto options = options_with(ram, at_once);
  options.device = &device;
  options.device_memory = device_memory;
  return options;
}

struct Budgets {
  std::uint64_t ram = 0, device = 0;
};

// The least that works, with so many at once.
Budgets least_budgets(const ExpertFile& file, std::uint32_t at_once) {
  ModelledDevice device(1);
  const hearth_device lent = device.lent();
  const auto facts = facts_of(open_table(file, options_on(lent, kAllBytes, kAllBytes, at_once)));
  return {facts.least_ram, facts.least_device};
}

// What a stream of the program does: reads the experts when it gets there, and compares.
void read_later(ModelledDevice& device, void* stream, hearth_expert_lease* lease,
                const ExpertFile& file, std::uint32_t layer, const Ids& ids, int& reads) {
  void* event = nullptr;
  ASSERT_OK(hearth_lease_event(lease, &event));
  if (event != nullptr) device.wait(stream, event);
  for (std::size_t i = 0; i < ids.size(); ++i)
    device.enqueue(stream, [&file, &reads, layer, id = static_cast<std::uint32_t>(ids[i]),
                            memory = memory_of(lease, i)] {
      EXPECT_TRUE(file.is(layer, id, memory)) << layer << " " << id;
      ++reads;
    });
}

TEST(ExpertsOnADevice, StreamsSeeTheirExpertsHoweverTheyAreDelayed) {
  const ExpertFile file;
  const Budgets least = least_budgets(file, 3);
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    ModelledDevice device(seed);
    const hearth_device lent = device.lent(seed % 2 == 0);
    const std::uint64_t ram = seed % 3 == 0 ? kAllBytes : least.ram;
    Random random(seed);
    int reads = 0;
    {
      const Store store = open_table(file, options_on(lent, ram, least.device, 3));
      for (int i = 0; i < 60; ++i) {
        const auto layer = static_cast<std::uint32_t>(i % 3);
        Ids ids, guess;
        for (int k = 0; k < 3; ++k) ids.push_back(static_cast<std::int32_t>(random.below(8)));
        observe(store, layer, ids);
        hearth_expert_lease* const lease = acquire(store, layer, ids);
        if (random.below(3) == 0) {
          const std::int32_t id = static_cast<std::int32_t>(random.below(8));
          ASSERT_OK(hearth_experts_hint(store.get(), (layer + 1) % 3, &id, 1, 0));
        }
        ASSERT_OK(hearth_lease_wait(lease));
        void* const stream = device.stream(1 + random.below(2));
        read_later(device, stream, lease, file, layer, ids, reads);
        ASSERT_OK(hearth_lease_release(lease, stream));
      }
      const auto counters = count(store, HEARTH_TIER_DEVICE);
      EXPECT_LE(counters.memory, least.device);
      EXPECT_GT(counters.evictions, 0u);
      EXPECT_GT(counters.bytes_moved, 0u);
      EXPECT_LE(count(store).memory, ram);
    }
    device.run_all();
    EXPECT_EQ(reads, 180);
  }
}

TEST(ExpertsOnADevice, AHitWaitsForNoOtherCopy) {
  const ExpertFile file;
  ModelledDevice device(5);
  const hearth_device lent = device.lent();
  const Store store = open_table(file, options_on(lent, kAllBytes, kAllBytes, 1));
  hearth_expert_lease* const first = acquire(store, 0, {1});
  ASSERT_OK(hearth_lease_wait(first));
  std::int32_t ready = 0;
  while (ready == 0) ASSERT_OK(hearth_lease_ready(first, 0, &ready));
  hearth_expert_lease* const other = acquire(store, 0, {2});
  ASSERT_OK(hearth_lease_wait(other));
  hearth_expert_lease* const again = acquire(store, 0, {1});
  ASSERT_OK(hearth_lease_wait(again));
  void* event = &ready;
  EXPECT_OK(hearth_lease_event(again, &event));
  EXPECT_EQ(event, nullptr);
  for (hearth_expert_lease* const lease : {first, other, again})
    EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
}

TEST(ExpertsOnADevice, PartsOfALayerLieInSlotsSideBySide) {
  const ExpertFile file;
  ModelledDevice device(6);
  const hearth_device lent = device.lent();
  const Store store = open_table(file, options_on(lent, kAllBytes, kAllBytes, 3));
  hearth_expert_lease* const lease = acquire(store, 1, {0, 5, 3});
  ASSERT_OK(hearth_lease_wait(lease));
  const auto first = memory_of(lease, 0);
  for (const std::size_t i : {1u, 2u}) {
    const auto memory = memory_of(lease, i);
    const auto slots = static_cast<std::ptrdiff_t>(memory.slot) - first.slot;
    for (std::uint32_t p = 0; p < memory.parts; ++p) {
      EXPECT_EQ(static_cast<const char*>(memory.part[p]) - static_cast<const char*>(first.part[p]),
                slots * static_cast<std::ptrdiff_t>(memory.slot_bytes));
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.part[p]) % 256, 0u);
    }
  }
  EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
}

TEST(ExpertsOnADevice, MemoryThatIsRefusedIsBudget) {
  const ExpertFile file;
  const hearth_expert_table table = file.table();
  ModelledDevice device(7);
  const hearth_device lent = device.lent();
  const auto options = options_on(lent, kAllBytes, kAllBytes, 1);
  hearth_experts* opened = nullptr;
  device.alloc_fault.calls_left = 0;
  EXPECT_EQ(hearth_experts_open_table(&table, &options, &opened), HEARTH_ERROR_BUDGET);
  device.alloc_host_fault.calls_left = 0;
  EXPECT_EQ(hearth_experts_open_table(&table, &options, &opened), HEARTH_ERROR_BUDGET);
  device.crooked_host_memory = true;
  EXPECT_EQ(hearth_experts_open_table(&table, &options, &opened), HEARTH_ERROR_USAGE);
  EXPECT_EQ(opened, nullptr);
}

TEST(ExpertsOnADevice, ACopyThatFailsIsTheErrorOfThoseWhoWantIt) {
  const ExpertFile file;
  const Budgets least = least_budgets(file, 2);
  // Each copy of what the lease needs (two experts of two parts) fails once.
  for (int failing = 0; failing < 4; ++failing) {
    ModelledDevice device(8);
    const hearth_device lent = device.lent();
    int reads = 0;
    {
      const Store store = open_table(file, options_on(lent, least.ram, least.device, 2));
      device.copy_fault.calls_left = failing;
      hearth_expert_lease* const lease = acquire(store, 1, {3, 4});
      EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_IO);
      EXPECT_NE(message().find("of layer 1 (code 7)"), std::string::npos) << message();
      EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_IO);
      EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
      hearth_expert_lease* const again = acquire(store, 1, {3, 4});
      ASSERT_OK(hearth_lease_wait(again));
      read_later(device, device.stream(1), again, file, 1, {3, 4}, reads);
      EXPECT_OK(hearth_lease_release(again, device.stream(1)));
    }
    device.run_all();
    EXPECT_EQ(reads, 2);
  }
}

TEST(ExpertsOnADevice, AReadThatFailsIsTheErrorOfThoseWhoWantIt) {
  const ExpertFile file;
  const Budgets least = least_budgets(file, 2);
  ModelledDevice device(9);
  const hearth_device lent = device.lent();
  const Store store = open_table(file, options_on(lent, least.ram, least.device, 2));
  file.damage(1, 4, 0);
  hearth_expert_lease* const lease = acquire(store, 1, {3, 4});
  EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_BAD_FILE);
  EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
  file.repair();
  hearth_expert_lease* const again = acquire(store, 1, {3, 4});
  EXPECT_OK(hearth_lease_wait(again));
  EXPECT_OK(hearth_lease_release(again, device.stream(1)));
}

TEST(ExpertsOnADevice, AnEventThatFailsLosesTheDeviceAndTheStoreCloses) {
  const ExpertFile file;
  ModelledDevice device(10);
  const hearth_device lent = device.lent();
  const Store store = open_table(file, options_on(lent, kAllBytes, kAllBytes, 2));
  hearth_expert_lease* const lease = acquire(store, 0, {1});
  device.record_fault.calls_left = 0;
  EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_IO);
  EXPECT_NE(message().find("recording an event"), std::string::npos) << message();
  EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_IO);
  EXPECT_EQ(hearth_experts_poll(store.get()), HEARTH_ERROR_IO);
  EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
  device.run_all();
}

TEST(ExpertsOnADevice, CopiesWhoseEventIsRefusedAreMadeWhenThereIsOne) {
  const ExpertFile file;
  const Budgets least = least_budgets(file, 2);
  ModelledDevice device(12);
  const hearth_device lent = device.lent();
  int reads = 0;
  {
    const Store store = open_table(file, options_on(lent, kAllBytes, least.device, 2));
    hearth_expert_lease* const lease = acquire(store, 1, {1, 2});
    device.make_fault.calls_left = 0;
    EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_BUDGET);
    EXPECT_NE(message().find("refused an event"), std::string::npos) << message();
    ASSERT_OK(hearth_lease_wait(lease));
    read_later(device, device.stream(1), lease, file, 1, {1, 2}, reads);
    EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
    // No copy is forgotten that still reads the host's memory.
    const std::uint64_t ram = facts_of(store).least_ram;
    EXPECT_OK(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, ram));
  }
  device.run_all();
  EXPECT_EQ(reads, 2);
}

TEST(ExpertsOnADevice, ALeaseIsReleasedWithItsReadersAlsoWhereEventsAreRefused) {
  const ExpertFile file;
  const Budgets least = least_budgets(file, 1);
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    ModelledDevice device(seed);
    const hearth_device lent = device.lent();
    int reads = 0;
    {
      const Store store = open_table(file, options_on(lent, kAllBytes, least.device, 1));
      for (const std::int32_t id : {1, 2}) {  // in the same slot
        hearth_expert_lease* const lease = acquire(store, 1, {id});
        ASSERT_OK(hearth_lease_wait(lease));
        read_later(device, device.stream(1), lease, file, 1, {id}, reads);
        device.make_fault.calls_left = 0;
        EXPECT_OK(hearth_lease_release(lease, device.stream(1)));
        device.make_fault.calls_left = -1;
      }
    }
    device.run_all();
    EXPECT_EQ(reads, 2);
  }
}

TEST(ExpertsOnADevice, NothingIsLeasedWhereItsEventIsRefused) {
  const ExpertFile file;
  ModelledDevice device(13);
  const hearth_device lent = device.lent();
  const Store store = open_table(file, options_on(lent, kAllBytes, kAllBytes, 1));
  device.make_fault.calls_left = 0;
  const std::int32_t id = 1;
  hearth_expert_lease* lease = nullptr;
  EXPECT_EQ(hearth_experts_acquire(store.get(), 0, &id, 1, &lease), HEARTH_ERROR_BUDGET);
  EXPECT_EQ(count(store, HEARTH_TIER_DEVICE).leased, 0u);
  hearth_expert_lease* const again = acquire(store, 0, {1});
  EXPECT_OK(hearth_lease_wait(again));
  EXPECT_OK(hearth_lease_release(again, device.stream(1)));
}

TEST(ExpertsOnADevice, BudgetsAndPlansWorkOnBothTiers) {
  const ExpertFile file;
  const Budgets least = least_budgets(file, 2);
  ModelledDevice device(11);
  const hearth_device lent = device.lent();
  std::string plan;
  {
    const Store store = open_table(file, options_on(lent, kAllBytes, kAllBytes, 2));
    const auto facts = facts_of(store);
    for (const std::uint64_t budget : {facts.full_device, least.device, facts.full_device}) {
      ASSERT_OK(hearth_experts_set_budget(store.get(), HEARTH_TIER_DEVICE, budget));
      ASSERT_OK(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, facts.least_ram));
      EXPECT_LE(count(store, HEARTH_TIER_DEVICE).memory, budget);
      for (std::uint32_t layer = 0; layer < 3; ++layer) {
        int reads = 0;
        hearth_expert_lease* const lease = acquire(store, layer, {2, 6});
        ASSERT_OK(hearth_lease_wait(lease));
        read_later(device, device.stream(2), lease, file, layer, {2, 6}, reads);
        ASSERT_OK(hearth_lease_release(lease, device.stream(2)));
        device.run_all();
        EXPECT_EQ(reads, 2);
      }
    }
    plan = export_of(store);
  }
  const Store store = open_table(file, options_on(lent, kAllBytes, kAllBytes, 2));
  std::uint64_t placed = 0;
  ASSERT_OK(hearth_experts_import(store.get(), plan.data(), plan.size(), &placed));
  EXPECT_EQ(count(store, HEARTH_TIER_DEVICE).resident, 6u);
  EXPECT_GE(placed, 6u);
  observe(store, 1, {2, 6});
  EXPECT_EQ(count(store, HEARTH_TIER_DEVICE).hits, 2u);
}

}  // namespace
}  // namespace hearth::testing
