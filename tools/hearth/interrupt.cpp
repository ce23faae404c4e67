#include "tools/hearth/interrupt.h"

#include <signal.h>
#include <unistd.h>

#include <atomic>

#include "base/check.h"

namespace hearth::tools {
namespace {

std::atomic<bool> marked{false};
std::atomic<bool> guarded{false};
static_assert(std::atomic<bool>::is_always_lock_free, "used in a signal handler");
struct sigaction previous_action;

void on_interrupt(int) {
  if (marked.exchange(true)) _exit(kExitInterrupted);
}

}  // namespace

InterruptGuard::InterruptGuard() {
  CHECK(!guarded.exchange(true));
  marked = false;
  struct sigaction action = {};
  action.sa_handler = on_interrupt;
  // No SA_RESTART: a read from the terminal returns, so that its caller sees the mark.
  CHECK_EQ(sigaction(SIGINT, &action, &previous_action), 0);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &previous_action, nullptr);
  guarded = false;
}

bool InterruptGuard::interrupted() const { return marked; }

void InterruptGuard::clear() { marked = false; }

void InterruptGuard::leave_at_the_next() { marked = true; }

void InterruptGuard::throw_if_interrupted() const {
  if (marked) throw Interrupted();
}

}  // namespace hearth::tools
