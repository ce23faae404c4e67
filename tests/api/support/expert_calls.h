// Short forms of calls of hearth/experts.h that are to succeed.
#pragma once

#include <gtest/gtest.h>
#include <hearth/experts.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/api/support/expert_file.h"
#include "tests/api/support/handles.h"

namespace hearth::testing {

#define EXPECT_OK(call) EXPECT_EQ(call, HEARTH_OK) << hearth_message()
#define ASSERT_OK(call) ASSERT_EQ(call, HEARTH_OK) << hearth_message()

inline hearth_experts_options options_with(std::uint64_t ram, std::uint32_t at_once = 1) {
  auto options = sized<hearth_experts_options>();
  options.ram = ram;
  options.at_once = at_once;
  return options;
}

using Ids = std::vector<std::int32_t>;
inline constexpr std::uint64_t kAllBytes = std::numeric_limits<std::uint64_t>::max();

struct CloseStore {
  void operator()(hearth_experts* experts) const { EXPECT_OK(hearth_experts_close(experts)); }
};
using Store = std::unique_ptr<hearth_experts, CloseStore>;

inline Store open_table(const ExpertFile& file, const hearth_experts_options& options) {
  hearth_experts* experts = nullptr;
  const hearth_expert_table table = file.table();
  EXPECT_OK(hearth_experts_open_table(&table, &options, &experts));
  return Store(experts);
}

inline hearth_experts_facts facts_of(const Store& experts) {
  auto facts = sized<hearth_experts_facts>();
  EXPECT_OK(hearth_experts_facts_of(experts.get(), &facts));
  return facts;
}

// With room for so many experts of the largest layers, and as many of the others.
inline std::uint64_t ram_for(const ExpertFile& file, std::uint32_t experts) {
  return facts_of(open_table(file, options_with(kAllBytes, experts))).least_ram;
}

inline hearth_expert_lease* acquire(const Store& experts, std::uint32_t layer, const Ids& ids) {
  hearth_expert_lease* lease = nullptr;
  EXPECT_OK(hearth_experts_acquire(experts.get(), layer, ids.data(), ids.size(), &lease));
  return lease;
}

inline void observe(const Store& experts, std::uint32_t layer, const Ids& ids) {
  EXPECT_OK(hearth_experts_observe(experts.get(), layer, ids.data(), nullptr, 1, ids.size()));
}

inline hearth_expert_memory memory_of(hearth_expert_lease* lease, std::size_t index) {
  auto memory = sized<hearth_expert_memory>();
  EXPECT_OK(hearth_lease_memory(lease, index, &memory));
  return memory;
}

inline hearth_experts_counters count(const Store& experts, hearth_tier tier = HEARTH_TIER_RAM,
                                     std::uint32_t layer = HEARTH_ALL_LAYERS) {
  auto counters = sized<hearth_experts_counters>();
  EXPECT_OK(hearth_experts_count(experts.get(), tier, layer, &counters));
  return counters;
}

inline std::string export_of(const Store& experts) {
  std::size_t bytes = 0;
  EXPECT_OK(hearth_experts_export(experts.get(), nullptr, 0, &bytes));
  std::string text(bytes, '\0');
  EXPECT_OK(hearth_experts_export(experts.get(), text.data(), text.size(), &bytes));
  return text;
}

}  // namespace hearth::testing
