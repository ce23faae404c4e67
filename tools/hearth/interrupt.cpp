#include "tools/hearth/interrupt.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "base/check.h"

namespace hearth::tools {
namespace {

constexpr std::array kSignals = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

std::atomic<int> marked{0};           // the first signal, but that others outweigh Ctrl-C
std::atomic<bool> at_once{false};     // there is nothing to finish
std::atomic<bool> pipe_broke{false};  // SIGPIPE came, now or before
std::atomic<bool> guarded{false};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "used in a signal handler");
std::array<struct sigaction, kSignals.size()> previous_actions;
std::array<bool, 3> is_terminal;  // standard streams

// Every write to a closed terminal fails, and would end what is to be finished now.
void leave_terminal() {
  const int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nowhere < 0) return;
  for (int stream = 0; stream < static_cast<int>(is_terminal.size()); ++stream)
    if (is_terminal[static_cast<std::size_t>(stream)]) dup2(nowhere, stream);
  close(nowhere);
}

void on_signal(int number) {
  const int error = errno;
  if (number == SIGPIPE) pipe_broke = true;
  const int before = marked;
  if (at_once || (before != 0 && number == SIGINT)) _exit(128 + number);
  if (before == 0 || before == SIGINT) marked = number;
  if (number == SIGHUP) leave_terminal();
  errno = error;
}

}  // namespace

bool reader_left() { return pipe_broke; }

InterruptGuard::InterruptGuard() {
  CHECK(!guarded.exchange(true));
  marked = 0;
  at_once = false;
  for (std::size_t stream = 0; stream < is_terminal.size(); ++stream)
    is_terminal[stream] = isatty(static_cast<int>(stream)) == 1;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  // No SA_RESTART: a read from the terminal returns, so that its caller sees the mark.
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    CHECK_EQ(sigaction(kSignals[i], nullptr, &previous_actions[i]), 0);
    if (previous_actions[i].sa_handler == SIG_IGN && kSignals[i] != SIGINT) continue;
    CHECK_EQ(sigaction(kSignals[i], &action, nullptr), 0);
  }
}

InterruptGuard::~InterruptGuard() {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    sigaction(kSignals[i], &previous_actions[i], nullptr);
  guarded = false;
}

bool InterruptGuard::interrupted() const { return marked != 0; }

bool InterruptGuard::must_end() const { return marked != 0 && marked != SIGINT; }

int InterruptGuard::exit_code() const { return marked == 0 ? 0 : 128 + marked; }

void InterruptGuard::clear() {
  at_once = false;
  int ctrl_c = SIGINT;
  marked.compare_exchange_strong(ctrl_c, 0);
}

void InterruptGuard::leave_at_the_next() {
  at_once = true;
  throw_if_interrupted();  // what came before
}

void InterruptGuard::throw_if_interrupted() const {
  if (const int signal = marked; signal != 0) throw Interrupted(signal);
}

}  // namespace hearth::tools
