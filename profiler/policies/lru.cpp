// Least recently used: the resident expert whose last routing lies longest ago goes first. One list
// for each size class, so that a search never walks over experts of the wrong size.
#include "base/check.h"
#include "profiler/policies/expert_table.h"
#include "profiler/policies/policies.h"
#include "profiler/policies/recency_lists.h"

namespace hearth::profiler {
namespace {

class Lru final : public CachePolicy {
 public:
  explicit Lru(const PolicyInput& input)
      : table_(input), lists_(table_.size(), table_.size_classes()) {}

  std::string_view name() const override { return "lru"; }

  void on_routed(const Routing&) override {}

  void on_hit(ExpertId id) override {
    on_evict(id);
    on_insert(id);
  }

  void on_insert(ExpertId id) override {
    const std::uint32_t expert = table_.flat(id);
    lists_.push_newest(table_.size_class(expert), expert);
  }

  void on_evict(ExpertId id) override { lists_.remove(table_.flat(id)); }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    CHECK_LT(size_class, table_.size_classes());
    for (std::uint32_t expert = lists_.oldest(size_class); expert != lists_.end(size_class);
         expert = lists_.newer(expert))
      if (may_evict(table_.id(expert))) return table_.id(expert);
    return std::nullopt;
  }

 private:
  ExpertTable table_;
  RecencyLists lists_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_lru(const PolicyInput& input) {
  return std::make_unique<Lru>(input);
}

}  // namespace hearth::profiler
