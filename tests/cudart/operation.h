// What a stream or a node of a graph does, and moments that others wait for.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace hearth::cudart {

struct Operation {
  std::string what;  // for messages
  std::function<void()> run;
  bool always = false;  // also on a device that failed: what others wait for
  bool is_kernel = false;
};

// On a thread of the device, after a delay that the seed draws. What is thrown fails the device.
void perform(const Operation& operation);

// Operations that are being performed now, for whoever waits too long.
std::vector<std::string> running_operations();

// Reached once, and stays so.
class Moment {
 public:
  using Clock = std::chrono::steady_clock;

  void reach();
  bool reached() const;
  // Prints what the device is doing where that takes a minute.
  void wait() const;
  Clock::time_point time() const;  // when it was reached

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool reached_ = false;
  Clock::time_point time_;
};

}  // namespace hearth::cudart
