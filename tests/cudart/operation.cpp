#include "tests/cudart/operation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <exception>
#include <set>
#include <thread>

#include "tests/cudart/calls.h"
#include "tests/cudart/settings.h"

namespace hearth::cudart {
namespace {

struct Running {
  std::mutex mutex;
  std::multiset<const Operation*> operations;
};
Running& running() {
  static Running* const all = new Running;
  return *all;
}

class RunningScope {
 public:
  explicit RunningScope(const Operation& operation) {
    const std::lock_guard lock(running().mutex);
    here_ = running().operations.insert(&operation);
  }
  ~RunningScope() {
    const std::lock_guard lock(running().mutex);
    running().operations.erase(here_);
  }
  RunningScope(const RunningScope&) = delete;
  RunningScope& operator=(const RunningScope&) = delete;

 private:
  std::multiset<const Operation*>::iterator here_;
};

// Mostly none: what goes wrong with delays does so with few of them.
void pause_by_chance() {
  const std::uint64_t chance = draw();
  if (chance % 64 == 0)
    std::this_thread::sleep_for(std::chrono::microseconds(chance / 64 % 1000));
  else if (chance % 8 == 0)
    std::this_thread::yield();
}

}  // namespace

void perform(const Operation& operation) {
  pause_by_chance();
  if (device_error() != cudaSuccess && !operation.always) return;
  const RunningScope scope(operation);
  try {
    operation.run();
  } catch (const std::exception& error) {
    fail_device(cudaErrorLaunchFailure, fmt::format("{}: {}", operation.what, error.what()));
  }
}

std::vector<std::string> running_operations() {
  const std::lock_guard lock(running().mutex);
  std::vector<std::string> names;
  for (const Operation* const operation : running().operations) names.push_back(operation->what);
  return names;
}

void Moment::reach() {
  const std::lock_guard lock(mutex_);
  time_ = Clock::now();
  reached_ = true;
  changed_.notify_all();
}

bool Moment::reached() const {
  const std::lock_guard lock(mutex_);
  return reached_;
}

void Moment::wait() const {
  std::unique_lock lock(mutex_);
  const auto is_reached = [&] { return reached_; };
  while (!changed_.wait_for(lock, std::chrono::minutes(1), is_reached))
    fmt::print(stderr, "cudart: waiting for a minute; the device runs: {}\n",
               fmt::join(running_operations(), "; "));
}

Moment::Clock::time_point Moment::time() const {
  const std::lock_guard lock(mutex_);
  return time_;
}

}  // namespace hearth::cudart
