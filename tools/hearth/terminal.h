// What a terminal can show, and the few things Hearth draws on it. Drawings go to standard error:
// standard output carries the text of the model only.
#pragma once

#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "base/units.h"

namespace hearth::tools {

struct TerminalTraits {
  bool interactive = false;  // a terminal that a line can be redrawn on
  bool colour = false;       // interactive, and NO_COLOR (no-color.org) is not set
  bool unicode = false;      // the locale says UTF-8
  unsigned columns = 80;
};

// Reads the file descriptor and the environment (TERM, NO_COLOR, COLUMNS, LC_ALL, LC_CTYPE, LANG).
TerminalTraits terminal_of(std::FILE* stream);

// One line, redrawn in place. Draws nothing where the stream is not interactive.
class StatusLine {
 public:
  explicit StatusLine(std::FILE* stream);
  ~StatusLine() { clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  void show(std::string_view text);  // without escape sequences; cut to the width
  void clear();                      // before anything else is written to the terminal
  const TerminalTraits& traits() const { return traits_; }

 private:
  std::FILE* stream_;
  TerminalTraits traits_;
  bool shown_ = false;
};

// Progress of a long operation: a bar with rate and remaining time on a terminal, else one line at
// every tenth.
class Progress {
 public:
  Progress(std::FILE* stream, std::string_view what, Bytes total);
  // Of tokens, of which `done` were done before; the rate is of those that follow.
  Progress(std::FILE* stream, std::string_view what, std::uint64_t tokens, std::uint64_t done);

  void advance(Bytes amount) { advance(amount.count); }
  void advance(std::uint64_t amount);

 private:
  enum class Unit { kBytes, kTokens };
  Progress(std::FILE* stream, std::string_view what, Unit unit, std::uint64_t total,
           std::uint64_t done);
  void draw(Nanoseconds now);
  std::string amount(std::uint64_t count) const;
  std::string total() const;
  std::string rate(Nanoseconds now) const;
  unsigned tenths() const;

  std::FILE* stream_;
  StatusLine line_;
  std::string what_;
  Unit unit_;
  std::uint64_t total_, done_, done_before_;
  Nanoseconds begin_, drawn_{0};
  unsigned tenths_;
};

// `fraction` of `cells` characters, filled from the left in eighths of a cell.
std::string bar(double fraction, unsigned cells, const TerminalTraits& traits);

// One row of a heat map: a character per value, from empty (0) to full (`hottest` and more). More
// values than `cells` are averaged over equal ranges.
std::string heat_strip(std::span<const double> values, double hottest, unsigned cells,
                       const TerminalTraits& traits);

// The first `columns` characters of UTF-8 text (each counted as one column wide).
std::string_view first_columns(std::string_view text, unsigned columns);

}  // namespace hearth::tools
