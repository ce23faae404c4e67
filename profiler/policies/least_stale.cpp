// Least-Stale (SpecMD: Hoang et al. 2026, arXiv 2602.03921): what this pass over the layers has
// already gone by goes first. Those of its layers not used in this pass, by the turns they missed;
// then those used; and the experts of layers still to run only when nothing else is left. Between
// equals the layer that runs latest. It never takes from a layer just before its turn, at the price
// of giving up often used experts of a layer just behind.
#include "profiler/policies/layer_recency.h"
#include "profiler/policies/policies.h"

namespace hearth::profiler {
namespace {

constexpr std::uint64_t kGoneBy = std::uint64_t{1} << 63;

class LeastStale final : public CachePolicy {
 public:
  explicit LeastStale(const PolicyInput& input) : recency_(input) {}

  std::string_view name() const override { return "least-stale"; }
  void on_routed(const Routing& routing) override { recency_.on_routed(routing); }
  void on_insert(ExpertId id) override { recency_.insert(id); }
  void on_evict(ExpertId id) override { recency_.remove(id); }
  void on_hit(ExpertId id) override {
    recency_.remove(id);
    recency_.insert(id);
  }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    const LayerTurns& turns = recency_.turns();
    return recency_.highest(size_class, may_evict, [&](LayerIndex layer, std::uint64_t missed) {
      const std::uint64_t rank = missed * recency_.layers() + turns.layers_until(layer);
      return turns.had_turn(layer) ? kGoneBy + rank : rank;
    });
  }

 private:
  LayerRecency recency_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_least_stale(const PolicyInput& input) {
  return std::make_unique<LeastStale>(input);
}

}  // namespace hearth::profiler
