// Whose turn it is: the sessions of an engine use its experts, reader and workers one at a time.
//
// A turn is a step: one token, or one chunk of a prompt. Who asks first is first, so that nobody
// waits for more than one step of each other session. Nothing allocates.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>

namespace hearth::border {

class Turns {
 public:
  Turns() = default;
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  // Waits for those before; false, without a turn, once `cancelled` (may be null) is true.
  bool take(const std::atomic<bool>* cancelled);
  void end();
  std::size_t waiting();  // threads
  // To be called when a `cancelled` became true.
  void look_again();
  // Of this thread: who waits for a turn in its own never gets it.
  bool held() const {
    return holder_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

 private:
  struct Waiting {
    Waiting* next = nullptr;
  };
  void leave(const Waiting& leaving);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool taken_ = false;
  Waiting* first_ = nullptr;
  std::atomic<std::thread::id> holder_{};
};

// Holds a turn. Throws Misuse in a callback that runs in one, and Stopped when cancelled, which
// takes the wish: the next call is none that it was for.
class Turn {
 public:
  explicit Turn(Turns& turns, std::atomic<bool>* cancelled = nullptr);
  ~Turn() { turns_.end(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Turns& turns_;
};

}  // namespace hearth::border
