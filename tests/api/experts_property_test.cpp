// Whatever a program does in whatever order, a store never takes more than its budget, what is
// leased stays as it is, and it is what the file holds.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

#include "tests/api/support/expert_calls.h"
#include "tests/api/support/modelled_device.h"

namespace hearth::testing {
namespace {

constexpr std::uint32_t kAtOnce = 3;

// Does what the numbers say, and looks at all leases after each of them.
class Program {
 public:
  Program(const ExpertFile& file, const Store& store, ModelledDevice* device,
          const hearth_experts_facts& facts)
      : file_(file), store_(store), device_(device), facts_(facts) {}

  void run(const std::vector<std::uint32_t>& numbers) {
    for (const std::uint32_t number : numbers) {
      step(number);
      check();
    }
    while (!leases_.empty()) release(0);
  }

 private:
  struct Held {
    hearth_expert_lease* lease;
    std::uint32_t layer;
    Ids ids;
    std::vector<hearth_expert_memory> memory;
  };

  void step(std::uint32_t number) {
    const std::uint32_t layer = number / 16 % 3;
    Ids ids;
    for (std::uint32_t i = 0; i < 1 + number / 64 % kAtOnce; ++i)
      ids.push_back(static_cast<std::int32_t>(number / (256u << (3 * i)) % 8));
    switch (number % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
        return acquire_some(layer, ids);
      case 5:
      case 6:
      case 7:
        if (!leases_.empty()) release(number / 16 % leases_.size());
        return;
      case 8:
      case 9:
      case 10:
        return observe(store_, layer, ids);
      case 11:
      case 12:
        RC_ASSERT(hearth_experts_hint(store_.get(), layer, ids.data(), ids.size(),
                                      number % 3 * 1000) == HEARTH_OK);
        return;
      case 13:
        RC_ASSERT(hearth_experts_poll(store_.get()) == HEARTH_OK);
        return;
      default:
        return change_budget(number);
    }
  }

  void acquire_some(std::uint32_t layer, const Ids& ids) {
    hearth_expert_lease* lease = nullptr;
    const hearth_status status =
        hearth_experts_acquire(store_.get(), layer, ids.data(), ids.size(), &lease);
    // Only what is leased already can be in the way of so few.
    if (status == HEARTH_ERROR_BUDGET && !leases_.empty()) return;
    RC_ASSERT(status == HEARTH_OK);
    RC_ASSERT(hearth_lease_wait(lease) == HEARTH_OK);
    Held held{lease, layer, ids, {}};
    for (std::size_t i = 0; i < ids.size(); ++i) {
      held.memory.push_back(sized<hearth_expert_memory>());
      RC_ASSERT(hearth_lease_memory(lease, i, &held.memory.back()) == HEARTH_OK);
    }
    leases_.push_back(std::move(held));
  }

  void release(std::size_t index) {
    void* const stream = device_ == nullptr ? nullptr : device_->stream(1);
    RC_ASSERT(hearth_lease_release(leases_[index].lease, stream) == HEARTH_OK);
    leases_.erase(leases_.begin() + static_cast<std::ptrdiff_t>(index));
  }

  void change_budget(std::uint32_t number) {
    const bool on_device = device_ != nullptr && number / 16 % 2 == 0;
    const std::uint64_t least = on_device ? facts_.least_device : facts_.least_ram;
    const std::uint64_t full = on_device ? facts_.full_device : facts_.full_ram;
    const std::uint64_t budget = least + (full - least) * (number / 32 % 8) / 7;
    const hearth_status status = hearth_experts_set_budget(
        store_.get(), on_device ? HEARTH_TIER_DEVICE : HEARTH_TIER_RAM, budget);
    RC_ASSERT(status == (leases_.empty() ? HEARTH_OK : HEARTH_ERROR_STATE));
    if (status == HEARTH_OK) (on_device ? device_budget_ : ram_budget_) = budget;
  }

  void check() {
    if (device_ != nullptr) device_->run_all();
    RC_ASSERT(count(store_).memory <= ram_budget_);
    if (device_ != nullptr) RC_ASSERT(count(store_, HEARTH_TIER_DEVICE).memory <= device_budget_);
    for (const Held& held : leases_)
      for (std::size_t i = 0; i < held.ids.size(); ++i)
        RC_ASSERT(file_.is(held.layer, static_cast<std::uint32_t>(held.ids[i]), held.memory[i]));
  }

  const ExpertFile& file_;
  const Store& store_;
  ModelledDevice* const device_;
  const hearth_experts_facts facts_;
  std::uint64_t ram_budget_ = facts_.full_ram, device_budget_ = facts_.full_device;
  std::vector<Held> leases_;
};

std::vector<std::uint32_t> some_numbers() {
  return *rc::gen::container<std::vector<std::uint32_t>>(
      rc::gen::noShrink(rc::gen::inRange<std::uint32_t>(0, 1u << 30)));
}

TEST(ExpertsProperty, InRam) {
  const ExpertFile file({.bytes = 1000});
  EXPECT_TRUE(rc::check([&] {
    const std::vector<std::uint32_t> numbers = some_numbers();
    const std::uint64_t full = facts_of(open_table(file, options_with(kAllBytes))).full_ram;
    const Store store = open_table(file, options_with(full, kAtOnce));
    Program(file, store, nullptr, facts_of(store)).run(numbers);
  }));
}

TEST(ExpertsProperty, OnADevice) {
  const ExpertFile file({.bytes = 1000});
  EXPECT_TRUE(rc::check([&] {
    const std::vector<std::uint32_t> numbers = some_numbers();
    ModelledDevice device(numbers.size() + 1);
    const hearth_device lent = device.lent(numbers.size() % 2 == 0);
    auto options = options_with(kAllBytes, kAtOnce);
    options.device = &lent;
    options.device_memory = kAllBytes;
    const Store store = open_table(file, options);
    Program(file, store, &device, facts_of(store)).run(numbers);
  }));
}

}  // namespace
}  // namespace hearth::testing
