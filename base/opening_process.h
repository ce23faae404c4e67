// The process in which something was opened. One that is forked from it has copies of what lies in
// memory, but no thread of it, shares its rings with the kernel, and lacks the memory of arenas: to
// use it there hangs, or takes reads from those whose they are.
//
// What was opened has one as a member, and asks it before each use. By any thread, without a system
// call; a process that is made with clone() past the C library counts as the same.
#pragma once

#include <cstdint>

namespace hearth {

class OpeningProcess {
 public:
  OpeningProcess();
  bool is_this_one() const;

 private:
  std::uint64_t forks_;  // on the way from the first process to this one
};

}  // namespace hearth
