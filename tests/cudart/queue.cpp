#include "tests/cudart/queue.h"

#include <thread>
#include <utility>

namespace hearth::cudart {

std::shared_ptr<Queue> Queue::start() {
  const auto queue = std::make_shared<Queue>();
  std::thread([queue] { queue->work(); }).detach();
  return queue;
}

void Queue::push(Operation operation) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(operation));
  changed_.notify_one();
}

std::shared_ptr<Moment> Queue::end() {
  auto moment = std::make_shared<Moment>();
  push({.what = "end of the queue", .run = [moment] { moment->reach(); }, .always = true});
  return moment;
}

bool Queue::idle() const {
  const std::lock_guard lock(mutex_);
  return waiting_.empty() && !busy_;
}

void Queue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_one();
}

bool Queue::ended() const {
  const std::lock_guard lock(mutex_);
  return closed_ && waiting_.empty() && !busy_;
}

void Queue::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    {
      const Operation operation = std::move(waiting_.front());
      waiting_.pop_front();
      busy_ = true;
      lock.unlock();
      perform(operation);
    }
    lock.lock();
    busy_ = false;
  }
}

}  // namespace hearth::cudart
