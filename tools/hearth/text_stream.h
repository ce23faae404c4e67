// Text as it is generated; half a character waits for its other half.
#pragma once

#include <string>
#include <string_view>

#include "base/utf8.h"
#include "tools/hearth/live_status.h"

namespace hearth::tools {

class TextStream {
 public:
  explicit TextStream(LiveStatus& terminal) : terminal_(terminal) {}
  void add(std::string_view piece) {
    pending_ += piece;
    const std::size_t whole = complete_utf8_prefix(pending_);
    terminal_.write_text(std::string_view(pending_).substr(0, whole));
    pending_.erase(0, whole);
  }
  void finish() {
    terminal_.write_text(pending_ + "\n");
    pending_.clear();
  }

 private:
  LiveStatus& terminal_;
  std::string pending_;
};

}  // namespace hearth::tools
