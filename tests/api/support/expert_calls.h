// Short forms of calls of hearth/experts.h that are to succeed.
#pragma once

#include <gtest/gtest.h>
#include <hearth/experts.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "tests/api/support/expert_file.h"

namespace hearth::testing {

#define EXPECT_OK(call) EXPECT_EQ(call, HEARTH_OK) << hearth_message()
#define ASSERT_OK(call) ASSERT_EQ(call, HEARTH_OK) << hearth_message()

inline hearth_experts_options options_with(std::uint64_t ram, std::uint32_t at_once = 1) {
  hearth_experts_options options{};
  options.size = sizeof options;
  options.ram = ram;
  options.at_once = at_once;
  return options;
}

inline constexpr std::uint64_t kAllBytes = std::numeric_limits<std::uint64_t>::max();

inline hearth_experts* open_table(const ExpertFile& file, const hearth_experts_options& options) {
  hearth_experts* experts = nullptr;
  const hearth_expert_table table = file.table();
  EXPECT_OK(hearth_experts_open_table(&table, &options, &experts));
  return experts;
}

inline hearth_experts_facts facts_of(const hearth_experts* experts) {
  hearth_experts_facts facts{};
  facts.size = sizeof facts;
  EXPECT_OK(hearth_experts_facts_of(experts, &facts));
  return facts;
}

// With room for so many experts of the largest layers, and as many of the others.
inline std::uint64_t ram_for(const ExpertFile& file, std::uint32_t experts) {
  hearth_experts* const probe = open_table(file, options_with(kAllBytes, experts));
  const std::uint64_t least = facts_of(probe).least_ram;
  EXPECT_OK(hearth_experts_close(probe));
  return least;
}

inline hearth_expert_lease* acquire(hearth_experts* experts, std::uint32_t layer,
                                    const std::vector<std::int32_t>& ids) {
  hearth_expert_lease* lease = nullptr;
  EXPECT_OK(hearth_experts_acquire(experts, layer, ids.data(), ids.size(), &lease));
  return lease;
}

inline void observe(hearth_experts* experts, std::uint32_t layer,
                    const std::vector<std::int32_t>& ids) {
  EXPECT_OK(hearth_experts_observe(experts, layer, ids.data(), nullptr, 1, ids.size()));
}

inline hearth_expert_memory memory_of(hearth_expert_lease* lease, std::size_t index) {
  hearth_expert_memory memory{};
  memory.size = sizeof memory;
  EXPECT_OK(hearth_lease_memory(lease, index, &memory));
  return memory;
}

inline hearth_experts_counters count(const hearth_experts* experts,
                                     hearth_tier tier = HEARTH_TIER_RAM,
                                     std::uint32_t layer = HEARTH_ALL_LAYERS) {
  hearth_experts_counters counters{};
  counters.size = sizeof counters;
  EXPECT_OK(hearth_experts_count(experts, tier, layer, &counters));
  return counters;
}

inline std::string export_of(const hearth_experts* experts) {
  std::size_t bytes = 0;
  EXPECT_OK(hearth_experts_export(experts, nullptr, 0, &bytes));
  std::string text(bytes, '\0');
  EXPECT_OK(hearth_experts_export(experts, text.data(), text.size(), &bytes));
  return text;
}

}  // namespace hearth::testing
