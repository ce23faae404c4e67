// A status line below streaming text, on a terminal: the text goes to stdout as it comes, the line
// to stderr, one row further down, and is gone before the next text.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "tools/hearth/terminal.h"

namespace hearth::tools {

class LiveStatus {
 public:
  // Draws only where both streams are terminals.
  LiveStatus();
  ~LiveStatus() { clear(); }
  LiveStatus(const LiveStatus&) = delete;
  LiveStatus& operator=(const LiveStatus&) = delete;

  bool due(Nanoseconds now) const;  // time for a redraw: a few times a second
  void show(std::string_view text, Nanoseconds now);
  void write_text(std::string_view text);  // to stdout, flushed

 private:
  void clear();

  bool active_;
  TerminalTraits traits_;
  bool shown_ = false;
  Nanoseconds drawn_{0};
};

}  // namespace hearth::tools
