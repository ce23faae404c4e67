#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/gpu/resolve.h"
#include "kernels/gpu/slot_search.h"

namespace hearth::kernels {
namespace {

struct ChosenExpert {
  std::uint32_t expert = 0;          // in the layer
  std::vector<std::uint32_t> pairs;  // one of a row, ascending
  std::uint32_t begin = 0;           // place of the first
};

class ScalarResolve {
 public:
  explicit ScalarResolve(const ResolveTask& task)
      : task_(task), step_(*task.step), counters_(task.tables.counters[task.layer]) {}

  void run() {
    list_chosen();
    look_up();
    order_misses();
    fetch();
    write_lists();
  }

 private:
  std::uint32_t flat(const ChosenExpert& chosen) const {
    return task_.first_expert + chosen.expert;
  }
  std::uint32_t slot_of(const ChosenExpert& chosen) const {
    return task_.tables.slot_of[flat(chosen)];
  }

  // Each expert once, in order of first appearance.
  void list_chosen() {
    for (std::uint32_t pair = 0; pair < task_.rows * task_.experts_used; ++pair) {
      const std::uint32_t expert = task_.ids[pair];
      if (expert >= task_.experts) {
        count_fault();
        continue;
      }
      auto known = std::ranges::find(chosen_, expert, &ChosenExpert::expert);
      if (known == chosen_.end()) known = chosen_.insert(known, {.expert = expert});
      const bool twice = !known->pairs.empty() &&
                         known->pairs.back() / task_.experts_used == pair / task_.experts_used;
      if (twice)
        count_fault();
      else
        known->pairs.push_back(pair);
    }
  }

  void count_fault() {
    ++counters_.faults;
    if (task_.faults != nullptr) ++*task_.faults;
  }

  void look_up() {
    for (const ChosenExpert& chosen : chosen_) {
      if (slot_of(chosen) != kNoSlot) {
        ExpertSlot& slot = task_.tables.slots[slot_of(chosen)];
        std::uint32_t& guessed = task_.tables.guessed[flat(chosen)];
        const bool on_its_way = guessed != 0 && slot.last_use == step_;
        counters_.prefetches_used += std::exchange(guessed, 0);
        slot.last_use = step_;
        (on_its_way ? arriving_ : hits_).push_back(chosen);
      } else if (task_.tables.sources[flat(chosen)].parts[0] != nullptr) {
        in_ram_.push_back(chosen);
      } else {
        ++counters_.not_in_ram;
        host_.push_back(chosen);
      }
    }
    counters_.hits += hits_.size() + arriving_.size();
  }

  // Those that were chosen most recently first.
  void order_misses() {
    std::ranges::stable_sort(in_ram_, {}, [&](const ChosenExpert& chosen) {
      return step_ - task_.tables.active_in[flat(chosen)];
    });
  }

  void fetch() {
    const auto misses = static_cast<std::uint32_t>(in_ram_.size());
    const std::uint32_t limit = std::min({misses, task_.most_fetches, task_.fetch_limits[misses]});
    for (const ChosenExpert& chosen : in_ram_) {
      std::optional<std::uint32_t> slot;
      if (fetched_.size() < limit) slot = search().best();
      if (slot) {
        give_slot(task_.tables, *slot, flat(chosen), step_, counters_);
        fetched_.push_back(chosen);
      } else {
        host_.push_back(chosen);
      }
    }
    std::ranges::sort(host_, {}, [](const ChosenExpert& chosen) { return chosen.pairs[0]; });
    counters_.fetched += fetched_.size();
    counters_.on_host += host_.size();
    for (const auto* list : {&hits_, &arriving_, &fetched_, &host_})
      for (const ChosenExpert& chosen : *list) task_.tables.active_in[flat(chosen)] = step_;
  }

  ScalarSlotSearch search() const {
    return {.tables = task_.tables,
            .first_slot = task_.first_slot,
            .slots = task_.slots,
            .step = step_,
            .least_age = 1,
            .protected_first = task_.protected_first,
            .protected_count = task_.protected_count,
            .all_experts = task_.all_experts,
            .takes_protected = true};
  }

  void write_lists() {
    const std::uint32_t pairs = task_.rows * task_.experts_used;
    std::fill_n(task_.hits, pairs, ExpertJob{});
    std::fill_n(task_.fetched, pairs, ExpertJob{});
    std::fill_n(task_.results, pairs, task_.nothing);
    for (std::size_t i = 0; i < hits_.size(); ++i) task_.hits[i] = device_job(hits_[i]);
    for (std::size_t i = 0; i < arriving_.size(); ++i) task_.fetched[i] = device_job(arriving_[i]);
    for (std::size_t i = 0; i < fetched_.size(); ++i) {
      task_.fetched[arriving_.size() + i] = device_job(fetched_[i]);
      task_.fetches[i] = {.from = task_.tables.sources[flat(fetched_[i])],
                          .to = task_.tables.addresses[slot_of(fetched_[i])]};
    }
    for (std::size_t i = 0; i < host_.size(); ++i) {
      const std::uint32_t begin = place(host_[i], task_.on_host);
      task_.host_jobs[i] = {host_[i].expert, begin,
                            static_cast<std::uint32_t>(host_[i].pairs.size())};
    }
    *task_.fetch_count = static_cast<std::uint32_t>(fetched_.size());
    *task_.host_count = static_cast<std::uint32_t>(host_.size());
  }

  ExpertJob device_job(const ChosenExpert& chosen) {
    ExpertJob job{.expert = chosen.expert,
                  .begin = place(chosen, task_.on_device),
                  .rows = static_cast<std::uint32_t>(chosen.pairs.size())};
    for (std::uint32_t part = 0; part < kExpertParts; ++part)
      job.matrices[part] = task_.tables.addresses[slot_of(chosen)] + task_.layout.offsets[part];
    return job;
  }

  // Gives the pairs of an expert the next places; the first of them.
  std::uint32_t place(const ChosenExpert& chosen, const ResultRows& results) {
    const std::uint32_t begin = places_;
    for (const std::uint32_t pair : chosen.pairs) {
      const std::uint32_t row = pair / task_.experts_used;
      task_.x_rows[places_] = row;
      task_.x_weights[places_] = task_.weights[pair];
      for (std::uint32_t rank = 0; rank < task_.experts_used; ++rank)
        if (const std::uint32_t same = row * task_.experts_used + rank;
            task_.ids[same] == chosen.expert)
          task_.results[same] = results.rows + places_ * results.stride;
      ++places_;
    }
    return begin;
  }

  const ResolveTask& task_;
  const std::uint32_t step_;
  ExpertCounters& counters_;
  std::vector<ChosenExpert> chosen_, hits_, arriving_, in_ram_, fetched_, host_;
  std::uint32_t places_ = 0;
};

}  // namespace

void resolve_scalar(const ResolveTask& task) { ScalarResolve(task).run(); }

}  // namespace hearth::kernels
