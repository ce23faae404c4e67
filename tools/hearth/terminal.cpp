#include "tools/hearth/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "base/clock.h"
#include "base/utf8.h"
#include "tools/hearth/quantity.h"

namespace hearth::tools {
namespace {

constexpr Nanoseconds kRedrawInterval = std::chrono::milliseconds(100);

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : value;
}

// The first of the three variables that is set decides (POSIX, 8.2).
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string_view value = environment(name);
    if (value.empty()) continue;
    for (const std::string_view spelling : {"UTF-8", "utf-8", "UTF8", "utf8"})
      if (value.find(spelling) != value.npos) return true;
    return false;
  }
  return false;
}

unsigned width_of(int descriptor) {
  const std::string_view text = environment("COLUMNS");
  unsigned columns = 0;
  std::from_chars(text.data(), text.data() + text.size(), columns);
  if (columns > 0) return columns;
  winsize size = {};
  if (ioctl(descriptor, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

// A cold to hot ramp of the 256-colour palette: blue, cyan, green, yellow, red.
constexpr std::array<int, 8> kHeatColours = {25, 31, 37, 71, 142, 178, 208, 196};
constexpr std::array<std::string_view, 9> kBlocks = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
constexpr std::array<std::string_view, 9> kAsciiBlocks = {" ", ".", ":", "-", "=",
                                                          "+", "*", "#", "@"};
constexpr std::array<std::string_view, 9> kEighths = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};

// 0 for nothing at all, then 1 to 8: what is barely warm stays visible.
unsigned heat_level(double value, double hottest) {
  if (!(value > 0) || !(hottest > 0)) return 0;
  return static_cast<unsigned>(std::ceil(std::min(value / hottest, 1.0) * 8));
}

}  // namespace

TerminalTraits terminal_of(std::FILE* stream) {
  const int descriptor = fileno(stream);
  TerminalTraits traits;
  traits.interactive = isatty(descriptor) != 0 && environment("TERM") != "dumb";
  traits.colour = traits.interactive && environment("NO_COLOR").empty();
  traits.unicode = locale_is_utf8();
  traits.columns = width_of(descriptor);
  return traits;
}

std::string_view first_columns(std::string_view text, unsigned columns) {
  std::size_t at = 0;
  for (unsigned column = 0; column < columns && at < text.size(); ++column)
    at += std::max<std::size_t>(1, valid_utf8_length(text.substr(at)));
  return text.substr(0, at);
}

StatusLine::StatusLine(std::FILE* stream) : stream_(stream), traits_(terminal_of(stream)) {}

void StatusLine::show(std::string_view text) {
  if (!traits_.interactive) return;
  // The last column stays free: writing there moves some terminals to the next line.
  fmt::print(stream_, "\r{}\x1b[K", first_columns(text, traits_.columns - 1));
  std::fflush(stream_);
  shown_ = true;
}

void StatusLine::clear() {
  if (!shown_) return;
  // In a destructor, too: a terminal that is gone is no error here.
  std::fputs("\r\x1b[K", stream_);
  std::fflush(stream_);
  shown_ = false;
}

Progress::Progress(std::FILE* stream, std::string_view what, Bytes total)
    : Progress(stream, what, Unit::kBytes, total.count, 0) {}

Progress::Progress(std::FILE* stream, std::string_view what, std::uint64_t tokens,
                   std::uint64_t done)
    : Progress(stream, what, Unit::kTokens, tokens, done) {}

Progress::Progress(std::FILE* stream, std::string_view what, Unit unit, std::uint64_t total,
                   std::uint64_t done)
    : stream_(stream),
      line_(stream),
      what_(what),
      unit_(unit),
      total_(total),
      done_(done),
      done_before_(done),
      begin_(steady_clock().now()),
      tenths_(tenths()) {}

unsigned Progress::tenths() const {
  return static_cast<unsigned>(10.0 * static_cast<double>(done_) /
                               static_cast<double>(std::max(total_, std::uint64_t{1})));
}

std::string Progress::amount(std::uint64_t count) const {
  return unit_ == Unit::kBytes ? format_size(Bytes(count)) : format_grouped(count);
}

std::string Progress::total() const {
  return amount(total_) + (unit_ == Unit::kTokens ? " tokens" : "");
}

std::string Progress::rate(Nanoseconds now) const {
  const std::uint64_t done = done_ - done_before_;
  if (unit_ == Unit::kBytes) return format_rate(Bytes(done), now - begin_);
  return fmt::format("{:.1f} tok/s",
                     static_cast<double>(done) / std::max(seconds(now - begin_), 1e-9));
}

void Progress::advance(std::uint64_t amount_done) {
  done_ += amount_done;
  const Nanoseconds now = steady_clock().now();
  if (line_.traits().interactive) {
    if (now - drawn_ >= kRedrawInterval) draw(now);
    return;
  }
  if (tenths() <= tenths_) return;
  tenths_ = tenths();
  fmt::print(stream_, "{} {} % of {}, {}\n", what_, tenths_ * 10, total(), rate(now));
}

void Progress::draw(Nanoseconds now) {
  drawn_ = now;
  const double fraction = static_cast<double>(done_) / static_cast<double>(total_);
  const double remaining = seconds(now - begin_) * static_cast<double>(total_ - done_) /
                           static_cast<double>(std::max(done_ - done_before_, std::uint64_t{1}));
  line_.show(fmt::format("{} {} {} of {}, {}, {} left", what_, bar(fraction, 24, line_.traits()),
                         amount(done_), total(), rate(now),
                         format_duration(std::chrono::seconds(std::llround(remaining)))));
}

std::string bar(double fraction, unsigned cells, const TerminalTraits& traits) {
  const double clamped = std::clamp(std::isfinite(fraction) ? fraction : 0.0, 0.0, 1.0);
  const unsigned eighths = static_cast<unsigned>(std::lround(clamped * cells * 8));
  std::string text;
  for (unsigned cell = 0; cell < cells; ++cell) {
    const unsigned filled = std::clamp(eighths, cell * 8, cell * 8 + 8) - cell * 8;
    text += traits.unicode ? kEighths[filled] : filled >= 4 ? "#" : ".";
  }
  return text;
}

std::string heat_strip(std::span<const double> values, double hottest, unsigned cells,
                       const TerminalTraits& traits) {
  std::string text;
  const std::size_t count = std::min<std::size_t>(cells, values.size());
  for (std::size_t cell = 0; cell < count; ++cell) {
    const std::size_t begin = cell * values.size() / count;
    const std::size_t end = (cell + 1) * values.size() / count;
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += values[i];
    const unsigned level = heat_level(sum / static_cast<double>(end - begin), hottest);
    const std::string_view block = traits.unicode ? kBlocks[level] : kAsciiBlocks[level];
    if (traits.colour && level > 0)
      text += fmt::format("\x1b[38;5;{}m{}\x1b[0m", kHeatColours[level - 1], block);
    else
      text += block;
  }
  return text;
}

}  // namespace hearth::tools
