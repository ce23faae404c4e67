// Layer-aware recency (LLRU: Angelopoulos et al. 2025, arXiv 2509.02408). LRU counts time in
// experts, so of two experts that were both used in their layer's last turn it gives up the one
// whose layer runs next. Here time is counted in turns of an expert's own layer: the expert that
// missed most of them goes first, and of equals the one whose layer has just run, since its next
// chance lies farthest ahead. Below one cycle this hits in proportion to its slots, LRU not at all.
#include "profiler/policies/layer_recency.h"
#include "profiler/policies/policies.h"

namespace hearth::profiler {
namespace {

class LayerLru final : public CachePolicy {
 public:
  explicit LayerLru(const PolicyInput& input) : recency_(input) {}

  std::string_view name() const override { return "layer-lru"; }
  void on_routed(const Routing& routing) override { recency_.on_routed(routing); }
  void on_insert(ExpertId id) override { recency_.insert(id); }
  void on_evict(ExpertId id) override { recency_.remove(id); }
  void on_hit(ExpertId id) override {
    recency_.remove(id);
    recency_.insert(id);
  }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    return recency_.highest(size_class, may_evict, [this](LayerIndex layer, std::uint64_t missed) {
      return missed * recency_.layers() + recency_.turns().layers_until(layer);
    });
  }

 private:
  LayerRecency recency_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_layer_lru(const PolicyInput& input) {
  return std::make_unique<LayerLru>(input);
}

}  // namespace hearth::profiler
