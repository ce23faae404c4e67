// A policy as a newcomer would write it: of the resident experts the last goes first.
#include "profiler/policies/expert_table.h"
#include "profiler/policies/policies.h"

namespace hearth::profiler {
namespace {

class MadeUp final : public CachePolicy {
 public:
  explicit MadeUp(const PolicyInput& input) : table_(input), resident_(table_.size()) {}

  std::string_view name() const override { return "made-up"; }
  void on_routed(const Routing&) override {}
  void on_hit(ExpertId) override {}
  void on_insert(ExpertId id) override { resident_[table_.flat(id)] = true; }
  void on_evict(ExpertId id) override { resident_[table_.flat(id)] = false; }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    for (std::uint32_t expert = table_.size(); expert-- > 0;)
      if (resident_[expert] && table_.size_class(expert) == size_class &&
          may_evict(table_.id(expert)))
        return table_.id(expert);
    return std::nullopt;
  }

 private:
  ExpertTable table_;
  std::vector<bool> resident_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_made_up(const PolicyInput& input) {
  return std::make_unique<MadeUp>(input);
}

}  // namespace hearth::profiler
