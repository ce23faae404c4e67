// A protected set by popularity, and LRU for the rest.
//
// Up to three quarters of the slots of each size class belong to its most often routed experts. A
// victim is the least recently used of the others; a protected expert goes only when no other may.
// This is for budgets below one cycle (layers x top-k experts): there LRU evicts every expert just
// before its return and hits nothing, while a set that stays keeps hitting.
#include <algorithm>

#include "base/check.h"
#include "profiler/policies/policies.h"
#include "profiler/policies/recency_lists.h"

namespace hearth::profiler {
namespace {

// Popularity is a decision count in units of 1/256, multiplied by 7/8 every 32 steps: it halves in
// about 166 steps, the length of a paragraph, so that the set follows a change of subject but not
// single tokens. The largest value is 32 * 256 * 8 = 2^16: 32 bits never overflow.
constexpr std::uint32_t kDecision = 256;
constexpr std::uint32_t kDecayShift = 3;
constexpr std::uint32_t kStepsPerRanking = 32;

// The rest is where newcomers prove themselves. It must hold the misses of one layer, all in use at
// the same time, or these would push out protected experts.
constexpr std::uint32_t protected_slots(std::uint32_t slots, std::uint32_t top_k) {
  return std::min(static_cast<std::uint32_t>(std::uint64_t{slots} * 3 / 4),
                  slots - std::min(slots, top_k));
}

class PinLru final : public CachePolicy {
 public:
  explicit PinLru(const PolicyInput& input)
      : space_(input.space),
        size_class_of_(input.size_class_of.begin(), input.size_class_of.end()),
        slots_of_class_(input.slots_of_class.begin(), input.slots_of_class.end()),
        experts_of_class_(slots_of_class_.size()),
        experts_(space_.size()),
        lists_(space_.size(), 2 * static_cast<std::uint32_t>(slots_of_class_.size())) {
    CHECK_EQ(size_class_of_.size(), space_.size());
    for (std::uint32_t expert = 0; expert < space_.size(); ++expert)
      if (size_class_of_[expert] < slots_of_class_.size())
        experts_of_class_[size_class_of_[expert]].push_back(expert);
    resident_.reserve(space_.size());
  }

  std::string_view name() const override { return "pin+lru"; }

  void on_routed(const Routing& routing) override {
    if (routing.layer <= last_layer_) begin_step();
    last_layer_ = routing.layer;
    ++decisions_;
    top_k_ = std::max(top_k_, routing.experts_per_row);
    for (const std::uint16_t index : routing.experts) {
      Expert& expert = experts_[flat({routing.layer, index})];
      // Once for all rows of the step: it is loaded once for all of them, too.
      if (expert.counted_in == decisions_) continue;
      expert.counted_in = decisions_;
      expert.popularity += kDecision;
    }
  }

  void on_hit(ExpertId id) override {
    lists_.remove(flat(id));
    on_insert(id);
  }

  void on_insert(ExpertId id) override {
    const std::uint32_t expert = flat(id);
    CHECK_LT(size_class_of_[expert], slots_of_class_.size());
    experts_[expert].last_use = ++uses_;
    lists_.push_newest(list_of(expert), expert);
  }

  void on_evict(ExpertId id) override { lists_.remove(flat(id)); }

  std::optional<ExpertId> choose_victim(std::uint8_t size_class,
                                        FunctionRef<bool(ExpertId)> may_evict) override {
    CHECK_LT(size_class, slots_of_class_.size());
    for (const bool is_protected : {false, true}) {
      const std::uint32_t list = list_of(size_class, is_protected);
      for (std::uint32_t expert = lists_.oldest(list); expert != lists_.end(list);
           expert = lists_.newer(expert))
        if (may_evict(space_.id(expert))) return space_.id(expert);
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

  // A layer that does not follow its predecessor begins the next pass over the layers. The first
  // rankings come after 1, 2, 4, ... steps: a short run should not wait for 32.
  void begin_step() {
    if (++steps_ < steps_until_ranking_) return;
    steps_ = 0;
    steps_until_ranking_ = std::min(2 * steps_until_ranking_, kStepsPerRanking);
    for (std::size_t size_class = 0; size_class < slots_of_class_.size(); ++size_class) {
      rank(size_class);
      rebuild_lists(static_cast<std::uint8_t>(size_class));
    }
    for (Expert& expert : experts_) expert.popularity -= expert.popularity >> kDecayShift;
  }

  void rank(std::size_t size_class) {
    std::vector<std::uint32_t>& members = experts_of_class_[size_class];
    const std::size_t count =
        std::min<std::size_t>(protected_slots(slots_of_class_[size_class], top_k_), members.size());
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
    return list_of(size_class_of_[expert], experts_[expert].is_protected);
  }

  std::uint32_t flat(ExpertId id) const {
    CHECK(space_.contains(id));
    return space_.flat(id);
  }

  const ExpertSpace space_;
  const std::vector<std::uint8_t> size_class_of_;
  const std::vector<std::uint32_t> slots_of_class_;
  std::vector<std::vector<std::uint32_t>> experts_of_class_;  // partly sorted by rank()
  std::vector<Expert> experts_;
  std::vector<std::uint32_t> resident_;  // scratch of rebuild_lists()
  RecencyLists lists_;                   // per size class: the others, the protected
  std::int32_t last_layer_ = -1;
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
