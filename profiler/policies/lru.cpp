// Least recently used: the resident expert whose last routing lies longest ago goes first. One list
// for each size class, so that a search never walks over experts of the wrong size.
#include "base/check.h"
#include "profiler/policies/policies.h"
#include "profiler/policies/recency_lists.h"

namespace hearth::profiler {
namespace {

class Lru final : public CachePolicy {
 public:
  explicit Lru(const PolicyInput& input)
      : space_(input.space),
        size_class_of_(input.size_class_of.begin(), input.size_class_of.end()),
        size_classes_(input.slots_of_class.size()),
        lists_(space_.size(), static_cast<std::uint32_t>(size_classes_)) {
    CHECK_EQ(size_class_of_.size(), space_.size());
  }

  std::string_view name() const override { return "lru"; }

  void on_routed(const Routing&) override {}

  void on_hit(ExpertId id) override {
    const std::uint32_t expert = flat(id);
    lists_.remove(expert);
    lists_.push_newest(size_class_of_[expert], expert);
  }

  void on_insert(ExpertId id) override {
    const std::uint32_t expert = flat(id);
    CHECK_LT(size_class_of_[expert], size_classes_);
    lists_.push_newest(size_class_of_[expert], expert);
  }

  void on_evict(ExpertId id) override { lists_.remove(flat(id)); }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    CHECK_LT(size_class, size_classes_);
    for (std::uint32_t expert = lists_.oldest(size_class); expert != lists_.end(size_class);
         expert = lists_.newer(expert))
      if (may_evict(space_.id(expert))) return space_.id(expert);
    return std::nullopt;
  }

 private:
  std::uint32_t flat(ExpertId id) const {
    CHECK(space_.contains(id));
    return space_.flat(id);
  }

  const ExpertSpace space_;
  const std::vector<std::uint8_t> size_class_of_;
  const std::size_t size_classes_;
  RecencyLists lists_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_lru(const PolicyInput& input) {
  return std::make_unique<Lru>(input);
}

}  // namespace hearth::profiler
