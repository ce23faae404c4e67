#include "api/turns.h"

#include "api/status.h"

namespace hearth::border {

bool Turns::take(const std::atomic<bool>* cancelled) {
  std::unique_lock lock(mutex_);
  Waiting me;
  Waiting** last = &first_;
  while (*last != nullptr) last = &(*last)->next;
  *last = &me;
  const auto is_cancelled = [&] { return cancelled != nullptr && cancelled->load(); };
  changed_.wait(lock, [&] { return (first_ == &me && !taken_) || is_cancelled(); });
  const bool mine = first_ == &me && !taken_;
  leave(me);
  if (mine) {
    taken_ = true;
    holder_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  return mine;
}

void Turns::leave(const Waiting& leaving) {
  const bool was_first = first_ == &leaving;
  Waiting** at = &first_;
  while (*at != &leaving) at = &(*at)->next;
  *at = leaving.next;
  if (was_first && first_ != nullptr) changed_.notify_all();
}

void Turns::end() {
  const std::lock_guard lock(mutex_);
  taken_ = false;
  holder_.store({}, std::memory_order_relaxed);
  changed_.notify_all();
}

std::size_t Turns::waiting() {
  const std::lock_guard lock(mutex_);
  std::size_t count = 0;
  for (const Waiting* one = first_; one != nullptr; one = one->next) ++count;
  return count;
}

// The lock, so that nobody is between looking at `cancelled` and falling asleep.
void Turns::look_again() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

Turn::Turn(Turns& turns, std::atomic<bool>* cancelled) : turns_(turns) {
  if (turns.held())
    throw Misuse(HEARTH_ERROR_STATE,
                 "this call takes a turn, and its thread is in one: not from this callback");
  if (turns.take(cancelled)) return;
  cancelled->store(false);
  throw Stopped{"cancelled while it waited for its turn"};
}

}  // namespace hearth::border
