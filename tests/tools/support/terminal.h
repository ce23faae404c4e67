// A pseudo-terminal, of which a command has the one end and the test the other.
#pragma once

#include <string>

namespace hearth::tools::testing {

class Terminal {
 public:
  Terminal();
  ~Terminal() { hang_up(); }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void become() const;  // in the new process, which it then controls
  void type(const std::string& keys);
  // Reads until `text` was shown, from where the last call ended.
  bool shows(const std::string& text);
  const std::string& shown() const { return shown_; }
  bool echoes_lines() const;  // as a shell wants it back
  void hang_up();             // its window is closed

 private:
  int master_;
  std::string name_;
  std::string shown_;
  std::size_t seen_ = 0;
};

}  // namespace hearth::tools::testing
