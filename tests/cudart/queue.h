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
  void work();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Operation> waiting_;
  bool busy_ = false;
  bool closed_ = false;
};

}  // namespace hearth::cudart
