#include "tests/cudart/queue.h"

#include <thread>
#include <utility>

namespace hearth::cudart {

std::shared_ptr<Queue> Queue::start() {
  const auto queue = std::make_shared<Queue>();
  std::thread([queue] { queue->work(); }).detach();
  return queue;
}

void Queue::push(Operation operation) { push(std::move(operation), true); }

void Queue::push(Operation operation, bool counted) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back({std::move(operation), counted});
  if (counted) ++pending_;
  changed_.notify_one();
}

std::shared_ptr<Moment> Queue::end() {
  auto moment = std::make_shared<Moment>();
  push({.what = "end of the queue", .run = [moment] { moment->reach(); }, .always = true}, false);
  return moment;
}

bool Queue::idle() const {
  const std::lock_guard lock(mutex_);
  return pending_ == 0;
}

void Queue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_one();
}

bool Queue::ended() const {
  const std::lock_guard lock(mutex_);
  return closed_ && pending_ == 0;
}

void Queue::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    bool counted = false;
    {
      const Entry entry = std::move(waiting_.front());
      counted = entry.counted;
      waiting_.pop_front();
      lock.unlock();
      perform(entry.operation);
    }
    lock.lock();
    if (counted) --pending_;
  }
}

}  // namespace hearth::cudart
