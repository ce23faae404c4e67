// Least frequently used, where uses are forgotten: a token counts half as much after 16 further
// ones. That is between recency and popularity (LRFU: Lee et al. 2001). In replays of recorded
// texts and of traces made to match published figures, half-lives of 4 and of 64 tokens hit up to 6
// percentage points less than 16, and at most 2 more. Of equally frequent experts the one whose
// layer runs latest goes first.
#include "profiler/policies/expected_waits.h"
#include "profiler/policies/policies.h"
#include "profiler/policies/use_rates.h"

namespace hearth::profiler {
namespace {

constexpr float kKept = 0.9576033f;  // 2^(-1/16)

class LfuDecay final : public CachePolicy {
 public:
  explicit LfuDecay(const PolicyInput& input)
      : waits_(input), rates_(input.space, kKept, input.popularity) {
    for (LayerIndex layer = 0; layer < input.space.layers; ++layer) expect(layer);
  }

  std::string_view name() const override { return "lfu-decay"; }

  void on_routed(const Routing& routing) override {
    for (std::uint32_t row = 0; row < routing.rows; ++row)
      rates_.add_token(routing.layer, row_of(routing, row).experts);
    waits_.on_routed(routing);
    expect(routing.layer);
  }

  void on_hit(ExpertId id) override { CHECK(waits_.contains(id)); }
  void on_insert(ExpertId id) override { waits_.insert(id); }
  void on_evict(ExpertId id) override { waits_.remove(id); }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    return waits_.longest(size_class, may_evict);
  }

 private:
  void expect(LayerIndex layer) {
    if (rates_.filled(layer) == 0) return;
    const std::span<const float> rates = rates_.rates(layer);
    const std::span<float> uses = waits_.uses(layer);
    const float scale = 1 / rates_.filled(layer);
    for (std::size_t expert = 0; expert < uses.size(); ++expert)
      uses[expert] = rates[expert] * scale;
  }

  ExpectedWaits waits_;
  UseRates rates_;
};

}  // namespace

std::unique_ptr<CachePolicy> make_lfu_decay(const PolicyInput& input) {
  return std::make_unique<LfuDecay>(input);
}

}  // namespace hearth::profiler
