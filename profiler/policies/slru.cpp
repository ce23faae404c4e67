// Segmented LRU (Karedla, Love & Wherry 1994): an expert that was hit since it came in is
// protected; those never hit go first, oldest first. What is protected is limited to a part of the
// slots, and the least recently used beyond that is on trial again. Single uses, like those of a
// long prompt, so pass through without taking the place of what recurs.
#include "base/check.h"
#include "profiler/policies/expert_table.h"
#include "profiler/policies/policies.h"
#include "profiler/policies/recency_lists.h"

namespace hearth::profiler {
namespace {

constexpr std::uint32_t protected_slots(std::uint32_t slots) {
  return static_cast<std::uint32_t>(std::uint64_t{slots} * 3 / 4);
}

class Slru final : public CachePolicy {
 public:
  explicit Slru(const PolicyInput& input)
      : table_(input),
        lists_(table_.size(), 2u * table_.size_classes()),
        is_protected_(table_.size()),
        protected_of_class_(table_.size_classes()) {}

  std::string_view name() const override { return "slru"; }
  void on_routed(const Routing&) override {}

  void on_insert(ExpertId id) override {
    const std::uint32_t expert = table_.flat(id);
    lists_.push_newest(on_trial(table_.size_class(expert)), expert);
  }

  void on_hit(ExpertId id) override {
    remove(table_.flat(id));
    protect(table_.flat(id));
  }

  void on_evict(ExpertId id) override { remove(table_.flat(id)); }

  void on_slots(std::uint8_t size_class, std::uint32_t slots) override {
    table_.set_slots(size_class, slots);
    limit_protected(size_class);
  }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    CHECK_LT(size_class, table_.size_classes());
    for (const std::uint32_t list : {on_trial(size_class), guarded(size_class)})
      for (std::uint32_t expert = lists_.oldest(list); expert != lists_.end(list);
           expert = lists_.newer(expert))
        if (may_evict(table_.id(expert))) return table_.id(expert);
    return std::nullopt;
  }

 private:
  static std::uint32_t on_trial(std::uint8_t size_class) { return 2u * size_class; }
  static std::uint32_t guarded(std::uint8_t size_class) { return 2u * size_class + 1; }

  void remove(std::uint32_t expert) {
    lists_.remove(expert);
    if (!is_protected_[expert]) return;
    is_protected_[expert] = false;
    --protected_of_class_[table_.size_class(expert)];
  }

  void protect(std::uint32_t expert) {
    const std::uint8_t size_class = table_.size_class(expert);
    is_protected_[expert] = true;
    lists_.push_newest(guarded(size_class), expert);
    ++protected_of_class_[size_class];
    limit_protected(size_class);
  }

  void limit_protected(std::uint8_t size_class) {
    while (protected_of_class_[size_class] > protected_slots(table_.slots(size_class))) {
      const std::uint32_t oldest = lists_.oldest(guarded(size_class));
      remove(oldest);
      lists_.push_newest(on_trial(size_class), oldest);
    }
  }

  ExpertTable table_;
  RecencyLists lists_;  // per size class: on trial, protected
  std::vector<bool> is_protected_;
  std::vector<std::uint32_t> protected_of_class_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_slru(const PolicyInput& input) {
  return std::make_unique<Slru>(input);
}

}  // namespace hearth::profiler
