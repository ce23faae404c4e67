// Lines from standard input: with editing, history and completion where a person types them, plain
// where it is a file or a pipe. One at a time; conductor thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace hearth::tools {

class LineReader {
 public:
  // Tab completes `words` at the start of a line, and file names after them.
  explicit LineReader(std::vector<std::string> words);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // Without its newline; empty at the end of the input. Throws Error(kIo).
  std::optional<std::string> read(const std::string& prompt);
  bool interactive() const { return interactive_; }

 private:
  std::optional<std::string> read_edited(const std::string& prompt);

  const bool interactive_;  // standard input and output are a terminal that can be drawn on
};

}  // namespace hearth::tools
