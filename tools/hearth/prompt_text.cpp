#include "tools/hearth/prompt_text.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace hearth::tools {
namespace {

std::string read_all(std::FILE* stream, const std::string& name) {
  std::string text;
  char piece[1 << 16];
  while (const std::size_t count = std::fread(piece, 1, sizeof(piece), stream))
    text.append(piece, count);
  if (std::ferror(stream) != 0)
    throw_error(ErrorCode::kIo, "{}: cannot be read: {}; check the path", name,
                std::strerror(errno));
  return text;
}

}  // namespace

std::string read_text(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (file == nullptr)
    throw_error(ErrorCode::kNotFound, "{}: cannot be opened: {}; check the path",
                printable(path, 400), std::strerror(errno));
  return read_all(file.get(), path);
}

std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    static constexpr std::string_view kNames = "ntr\\'\"", kMeanings = "\n\t\r\\'\"";
    if (const std::size_t at = kNames.find(next); at != kNames.npos) {
      out += kMeanings[at];
      continue;
    }
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    const char* const end = digits + std::min<std::size_t>(2, text.size() - i - 1);
    if (next == 'x' && end == digits + 2 && std::from_chars(digits, end, value, 16).ptr == end) {
      out += static_cast<char>(value);
      i += 2;
      continue;
    }
    out += '\\';
    out += next;
  }
  return out;
}

void PromptFlags::add_to(CommandLine& line) {
  line.add({.names = "-p,--prompt", .value = "TEXT", .help = "the prompt; - reads standard input"},
           prompt_);
  line.add({.names = "-f,--file", .value = "FILE", .help = "a file with the prompt"}, file_);
  line.add({.names = "--escape,!--no-escape",
            .help = "process escapes such as \\n in --prompt (default on)"},
           escape_);
  line.check([this, &line] {
    if (prompt_ && file_)
      throw_error(ErrorCode::kUsage, "--prompt and --file both give the prompt; give one of them");
    if (line.given("--escape") && (!prompt_ || *prompt_ == "-"))
      throw_error(ErrorCode::kUsage,
                  "--escape and --no-escape are of the text of --prompt, and none is given; leave "
                  "them out");
  });
}

std::string PromptFlags::text() const {
  std::string text;
  if (file_)
    text = read_text(*file_);
  else if (prompt_ && *prompt_ != "-")
    text = escape_ ? unescape(*prompt_) : *prompt_;
  else if (prompt_ || isatty(STDIN_FILENO) == 0)
    text = read_all(stdin, "standard input");
  else
    throw_error(ErrorCode::kUsage, "no prompt; give one with --prompt or --file");
  if (text.empty())
    throw_error(ErrorCode::kBadInput, "the prompt is empty; give text with --prompt or --file");
  return text;
}

}  // namespace hearth::tools
