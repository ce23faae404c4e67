#include "tests/tools/support/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace hearth::tools::testing {

Terminal::Terminal() : master_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)) {
  EXPECT_GE(master_, 0);
  EXPECT_EQ(grantpt(master_), 0);
  EXPECT_EQ(unlockpt(master_), 0);
  name_ = ptsname(master_);
  fcntl(master_, F_SETFL, O_NONBLOCK);
}

void Terminal::become() const {
  setsid();
  const int slave = open(name_.c_str(), O_RDWR);
  ioctl(slave, TIOCSCTTY, 0);
  for (const int stream : {0, 1, 2}) dup2(slave, stream);
  close(slave);
}

void Terminal::type(const std::string& keys) {
  EXPECT_EQ(write(master_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
}

bool Terminal::shows(const std::string& text) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < end) {
    char piece[4096];
    const ssize_t size = read(master_, piece, sizeof(piece));
    if (size > 0) shown_.append(piece, static_cast<std::size_t>(size));
    if (const std::size_t at = shown_.find(text, seen_); at != std::string::npos) {
      seen_ = at + text.size();
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

bool Terminal::echoes_lines() const {
  termios state{};
  return tcgetattr(master_, &state) == 0 && (state.c_lflag & ICANON) != 0 &&
         (state.c_lflag & ECHO) != 0;
}

void Terminal::hang_up() {
  if (master_ >= 0) close(master_);
  master_ = -1;
}

}  // namespace hearth::tools::testing
