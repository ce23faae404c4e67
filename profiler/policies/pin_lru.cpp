// A protected set by popularity, and LRU for the rest.
//
// Up to seven eighths of the slots of each size class belong to its most often routed experts. A
// victim is the least recently used of the others; a protected expert goes only when no other may.
// This is for budgets below one cycle (layers x top-k experts): there LRU evicts every expert just
// before its return and hits nothing, while a set that stays keeps hitting.
#include <algorithm>

#include "base/check.h"
#include "profiler/policies/expert_table.h"
#include "profiler/policies/layer_turns.h"
#include "profiler/policies/policies.h"
#include "profiler/policies/recency_lists.h"

namespace hearth::profiler {
namespace {

// Popularity is a decision count in units of 1/256, multiplied by 7/8 every 8 steps: it halves in
// about 42 steps, so that the set follows a change of subject but not single tokens. In replays of
// recorded texts that change, four times that length cost up to 12 percentage points of hits. The
// largest value is 8 * 256 * 8 = 2^14: 32 bits never overflow.
constexpr std::uint32_t kDecision = 256;
constexpr std::uint32_t kDecayShift = 3;
constexpr std::uint32_t kStepsPerRanking = 8;
constexpr std::uint32_t kMostPopularity = (kStepsPerRanking * kDecision) << kDecayShift;

// The rest is where newcomers prove themselves. It must hold the misses of one layer, all in use at
// the same time, or these would push out protected experts.
constexpr std::uint32_t protected_slots(std::uint32_t slots, std::uint32_t top_k) {
  return std::min(static_cast<std::uint32_t>(std::uint64_t{slots} * 7 / 8),
                  slots - std::min(slots, top_k));
}

class PinLru final : public CachePolicy {
 public:
  explicit PinLru(const PolicyInput& input)
      : table_(input),
        experts_of_class_(table_.size_classes()),
        experts_(table_.size()),
        lists_(table_.size(), 2u * table_.size_classes()) {
    for (std::uint32_t expert = 0; expert < table_.size(); ++expert)
      if (table_.exists(expert)) experts_of_class_[table_.size_class(expert)].push_back(expert);
    resident_.reserve(table_.size());
    if (!input.popularity.empty()) begin_with(input.popularity);
  }

  std::string_view name() const override { return "pin+lru"; }

  void on_routed(const Routing& routing) override {
    if (turns_.on_routed(routing)) begin_step();
    ++decisions_;
    top_k_ = std::max(top_k_, routing.experts_per_row);
    for (const std::uint16_t index : routing.experts) {
      Expert& expert = experts_[table_.flat({routing.layer, index})];
      // Once for all rows of the step: it is loaded once for all of them, too.
      if (expert.counted_in == decisions_) continue;
      expert.counted_in = decisions_;
      expert.popularity += kDecision;
    }
  }

  void on_hit(ExpertId id) override {
    lists_.remove(table_.flat(id));
    on_insert(id);
  }

  void on_insert(ExpertId id) override {
    const std::uint32_t expert = table_.flat(id);
    experts_[expert].last_use = ++uses_;
    lists_.push_newest(list_of(expert), expert);
  }

  void on_evict(ExpertId id) override { lists_.remove(table_.flat(id)); }

  void on_slots(std::uint8_t size_class, std::uint32_t slots) override {
    table_.set_slots(size_class, slots);
    rank(size_class);
    rebuild_lists(size_class);
  }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    CHECK_LT(size_class, table_.size_classes());
    for (const bool is_protected : {false, true}) {
      const std::uint32_t list = list_of(size_class, is_protected);
      for (std::uint32_t expert = lists_.oldest(list); expert != lists_.end(list);
           expert = lists_.newer(expert))
        if (may_evict(table_.id(expert))) return table_.id(expert);
    }
    return std::nullopt;
  }

 private:
  struct Expert {
    std::uint64_t counted_in = 0;  // decision that last counted it
    std::uint64_t last_use = 0;    // while resident: the order of the lists
    std::uint32_t popularity = 0;
    bool is_protected = false;
  };

  // A profile stands for as many tokens as are remembered, and is ranked at once.
  void begin_with(std::span<const float> popularity) {
    for (std::uint32_t expert = 0; expert < table_.size(); ++expert)
      experts_[expert].popularity = static_cast<std::uint32_t>(
          std::clamp(popularity[expert], 0.0f, 1.0f) * static_cast<float>(kMostPopularity));
    for (std::uint8_t size_class = 0; size_class < table_.size_classes(); ++size_class)
      rank(size_class);
    steps_until_ranking_ = kStepsPerRanking;
  }

  // The first rankings without a profile come after 1, 2, 4, ... steps: a short run should not wait
  // for all of them.
  void begin_step() {
    if (++steps_ < steps_until_ranking_) return;
    steps_ = 0;
    steps_until_ranking_ = std::min(2 * steps_until_ranking_, kStepsPerRanking);
    for (std::uint8_t size_class = 0; size_class < table_.size_classes(); ++size_class) {
      rank(size_class);
      rebuild_lists(size_class);
    }
    for (Expert& expert : experts_) expert.popularity -= expert.popularity >> kDecayShift;
  }

  void rank(std::uint8_t size_class) {
    std::vector<std::uint32_t>& members = experts_of_class_[size_class];
    const std::size_t count =
        std::min<std::size_t>(protected_slots(table_.slots(size_class), top_k_), members.size());
    const auto boundary = members.begin() + static_cast<std::ptrdiff_t>(count);
    std::nth_element(members.begin(), boundary, members.end(),
                     [this](std::uint32_t a, std::uint32_t b) {
                       const std::uint32_t of_a = experts_[a].popularity;
                       const std::uint32_t of_b = experts_[b].popularity;
                       return of_a != of_b ? of_a > of_b : a < b;
                     });
    for (auto member = members.begin(); member != members.end(); ++member)
      experts_[*member].is_protected = member < boundary && experts_[*member].popularity > 0;
  }

  // Deals the resident experts of a class anew to its two lists, in order of their last use.
  void rebuild_lists(std::uint8_t size_class) {
    resident_.clear();
    for (const std::uint32_t expert : experts_of_class_[size_class])
      if (lists_.contains(expert)) resident_.push_back(expert);
    std::sort(resident_.begin(), resident_.end(), [this](std::uint32_t a, std::uint32_t b) {
      return experts_[a].last_use < experts_[b].last_use;
    });
    for (const std::uint32_t expert : resident_) {
      lists_.remove(expert);
      lists_.push_newest(list_of(expert), expert);
    }
  }

  static std::uint32_t list_of(std::uint8_t size_class, bool is_protected) {
    return 2u * size_class + (is_protected ? 1 : 0);
  }
  std::uint32_t list_of(std::uint32_t expert) const {
    return list_of(table_.size_class(expert), experts_[expert].is_protected);
  }

  ExpertTable table_;
  std::vector<std::vector<std::uint32_t>> experts_of_class_;  // partly sorted by rank()
  std::vector<Expert> experts_;
  std::vector<std::uint32_t> resident_;  // scratch of rebuild_lists()
  RecencyLists lists_;                   // per size class: the others, the protected
  LayerTurns turns_{table_.layers()};
  std::uint32_t top_k_ = 0;
  std::uint32_t steps_ = 0;
  std::uint32_t steps_until_ranking_ = 1;
  std::uint64_t decisions_ = 0;
  std::uint64_t uses_ = 0;
};

}  // namespace

std::unique_ptr<CachePolicy> make_pin_lru(const PolicyInput& input) {
  return std::make_unique<PinLru>(input);
}

}  // namespace hearth::profiler
