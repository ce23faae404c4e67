// The expert store alone: what experts.h promises of leases, hashes, hints, budgets and plans.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <memory>
#include <thread>

#include "runtime/process_memory.h"
#include "tests/api/support/expert_calls.h"
#include "tests/runtime/support/heap_calls.h"
#include "tests/sanitized.h"

namespace hearth::testing {
namespace {

std::string message() { return hearth_message(); }

// Acquires, waits, compares with the file, and releases.
void expect_right(const Store& store, const ExpertFile& file, std::uint32_t layer, const Ids& ids) {
  observe(store, layer, ids);
  hearth_expert_lease* const lease = acquire(store, layer, ids);
  ASSERT_OK(hearth_lease_wait(lease));
  for (std::size_t i = 0; i < ids.size(); ++i)
    EXPECT_TRUE(file.is(layer, static_cast<std::uint32_t>(ids[i]), memory_of(lease, i)))
        << layer << " " << ids[i];
  EXPECT_OK(hearth_lease_release(lease, nullptr));
}

TEST(Experts, LeasesHoldTheBytesOfTheFile) {
  const ExpertFile file;
  for (const std::uint64_t ram : {ram_for(file, 4), kAllBytes}) {
    const Store store = open_table(file, options_with(ram, 4));
    for (int round = 0; round < 3; ++round)
      for (std::uint32_t layer = 0; layer < 3; ++layer) {
        expect_right(store, file, layer, {7, 0, 3, 5});
        expect_right(store, file, layer, {2, 2, 7, 2});  // ids may repeat
        expect_right(store, file, layer, {});
      }
    EXPECT_LE(count(store).memory, ram);
  }
}

TEST(Experts, ExpertsOfAGgufFileAreFoundByTheNamesOfTensors) {
  hearth_experts* opened = nullptr;
  const auto options = options_with(2u << 20, 4);
  ASSERT_OK(hearth_experts_open(kModel.c_str(), &options, &opened));
  const Store store(opened);
  const auto facts = facts_of(store);
  EXPECT_EQ(facts.layers, 7u);
  EXPECT_EQ(facts.experts, 224u);
  EXPECT_EQ(facts.experts_per_layer, 32u);
  EXPECT_EQ(facts.bytes, 32u * (4 * 110592 + 3 * 127488));  // models/README.md
  EXPECT_LE(facts.least_ram, 2u << 20);
  auto layer = sized<hearth_layer_facts>();
  ASSERT_OK(hearth_experts_layer(store.get(), 2, &layer));
  EXPECT_EQ(layer.experts, 32u);
  EXPECT_EQ(layer.matrices, 3u);
  EXPECT_EQ(layer.gate.type, 12u);
  EXPECT_EQ(layer.down.type, 14u);
  EXPECT_EQ(layer.down.rows, 256u);
  hearth_expert_lease* const lease = acquire(store, 2, {31});
  ASSERT_OK(hearth_lease_wait(lease));
  const auto memory = memory_of(lease, 0);
  EXPECT_EQ(memory.parts, 3u);
  EXPECT_EQ(memory.bytes[0] + memory.bytes[1] + memory.bytes[2], 127488u);
  EXPECT_OK(hearth_lease_release(lease, nullptr));
}

TEST(Experts, AFileWithoutExpertsIsRefused) {
  hearth_experts* opened = nullptr;
  const auto options = options_with(1 << 20);
  const std::string no_model = HEARTH_SOURCE_DIR "/README.md", missing = "/no/such.gguf";
  EXPECT_EQ(hearth_experts_open(no_model.c_str(), &options, &opened), HEARTH_ERROR_BAD_FILE);
  EXPECT_EQ(hearth_experts_open(missing.c_str(), &options, &opened), HEARTH_ERROR_NOT_FOUND);
  EXPECT_EQ(opened, nullptr);
}

TEST(Experts, AWrongHashIsAnErrorNamingFileAndExpert) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(ram_for(file, 2), 2));
  file.damage(1, 4, 1);
  hearth_expert_lease* const lease = acquire(store, 1, {3, 4});
  EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_BAD_FILE);
  EXPECT_NE(message().find(file.path()), std::string::npos) << message();
  EXPECT_NE(message().find("expert 4 of layer 1"), std::string::npos) << message();
  EXPECT_NE(message().find("at byte"), std::string::npos) << message();
  EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_BAD_FILE);  // again, until it is released
  std::int32_t ready = 0;
  EXPECT_EQ(hearth_lease_ready(lease, 1, &ready), HEARTH_ERROR_BAD_FILE);
  EXPECT_OK(hearth_lease_ready(lease, 0, &ready));  // the other one is fine
  EXPECT_EQ(ready, 1);
  EXPECT_TRUE(file.is(1, 3, memory_of(lease, 0)));
  EXPECT_OK(hearth_lease_release(lease, nullptr));
  file.repair();
  expect_right(store, file, 1, {3, 4});
}

TEST(Experts, AnErrorBelongsToTheLeaseThatWantsTheExpert) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(kAllBytes));
  file.damage(0, 1, 0);
  hearth_expert_lease* const bad = acquire(store, 0, {1});
  expect_right(store, file, 0, {2});
  expect_right(store, file, 1, {1});
  EXPECT_EQ(hearth_lease_wait(bad), HEARTH_ERROR_BAD_FILE);
  EXPECT_OK(hearth_lease_release(bad, nullptr));
}

TEST(Experts, AFileThatBecameShorterIsAnError) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(kAllBytes));
  std::filesystem::resize_file(file.path(), 1000);
  hearth_expert_lease* const lease = acquire(store, 2, {7});
  EXPECT_EQ(hearth_lease_wait(lease), HEARTH_ERROR_IO);
  EXPECT_NE(message().find("expert 7 of layer 2"), std::string::npos) << message();
  EXPECT_OK(hearth_lease_release(lease, nullptr));
  file.repair();
  expect_right(store, file, 2, {7});
}

TEST(Experts, MoreThanFitsIsBudgetAndLeasesNothing) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(ram_for(file, 3), 3));
  const Ids four{0, 1, 2, 3};
  hearth_expert_lease* lease = nullptr;
  EXPECT_EQ(hearth_experts_acquire(store.get(), 1, four.data(), 4, &lease), HEARTH_ERROR_BUDGET);
  EXPECT_EQ(lease, nullptr);
  EXPECT_EQ(count(store).leased, 0u);
  hearth_expert_lease* const held = acquire(store, 1, {0, 1});
  EXPECT_EQ(hearth_experts_acquire(store.get(), 1, four.data() + 2, 2, &lease),
            HEARTH_ERROR_BUDGET);
  EXPECT_EQ(count(store).leased, 2u);
  expect_right(store, file, 1, {0, 3});  // three together
  EXPECT_OK(hearth_lease_release(held, nullptr));
  expect_right(store, file, 1, {2, 3, 4});
}

TEST(Experts, LeasedExpertsAreNeitherEvictedNorMoved) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(ram_for(file, 3), 3));
  hearth_expert_lease* const held = acquire(store, 0, {5});
  ASSERT_OK(hearth_lease_wait(held));
  const void* const at = memory_of(held, 0).part[0];
  for (std::int32_t id = 0; id < 8; ++id)
    for (std::uint32_t layer = 0; layer < 3; ++layer) expect_right(store, file, layer, {id});
  EXPECT_EQ(memory_of(held, 0).part[0], at);
  EXPECT_TRUE(file.is(0, 5, memory_of(held, 0)));
  EXPECT_OK(hearth_lease_release(held, nullptr));
}

TEST(Experts, AHintIsReadAndALateOneIsDropped) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(kAllBytes));
  const Ids ids{1, 2, 3, 4, 5, 6};
  ASSERT_OK(hearth_experts_hint(store.get(), 2, ids.data(), ids.size(), 0));
  while (count(store).resident < ids.size()) ASSERT_OK(hearth_experts_poll(store.get()));
  observe(store, 2, {1, 2, 7});
  EXPECT_EQ(count(store).guesses, 6u);
  EXPECT_EQ(count(store).guesses_used, 2u);
  EXPECT_EQ(count(store).hits, 2u);
  EXPECT_EQ(count(store).misses, 1u);
  // Four are begun at once; the others wait until it is too late.
  const Ids more{0, 1, 2, 3, 4, 5, 6, 7};
  ASSERT_OK(hearth_experts_hint(store.get(), 0, more.data(), more.size(), 1'000'000));
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  while (count(store).guesses_late + count(store).guesses < 6 + more.size())
    ASSERT_OK(hearth_experts_poll(store.get()));
  EXPECT_GE(count(store).guesses_late, 1u);
}

TEST(Experts, AGuessNeverEvictsWhatIsInUse) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(ram_for(file, 2), 2));
  for (std::uint32_t layer = 0; layer < 3; ++layer) expect_right(store, file, layer, {0, 1});
  const auto before = count(store);
  const Ids guess{6, 7};
  ASSERT_OK(hearth_experts_hint(store.get(), 1, guess.data(), 2, 0));
  ASSERT_OK(hearth_experts_poll(store.get()));
  EXPECT_EQ(count(store).evictions, before.evictions);
  EXPECT_EQ(count(store).guesses_dropped, 2u);
}

TEST(Experts, BudgetsCanBeGivenBackAndTakenAgain) {
  const ExpertFile file({.bytes = 200'000});
  const std::uint64_t full = facts_of(open_table(file, options_with(kAllBytes))).full_ram;
  const Store store = open_table(file, options_with(full, 2));
  const std::uint64_t least = facts_of(store).least_ram;
  const Ids all{0, 1, 2, 3, 4, 5, 6, 7};
  for (std::uint32_t layer = 0; layer < 3; ++layer) expect_right(store, file, layer, all);
  const Bytes before = runtime::resident_memory();
  for (const std::uint64_t budget : {full / 2, least, full, full / 3, full}) {
    ASSERT_OK(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, budget));
    EXPECT_LE(count(store).memory, budget);
    if (budget == least && !kSanitized) {
      EXPECT_LT(runtime::resident_memory() + Bytes((full - least) / 2), before);
    }
    for (std::uint32_t layer = 0; layer < 3; ++layer) {
      expect_right(store, file, layer, {1, 6});
      expect_right(store, file, layer, {0, 7});
    }
  }
  EXPECT_EQ(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, least - 1),
            HEARTH_ERROR_BUDGET);
  EXPECT_EQ(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, full + 1), HEARTH_ERROR_BUDGET);
  hearth_expert_lease* const held = acquire(store, 0, {1});
  EXPECT_EQ(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, least), HEARTH_ERROR_STATE);
  EXPECT_OK(hearth_lease_release(held, nullptr));
  EXPECT_EQ(count(store).memory, full);
}

TEST(Experts, BudgetsOfLockedMemoryAreGivenBackAndTakenAgain) {
  const ExpertFile file({.bytes = 200'000});
  const Store store = open_table(file, options_with(kAllBytes, 2));
  const std::uint64_t full = facts_of(store).full_ram, least = facts_of(store).least_ram;
  if (mlockall(MCL_CURRENT) != 0) GTEST_SKIP() << "mlockall: " << std::strerror(errno);
  const std::shared_ptr<void> until_here(nullptr, [](void*) { munlockall(); });
  const Bytes before = runtime::resident_memory();
  for (const std::uint64_t budget : {least, full, full / 2}) {
    EXPECT_OK(hearth_experts_set_budget(store.get(), HEARTH_TIER_RAM, budget));
    EXPECT_LE(count(store).memory, budget);
    if (budget == least && !kSanitized) {
      EXPECT_LT(runtime::resident_memory() + Bytes((full - least) / 2), before);
    }
    for (std::uint32_t layer = 0; layer < 3; ++layer) expect_right(store, file, layer, {1, 6});
  }
}

TEST(Experts, APlanPutsExpertsWhereTheyWere) {
  const ExpertFile file;
  const std::uint64_t ram = ram_for(file, 3);
  std::string plan;
  {
    const Store store = open_table(file, options_with(ram, 3));
    for (int i = 0; i < 5; ++i) expect_right(store, file, 1, {4, 6});
    expect_right(store, file, 1, {2});
    plan = export_of(store);
  }
  const Store store = open_table(file, options_with(ram, 3));
  std::uint64_t placed = 0;
  ASSERT_OK(hearth_experts_import(store.get(), plan.data(), plan.size(), &placed));
  EXPECT_EQ(placed, 3u);
  EXPECT_EQ(count(store).bytes_moved, 3u * (8000 + 8100));
  observe(store, 1, {4, 6, 2});
  EXPECT_EQ(count(store).hits, 3u);
  EXPECT_EQ(export_of(store).size(), plan.size());
  ASSERT_OK(hearth_experts_import(store.get(), plan.data(), plan.size(), &placed));
  EXPECT_EQ(placed, 0u);  // all are there

  const ExpertFile other({.layers = 2});
  const Store others = open_table(other, options_with(kAllBytes));
  EXPECT_EQ(hearth_experts_import(others.get(), plan.data(), plan.size(), nullptr),
            HEARTH_ERROR_BAD_INPUT);
  EXPECT_EQ(hearth_experts_import(store.get(), "no plan", 7, nullptr), HEARTH_ERROR_BAD_FILE);
  for (const std::size_t cut : {plan.size() / 4, plan.size() / 2, plan.size() - 4})
    EXPECT_NE(hearth_experts_import(store.get(), plan.data(), cut, nullptr), HEARTH_OK) << cut;
}

TEST(Experts, RowsThatMakeNoSenseAreRefused) {
  ExpertFile file;
  const auto options = options_with(kAllBytes);
  hearth_experts* opened = nullptr;
  const auto open_with = [&](auto change) {
    ExpertFile changed;
    change(changed.rows());
    const hearth_expert_table table = changed.table();
    return hearth_experts_open_table(&table, &options, &opened);
  };
  using Rows = std::vector<hearth_expert_row>;
  EXPECT_EQ(open_with([](Rows& rows) { rows[3].file = 1; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(open_with([](Rows& rows) { rows[3].length = 0; }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(open_with([](Rows& rows) { rows.clear(); }), HEARTH_ERROR_USAGE);
  EXPECT_EQ(open_with([](Rows& rows) { rows.insert(rows.end(), 12, rows[0]); }),
            HEARTH_ERROR_USAGE);
  EXPECT_EQ(open_with([](Rows& rows) { rows[3].offset = UINT64_MAX - 10; }), HEARTH_ERROR_BAD_FILE);
  EXPECT_EQ(open_with([](Rows& rows) { rows[3].length += 1 << 24; }), HEARTH_ERROR_BAD_FILE);
  EXPECT_EQ(open_with([](Rows& rows) { rows[3].layer = 1 << 20; }), HEARTH_ERROR_UNSUPPORTED);
  EXPECT_EQ(open_with([](Rows& rows) { rows[3].expert = UINT32_MAX; }), HEARTH_ERROR_UNSUPPORTED);
  EXPECT_EQ(opened, nullptr);

  std::filesystem::remove(file.path());
  const hearth_expert_table table = file.table();
  EXPECT_EQ(hearth_experts_open_table(&table, &options, &opened), HEARTH_ERROR_NOT_FOUND);
}

TEST(Experts, ATableMayHaveHoles) {
  ExpertFile file;
  std::erase_if(file.rows(),
                [](const hearth_expert_row& row) { return row.layer == 1 || row.expert == 3; });
  const Store store = open_table(file, options_with(kAllBytes));
  EXPECT_EQ(facts_of(store).experts, 14u);
  expect_right(store, file, 2, {2, 4, 7});
  hearth_expert_lease* lease = nullptr;
  const std::int32_t hole = 3, other = 0;
  EXPECT_EQ(hearth_experts_acquire(store.get(), 2, &hole, 1, &lease), HEARTH_ERROR_USAGE);
  EXPECT_EQ(hearth_experts_acquire(store.get(), 1, &other, 1, &lease), HEARTH_ERROR_USAGE);
}

TEST(Experts, NothingIsAllocatedInTheLongRun) {
  const ExpertFile file;
  const Store store = open_table(file, options_with(ram_for(file, 3), 3));
  const Ids ids[] = {{0, 1, 2}, {5, 5, 0}, {7, 3, 1}, {6, 2, 4}};
  const auto use = [&] {
    for (std::uint32_t i = 0; i < 12; ++i) {
      const Ids& own = ids[i % 4];
      hearth_expert_lease* lease = nullptr;
      auto memory = sized<hearth_expert_memory>();
      hearth_experts_observe(store.get(), i % 3, own.data(), nullptr, 1, own.size());
      hearth_experts_hint(store.get(), (i + 1) % 3, own.data(), own.size(), 0);
      hearth_experts_acquire(store.get(), i % 3, own.data(), own.size(), &lease);
      hearth_lease_wait(lease);
      hearth_lease_memory(lease, 0, &memory);
      hearth_lease_release(lease, nullptr);
    }
  };
  for (int i = 0; i < 20; ++i) use();
  const std::uint64_t before = heap_calls();
  for (int i = 0; i < 20; ++i) use();
  EXPECT_EQ(heap_calls(), before);
}

TEST(Experts, AThousandStoresLeaveNothingBehind) {
  const ExpertFile file({.layers = 2, .experts = 4, .parts = 1, .bytes = 600});
  const std::uint64_t ram = ram_for(file, 2);
  const auto open_use_close = [&] {
    const Store store = open_table(file, options_with(ram, 2));
    expect_right(store, file, 1, {2, 3});
  };
  for (int i = 0; i < 20; ++i) open_use_close();
  const Bytes before = runtime::resident_memory();
  for (int i = 0; i < 1000; ++i) open_use_close();
  if (kSanitized) return;
  EXPECT_LE(runtime::resident_memory(), before + Bytes(1000 * 1024));
}

TEST(Threads, StoresInDifferentThreadsKnowNothingOfEachOther) {
  const ExpertFile file;
  const std::uint64_t ram = ram_for(file, 3);
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      auto options = options_with(ram, 3);
      options.io = "pread";  // as in threads/threads_test.cpp
      const Store store = open_table(file, options);
      for (std::int32_t i = 0; i < 40; ++i)
        expect_right(store, file, static_cast<std::uint32_t>(i % 3), {i % 8, (i + t + 1) % 8});
      const std::int32_t wrong = 8;
      EXPECT_EQ(hearth_experts_hint(store.get(), 0, &wrong, 1, 0), HEARTH_ERROR_USAGE);
    });
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace hearth::testing
