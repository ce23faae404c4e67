#include "tools/hearth/prompt_flags.h"

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace hearth::tools {
namespace {

// The byte of two hexadecimal digits at the front of `text`; empty if they are not there.
std::optional<char> hexadecimal_byte(std::string_view text) {
  unsigned value = 0;
  if (text.size() < 2) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data(), text.data() + 2, value, 16);
  if (error != std::errc() || end != text.data() + 2) return std::nullopt;
  return static_cast<char>(value);
}

}  // namespace

void PromptFlags::add_to(CommandLine& line) {
  line.group("Text");
  line.add(
      {.names = "-p,--prompt", .value = "TEXT", .help = "The text, with \\n, \\t, \\xHH replaced"},
      prompt_);
  line.add({.names = "-f,--file", .value = "FILE", .help = "Read it from a file, as it is"}, file_);
  line.add({.names = "--stdin", .help = "Read it from standard input, as it is"}, standard_input_);
  line.add({.names = "--no-escape", .help = "Take the text of --prompt as it is"}, no_escape_);
}

std::string PromptFlags::read() const {
  if (prompt_.has_value() + file_.has_value() + standard_input_ != 1)
    throw_error(ErrorCode::kUsage, "give the text by one of --prompt, --file and --stdin");
  if (no_escape_ && !prompt_)
    throw_error(ErrorCode::kUsage, "--no-escape has no effect without --prompt; leave it out");
  if (prompt_) return no_escape_ ? *prompt_ : process_escapes(*prompt_);
  return read_text(standard_input_ ? "-" : *file_);
}

std::string process_escapes(std::string_view text) {
  constexpr std::string_view kNames = "nrt'\"\\", kValues = "\n\r\t'\"\\";
  std::string out;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::string_view rest = text.substr(at);
    const std::size_t name = rest.size() < 2 ? kNames.npos : kNames.find(rest[1]);
    if (rest[0] != '\\') {
      out += rest[0];
    } else if (name != kNames.npos) {
      out += kValues[name];
      at += 1;
    } else if (const auto byte =
                   rest.starts_with("\\x") ? hexadecimal_byte(rest.substr(2)) : std::nullopt) {
      out += *byte;
      at += 3;
    } else {
      out += '\\';
    }
  }
  return out;
}

std::string read_text(const std::string& path) {
  const auto close = [](std::FILE* file) {
    if (file != stdin) std::fclose(file);
  };
  const std::unique_ptr<std::FILE, decltype(close)> file(
      path == "-" ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file)
    throw_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: {}; check the path",
                path, std::strerror(errno));
  std::string text;
  char buffer[1 << 16];
  while (const std::size_t count = std::fread(buffer, 1, sizeof buffer, file.get()))
    text.append(buffer, count);
  if (std::ferror(file.get()))
    throw_error(ErrorCode::kIo, "{}: {}; is it a readable file?", path, std::strerror(errno));
  return text;
}

}  // namespace hearth::tools
