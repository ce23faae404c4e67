#include "kernels/gpu/emulation/schedule.h"

#include <algorithm>
#include <utility>

#include "kernels/gpu/emulation/block_runner.h"

namespace hearth::kernels::emulated {

Schedule::Schedule(std::uint64_t seed, std::function<bool()> beside,
                   std::function<bool(const char*)> operate)
    : random_(seed),
      by_stream_(random_.below(2) == 0),
      beside_(std::move(beside)),
      operate_(std::move(operate)) {}

Pending Schedule::add(Operation operation, std::vector<Pending> after) {
  std::erase_if(after, is_done);
  pending_.push_back(std::make_shared<PendingOperation>(
      PendingOperation{.operation = std::move(operation), .after = std::move(after)}));
  return pending_.back();
}

bool Schedule::can_run(const Pending& pending) const {
  return std::ranges::all_of(pending->after, is_done) &&
         (!pending->operation.ready || pending->operation.ready());
}

bool Schedule::step() {
  std::vector<Pending> can;
  for (const Pending& pending : pending_)
    if (can_run(pending)) can.push_back(pending);
  if (random_.below(can.size() + 1) == can.size() && run_beside()) return true;
  return !can.empty() && run(choose(can));
}

const Pending& Schedule::choose(const std::vector<Pending>& can) {
  if (!by_stream_) return can[random_.below(can.size())];
  const auto turn = [this](const Pending& one) {
    while (turns_.size() <= one->operation.stream)
      turns_.push_back(random_.below(std::uint64_t{1} << 32));
    return turns_[one->operation.stream];
  };
  return *std::ranges::min_element(can, {}, turn);
}

bool Schedule::run_beside() {
  if (!beside_ || beside_runs_) return false;
  beside_runs_ = true;
  const bool did_something = beside_();
  beside_runs_ = false;
  return did_something;
}

bool Schedule::run(const Pending& pending) {
  Operation& operation = pending->operation;
  hangs_ = !operate_(operation.name);
  if (hangs_) return false;
  if (operation.first_part) {
    std::exchange(operation.first_part, {})();
    return true;
  }
  if (operation.work) operation.work();
  pending->done = true;
  std::erase(pending_, pending);
  return true;
}

void Schedule::finish(const Pending& pending) {
  while (!is_done(pending) && !hangs_)
    if (!step() && !hangs_)
      throw EmulationError("the host waits for what can never happen: the device would hang");
}

void Schedule::finish_all() {
  while (!pending_.empty() && !hangs_) {
    const Pending first = pending_.front();
    finish(first);
  }
}

void Schedule::abandon() noexcept {
  const bool beside_ran = std::exchange(beside_runs_, true);
  try {
    while (step()) {
    }
  } catch (...) {  // of a device that is lost: nothing will be done any more
  }
  beside_runs_ = beside_ran;
  pending_.clear();
}

}  // namespace hearth::kernels::emulated
