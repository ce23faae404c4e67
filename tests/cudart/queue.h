// The work of a stream: a thread that performs one operation after the other, some time after it
// was enqueued.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "tests/cudart/operation.h"

namespace hearth::cudart {

class Queue {
 public:
  static std::shared_ptr<Queue> start();

  void push(Operation operation);
  // Reached when all that was pushed is done.
  std::shared_ptr<Moment> end();
  bool idle() const;
  // The thread ends when all is done.
  void close();
  bool ended() const;

 private:
  struct Entry {
    Operation operation;
    bool counted;
  };
  void push(Operation operation, bool counted);
  void work();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> waiting_;
  std::size_t pending_ = 0;  // operations that were pushed from outside and are not done
  bool closed_ = false;
};

}  // namespace hearth::cudart
